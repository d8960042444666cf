import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { OffsetStore } from "../../OffsetStore.ts"

/** How long a worker that is to end waits for its store, in milliseconds. */
const budget = 2_000
/** For how many milliseconds no other worker waits for a store that has not answered in time. */
const silence = 10_000

/** When a store last did not answer in time, in milliseconds. */
const silentSince = new WeakMap<OffsetStore["Service"], number>()

const now = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos / 1_000_000n))

/**
 * @internal
 * Saves, and ignores failures. A worker that is interrupted waits for a moment only, and all workers of a process
 * together for little longer: a store that does not answer must not hold up the end of a service.
 */
export const lastSave = <E, R>(
  store: OffsetStore["Service"],
  save: Effect.Effect<void, E, R>
): Effect.Effect<void, never, R> =>
  Effect.gen(function*() {
    // a statement to a silent store could not be interrupted soon either
    const saving = yield* Effect.forkDetach(save, { startImmediately: true })
    yield* Effect.onInterrupt(Effect.interruptible(Fiber.await(saving)), () => awaitShortly(store, saving))
  })

const awaitShortly = Effect.fnUntraced(function*(store: OffsetStore["Service"], saving: Fiber.Fiber<void, unknown>) {
  const isSilent = (yield* now) - (silentSince.get(store) ?? -Infinity) < silence
  const saved = yield* Effect.timeoutOption(Fiber.await(saving), isSilent ? 0 : budget)
  if (saved._tag === "Some") return
  silentSince.set(store, yield* now)
  yield* Effect.forkDetach(Fiber.interrupt(saving))
})
