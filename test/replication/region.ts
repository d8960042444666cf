/**
 * A region: a replica with a storage and a server of its own, which consumes the others. It takes commands by lines on standard input, each answered by a line on
 * standard output, until its parent ends.
 *
 * usage: region WHERE ID PORTS
 */
import * as Journal from "@sluice/core/Journal"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import * as Replica from "@sluice/replication/Replica"
import * as ReplicatedEventSourced from "@sluice/replication/ReplicatedEventSourced"
import * as Replication from "@sluice/replication/Replication"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { createInterface } from "node:readline"
import { makeNotes } from "../../packages/replication/test/kit/Notes.ts"
import { endWithParent } from "../kit/process.ts"
import { open } from "../status/open.ts"

/** What a region is asked: to add a note, or for all that it has of an entity. */
export type Asked =
  | { readonly id: string; readonly text: string }
  | { readonly id: string; readonly text: undefined }

/** What it answers. */
export interface Answer {
  /** The error that a command has failed with. */
  readonly failure?: string
  /** What the state and the journal have, sorted. */
  readonly notes?: ReadonlyArray<string>
  readonly events?: ReadonlyArray<string>
}

const [where, self, ports] = process.argv.slice(2)
const remotes = Object.entries<number>(JSON.parse(ports!))
const notes = makeNotes("notes", { snapshotEvery: 10 })

const say = (message: unknown): void => void process.stdout.write(`${JSON.stringify(message)}\n`)

// from the beginning, as the parent asks before anybody is ready
const early: Array<string> = []
let hear = (line: string): void => void early.push(line)
createInterface({ input: process.stdin }).on("line", (line) => hear(line))

const region = Replication.layer(notes, {
  replicas: Object.fromEntries(remotes.map(([id, port]) => [id, { address: `localhost:${port}` }])),
  consumers: 2
}).pipe(
  Layer.provideMerge(ReplicatedEventSourced.layer(notes)),
  Layer.provideMerge([
    Replica.layer(self!),
    GrpcServer.layer({ port: Object.fromEntries(remotes)[self!]! }),
    open(JSON.parse(where!))
  ])
)

endWithParent(
  Effect.gen(function*() {
    const client = yield* ReplicatedEventSourced.client(notes)
    const run = Effect.runForkWith(yield* Effect.context<Journal.Journal>())
    const answer = ({ id, text }: Asked): Effect.Effect<Answer, unknown, Journal.Journal> =>
      text === undefined
        ? Effect.gen(function*() {
          const { notes: held } = yield* client(id).Get()
          const events = yield* Stream.runCollect(Journal.read(notes.entityType, `${id}|${self}`))
          return {
            notes: held.toSorted(),
            events: Array.from(
              events,
              ({ replication }) => `${replication!.origin}#${replication!.originSequenceNumber}`
            ).toSorted()
          }
        })
        // each note is added once, however often that is asked
        : Effect.as(client(id).Add({ text }, { commandId: text }), {})
    hear = (line) => {
      const { n, ...asked }: Asked & { readonly n: number } = JSON.parse(line)
      run(Effect.matchEffect(answer(asked), {
        onSuccess: (answer) => Effect.sync(() => say({ n, ...answer })),
        onFailure: (error) => Effect.sync(() => say({ n, failure: String(error) }))
      }))
    }
    say("ready")
    early.forEach((line) => hear(line))
    return yield* Effect.never
  }).pipe(Effect.provide(region), Effect.orDie)
)
