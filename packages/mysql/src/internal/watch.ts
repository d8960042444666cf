import type { Offsets } from "@sluice/core/Offset"
import * as Slice from "@sluice/core/Slice"
import type { AppendSignals } from "@sluice/sql/adapter/AppendSignals"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** How often to look for what other processes append: soon after there was something, and later when it is quiet. */
const soon = 10
const later = 100

/**
 * @internal
 * Looks at the heads of the logs, a thousand short rows of an entity type, for changes that this process did not make. MySQL has
 * nothing that tells of a commit.
 */
export const watch = (
  heads: (topic: string) => Effect.Effect<Offsets, unknown>,
  signals: AppendSignals
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function*() {
    const known = new Map<string, Offsets>()
    /** The last positions that this process has written. */
    const own = new Map<string, Float64Array>()
    const listen = Effect.fnUntraced(function*(topic: string) {
      const written = new Float64Array(Slice.count)
      own.set(topic, written)
      yield* signals.committed(topic, (events) => {
        for (const { position, slice } of events) written[slice] = Math.max(written[slice]!, position!)
      })
      return written
    })
    let wait = soon
    let isAway = false
    const look = Effect.gen(function*() {
      yield* signals.awaited
      let changed = false
      for (const topic of signals.topics()) {
        const before = known.get(topic)
        const now = yield* heads(topic)
        if (isAway) signals.reconnected()
        isAway = false
        known.set(topic, now)
        const written = own.get(topic) ?? (yield* listen(topic))
        const slices = [...now].filter(([slice, { position }]) =>
          position > Math.max(before?.get(slice)?.position ?? 0, written[slice]!)
        )
        if (slices.length === 0) continue
        changed = true
        signals.signal(topic, slices.map(([slice]) => slice))
      }
      wait = changed ? soon : Math.min(wait * 1.5, later)
      yield* Effect.sleep(wait)
    })
    yield* Effect.forever(
      Effect.catch(look, () => {
        // readers that wait for events would not notice that the database is gone: they look, and say so
        if (!isAway) signals.signalAll()
        isAway = true
        return Effect.sleep(later)
      })
    ).pipe(Effect.forkScoped)
  })
