import { assert, describe, it } from "@effect/vitest"
import * as Envelope from "@sluice/core/Envelope"
import * as Offset from "@sluice/core/Offset"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Schema from "effect/Schema"
import { Limits } from "../src/internal/projection/Limits.ts"

const slice = Slice.make(0)
const entities = 3

/** The nth event of an entity, in a log to which the entities write in turn. */
const placeOf = (entity: number, n: number) => {
  const position = (n - 1) * entities + entity + 1
  return Envelope.placeholder({
    persistenceId: PersistenceId.make("cart", `${entity}`),
    sequenceNumber: SequenceNumber.make(n),
    slice,
    position: Position.make(position),
    timestamp: Timestamp.make(position * 10)
  })
}

const stayOf = ({ position = Position.make(1) }: Envelope.Place) => ({
  at: position,
  before: Offset.make(position - 1, (position - 1) * 10)
})

/** Limits, and what they are to say, as every event that waits is known. */
class Waiting {
  readonly limits = new Limits()
  /** By their times, which are in the order of their positions. */
  readonly waiting = new Map<Timestamp.Timestamp, Envelope.Place>()
  readonly past = new Set<Timestamp.Timestamp>()

  hold(place: Envelope.Place, isPast: boolean): void {
    this.limits.hold(place, isPast ? undefined : stayOf(place))
    if (this.waiting.has(place.timestamp)) return
    this.waiting.set(place.timestamp, place)
    if (isPast) this.past.add(place.timestamp)
  }

  handled(place: Envelope.Place): void {
    this.limits.handled([place])
    for (const [timestamp, { persistenceId, sequenceNumber }] of this.waiting) {
      if (persistenceId !== place.persistenceId || sequenceNumber > place.sequenceNumber) continue
      this.waiting.delete(timestamp)
      this.past.delete(timestamp)
    }
  }

  /** Where the first event waits that the offset is not past. */
  get first(): number | undefined {
    const times = [...this.waiting.keys()].filter((timestamp) => !this.past.has(timestamp))
    return times.length === 0 ? undefined : Math.min(...times) / 10
  }
}

const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

const Steps = Schema.Array(Schema.Union([
  Schema.Struct({ _tag: Schema.Literal("hold"), entity: upTo(entities - 1), skip: upTo(2) }),
  Schema.Struct({ _tag: Schema.Literal("hold again"), entity: upTo(entities - 1) }),
  Schema.Struct({ _tag: Schema.Literal("hold of the past"), entity: upTo(entities - 1), skip: upTo(2) }),
  Schema.Struct({
    _tag: Schema.Literal("handled"),
    entity: upTo(entities - 1),
    count: upTo(3),
    isReverted: Schema.Boolean
  })
])).check(Schema.isMinLength(20), Schema.isMaxLength(100))

/** Numbers from here on are new; those before were passed over. */
const begin = 201

describe("the limits of events that wait", () => {
  it.prop(
    "follow the first event that still waits",
    [Steps],
    ([steps]) => {
      const state = new Waiting()
      const { limits } = state
      const next = { new: [begin, begin, begin], past: [0, 0, 0], handled: [0, 0, 0] }
      for (const step of steps) {
        const { entity } = step
        const waiting = [...state.waiting.values()].filter((place) => place.persistenceId.endsWith(`${entity}`))
        switch (step._tag) {
          case "hold":
            if (waiting.length >= 32) break
            state.hold(placeOf(entity, next.new[entity]! + step.skip), false)
            next.new[entity]! += step.skip + 1
            break
          case "hold again":
            // as after one before it was handled: it is judged as one of a replay
            for (const place of waiting) state.hold(place, true)
            break
          case "hold of the past":
            if (waiting.length >= 32 || next.handled[entity]! >= begin || next.past[entity]! > begin - 4) break
            next.past[entity] = Math.max(next.past[entity]!, next.handled[entity]!) + step.skip + 1
            state.hold(placeOf(entity, next.past[entity]), true)
            break
          case "handled": {
            const place = waiting.toSorted((a, b) => a.timestamp - b.timestamp)[Math.max(0, step.count - 1)]
            if (step.count === 0 || place === undefined) break
            const before = [limits.of(slice), limits.from, limits.holdsPast, limits.isEmpty]
            if (step.isReverted) {
              limits.handled([place])
              limits.revert()
              assert.deepStrictEqual([limits.of(slice), limits.from, limits.holdsPast, limits.isEmpty], before)
            }
            limits.changed()
            state.handled(place)
            assert.strictEqual(limits.changed().has(slice), limits.of(slice) !== before[0])
            assert.strictEqual(limits.from, before[1], "until it is stored")
            limits.stored()
            next.handled[entity] = place.sequenceNumber
          }
        }
        assert.strictEqual(limits.of(slice)?.at, state.first)
        assert.strictEqual(limits.isEmpty, state.waiting.size === 0)
        assert.strictEqual(limits.holdsPast, state.past.size > 0)
        if (state.waiting.size > 0) {
          assert.isAtMost(limits.from!, Math.min(...state.waiting.keys()))
        }
      }
    },
    { arbitrary: { runs: 300 } }
  )

  it("move on, of whatever many events that wait, and never past one", () => {
    const state = new Waiting()
    const { limits } = state
    for (let n = 1; n <= 1_000; n++) {
      state.hold(placeOf(0, 2 * n), false)
      // half as fast as they come
      if (n % 2 === 0) state.handled(placeOf(0, n))
      assert.isAtMost(limits.of(slice)!.at, state.first!)
    }
    assert.isAbove(limits.of(slice)!.at, 500 * entities, "it comes to half of them")
    limits.stored()
    state.handled(placeOf(0, 1_998))
    assert.isFalse(limits.isEmpty)
    state.handled(placeOf(0, 2_000))
    assert.isTrue(limits.isEmpty)
    assert.isUndefined(limits.of(slice))
  })
})
