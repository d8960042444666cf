/** Handlers that workers make for themselves: each is started before its first call, and stopped after its last one. */
import * as Handler from "@sluice/core/Handler"
import * as Simulation from "@sluice/testing/Simulation"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/** The handlers that have started in a process, and were not stopped. */
const Lives = Context.Reference<Set<object>>("test/simulation/Lives", { defaultValue: () => new Set() })

export const makeLives = Effect.map(Simulation.Simulation, (simulation) => {
  /** Of each process, since it was started last. */
  const processes: Array<Set<object>> = []
  const violate = (message: string): Effect.Effect<never> =>
    Effect.provideService(
      Simulation.violate("a handler lives as long as its worker", message),
      Simulation.Simulation,
      simulation
    )
  return {
    /** The program of a process. */
    within: <A, E, R>(i: number, program: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
      Effect.suspend(() => Effect.provideService(program, Lives, processes[i] = new Set())),
    handler: <Input, E, R>(
      handle: (input: Input) => Effect.Effect<void, E, R>
    ): Handler.Scoped<Input, Effect.Effect<void, E, R>> =>
      Handler.scoped(() =>
        Effect.gen(function*() {
          const lives = yield* Lives
          const life = {}
          let calls = 0
          yield* Effect.acquireRelease(
            Effect.sync(() => lives.add(life)),
            () =>
              Effect.suspend(() => {
                lives.delete(life)
                return calls === 0 ? Effect.void : violate(`one is stopped that has ${calls} calls`)
              })
          )
          return (input: Input) =>
            Effect.suspend(() => {
              if (!lives.has(life)) return violate("one is called that was stopped")
              calls++
              return Effect.onExit(handle(input), () => Effect.sync(() => calls--))
            })
        })
      ),
    /** No process has more than so many. */
    atMost: (workers: number): Effect.Effect<void> =>
      Effect.suspend(() => {
        const most = Math.max(...processes.map(({ size }) => size))
        return most > workers ? violate(`${most} of ${workers} workers are there`) : Effect.void
      })
  }
})
