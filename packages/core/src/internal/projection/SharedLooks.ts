import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import { type Command, noCommand, type ProjectionManagement } from "../../ProjectionManagement.ts"
import type { StorageError } from "../../StorageError.ts"

/** How soon a command that was given in another process is noticed, in milliseconds. */
const pollInterval = 1_000

/**
 * The same while a source takes a filter. Such a change is waited for as long as {@link knownFor} anyway, and each look that is done in time keeps a
 * worker from one of its own before it hands over the next event.
 */
const filteredInterval = 200

/**
 * @internal
 * For how long after it began, in milliseconds, what a look at the commands has shown is gone by. No worker of another process hands an
 * event to a handler that is in no transaction by an older one.
 */
export const knownFor = 500

/** @internal Who is told the command to a projection, once it joins and whenever it may have changed, or why that cannot be read. */
export interface Looker {
  readonly projection: string
  /** Whether its source takes a filter. */
  readonly isFiltered: boolean
  readonly seen: (command: Exit.Exit<Command, StorageError>) => Effect.Effect<void>
}

/**
 * @internal
 * Looks for the commands to all projections of a storage that run in this process. One fiber does so while anybody waits for some, and asks
 * for one number, however many projections there are, as long as nothing is commanded.
 */
export class SharedLooks {
  readonly #management: ProjectionManagement["Service"]
  readonly #lookers = new Set<Looker>()
  /** Those that were told nothing yet. */
  readonly #untold = new Set<Looker>()
  #filtered = 0
  #fiber: Fiber.Fiber<void> | undefined
  readonly #wanted = Latch.makeUnsafe()
  /** Is done with the next look to begin. */
  #next: Deferred.Deferred<void> | undefined
  /** What all projections were commanded when the lookers were told last. */
  #commanded: number | undefined
  #knownAt: bigint | undefined
  #took: number | undefined

  constructor(management: ProjectionManagement["Service"]) {
    this.#management = management
  }

  /** How many milliseconds the last look has taken; undefined if it has failed. */
  get took(): number | undefined {
    return this.#took
  }

  /** Whether those who were told know what was commanded within {@link knownFor}, or by anybody at all. */
  isKnown(clock: Clock.Clock): boolean {
    if (!this.#management.isShared) return true
    return this.#knownAt !== undefined &&
      clock.monotonicTimeNanosUnsafe() - this.#knownAt < BigInt(knownFor) * 1_000_000n
  }

  /** Ends once a look is done that has begun after this. */
  readonly look: Effect.Effect<void> = Effect.suspend(() => {
    if (this.#fiber === undefined) return Effect.void
    this.#next ??= Deferred.makeUnsafe()
    this.#wanted.openUnsafe()
    return Deferred.await(this.#next)
  })

  /** For as long as the scope. */
  join(looker: Looker): Effect.Effect<void, never, Scope.Scope> {
    return Effect.asVoid(Effect.acquireRelease(this.#add(looker), () => this.#remove(looker)))
  }

  #add(looker: Looker): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#lookers.add(looker)
      this.#untold.add(looker)
      if (looker.isFiltered) this.#filtered++
      this.#wanted.openUnsafe()
      if (this.#fiber !== undefined) return Effect.void
      // it is of no looker, as any of them may leave before the others
      return Effect.map(Effect.forkDetach(this.#looking), (fiber) => void (this.#fiber = fiber))
    })
  }

  #remove(looker: Looker): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#lookers.delete(looker)
      this.#untold.delete(looker)
      if (looker.isFiltered) this.#filtered--
      if (this.#lookers.size > 0) return Effect.void
      const fiber = this.#fiber!
      const next = this.#takeNext()
      this.#fiber = undefined
      this.#commanded = undefined
      this.#knownAt = undefined
      return Effect.andThen(next, Fiber.interrupt(fiber))
    })
  }

  /** What is to be done once the next look is. */
  #takeNext(): Effect.Effect<unknown> {
    const next = this.#next
    this.#next = undefined
    return next === undefined ? Effect.void : Deferred.succeed(next, undefined)
  }

  readonly #looking: Effect.Effect<never> = Effect.suspend(() => {
    this.#wanted.closeUnsafe()
    return Effect.ensuring(this.#lookOnce, this.#takeNext())
  }).pipe(
    Effect.andThen(Effect.suspend(() => {
      // where no other process can command anything, each command is told of, unless it could not be read then
      if (!this.#management.isShared && this.#took !== undefined) return this.#wanted.await
      const interval = this.#filtered > 0 ? filteredInterval : pollInterval
      return Effect.timeoutOption(this.#wanted.await, interval)
    })),
    Effect.forever
  )

  readonly #lookOnce: Effect.Effect<void> = Effect.suspend(() => {
    let begun: bigint
    return Effect.flatMap(Clock.monotonicTimeNanos, (now) => {
      begun = now
      return Effect.exit(this.#changed)
    }).pipe(
      Effect.flatMap((exit) =>
        Effect.flatMap(Clock.monotonicTimeNanos, (now) => {
          if (Exit.isFailure(exit)) {
            this.#took = undefined
            const failed = Exit.failCause(exit.cause)
            return Effect.forEach([...this.#lookers], ({ seen }) => seen(failed), { discard: true })
          }
          this.#took = Number((now - begun) / 1_000_000n)
          // only once all are told: there are pauses between, in which a worker may hand over an event
          return Effect.andThen(exit.value, Effect.sync(() => void (this.#knownAt = begun)))
        })
      )
    )
  })

  /** Reads what was commanded since the last look. Returns how those are told whom it may concern. */
  readonly #changed: Effect.Effect<Effect.Effect<void>, StorageError> = Effect.suspend(() =>
    Effect.flatMap(this.#management.commanded, (commanded) => {
      const lookers = [...(commanded === this.#commanded ? this.#untold : this.#lookers)]
      if (lookers.length === 0) return Effect.succeed(Effect.void)
      const names = new Set(lookers.map(({ projection }) => projection))
      return Effect.map(this.#management.commands([...names]), (commands) => {
        // what came after this number is told once more
        this.#commanded = commanded
        for (const looker of lookers) this.#untold.delete(looker)
        return Effect.forEach(
          lookers,
          ({ projection, seen }) => seen(Exit.succeed(commands.get(projection) ?? noCommand)),
          { discard: true }
        )
      })
    })
  )
}

const sharedLooks = new WeakMap<ProjectionManagement["Service"], SharedLooks>()

/** @internal Those of a storage, as this process has it. */
export const sharedLooksOf = (management: ProjectionManagement["Service"]): SharedLooks => {
  let found = sharedLooks.get(management)
  if (found === undefined) sharedLooks.set(management, found = new SharedLooks(management))
  return found
}
