import { assert, describe } from "@effect/vitest"
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import type * as EntityType from "@sluice/core/EntityType"
import type { Envelope } from "@sluice/core/Envelope"
import type { HeartbeatStore } from "@sluice/core/HeartbeatStore"
import { type Journal, sourceKey as journalKey } from "@sluice/core/Journal"
import { Fenced, OffsetStore } from "@sluice/core/OffsetStore"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionHealth from "@sluice/core/ProjectionHealth"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import { nameOf, type VersionId } from "@sluice/core/ProjectionVersion"
import type { Receipt } from "@sluice/core/Receipt"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as Source from "@sluice/core/Source"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Wait from "../../Wait.ts"
import type { It } from "../kit.ts"
import { append, eventsOf, fresh, revisionOf, texts } from "../kit.ts"
import { filtered, idOf } from "./filteredProjectionTests.ts"
import { only } from "./historyTests.ts"
import {
  caughtUp,
  freshName,
  inState,
  makeEffects,
  persistent,
  reportingSoon,
  stopped,
  whileRunning
} from "./projectionKit.ts"

type Storage = Journal | Projection.Stores

type Handle = (envelope: Envelope<string>, version: number) => Effect.Effect<void, string>

const nothing: Handle = () => Effect.void

/** @internal A projection of which each version records what it handles, and which readers are to read is an event of a pointer. */
export const makeVersions = (options?: {
  readonly handle?: Handle
  readonly switching?: Effect.Effect<unknown, string>
  readonly dropping?: Effect.Effect<unknown, string>
  readonly lag?: number
  readonly atLeastOnce?: boolean
}) => {
  const { atLeastOnce = false, dropping = Effect.void, handle = nothing, lag, switching = Effect.void } = options ?? {}
  const type = fresh("source")
  const of = freshName()
  const pointer = fresh("pointer")
  const effects = new Map([1, 2, 3].map((version) => [version, makeEffects()]))
  const dropped: Array<number> = []
  const handler = (version: number) => (envelope: Envelope<string>) =>
    Effect.andThen(handle(envelope, version), effects.get(version)!.record(envelope))
  /** With what every storage can do in a transaction. */
  const make = (version: number, source: Source.Sources<string, any, Journal> = Source.journal(type)) =>
    source.pipe(
      atLeastOnce
        ? Projection.atLeastOnce(of, handler(version), { saveWithin: "10 millis" })
        : Projection.exactlyOnce(of, handler(version)),
      Projection.recovery(persistent),
      Projection.version(version, {
        switch: Effect.andThen(append(pointer, "live", [String(version)]), switching),
        drop: (version) => Effect.andThen(dropping, Effect.sync(() => dropped.push(version))),
        dropAfter: 0,
        lag
      })
    )
  return {
    type,
    of,
    effects,
    dropped,
    make,
    /** The versions that readers were led to, in their order. */
    led: eventsOf(pointer, "live"),
    /** What readers see of an entity. */
    seen: (id: string) =>
      Effect.flatMap(eventsOf(pointer, "live"), (led) => effects.get(Number(led.at(-1)))!.remembered(id))
  }
}

/** @internal */
export const phasesOf = (
  of: string
): Effect.Effect<string, unknown, ProjectionManagement.ProjectionManagement | HeartbeatStore> =>
  Effect.map(ProjectionStatus.versions(of), (versions) => versions.map(({ phase }) => phase).join(" "))

/** @internal */
export const hasPhases = (of: string, expected: string) =>
  Wait.until(
    `the versions of ${of} to be ${expected}`,
    Effect.map(phasesOf(of), (phases) => phases === expected)
  )

const historyOf = (projection: string) =>
  Effect.map(
    ProjectionManagement.history(projection),
    (commands) => commands.map(({ command, target }) => target === undefined ? command : `${command} ${target}`)
  )

const recorded = (n: number) => texts(n).map((text, i) => `${i + 1} ${text}`)

const appendTo = (type: EntityType.EntityType<string>, id: string, events: ReadonlyArray<string>) =>
  Effect.forEach(events, (event) => append(type, id, [event]), { discard: true })

const sourceOf = ({ sources }: Projection.Projection<any, any>) => sources[0].provider.key

const keyOf = (version: VersionId) => ({ projection: nameOf(version), source: "journal:cart" })

/** What is found, once it is as expected. */
const awaited = <A, E, R>(
  what: string,
  find: Effect.Effect<A, E, R>,
  isExpected: (found: A) => boolean
): Effect.Effect<A, E, R> => {
  let found: A
  return Effect.map(
    Wait.until(
      what,
      Effect.map(find, (now) => {
        found = now
        return isExpected(now)
      })
    ),
    () => found
  )
}

/** @internal */
export const versionTests = (it: It<Storage>): void => {
  describe("a version of a projection", () => {
    for (const atLeastOnce of [false, true]) {
      it.effect(`is built beside the one that is live, and takes its place, ${atLeastOnce ? "at least" : "exactly"} once`, () =>
        Effect.gen(function*() {
          const { dropped, effects, led, make, of, type } = makeVersions({ atLeastOnce })
          const [one, two] = [make(1), make(2)]
          yield* append(type, "a", texts(30))
          yield* Effect.gen(function*() {
            yield* hasPhases(of, "Live")
            assert.deepStrictEqual(yield* effects.get(1)!.events("a"), recorded(30))
            yield* Effect.gen(function*() {
              yield* hasPhases(of, "Dropped Live")
              assert.deepStrictEqual(yield* effects.get(2)!.events("a"), recorded(30))
              assert.deepStrictEqual(yield* led, ["1", "2"])
              assert.deepStrictEqual(dropped, [1])
              yield* inState(of, "Retired")
              const receipt = yield* append(type, "b", ["later"])
              yield* caughtUp(two.name)
              const notReached = yield* Effect.flip(ProjectionStatus.reached(of, receipt, { timeout: "30 seconds" }))
              assert.deepInclude(notReached, { _tag: "UnknownProjection", live: two.name })
              assert.deepStrictEqual(yield* effects.get(2)!.events("b"), ["1 later"])
              assert.deepStrictEqual(yield* effects.get(1)!.events("b"), [])
              const error = yield* Effect.flip(ProjectionStatus.caughtUp(of))
              assert.strictEqual(error._tag, "ProjectionNotRunning")
              assert.strictEqual((yield* Effect.flip(ProjectionStatus.lag(of)))._tag, "ProjectionNotRunning")
              for (
                const command of [
                  ProjectionManagement.pause(of),
                  ProjectionManagement.scale(of, 4),
                  ProjectionManagement.rewind(of, "beginning")
                ]
              ) {
                assert.deepInclude(yield* Effect.flip(command), { _tag: "UnknownProjection", live: two.name })
              }
            }).pipe(whileRunning(two))
          }).pipe(whileRunning(one))
          const known = (yield* ProjectionManagement.list).map(({ projection }) => projection)
          assert.notInclude(known, of)
          assert.include(known, two.name)
          assert.deepStrictEqual(yield* historyOf(two.name), ["Switch version 2", "Build"])
          assert.deepStrictEqual(yield* historyOf(of), ["Drop", "Switch version 2", "Switch version 1", "Build"])
        }))
    }

    it.effect("rests also where a worker has read its command just before it was retired, and its offsets after that", () =>
      Effect.gen(function*() {
        const { effects, make, of, type } = makeVersions()
        const [one, two] = [make(1), make(2)]
        const store = yield* OffsetStore
        const management = yield* ProjectionManagement.ProjectionManagement
        let isCancelled = false
        const late: OffsetStore["Service"] = {
          ...store,
          load: (key, range) =>
            Effect.tap(store.load(key, range), ({ revision }) => {
              if (key.projection !== two.name || revision === undefined || isCancelled) return Effect.void
              isCancelled = true
              return Effect.orDie(management.cancel(two.version!))
            }).pipe(Effect.andThen(store.load(key, range)))
        }
        // it looks for commands by itself, after a second
        const deaf = { ...management, changes: () => Effect.succeed(Effect.never) }
        yield* append(type, "a", texts(3))
        yield* Effect.gen(function*() {
          yield* hasPhases(of, "Live")
          yield* inState(two.name, "Retired").pipe(
            whileRunning(two),
            Effect.provideService(OffsetStore, late),
            Effect.provideService(ProjectionManagement.ProjectionManagement, deaf)
          )
          assert.isTrue(isCancelled)
          assert.deepStrictEqual(yield* effects.get(2)!.events("a"), [])
        }).pipe(whileRunning(one))
      }))

    it.effect("follows one that knows of no versions, which never runs again", () =>
      Effect.gen(function*() {
        const { dropped, effects, led, make, of, type } = makeVersions()
        const plain = Source.journal(type).pipe(Projection.exactlyOnce(of, effects.get(1)!.record))
        yield* append(type, "a", texts(3))
        yield* whileRunning(plain)(caughtUp(of))
        assert.strictEqual(yield* phasesOf(of), "Live")
        yield* whileRunning(make(2))(hasPhases(of, "Dropped Live"))
        assert.deepStrictEqual(yield* led, ["2"])
        assert.deepStrictEqual(dropped, [1])
        yield* append(type, "a", ["later"])
        yield* whileRunning(plain)(inState(of, "Retired"))
        yield* whileRunning(make(1))(inState(of, "Retired"))
        assert.deepStrictEqual(yield* effects.get(1)!.events("a"), recorded(3))
        assert.strictEqual(yield* phasesOf(of), "Dropped Live")
        assert.notInclude((yield* ProjectionManagement.list).map(({ projection }) => projection), of)
      }))

    it.effect("is live by itself where nothing was before, and then those before it never run", () =>
      Effect.gen(function*() {
        const { dropped, effects, led, make, of, type } = makeVersions()
        yield* append(type, "a", texts(3))
        yield* whileRunning(make(2))(hasPhases(of, "Dropped Live"))
        assert.deepStrictEqual(yield* led, ["2"])
        assert.deepStrictEqual(dropped, [])
        yield* whileRunning(make(1))(inState(of, "Retired"))
        assert.deepStrictEqual(yield* effects.get(1)!.events("a"), [])
      }))

    it.effect("is a version all the same where it is rewound before it begins, whichever it is", () =>
      Effect.gen(function*() {
        const { effects, led, make, of, type } = makeVersions()
        const [one, two] = [make(1), make(2)]
        yield* append(type, "a", texts(3))
        yield* Projection.rewind(one, "beginning")
        assert.strictEqual(yield* phasesOf(of), "Building")
        yield* Effect.gen(function*() {
          yield* hasPhases(of, "Live")
          assert.deepStrictEqual(yield* led, ["1"])
          yield* Projection.rewind(two, "beginning")
          assert.strictEqual(yield* phasesOf(of), "Live Building")
          yield* whileRunning(two)(hasPhases(of, "Dropped Live"))
          assert.deepStrictEqual(yield* effects.get(2)!.events("a"), recorded(3))
          assert.deepStrictEqual(yield* led, ["1", "2"])
        }).pipe(whileRunning(one))
      }))

    it.effect("goes on from where it was when it is started again, and the other is live until it is complete", () =>
      Effect.gen(function*() {
        const passes = yield* Latch.make(false)
        const { effects, led, make, of, type } = makeVersions({
          handle: ({ sequenceNumber }, version) => version === 2 && sequenceNumber === 6 ? passes.await : Effect.void
        })
        const two = make(2)
        yield* appendTo(type, "a", texts(10))
        yield* Effect.gen(function*() {
          yield* hasPhases(of, "Live")
          yield* whileRunning(two)(
            Wait.until("five events", Effect.map(effects.get(2)!.events("a"), ({ length }) => length === 5))
          )
          assert.deepStrictEqual(yield* led, ["1"])
          assert.strictEqual(yield* phasesOf(of), "Live Building")
          yield* passes.open
          yield* whileRunning(two)(hasPhases(of, "Dropped Live"))
          assert.deepStrictEqual(yield* effects.get(2)!.events("a"), recorded(10))
          assert.deepStrictEqual(yield* led, ["1", "2"])
        }).pipe(whileRunning(make(1)))
      }))

    it.effect("says how far it has come, and takes no place while it is paused", () =>
      Effect.gen(function*() {
        let isBroken = true
        const { led, make, of, type } = makeVersions({
          handle: ({ sequenceNumber }, version) =>
            version === 2 && sequenceNumber === 6 && isBroken ? Effect.fail("broken") : Effect.void
        })
        const two = make(2).pipe(Projection.recovery(RecoveryStrategy.fail))
        yield* appendTo(type, "a", texts(10))
        yield* Effect.gen(function*() {
          yield* hasPhases(of, "Live")
          yield* Effect.gen(function*() {
            yield* stopped(two.name)
            yield* Wait.until(
              "its worker to say how far it is",
              Effect.map(ProjectionStatus.versions(of), ([, version]) => version?.left === 5)
            )
            const [live, building] = yield* ProjectionStatus.versions(two)
            assert.deepInclude(live, { projection: of, version: 1, phase: "Live", passed: 10 })
            assert.deepInclude(building, {
              projection: two.name,
              of,
              version: 2,
              phase: "Building",
              passed: 5,
              left: 5,
              fraction: 0.5,
              isPaused: false,
              hasDeadLetters: false
            })
            yield* ProjectionManagement.pause(two.name)
            yield* inState(two.name, "Paused")
            const [, paused] = yield* ProjectionStatus.versions(two)
            assert.deepInclude(paused, { phase: "Building", isPaused: true })
            assert.deepStrictEqual(yield* led, ["1"])
            isBroken = false
            yield* ProjectionManagement.resume(two.name)
            yield* hasPhases(of, "Dropped Live")
          }).pipe(whileRunning(two))
          const [one, done] = yield* ProjectionStatus.versions(of)
          assert.deepInclude(one, { phase: "Dropped", passed: 0, left: undefined })
          assert.deepInclude(done, { phase: "Live", passed: 10 })
        }).pipe(whileRunning(make(1)), reportingSoon)
      }))

    it.effect("takes no place while it has dead letters", () =>
      Effect.gen(function*() {
        let isBroken = true
        const { effects, led, make, of, type } = makeVersions({
          handle: ({ sequenceNumber }, version) =>
            version === 2 && sequenceNumber === 2 && isBroken ? Effect.fail("broken") : Effect.void
        })
        const two = make(2).pipe(Projection.recovery(RecoveryStrategy.deadLetter))
        yield* append(type, "a", texts(3))
        yield* Effect.gen(function*() {
          yield* hasPhases(of, "Live")
          yield* Effect.gen(function*() {
            yield* caughtUp(two.name)
            const [, version] = yield* ProjectionStatus.versions(of)
            assert.deepInclude(version, { phase: "Building", passed: 3, hasDeadLetters: true })
            assert.deepStrictEqual(yield* led, ["1"])
            const { problems } = yield* awaited(
              "its worker to be known",
              ProjectionHealth.of(two.name),
              ({ problems }) => problems.every(({ _tag }) => _tag === "NotSwitched")
            )
            assert.deepStrictEqual(problems.map(({ projection, source }) => [projection, source]), [[
              two.name,
              sourceOf(two)
            ]])
            assert.include(problems[0]!.message, "it has dead letters")
            yield* ProjectionManagement.pause(two.name)
            assert.deepStrictEqual((yield* ProjectionHealth.of(two.name)).problems, [], "that is meant")
            yield* ProjectionManagement.resume(two.name)
            isBroken = false
            yield* Projection.handleDeadLetters(two)
            yield* hasPhases(of, "Dropped Live")
            assert.deepStrictEqual(yield* effects.get(2)!.events("a"), recorded(3))
          }).pipe(whileRunning(two))
        }).pipe(whileRunning(make(1)))
      }))

    it.effect("has none of its dead letters handled any more once it is retired", () =>
      Effect.gen(function*() {
        let isBroken = true
        const { effects, make, of, type } = makeVersions({
          handle: ({ sequenceNumber }, version) =>
            version === 2 && sequenceNumber === 2 && isBroken ? Effect.fail("broken") : Effect.void
        })
        const two = make(2).pipe(Projection.recovery(RecoveryStrategy.deadLetter))
        yield* append(type, "a", texts(3))
        yield* whileRunning(make(1))(hasPhases(of, "Live"))
        yield* whileRunning(two)(caughtUp(two.name))
        yield* ProjectionManagement.cancelRebuild(two.name)
        isBroken = false
        const error = yield* Effect.flip(Projection.handleDeadLetters(two))
        assert.deepInclude(error, { _tag: "UnknownProjection", projection: two.name, live: of })
        assert.deepStrictEqual(yield* effects.get(2)!.events("a"), recorded(1))
      }))

    it.effect("leaves everything as it is where the switch fails, and tries again", () =>
      Effect.gen(function*() {
        let tries = 0
        const { effects, led, make, of, type } = makeVersions({
          // the one before is live by then
          switching: Effect.suspend(() => ++tries === 2 ? Effect.fail("no such view") : Effect.void)
        })
        const [one, two] = [make(1), make(2)]
        yield* append(type, "a", texts(3))
        yield* Effect.gen(function*() {
          yield* hasPhases(of, "Live")
          yield* Effect.gen(function*() {
            yield* Wait.until("a switch", () => tries === 2)
            assert.deepStrictEqual(yield* led, ["1"])
            yield* append(type, "a", ["after"])
            yield* Wait.until(
              "the old one to go on",
              Effect.map(effects.get(1)!.events("a"), ({ length }) => length === 4)
            )
            yield* hasPhases(of, "Dropped Live")
            assert.deepStrictEqual(yield* led, ["1", "2"])
          }).pipe(whileRunning(two))
        }).pipe(whileRunning(one))
      }))

    it.effect("says from any process why it is not switched to, since when, and how often that has failed, until it is", () =>
      Effect.gen(function*() {
        let [isReady, tries] = [false, 0]
        const { make, of, type } = makeVersions({
          switching: Effect.suspend(() => {
            tries++
            return isReady ? Effect.void : Effect.fail("postgres://ada:secret@host has no such view")
          })
        })
        const two = make(2)
        yield* append(type, "a", texts(3))
        isReady = true
        yield* Effect.gen(function*() {
          yield* hasPhases(of, "Live")
          isReady = false
          tries = 0
          yield* Effect.gen(function*() {
            const [live, version] = yield* awaited(
              "two tries",
              ProjectionStatus.versions(of),
              ([, version]) => (version?.failedSwitch?.tries ?? 0) >= 2
            )
            assert.isUndefined(live!.failedSwitch)
            const { at, failure, owner, since } = version!.failedSwitch!
            assert.isAtMost(since, failure.at)
            assert.isAtMost(failure.at, at + 1_000_000)
            assert.isAtMost(version!.failedSwitch!.tries, tries)
            assert.notInclude(failure.message, "secret")
            const workers = yield* ProjectionStatus.everywhere(two)
            assert.deepStrictEqual(
              workers.map((worker) => [worker.source, worker.owner.name]),
              [[sourceOf(two), owner.name]],
              "it is none of its workers"
            )
            const patient = yield* ProjectionHealth.of(two)
            assert.deepStrictEqual(patient.problems, [], "not for long enough")
            isReady = true
            yield* hasPhases(of, "Dropped Live")
            const [, done] = yield* ProjectionStatus.versions(of)
            assert.isUndefined(done!.failedSwitch)
          }).pipe(whileRunning(two))
        }).pipe(whileRunning(make(1)))
      }))

    it.effect("is cancelled while it is built, and is never built again", () =>
      Effect.gen(function*() {
        const passes = yield* Latch.make(false)
        const { dropped, effects, led, make, of, type } = makeVersions({
          // and does not come to its end before it is cancelled
          handle: ({ sequenceNumber }, version) =>
            version !== 2 || sequenceNumber < 3
              ? Effect.void
              : sequenceNumber === 3
              ? passes.await
              : Effect.fail("broken")
        })
        const two = make(2)
        yield* appendTo(type, "a", texts(5))
        yield* Effect.gen(function*() {
          yield* hasPhases(of, "Live")
          yield* Effect.gen(function*() {
            yield* Wait.until("two events", Effect.map(effects.get(2)!.events("a"), ({ length }) => length === 2))
            // where there is one writer at a time it waits for the handler's transaction
            const cancelling = yield* Effect.forkChild(
              ProjectionManagement.cancelRebuild(of, { by: "ada", reason: "the wrong table" })
            )
            yield* passes.open
            yield* Fiber.join(cancelling)
            yield* hasPhases(of, "Live Dropped")
            yield* inState(two.name, "Retired")
            assert.deepStrictEqual(dropped, [2])
          }).pipe(whileRunning(two))
          const [drop, cancel] = yield* ProjectionManagement.history(two.name)
          assert.strictEqual(drop?.command, "Drop")
          assert.deepInclude(cancel, { command: "Cancel", by: "ada", reason: "the wrong table" })
          yield* whileRunning(two)(inState(two.name, "Retired"))
          assert.deepStrictEqual(yield* led, ["1"])
          for (const name of [of, two.name]) {
            const error = yield* Effect.flip(ProjectionManagement.cancelRebuild(name))
            assert.strictEqual(error._tag, "NotBuilding")
          }
          const unknown = yield* Effect.flip(ProjectionManagement.cancelRebuild(freshName()))
          assert.strictEqual(unknown._tag, "UnknownProjection")
          // and its successor is
          yield* whileRunning(make(3))(hasPhases(of, "Dropped Dropped Live"))
          assert.deepStrictEqual(yield* led, ["1", "3"])
          assert.deepStrictEqual(yield* effects.get(3)!.events("a"), recorded(5))
        }).pipe(whileRunning(make(1)))
      }))

    it.effect("retires all that are before it, those that are built as well", () =>
      Effect.gen(function*() {
        const { led, make, of, type } = makeVersions({
          handle: (_, version) => version === 2 ? Effect.fail("broken") : Effect.void
        })
        yield* append(type, "a", texts(3))
        yield* hasPhases(of, "Live").pipe(
          Effect.andThen(
            hasPhases(of, "Live Building").pipe(
              Effect.andThen(whileRunning(make(3))(hasPhases(of, "Dropped Dropped Live"))),
              whileRunning(make(2).pipe(Projection.recovery(RecoveryStrategy.fail)))
            )
          ),
          whileRunning(make(1))
        )
        assert.deepStrictEqual(yield* led, ["1", "3"])
      }))

    it.effect("is not complete while anything that a filter has included is to be looked through, also after a restart", () =>
      Effect.gen(function*() {
        let [isReady, isClosed] = [true, true]
        const { effects, led, make, of, type } = makeVersions({
          handle: (envelope, version) =>
            version === 2 && isClosed && idOf(envelope) === "b" && envelope.sequenceNumber === 5
              ? Effect.fail("closed")
              : Effect.void,
          switching: Effect.suspend(() => isReady ? Effect.void : Effect.fail("not yet"))
        })
        const two = make(2, filtered(type, only("a")()))
        const isLookingBack = Wait.until(
          "some of the past",
          Effect.map(ProjectionStatus.status(two), (workers) => workers.some(({ pastLag }) => pastLag > 0))
        )
        yield* append(type, "b", texts(20))
        yield* append(type, "a", texts(3))
        yield* Effect.gen(function*() {
          yield* hasPhases(of, "Live")
          isReady = false
          yield* Effect.gen(function*() {
            yield* caughtUp(two.name)
            yield* ConsumerFilter.update(two, only("a", "b"), { by: "ada", history: "now" })
            yield* isLookingBack
          }).pipe(whileRunning(two))
          isReady = true
          yield* Effect.gen(function*() {
            yield* isLookingBack
            assert.deepStrictEqual(yield* led, ["1"])
            isClosed = false
            yield* hasPhases(of, "Dropped Live")
            assert.deepStrictEqual(yield* effects.get(2)!.events("b"), recorded(20))
          }).pipe(whileRunning(two))
        }).pipe(whileRunning(make(1)))
      }))

    it.effect("of several sources is complete when it is in all of them", () =>
      Effect.gen(function*() {
        let isBroken = true
        const { effects, led, make, of, type } = makeVersions({
          handle: ({ event }, version) =>
            version === 2 && event === "last" && isBroken ? Effect.fail("broken") : Effect.void
        })
        const other = fresh("other")
        const both = Source.mergeAll([Source.journal(type), Source.journal(other)])
        yield* append(type, "a", texts(3))
        yield* append(other, "b", ["last"])
        const two = make(2, both).pipe(Projection.recovery(RecoveryStrategy.fail))
        yield* Effect.gen(function*() {
          yield* hasPhases(of, "Live")
          yield* Effect.gen(function*() {
            yield* stopped(two.name)
            yield* Wait.until("the other source", Effect.map(effects.get(2)!.events("a"), ({ length }) => length === 3))
            const [, version] = yield* ProjectionStatus.versions(of)
            assert.deepInclude(version, { phase: "Building" })
            assert.deepStrictEqual(yield* led, ["1"])
            isBroken = false
            yield* ProjectionManagement.resume(two.name)
            yield* hasPhases(of, "Dropped Live")
            assert.deepStrictEqual(yield* effects.get(2)!.events("a"), recorded(3))
            assert.deepStrictEqual(yield* effects.get(2)!.events("b"), ["1 last"])
          }).pipe(whileRunning(two))
        }).pipe(whileRunning(make(1, both)))
      }))

    it.effect("is all that readers see, or the one before is, while events come and it is scaled and started again", () =>
      Effect.gen(function*() {
        const { effects, led, make, of, seen, type } = makeVersions()
        const two = make(2)
        const before = texts(60)
        yield* append(type, "a", before)
        yield* Effect.gen(function*() {
          yield* hasPhases(of, "Live")
          const readers = { goOn: true, reads: 0 }
          const reading = yield* Effect.forkChild(Effect.gen(function*() {
            while (readers.goOn) {
              const found = yield* seen("a")
              assert.isAtLeast(found.length, before.length)
              assert.deepStrictEqual(found.map((text) => Number(text.split(" ")[0])), found.map((_, i) => i + 1))
              readers.reads++
              yield* Effect.sleep(1)
            }
          }))
          yield* whileRunning(two)(ProjectionManagement.scale(two.name, 4))
          const writing = yield* Effect.forkChild(Effect.gen(function*() {
            let written = before.length
            while (readers.goOn) {
              const receipt = yield* append(type, "a", texts(2))
              written += 2
              yield* ProjectionStatus.reached(two.name, receipt, { timeout: "1 minute" })
            }
            return written
          }))
          yield* whileRunning(two)(Effect.andThen(
            Wait.until("the switch", Effect.map(led, ({ length }) => length === 2)),
            Effect.gen(function*() {
              const { reads } = readers
              yield* Wait.until("more reads", () => readers.reads > reads + 3)
              readers.goOn = false
              const written = yield* Fiber.join(writing)
              yield* Fiber.join(reading)
              yield* caughtUp(two.name)
              assert.strictEqual((yield* effects.get(2)!.events("a")).length, written)
            })
          ))
        }).pipe(whileRunning(make(1)))
      }))

    it.effect("that is retired and not dropped is waited for by nobody, but for what it has handled", () =>
      Effect.gen(function*() {
        const { make, of, type } = makeVersions({ dropping: Effect.fail("in use") })
        const two = make(2)
        const before = yield* append(type, "a", ["before"])
        yield* Effect.gen(function*() {
          yield* hasPhases(of, "Live")
          const next: Receipt = Object.assign(Object.create(Object.getPrototypeOf(before)), before, {
            position: before.position + 1,
            timestamp: before.timestamp + 1
          })
          const waiting = yield* Effect.forkChild(
            Effect.flip(ProjectionStatus.reached(of, next, { timeout: "10 minutes" })),
            { startImmediately: true }
          )
          yield* Effect.gen(function*() {
            yield* hasPhases(of, "Retired Live")
            assert.deepInclude(yield* Fiber.join(waiting), { _tag: "UnknownProjection", live: two.name })
            const after = yield* append(type, "a", ["after"])
            const error = yield* Effect.flip(ProjectionStatus.reached(of, after, { timeout: "10 minutes" }))
            assert.deepInclude(error, { _tag: "UnknownProjection", projection: of, live: two.name })
            yield* ProjectionStatus.reached(of, before, { timeout: "10 minutes" })
            yield* ProjectionStatus.reached(two.name, after, { timeout: "10 minutes" })
          }).pipe(whileRunning(two))
        }).pipe(whileRunning(make(1)))
      }))

    it.effect("has a layer that dies at once where another projection has its name", () =>
      Effect.gen(function*() {
        const { make, of, type } = makeVersions()
        const two = make(2)
        // as a release without versions may have
        const key = { projection: two.name, source: journalKey(type.name) }
        yield* ProjectionManagement.ProjectionManagement.use((management) => management.register(key))
        const exit = yield* Effect.exit(whileRunning(two)(Effect.void))
        assert.isTrue(exit._tag === "Failure" && Cause.hasDies(exit.cause))
        const error = exit._tag === "Failure" ? Cause.squash(exit.cause) : undefined
        assert.instanceOf(error, ProjectionManagement.VersionNameTaken)
        assert.deepInclude(error, { of, version: 2 })
        assert.include(error.message, `'${two.name}'`)
        assert.deepStrictEqual(yield* ProjectionStatus.status(two), [], "it has no workers")
        yield* whileRunning(make(3))(hasPhases(of, "Dropped Live"))
      }))

    it.effect("does not begin where another projection has its name", () =>
      Effect.gen(function*() {
        const management = yield* ProjectionManagement.ProjectionManagement
        const of = freshName()
        yield* management.declare({ of, version: 1 })
        yield* management.register(keyOf({ of, version: 2 }))
        const error = yield* Effect.flip(management.declare({ of, version: 2 }))
        assert.instanceOf(error, ProjectionManagement.VersionNameTaken)
        assert.deepStrictEqual((yield* management.versions(of)).map(({ version }) => version), [1])
        yield* management.declare({ of, version: 3 })
        assert.deepStrictEqual((yield* management.versions(of)).map(({ version }) => version), [1, 3])
      }))

    it.effect("has the workers of the one before fenced when it takes its place, and its own when it is cancelled", () =>
      Effect.gen(function*() {
        const management = yield* ProjectionManagement.ProjectionManagement
        const of = freshName()
        const [one, two, three] = [1, 2, 3].map((version) => ({ of, version }))
        const complete = (version: VersionId, isComplete: boolean) =>
          management.complete(version, () => isComplete, Effect.void)
        const move = (version: VersionId, revision: number) =>
          OffsetStore.use((store) => store.transact(keyOf(version), { journal: "j", revision }, [], Effect.void))
        for (const version of [one!, two!, three!]) {
          yield* management.declare(version)
          yield* management.declare(version)
          yield* management.register(keyOf(version))
        }
        assert.strictEqual(yield* phasesOf(of), "Building Building Building")
        const [first, second, third] = [
          yield* revisionOf(keyOf(one!)),
          yield* revisionOf(keyOf(two!)),
          yield* revisionOf(keyOf(three!))
        ]
        assert.isFalse(yield* complete(two!, false))
        assert.strictEqual(yield* phasesOf(of), "Building Building Building")
        yield* move(one!, first)
        assert.isTrue(yield* complete(two!, true))
        assert.isFalse(yield* complete(two!, true), "it is live already")
        assert.strictEqual(yield* phasesOf(of), "Retired Live Building")
        const fenced = yield* Effect.flip(move(one!, first))
        assert.instanceOf(fenced, Fenced)
        assert.deepInclude(fenced, { by: "command" })
        yield* move(two!, second)
        yield* move(three!, third)
        assert.isTrue(yield* management.cancel(three!))
        assert.isFalse(yield* management.cancel(three!))
        assert.isFalse(yield* management.cancel(two!), "it is live")
        assert.instanceOf(yield* Effect.flip(move(three!, third)), Fenced)
        yield* management.drop(two!)
        yield* management.drop(one!)
        yield* management.drop(one!)
        yield* management.drop(three!)
        assert.strictEqual(yield* phasesOf(of), "Dropped Live Dropped")
        assert.deepStrictEqual(
          (yield* management.list).filter(({ projection }) => projection.startsWith(of)),
          [keyOf(two!)]
        )
        yield* management.register(keyOf(one!))
        assert.notDeepInclude(yield* management.list, keyOf(one!))
      }))
  })
}
