import { assert, describe, it } from "@effect/vitest"
import * as Envelope from "@sluice/core/Envelope"
import * as EventFilter from "@sluice/core/EventFilter"
import * as GivenUp from "@sluice/core/GivenUp"
import * as Offset from "@sluice/core/Offset"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as ReadingState from "@sluice/core/ReadingState"
import * as Rewind from "@sluice/core/Rewind"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { lastBefore } from "../src/internal/projection/lastBefore.ts"

const slice = Slice.make(7)
const range = SliceRange.make(7, 7)

const givenUp = (version: number, until: number) => ({ version, until: Timestamp.make(until) })

const at = (position: number) => Offset.make(position, position * 10)

const known: Rewind.Known = { offset: at(9), journal: "j", completeUpTo: at(2), rewinds: [], givenUp: [] }

const kept = (offset: Offset.Offset, rewind: object) => ({
  ...known,
  offset,
  rewinds: [{ revision: 7, ...rewind }]
})

const exact = (offset: Offset.Offset, journal: string, since: number) => ({
  offset,
  journal,
  completeUpTo: undefined,
  rewinds: [{ revision: 7, since }],
  givenUp: []
})

const to = (offset: Offset.Offset, journal?: string, from = known) => Rewind.rewound(from, offset, journal, 7)

const since = (from: Rewind.Known, stored: number) =>
  Rewind.forgottenSince(from.rewinds, { sequenceNumber: SequenceNumber.make(4), revision: stored }) as
    | number
    | undefined
const rewound = (from: Rewind.Known, at: Offset.Offset, revision: number) =>
  Rewind.rewound(from, at, undefined, revision)

describe("what is known of a slice that is rewound", () => {
  it("stays where something was left out before the place", () => {
    assert.deepStrictEqual<unknown>(to(at(3)), kept(at(3), { since: 31 }))
    assert.deepStrictEqual<unknown>(to(at(3), "j"), kept(at(3), { since: 31 }))
    assert.deepStrictEqual<unknown>(to(at(9)), kept(at(9), { since: 91 }))
    assert.deepStrictEqual<unknown>(to(at(12)), kept(at(12), { since: 121, jumpedFrom: 91 }))
    // a time, whose position is not known yet
    const [after, ahead] = [Offset.make(0, 22), Offset.make(0, 95)]
    assert.deepStrictEqual<unknown>(to(after), kept(after, { since: 22 }))
    assert.deepStrictEqual<unknown>(to(ahead), kept(ahead, { since: 95, jumpedFrom: 91 }))
  })

  it("is nothing where everything before the place was read, or in another journal", () => {
    assert.deepStrictEqual<unknown>(to(at(2)), exact(at(2), "", 21))
    assert.deepStrictEqual<unknown>(to(Offset.make(0, 21)), exact(Offset.make(0, 21), "", 21))
    assert.deepStrictEqual<unknown>(to(Offset.beginning), exact(Offset.beginning, "", 0))
    assert.deepStrictEqual<unknown>(to(at(5), "other"), exact(at(5), "other", 51))
    const timed = { ...known, offset: Offset.make(0, 90), journal: "timestamps", completeUpTo: Offset.make(0, 20) }
    assert.deepStrictEqual<unknown>(to(Offset.make(0, 50), undefined, timed), exact(Offset.make(0, 50), "", 50))
    // in exact mode there was nothing to be known
    const before: Rewind.Known = { ...known, completeUpTo: undefined }
    assert.deepStrictEqual<unknown>(to(at(5), undefined, before), { ...before, offset: at(5), journal: "" })
    // by positions alone, where nothing else is known
    const untimed = { ...known, completeUpTo: Offset.make(2, 0) }
    assert.deepStrictEqual(to(at(3), undefined, untimed).completeUpTo, Offset.make(2, 0))
    assert.isUndefined(to(at(2), undefined, untimed).completeUpTo)
    assert.isUndefined(to(Offset.make(0, 50), undefined, untimed).completeUpTo)
  })

  it("is less after each rewind, until that leads to before the one before", () => {
    const first = rewound(known, at(4), 5)
    // as the last event before a time is older than the time, this is no way back, and none forwards
    const second = rewound({ ...first, offset: at(7) }, Offset.make(0, 73), 6)
    assert.deepStrictEqual([4, 5, 6].map((stored) => since(second, stored)), [41, 73, undefined])
    const third = rewound({ ...second, offset: at(9) }, at(3), 7)
    assert.deepStrictEqual([4, 5, 6, 7].map((stored) => since(third, stored)), [31, 31, 31, undefined])
    assert.strictEqual(third.rewinds.length, 1)
  })

  it("is less of what is given up: that which is not older comes again", () => {
    const all = [givenUp(2, 31), givenUp(4, 91)]
    const before = { ...known, givenUp: all }
    assert.deepStrictEqual(to(at(12), "j", before).givenUp, all)
    assert.deepStrictEqual(to(at(5), "j", before).givenUp, [givenUp(2, 31), givenUp(4, 51)])
    assert.deepStrictEqual(to(Offset.make(0, 25), "j", before).givenUp, [givenUp(2, 25), givenUp(4, 25)])
    assert.deepStrictEqual(to(at(2), "j", before).givenUp, [], "everything was read up to there")
    assert.deepStrictEqual(to(at(5), "other", before).givenUp, [])
    const complete = { ...before, completeUpTo: at(4) }
    assert.deepStrictEqual(to(at(12), "j", complete).givenUp, [givenUp(4, 91)], "nothing was left out before the other")
  })

  it("is bounded", () => {
    const jump = { revision: 3, since: Timestamp.make(30), jumpedFrom: Timestamp.make(20) }
    const [one, two, four] = [1, 2, 4].map((n) => ({ revision: n, since: Timestamp.make(n * 10) })) as any
    assert.deepStrictEqual(Rewind.bounded([one, two, jump, four], 4), { kept: [one, two, jump, four], folded: [] })
    assert.deepStrictEqual(Rewind.bounded([one, two, jump, four], 3), { kept: [jump, four], folded: [one, two] })
    assert.deepStrictEqual(Rewind.bounded([one, two, jump], 2), { kept: [jump], folded: [one, two] })
    // what was jumped over cannot be remembered with entities
    const jumpOn = { revision: 4, since: Timestamp.make(40), jumpedFrom: Timestamp.make(35) }
    assert.isUndefined(Rewind.bounded([jump, jumpOn], 1))
    assert.deepStrictEqual(Rewind.bounded([jump, four], 1), { kept: [jump, four], folded: [] })
    const stored = { sequenceNumber: SequenceNumber.make(4), revision: 1 }
    assert.deepStrictEqual<unknown>(Rewind.folded([one, two], stored), { ...stored, since: 20 })
    assert.isUndefined(Rewind.folded([one], stored))
    assert.isUndefined(Rewind.folded([one, two], { ...stored, since: Timestamp.make(15) }))
    assert.strictEqual<unknown>(Rewind.forgottenSince([four], { ...stored, since: Timestamp.make(15) }), 15)
    assert.strictEqual<unknown>(Rewind.forgottenSince([two], { ...stored, since: Timestamp.make(25) }), 20)
  })
})

const below = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: maximum - 1 }))

/** Entities that a filter lets pass, and whether it lets all large events pass. */
const Filter = Schema.Struct({
  included: Schema.Array(Schema.Boolean).check(Schema.isMinLength(3), Schema.isMaxLength(3)),
  large: Schema.Boolean
})

const filterOf = ({ included, large }: typeof Filter.Type): EventFilter.EventFilter =>
  EventFilter.excludeAll.pipe(
    EventFilter.includeEntityIds(...included.flatMap((isIncluded, entity) => isIncluded ? [`${entity}`] : [])),
    large ? EventFilter.includeTags("large") : (filter) => filter
  )

const Step = Schema.Union([
  Schema.Struct({ do: Schema.tag("read"), events: below(20), savesEach: Schema.Boolean }),
  Schema.Struct({ do: Schema.tag("filter"), filter: Filter }),
  Schema.Struct({ do: Schema.tag("rewind"), to: below(40), isTime: Schema.Boolean }),
  Schema.Struct({ do: Schema.tag("rewind"), to: below(40), isTime: Schema.Boolean }),
  Schema.Struct({ do: Schema.tag("none"), filter: Filter }),
  Schema.Struct({ do: Schema.tag("none"), filter: Filter }),
  Schema.Struct({ do: Schema.tag("kill") }),
  Schema.Struct({ do: Schema.tag("lookBack") })
])

const Run = Schema.Struct({
  maxRewinds: Schema.Literals([1, 2, 3, 32]),
  log: Schema.Array(below(6)).check(Schema.isMinLength(10), Schema.isMaxLength(36)),
  steps: Schema.Array(Step).check(Schema.isMinLength(8), Schema.isMaxLength(30))
})

type Event = Envelope.Placeholder

/** An event that is to be handled, and up to which position the past of its entity is given up. */
interface Coming {
  readonly event: Event
  readonly givenUp: number
}

/** What a change of the filter has given up, and up to which position. */
interface Forgotten {
  readonly before: (event: Event) => boolean
  readonly after: (event: Event) => boolean
  readonly upTo: number
}

/** What is read between one rewind and the next. */
const Round = Schema.Struct({
  included: Schema.Tuple([Schema.Boolean, Schema.Boolean]),
  events: below(20),
  savesEach: Schema.Boolean,
  isTime: Schema.Boolean
})

const Rounds = Schema.Struct({
  maxRewinds: Schema.Literals([1, 2, 3]),
  log: Schema.Array(below(3)).check(Schema.isMinLength(16), Schema.isMaxLength(36)),
  rounds: Schema.Array(Round).check(Schema.isMinLength(6), Schema.isMaxLength(10)),
  rewinds: Schema.Array(below(40)).check(Schema.isMinLength(10), Schema.isMaxLength(10))
})

/** Rewinds that each lead to a later place than the one before, after something was left out. */
const ascending = ({ rewinds, rounds, ...run }: typeof Rounds.Type): typeof Run.Type => {
  const places = rewinds.map((to) => to % (run.log.length + 1)).toSorted((a, b) => a - b)
  return {
    ...run,
    log: [2, ...run.log],
    steps: rounds.flatMap(({ events, included, isTime, savesEach }, i): (typeof Run.Type)["steps"] => [
      { do: "filter", filter: { included: [...included, false], large: false } },
      { do: "read", events, savesEach },
      { do: "rewind", to: places[i]!, isTime }
    ])
  }
}

describe("whatever is left out, read and rewound", () => {
  const check = ({ maxRewinds, steps, log: entities }: typeof Run.Type): void => {
    const counts = [0, 0, 0]
    // at the end, another one of each
    const log = [...entities, 0, 1, 2].map((kind, i): Event => ({
      ...Envelope.placeholder({
        persistenceId: PersistenceId.make("cart", `${kind % 3}`),
        sequenceNumber: SequenceNumber.make(++counts[kind % 3]!),
        slice,
        position: Position.make(i + 1),
        timestamp: Timestamp.make((i + 1) * 10)
      }),
      tags: kind < 3 ? ["small"] : ["large"]
    }))
    const length = entities.length
    const ofEntity = ({ persistenceId }: Event, from: number, to: number) =>
      log.filter((_) => _.persistenceId === persistenceId && _.sequenceNumber >= from && _.sequenceNumber <= to)

    // what has to hold: of each position, whether it needs no handling any more
    const isDone = log.map(() => false)
    // what an event gave up that was looked at, but has been jumped over: it may come with another event, or not at all
    const isGivenUp = log.map(() => false)
    const forgotten: Array<Forgotten> = []
    /** Up to which position the past of an entity is given up, as one of its events says that comes. */
    const upTo = (event: Event) =>
      Math.max(0, ...forgotten.map(({ after, before, upTo }) => !before(event) && after(event) ? upTo : 0))
    const handle = ({ event, givenUp }: Coming) => {
      const earlier = ofEntity(event, 1, event.sequenceNumber - 1)
      for (const { position } of earlier) if (position! <= givenUp) isDone[position! - 1] = true
      assert.isTrue(earlier.every(({ position }) => isDone[position! - 1] || isGivenUp[position! - 1]), "in order")
      assert.isFalse(isDone[event.position! - 1], "once")
      isDone[event.position! - 1] = true
    }

    // what is stored
    let stored: Rewind.Known = {
      offset: Offset.beginning,
      journal: "j",
      completeUpTo: undefined,
      rewinds: [],
      givenUp: []
    }
    let revision = 0
    let version = 0
    const rows = new Map<PersistenceId.PersistenceId, Rewind.StoredNumber>()

    let filter = EventFilter.passAll
    let passes = EventFilter.compile(filter)
    const set = (next: EventFilter.EventFilter) => {
      filter = next
      passes = EventFilter.compile(next)
    }
    let inclusions: ReadonlyArray<GivenUp.Inclusion> = []
    let past = new GivenUp.PastGivenUp(new Map(), [])
    const begin = () => {
      past = new GivenUp.PastGivenUp(new Map([[slice, stored.givenUp]]), inclusions)
      return new ReadingState.ReadingState(range, {
        offsets: stored.offset.position === 0 ? Offset.none : new Map([[slice, stored.offset]]),
        completeUpTo: stored.completeUpTo === undefined ? new Map() : new Map([[slice, stored.completeUpTo]]),
        rewinds: new Map([[slice, stored.rewinds]])
      })
    }
    let state = begin()
    let group: Array<Event | Envelope.Skipped> = []
    let fresh: Array<Coming> = []

    const save = () => {
      const [last] = state.advance(group).slice(-1)
      const entities = state.entities(slice)
      for (const [id, { first, last }] of entities ?? []) {
        const before = rows.get(id)
        const isTwice = before !== undefined && before.sequenceNumber >= first &&
          Rewind.forgottenSince(stored.rewinds, before) === undefined
        assert.isFalse(isTwice, "a store would take it for what another worker has handled")
        rows.set(id, { sequenceNumber: last, revision })
      }
      const completeUpTo = stored.completeUpTo ?? (entities === undefined ? undefined : stored.offset)
      stored = { ...stored, offset: last === undefined ? stored.offset : at(last.position!), completeUpTo }
      state.stored(slice, stored.offset.position)
      fresh.forEach(handle)
      group = []
      fresh = []
    }

    /** A replay is asked for by an event, which tells what is given up. */
    const take = (element: Event | Envelope.Skipped, isReplay = false, depth = 0, cause = element): void => {
      assert.isBelow(depth, 9)
      const verdict = state.judge(element, isReplay)
      const again = () => take(element, isReplay, depth + 1, cause)
      if (verdict === "unsettled") {
        save()
        return again()
      }
      if (element._tag === "Skipped") {
        assert.strictEqual(verdict, "accepted")
        group.push(element)
        return
      }
      const replay = (from: number) => {
        for (const earlier of ofEntity(element, from, element.sequenceNumber - 1)) take(earlier, true, depth + 1, cause)
        state.complete(element)
        again()
      }
      /** Whether something that is missing is given up, which it then goes past. */
      const goPastGivenUp = (from: number): boolean => {
        const until = past.until(element)
        if (until === undefined) return false
        const old = ofEntity(element, 1, element.sequenceNumber - 1).filter(({ timestamp }) => timestamp < until).length
        state.complete({ ...element, sequenceNumber: SequenceNumber.make(old + 1) })
        if (Rewind.isJumped(stored.rewinds, element.timestamp)) {
          for (const { position } of ofEntity(element, 1, old)) {
            if (position! <= upTo(element)) isGivenUp[position! - 1] = true
          }
        }
        return old >= from
      }
      switch (verdict) {
        case "accepted":
          fresh.push({ event: element, givenUp: upTo(cause as Event) })
          assert.isAbove(element.position!, upTo(cause as Event), "what is given up does not come")
          group.push(element)
          return
        case "passed":
          group.push(element)
          return
        case "duplicate":
          return
        case "unknown":
          state.loaded([element.persistenceId], rows)
          return again()
        case "gap": {
          const from = state.missingFrom(element.persistenceId)
          return goPastGivenUp(from) ? again() : replay(from)
        }
        case "unproven": {
          if (goPastGivenUp(1)) return again()
          const [before] = ofEntity(element, element.sequenceNumber - 1, element.sequenceNumber - 1)
          if (!state.proves(slice, before)) return replay(1)
          state.complete(element)
          return again()
        }
        case "rewound": {
          const { last, since } = state.rewound(element.persistenceId, slice)!
          const some = ofEntity(element, 1, Math.min(last, element.sequenceNumber - 1))
          const found = some.filter(({ timestamp }) => timestamp < since).length
          state.complete({ ...element, sequenceNumber: SequenceNumber.make(found + 1) })
          return again()
        }
        default:
          assert.fail(verdict)
      }
    }

    const read = (upTo: number, savesEach: boolean) => {
      for (let i = state.next(slice) - 1; i < upTo; i++) {
        const event = log[i]!
        const { position, timestamp } = event
        take(passes(event) ? event : Envelope.skipped(slice, position!, position!, timestamp, true))
        if (savesEach) save()
      }
    }

    const give = (after: EventFilter.EventFilter) => {
      const { completeUpTo, givenUp, offset } = stored
      const change = { version: ++version, before: filter, after }
      forgotten.push({ before: passes, after: EventFilter.compile(after), upTo: offset.position })
      set(after)
      if (GivenUp.includesNothing(change) || (completeUpTo?.position ?? Infinity) >= offset.position) return
      const kept = inclusions.filter((earlier) => !GivenUp.covers(change, earlier))
      stored = {
        ...stored,
        givenUp: [
          ...givenUp.filter(({ version }) => kept.some((one) => one.version === version)),
          { version, until: Rewind.sinceOf(offset) }
        ]
      }
      inclusions = [...kept, change]
    }

    for (const step of steps) {
      switch (step.do) {
        case "read":
          read(Math.min(stored.offset.position + step.events, length), step.savesEach)
          save()
          break
        case "filter":
          set(filterOf(step.filter))
          break
        case "kill":
          // of an exactly-once projection, what was not stored was not handled
          read(Math.min(stored.offset.position + 3, length), false)
          group = []
          fresh = []
          state = begin()
          break
        case "none":
          give(filterOf(step.filter))
          revision++
          state = begin()
          break
        case "lookBack": {
          if (stored.completeUpTo === undefined) break
          const looked = log.slice(stored.completeUpTo.position, stored.offset.position)
            .filter((event) => passes(event) && !past.has(event))
          for (const event of looked) take(event, true)
          save()
          const left = looked.flatMap((event) =>
            ofEntity(event, 1, event.sequenceNumber)
              .filter(({ position }) => position! > upTo(event) && !isDone[position! - 1])
          )
          assert.deepStrictEqual(left, [], "at once")
          break
        }
        case "rewind": {
          const to = step.to % (length + 1)
          const from = stored.offset.position
          const after = Rewind.rewound(
            stored,
            step.isTime ? Offset.make(0, to * 10 + 3) : at(to),
            undefined,
            ++revision
          )
          const some = Rewind.bounded(after.rewinds, maxRewinds)
          // refused
          if (some === undefined) break
          for (const [id, row] of rows) rows.set(id, Rewind.folded(some.folded, row) ?? row)
          stored = { ...after, rewinds: some.kept }
          // a worker asks for the position
          stored = { ...stored, journal: "j", offset: at(to) }
          if (to === 0) {
            // which is the beginning, then
            stored = { ...stored, completeUpTo: undefined, rewinds: [], givenUp: [] }
            rows.clear()
          }
          isDone.fill(true, Math.min(from, to), to)
          isDone.fill(false, to)
          isGivenUp.fill(false, to)
          forgotten.forEach((one, i) => forgotten[i] = { ...one, upTo: Math.min(one.upTo, to) })
          state = begin()
        }
      }
    }
    set(EventFilter.passAll)
    read(log.length, true)
    assert.isTrue(isDone.every((done, i) => done || isGivenUp[i]), "nothing is lost")
  }

  const once = "each event is handled once since its slice was set back to before it, and in order"
  it.prop(once, [Run], ([run]) => check(run), { arbitrary: { runs: 1000 } })
  it.prop(`${once}, after more rewinds than a slice remembers`, [Rounds], ([run]) => check(ascending(run)), {
    arbitrary: { runs: 1000 }
  })
})

const Entity = Schema.Struct({
  /** Which of its events the source still has. */
  events: Schema.Array(Schema.Boolean).check(Schema.isMinLength(1), Schema.isMaxLength(40)),
  older: below(41),
  asked: below(41)
})

describe("the last event that is shown, and is older than a time,", () => {
  it.effect.prop(
    "is found, and what is not shown counts as nothing",
    [Entity],
    ([{ asked, events, older }]) =>
      Effect.gen(function*() {
        const persistenceId = PersistenceId.make("cart", "a")
        const last = Math.min(asked, events.length)
        const there = events.flatMap((isThere, i) => isThere ? [i + 1] : [])
        const calls: Array<number> = []
        const provider: any = {
          key: "test",
          entity: (_: unknown, from: number, to: number) => {
            calls.push(to - from)
            return Stream.fromIterable(
              there.filter((n) => n >= from && n <= to).map((n) => ({ sequenceNumber: n, timestamp: n * 10 }))
            )
          }
        }
        const seen = yield* lastBefore<never, never>(
          provider,
          persistenceId,
          last,
          ({ timestamp }) => timestamp <= older * 10
        )
        assert.strictEqual(seen, there.findLast((n) => n <= Math.min(last, older)) ?? 0)
        if (last <= older && events[last - 1]) assert.deepStrictEqual(calls, [0])
        assert.isAtMost(calls.length, 12)
      }),
    { arbitrary: { runs: 500 } }
  )
})
