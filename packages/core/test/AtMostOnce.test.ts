import { assert, describe } from "@effect/vitest"
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import * as EventFilter from "@sluice/core/EventFilter"
import type * as Journal from "@sluice/core/Journal"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import { after, Note, settle, start, statusOf, test, unavailable, write } from "./projectionKit.ts"

const warningsOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const warnings: Array<string> = []
    return effect.pipe(
      Effect.provide(Logger.layer([Logger.make(({ message }) => void warnings.push(String(message)))])),
      Effect.provideService(References.MinimumLogLevel, "Warn"),
      Effect.as(warnings)
    )
  })

describe("at most once", () => {
  test(
    "counts what its handler has lost while a database was away",
    Effect.gen(function*() {
      yield* write("a", "1", "2", "3")
      yield* start(
        Source.journal(Note).pipe(
          Projection.atMostOnce("notes", ({ event }) => event === "2" ? Effect.fail(unavailable) : Effect.void)
        )
      )
      yield* after(10_000)
      assert.deepInclude(yield* statusOf("notes"), { state: "Running", handled: 2, skipped: 1, restarts: 1 })
    })
  )
  for (const [what, isStored] of [["was", true], ["was not", false]] as const) {
    test(
      `names and counts an event whose offset ${what} stored, though nobody answers, if it is lost`,
      Effect.gen(function*() {
        const seen: Array<string> = []
        yield* write("a", "1", "2", "3")
        const store = yield* OffsetStore
        let calls = 0
        const failing = OffsetStore.of({
          ...store,
          transact: (key, basis, moves, effect) => {
            if (++calls !== 2) return store.transact(key, basis, moves, effect)
            return Effect.andThen(
              isStored ? store.transact(key, basis, moves, effect) : Effect.void,
              Effect.fail(unavailable)
            )
          }
        })
        const warnings = yield* warningsOf(Effect.gen(function*() {
          yield* start(
            Source.journal(Note).pipe(
              Projection.atMostOnce("notes", ({ event }) => Effect.sync(() => void seen.push(event)))
            )
          ).pipe(Effect.provideService(OffsetStore, failing))
          yield* after(10_000)
        }))
        assert.deepStrictEqual(seen, isStored ? ["1", "3"] : ["1", "2", "3"])
        assert.deepInclude(yield* statusOf("notes"), { handled: seen.length, skipped: 3 - seen.length, restarts: 1 })
        const told = warnings.filter((warning) => warning.startsWith("Loses event 2 of 'note|a'"))
        assert.lengthOf(told, isStored ? 1 : 0)
      })
    )
  }
  for (
    const [what, command, isKnown] of [
      ["when its worker is replaced before it has begun again", ProjectionManagement.scale("notes", 2), true],
      [
        "when its worker is replaced, and what is stored cannot be known",
        ProjectionManagement.scale("notes", 2),
        false
      ],
      ["when the projection ends before its worker has begun again", Effect.void, true]
    ] as const
  ) {
    test(
      `names an event whose offset was stored, though nobody answers, ${what}`,
      Effect.gen(function*() {
        const seen: Array<string> = []
        yield* write("a", "1", "2")
        const store = yield* OffsetStore
        let isAway = false
        const failing = OffsetStore.of({
          ...store,
          load: (...args) => isAway && !isKnown ? Effect.fail(unavailable) : store.load(...args),
          transact: (...args) => {
            if (isAway) return store.transact(...args)
            isAway = true
            return Effect.andThen(store.transact(...args), Effect.fail(unavailable))
          }
        })
        const warnings = yield* warningsOf(
          start(
            Source.journal(Note).pipe(
              Projection.atMostOnce("notes", ({ event }) => Effect.sync(() => void seen.push(event)))
            )
          ).pipe(
            Effect.andThen(command),
            Effect.andThen(after(10)),
            Effect.scoped,
            Effect.provideService(OffsetStore, failing)
          )
        )
        assert.notInclude(seen, "1")
        const told = warnings.filter((warning) => warning.includes("event 1 of 'note|a'"))
        assert.lengthOf(told, 1)
        assert.match(told[0]!, isKnown ? /^Loses/ : /^May lose/)
      })
    )
  }
  test(
    "loses one letter to a database that is away, and not those after it",
    Effect.gen(function*() {
      let isBroken = true
      for (const id of ["a", "b", "c"]) yield* write(id, "1")
      const projection = Source.journal(Note).pipe(
        Source.tap(() => isBroken ? Effect.fail("stage") : Effect.void),
        Projection.atMostOnce("notes", () => Effect.fail(unavailable)),
        Projection.recovery(RecoveryStrategy.deadLetter)
      )
      yield* start(projection)
      yield* after(10_000)
      assert.lengthOf(yield* ProjectionManagement.deadLetters("notes"), 3)
      isBroken = false
      assert.strictEqual(yield* Effect.flip(Projection.handleDeadLetters(projection)), unavailable)
      assert.lengthOf(yield* ProjectionManagement.deadLetters("notes"), 2)
    })
  )
  for (
    const [what, command, seen, skipped] of [
      ["that a filter excludes once its offset is stored", "exclude", ["1"], 1],
      ["that comes with a command to pause", "pause", ["1", "2"], 0]
    ] as const
  ) {
    test(
      `${command === "pause" ? "hands over" : "does not hand over"} an event ${what}`,
      Effect.gen(function*() {
        const handled: Array<string> = []
        const local = Source.journal(Note).provider
        const source = Source.make<string, any, Journal.Journal>({
          ...local,
          key: "stream:note",
          filter: EventFilter.passAll,
          open: (range, { filter: _filter, ...start }) => local.open(range, start) as any
        })
        const store = yield* OffsetStore
        let calls = 0
        const commanding = OffsetStore.of({
          ...store,
          transact: (key, basis, moves, effect) =>
            Effect.tap(store.transact(key, basis, moves, effect), () =>
              ++calls !== 2 ? Effect.void : Effect.andThen(
                command === "pause"
                  ? ProjectionManagement.pause("notes")
                  : ConsumerFilter.update(source, EventFilter.excludeMatching(".*"), { by: "ada" }),
                settle
              )) as any
        })
        yield* write("a", "1", "2")
        yield* start(source.pipe(
          Projection.atMostOnce("notes", ({ event }) => Effect.sync(() => void handled.push(event)))
        )).pipe(Effect.provideService(OffsetStore, commanding))
        yield* after(10_000)
        assert.deepStrictEqual(handled, [...seen])
        assert.deepInclude(yield* statusOf("notes"), { handled: seen.length, skipped, restarts: 0 })
      })
    )
  }
  for (const isAway of [false, true]) {
    test(
      `does not hand over a letter that a filter excludes once it is claimed${
        isAway ? ", nor one of which that cannot be found out" : ""
      }, and leaves it`,
      Effect.gen(function*() {
        const handled: Array<string> = []
        const local = Source.journal(Note).provider
        let isBroken = true
        let answers = true
        const source = Source.make<string, any, Journal.Journal>({
          ...local,
          key: "stream:note",
          filter: EventFilter.passAll,
          open: (range, { filter: _filter, ...start }) => local.open(range, start) as any,
          entity: (...args) => answers ? local.entity(...args) : Stream.fail("away")
        })
        const projection = source.pipe(
          Source.tap(() => isBroken ? Effect.fail("broken") : Effect.void),
          Projection.atMostOnce("notes", ({ event }) => Effect.sync(() => void handled.push(event))),
          Projection.recovery(RecoveryStrategy.deadLetter)
        )
        yield* write("a", "1", "2")
        yield* start(projection)
        yield* after(10_000)
        isBroken = false
        const store = yield* OffsetStore
        let claims = 0
        const excluding = OffsetStore.of({
          ...store,
          transact: (key, basis, moves, effect) =>
            Effect.tap(store.transact(key, basis, moves, effect), () => {
              if (++claims > 1) return Effect.void
              answers = !isAway
              return ConsumerFilter.update(source, EventFilter.excludeMatching(".*"), { by: "ada" })
            }) as any
        })
        const handling = Projection.handleDeadLetters(projection).pipe(Effect.provideService(OffsetStore, excluding))
        if (isAway) assert.strictEqual(yield* Effect.flip(handling), "away")
        else assert.deepStrictEqual(yield* handling, { handled: 0, failed: 0, obsolete: 0, excluded: 1 })
        assert.strictEqual(claims, 1)
        assert.deepStrictEqual(handled, [])
        const letters = yield* ProjectionManagement.deadLetters("notes")
        assert.deepStrictEqual(letters.map(({ envelope }) => Number(envelope.sequenceNumber)), [1, 2])
        answers = true
        yield* ConsumerFilter.update(source, () => EventFilter.passAll, { by: "ada" })
        // nobody has claimed it any more
        assert.deepInclude(yield* Projection.handleDeadLetters(projection), { handled: 2, failed: 0 })
        assert.deepStrictEqual(handled, ["1", "2"])
      })
    )
  }
})
