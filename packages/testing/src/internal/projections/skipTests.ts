import { assert, describe } from "@effect/vitest"
import type { Envelope } from "@sluice/core/Envelope"
import * as Handler from "@sluice/core/Handler"
import type * as Journal from "@sluice/core/Journal"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Stream from "effect/Stream"
import * as Wait from "../../Wait.ts"
import type { It } from "../kit.ts"
import { append, assertInvalid, fresh, idsOfSlice, texts } from "../kit.ts"
import {
  appendUndecodable,
  freshName,
  inState,
  persistent,
  placeOf,
  savedSoon,
  stopped,
  whileRunning
} from "./projectionKit.ts"

type Handle = (envelope: Envelope<string>) => Effect.Effect<void, unknown, Journal.Journal>

const inGroups = (handle: Handle, within = 5) =>
  Handler.grouped(
    { size: 7, within },
    (envelopes: ReadonlyArray<Envelope<string>>) => Effect.forEach(envelopes, handle, { discard: true })
  )

const deliveries: ReadonlyArray<readonly [name: string, of: (name: string, handle: Handle) => any]> = [
  ["exactly once", (name, handle) => Projection.exactlyOnce(name, handle)],
  ["exactly once, in groups", (name, handle) => Projection.exactlyOnce(name, inGroups(handle))],
  ["at least once", (name, handle) => Projection.atLeastOnce(name, handle, savedSoon)],
  ["at least once, in groups", (name, handle) => Projection.atLeastOnce(name, inGroups(handle), savedSoon)],
  [
    "at least once, at the same time",
    (name, handle) => Projection.atLeastOnce(name, handle, { parallelism: 4, ...savedSoon })
  ],
  [
    "at least once, in groups at the same time",
    (name, handle) => Projection.atLeastOnce(name, inGroups(handle, 0), { parallelism: 4, ...savedSoon })
  ]
]

/** Those that do not fail for one event, where the event comes to them. */
const others: typeof deliveries = [
  ["at most once", (name, handle) => Projection.atMostOnce(name, handle)],
  [
    "in a flow",
    (name, handle) =>
      Projection.flow(
        name,
        (envelopes: Stream.Stream<Envelope<string>>) =>
          Stream.mapEffect(envelopes, (envelope) => Effect.as(handle(envelope), envelope)),
        savedSoon
      )
  ]
]

type Skippable = Projection.Projection<unknown, Journal.Journal | Projection.Stores>

/** A projection of a journal of its own that notes what it has handled, and fails at some events. */
const failing = (
  deliver: typeof deliveries[0][1],
  recovery: RecoveryStrategy.RecoveryStrategy,
  at: ReadonlyArray<string>
) => {
  const type = fresh("skipping")
  const name = freshName()
  const handled: Array<string> = []
  const broken = new Set(at)
  const failures: Array<string> = []
  const delivered = deliver(name, (envelope) =>
    Effect.suspend(() => {
      const place = placeOf(envelope)
      if (broken.has(place)) {
        failures.push(place)
        return Effect.fail(`broken at ${place}`)
      }
      handled.push(place)
      return Effect.void
    }))
  const projection: Skippable = Projection.recovery(recovery)(delivered(Source.journal(type)))
  const event = (id: string, sequenceNumber: number) => ({
    persistenceId: PersistenceId.make(type.name, id),
    sequenceNumber
  })
  return { type, name, handled, broken, failures, projection, event }
}

const pending = (projection: Skippable) =>
  Effect.map(
    ProjectionManagement.ProjectionManagement.use((management) =>
      management.skips(Projection.offsetKey(projection), SliceRange.full)
    ),
    (skips) => skips.map(({ sequenceNumber }) => sequenceNumber)
  )

/** What was handled of an entity at least once, in order. */
const ofEntity = (handled: ReadonlyArray<string>, id: string) =>
  [...new Set(handled)].filter((place) => place.startsWith(`${id} `)).map((place) => Number(place.split(" ")[1]))

const refusal = <R>(skipping: Effect.Effect<void, unknown, R>) =>
  Effect.map(Effect.flip(skipping), (error) => {
    assert.instanceOf(error, ProjectionManagement.SkipRefused)
    return error.reason
  })

/** @internal Projections that are told to go past an event. */
export const skipTests = (it: It<Journal.Journal | Projection.Stores>): void => {
  describe.each(deliveries)("a projection %s that is to skip an event", (_, deliver) => {
    it.effect("at which it has stopped goes on after it, and handles it after a rewind", () =>
      Effect.gen(function*() {
        const { broken, event, handled, name, projection, type } = failing(deliver, RecoveryStrategy.fail, ["a 3"])
        yield* append(type, "a", texts(6))
        yield* append(type, "b", texts(6))
        yield* Effect.gen(function*() {
          const { failure } = yield* stopped(name)
          assert.deepStrictEqual(failure!.event as object, event("a", 3))
          yield* ProjectionManagement.skip(name, failure!.event!, { by: "ada", reason: "a mistake" })
          yield* ProjectionStatus.caughtUp(name)
          assert.deepStrictEqual(ofEntity(handled, "a"), [1, 2, 4, 5, 6])
          assert.deepStrictEqual(ofEntity(handled, "b"), [1, 2, 3, 4, 5, 6])
          assert.strictEqual((yield* ProjectionStatus.status(name))[0]!.skipped, 1)
          assert.deepStrictEqual(yield* pending(projection), [])
          const [command] = yield* ProjectionManagement.history(name)
          const { persistenceId } = event("a", 3)
          assert.deepInclude(command, {
            ...Projection.offsetKey(projection),
            command: "Skip",
            by: "ada",
            reason: "a mistake",
            target: `event 3 of '${persistenceId}'`
          })
          assert.strictEqual(yield* refusal(ProjectionManagement.skip(name, event("a", 3))), "Past")
          assert.strictEqual(yield* refusal(ProjectionManagement.skip(name, event("a", 2))), "Past")
          assert.strictEqual((yield* ProjectionManagement.history(name)).length, 1)
          // once only
          broken.clear()
          handled.splice(0)
          yield* ProjectionManagement.rewind(projection, "beginning")
          yield* ProjectionStatus.caughtUp(name)
          assert.deepStrictEqual(ofEntity(handled, "a"), [1, 2, 3, 4, 5, 6])
        }).pipe(whileRunning(projection))
      }))

    it.effect("that it tries again and again goes on after it, and no further than the next one that fails", () =>
      Effect.gen(function*() {
        const { event, failures, handled, name, projection, type } = failing(deliver, persistent, ["a 3", "a 5"])
        yield* append(type, "a", texts(6))
        yield* Effect.gen(function*() {
          yield* Wait.until("some tries", () => failures.filter((place) => place === "a 3").length > 3)
          yield* ProjectionManagement.skip(name, event("a", 3))
          yield* Wait.until("some tries of the next", () => failures.filter((place) => place === "a 5").length > 3)
          assert.deepStrictEqual(ofEntity(handled, "a"), [1, 2, 4])
          yield* ProjectionManagement.skip(name, event("a", 5))
          yield* ProjectionStatus.caughtUp(name)
          assert.deepStrictEqual(ofEntity(handled, "a"), [1, 2, 4, 6])
        }).pipe(whileRunning(projection))
      }))

    it.effect("that it has yet to come to does so then, also several in a row, and of a parked entity", () =>
      Effect.gen(function*() {
        const { event, handled, name, projection, type } = failing(deliver, RecoveryStrategy.deadLetter, ["b 2", "a 4"])
        yield* append(type, "a", texts(8))
        yield* append(type, "b", texts(4))
        yield* ProjectionManagement.ProjectionManagement.use((_) => _.register(Projection.offsetKey(projection)))
        for (const n of [1, 4, 5, 8]) yield* ProjectionManagement.skip(name, event("a", n))
        yield* ProjectionManagement.skip(name, event("b", 3))
        yield* Effect.gen(function*() {
          yield* ProjectionStatus.caughtUp(name)
          assert.deepStrictEqual(ofEntity(handled, "a"), [2, 3, 6, 7])
          assert.deepStrictEqual(ofEntity(handled, "b"), [1])
          const letters = yield* ProjectionManagement.deadLetters(name)
          assert.deepStrictEqual(letters.map(({ envelope: { sequenceNumber } }) => sequenceNumber as number), [2, 4])
          assert.strictEqual(yield* refusal(ProjectionManagement.skip(name, event("b", 2))), "PutAside")
          assert.strictEqual(yield* refusal(ProjectionManagement.skip(name, event("b", 4))), "PutAside")
          assert.deepStrictEqual(yield* pending(projection), [])
          assert.strictEqual((yield* ProjectionStatus.status(name))[0]!.skipped, 7)
        }).pipe(whileRunning(projection))
      }))
  })

  describe.each([...deliveries, ...others])("a projection %s that is to skip an event", (_, deliver) => {
    it.effect("which cannot be decoded goes on after it", () =>
      Effect.gen(function*() {
        const { event, handled, name, projection, type } = failing(deliver, RecoveryStrategy.fail, [])
        yield* append(type, "a", texts(2))
        yield* appendUndecodable(type, "a")
        yield* append(type, "a", texts(2))
        yield* Effect.gen(function*() {
          assert.strictEqual((yield* stopped(name)).failure!.event!.sequenceNumber, 3)
          yield* ProjectionManagement.skip(name, event("a", 3))
          yield* ProjectionStatus.caughtUp(name)
          assert.deepStrictEqual(ofEntity(handled, "a"), [1, 2, 4, 5])
          assert.strictEqual((yield* ProjectionStatus.status(name))[0]!.skipped, 1)
        }).pipe(whileRunning(projection))
      }))

    it.effect("while it is paused stays so, and skips it once it is resumed", () =>
      Effect.gen(function*() {
        const { event, handled, name, projection, type } = failing(deliver, RecoveryStrategy.fail, [])
        const [a, b] = idsOfSlice(type, 7, 2) as [string, string]
        yield* Effect.gen(function*() {
          yield* append(type, a, texts(1))
          yield* ProjectionStatus.caughtUp(name)
          yield* ProjectionManagement.pause(name)
          yield* Wait.until(
            "it to be paused",
            Effect.map(ProjectionStatus.status(name), ([worker]) => worker!.state === "Paused")
          )
          yield* append(type, a, texts(4))
          yield* append(type, b, texts(2))
          for (const skipped of [event(a, 3), event(a, 5), event(b, 1)]) yield* ProjectionManagement.skip(name, skipped)
          assert.isTrue(yield* ProjectionManagement.isPaused(name))
          assert.sameMembers(yield* pending(projection), [1, 3, 5])
          assert.deepStrictEqual(handled, [`${a} 1`])
          yield* ProjectionManagement.resume(name)
          yield* ProjectionStatus.caughtUp(name)
          assert.deepStrictEqual(ofEntity(handled, a), [1, 2, 4])
          assert.deepStrictEqual(ofEntity(handled, b), [2])
        }).pipe(whileRunning(projection))
      }))
  })

  it.effect("an event that is handled before a worker learns that it is to be skipped is handled, and not skipped later", () =>
    Effect.gen(function*() {
      const passes = yield* Latch.make(false)
      const type = fresh("skipping")
      const name = freshName()
      const handled: Array<string> = []
      const projection = Source.journal(type).pipe(Projection.atLeastOnce(name, (envelope) =>
        Effect.andThen(
          envelope.sequenceNumber === 2 ? passes.await : Effect.void,
          Effect.sync(() => void handled.push(placeOf(envelope)))
        )))
      yield* append(type, "a", texts(3))
      yield* Effect.gen(function*() {
        yield* Wait.until("the first event", () => handled.length === 1)
        yield* ProjectionManagement.skip(name, { persistenceId: PersistenceId.make(type.name, "a"), sequenceNumber: 2 })
        yield* passes.open
        yield* ProjectionStatus.caughtUp(name)
        assert.deepStrictEqual(handled, ["a 1", "a 2", "a 3"])
        yield* Wait.until("nothing to be skipped", Effect.map(pending(projection), (skips) => skips.length === 0))
        assert.strictEqual((yield* ProjectionStatus.status(name))[0]!.skipped, 0)
      }).pipe(whileRunning(projection))
    }))

  it.effect("what is not there is not skipped once it is", () =>
    Effect.gen(function*() {
      const { event, handled, name, projection, type } = failing(deliveries[0]![1], RecoveryStrategy.fail, [])
      yield* Effect.gen(function*() {
        yield* append(type, "a", texts(2))
        yield* ProjectionStatus.caughtUp(name)
        yield* ProjectionManagement.skip(name, event("a", 3))
        yield* Wait.until("nothing to be skipped", Effect.map(pending(projection), (skips) => skips.length === 0))
        yield* append(type, "a", texts(1))
        yield* ProjectionStatus.caughtUp(name)
        assert.deepStrictEqual(handled, ["a 1", "a 2", "a 3"])
      }).pipe(whileRunning(projection))
    }))

  it.effect("a rewind withdraws what was not skipped yet, and so does to clear", () =>
    Effect.gen(function*() {
      const { event, handled, name, projection, type } = failing(deliveries[0]![1], RecoveryStrategy.fail, [])
      yield* Effect.gen(function*() {
        yield* ProjectionManagement.pause(name)
        yield* inState(name, "Paused")
        yield* append(type, "a", texts(3))
        for (
          const command of [ProjectionManagement.rewind(projection, "beginning"), ProjectionManagement.clear(name)]
        ) {
          yield* ProjectionManagement.skip(name, event("a", 2))
          assert.deepStrictEqual(yield* pending(projection), [2])
          yield* command
          assert.deepStrictEqual(yield* pending(projection), [])
        }
        yield* ProjectionManagement.resume(name)
        yield* Wait.until("all three", () => handled.length >= 3)
        assert.deepStrictEqual(handled.slice(-3), ["a 1", "a 2", "a 3"])
      }).pipe(whileRunning(projection))
    }))

  it.effect("an event of one of several sources is skipped by the key of its source", () =>
    Effect.gen(function*() {
      const [first, second] = [fresh("skipping"), fresh("skipping")]
      const name = freshName()
      const handled: Array<string> = []
      const projection = Source.mergeAll([Source.journal(first), Source.journal(second)]).pipe(
        Projection.exactlyOnce(name, (envelope) =>
          PersistenceId.entityType(envelope.persistenceId) === second.name && envelope.sequenceNumber === 2
            ? Effect.fail("broken")
            : Effect.sync(() =>
              void handled.push(envelope.persistenceId)
            )),
        Projection.recovery(RecoveryStrategy.fail)
      )
      yield* append(first, "a", texts(3))
      yield* append(second, "a", texts(3))
      yield* Effect.gen(function*() {
        const event = (yield* stopped(name)).failure!.event!
        const error = yield* Effect.flip(ProjectionManagement.skip(name, event))
        assert.instanceOf(error, ProjectionManagement.AmbiguousProjection)
        const key = Projection.offsetKeys(projection).find(({ source }) => source.endsWith(second.name))!
        yield* ProjectionManagement.skip(key, event)
        yield* ProjectionStatus.caughtUp(name)
        assert.strictEqual(handled.length, 5)
      }).pipe(whileRunning(projection))
    }))

  it.effect("a skip of what is no event is refused, and so is one too many", () =>
    Effect.gen(function*() {
      const { event, name, projection } = failing(deliveries[0]![1], RecoveryStrategy.fail, [])
      const unknown = yield* Effect.flip(ProjectionManagement.skip(name, event("a", 1)))
      assert.instanceOf(unknown, ProjectionManagement.UnknownProjection)
      yield* ProjectionManagement.ProjectionManagement.use((_) => _.register(Projection.offsetKey(projection)))
      for (const sequenceNumber of [1.5, -1, NaN]) {
        assertInvalid(yield* Effect.flip(ProjectionManagement.skip(name, { ...event("a", 1), sequenceNumber })))
      }
      for (const persistenceId of ["a\0|b", `x|${"b".repeat(300)}`, "x"]) {
        assertInvalid(yield* Effect.flip(ProjectionManagement.skip(name, { persistenceId, sequenceNumber: 1 })))
      }
      assertInvalid(yield* Effect.flip(ProjectionManagement.skip(name, event("a", 1), { by: "" })))
      for (let n = 1; n <= ProjectionManagement.maxSkips; n++) yield* ProjectionManagement.skip(name, event("a", n))
      // as before
      yield* ProjectionManagement.skip(name, event("a", 7))
      assert.strictEqual(yield* refusal(ProjectionManagement.skip(name, event("b", 1))), "TooMany")
      assert.strictEqual((yield* pending(projection)).length, ProjectionManagement.maxSkips)
      const longest = { persistenceId: `x|${"b".repeat(253)}`, sequenceNumber: Number.MAX_SAFE_INTEGER }
      yield* ProjectionManagement.clear(name)
      yield* ProjectionManagement.ProjectionManagement.use((_) => _.register(Projection.offsetKey(projection)))
      yield* ProjectionManagement.skip(name, longest)
      assert.deepStrictEqual(yield* pending(projection), [Number.MAX_SAFE_INTEGER])
    }))

  it.effect("an event is skipped once, however often it is asked for at the same time", () =>
    Effect.gen(function*() {
      const { event, handled, name, projection, type } = failing(deliveries[0]![1], RecoveryStrategy.fail, ["a 2"])
      yield* append(type, "a", texts(3))
      yield* Effect.gen(function*() {
        yield* stopped(name)
        const skips = Array.from({ length: 5 }, () => Effect.exit(ProjectionManagement.skip(name, event("a", 2))))
        const exits = yield* Effect.all(skips, { concurrency: "unbounded" })
        assert.isTrue(exits.some(Exit.isSuccess))
        yield* ProjectionStatus.caughtUp(name)
        yield* Wait.until("nothing to be skipped", Effect.map(pending(projection), (skips) => skips.length === 0))
        assert.deepStrictEqual(handled, ["a 1", "a 3"])
        assert.strictEqual((yield* ProjectionStatus.status(name))[0]!.skipped, 1)
      }).pipe(whileRunning(projection))
    }))
}
