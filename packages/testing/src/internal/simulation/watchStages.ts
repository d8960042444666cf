import type { Envelope } from "@sluice/core/Envelope"
import type { Stage } from "@sluice/core/Stage"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"

/** @internal The stages of a source, of which is told what they drop and what they fail on. */
export const watchStages = (stages: ReadonlyArray<Stage>, told: {
  readonly dropped: (envelope: Envelope<any>) => unknown
  readonly failed: (envelope: Envelope<any>, isPermanent: boolean) => unknown
}): ReadonlyArray<Stage> => {
  const passed = (envelope: Envelope<any>, result: Envelope<any> | undefined) => {
    if (result === undefined) told.dropped(envelope)
    return result
  }
  return stages.map((stage): Stage =>
    stage._tag === "Sync"
      ? {
        ...stage,
        run: (envelope) => {
          try {
            return passed(envelope, stage.run(envelope))
          } catch (defect) {
            told.failed(envelope, true)
            throw defect
          }
        }
      }
      : {
        ...stage,
        run: (envelope) =>
          Effect.suspend(() => stage.run(envelope)).pipe(
            Effect.map((result) => passed(envelope, result)),
            Effect.tapCause((cause) =>
              Effect.sync(() => {
                if (!Cause.hasInterruptsOnly(cause)) told.failed(envelope, false)
              })
            )
          )
      }
  )
}
