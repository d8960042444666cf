/**
 * A region that writes by itself: a replica with a storage and a server of its own, which consumes the others by the ports that it has for them. It takes orders by
 * lines on standard input, each answered by a line on standard output, until its parent ends.
 *
 * usage: boardRegion WHERE ID PORTS
 */
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import * as Replica from "@sluice/replication/Replica"
import * as ReplicatedEventSourced from "@sluice/replication/ReplicatedEventSourced"
import * as Replication from "@sluice/replication/Replication"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { createInterface } from "node:readline"
import { endWithParent } from "../kit/process.ts"
import { open } from "../status/open.ts"
import { makeBoards, sharedOf } from "./Boards.ts"
import { commandOf, replicas } from "./commands.ts"

/** To send the commands of these numbers, the last excluded, to so many entities, or to show the states of entities. */
export type Asked =
  | { readonly from: number; readonly to: number; readonly entities: number }
  | { readonly show: ReadonlyArray<string> }

export interface Answer {
  /** What the states have that is the same everywhere. */
  readonly states?: ReadonlyArray<string>
}

const [where, self, ports] = process.argv.slice(2) as [string, string, string]
const { [self]: port, ...others } = JSON.parse(ports) as Record<string, number>
const boards = makeBoards({ replicas, snapshotEvery: 20 })

const say = (message: unknown): void => void process.stdout.write(`${JSON.stringify(message)}\n`)

// from the beginning, as the parent asks before anybody is ready
const early: Array<string> = []
let hear = (line: string): void => void early.push(line)
createInterface({ input: process.stdin }).on("line", (line) => hear(line))

const region = Replication.layer(boards, {
  replicas: Object.fromEntries(Object.entries(others).map(([id, port]) => [id, { address: `localhost:${port}` }])),
  consumers: 2
}).pipe(
  Layer.provideMerge(ReplicatedEventSourced.layer(boards)),
  Layer.provideMerge([Replica.layer(self), GrpcServer.layer({ port: port! }), open(JSON.parse(where))])
)

endWithParent(
  Effect.gen(function*() {
    const client = yield* ReplicatedEventSourced.client(boards)
    const answer = (asked: Asked): Effect.Effect<Answer, unknown> =>
      "show" in asked
        ? Effect.map(
          Effect.forEach(asked.show, (id) => client(id).Show(), { concurrency: 16 }),
          (states) => ({ states: states.map(sharedOf) })
        )
        : Effect.as(
          Effect.forEach(
            Array.from({ length: asked.to - asked.from }, (_, i) => commandOf(self, asked.from + i, asked.entities)),
            ({ change, id, token }) =>
              // what was executed is remembered
              Effect.retry(
                client(id).Apply({ token, change }, { commandId: token }),
                Schedule.spaced("200 millis")
              ),
            { concurrency: 32, discard: true }
          ),
          {}
        )
    hear = (line) => {
      const { n, ...asked }: Asked & { readonly n: number } = JSON.parse(line)
      Effect.runFork(Effect.matchCause(answer(asked), {
        onSuccess: (answer) => say({ n, ...answer }),
        // the parent asks again
        onFailure: () => process.exit(1)
      }))
    }
    say("ready")
    early.forEach((line) => hear(line))
    return yield* Effect.never
  }).pipe(Effect.provide(region), Effect.orDie)
)
