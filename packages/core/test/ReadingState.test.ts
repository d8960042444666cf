import { assert, describe, it } from "@effect/vitest"
import * as Envelope from "@sluice/core/Envelope"
import * as Offset from "@sluice/core/Offset"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as ReadingState from "@sluice/core/ReadingState"
import type { StoredNumber } from "@sluice/core/Rewind"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Schema from "effect/Schema"

describe("the decision on an event", () => {
  const unknown = undefined
  const none = 0

  /** What the source promises, the last number in flight, the last one stored, the event's number, and what that means. */
  const table: ReadonlyArray<
    readonly [
      why: string,
      isStrict: boolean,
      inFlight: number,
      stored: number | undefined,
      event: number,
      ReadingState.EntityVerdict
    ]
  > = [
    ["the first event of an entity", true, none, none, 1, "accepted"],
    ["the one after what is stored", true, none, 4, 5, "accepted"],
    ["the one after what is in flight", true, 6, 4, 7, "accepted"],
    ["the one after what is in flight, of an entity that is not loaded", true, 6, unknown, 7, "accepted"],
    ["what is stored", true, none, 4, 4, "duplicate"],
    ["what is before that", true, none, 4, 1, "duplicate"],
    ["what is in flight", true, 6, 4, 6, "duplicate"],
    ["what is between stored and in flight", true, 6, 4, 5, "duplicate"],
    ["what is in flight, of an entity that is not loaded", true, 6, unknown, 3, "duplicate"],
    ["one after a gap", true, none, 4, 6, "gap"],
    ["one after a gap behind what is in flight", true, 6, 4, 8, "gap"],
    ["a later one of an entity of which nothing was read", true, none, none, 3, "unproven"],
    ["the first one, of an entity that is not loaded", true, none, unknown, 1, "unknown"],
    ["a later one, of an entity that is not loaded", true, none, unknown, 5, "unknown"],
    ["a latest state of a new entity", false, none, none, 1, "accepted"],
    ["a latest state, whatever was before it", false, none, none, 9, "accepted"],
    ["a later state than what is stored", false, none, 4, 9, "accepted"],
    ["a later state than what is in flight", false, 6, 4, 9, "accepted"],
    ["a state that is stored", false, none, 4, 4, "duplicate"],
    ["a state that is superseded", false, 6, 4, 5, "duplicate"],
    ["a state, of an entity that is not loaded", false, none, unknown, 2, "unknown"]
  ]
  for (const [why, isStrict, inFlight, stored, event, verdict] of table) {
    it(`is ${verdict} for ${why}`, () => {
      assert.strictEqual(ReadingState.decide(event, inFlight, stored, isStrict), verdict)
    })
  }
})

const idOf = (entity: string) => PersistenceId.make("cart", entity)
const slice = Slice.make(7)
const range = SliceRange.make(5, 8)

/** An event that only has to be told apart: its slice is not that of its id. */
const event = (position: number, entity: string, n: number, of = slice): Envelope.Placeholder =>
  Envelope.placeholder({
    persistenceId: idOf(entity),
    sequenceNumber: SequenceNumber.make(n),
    slice: of,
    position: Position.make(position),
    timestamp: Timestamp.make(position * 10)
  })

const skipped = (from: number, to: number, isDeferred: boolean): Envelope.Skipped =>
  Envelope.skipped(slice, Position.make(from), Position.make(to), Timestamp.make(to * 10), isDeferred)

const make = (position: number, completeUpTo?: number) =>
  new ReadingState.ReadingState(range, {
    offsets: position === 0 ? Offset.none : new Map([[slice, Offset.make(position, position * 10)]]),
    completeUpTo: completeUpTo === undefined
      ? new Map()
      : new Map([[slice, Offset.make(completeUpTo, completeUpTo * 10)]])
  })

const judge = (state: ReadingState.ReadingState, ...elements: ReadonlyArray<Envelope.Element<unknown>>) =>
  elements.map((element) => state.judge(element))

const judgeReplay = (state: ReadingState.ReadingState, ...elements: ReadonlyArray<Envelope.Element<unknown>>) =>
  elements.map((element) => state.judge(element, true))

/** What is stored of entities; 0 where that is nothing. */
const numbers = (first: number, last: number) => ({
  first: SequenceNumber.make(first),
  last: SequenceNumber.make(last)
})

const load = (state: ReadingState.ReadingState, entities: Readonly<Record<string, number>>) =>
  state.loaded(
    Object.keys(entities).map(idOf),
    new Map(
      Object.entries(entities).flatMap(([id, n]) =>
        n === 0 ? [] : [[idOf(id), { sequenceNumber: SequenceNumber.make(n), revision: 0 }]]
      )
    )
  )

describe("a slice in exact mode", () => {
  it("goes by the positions, and asks for nothing of entities", () => {
    const state = make(3)
    assert.deepStrictEqual(judge(state, event(4, "a", 9), event(4, "a", 9), event(5, "b", 3), event(3, "a", 8)), [
      "accepted",
      "duplicate",
      "accepted",
      "duplicate"
    ])
    assert.isTrue(state.isExact)
    assert.deepStrictEqual(state.unknown([event(6, "c", 1)]), [])
    const elements = [event(4, "a", 9), event(5, "b", 3)]
    assert.strictEqual(state.advance(elements), elements)
    assert.isUndefined(state.entities(slice))
  })

  it("refuses what does not come next, and another history", () => {
    const state = make(3)
    assert.deepStrictEqual(judge(state, event(5, "a", 1), { ...event(3, "a", 1), timestamp: Timestamp.make(31) }), [
      "outOfPlace",
      "forked"
    ])
    assert.strictEqual(state.next(slice), 4)
    assert.deepStrictEqual(state.offset(slice), Offset.make(3, 30))
  })

  it("stays exact where something is gone for good", () => {
    const state = make(3)
    assert.deepStrictEqual(judge(state, skipped(4, 9, false), event(10, "a", 7)), ["accepted", "accepted"])
    assert.isTrue(state.isExact)
  })

  it("knows nothing of sources without positions", () => {
    const state = make(0)
    const place = { ...event(1, "a", 1), position: undefined }
    assert.deepStrictEqual(judge(state, place, place), ["accepted", "accepted"])
    assert.deepStrictEqual(state.advance([place]), [place])
  })
})

describe("the first part of a slice that is left out for now", () => {
  it("changes it to the mode per entity, once all before is stored", () => {
    const state = make(3)
    assert.deepStrictEqual(judge(state, event(4, "a", 1), skipped(5, 6, true)), ["accepted", "unsettled"])
    assert.isTrue(state.isExact)
    state.advance([event(4, "a", 1)])
    state.stored(slice, 4)
    assert.deepStrictEqual(judge(state, skipped(5, 6, true)), ["accepted"])
    assert.strictEqual(state.completeUpTo(slice), 4)
    assert.deepStrictEqual(state.unknown([event(7, "a", 2), event(8, "b", 1), event(1, "c", 1, Slice.make(8))]), [
      idOf("a"),
      idOf("b")
    ])
    assert.deepStrictEqual(judge(state, event(1, "c", 1, Slice.make(8))), ["accepted"], "other slices stay exact")
  })

  it("says at once of what nothing is to be stored before", () => {
    const state = make(0)
    assert.deepStrictEqual(judge(state, skipped(1, 6, true)), ["accepted"])
    assert.strictEqual(state.completeUpTo(slice), 0)
    assert.deepStrictEqual(state.entities(slice), new Map())
  })
})

describe("a slice in the mode per entity", () => {
  it("asks what was stored of an entity, and goes by its sequence numbers", () => {
    const state = make(9, 3)
    assert.deepStrictEqual(judge(state, event(10, "a", 5)), ["unknown"])
    load(state, { a: 4, b: 0 })
    assert.deepStrictEqual(
      judge(state, event(10, "a", 5), event(11, "a", 7), event(11, "b", 1), event(12, "b", 2)),
      ["accepted", "gap", "accepted", "accepted"]
    )
    assert.strictEqual(state.missingFrom(idOf("a")), 6)
    assert.strictEqual(state.next(slice), 13)
  })

  it("has what is missing replayed first: it moves no offset, and what was read in exact mode is a duplicate", () => {
    const state = make(9, 3)
    load(state, { a: 0 })
    assert.deepStrictEqual(judge(state, event(10, "a", 4)), ["unproven"])
    assert.isFalse(state.proves(slice, event(8, "a", 3)))
    assert.strictEqual(state.missingFrom(idOf("a")), 1)
    const replayed = [event(2, "a", 1), event(5, "a", 2), event(8, "a", 3)]
    assert.deepStrictEqual(judgeReplay(state, ...replayed), ["duplicate", "accepted", "accepted"])
    assert.deepStrictEqual(judge(state, event(10, "a", 4)), ["accepted"])
    assert.deepStrictEqual(state.advance(replayed.slice(1)), [])
    assert.deepStrictEqual(state.entities(slice), new Map([[idOf("a"), numbers(2, 3)]]))
    assert.deepStrictEqual(state.advance([event(10, "a", 4)]), [event(10, "a", 4)])
  })

  it("takes it for proven where the predecessor was read in exact mode, or is gone", () => {
    const state = make(9, 3)
    assert.isTrue(state.proves(slice, event(3, "a", 3)))
    assert.isTrue(state.proves(slice, undefined))
    load(state, { a: 0, b: 2 })
    state.complete(event(10, "a", 4))
    state.complete(event(11, "b", 9))
    assert.deepStrictEqual(judge(state, event(10, "a", 4), event(11, "b", 9)), ["accepted", "accepted"])
  })

  it("goes past what a replay has brought before its turn", () => {
    const state = make(9, 3)
    load(state, { a: 1 })
    const [early, last] = [event(11, "a", 2), event(12, "a", 3)]
    assert.deepStrictEqual(judgeReplay(state, early, last), ["accepted", "accepted"])
    assert.deepStrictEqual(state.advance([early, last]), [])
    assert.deepStrictEqual(judge(state, skipped(10, 10, true), early, last, last), [
      "accepted",
      "passed",
      "passed",
      "duplicate"
    ])
  })

  it("does not take back what a replay has brought, when that comes in its turn", () => {
    const state = make(9, 3)
    load(state, { a: 1 })
    const [early, last] = [event(11, "a", 2), event(12, "a", 3)]
    judgeReplay(state, early, last)
    state.advance([early, last])
    state.stored(slice, 9)
    judge(state, skipped(10, 10, true), early)
    state.advance([skipped(10, 10, true), early])
    state.stored(slice, 11)
    assert.deepStrictEqual(judge(state, last), ["passed"])
  })

  it("refuses what does not come next, whatever its entity says of it, unless it is replayed", () => {
    const state = make(9, 3)
    load(state, { a: 4, b: 2 })
    const ahead = event(11, "a", 5)
    assert.deepStrictEqual(judge(state, ahead, event(12, "a", 7), event(13, "b", 2), event(14, "c", 1)), [
      "outOfPlace",
      "outOfPlace",
      "outOfPlace",
      "outOfPlace"
    ])
    assert.strictEqual(state.next(slice), 10)
    assert.deepStrictEqual(judgeReplay(state, ahead), ["accepted"])
    assert.strictEqual(state.next(slice), 10)
  })

  it("stores the last number of each entity that was handled, and handles again what could not be stored", () => {
    const state = make(9, 3)
    load(state, { a: 4, b: 0 })
    const handled = [event(10, "a", 5), event(11, "b", 1)] as const
    judge(state, ...handled, event(12, "a", 6))
    assert.deepStrictEqual(state.advance(handled), handled)
    state.revert()
    assert.deepStrictEqual(state.entities(slice), new Map())
    assert.deepStrictEqual(state.advance([handled[0]]), [handled[0]])
    state.stored(slice, 10)
    assert.deepStrictEqual(state.advance([handled[1]]), [handled[1]])
    assert.deepStrictEqual(state.entities(slice), new Map([[idOf("b"), numbers(1, 1)]]))
    state.stored(slice, 11)
    assert.deepStrictEqual(judge(state, event(12, "a", 6), event(13, "b", 2)), [
      "duplicate",
      "accepted"
    ])
  })

  it("loads again what it has forgotten, also while the entity is replayed", () => {
    const state = make(9, 3)
    load(state, { a: 5 })
    const others = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`e${i}`, 1]))
    load(state, others)
    assert.deepStrictEqual(judge(state, event(2, "a", 1), event(3, "a", 2), event(5, "a", 3)), [
      "duplicate",
      "duplicate",
      "unknown"
    ])
    assert.deepStrictEqual(state.unknown([event(5, "a", 3)]), [idOf("a")])
    load(state, { a: 5 })
    assert.deepStrictEqual(judge(state, event(5, "a", 3), event(10, "a", 6)), ["duplicate", "accepted"])
  })

  it("forgets what it can load again", () => {
    const state = make(9, 3)
    for (let i = 0; i < 30_000; i += 100) {
      const entities = Object.fromEntries(Array.from({ length: 100 }, (_, k) => [`e${i + k}`, 1]))
      load(state, entities)
    }
    assert.deepStrictEqual(judge(state, event(10, "e0", 2), event(10, "e29999", 2)), ["unknown", "accepted"])
  })
})

/**
 * A log of a few entities, and what happens at each event from a position on: the rest comes as it is. At the end comes an event of each
 * entity, which shows whether one is missing before it.
 */
const Logs = Schema.Struct({
  entities: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 })))
    .check(Schema.isMinLength(12), Schema.isMaxLength(30)),
  exact: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 10 })),
  steps: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 11 })))
    .check(Schema.isMinLength(12), Schema.isMaxLength(30))
})

describe("whatever is selected, replayed and reverted", () => {
  it.prop("each event of an entity is handled once, and in order", [Logs], ([{ entities, exact, steps }]) => {
    const counts = new Map<string, number>()
    const log = [...entities, ...new Set(entities)].map((entity, i) => {
      const number = (counts.get(`${entity}`) ?? 0) + 1
      counts.set(`${entity}`, number)
      return event(i + 1, `${entity}`, number)
    })
    const store = new Map<PersistenceId.PersistenceId, StoredNumber>()
    const handled: Array<Envelope.Placeholder> = []
    let state = make(0)
    let stored = 0
    let handledUpTo = 0
    /** What is handled in one group, and which of it no handler has seen. */
    let group: Array<Envelope.Placeholder | Envelope.Skipped> = []
    let fresh: Array<Envelope.Placeholder> = []

    const advance = () => {
      for (const { position } of state.advance(group)) handledUpTo = position!
    }
    const flush = () => {
      advance()
      handled.push(...fresh)
      group = []
      fresh = []
    }
    const storeAll = () => {
      for (const [id, { first, last }] of state.entities(slice) ?? []) {
        const before = store.get(id)?.sequenceNumber ?? 0
        assert.isAbove(first, before, "a store would take it for what another worker has handled")
        store.set(id, { sequenceNumber: last, revision: 0 })
      }
      state.stored(slice, handledUpTo)
      stored = handledUpTo
    }
    const save = () => {
      flush()
      storeAll()
      assert.strictEqual(stored, state.next(slice) - 1)
    }
    /** A transaction is rolled back, and the same group is handled in another one. */
    const saveAtSecondTry = () => {
      storeAll()
      advance()
      state.revert()
      handledUpTo = stored
      save()
    }
    const ofEntity = ({ persistenceId }: Envelope.Placeholder, from: number, to: number) =>
      log.filter((_) => _.persistenceId === persistenceId && _.sequenceNumber >= from && _.sequenceNumber <= to)

    const take = (element: Envelope.Placeholder | Envelope.Skipped, isReplay = false): void => {
      const verdict = state.judge(element, isReplay)
      if (verdict === "unsettled") {
        save()
        return take(element)
      }
      if (element._tag === "Skipped") {
        // a replay may have shown it already
        if (verdict === "duplicate") return
        assert.strictEqual(verdict, "accepted")
        group.push(element)
        return
      }
      const again = (from: number) => {
        for (const earlier of ofEntity(element, from, element.sequenceNumber - 1)) take(earlier, true)
        state.complete(element)
        take(element, isReplay)
      }
      switch (verdict) {
        case "accepted":
          group.push(element)
          fresh.push(element)
          return
        case "passed":
          group.push(element)
          return
        case "duplicate":
          return
        case "unknown":
          state.loaded([element.persistenceId], store)
          return take(element, isReplay)
        case "gap":
          return again(state.missingFrom(element.persistenceId))
        case "unproven": {
          const [before] = ofEntity(element, element.sequenceNumber - 1, element.sequenceNumber - 1)
          if (!state.proves(slice, before)) return again(1)
          state.complete(element)
          return take(element, isReplay)
        }
        default:
          assert.fail(verdict)
      }
    }

    for (const [i, element] of log.entries()) {
      const choice = steps[i % steps.length]!
      const canBeLeftOut = element.position! > exact && i < entities.length
      if (canBeLeftOut && choice < 4) take(skipped(element.position!, element.position!, true))
      else take(element)
      if (choice === 5) flush()
      if (choice === 6) save()
      if (choice === 7) saveAtSecondTry()
      if (choice === 8) {
        // another worker begins from what is stored: nothing was handled since, as of one that handles exactly once
        save()
        state = new ReadingState.ReadingState(range, {
          offsets: stored === 0 ? Offset.none : new Map([[slice, Offset.make(stored, stored * 10)]]),
          completeUpTo: state.isExact ? new Map() : new Map([[slice, Offset.make(state.completeUpTo(slice)!, 0)]])
        })
      }
      if (state.isExact) continue
      if (choice === 9) { for (const again of log.slice(0, i)) take(again, true) }
      // also what the log has not come to yet
      if (choice === 10) { for (const again of ofEntity(element, 1, log.length)) take(again, true) }
    }
    save()

    const numbers = new Map([...counts.keys()].map((entity) => [idOf(entity), [] as Array<number>]))
    for (const { persistenceId, sequenceNumber } of handled) numbers.get(persistenceId)!.push(sequenceNumber)
    for (const [entity, count] of counts) {
      assert.deepStrictEqual(numbers.get(idOf(entity)), Array.from({ length: count }, (_, i) => i + 1))
    }
    assert.strictEqual(stored, log.length)
  }, { arbitrary: { runs: 2000 } })
})

/**
 * A source that shows a log from any position on, whatever it was asked for: events, and parts that are left out, with a time or without.
 * After some elements the offsets are stored, at once or at the second try.
 */
const Odd = Schema.Struct({
  start: Schema.Union([
    Schema.Struct({ position: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 8 })) }),
    Schema.Struct({ time: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 120 })) })
  ]),
  shown: Schema.Array(Schema.Struct({
    what: Schema.Literals(["event", "gone", "deferred"]),
    length: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 3 })),
    isTimed: Schema.Boolean,
    after: Schema.Literals(["goOn", "save", "saveAtSecondTry"])
  })).check(Schema.isMaxLength(12)),
  from: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 6 }))
})

describe("whatever a source shows, wherever it was to begin", () => {
  it.prop(
    "each element is judged in a few steps, and the offset comes to what was read",
    [Odd],
    ([{ from, shown, start }]) => {
      const offset = "time" in start
        ? Offset.make(0, start.time)
        : Offset.make(start.position, start.position * 10)
      const state = new ReadingState.ReadingState(range, {
        offsets: offset.position === 0 && offset.timestamp === 0 ? Offset.none : new Map([[slice, offset]]),
        completeUpTo: new Map()
      })
      let stored: number = offset.position
      let group: Array<Envelope.Placeholder | Envelope.Skipped> = []
      const advance = () => {
        let to = stored
        for (const { position, timestamp } of state.advance(group)) if (timestamp !== undefined) to = position!
        return to
      }
      const save = () => {
        const to = advance()
        if (to !== stored) state.stored(slice, stored = to)
        group = []
      }
      const take = (element: Envelope.Placeholder | Envelope.Skipped, steps = 0): void => {
        assert.isBelow(steps, 5)
        const verdict = state.judge(element)
        switch (verdict) {
          case "accepted":
          case "passed":
            group.push(element)
            return
          case "duplicate":
          case "outOfPlace":
          case "forked":
            return
          case "unsettled":
            save()
            break
          case "unknown":
            load(state, { a: 0 })
            break
          default:
            state.complete(element as Envelope.Placeholder)
        }
        take(element, steps + 1)
      }
      let next = from
      for (const { after, isTimed, length, what } of shown) {
        if (what === "event") take(event(next++, "a", next))
        else {
          const to = next + length - 1
          const time = isTimed ? Timestamp.make(to * 10) : undefined
          take(Envelope.skipped(slice, Position.make(next), Position.make(to), time, what === "deferred"))
          next = to + 1
        }
        if (after === "saveAtSecondTry") {
          advance()
          state.revert()
        }
        if (after !== "goOn") save()
      }
      save()
      assert.strictEqual(stored, state.offset(slice).position)
    },
    { arbitrary: { runs: 2000 } }
  )
})
