import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"

/** How long an end waits for what was acquired to be released, in milliseconds. */
const budget = 5_000

/**
 * @internal
 * As `Effect.scoped`, for what users have acquired: the outcome stands whatever becomes of the release. One that fails is logged, and one
 * that takes too long goes on by itself.
 */
export const scopedInTime = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, Scope.Scope>> =>
  Effect.suspend(() => {
    const scope = Scope.makeUnsafe()
    return Effect.onExit(Scope.provide(effect, scope), (exit) => release(scope, exit))
  })

const release = Effect.fnUntraced(function*(scope: Scope.Closeable, exit: Exit.Exit<unknown, unknown>) {
  // uninterruptible, as the first finalizer that is interrupted would keep the others from being run
  const releasing = yield* Effect.forkDetach(Scope.close(scope, exit), {
    startImmediately: true,
    uninterruptible: true
  })
  const released = releasing.pollUnsafe() ??
    (yield* Effect.timeoutOrElse(Fiber.await(releasing), { duration: budget, orElse: () => Effect.undefined }))
  if (released === undefined) {
    yield* Effect.logWarning(
      `What a handler or a source has acquired was not released within ${budget} ms. Goes on while it is being released`
    )
  } else if (Exit.isFailure(released)) {
    yield* Effect.logWarning("A handler or a source has failed to release what it has acquired", released.cause)
  }
})
