import { assert, describe, it } from "@effect/vitest"
import * as Envelope from "@sluice/core/Envelope"
import * as Offset from "@sluice/core/Offset"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as ReadingState from "@sluice/core/ReadingState"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Timestamp from "@sluice/core/Timestamp"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Schema from "effect/Schema"
import { LeftOut } from "../src/internal/pipeline/LeftOut.ts"

const range = SliceRange.make(0, 2)

const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

/** An event of one of six entities, two in each slice. */
const EventOf = Schema.Struct({
  entity: upTo(5),
  isSelected: Schema.Boolean,
  /** Whether the source has it as a part that is left out for good. */
  isGone: upTo(9)
})

const Arrays = Schema.Array(Schema.Struct({
  events: Schema.Array(EventOf).check(Schema.isMinLength(1), Schema.isMaxLength(8)),
  /** In milliseconds, from the array before to this one. */
  after: upTo(60),
  /** Whether everything is selected when it comes. */
  isOpen: upTo(5),
  /** Whether the source waits after it. */
  waits: upTo(4)
})).check(Schema.isMaxLength(30))

type Arrays = typeof Arrays.Type

interface Log {
  position: number
  readonly numbers: Map<string, number>
}

/** As a source shows them: positions are dense in each slice, and numbers in each entity. */
const shown = (arrays: Arrays) => {
  const selected = new Set<Envelope.EncodedElement>()
  const logs = new Map<Slice.Slice, Log>(
    SliceRange.slices(range).map((slice) => [slice, { position: 0, numbers: new Map() }])
  )
  let timestamp = 0
  const chunks = arrays.map(({ events }) =>
    events.map(({ entity, isGone, isSelected }): Envelope.EncodedElement => {
      const slice = Slice.make(entity % 3)
      const log = logs.get(slice)!
      const position = Position.make(++log.position)
      const time = Timestamp.make(++timestamp)
      if (isGone === 0) return Envelope.skipped(slice, position, position, time)
      const persistenceId = PersistenceId.make("cart", `c-${entity}`)
      const number = (log.numbers.get(persistenceId) ?? 0) + 1
      log.numbers.set(persistenceId, number)
      const event = Envelope.encoded({
        persistenceId,
        sequenceNumber: SequenceNumber.make(number),
        slice,
        position,
        timestamp: time
      }, undefined)
      if (isSelected) selected.add(event)
      return event
    }) as unknown as NonEmptyReadonlyArray<Envelope.EncodedElement>
  )
  return { chunks, selected, logs }
}

/** What passes, with runs that are held back for so long. */
const passed = (arrays: Arrays, holdFor: number): ReadonlyArray<Envelope.EncodedElement> => {
  const { chunks, selected } = shown(arrays)
  let isOpen = false
  const leftOut = new LeftOut(
    {
      get isOpen() {
        return isOpen
      },
      isSelected: (event) => selected.has(event)
    },
    undefined,
    holdFor
  )
  let now = 1_000
  const elements = arrays.flatMap(({ after, isOpen: opens, waits }, i) => {
    now += after
    isOpen = opens === 0
    const taken = leftOut.take(chunks[i]!, now)
    return waits === 0 ? [...taken, ...leftOut.rest()] : taken
  })
  return [...elements, ...leftOut.rest()]
}

/** What a worker makes of it, that has what is missing replayed. */
const read = (elements: ReadonlyArray<Envelope.EncodedElement>) => {
  const state = new ReadingState.ReadingState(range, { offsets: Offset.none, completeUpTo: new Map() })
  const verdicts: Array<string> = []
  for (const encoded of elements) {
    const element = Envelope.isSkipped(encoded) ? encoded : Envelope.placeholder(encoded)
    for (let verdict = state.judge(element);; verdict = state.judge(element)) {
      if (!Envelope.isSkipped(encoded)) {
        verdicts.push(`${encoded.persistenceId} ${encoded.sequenceNumber} ${verdict}`)
      }
      if (verdict === "unknown") state.loaded([(element as Envelope.Placeholder).persistenceId], new Map())
      else if (verdict === "unproven" || verdict === "gap") state.complete(element as Envelope.Placeholder)
      else if (verdict !== "unsettled") {
        assert.include(["accepted", "passed"], verdict)
        break
      }
    }
    state.advance([element])
    // each element is stored at once, so that none is unsettled
    state.stored(element.slice, element.position!)
  }
  return {
    verdicts,
    offsets: SliceRange.slices(range).map((slice) => state.offset(slice)),
    completeUpTo: SliceRange.slices(range).map((slice) => state.completeUpTo(slice))
  }
}

/** The verdicts of each entity, as the order of slices among each other is free. */
const byEntity = (verdicts: ReadonlyArray<string>) => Object.groupBy(verdicts, (verdict) => verdict.split(" ")[0]!)

const event = (entity: number, isSelected: boolean) => ({ entity, isSelected, isGone: 1 })
const array = (...events: Arrays[number]["events"]) => ({ events, after: 1, isOpen: 1, waits: 1 })

describe("what a selection leaves out", () => {
  it.prop(
    "is left out for now, and what the source has left out is for good",
    [Arrays, upTo(200)],
    ([arrays, holdFor]) => {
      const gone = shown(arrays).chunks.flat().filter(Envelope.isSkipped)
      const places = new Set(gone.map(({ position, slice }) => `${slice} ${position}`))
      for (const element of passed(arrays, holdFor)) {
        if (!Envelope.isSkipped(element)) continue
        const isGone = element.from === element.position && places.has(`${element.slice} ${element.position}`)
        assert.strictEqual(element.isDeferred, !isGone)
      }
    }
  )

  it.prop("makes no difference to whoever reads, however long it is held back", [Arrays, upTo(200)], ([
    arrays,
    holdFor
  ]) => {
    const expected = read(passed(arrays, 0))
    const found = read(passed(arrays, holdFor))
    assert.deepStrictEqual(byEntity(found.verdicts), byEntity(expected.verdicts))
    assert.deepStrictEqual(found.offsets, expected.offsets)
    assert.deepStrictEqual(found.completeUpTo, expected.completeUpTo)
    const { logs } = shown(arrays)
    assert.deepStrictEqual(
      found.offsets.map(({ position }) => position),
      Array.from(logs.values(), (log) => log.position)
    )
  }, { arbitrary: { runs: 500 } })

  it.prop("has at most as many parts as without holding back", [Arrays], ([arrays]) => {
    assert.isAtMost(passed(arrays, 100).length, passed(arrays, 0).length)
  })

  it("is one part of a log over many arrays, until something else of that log comes", () => {
    const elements = passed([
      array(event(0, false), event(1, false)),
      array(event(0, false), event(2, true)),
      array(event(3, true), event(1, false))
    ], 100)
    assert.deepStrictEqual(
      elements.map((element) =>
        `${element.slice} ${Envelope.isSkipped(element) ? `${element.from}-` : ""}${element.position}`
      ),
      ["2 1", "0 1-2", "0 3", "1 1-2"]
    )
  })

  it("is held back for no longer than it may be, while arrays come", () => {
    const { chunks } = shown(Array.from({ length: 5 }, () => ({
      events: [{ entity: 0, isSelected: false, isGone: 1 }],
      after: 0,
      isOpen: 1,
      waits: 1
    })))
    const leftOut = new LeftOut({ isOpen: false, isSelected: () => false }, undefined, 100)
    const taken = [1_000, 1_050, 1_100, 1_150, 1_210].map((now, i) => leftOut.take(chunks[i]!, now))
    assert.deepStrictEqual(taken.map((elements) => elements.map(({ position }) => position)), [
      [],
      [],
      [Position.make(3)],
      [],
      []
    ])
    assert.deepStrictEqual(leftOut.rest().map(({ from, position }) => [from, position]), [[4, 5]])
    assert.deepStrictEqual(leftOut.rest(), [])
  })
})
