import * as Projection from "@sluice/core/Projection"
import { offsetKey } from "@sluice/core/ProjectionDefinition"
import { ProjectionManagement } from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/** How long what was put aside waits until it is given to the entities again, in milliseconds: at first, and at most. */
const firstPause = 1_000
const longestPause = 30_000

/** For how long nobody is given what a process was giving that has died: an arrival is known if it comes twice, so it need not be long. */
const claimFor = "30 seconds"

const nothingGiven = { handled: 0, failed: 0, excluded: 0 }

/** What was said last, so that it is said once. */
type Said = "heldUp" | "failed" | undefined

/**
 * @internal
 * Gives entities again what the projection has put aside, from time to time, as long as workers of this process know of something. A projection that is paused, or has stopped,
 * is left alone.
 */
export const givingAgain = <R>(
  projection: Projection.Projection<any, R>
): Effect.Effect<never, never, R | ProjectionManagement> =>
  Effect.gen(function*() {
    const { name } = projection
    const management = yield* ProjectionManagement
    let pause = firstPause
    let said: Said
    while (true) {
      yield* Effect.sleep(pause)
      const workers = yield* ProjectionStatus.status(name)
      const isToGive = workers.some(({ parked, state }) => parked > 0 && state !== "Paused" && state !== "Stopped")
      if (!isToGive && said === undefined) {
        pause = firstPause
        continue
      }
      const giving = isToGive ? Projection.handleDeadLetters(projection, { claimFor }) : Effect.succeed(nothingGiven)
      // afterwards: what others are giving meanwhile waits as well, and is not counted
      const waiting = management.letterCounts(offsetKey(projection))
      const exit = yield* Effect.exit(Effect.all([giving, waiting]))
      pause = Math.min(pause * 2, longestPause)
      if (Exit.isFailure(exit)) {
        if (said !== "failed") {
          yield* Effect.logWarning("What waits cannot be given to its entities now; it is tried again", exit.cause)
        }
        said = "failed"
        continue
      }
      const [{ excluded, failed, handled }, { entities }] = exit.value
      if (handled > 0) pause = firstPause
      const isHeldUp = failed + excluded > 0 && entities > 0
      if (isHeldUp && said !== "heldUp") {
        yield* Effect.logWarning(
          `Entities cannot take events of another replica, which are given to them again, at least every ${
            longestPause / 1000
          } seconds: ${entities} of them. ` +
            "ProjectionManagement.deadLetterGroups says why"
        )
      }
      if (isHeldUp) said = "heldUp"
      else if (entities === 0) {
        if (said !== undefined) yield* Effect.logInfo("The entities have taken what had waited for them")
        said = undefined
      }
    }
  }).pipe(Effect.annotateLogs({ projection: projection.name }))
