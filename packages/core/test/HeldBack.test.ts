import { assert, describe, it } from "@effect/vitest"
import * as Envelope from "@sluice/core/Envelope"
import * as Offset from "@sluice/core/Offset"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import { ReadingState } from "@sluice/core/ReadingState"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Schema from "effect/Schema"
import { type Held, HeldBack, lastMissing } from "../src/internal/projection/HeldBack.ts"
import { OffsetTracker } from "../src/internal/projection/OffsetTracker.ts"

const idOf = (entity: number) => PersistenceId.make("cart", `${entity}`)

const eventOf = (entity: number, n: number, { bytes = 1, position = n, slice = 0 } = {}) =>
  Envelope.make(
    {
      persistenceId: idOf(entity),
      sequenceNumber: SequenceNumber.make(n),
      slice: Slice.make(slice),
      position: Position.make(position),
      timestamp: Timestamp.make(position * 10)
    },
    n,
    bytes
  )

/** All that are due in a row. */
const dueOf = (held: HeldBack, entity: number, last: number): ReadonlyArray<Held> => {
  const due = held.due(idOf(entity), last)
  if (due === undefined) return []
  held.accepted(due)
  return [due, ...dueOf(held, entity, due.sequenceNumber)]
}

const tagsOf = (held: ReadonlyArray<Held>) => held.map(({ _tag, sequenceNumber }) => `${_tag} ${sequenceNumber}`)

describe("events that wait", () => {
  it("are due once what is missing before the first has come, in their order", () => {
    const held = new HeldBack()
    assert.strictEqual(held.hold(eventOf(1, 7))?.persistenceId, idOf(1))
    for (const n of [5, 6, 5, 9]) assert.isUndefined(held.hold(eventOf(1, n)))
    assert.isUndefined(held.due(idOf(1), 3))
    assert.deepStrictEqual(tagsOf(dueOf(held, 1, 4)), ["Envelope 5", "Envelope 6", "Envelope 7"])
    assert.isTrue(held.has(idOf(1)))
    assert.deepStrictEqual(tagsOf(dueOf(held, 1, 8)), ["Envelope 9"])
    assert.isTrue(held.isEmpty)
  })

  it("are held up to a bound, events without content as well, and beyond that loaded again", () => {
    for (const bytes of [0, 1_000]) {
      const held = new HeldBack()
      for (let n = 2; n < 100_000; n++) held.hold(eventOf(1, n, { bytes }))
      held.hold(eventOf(2, 3, { bytes }))
      const ofFirst: Array<Held> = []
      for (let due = held.due(idOf(1), 1); due !== undefined; due = held.due(idOf(1), Infinity)) {
        ofFirst.push(due)
        held.accepted(due)
      }
      assert.isBelow(ofFirst.length * (bytes + 200), 4.2 * 1024 * 1024)
      assert.strictEqual(tagsOf(ofFirst).at(-1), "Reminder 99999", "the last one says it all")
      assert.deepStrictEqual(tagsOf(dueOf(held, 2, 3)), ["Reminder 3"])
      held.hold(eventOf(3, 2, { bytes }))
      assert.deepStrictEqual(tagsOf(dueOf(held, 3, 1)), ["Envelope 2"], "there is room again")
    }
  })

  it("call who listens for their entity, and who listens for room", () => {
    const held = new HeldBack()
    const calls: Array<string> = []
    const stop = held.listen(idOf(1), () => void calls.push("1"))
    held.listen(undefined, () => void calls.push("room"))
    for (const entity of [1, 2]) held.hold(eventOf(entity, 5))
    for (const entity of [2, 1]) assert.isUndefined(held.due(idOf(entity), 3))
    assert.deepStrictEqual(calls, ["1"])
    for (const entity of [2, 1]) {
      const due = held.due(idOf(entity), 4)!
      assert.strictEqual(held.first(idOf(entity)), due, "it waits until it is accepted")
      held.accepted(due)
    }
    assert.deepStrictEqual(calls, ["1", "room", "1", "room"])
    stop()
    held.hold(eventOf(1, 7))
    held.due(idOf(1), 4)
    assert.deepStrictEqual(calls, ["1", "room", "1", "room"])
  })
})

/** What a store has of a projection. */
class Store {
  readonly offsets = new Map<Slice.Slice, Offset.Offset>()
  readonly completeUpTo = new Map<Slice.Slice, Offset.Offset>()
  readonly numbers = new Map<PersistenceId.PersistenceId, SequenceNumber.SequenceNumber>()
  readonly effects: Array<Envelope.Envelope<unknown>> = []
  readonly #shown: ReadonlyArray<Envelope.Element<unknown>>

  constructor(shown: ReadonlyArray<Envelope.Element<unknown>>) {
    this.#shown = shown
  }

  store(tracker: OffsetTracker): void {
    for (const { entities, from, slice, to } of tracker.moves) {
      assert.deepStrictEqual(from, this.offsets.get(slice), "the offset is where the worker has left it")
      assert.isAtLeast(to.position, from?.position ?? 0, "it moves forwards")
      if (entities !== undefined && !this.completeUpTo.has(slice)) {
        this.completeUpTo.set(slice, from ?? Offset.beginning)
      }
      for (const [persistenceId, { first, last }] of entities ?? []) {
        assert.isAbove(first, this.numbers.get(persistenceId) ?? 0, "no other worker has handled it")
        this.numbers.set(persistenceId, last)
      }
      if (to.position > 0) this.offsets.set(slice, to)
    }
    tracker.stored()
    for (const { _tag, position, slice } of this.#shown) {
      if (_tag !== "Envelope" || position! > (this.offsets.get(slice)?.position ?? 0)) continue
      assert.isTrue(this.effects.some((effect) => effect.slice === slice && effect.position === position))
    }
  }

  /** Of as many elements as were read, the offset of each slice is past all that come before the first that is not handled. */
  reaches(count: number): void {
    const ends = new Map<Slice.Slice, number>()
    const waiting = new Set<Slice.Slice>()
    for (const element of this.#shown.slice(0, count)) {
      const { position, slice } = element
      if (element._tag === "Envelope" && !this.#isStored(element)) waiting.add(slice)
      if (!waiting.has(slice)) ends.set(slice, position!)
    }
    for (const [slice, end] of ends) assert.isAtLeast(this.offsets.get(slice)?.position ?? 0, end)
  }

  #isStored({ persistenceId, position, sequenceNumber, slice }: Envelope.Envelope<unknown>): boolean {
    return position! <= (this.offsets.get(slice)?.position ?? 0) ||
      sequenceNumber <= (this.numbers.get(persistenceId) ?? 0)
  }
}

/** What a worker does, without the time that it takes. */
class Worker {
  readonly store: Store
  readonly reading: ReadingState
  readonly tracker: OffsetTracker
  readonly held = new HeldBack()
  readonly isAtLeastOnce: boolean
  group: Array<Envelope.Element<unknown>> = []
  /** How many events that have waited it judges in one turn. */
  turn = Infinity

  constructor(store: Store, range: SliceRange.SliceRange, isAtLeastOnce: boolean) {
    this.store = store
    this.isAtLeastOnce = isAtLeastOnce
    this.reading = new ReadingState(range, store)
    this.tracker = new OffsetTracker(store.offsets, this.reading)
  }

  judge(element: Envelope.Element<any>, isReplay: boolean, isFull: boolean, isDue = false): void {
    const verdict = this.reading.judge(element, isReplay)
    if (verdict === "accepted") {
      this.group.push(element)
      if (this.isAtLeastOnce) this.handle()
    } else if (verdict === "passed") this.group.push(Envelope.placeholder(element as Held))
    else if (verdict === "unknown") {
      const { persistenceId } = element as Held
      const number = this.store.numbers.get(persistenceId)
      const found = number === undefined ? [] : [[persistenceId, { sequenceNumber: number, revision: 0 }] as const]
      this.reading.loaded([persistenceId], new Map(found))
      return this.judge(element, isReplay, isFull, isDue)
    } else if (verdict === "unsettled") {
      this.flush(false)
      return this.judge(element, isReplay, isFull, isDue)
    } else if (verdict !== "duplicate") {
      assert.include(["gap", "unproven", "unloaded"], verdict)
      const { position, slice, timestamp } = element as Held
      this.reading.hold(element as Held, isReplay)
      this.held.hold(isFull ? Envelope.reminder(element as Held) : element as Held)
      if (!isReplay) this.group.push(Envelope.skipped(slice, position!, position!, timestamp))
    }
    if (element._tag !== "Skipped" && !isDue) this.judgeDue(element.persistenceId)
  }

  judgeDue(persistenceId: PersistenceId.PersistenceId): void {
    let judged: Held | undefined
    for (let n = 0; n < this.turn; n++) {
      const due = this.held.due(persistenceId, this.reading.last(persistenceId) ?? -1)
      if (due === undefined) break
      this.judge(due, true, false, true)
      if ((this.reading.last(persistenceId) ?? -1) < due.sequenceNumber) break
      this.held.accepted(due)
      judged = due
    }
    if (judged === undefined) return
    const { position, slice, timestamp } = judged
    if (!this.held.has(persistenceId) && this.reading.lift(persistenceId)) {
      this.group.push(Envelope.skipped(slice, position!, position!, timestamp))
    }
  }

  /** Handles the group, each event at once and without storing that if it is at least once. */
  handle(): void {
    const { group } = this
    this.group = []
    this.tracker.advance(group)
    for (const element of group) if (element._tag === "Envelope") this.store.effects.push(element)
  }

  /** Stores what is handled, in one transaction with it; if that fails, once more, one by one. */
  flush(fails: boolean): void {
    const { group } = this
    if (fails && group.length > 0 && !this.isAtLeastOnce) {
      this.tracker.advance(group)
      this.tracker.revert()
      for (const element of group) {
        this.group = [element]
        this.flush(false)
      }
    }
    if (this.group.length > 0) this.handle()
    if (this.tracker.isAhead) this.store.store(this.tracker)
  }
}

const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

const entities = 6
const slices = 2

const Log = Schema.Array(Schema.Struct({ entity: upTo(entities - 1), isLeftOut: upTo(2) })).check(
  Schema.isMinLength(20),
  Schema.isMaxLength(60)
)

const Steps = Schema.Array(Schema.Union([
  Schema.Struct({ _tag: Schema.Literal("read"), count: upTo(6), isFull: Schema.Boolean }),
  Schema.Struct({ _tag: Schema.Literal("replay"), entity: upTo(entities - 1), count: upTo(4), turn: upTo(3) }),
  Schema.Struct({ _tag: Schema.Literal("flush"), fails: Schema.Boolean }),
  Schema.Struct({ _tag: Schema.Literal("begin anew") })
])).check(Schema.isMinLength(30), Schema.isMaxLength(80))

/** A log of two slices as events, and as a source shows it to whom some of them are left out. */
const logOf = (log: typeof Log.Type) => {
  const positions = new Map<number, number>()
  const numbers = new Map<number, number>()
  const events: Array<Envelope.Envelope<number>> = []
  const shown = log.map(({ entity, isLeftOut }): Envelope.Element<number> => {
    const slice = entity % slices
    const position = (positions.get(slice) ?? 0) + 1
    const n = (numbers.get(entity) ?? 0) + 1
    positions.set(slice, position)
    numbers.set(entity, n)
    const event = eventOf(entity, n, { position, slice })
    events.push(event)
    return isLeftOut === 0
      ? Envelope.skipped(event.slice, event.position!, event.position!, event.timestamp, true)
      : event
  })
  return { events, shown }
}

describe("what waits for what is missing", () => {
  it.prop(
    "is handled once and in order, and no offset passes it, whatever comes in between",
    [Log, Steps, Schema.Boolean],
    ([log, steps, isAtLeastOnce]) => {
      const range = SliceRange.make(0, slices - 1)
      const { events, shown } = logOf(log)
      const store = new Store(shown)
      let worker = new Worker(store, range, isAtLeastOnce)
      let read = 0
      const read1 = (isFull: boolean) => {
        if (read < shown.length) worker.judge(shown[read++]!, false, isFull)
      }
      /** As a repair does it: what is missing, and then the event itself. */
      const replay = (entity: number, count: number) => {
        const { held, reading } = worker
        for (let i = 0; i < count; i++) {
          const first = held.first(idOf(entity))
          if (first === undefined) return
          const from = reading.missingFrom(idOf(entity))
          const next = events.find((event) => event.persistenceId === idOf(entity) && event.sequenceNumber === from)!
          worker.judge(from > lastMissing(first) ? first : next, true, false)
        }
      }
      for (const step of steps) {
        switch (step._tag) {
          case "read":
            for (let i = 0; i < step.count; i++) read1(step.isFull)
            break
          case "replay":
            worker.turn = step.turn + 1
            replay(step.entity, step.count)
            worker.turn = Infinity
            break
          case "flush":
            worker.flush(step.fails)
            store.reaches(read)
            break
          case "begin anew": {
            worker = new Worker(store, range, isAtLeastOnce)
            read = 0
          }
        }
      }
      // the source is read from each slice's offset on, of which the worker knows what it has read
      while (read < shown.length) read1(false)
      for (let entity = 0; entity < entities; entity++) replay(entity, 200)
      worker.flush(false)
      assert.isTrue(worker.held.isEmpty)
      assert.isFalse(worker.reading.isWaiting)
      const ends = new Map(shown.map(({ position, slice }) => [slice, position]))
      for (const [slice, position] of ends) assert.strictEqual(store.offsets.get(slice)?.position, position)
      for (let entity = 0; entity < entities; entity++) {
        const ofEntity = store.effects.filter(({ persistenceId }) => persistenceId === idOf(entity))
        const last = shown.findLast((_) => _._tag === "Envelope" && _.persistenceId === idOf(entity))
        const count = last?._tag === "Envelope" ? last.sequenceNumber as number : 0
        const handled = ofEntity.map(({ sequenceNumber }) => sequenceNumber as number)
        assert.deepStrictEqual(
          // what was not stored comes again, at least once
          isAtLeastOnce ? [...new Set(handled)] : handled,
          Array.from({ length: count }, (_, i) => i + 1)
        )
      }
    },
    { arbitrary: { runs: 500 } }
  )
})
