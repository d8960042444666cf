import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { OffsetStore } from "../../OffsetStore.ts"
import { monotonicMillis } from "./monotonicMillis.ts"

/** How long whoever is to end waits for a store, in milliseconds. */
const budget = 2_000
/** For how many milliseconds nobody else waits for a store that has not answered in time. */
const silence = 10_000

/** When a store last did not answer in time, in milliseconds. */
const silentSince = new WeakMap<OffsetStore["Service"], number>()

/**
 * @internal
 * Does something with a store, whole, and goes on with its outcome. Whoever is interrupted meanwhile, or was before, waits for a moment only,
 * and all fibers of a process together for little longer: a store that does not answer must not hold up the end of a service.
 */
export const unlessSilent = <A, E, R>(
  store: OffsetStore["Service"],
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.uninterruptible(Effect.gen(function*() {
    // what is sent to a store that is silent could not be interrupted soon either
    const fiber = yield* Effect.forkDetach(Effect.interruptible(effect), { startImmediately: true })
    const awaited = yield* Effect.exit(Effect.interruptible(Fiber.await(fiber)))
    if (Exit.isSuccess(awaited)) return yield* awaited.value
    const outcome = yield* awaitShortly(store, fiber)
    return yield* outcome._tag === "Some" ? outcome.value : Effect.failCause(awaited.cause)
  }))

const awaitShortly = Effect.fnUntraced(function*<A, E>(store: OffsetStore["Service"], fiber: Fiber.Fiber<A, E>) {
  const isSilent = (yield* monotonicMillis) - (silentSince.get(store) ?? -Infinity) < silence
  const outcome = yield* Effect.timeoutOption(Fiber.await(fiber), isSilent ? 0 : budget)
  if (outcome._tag === "None") {
    // one that was not waited for has shown nothing
    if (!isSilent) silentSince.set(store, yield* monotonicMillis)
    yield* Effect.forkDetach(Fiber.interrupt(fiber))
  }
  return outcome
})
