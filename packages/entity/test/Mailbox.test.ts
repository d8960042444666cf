import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import { Mailbox } from "../src/internal/Mailbox.ts"

/** An activation that is idle. */
const idle = (capacity = 10): Mailbox<string> => {
  const mailbox = new Mailbox<string>(capacity)
  mailbox.offer("first", 0)
  mailbox.recovered()
  mailbox.next()
  mailbox.next()
  return mailbox
}

describe("the mailbox of an activation", () => {
  it("has commands wait until the state is known, and hands them out in the order in which they came", () => {
    const mailbox = new Mailbox<string>(10)
    assert.strictEqual(mailbox.life, "new")
    assert.strictEqual(mailbox.offer("a", 0), "begins")
    assert.strictEqual(mailbox.offer("b", 0), "waits")
    assert.strictEqual(mailbox.life, "recovering")
    mailbox.recovered()
    assert.strictEqual(mailbox.life, "running")
    assert.strictEqual(mailbox.next(), "a")
    assert.strictEqual(mailbox.offer("c", 0), "waits")
    assert.deepStrictEqual([mailbox.next(), mailbox.next(), mailbox.next()], ["b", "c", undefined])
    assert.strictEqual(mailbox.life, "idle")
    assert.strictEqual(mailbox.offer("d", 0), "begins")
    assert.strictEqual(mailbox.life, "running", "an idle one knows its state")
  })

  it("refuses what is more than may wait, the command in hand not counted", () => {
    const mailbox = idle(2)
    assert.strictEqual(mailbox.offer("a", 0), "begins")
    assert.strictEqual(mailbox.next(), "a")
    assert.deepStrictEqual(["b", "c", "d"].map((_) => mailbox.offer(_, 0)), ["waits", "waits", "refused"])
    assert.strictEqual(mailbox.next(), "b")
    assert.strictEqual(mailbox.offer("e", 0), "waits")
    assert.deepStrictEqual([mailbox.next(), mailbox.next(), mailbox.next()], ["c", "e", undefined])
  })

  it("lets go of a command that nobody waits for, unless it has begun", () => {
    const mailbox = idle()
    for (const command of ["a", "b", "c"]) mailbox.offer(command, 0)
    assert.strictEqual(mailbox.next(), "a")
    assert.isFalse(mailbox.withdraw("a"))
    assert.isTrue(mailbox.withdraw("b"))
    assert.isFalse(mailbox.withdraw("b"))
    assert.strictEqual(mailbox.next(), "c")
  })

  it("recovers a state that was lost, and is gone if no command waits for it", () => {
    const mailbox = idle()
    mailbox.offer("a", 0)
    mailbox.offer("b", 0)
    mailbox.next()
    mailbox.lost()
    assert.isTrue(mailbox.needsRecovery)
    assert.strictEqual(mailbox.offer("c", 0), "waits")
    mailbox.recovered()
    assert.deepStrictEqual([mailbox.next(), mailbox.next()], ["b", "c"])
    mailbox.lost()
    assert.isUndefined(mailbox.next())
    assert.strictEqual(mailbox.life, "gone")
  })

  it("that could not recover rests, longer each time up to a second, or as long as the attempt has taken", () => {
    const mailbox = new Mailbox<string>(10)
    let now = 0
    for (const rest of [50, 100, 200, 400, 800, 1_000, 1_000]) {
      assert.strictEqual(mailbox.offer("a", now), "begins")
      assert.strictEqual(mailbox.offer("b", now), "waits")
      assert.deepStrictEqual(mailbox.failed(now, 1), ["a", "b"])
      assert.strictEqual(mailbox.life, "failed")
      assert.strictEqual(mailbox.offer("c", now + rest - 1), "failed")
      now += rest
    }
    mailbox.offer("a", now)
    mailbox.failed(now, 7_000)
    assert.strictEqual(mailbox.offer("b", now + 6_999), "failed")
    assert.strictEqual(mailbox.offer("b", now + 7_000), "begins")
    mailbox.recovered()
    mailbox.next()
    mailbox.lost()
    mailbox.failed(now, 0)
    assert.strictEqual(mailbox.offer("b", now + 49), "failed", "a success makes it begin from the beginning")
    assert.strictEqual(mailbox.offer("b", now + 50), "begins")
  })

  it("goes at once when nobody works on it, and else when no command is left", () => {
    const mailbox = idle()
    mailbox.passivate()
    assert.strictEqual(mailbox.life, "gone")
    assert.throws(() => mailbox.offer("a", 0), /BUG/)
    const busy = idle()
    busy.offer("a", 0)
    busy.passivate()
    assert.strictEqual(busy.life, "passivating")
    assert.strictEqual(busy.offer("b", 0), "waits")
    assert.deepStrictEqual([busy.next(), busy.next(), busy.next()], ["a", "b", undefined])
    assert.strictEqual(busy.life, "gone")
  })
})

const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

const Op = Schema.Union([
  Schema.TaggedStruct("Offer", {}),
  Schema.TaggedStruct("Offer", {}),
  Schema.TaggedStruct("Withdraw", { which: upTo(30) }),
  Schema.TaggedStruct("Work", {}),
  Schema.TaggedStruct("Work", {}),
  Schema.TaggedStruct("Lose", {}),
  Schema.TaggedStruct("Fail", { took: upTo(300) }),
  Schema.TaggedStruct("Passivate", {}),
  Schema.TaggedStruct("Wait", { millis: upTo(400) })
])

/** What a mailbox is to do, with no thought of how. */
interface Model {
  waiting: Array<number>
  isWorked: boolean
  isKnown: boolean
  isLeaving: boolean
  isGone: boolean
  restsUntil: number
  failures: number
}

const fresh = (): Model => ({
  waiting: [],
  isWorked: false,
  isKnown: false,
  isLeaving: false,
  isGone: false,
  restsUntil: 0,
  failures: 0
})

describe("whatever happens", () => {
  it.prop(
    "one at most works, who gets each command once, in order, unless it was withdrawn or the state cannot be found out",
    [Arbitrary.array(Arbitrary.schema(Op), { minLength: 30, maxLength: 150 })],
    ([ops]) => {
      const capacity = 4
      let mailbox = new Mailbox<number>(capacity)
      let model = fresh()
      let offered = 0
      let now = 0
      for (const op of ops) {
        // one that is gone is replaced by whoever has the next command
        if (model.isGone) {
          mailbox = new Mailbox(capacity)
          model = fresh()
        }
        switch (op._tag) {
          case "Offer": {
            const command = offered++
            const expected = model.isWorked
              ? model.waiting.length < capacity ? "waits" : "refused"
              : !model.isKnown && now < model.restsUntil
              ? "failed"
              : "begins"
            assert.strictEqual(mailbox.offer(command, now), expected)
            if (expected === "waits" || expected === "begins") {
              model.waiting.push(command)
              model.isWorked = true
            }
            break
          }
          case "Withdraw": {
            const command = offered - 1 - op.which
            const isWaiting = model.waiting.includes(command)
            assert.strictEqual(mailbox.withdraw(command), isWaiting)
            if (isWaiting) model.waiting = model.waiting.filter((_) => _ !== command)
            break
          }
          case "Work": {
            if (!model.isWorked) break
            assert.strictEqual(mailbox.needsRecovery, !model.isKnown)
            if (!model.isKnown && model.waiting.length > 0) {
              mailbox.recovered()
              model.isKnown = true
              model.failures = 0
              break
            }
            const command = model.waiting.shift()
            assert.strictEqual(mailbox.next(), command)
            if (command === undefined) {
              model.isWorked = false
              model.isGone = model.isLeaving || !model.isKnown
            }
            break
          }
          case "Lose":
            if (!model.isWorked || !model.isKnown) break
            mailbox.lost()
            model.isKnown = false
            break
          case "Fail":
            if (!model.isWorked || model.isKnown) break
            assert.deepStrictEqual(mailbox.failed(now, op.took), model.waiting)
            model.waiting = []
            model.isWorked = false
            model.isGone = model.isLeaving
            model.restsUntil = now + Math.max(op.took, [50, 100, 200, 400, 800][model.failures++] ?? 1_000)
            break
          case "Passivate":
            mailbox.passivate()
            if (model.isWorked) model.isLeaving = true
            else model.isGone = true
            break
          case "Wait":
            now += op.millis
        }
        assert.strictEqual(mailbox.size, model.waiting.length)
        assert.isAtMost(mailbox.size, capacity)
        assert.strictEqual(mailbox.isBusy, model.isWorked)
        assert.strictEqual(mailbox.life === "gone", model.isGone)
        assert.strictEqual(mailbox.life === "passivating", model.isWorked && model.isLeaving)
        assert.isTrue(mailbox.isBusy || mailbox.size === 0, "somebody works while commands wait")
      }
    },
    { arbitrary: { runs: 500 } }
  )
})
