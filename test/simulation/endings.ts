/** What the workloads have in common at their end, when nothing goes wrong any more. */
import type * as OffsetStore from "@sluice/core/OffsetStore"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import type * as SimulatedDatabase from "@sluice/testing/SimulatedDatabase"
import * as Simulation from "@sluice/testing/Simulation"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** Waits until no steps are left to be taken, which a claim says. */
export const allTaken = (
  claim: string,
  left: ReadonlyArray<ReadonlyArray<unknown>>,
  patience: Duration.Input
): Effect.Effect<void, never, Simulation.Simulation> =>
  Effect.sleep("100 millis").pipe(
    Effect.repeat({ while: () => left.some((steps) => steps.length > 0) }),
    Effect.timeoutOrElse({
      duration: patience,
      orElse: () => Simulation.violate(claim, `${left.flat().length} steps are left`)
    }),
    Effect.asVoid
  )

/** Runs an effect on the database, as a process that ends with it. */
export const once = (
  database: SimulatedDatabase.SimulatedDatabase,
  name: string,
  effect: Effect.Effect<unknown, unknown, SimulatedDatabase.Storage | Simulation.Simulation>
) =>
  Effect.flatMap(
    Simulation.process(name, Effect.provide(Effect.orDie(effect), database.layer)),
    ({ ended }) => ended
  )

/** Claims that no letter of a projection is left. */
export const noLetters = Effect.fnUntraced(function*(
  database: SimulatedDatabase.SimulatedDatabase,
  key: OffsetStore.OffsetKey
) {
  const letters = yield* Effect.orDie(
    database.inspect(ProjectionManagement.ProjectionManagement.use((_) => _.listLetters(key, undefined, 1)))
  )
  if (letters.length > 0) return yield* Simulation.violate("what was put aside is handled", JSON.stringify(letters))
})
