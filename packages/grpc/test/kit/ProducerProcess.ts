/** A producer in a process of its own, whose memory can be told from that of the test. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import type { Report } from "../programs/producer.ts"

export interface ProducerProcess {
  readonly port: number
  /** What it says of itself, after it has collected its garbage. */
  readonly report: Effect.Effect<Report>
}

/** Offers so many events of so many bytes to everybody. */
export const start = (events: number, bytes: number): Effect.Effect<ProducerProcess, never, Scope.Scope> =>
  Effect.gen(function*() {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const program = fileURLToPath(new URL("../programs/producer.ts", import.meta.url))
        // a young generation of fixed size, as what it takes says nothing about what is kept
        const memory = ["--expose-gc", "--max-semi-space-size=2", "--min-semi-space-size=2"]
        const options = [...memory, "--conditions=@sluice/source", "--disable-warning=ExperimentalWarning"]
        return spawn(process.execPath, [...options, program, String(events), String(bytes)], {
          stdio: ["pipe", "pipe", "inherit"]
        })
      }),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    const line = Effect.promise(async () => String((await lines.next()).value))
    return {
      port: Number(yield* line),
      report: Effect.andThen(
        Effect.sync(() => void child.stdin.write("\n")),
        Effect.map(line, (line) => JSON.parse(line) as Report)
      )
    }
  })
