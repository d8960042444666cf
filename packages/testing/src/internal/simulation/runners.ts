import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import { WebCrypto } from "effect/crypto/WebCrypto"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as References from "effect/References"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import type { Engine, Runner } from "./Engine.ts"
import { fork, makeCrypto, makeRandom } from "./randomness.ts"

/** @internal Whose fiber it is. */
export interface Place {
  readonly engine: Engine
  readonly runner: Runner
}

/** @internal */
export const Place = Context.Reference<Place | undefined>("@sluice/testing/Simulation/Place", {
  defaultValue: () => undefined
})

/** @internal */
export const place: Effect.Effect<Place> = Effect.flatMap(
  Place,
  (place) =>
    place === undefined
      ? Effect.die(new Error("This runs in no simulation: give the effect to Simulation.run"))
      : Effect.succeed(place)
)

/** @internal The worker that the fiber belongs to, since it has begun: all of its fibers have its scope. Elsewhere it stands for the fiber. */
export const currentWorker: Effect.Effect<object> = Effect.withFiber((fiber) =>
  Effect.succeed(Option.getOrElse(Context.getOption(fiber.context, Scope.Scope), () => fiber))
)

/** @internal What there is for the fibers of a process, and nothing else. */
export const contextOf = (engine: Engine, runner: Runner): Context.Context<never> => {
  const draw = fork(engine.draw)
  const logger = Logger.make<unknown, void>(({ cause, fiber, logLevel, message }) =>
    engine.note(runner.name, () => {
      const said = (Array.isArray(message) ? message : [message]).map(text)
      const annotations = Object.entries(fiber.getRef(References.CurrentLogAnnotations))
      const named = annotations.map(([name, value]) => `${name}=${text(value)}`)
      const line = [`${logLevel}:`, ...said, ...named].join(" ")
      return cause.reasons.length === 0 ? line : `${line}\n${Cause.pretty(cause)}`
    })
  )
  const registry = ProjectionRegistry.make()
  engine.registries.set(runner, registry)
  return Context.make(Place, { engine, runner }).pipe(
    Context.add(Scheduler.Scheduler, runner),
    Context.add(Clock.Clock, runner.clock),
    Context.add(Random.Random, makeRandom(draw)),
    Context.add(WebCrypto, makeCrypto(draw)),
    Context.add(Logger.CurrentLoggers, new Set([logger])),
    Context.add(ProjectionRegistry.ProjectionRegistry, registry)
  )
}

const text = (message: unknown): string => typeof message === "string" ? message : JSON.stringify(message)

/** @internal The context, with time and scheduling of another runner. */
export const on = <R>(context: Context.Context<R>, engine: Engine, runner: Runner): Context.Context<R> =>
  context.pipe(
    Context.add(Place, { engine, runner }),
    Context.add(Scheduler.Scheduler, runner),
    Context.add(Clock.Clock, runner.clock)
  )

/** @internal Starts a fiber that nothing belongs to but what the context says. */
export const start = <A, E, R>(
  context: Context.Context<R>,
  effect: Effect.Effect<A, E, R>,
  ended: (exit: Exit.Exit<A, E>) => void
): Fiber.Fiber<A, E> => {
  const fiber = Effect.runForkWith(context)(effect)
  fiber.addObserver(ended)
  return fiber
}
