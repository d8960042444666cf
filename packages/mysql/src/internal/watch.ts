import type { Offsets } from "@sluice/core/Offset"
import type { AppendSignals } from "@sluice/sql/AppendSignals"
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
    let wait = soon
    const look = Effect.gen(function*() {
      yield* signals.awaited
      let changed = false
      for (const topic of signals.topics()) {
        const before = known.get(topic)
        const now = yield* heads(topic)
        known.set(topic, now)
        const slices = [...now].filter(([slice, { position }]) => before?.get(slice)?.position !== position)
        if (slices.length === 0) continue
        changed = true
        signals.signal(topic, slices.map(([slice]) => slice))
      }
      wait = changed ? soon : Math.min(wait * 1.5, later)
      yield* Effect.sleep(wait)
    })
    yield* Effect.forever(
      // readers say so themselves when the database is gone
      Effect.catch(look, () => Effect.sleep(later))
    ).pipe(Effect.forkScoped)
  })
