import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/** How long what was put aside waits until it is given to the entities again, in milliseconds: at first, and at most. */
const firstPause = 1_000
const longestPause = 30_000

/** What was said last, so that it is said once. */
type Said = "heldUp" | "failed" | undefined

/**
 * @internal
 * Gives entities again what the projection has put aside, from time to time, as long as workers of this process know of something. A projection that is paused, or has stopped,
 * is left alone.
 */
export const givingAgain = <R>(projection: Projection.Projection<any, R>): Effect.Effect<never, never, R> =>
  Effect.gen(function*() {
    const { name } = projection
    let pause = firstPause
    let said: Said
    while (true) {
      yield* Effect.sleep(pause)
      const workers = yield* ProjectionStatus.status(name)
      if (!workers.some(({ parked, state }) => parked > 0 && state !== "Paused" && state !== "Stopped")) {
        pause = firstPause
        continue
      }
      const exit = yield* Effect.exit(Projection.handleDeadLetters(projection))
      pause = Math.min(pause * 2, longestPause)
      if (Exit.isFailure(exit)) {
        if (said !== "failed") {
          yield* Effect.logWarning("What waits cannot be given to its entities now; it is tried again", exit.cause)
        }
        said = "failed"
        continue
      }
      const { excluded, failed, handled } = exit.value
      if (handled > 0) pause = firstPause
      const isHeldUp = failed + excluded > 0
      if (isHeldUp && said !== "heldUp") {
        yield* Effect.logWarning(
          `Entities cannot take events of another replica, which are given to them again, at least every ${
            longestPause / 1000
          } seconds: ${failed}. ` +
            "ProjectionManagement.deadLetterGroups says why"
        )
      }
      if (!isHeldUp && said !== undefined) yield* Effect.logInfo("The entities have taken what had waited for them")
      said = isHeldUp ? "heldUp" : undefined
    }
  }).pipe(Effect.annotateLogs({ projection: projection.name }))
