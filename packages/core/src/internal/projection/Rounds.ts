import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { monotonicMillis } from "./monotonicMillis.ts"

/** So many parts a round has. Who looks has its turn in one of them, by chance, so that many that begin at once do not ask a storage at once. */
const parts = 10

/** @internal Looks at something, at a monotonic time in milliseconds. Returns what is to be done about it, and nothing where it sees that nothing is. */
export type Look = (at: number) => Effect.Effect<void> | undefined

/**
 * @internal
 * Has many look at something now and then, each once in a round. One timer does for all of them: what each would cost to be woken by itself is more than
 * what it looks at.
 */
export class Rounds {
  readonly #every: number
  readonly #parts = Array.from({ length: parts }, () => new Set<() => void>())
  #at = 0
  #lookers = 0
  #part = 0
  #fiber: Fiber.Fiber<void> | undefined

  /** A round takes so many milliseconds. */
  constructor(every: number) {
    this.#every = every
  }

  /** For as long as the scope. It does not look while that is still done which it has said last. */
  join(look: Look): Effect.Effect<void, never, Scope.Scope> {
    return Effect.gen({ self: this }, function*() {
      const part = this.#parts[Math.floor((yield* Random.next) * parts)]!
      const scope = yield* Effect.scope
      const context = yield* Effect.context()
      let isBusy = false
      const turn = () => {
        const toDo = isBusy ? undefined : orLogged(look, this.#at)
        if (toDo === undefined) return
        isBusy = true
        Effect.runForkWith(context)(
          Effect.forkIn(Effect.ensuring(toDo, Effect.sync(() => void (isBusy = false))), scope)
        )
      }
      yield* Effect.acquireRelease(
        Effect.suspend(() => {
          part.add(turn)
          return this.#lookers++ > 0 ? Effect.void : this.#start
        }),
        () =>
          Effect.suspend(() => {
            part.delete(turn)
            return --this.#lookers > 0 ? Effect.void : this.#stop
          })
      )
    })
  }

  readonly #start = Effect.suspend(() =>
    // it is of no looker, as any of them may leave before the others
    Effect.map(Effect.forkDetach(this.#rounds), (fiber) => void (this.#fiber = fiber))
  )

  readonly #stop = Effect.suspend(() => {
    const fiber = this.#fiber!
    this.#fiber = undefined
    return Fiber.interrupt(fiber)
  })

  readonly #rounds: Effect.Effect<never> = Effect.suspend(() => Effect.sleep(this.#every / parts)).pipe(
    Effect.andThen(monotonicMillis),
    Effect.map((at) => {
      this.#at = at
      this.#part = (this.#part + 1) % parts
      for (const turn of this.#parts[this.#part]!) turn()
    }),
    Effect.forever
  )
}

/** One that throws keeps no other from its turn. */
const orLogged: (look: Look, at: number) => ReturnType<Look> = (look, at) => {
  try {
    return look(at)
  } catch (error) {
    return Effect.logError("Could not look at a projection", Cause.die(error))
  }
}
