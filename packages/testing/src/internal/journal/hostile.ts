import { assert } from "@effect/vitest"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import * as Journal from "@sluice/core/Journal"
import * as SliceRange from "@sluice/core/SliceRange"
import { StorageError } from "@sluice/core/StorageError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as Wait from "../../Wait.ts"
import { append, assertComplete, following, fresh, idsIn, offsetsAfter, readAll, textOf, texts } from "../kit.ts"

const writersPerJournal = 8
const operations = 10

/**
 * @internal
 * Writers that hold transactions open for random times, roll some back, are interrupted in others and touch several logs, and
 * tails that read meanwhile: these must see every committed event once, in order, and nothing else.
 */
export const hostile = (journals: ReadonlyArray<Journal.Journal["Service"]>) =>
  Effect.gen(function*() {
    const type = fresh("hostile")
    // a few entities that share logs, and some that do not
    const ids = [
      ...idsIn(type, SliceRange.make(100, 101), 5),
      ...idsIn(type, SliceRange.make(500, 1000), 5)
    ]
    const committed: Array<string> = []

    const writer = (name: string) =>
      Effect.gen(function*() {
        for (let i = 0; i < operations; i++) {
          const chosen = (yield* Random.shuffle(ids)).slice(0, yield* Random.nextIntBetween(1, 3))
          const written: Array<string> = []
          const write = (id: string, k: number) => {
            const events = texts(1 + k, `${name} ${i} ${k} `)
            return Effect.tap(append(type, id, events), () => Effect.sync(() => written.push(...events)))
          }
          const hold = Effect.flatMap(Random.nextIntBetween(0, 3), (millis) => Effect.sleep(millis))
          const whole = Effect.forEach(chosen, (id, k) => Effect.andThen(write(id, k), hold))
          const kind = yield* Random.nextIntBetween(0, 7)
          const operation: Effect.Effect<unknown, unknown, Journal.Journal> = kind < 3
            ? write(chosen[0]!, 1)
            : kind < 6
            ? Journal.transaction(whole)
            : kind === 6
            ? Journal.transaction(Effect.andThen(whole, Effect.fail("rollback")))
            : Effect.timeout(Journal.transaction(Effect.andThen(whole, Effect.never)), 4)
          const exit = yield* Effect.exit(operation)
          if (Exit.isSuccess(exit)) committed.push(...written)
          // a deadlock is a rollback, anything else is an error
          else if (kind < 6) yield* Effect.catchIf(exit, isRetryable, () => Effect.void)
        }
      })

    /** Reads while the journal grows, and opens its reader again now and then, at its own offsets. */
    const tail = (seen: Array<EncodedEnvelope>, range: SliceRange.SliceRange, limit: number, pages: number) =>
      Effect.gen(function*() {
        const journal = yield* Journal.Journal
        const changed = yield* journal.changes(type.name)
        while (true) {
          yield* Effect.scoped(Effect.gen(function*() {
            const reader = yield* journal.reader(type.name, range, offsetsAfter(seen))
            for (let i = 0; i < pages; i++) {
              const page = yield* reader.next(limit)
              if (page.length === 0) yield* changed
              seen.push(...page)
            }
          }))
        }
      })

    /** Follows the journal as a source does, and opens it again now and then, at its own offsets. */
    const follower = (seen: Array<EncodedEnvelope>, range: SliceRange.SliceRange, events: number) =>
      Effect.suspend(() => following(type, range, offsetsAfter(seen))).pipe(
        Effect.flatMap((envelopes) =>
          Stream.runForEach(Stream.take(envelopes, events), (event) => Effect.sync(() => seen.push(event)))
        ),
        Effect.scoped,
        Effect.forever
      )

    const tails = journals.flatMap((journal) =>
      [
        { range: SliceRange.full, read: tail, args: [100, Infinity] },
        { range: SliceRange.full, read: tail, args: [3, 4] },
        { range: SliceRange.make(0, 511), read: tail, args: [7, 20] },
        { range: SliceRange.full, read: follower, args: [Infinity] },
        { range: SliceRange.full, read: follower, args: [10] },
        { range: SliceRange.make(101, 700), read: follower, args: [50] }
      ].map((options) => Object.assign(options, { journal, seen: new Array<EncodedEnvelope>() }))
    )
    for (const { args, journal, range, read, seen } of tails) {
      yield* read(seen, range, ...args as [number, number]).pipe(
        Effect.provideService(Journal.Journal, journal),
        Effect.forkScoped
      )
    }
    yield* Effect.forEach(
      journals.flatMap((journal, j) =>
        Array.from({ length: writersPerJournal }, (_, i) => [journal, `${j}-${i}`] as const)
      ),
      ([journal, name]) => Effect.provideService(writer(name), Journal.Journal, journal),
      { concurrency: "unbounded" }
    )

    const stored = yield* Effect.provideService(readAll(type), Journal.Journal, journals[0]!)
    assert.sameMembers(stored.map(textOf), committed)
    assertComplete(stored)
    for (const { range, seen } of tails) {
      const expected = stored.filter(({ slice }) => SliceRange.contains(range, slice))
      yield* Wait.until(
        `a tail to see ${expected.length} events`,
        () => seen.length >= expected.length
      )
      assert.sameMembers(seen.map(textOf), expected.map(textOf))
      assertComplete(seen)
    }
  }).pipe(Effect.scoped)

const isRetryable = (error: unknown): boolean => error instanceof StorageError && error.isRetryable
