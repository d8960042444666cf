import { assert, describe } from "@effect/vitest"
import type * as Heartbeats from "@sluice/core/HeartbeatStore"
import { HeartbeatStore } from "@sluice/core/HeartbeatStore"
import type * as Journal from "@sluice/core/Journal"
import type { OffsetKey } from "@sluice/core/OffsetStore"
import type * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Wait from "../../Wait.ts"
import { freshId, freshNameOf } from "../ids.ts"
import type { It } from "../kit.ts"
import { revisionOf } from "../kit.ts"
import { reportOf } from "./reportOf.ts"

const freshKey = (source = "journal:cart"): OffsetKey => ({ projection: freshNameOf("p"), source })

const ownerOf = (name: string): Heartbeats.Owner => ({ name, incarnation: freshId() })

const minute = 60_000

const beat = (
  owner: Heartbeats.Owner,
  changed: ReadonlyArray<Heartbeats.NewReport>,
  options?: Partial<Heartbeats.Beat>
) => HeartbeatStore.use((store) => store.beat({ owner, interval: minute, changed, gone: [], ...options }))

const reports = (key: OffsetKey) => HeartbeatStore.use((store) => store.reports([key.projection]))

const everywhere = (key: OffsetKey) => ProjectionStatus.everywhere(key.projection)

/** Whose workers are how. */
const shown = (workers: ReadonlyArray<ProjectionStatus.ReportedWorker>) =>
  workers.map(({ owner, range, state }) => `${owner.name} ${SliceRange.format(range)} ${state}`)

/** @internal What processes say about their workers. */
export const heartbeatTests = (it: It<Journal.Journal | Projection.Stores>): void => {
  describe("how workers are doing", () => {
    it.effect("is stored as their process has said it", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const owner = ownerOf("host/1 é😀")
        const event = { persistenceId: "cart|c-ä", sequenceNumber: 2 ** 52 }
        const [low, high] = SliceRange.split(2) as [SliceRange.SliceRange, SliceRange.SliceRange]
        const slice = Slice.make(900)
        const failure = { tag: "Broken", message: "no\n\"way\" 😀", event, age: 2_000 }
        yield* revisionOf(key)
        yield* beat(owner, [
          reportOf(key, {
            range: high,
            state: "Stopped",
            filterVersion: 3,
            pastLag: 40,
            failure,
            stuck: { slice, age: 70_000 }
          }),
          reportOf(key, {
            range: low,
            state: "Starting",
            revision: undefined,
            lag: undefined,
            timeLag: undefined,
            eta: undefined,
            rate: 0
          })
        ])
        const [first, second, ...more] = yield* reports(key)
        assert.deepStrictEqual(more, [])
        const { at, now } = second!
        assert.isAtMost(Math.abs(now - at), minute * 1000, "both are of one clock")
        assert.deepStrictEqual(
          first,
          {
            key,
            range: low,
            owner,
            state: "Starting",
            revision: undefined,
            lag: undefined,
            timeLag: undefined,
            rate: 0,
            eta: undefined,
            restarts: 1,
            filterVersion: undefined,
            pastLag: undefined,
            failure: undefined,
            stuck: undefined,
            interval: minute,
            at,
            now,
            storedRevision: 0
          } satisfies Heartbeats.StoredReport as any
        )
        const { age, ...stored } = failure
        const failed = second!.failure!
        assert.isAtMost(Math.abs(at - failed.at - age * 1000), minute * 1000)
        const { since } = second!.stuck!
        assert.isAtMost(Math.abs(at - since - 70_000_000), minute * 1000)
        assert.deepStrictEqual(second, {
          ...first!,
          range: high,
          state: "Stopped",
          revision: 0,
          lag: 12,
          timeLag: 3_500,
          rate: 1.5,
          eta: 8_000,
          filterVersion: 3,
          pastLag: 40,
          failure: { ...stored, at: failed.at },
          stuck: { slice, since }
        })
      }))

    it.effect("is what was said last, and ends with the worker or its process", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const other = { ...key, source: "journal:order" }
        const [one, two] = [ownerOf("one"), ownerOf("two")]
        const [low, high] = SliceRange.split(2) as [SliceRange.SliceRange, SliceRange.SliceRange]
        yield* beat(one, [reportOf(key, { range: low }), reportOf(key, { range: high }), reportOf(other)])
        yield* beat(two, [reportOf(key, { range: low, state: "Fenced" })])
        yield* beat(one, [reportOf(key, { range: low, state: "Paused" })], { gone: [{ key, min: high.min }] })
        const states = Effect.map(
          everywhere(key),
          (workers) =>
            workers.map(({ owner, source, state }) => [owner.name, source, state]).toSorted(([a = ""], [b = ""]) =>
              a < b ? -1 : a > b ? 1 : 0
            )
        )
        assert.deepStrictEqual(yield* states, [
          ["one", key.source, "Paused"],
          ["one", other.source, "Running"],
          ["two", key.source, "Fenced"]
        ])
        assert.strictEqual((yield* ProjectionStatus.everywhere(other)).length, 1)
        yield* HeartbeatStore.use((store) => store.leave(one))
        assert.deepStrictEqual(yield* states, [["two", key.source, "Fenced"]])
        yield* HeartbeatStore.use((store) => store.leave(one))
        // a sign of life alone brings back nothing
        yield* beat(one, [])
        assert.deepStrictEqual(yield* states, [["two", key.source, "Fenced"]])
      }))

    it.effect("is stored for more workers than a statement has room for", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const owner = ownerOf("many")
        const ranges = SliceRange.split(1024)
        yield* beat(owner, ranges.map((range) => reportOf(key, { range })))
        yield* beat(owner, ranges.map((range) => reportOf(key, { range, lag: range.min })))
        const stored = yield* reports(key)
        assert.deepStrictEqual(stored.map(({ lag }) => lag), ranges.map(({ min }) => min))
        yield* beat(owner, [], { gone: ranges.slice(1).map(({ min }) => ({ key, min })) })
        assert.strictEqual((yield* reports(key)).length, 1)
      }))

    it.effect("may have any numbers", () =>
      Effect.gen(function*() {
        const [odd, sound] = [freshKey(), freshKey()]
        const max = Number.MAX_SAFE_INTEGER
        const huge = { lag: 2 ** 60, timeLag: 1e19, eta: 1e22, rate: 1e300, restarts: Infinity, filterVersion: max }
        yield* beat(ownerOf("odd"), [reportOf(odd, huge), reportOf(sound)])
        const { eta, filterVersion, lag, rate, restarts, timeLag } = (yield* reports(odd))[0]!
        for (const number of [eta, filterVersion, lag, restarts, timeLag]) assert.isAtLeast(number!, max)
        assert.isAbove(rate, 1e12)
        assert.strictEqual((yield* reports(sound))[0]!.lag, 12)
      }))

    it.effect("is unknown once its process has given no sign of life for three intervals, until it does or others have its slices", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const [dead, halted, alive] = [ownerOf("dead"), ownerOf("halted"), ownerOf("alive")]
        const [low, high] = SliceRange.split(2) as [SliceRange.SliceRange, SliceRange.SliceRange]
        yield* revisionOf(key)
        yield* beat(dead, [reportOf(key, { range: low })], { interval: 10 })
        yield* beat(halted, [reportOf(key, { range: high, state: "CatchingUp" })], { interval: 10 })
        yield* Wait.until(
          "both to be unknown",
          Effect.map(everywhere(key), (workers) => workers.every(({ state }) => state === "Unknown"))
        )
        for (const { at, eta, lag, rate, timeLag } of yield* everywhere(key)) {
          assert.deepStrictEqual({ eta, lag, rate, timeLag }, {
            eta: undefined,
            lag: undefined,
            rate: undefined,
            timeLag: undefined
          })
          assert.isAbove(at, 0)
        }
        yield* beat(alive, [reportOf(key, { range: SliceRange.make(0, 100) })])
        assert.deepStrictEqual(shown(yield* everywhere(key)), [
          ...[`dead 0-511 Unknown`, "alive 0-100 Running"].toSorted((a) =>
            a.startsWith("dead") === dead.incarnation < alive.incarnation ? -1 : 1
          ),
          "halted 512-1023 Unknown"
        ])
        yield* beat(alive, [reportOf(key)])
        assert.deepStrictEqual(shown(yield* everywhere(key)), ["alive 0-1023 Running"])
        // it goes on, and says nothing new
        yield* beat(halted, [])
        assert.deepStrictEqual(shown(yield* everywhere(key)), ["alive 0-1023 Running", "halted 512-1023 CatchingUp"])
      }))

    it.effect("is that of the process that has lived longest where all are dead", () =>
      Effect.gen(function*() {
        const key = freshKey()
        for (const name of ["first", "second"]) {
          yield* beat(ownerOf(name), [reportOf(key)], { interval: 1 })
          yield* Wait.until(
            "it to be unknown",
            Effect.map(everywhere(key), (workers) => workers.every(({ state }) => state === "Unknown"))
          )
        }
        assert.deepStrictEqual(shown(yield* everywhere(key)), ["second 0-1023 Unknown"])
      }))

    it.effect("has no lag after a rewind until the worker has begun anew", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const owner = ownerOf("rewound")
        const revision = yield* revisionOf(key)
        yield* beat(owner, [reportOf(key, { revision })])
        const [before] = yield* everywhere(key)
        assert.strictEqual(before!.lag, 12)
        assert.deepStrictEqual([before!.timeLag, before!.eta].map((_) => Duration.toMillis(_!)), [3_500, 8_000])
        yield* ProjectionManagement.rewind(key, "beginning")
        const [after] = yield* everywhere(key)
        assert.deepStrictEqual([after!.state, after!.lag, after!.timeLag, after!.eta], [
          "Running",
          undefined,
          undefined,
          undefined
        ])
        yield* beat(owner, [reportOf(key, { revision: yield* revisionOf(key) })])
        assert.strictEqual((yield* everywhere(key))[0]!.lag, 12)
      }))

    it.effect("stays when what is long silent is removed", () =>
      Effect.gen(function*() {
        const key = freshKey()
        yield* beat(ownerOf("short"), [reportOf(key)], { interval: 1 })
        yield* HeartbeatStore.use((store) => store.forget)
        assert.strictEqual((yield* reports(key)).length, 1)
        assert.deepStrictEqual(yield* reports(freshKey()), [])
      }))
  })
}
