import * as Effect from "effect/Effect"
import { InvalidInput } from "../InvalidInput.ts"
import * as PersistenceId from "../PersistenceId.ts"
import { quotedProblem } from "./quote.ts"

/** @internal The persistence id of an entity, whose id may be anything. Throws an `InvalidInput`. */
export const persistenceIdUnsafe = (
  { name }: { readonly name: string },
  entityId: string
): PersistenceId.PersistenceId => {
  try {
    if (typeof entityId !== "string") throw new RangeError(quotedProblem(entityId))
    return PersistenceId.make(name, entityId)
  } catch (cause) {
    throw new InvalidInput({ input: "entity id", problem: (cause as RangeError).message })
  }
}

/** @internal As {@link persistenceIdUnsafe}. */
export const persistenceIdOf = (
  entityType: { readonly name: string },
  entityId: string
): Effect.Effect<PersistenceId.PersistenceId, InvalidInput> =>
  Effect.try({ try: () => persistenceIdUnsafe(entityType, entityId), catch: (error) => error as InvalidInput })
