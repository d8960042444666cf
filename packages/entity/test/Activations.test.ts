import { assert, describe, it } from "@effect/vitest"
import * as Activations from "@sluice/entity/Activations"
import * as Wait from "@sluice/testing/Wait"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { activate, add, Notes, read, refuse } from "./kit/Notes.ts"

const numbers = (n: number): ReadonlyArray<number> => Array.from({ length: n }, (_, i) => i)

const failureOf = <A, E>(effect: Effect.Effect<A, E>) => Effect.map(Effect.flip(effect), (error: any) => error)

describe("an active entity", () => {
  it.effect("is recovered once, and handles its commands in the order in which they come", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      notes.write("a", "before")
      const { ask } = yield* activate(notes)
      const replies = yield* Effect.forEach(numbers(20), (i) => ask("a", add(`${i}`)), { concurrency: "unbounded" })
      assert.deepStrictEqual(replies, numbers(20).map((i) => `${i + 2} ${i}`))
      assert.strictEqual(yield* ask("a", read), `before ${numbers(20).join(" ")}`)
      assert.deepStrictEqual(notes.recovered, ["a"])
    }))

  it.effect("handles one command at a time, and others do not wait for it", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const goOn = Latch.makeUnsafe()
      const seen: Array<string> = []
      notes.on = {
        decide: (note) => Effect.andThen(Effect.sync(() => seen.push(note)), note === "slow" ? goOn.await : Effect.void)
      }
      const { ask } = yield* activate(notes)
      const slow = yield* Effect.forkChild(ask("a", add("slow")), { startImmediately: true })
      const behind = yield* Effect.forkChild(ask("a", add("behind")), { startImmediately: true })
      assert.strictEqual(yield* ask("b", add("quick")), "1 quick")
      assert.isUndefined(behind.pollUnsafe())
      assert.deepStrictEqual(seen, ["slow", "quick"])
      yield* goOn.open
      assert.deepStrictEqual([yield* Fiber.join(slow), yield* Fiber.join(behind)], ["1 slow", "2 behind"])
    }))

  it.effect("answers a repetition once the first one is handled", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const goOn = Latch.makeUnsafe()
      notes.on.persist = () => goOn.await
      const { ask } = yield* activate(notes)
      const both = yield* Effect.forkChild(
        Effect.all([ask("a", add("one", "one")), ask("a", add("one", "one"))], { concurrency: 2 }),
        { startImmediately: true }
      )
      yield* goOn.open
      assert.deepStrictEqual(yield* Fiber.join(both), ["1 one", "one again"])
      assert.deepStrictEqual(notes.of("a"), ["one"])
    }))

  it.effect("refuses commands while as many wait as may", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const goOn = Latch.makeUnsafe()
      notes.on.decide = () => goOn.await
      const { ask } = yield* activate(notes, { mailbox: 3 })
      const waiting = yield* Effect.forEach(
        numbers(4),
        (i) => Effect.forkChild(ask("a", add(`${i}`)), { startImmediately: true })
      )
      const { _tag, full, isUnknown, limit, message } = yield* failureOf(ask("a", add("4")))
      assert.deepStrictEqual({ _tag, full, isUnknown, limit }, {
        _tag: "Overloaded",
        full: "mailbox",
        isUnknown: false,
        limit: 3
      })
      assert.include(message, "3 commands wait for notes \"a\"")
      yield* goOn.open
      yield* Fiber.joinAll(waiting)
      assert.deepStrictEqual(notes.of("a"), ["0", "1", "2", "3"])
    }))

  it.effect("refuses a command that has waited for longer than it may, and none that has begun", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const goOn = Latch.makeUnsafe()
      notes.on = { recover: () => goOn.await, decide: () => goOn.await }
      const { ask } = yield* activate(notes)
      const within = (note: string, beginsWithin: number) =>
        Effect.forkChild(Effect.exit(ask("a", { ...add(note), beginsWithin })), { startImmediately: true })
      // the first one waits for the recovery
      const first = yield* within("1", 100)
      yield* TestClock.adjust(100)
      const { full, isUnknown, limit } = yield* failureOf(Effect.flatten(Fiber.join(first)))
      assert.deepStrictEqual({ full, isUnknown, limit }, { full: "time", isUnknown: false, limit: 100 })
      notes.on.recover = () => Effect.void
      yield* goOn.open
      yield* Effect.yieldNow
      yield* goOn.close
      const begun = yield* within("2", 100)
      const late = yield* within("3", 100)
      const patient = yield* within("4", 60_000)
      yield* TestClock.adjust(100)
      assert.strictEqual((yield* failureOf(Effect.flatten(Fiber.join(late))))._tag, "Overloaded")
      assert.isUndefined(begun.pollUnsafe())
      yield* goOn.open
      assert.deepStrictEqual([yield* Fiber.join(begun), yield* Fiber.join(patient)], [
        Exit.succeed("1 2"),
        Exit.succeed("2 4")
      ])
      // nothing is left of what kept the time
      yield* TestClock.adjust(60_000)
      assert.deepStrictEqual(notes.of("a"), ["2", "4"])
    }))

  it.effect("runs what is to be run after a command before it decides on the next one", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const seen: Array<string> = []
      notes.on = {
        decide: (note) => Effect.sync(() => void seen.push(`decide ${note}`)),
        after: (note) => Effect.andThen(Effect.yieldNow, Effect.sync(() => void seen.push(`after ${note}`)))
      }
      const { ask } = yield* activate(notes)
      yield* Effect.all([ask("a", add("1")), ask("a", add("2"))], { concurrency: 2 })
      assert.deepStrictEqual(seen, ["decide 1", "after 1", "decide 2", "after 2"])
    }))
})

describe("options", () => {
  it("that cannot be are refused", () => {
    const { behaviour } = new Notes()
    assert.throws(() => Activations.make(behaviour, { mailbox: 0 }), "mailbox is 0: an integer from 1")
    assert.throws(() => Activations.make(behaviour, { maxActive: 1.5 }), "maxActive is 1.5: an integer from 1")
    assert.throws(() => Activations.make(behaviour, { idleAfter: "soon" as any }), "idleAfter is \"soon\": a duration")
  })
})

describe("a caller that is interrupted", () => {
  it.effect("does not stop what has begun, and takes back what has not", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const goOn = Latch.makeUnsafe()
      notes.on.persist = (note) => note === "begun" ? goOn.await : Effect.void
      const { ask } = yield* activate(notes)
      const begun = yield* Effect.forkChild(ask("a", add("begun")), { startImmediately: true })
      const waits = yield* Effect.forkChild(ask("a", add("waits")), { startImmediately: true })
      const stays = yield* Effect.forkChild(ask("a", add("stays")), { startImmediately: true })
      yield* Fiber.interrupt(begun)
      yield* Fiber.interrupt(waits)
      yield* goOn.open
      assert.strictEqual(yield* Fiber.join(stays), "2 stays")
      assert.deepStrictEqual(notes.of("a"), ["begun", "stays"])
    }))

  it.effect("takes back a command that waits for the recovery", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const goOn = Latch.makeUnsafe()
      notes.on.recover = () => goOn.await
      const { ask, size } = yield* activate(notes)
      const waits = yield* Effect.forkChild(ask("a", add("waits")), { startImmediately: true })
      yield* Fiber.interrupt(waits)
      yield* goOn.open
      assert.strictEqual(yield* ask("a", read), "")
      assert.strictEqual(yield* size, 1)
      assert.deepStrictEqual(notes.recovered, ["a"])
    }))
})

describe("where another writes to the entity", () => {
  it.effect("the command is decided anew on the state as it is now", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const { ask } = yield* activate(notes)
      yield* ask("a", add("1"))
      notes.write("a", "theirs")
      assert.strictEqual(yield* ask("a", add("2")), "3 2")
      assert.deepStrictEqual(notes.of("a"), ["1", "theirs", "2"])
      assert.deepStrictEqual(notes.recovered, ["a", "a"])
    }))

  it.effect("each time, the command fails after ten attempts, and the next one begins with what is stored", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const { ask } = yield* activate(notes)
      yield* ask("a", add("1"))
      notes.on.persist = () => Effect.sync(() => notes.write("a", "theirs"))
      const failing = yield* Effect.forkChild(failureOf(ask("a", add("2"))))
      while (failing.pollUnsafe() === undefined) yield* TestClock.adjust("100 millis")
      const error = yield* Fiber.join(failing)
      assert.deepStrictEqual([error._tag, error.attempts, error.cause._tag], ["EntityConflict", 10, "SequenceConflict"])
      notes.on = {}
      assert.strictEqual(yield* ask("a", add("3")), "12 3")
      assert.deepStrictEqual(notes.of("a"), ["1", ...Array<string>(10).fill("theirs"), "3"])
    }))
})

describe("what writes nothing", () => {
  it.effect("is rejected by the state as it is stored, also where another has written", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const { ask } = yield* activate(notes)
      yield* ask("a", add("1"))
      notes.write("a", "theirs")
      assert.strictEqual(yield* ask("a", refuse("more")), "no more at 2")
      assert.strictEqual(yield* ask("a", refuse("more")), "no more at 2")
      assert.deepStrictEqual(notes.recovered, ["a", "a"])
    }))

  it.effect("is looked for among what another has executed, where it has an id", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const { ask } = yield* activate(notes)
      yield* ask("a", add("1"))
      notes.write("a", "theirs")
      assert.strictEqual(yield* ask("a", read), "1", "what only reads is answered from memory")
      assert.strictEqual(yield* ask("a", refuse("theirs", "theirs")), "no theirs again")
      notes.write("a", "more")
      assert.strictEqual(yield* ask("a", { ...read, commandId: "read" }), "1 theirs more")
    }))

  it.effect("is answered at once where the state was seen to be the newest since it came", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const goOn = Latch.makeUnsafe()
      const { ask } = yield* activate(notes)
      yield* ask("a", refuse("first"))
      assert.deepStrictEqual(notes.verified, [], "it was recovered for it")
      notes.on.decide = (note) => note === "slow" ? goOn.await : Effect.void
      const all = yield* Effect.forkChild(
        Effect.all([add("slow"), ...numbers(5).map((i) => refuse(`${i}`))].map((command) => ask("a", command)), {
          concurrency: "unbounded"
        }),
        { startImmediately: true }
      )
      yield* goOn.open
      assert.deepStrictEqual(yield* Fiber.join(all), ["1 slow", ...numbers(5).map((i) => `no ${i} at 1`)])
      assert.deepStrictEqual(notes.verified, ["a"], "one look is for all that had come by then")
    }))

  it.effect("does not trust a recovery that began before it came", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const goOn = Latch.makeUnsafe()
      const { ask } = yield* activate(notes)
      notes.on.decide = (note) => note === "no early" ? goOn.await : Effect.void
      const early = yield* Effect.forkChild(ask("a", refuse("early")), { startImmediately: true })
      notes.write("a", "theirs")
      const late = yield* Effect.forkChild(ask("a", refuse("late")), { startImmediately: true })
      yield* goOn.open
      assert.deepStrictEqual([yield* Fiber.join(early), yield* Fiber.join(late)], ["no early at 0", "no late at 1"])
    }))

  it.effect("runs no effect after persisting before that", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const { ask } = yield* activate(notes)
      yield* ask("a", add("1"))
      let times = 0
      notes.on.after = () => Effect.sync(() => void times++)
      notes.write("a", "theirs")
      yield* ask("a", refuse("more"))
      assert.strictEqual(times, 1)
    }))

  it.effect("fails where it cannot be seen whether another has written", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const { ask } = yield* activate(notes)
      yield* ask("a", add("1"))
      notes.on.verify = () => Effect.fail("unavailable")
      const error = yield* failureOf(ask("a", refuse("more")))
      assert.deepStrictEqual([error._tag, error.isUnknown], ["JournalUnavailable", false])
    }))
})

describe("a journal that is not available", () => {
  it.effect("is asked anew for the next command, whether or not the one before was written", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const { ask, size } = yield* activate(notes)
      yield* ask("a", add("1"))
      notes.on.persist = (note) => note === "2" ? Effect.fail("unknown") : Effect.fail("unavailable")
      const [second, third] = yield* Effect.all(
        [failureOf(ask("a", add("2"))), failureOf(ask("a", add("3")))],
        { concurrency: 2 }
      )
      assert.deepStrictEqual([second._tag, second.isUnknown], ["JournalUnavailable", true])
      assert.deepStrictEqual([third._tag, third.isUnknown], ["JournalUnavailable", false])
      assert.strictEqual(yield* size, 0, "nothing is held of what is not known")
      notes.on = {}
      assert.strictEqual(yield* ask("a", read), "1 2")
      assert.strictEqual(notes.recovered.length, 3)
    }))

  it.effect("fails all who wait for the recovery, and is left alone for a while", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const goOn = Latch.makeUnsafe()
      notes.on.recover = () => Effect.andThen(goOn.await, Effect.fail("broken"))
      const { ask } = yield* activate(notes)
      const all = yield* Effect.forkChild(
        Effect.forEach(numbers(3), (i) => failureOf(ask("a", add(`${i}`))), { concurrency: "unbounded" }),
        { startImmediately: true }
      )
      yield* goOn.open
      assert.deepStrictEqual((yield* Fiber.join(all)).map(({ _tag }) => _tag), Array(3).fill("RecoveryFailed"))
      for (let i = 0; i < 10; i++) assert.strictEqual((yield* failureOf(ask("a", read)))._tag, "RecoveryFailed")
      assert.strictEqual(notes.recovered.length, 1)
      yield* TestClock.adjust(49)
      yield* failureOf(ask("a", read))
      assert.strictEqual(notes.recovered.length, 1)
      yield* TestClock.adjust(1)
      yield* failureOf(ask("a", read))
      assert.strictEqual(notes.recovered.length, 2)
      notes.on = {}
      yield* TestClock.adjust(99)
      yield* failureOf(ask("a", read))
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* ask("a", add("at last")), "1 at last")
      assert.strictEqual(yield* ask("b", add("others")), "1 others")
    }))

  it.effect("where the entity is recovered after a conflict, fails the command in hand and those that wait", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const { ask } = yield* activate(notes)
      yield* ask("a", add("1"))
      notes.write("a", "theirs")
      notes.on.recover = () => Effect.andThen(Effect.yieldNow, Effect.fail("unavailable"))
      const both = yield* Effect.all([failureOf(ask("a", add("2"))), failureOf(ask("a", add("3")))], { concurrency: 2 })
      assert.deepStrictEqual(both.map(({ _tag, isUnknown }) => [_tag, isUnknown]), [
        ["JournalUnavailable", false],
        ["JournalUnavailable", false]
      ])
      assert.strictEqual(notes.recovered.length, 2)
      notes.on = {}
      yield* TestClock.adjust(50)
      assert.strictEqual(yield* ask("a", read), "1 theirs")
    }))

  it.effect("may be asked again by whoever is answered, at once", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      notes.on.recover = () => Effect.fail("unavailable")
      const { ask, size } = yield* activate(notes)
      const impatient = Effect.retry(ask("a", add("1")), { times: 100 })
      const all = yield* Effect.all(numbers(5).map(() => failureOf(impatient)), { concurrency: "unbounded" })
      assert.deepStrictEqual(all.map(({ _tag }) => _tag), Array(5).fill("JournalUnavailable"))
      assert.isAtMost(notes.recovered.length, 20)
      assert.strictEqual(yield* size, 1)
    }))

  it.effect("does not matter to a decision that fails by itself: what is held stays", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      notes.on.decide = (note) => note === "bad" ? Effect.fail("broken") : Effect.void
      const { ask } = yield* activate(notes)
      yield* ask("a", add("1"))
      assert.strictEqual((yield* failureOf(ask("a", add("bad"))))._tag, "DecisionFailed")
      assert.strictEqual(yield* ask("a", add("2")), "2 2")
      assert.deepStrictEqual(notes.recovered, ["a"])
    }))
})

describe("passivation", () => {
  it.effect("lets go of what was idle for long, and of nothing else", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const goOn = Latch.makeUnsafe()
      notes.on.decide = (note) => note === "slow" ? goOn.await : Effect.void
      const { ask, size } = yield* activate(notes, { idleAfter: Duration.seconds(100) })
      const slow = yield* Effect.forkChild(ask("slow", add("slow")), { startImmediately: true })
      yield* ask("early", add("1"))
      yield* TestClock.adjust("60 seconds")
      yield* ask("late", add("1"))
      assert.strictEqual(yield* size, 3)
      yield* TestClock.adjust("51 seconds")
      assert.strictEqual(yield* size, 2)
      yield* ask("late", add("2"))
      yield* TestClock.adjust("99 seconds")
      assert.strictEqual(yield* size, 2, "a command counts")
      yield* TestClock.adjust("12 seconds")
      assert.strictEqual(yield* size, 1)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* size, 1, "what is busy stays")
      yield* goOn.open
      yield* Fiber.join(slow)
      yield* TestClock.adjust("111 seconds")
      assert.strictEqual(yield* size, 0)
      assert.strictEqual(yield* ask("late", add("3")), "3 3")
    }))

  it.effect("of what may not be idle at all is looked for ten times a second", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const { ask, size } = yield* activate(notes, { idleAfter: 0 })
      yield* ask("a", read)
      yield* TestClock.adjust("99 millis")
      assert.strictEqual(yield* size, 1)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* size, 0)
    }))

  it.effect("has a bound for the bytes of commands that are not answered, whoever they are for", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const goOn = Latch.makeUnsafe()
      notes.on.decide = (note) => note.startsWith("slow") ? goOn.await : Effect.void
      const { ask } = yield* activate(notes, { maxBytes: 10_000 })
      // one that comes alone is handled, however large it is
      assert.strictEqual(yield* ask("a", add("x".repeat(20_000))), `1 ${"x".repeat(20_000)}`)
      const large = (id: string) => Effect.forkChild(ask(id, add("slow".padEnd(4_000))), { startImmediately: true })
      const [first, second] = [yield* large("b"), yield* large("b")]
      for (const id of ["a", "b", "c"]) {
        const { _tag, full, isUnknown, limit, message } = yield* failureOf(ask(id, add("x".repeat(4_000))))
        assert.deepStrictEqual([_tag, full, isUnknown, limit], ["Overloaded", "memory", false, 10_000])
        assert.include(message, "10000 bytes")
      }
      assert.strictEqual(yield* ask("c", add("small")), "1 small")
      // whoever is interrupted gives back what its command took, unless that has begun
      yield* Fiber.interrupt(second)
      assert.strictEqual(yield* ask("c", add("x".repeat(4_000))), `2 ${"x".repeat(4_000)}`)
      yield* goOn.open
      yield* Fiber.join(first)
      // all was given back
      assert.strictEqual(yield* ask("d", add("x".repeat(50_000))), `1 ${"x".repeat(50_000)}`)
    }))

  it.effect("passivates those that were used least recently where what they remember takes too much", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      for (const id of ["a", "b", "c"]) notes.write(id, "x".repeat(4_000))
      const { ask, size } = yield* activate(notes, { maxBytes: 10_000 })
      for (const id of ["a", "b", "a", "c"]) yield* ask(id, read)
      assert.strictEqual(yield* size, 2)
      yield* ask("a", read)
      yield* ask("b", read)
      assert.deepStrictEqual(notes.recovered, ["a", "b", "c", "b"])
    }))

  it.effect("makes room for another entity, the one that was used least recently first; where all are busy there is none", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const goOn = Latch.makeUnsafe()
      notes.on.decide = (note) => note === "slow" ? goOn.await : Effect.void
      const { ask, size } = yield* activate(notes, { maxActive: 2 })
      yield* ask("a", read)
      yield* ask("b", read)
      yield* ask("a", read)
      yield* ask("c", read)
      yield* ask("a", read)
      assert.deepStrictEqual(notes.recovered, ["a", "b", "c"])
      yield* ask("b", read)
      yield* ask("a", read)
      assert.deepStrictEqual(notes.recovered, ["a", "b", "c", "b"])
      const slow = yield* Effect.forEach(
        ["a", "b"],
        (id) => Effect.forkChild(ask(id, add("slow")), { startImmediately: true })
      )
      const { _tag, full, limit } = yield* failureOf(ask("c", read))
      assert.deepStrictEqual([_tag, full, limit], ["Overloaded", "activations", 2])
      assert.strictEqual(yield* size, 2)
      yield* goOn.open
      yield* Fiber.joinAll(slow)
      assert.strictEqual(yield* ask("c", read), "")
    }))

  it.effect("of those that are meant waits for their commands", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const goOn = Latch.makeUnsafe()
      notes.on.decide = (note) => note === "slow" ? goOn.await : Effect.void
      const { ask, passivate, size } = yield* activate(notes)
      yield* ask("idle", read)
      yield* ask("other", read)
      const slow = yield* Effect.forkChild(ask("busy", add("slow")), { startImmediately: true })
      const passivating = yield* Effect.forkChild(passivate((id) => id !== "other"), { startImmediately: true })
      assert.strictEqual(yield* size, 2)
      assert.isUndefined(passivating.pollUnsafe())
      const behind = yield* Effect.forkChild(ask("busy", add("behind")), { startImmediately: true })
      yield* goOn.open
      yield* Fiber.join(passivating)
      assert.strictEqual(yield* size, 1)
      assert.deepStrictEqual([yield* Fiber.join(slow), yield* Fiber.join(behind)], ["1 slow", "2 behind"])
      yield* passivate(() => true)
      assert.strictEqual(yield* size, 0)
    }))

  it.effect("is given up, and another one begins at once from what is stored", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const [writes, asked] = [Latch.makeUnsafe(), Latch.makeUnsafe()]
      // it does not let itself be stopped
      notes.on.persist = () => Effect.uninterruptible(Effect.andThen(asked.open, writes.await))
      const { abandon, ask, size } = yield* activate(notes)
      yield* ask("idle", read)
      const sent = yield* Effect.forEach(["in hand", "waits"], (note) =>
        Effect.forkChild(failureOf(ask("a", add(note))), { startImmediately: true }))
      yield* asked.await
      yield* abandon(() =>
        true
      )
      assert.strictEqual(yield* size, 0)
      const failures = yield* Effect.forEach(sent, Fiber.join)
      assert.deepStrictEqual(failures.map(({ _tag, isUnknown }) => [_tag, isUnknown]), [
        ["EntityUnreachable", true],
        ["EntityUnreachable", false]
      ])
      notes.on = {}
      notes.write("a", "another's")
      assert.strictEqual(yield* ask("a", read), "another's")
      // what was given up ends, and leaves the other one alone
      yield* writes.open
      yield* Effect.yieldNow
      yield* Effect.yieldNow
      assert.strictEqual(yield* size, 1)
      assert.strictEqual(yield* ask("a", add("next")), "2 next")
      assert.deepStrictEqual(notes.of("a"), ["another's", "next"])
      assert.deepStrictEqual(notes.recovered, ["idle", "a", "a"])
    }))

  it.effect("keeps ten thousand entities apart, with room for a hundred", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      notes.on.persist = () => Effect.yieldNow
      const { ask, size } = yield* activate(notes, { maxActive: 100 })
      for (const round of [1, 2]) {
        const replies = yield* Effect.forEach(numbers(10_000), (i) => ask(`e${i}`, add(`${i}.${round}`)), {
          concurrency: 64
        })
        assert.deepStrictEqual(replies, numbers(10_000).map((i) => `${round} ${i}.${round}`))
        assert.strictEqual(yield* size, 100)
      }
      for (const i of numbers(10_000)) assert.deepStrictEqual(notes.of(`e${i}`), [`${i}.1`, `${i}.2`])
    }))
})

describe("the end", () => {
  it.effect("waits for all commands that have come, and takes no more", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const goOn = Latch.makeUnsafe()
      notes.on.persist = () => goOn.await
      const scope = yield* Scope.make()
      const { ask } = yield* Scope.provide(activate(notes), scope)
      const all = yield* Effect.forkChild(
        Effect.forEach(numbers(6), (i) => ask(`e${i % 2}`, add(`${i}`)), { concurrency: "unbounded" }),
        { startImmediately: true }
      )
      const ending = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      const error = yield* failureOf(ask("e0", add("late")))
      assert.deepStrictEqual([error._tag, error.isUnknown], ["EntityUnreachable", false])
      assert.include(error.message, "about to end")
      assert.isUndefined(ending.pollUnsafe())
      yield* goOn.open
      yield* Fiber.join(ending)
      assert.deepStrictEqual(yield* Fiber.join(all), ["1 0", "1 1", "2 2", "2 3", "3 4", "3 5"])
      assert.deepStrictEqual(notes.of("e0"), ["0", "2", "4"])
    }))

  it.effect("stops what takes too long, and says what may have been executed", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      notes.on = {
        decide: (note) => note === "deciding" ? Effect.never : Effect.void,
        persist: (note) => note === "persisting" ? Effect.never : Effect.void,
        after: (note) => note === "after" ? Effect.never : Effect.void
      }
      const scope = yield* Scope.make()
      const { ask } = yield* Scope.provide(activate(notes, { shutdownWithin: Duration.seconds(3) }), scope)
      const stuck = ["deciding", "persisting", "after"]
      for (const id of stuck) yield* ask(id, add("before"))
      const results = yield* Effect.forkChild(
        Effect.forEach(
          stuck,
          (note) => Effect.all([ask(note, add(note)), ask(note, add("waits"))].map(Effect.result), { concurrency: 2 }),
          { concurrency: "unbounded" }
        ),
        { startImmediately: true }
      )
      const ending = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      assert.isUndefined(ending.pollUnsafe())
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(ending)
      const [deciding, persisting, after] = (yield* Fiber.join(results)).map((both) =>
        both.map((result) => result._tag === "Success" ? result.success : (result.failure as any).isUnknown)
      )
      // what was in hand may have been written
      assert.deepStrictEqual(deciding, [true, false])
      assert.deepStrictEqual(persisting, [true, false])
      assert.deepStrictEqual(after, [true, false])
    }))

  it.effect("answers those whose command does not let itself be stopped", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      notes.on = {
        persist: (note) => note === "hangs" ? Effect.uninterruptible(Effect.never) : Effect.void
      }
      const scope = yield* Scope.make()
      const { ask } = yield* Scope.provide(activate(notes, { shutdownWithin: Duration.seconds(3) }), scope)
      const both = yield* Effect.forkChild(
        Effect.all([ask("a", add("hangs")), ask("a", add("waits"))].map(failureOf), { concurrency: 2 }),
        { startImmediately: true }
      )
      const ending = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* TestClock.adjust("8 seconds")
      yield* Wait.end("the end", Fiber.join(ending))
      const answers = yield* Wait.end("the answers", Fiber.join(both))
      assert.deepStrictEqual(answers.map(({ _tag, isUnknown }) => [_tag, isUnknown]), [
        ["EntityUnreachable", true],
        ["EntityUnreachable", false]
      ])
    }))

  it.effect("is no matter of what nobody uses", () =>
    Effect.gen(function*() {
      const notes = new Notes()
      const scope = yield* Scope.make()
      const { ask } = yield* Scope.provide(activate(notes), scope)
      yield* ask("a", read)
      yield* Wait.end("the end", Scope.close(scope, Exit.void))
    }))
})
