import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type { SqlError } from "effect/sql/SqlError"
import { retryRefused } from "../retryRefused.ts"

/** @internal The entity types that this process has registered: each once, before its first append. */
export class Registrations {
  readonly #register: (entityType: string) => Effect.Effect<void, SqlError>
  readonly #registered = new Set<string>()
  readonly #oneAtATime = Semaphore.makeUnsafe(1)

  constructor(register: (entityType: string) => Effect.Effect<void, SqlError>) {
    this.#register = register
  }

  has(entityType: string): boolean {
    return this.#registered.has(entityType)
  }

  /** Registers the entity type, unless it is registered. */
  add(entityType: string): Effect.Effect<void, SqlError> {
    if (this.has(entityType)) return Effect.void
    return this.#oneAtATime.withPermit(Effect.suspend(() =>
      this.has(entityType)
        ? Effect.void
        : Effect.andThen(
          retryRefused(this.#register(entityType)),
          Effect.sync(() => void this.#registered.add(entityType))
        )
    ))
  }
}
