import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"

/**
 * @internal
 * Runs what a user does before an event of another replica is stored, and says why the event is not to be, if it is not. One that takes too long is interrupted. One that does not let
 * itself be goes on without anybody who waits for it, and no other one of its entity begins beside it.
 */
export const interceptions = <A extends { readonly id: string }>(
  intercept: (arriving: A) => Effect.Effect<unknown, unknown, any>,
  within: Duration.Duration
) => {
  const running = new Set<string>()
  const problem = `it takes longer than ${Duration.format(within)}`
  return (arriving: A): Effect.Effect<string | undefined, never, any> =>
    Effect.suspend(() => {
      const { id } = arriving
      if (running.has(id)) {
        return Effect.succeed("one that began before has not ended, and does not let itself be interrupted")
      }
      // not a child, as the end of a fiber waits for its children
      const begun = Effect.tap(
        Effect.forkDetach(Effect.suspend(() => intercept(arriving)), { startImmediately: true }),
        (fiber) =>
          Effect.sync(() => {
            running.add(id)
            fiber.addObserver(() => void running.delete(id))
          })
      )
      return Effect.acquireUseRelease(
        begun,
        (fiber) =>
          Effect.timeoutOrElse(Effect.map(Fiber.await(fiber), problemOf), {
            duration: within,
            orElse: () => Effect.succeed(problem)
          }),
        (fiber) => Effect.sync(() => fiber.interruptUnsafe())
      )
    })
}

const problemOf = (exit: Exit.Exit<unknown, unknown>): string | undefined => {
  if (Exit.isSuccess(exit)) return undefined
  const error = Cause.squash(exit.cause)
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
}
