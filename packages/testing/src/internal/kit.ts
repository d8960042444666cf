import type { Vitest } from "@effect/vitest"
import { assert } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import { type EncodedEnvelope, isSkipped } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import { InvalidInput } from "@sluice/core/InvalidInput"
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import { type Ahead, type Move, type OffsetKey, OffsetStore } from "@sluice/core/OffsetStore"
import { ProjectionManagement } from "@sluice/core/ProjectionManagement"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import type * as Timestamp from "@sluice/core/Timestamp"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as Wait from "../Wait.ts"
import { freshId, freshNameOf } from "./ids.ts"

/** @internal What `layer(…)("…", (it) => …)` hands to its block. */
export type It<R> = Vitest.MethodsNonLive<R>

/** @internal An entity type of its own for a test, as all tests of a suite share a journal that may also outlive them. */
export const fresh = (name: string): EntityType.EntityType<string> =>
  EntityType.make(freshNameOf(name), { codec: EventCodec.string })

/** @internal */
export const texts = (n: number, prefix = "e"): NonEmptyReadonlyArray<string> =>
  Array.from({ length: n }, (_, i) => `${prefix}${i + 1}`) as any

/** @internal A random whole number from 0 on. */
export const below = (n: number): Effect.Effect<number> => Random.nextIntBetween(0, n - 1)

/** @internal */
export const append = (
  entityType: EntityType.EntityType<string>,
  id: string,
  events: NonEmptyReadonlyArray<string>,
  expected?: Journal.ExpectedSequenceNumber
) => Journal.append(entityType, { id, events, expected })

/** @internal */
export const number = SequenceNumber.make

/** @internal The texts of an entity's events, checked to be numbered from 1 without gaps. */
export const eventsOf = (entityType: EntityType.EntityType<string>, id: string) =>
  Effect.map(Stream.runCollect(Journal.read(entityType, id)), (envelopes) => {
    const persistenceId = EntityType.persistenceId(entityType, id)
    envelopes.forEach((envelope, i) => {
      assert.strictEqual(envelope.sequenceNumber, i + 1)
      assert.strictEqual(envelope.persistenceId, persistenceId)
    })
    return envelopes.map(({ event }) => event)
  })

/** @internal An event as a client of the journal's service makes it. */
export const newEvent = (text: string, change?: Partial<Journal.NewEvent>): Journal.NewEvent => ({
  id: freshId(),
  payload: EventCodec.string.encodeUnsafe(text),
  tags: [],
  metadata: {},
  ...change
})

/** @internal Texts that PostgreSQL, or a stream, could not keep. */
export const impossible: ReadonlyArray<string> = ["\0", "a\0b", "a\ud800", "\udc00b", "\udc00\ud800"]

/** @internal That it was refused for what it is, before anything was stored. */
export function assertInvalid(error: unknown): asserts error is InvalidInput {
  assert.instanceOf(error, InvalidInput)
}

/** @internal */
export const request = (
  entityType: EntityType.EntityType<any>,
  id: string,
  events: NonEmptyReadonlyArray<Journal.NewEvent>,
  expected: Journal.ExpectedSequenceNumber = "any"
): Journal.AppendRequest => ({
  entityType: entityType.name,
  persistenceId: EntityType.persistenceId(entityType, id),
  expected,
  events,
  recheck: false
})

/** @internal */
export const textOf = ({ payload }: EncodedEnvelope): string => EventCodec.string.decodeUnsafe(payload!)

/** @internal Reads on until there is nothing more. */
export const drain = <E>(
  reader: { readonly next: (limit: number) => Effect.Effect<ReadonlyArray<EncodedEnvelope>, E> },
  limit = 100
) =>
  Effect.gen(function*() {
    const found: Array<EncodedEnvelope> = []
    while (true) {
      const page = yield* reader.next(limit)
      assert.isAtMost(page.length, limit, "a page is not larger than its limit")
      if (page.length === 0) return found
      found.push(...page)
    }
  })

/** @internal The events of an entity type's journal as they are stored, as a source reads them on and on. */
export const following = (
  entityType: EntityType.EntityType<any>,
  range: SliceRange.SliceRange,
  start: Offset.Offsets,
  byTime = false
) =>
  Effect.map(
    Source.journal(entityType).provider.open(range, { journal: undefined, offsets: start, byTime }),
    ({ envelopes }) => Stream.filter(envelopes, (element): element is EncodedEnvelope => !isSkipped(element))
  )

/**
 * @internal
 * By how much, in microseconds, an event may be older than an event of another slice that was committed before it, if
 * one append follows the other. Events of one log that are appended at once have consecutive timestamps, which run
 * ahead of the clock.
 */
export const inexact = 1000

/** @internal Checks that no event is older than the one before it, over all slices. */
export const assertByTime = (events: ReadonlyArray<EncodedEnvelope>): void => {
  for (let i = 1; i < events.length; i++) {
    const older = events[i - 1]!.timestamp - events[i]!.timestamp
    assert.isAtMost(older, inexact, `event ${i} of ${events.length} is older than the one before it, in microseconds`)
  }
}

/** @internal Waits for the journal's clock to pass a time: events of one tick of it can have the same time in two logs. */
export const laterThan = (timestamp: Timestamp.Timestamp) =>
  Wait.until(
    "a later time",
    Effect.map(Journal.Journal.use((journal) => journal.now), (now) => now > timestamp)
  )

/**
 * @internal
 * Checks that whoever waits for a change is woken with the commit, by this process itself. Otherwise the wait would end as well, but only
 * when the storage looks for changes of other processes.
 */
export const assertWakes = <E, R>(changed: Effect.Effect<void>, changes: ReadonlyArray<Effect.Effect<unknown, E, R>>) =>
  Effect.forEach(changes, (change) =>
    Effect.gen(function*() {
      const waiting = yield* Effect.forkChild(changed)
      yield* change
      for (let turns = 0; turns < 10; turns++) yield* Effect.yieldNow
      assert.isDefined(waiting.pollUnsafe(), "whoever waits is woken with the commit")
    }), { discard: true })

/** @internal Reads an entity type from `start` to the end. */
export const readAll = (entityType: EntityType.EntityType<any>, options?: {
  readonly range?: SliceRange.SliceRange
  readonly start?: Offset.Offsets
  readonly limit?: number
}) =>
  Effect.gen(function*() {
    const journal = yield* Journal.Journal
    const reader = yield* journal.reader(
      entityType.name,
      options?.range ?? SliceRange.full,
      options?.start ?? Offset.none
    )
    return yield* drain(reader, options?.limit)
  }).pipe(Effect.scoped)

/** @internal */
export const bySlice = (events: ReadonlyArray<EncodedEnvelope>): Map<Slice.Slice, Array<EncodedEnvelope>> =>
  Map.groupBy(events, ({ slice }) => slice)

/**
 * @internal
 * Checks that the events of each log have the positions that follow its offset, without gaps, and rising timestamps, and
 * that each is in the slice that it belongs to.
 */
export const assertComplete = (events: ReadonlyArray<EncodedEnvelope>, after: Offset.Offsets = Offset.none): void => {
  for (const [slice, log] of bySlice(events)) {
    let { position, timestamp } = after.get(slice) ?? Offset.make(0, 0)
    for (const event of log) {
      assert.strictEqual(event.position, position + 1, `positions of slice ${slice} are dense, and in order`)
      assert.isTrue(Number.isSafeInteger(event.timestamp), "timestamps are safe integers")
      assert.isAbove(event.timestamp, timestamp, `timestamps of slice ${slice} rise`)
      assert.strictEqual(event.slice, Slice.ofPersistenceId(event.persistenceId))
      position = event.position!
      timestamp = event.timestamp
    }
  }
}

/** @internal The offsets of a reader that has read the events. */
export const offsetsAfter = (
  events: ReadonlyArray<EncodedEnvelope>,
  before: Offset.Offsets = Offset.none
): Map<Slice.Slice, Offset.Offset> => {
  const offsets = new Map(before)
  for (const { position, slice, timestamp } of events) offsets.set(slice, { position: position!, timestamp })
  return offsets
}

/** @internal The slice of an entity. */
export const sliceOf = (entityType: EntityType.EntityType<any>, id: string): Slice.Slice =>
  Slice.ofPersistenceId(EntityType.persistenceId(entityType, id))

/** @internal `n` entity ids whose slice the range contains. */
export const idsIn = (
  entityType: EntityType.EntityType<any>,
  range: SliceRange.SliceRange,
  n: number
): ReadonlyArray<string> => {
  const ids: Array<string> = []
  for (let i = 0; ids.length < n; i++) {
    if (SliceRange.contains(range, sliceOf(entityType, `i${i}`))) ids.push(`i${i}`)
  }
  return ids
}

/** @internal `n` entity ids of one slice. */
export const idsOfSlice = (entityType: EntityType.EntityType<any>, slice: number, n: number) =>
  idsIn(entityType, SliceRange.make(slice, slice), n)

/** @internal The revision that a worker begins from, which registers its projection if need be. */
export const revisionOf = (key: OffsetKey) =>
  Effect.gen(function*() {
    const store = yield* OffsetStore
    const load = Effect.map(store.load(key, SliceRange.make(0, 0)), ({ revision }) => revision)
    const known = yield* load
    if (known !== undefined) return known
    yield* ProjectionManagement.use((management) => management.register(key))
    return (yield* load)!
  })

/** @internal Moves offsets like a worker that has just begun. */
export const transactAs = <A, E, R>(
  key: OffsetKey,
  journal: string,
  moves: ReadonlyArray<Move>,
  effect: Effect.Effect<A, E, R>,
  ahead?: Ahead
) =>
  Effect.flatMap(
    Effect.all([OffsetStore, revisionOf(key)]),
    ([store, revision]) => store.transact(key, { journal, revision }, moves, effect, ahead)
  )
