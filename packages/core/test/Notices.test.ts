import { assert, describe, it } from "@effect/vitest"
import * as DurableStateStore from "@sluice/core/DurableStateStore"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import { ProjectionRegistry } from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Source from "@sluice/core/Source"
import * as StateType from "@sluice/core/StateType"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { noticeOthers } from "../src/internal/reading/noticeOthers.ts"
import { after, settle, start, statusOf } from "./projectionKit.ts"

const typeOf = (name: string) => EntityType.make(name, { codec: EventCodec.string })
const states = (name: string) => StateType.make(name, { codec: EventCodec.string })

const append = (type: string) => Journal.append(typeOf(type), { id: "a", events: ["event"] })

/** Keeps what is warned of. */
const warnings = () => {
  const lines: Array<unknown> = []
  const layer = Logger.layer([
    Logger.make(({ logLevel, message }) => {
      if (logLevel === "Warn") lines.push(message)
    })
  ])
  return { lines, layer: Layer.merge(layer, Layer.fresh(MemoryStorage.layer)) }
}

/** Runs two workers over the source; what the status of the first has to say, once all is quiet. */
const noticed = <E, R>(source: Source.Source<string, E, R>) =>
  Effect.gen(function*() {
    yield* start(source.pipe(Projection.atLeastOnce("p", () => Effect.void), Projection.workers(2)))
    return (yield* statusOf("p")).notice
  })

const misspelt = "There are no events of the entity type 'Cart' yet, but of 'cart': " +
  "if some are expected, the type is misspelt, or was renamed"

describe("a projection whose journal has none of its events", () => {
  const { layer, lines } = warnings()
  it.effect("says which there are, once, until one of its workers has handled one", () =>
    Effect.gen(function*() {
      yield* append("cart")
      assert.strictEqual(yield* noticed(Source.journal(typeOf("Cart"))), misspelt)
      assert.deepStrictEqual(lines, [[misspelt]])
      yield* append("Cart")
      yield* settle
      const workers = yield* ProjectionStatus.status("p")
      assert.sameDeepMembers(workers.map(({ handled, notice }) => [handled, notice]), [[1, undefined], [0, undefined]])
    }).pipe(Effect.provide(layer)))
})

describe("a projection that leaves out all of its events", () => {
  const nothing = Source.journal(typeOf("Cart")).pipe(Source.filter(() => false))

  const later = warnings()
  it.effect("says that there are none until it has passed one", () =>
    Effect.gen(function*() {
      yield* append("cart")
      assert.strictEqual(yield* noticed(nothing), misspelt)
      yield* append("Cart")
      yield* after(60_000)
      const workers = yield* ProjectionStatus.status("p")
      assert.deepStrictEqual(workers.map(({ handled, notice }) => [handled, notice]), [[0, undefined], [0, undefined]])
    }).pipe(Effect.provide(later.layer)))

  const asked = warnings()
  it.effect("or until it was asked how far behind it is, and others hear of it", () =>
    Effect.gen(function*() {
      yield* append("cart")
      assert.strictEqual(yield* noticed(nothing), misspelt)
      const [worker] = (yield* ProjectionRegistry).workers("p")
      const waiting = yield* Effect.forkChild(worker!.until(({ notice }) => notice === undefined))
      yield* append("Cart")
      yield* ProjectionStatus.lag("p")
      yield* settle
      assert.isDefined(waiting.pollUnsafe(), "who waits has heard")
      const workers = yield* ProjectionStatus.status("p")
      assert.deepStrictEqual(workers.map(({ notice }) => notice), [undefined, undefined])
    }).pipe(Effect.provide(asked.layer)))
})

const silent = (name: string, before: Effect.Effect<unknown, unknown, Journal.Journal>) => {
  const { layer, lines } = warnings()
  return it.effect(name, () =>
    Effect.gen(function*() {
      yield* before
      assert.isUndefined(yield* noticed(Source.journal(typeOf("cart"))))
      assert.isEmpty(lines)
    }).pipe(Effect.provide(layer)))
}

describe("nothing is said of", () => {
  silent("a journal that is empty", Effect.void)
  silent("one that has what is wanted, and more", Effect.andThen(append("cart"), append("order")))
})

describe("a type that is like none of the others", () => {
  const { layer, lines } = warnings()
  it.effect("may be new: the status says that there are none, and nobody is warned", () =>
    Effect.gen(function*() {
      yield* append("guest")
      assert.match(
        String(yield* noticed(Source.journal(typeOf("room")))),
        /of the entity type 'room' yet, but of 'guest'/
      )
      assert.isEmpty(lines)
      const journal = yield* Journal.Journal
      const levels = yield* Effect.forEach(
        ["room", "guests", "Gu_est", "geust", "quest", "gust", "guestbook"],
        (name) => Effect.map(noticeOthers(journal, "events", name), (notice) => notice!.level)
      )
      assert.deepStrictEqual(levels, ["Info", "Warn", "Warn", "Warn", "Warn", "Warn", "Info"])
    }).pipe(Effect.provide(layer)))
})

describe("states", () => {
  const { layer } = warnings()
  it.effect("are missed as events are", () =>
    Effect.gen(function*() {
      yield* DurableStateStore.upsert(states("profile"), { id: "a", expected: 0, state: "s" })
      const source = Source.durableState(states("profiles")).pipe(Source.map(() => ""))
      assert.match(
        String(yield* noticed(source)),
        /^There are no states of the entity type 'profiles' yet, but of 'profile':/
      )
    }).pipe(Effect.provide(layer)))
})

describe("of many types", () => {
  const { layer } = warnings()
  it.effect("some are named, and the one that is wanted is found though it is not among them", () =>
    Effect.gen(function*() {
      for (let i = 0; i < 30; i++) yield* append(`type-${i}`)
      const journal = yield* Journal.Journal
      const notice = yield* noticeOthers(journal, "events", "type-30")
      assert.match(notice!.message, /but of 'type-0', .*'type-19' and others: /)
      assert.isUndefined(yield* noticeOthers(journal, "events", "type-29"))
    }).pipe(Effect.provide(layer)))
})
