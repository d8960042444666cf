import { assert, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Offset from "@sluice/core/Offset"
import { ReadBudget } from "@sluice/core/ReadBudget"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { follow } from "../src/internal/reading/follow.ts"

const Note = EntityType.make("note", { codec: EventCodec.string })

it.effect("what is appended between a look at the tail that finds nothing and the wait for more wakes the follower", () =>
  Effect.gen(function*() {
    const journal = yield* Journal.Journal
    let readsJournal = false
    const told: Journal.Journal["Service"] = {
      ...journal,
      reader: (...args) =>
        Effect.map(journal.reader(...args), (reader) => ({
          ...reader,
          next: (limit) => Effect.suspend(() => (readsJournal = true, reader.next(limit)))
        }))
    }
    let appended = 0
    const append = Effect.suspend(() => Journal.append(Note, { id: `${++appended}`, events: ["x"] }))
    /** Takes its time after each look, and three looks at the tail end with an append that they do not see. */
    const slow: ReadBudget = {
      read: (page, limit) =>
        Effect.gen(function*() {
          readsJournal = false
          const events = yield* page(limit)
          yield* Effect.yieldNow
          if (!readsJournal && events.length === 0 && appended < 3) {
            yield* Effect.orDie(Effect.provideService(append, Journal.Journal, journal))
          }
          return events
        })
    }
    let seen = 0
    const feed = yield* Effect.provideService(
      follow(Note.name, SliceRange.full, { journal: undefined, offsets: Offset.none }),
      ReadBudget,
      slow
    ).pipe(Effect.provideService(Journal.Journal, told))
    yield* Effect.forkScoped(Stream.runForEach(feed.envelopes, () => Effect.sync(() => seen++)))
    yield* Wait.until("three events", () => seen === 3)
    assert.strictEqual(appended, 3)
  }).pipe(Effect.provide(MemoryStorage.layer)))
