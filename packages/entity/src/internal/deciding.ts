import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { After } from "../Decision.ts"
import { DecisionFailed } from "../EntityError.ts"
import { inTime } from "./inTime.ts"

/** @internal The entity and the command that a decision is about. */
export interface About {
  readonly entityType: string
  readonly id: string
  readonly command: string
}

/**
 * @internal
 * What a function of the user's decides, purely or as an effect. It fails with `DecisionFailed` where it throws, dies or takes too long; what the effect
 * fails with is a rejection.
 */
export const deciding = (
  about: About,
  decideWithin: Duration.Duration,
  decide: () => unknown
): Effect.Effect<Result.Result<unknown, unknown>, DecisionFailed, any> =>
  Effect.suspend(() => {
    let decided: unknown
    try {
      decided = decide()
    } catch (cause) {
      return Effect.fail(new DecisionFailed({ ...about, problem: "`decide` throws", cause }))
    }
    if (!Effect.isEffect(decided)) return Effect.succeed(Result.succeed(decided))
    return Effect.flatMap(
      inTime(decided as Effect.Effect<unknown, unknown, any>, decideWithin),
      (exit): Effect.Effect<Result.Result<unknown, unknown>, DecisionFailed> => {
        if (exit === undefined) {
          const problem = `\`decide\` takes longer than ${Duration.format(decideWithin)}`
          return Effect.fail(new DecisionFailed({ ...about, problem }))
        }
        if (Exit.isSuccess(exit)) return Effect.succeed(Result.succeed(exit.value))
        const rejection = Cause.findErrorOption(exit.cause)
        return Option.isSome(rejection) && !Cause.hasDies(exit.cause)
          ? Effect.succeed(Result.fail(rejection.value))
          : Effect.fail(new DecisionFailed({ ...about, problem: "`decide` dies", cause: Cause.squash(exit.cause) }))
      }
    )
  })

/** @internal What a pure function of the user's gives, which may throw. */
export const computing = <A>(about: About, name: string, f: () => A): Effect.Effect<A, DecisionFailed> =>
  Effect.try({
    try: f,
    catch: (cause) => new DecisionFailed({ ...about, problem: `\`${name}\` throws`, cause })
  })

/** @internal Runs effects after persisting one after the other. One that fails, or takes too long, is logged. */
export const runAfter = <State>(
  about: About,
  within: Duration.Duration,
  after: ReadonlyArray<After<State, any>>,
  ...args: Parameters<After<State, any>>
): Effect.Effect<void, never, any> =>
  Effect.forEach(after, (effect) =>
    Effect.flatMap(inTime(Effect.suspend(() => effect(...args)), within), (exit) => {
      if (exit === undefined) {
        return Effect.logWarning(
          `What is to be done after persisting takes longer than ${Duration.format(within)}: it was stopped`
        )
      }
      return Exit.isSuccess(exit)
        ? Effect.void
        : Effect.logWarning("What was to be done after persisting has failed", exit.cause)
    }), { discard: true }).pipe(
      Effect.annotateLogs({ entityType: about.entityType, id: about.id, command: about.command })
    )
