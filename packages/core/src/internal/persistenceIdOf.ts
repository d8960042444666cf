import * as Effect from "effect/Effect"
import { InvalidInput } from "../InvalidInput.ts"
import * as PersistenceId from "../PersistenceId.ts"
import { quotedProblem } from "./quote.ts"

/** @internal The persistence id of an entity, whose id may be anything. */
export const persistenceIdOf = (
  { name }: { readonly name: string },
  entityId: string
): Effect.Effect<PersistenceId.PersistenceId, InvalidInput> =>
  Effect.suspend(() => {
    try {
      if (typeof entityId !== "string") throw new RangeError(quotedProblem(entityId))
      return Effect.succeed(PersistenceId.make(name, entityId))
    } catch (cause) {
      return Effect.fail(new InvalidInput({ input: "entity id", problem: (cause as RangeError).message }))
    }
  })
