/** Other processes, which are told what to do in JSON and answer in lines of JSON. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { nodeArgs } from "../kit/Service.ts"

export interface Child {
  /** The next message, in the order in which they are sent: first what it says when it is ready. */
  readonly message: <A>() => Effect.Effect<A>
  /** Tells it to do something, and waits for the answer. */
  readonly ask: <A>(command: string, argument?: unknown) => Effect.Effect<A>
}

const file = (name: string) => fileURLToPath(new URL(`${name}.ts`, import.meta.url))

/** Starts `processes/NAME.ts`, or another file of this folder, until the scope ends. */
export const start = (name: string, argument: unknown): Effect.Effect<Child, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const child = fork(file(name.includes("/") ? name : `processes/${name}`), [JSON.stringify(argument)], {
          execArgv: ["--expose-gc", ...nodeArgs(file(name)).slice(0, -1)],
          stdio: ["ignore", "ignore", "inherit", "ipc"],
          serialization: "advanced"
        })
        return { child, received: receive(child) }
      }),
      ({ child }) => end(child)
    ),
    ({ child, received }): Child => ({
      message: () => Effect.promise(received),
      ask: (command, argument) =>
        Effect.promise(() => {
          child.send([command, argument ?? null])
          return received()
        })
    })
  )

const receive = (child: ChildProcess) => {
  const messages: Array<unknown> = []
  let waiting: { readonly resolve: (message: any) => void; readonly reject: (error: Error) => void } | undefined
  child.on("message", (message) => {
    if (waiting === undefined) messages.push(message)
    else waiting.resolve(message)
    waiting = undefined
  })
  child.on("exit", (code) => waiting?.reject(new Error(`a process has ended with ${code}`)))
  return (): Promise<any> =>
    messages.length > 0
      ? Promise.resolve(messages.shift())
      : child.exitCode !== null
      ? Promise.reject(new Error(`a process has ended with ${child.exitCode}`))
      : new Promise((resolve, reject) => {
        waiting = { resolve, reject }
      })
}

const end = (child: ChildProcess) =>
  Effect.callback<void>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })

/** Starts it for one answer. */
export const run = <A>(name: string, argument: unknown): Effect.Effect<A> =>
  Effect.scoped(Effect.flatMap(start(name, argument), (child) => child.message<A>()))

/** In the process itself: what it was told. */
export const argument = <A>(): A => JSON.parse(process.argv[2]!)

/** In the process itself: answers. */
export const answer = (message: unknown): void => void process.send!(message)

/** In the process itself: says that it is ready, and does what it is told until its parent is gone. */
export const serve = (
  ready: unknown,
  commands: Readonly<Record<string, (argument: any) => Promise<unknown>>>
): void => {
  process.on("message", ([command, argument]: [string, unknown]) => {
    commands[command]!(argument).then((result) => answer(result ?? null), (error) => {
      console.error(error)
      process.exit(1)
    })
  })
  process.on("disconnect", () => process.exit(0))
  answer(ready)
}

/** Milliseconds on a clock that the processes of a machine share. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e6

/** Microseconds that the process has worked. */
export const cpu = (): number => {
  const { system, user } = process.cpuUsage()
  return system + user
}

/** Megabytes that are resident. */
export const rss = (): number => process.memoryUsage.rss() / 1024 / 1024
