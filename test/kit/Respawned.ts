/** A program that answers lines of JSON with lines of JSON, and is started again each time that it is killed. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { nodeArgs } from "./Service.ts"

/** Each line to it has a number `n`, and so has the answer. It says `"ready"` once it has begun. */
export class Respawned<Asked extends object, Answer extends object> {
  readonly #args: ReadonlyArray<string>
  readonly #waiting = new Map<number, (answer: Answer | undefined) => void>()
  #child: ChildProcess
  #isEnded = false
  #asked = 0
  isReady = false

  constructor(program: string, ...args: ReadonlyArray<string>) {
    this.#args = nodeArgs(program, ...args)
    this.#child = this.#start()
  }

  #start(): ChildProcess {
    const child = spawn(process.execPath, this.#args, {
      stdio: ["pipe", "pipe", process.env["SERVICE_LOG"] === undefined ? "ignore" : "inherit"]
    })
    // what is sent to one that was killed goes nowhere
    child.stdin.on("error", () => {})
    createInterface({ input: child.stdout }).on("line", (line) => {
      const message: Answer & { readonly n: number } | "ready" = JSON.parse(line)
      if (message === "ready") {
        this.isReady = true
        return
      }
      this.#waiting.get(message.n)?.(message)
      this.#waiting.delete(message.n)
    })
    // once all is read that it has said
    child.once("close", () => {
      this.isReady = false
      for (const answer of this.#waiting.values()) answer(undefined)
      this.#waiting.clear()
      if (!this.#isEnded) this.#child = this.#start()
    })
    return child
  }

  /** The answer; undefined where it was killed before. */
  ask(asked: Asked): Promise<Answer | undefined> {
    const n = this.#asked++
    return new Promise((resolve) => {
      this.#waiting.set(n, resolve)
      this.#child.stdin!.write(`${JSON.stringify({ ...asked, n })}\n`)
    })
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  end(): void {
    this.#isEnded = true
    this.#child.kill("SIGKILL")
  }
}

/** The program, until the scope ends. */
export const respawned = <Asked extends object, Answer extends object>(
  program: string,
  ...args: ReadonlyArray<string>
): Effect.Effect<Respawned<Asked, Answer>, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => new Respawned<Asked, Answer>(program, ...args)),
    (program) => Effect.sync(() => program.end())
  )
