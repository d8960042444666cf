import { assert, describe, it } from "@effect/vitest"
import type { Element } from "@sluice/core/Envelope"
import * as Schema from "effect/Schema"
import { Grouping, type GroupingOptions } from "../src/internal/projection/Grouping.ts"

type Added = Parameters<Grouping["add"]>[0]

const event = (bytes = 10): Added => ({ _tag: "Envelope", bytes } as Extract<Element<unknown>, { _tag: "Envelope" }>)
const skipped = { _tag: "Skipped" } as Extract<Element<unknown>, { _tag: "Skipped" }>

const make = (options: Partial<GroupingOptions>) =>
  new Grouping({ size: 3, bytes: 100, within: 50, save: undefined, ...options })

describe("a group", () => {
  it("is full with so many events, and not by what has none", () => {
    const grouping = make({})
    const elements = [event(), skipped, event(), skipped, skipped, event()]
    assert.deepStrictEqual(elements.map((element) => grouping.add(element)), [false, false, false, false, false, true])
    const group = grouping.drain()
    assert.deepStrictEqual(group.elements, elements)
    assert.strictEqual(group.envelopes.length, 3)
    assert.strictEqual(group.bytes, 30)
    assert.isTrue(grouping.isEmpty)
    assert.isFalse(grouping.add(event()))
  })

  it("is full with so many bytes, also of one event", () => {
    const grouping = make({})
    assert.isFalse(grouping.add(event(99)))
    assert.isTrue(grouping.add(event(1)))
    grouping.drain()
    assert.isTrue(grouping.add(event(1000)))
  })

  it("is full with ten thousand elements without an event", () => {
    const grouping = make({})
    grouping.add(event())
    for (let i = 1; i < 10_000; i++) assert.isFalse(grouping.add(skipped))
    assert.isTrue(grouping.add(skipped))
  })

  it("is due when its first event was due before a command came, until events are handled", () => {
    const before = make({})
    before.add(event())
    before.pause(10, false)
    assert.strictEqual(before.oldestDue, 60)
    const grouping = new Grouping({ size: 3, bytes: 100, within: 50, save: undefined }, before.oldestDue)
    grouping.add(skipped)
    grouping.drain()
    grouping.handled(1, 20)
    grouping.add(event())
    grouping.pause(30, false)
    assert.strictEqual(grouping.due, 60)
    grouping.drain()
    assert.strictEqual(grouping.oldestDue, 60)
    grouping.handled(1, 60)
    assert.strictEqual(grouping.oldestDue, Infinity)
    grouping.add(event())
    grouping.pause(70, false)
    assert.strictEqual(grouping.due, 120)
  })

  it("waits from the pause after its first event, and not at all without one", () => {
    const grouping = make({})
    grouping.pause(1, false)
    assert.strictEqual(grouping.due, Infinity)
    grouping.add(skipped)
    assert.isTrue(grouping.hasNoEvents)
    grouping.add(event())
    assert.isFalse(grouping.hasNoEvents)
    grouping.pause(10, false)
    grouping.add(event())
    grouping.pause(40, false)
    assert.strictEqual(grouping.due, 60)
    assert.isFalse(grouping.isGroupDue(59))
    assert.isTrue(grouping.isGroupDue(60))
    grouping.drain()
    assert.strictEqual(grouping.due, Infinity)
    grouping.handled(3, 60)
    grouping.add(event())
    grouping.pause(70, false)
    assert.strictEqual(grouping.due, 120)
  })
})

describe("offsets", () => {
  const save = { after: 5, within: 500 }

  it("are never due by themselves where they are stored with each group", () => {
    const grouping = make({})
    assert.isFalse(grouping.handled(1000, 0))
    grouping.pause(1000, true)
    assert.isFalse(grouping.isSaveDue(Number.MAX_SAFE_INTEGER))
  })

  it("are stored after so many elements, counted anew from then on", () => {
    const grouping = make({ save })
    assert.deepStrictEqual([2, 2].map((elements) => grouping.handled(elements, 0)), [false, false])
    assert.isTrue(grouping.handled(1, 0))
    grouping.saved()
    assert.strictEqual(grouping.due, Infinity)
    assert.isFalse(grouping.handled(4, 0))
    assert.isTrue(grouping.handled(1, 0))
  })

  it("are stored after the first group where that is asked for, and then as ever", () => {
    const grouping = make({ save: { after: 3, within: 50 }, savesFirst: true })
    assert.isTrue(grouping.handled(1, 0))
    grouping.saved()
    assert.isFalse(grouping.handled(2, 0))
    assert.isTrue(grouping.handled(1, 0))
  })

  it("are stored so long after the first that is not stored", () => {
    const grouping = make({ save })
    assert.isFalse(grouping.handled(1, 100))
    assert.isFalse(grouping.handled(1, 599))
    assert.strictEqual(grouping.due, 600)
    assert.isFalse(grouping.isSaveDue(599))
    assert.isTrue(grouping.isSaveDue(600))
    // also while events come without a pause
    assert.isTrue(grouping.handled(1, 600))
    grouping.saved()
    assert.isFalse(grouping.handled(1, 700))
    assert.strictEqual(grouping.due, 1200)
  })

  it("are stored so long after a pause in which they were ahead, such as behind events that were skipped", () => {
    const grouping = make({ save })
    grouping.pause(0, false)
    assert.strictEqual(grouping.due, Infinity)
    grouping.pause(10, true)
    grouping.pause(20, true)
    assert.strictEqual(grouping.due, 510)
  })

  it("may be due before the group is", () => {
    const grouping = make({ save: { after: 100, within: 10 } })
    grouping.handled(1, 0)
    grouping.add(event())
    grouping.pause(5, true)
    assert.strictEqual(grouping.due, 10)
    assert.deepStrictEqual([grouping.isGroupDue(10), grouping.isSaveDue(10)], [false, true])
    grouping.saved()
    assert.strictEqual(grouping.due, 55)
  })
})

describe("whatever comes", () => {
  const steps = Schema.Array(Schema.Union([
    Schema.Literals(["skipped", "pause"]),
    Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 60 }))
  ]))

  it.prop(
    "everything is in one group, in order, no group is too large, and whatever waits is due in time",
    [steps],
    ([script]) => {
      const grouping = make({})
      const added: Array<Added> = []
      const handled: Array<unknown> = []
      const flush = () => {
        const { bytes, elements, envelopes } = grouping.drain()
        assert.isAtMost(envelopes.length, 3)
        // one that fills it, and what there was before
        assert.isBelow(bytes - (envelopes.at(-1)?.bytes ?? 0), 100)
        assert.strictEqual(bytes, envelopes.reduce((sum, { bytes }) => sum + bytes, 0))
        handled.push(...elements)
      }
      script.forEach((step, now) => {
        if (step === "pause") {
          if (grouping.hasNoEvents) flush()
          grouping.pause(now, false)
          assert.strictEqual(grouping.due === Infinity, grouping.isEmpty)
          assert.isTrue(grouping.isEmpty || grouping.due <= now + 50)
          if (grouping.isGroupDue(now)) flush()
          return
        }
        const element = step === "skipped" ? skipped : event(step)
        added.push(element)
        if (grouping.add(element)) flush()
      })
      flush()
      assert.deepStrictEqual(handled, added)
      assert.strictEqual(grouping.due, Infinity)
    },
    { arbitrary: { runs: 1000 } }
  )
})
