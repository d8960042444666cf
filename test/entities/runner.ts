/**
 * Runs ledgers, and commands as they come by lines on standard input, each answered by a line on standard output, until its parent ends.
 *
 * usage: runner WHERE active|plain
 */
import * as EventSourced from "@sluice/entity/EventSourced"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { createInterface } from "node:readline"
import { endWithParent } from "../kit/process.ts"
import { open } from "../status/open.ts"
import { Ledgers, Refused } from "./Ledgers.ts"
import type { Answer, Asked } from "./Oracle.ts"

const [where, way] = process.argv.slice(2)

const entities = way === "plain" ? EventSourced.layerPlain(Ledgers) : EventSourced.layer(Ledgers, { maxActive: 20 })

const say = (message: unknown): void => void process.stdout.write(`${JSON.stringify(message)}\n`)

// from the beginning, as the parent asks before anybody is ready
const early: Array<string> = []
let hear = (line: string): void => void early.push(line)
createInterface({ input: process.stdin }).on("line", (line) => hear(line))

endWithParent(
  Effect.gen(function*() {
    const ledgers = yield* EventSourced.client(Ledgers)
    const run = Effect.runForkWith(yield* Effect.context())
    hear = (line) => {
      const { amount, commandId, id, n, token }: Asked = JSON.parse(line)
      const answer = (answer: Answer["answer"]) => Effect.sync(() => say({ n, answer }))
      run(
        Effect.matchEffect(ledgers(id).Add({ token, amount }, { commandId }), {
          onSuccess: (reply) => answer({ _tag: "Replied", reply }),
          onFailure: (error) =>
            error instanceof Refused
              ? answer({ _tag: "Refused" })
              : answer({ _tag: "Failed", error: error._tag, isUnknown: error.isUnknown, message: error.message })
        })
      )
    }
    say("ready")
    early.forEach((line) => hear(line))
    return yield* Effect.never
  }).pipe(Effect.provide(Layer.provide(entities, open(JSON.parse(where!)))), Effect.orDie)
)
