/**
 * Starts a service as an operating-system process, kills it, and starts it again.
 */
import { Deferred, Effect, Exit, Fiber, FileSystem, Option, Ref, Schema, Scope, Stream } from "effect"
import { ChildProcess, type ChildProcessSpawner } from "effect/process"
import { fileURLToPath } from "node:url"
import * as Parent from "./Parent.ts"

/** A service has ended though nobody asked it to, or never came up. */
export class ServiceEnded extends Schema.TaggedError<ServiceEnded>()("ServiceEnded", {
  service: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `The ${this.service} has ended: ${this.reason}`
  }
}

export interface Options {
  readonly name: string
  /** The module that the process runs. */
  readonly entry: URL
  readonly environment: Record<string, string>
  /** The file that everything the service logs is added to. */
  readonly log: string
}

export interface State {
  readonly name: string
  readonly state: "starting" | "running" | "killed" | "stopped"
  readonly pid: number | undefined
}

interface Running {
  readonly scope: Scope.Closeable
  readonly handle: ChildProcessSpawner.ChildProcessHandle
}

/** Seconds: long enough for a machine that is busy. */
const patience = 120

/** The process, while there is one, lives no longer than the scope. */
export const make = Effect.fn("Supervisor.make")(function*({ entry, environment, log, name }: Options) {
  const fs = yield* FileSystem.FileSystem
  const scope = yield* Effect.scope
  const state = yield* Ref.make<State>({ name, state: "stopped", pid: undefined })
  const failure = yield* Deferred.make<never, ServiceEnded>()
  let current: Running | undefined

  const expect = (ready: Deferred.Deferred<void>) =>
    Effect.raceFirst(Deferred.await(ready), Deferred.await(failure)).pipe(
      Effect.timeoutOrElse({
        duration: `${patience} seconds`,
        orElse: () => Effect.fail(new ServiceEnded({ service: name, reason: `it was not ready after ${patience} s` }))
      })
    )

  const start = Effect.gen(function*() {
    yield* Ref.set(state, { name, state: "starting", pid: undefined })
    const own = yield* Scope.fork(scope)
    const handle = yield* ChildProcess.make(process.execPath, [...process.execArgv, fileURLToPath(entry)], {
      env: environment,
      extendEnv: true,
      stdin: { stream: "pipe", endOnDone: false },
      forceKillAfter: "3 seconds"
    }).pipe(Scope.provide(own))
    const ready = yield* Deferred.make<void>()
    const running: Running = { scope: own, handle }
    current = running

    yield* Effect.forkIn(Stream.run(handle.stderr, fs.sink(log, { flag: "a" })), own)
    let reason: string | undefined
    const reports = yield* handle.stdout.pipe(
      Stream.decodeText,
      Stream.splitLines,
      Stream.runForEach((line) =>
        Effect.sync(() => {
          const report = Option.getOrUndefined(Parent.decodeReport(line))
          switch (report?._tag) {
            case "Ready":
              return Deferred.doneUnsafe(ready, Effect.void)
            case "Failed":
              reason = report.message
          }
        })
      ),
      Effect.exit,
      Effect.forkIn(own)
    )
    const ended = Effect.gen(function*() {
      const exit = yield* Effect.exit(handle.exitCode)
      yield* Fiber.await(reports)
      if (current !== running) return
      reason ??= Exit.isSuccess(exit) ? `exit code ${exit.value}` : "it was killed by somebody else"
      yield* Deferred.fail(failure, new ServiceEnded({ service: name, reason }))
    })
    yield* Effect.forkIn(ended, own)

    yield* expect(ready)
    yield* Ref.set(state, { name, state: "running", pid: handle.pid })
    return handle.pid
  })

  const end = (how: "killed" | "stopped", signal: ChildProcess.Signal) =>
    Effect.gen(function*() {
      if (current === undefined) return
      const { handle, scope } = current
      current = undefined
      yield* Effect.ignore(handle.kill({ killSignal: signal, forceKillAfter: "3 seconds" }))
      yield* Scope.close(scope, Exit.void)
      yield* Ref.set(state, { name, state: how, pid: undefined })
    })

  return {
    state: Ref.get(state),
    /** Fails when the service ends by itself. */
    failure: Deferred.await(failure),
    /** Ends when the service is ready, with the id of its process. */
    start,
    kill: end("killed", "SIGKILL"),
    stop: end("stopped", "SIGTERM")
  }
})

export type Supervisor = Effect.Success<ReturnType<typeof make>>
