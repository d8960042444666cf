import { assert, describe } from "@effect/vitest"
import type * as Heartbeats from "@sluice/core/HeartbeatStore"
import { HeartbeatStore } from "@sluice/core/HeartbeatStore"
import { InvalidInput } from "@sluice/core/InvalidInput"
import type * as Journal from "@sluice/core/Journal"
import type { OffsetKey } from "@sluice/core/OffsetStore"
import type * as Projection from "@sluice/core/Projection"
import * as ProjectionHealth from "@sluice/core/ProjectionHealth"
import { ProjectionManagement, UnknownProjection } from "@sluice/core/ProjectionManagement"
import { nameOf } from "@sluice/core/ProjectionVersion"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Effect from "effect/Effect"
import * as Wait from "../../Wait.ts"
import { freshId, freshNameOf } from "../ids.ts"
import type { It } from "../kit.ts"
import { revisionOf } from "../kit.ts"
import { reportOf } from "./reportOf.ts"

const freshKey = (): OffsetKey => ({ projection: freshNameOf("projection"), source: "journal:note" })

const beat = (changed: ReadonlyArray<Heartbeats.NewReport>, interval = 60_000) =>
  HeartbeatStore.use((store) =>
    store.beat({ owner: { name: "one", incarnation: freshId() }, interval, changed, gone: [] })
  )

const kindsOf = ({ problems }: ProjectionHealth.Health) =>
  problems.map(({ _tag, slices }) => `${_tag} ${slices.map(SliceRange.format).join()}`)

/** @internal Whether a projection is well, by what processes say about its workers. */
export const healthTests = (it: It<Journal.Journal | Projection.Stores>): void => {
  describe("the health of a projection", () => {
    it.effect("is good while each slice has a worker that gets on, is paused, or has not stood still for long", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const [low, high] = SliceRange.split(2) as [SliceRange.SliceRange, SliceRange.SliceRange]
        yield* revisionOf(key)
        yield* beat([reportOf(key, { range: low, stuck: { slice: Slice.make(3), age: 20_000 } })])
        yield* beat([reportOf(key, { range: high, state: "Paused" })])
        assert.deepStrictEqual(yield* ProjectionHealth.of(key), { isHealthy: true, problems: [] })
      }))

    it.effect("is of each what its own processes say, where all are asked for", () =>
      Effect.gen(function*() {
        const [dead, alive] = [freshKey(), freshKey()]
        for (const key of [dead, alive]) yield* revisionOf(key)
        yield* beat([reportOf(dead)], 1)
        yield* beat([reportOf(alive)])
        const problems = Effect.map(ProjectionHealth.all(), (health) =>
          health.problems.flatMap(({ _tag, projection }) =>
            projection === dead.projection || projection === alive.projection ? [[_tag, projection]] : []
          ))
        yield* Wait.until(
          "the process to be late",
          Effect.map(problems, (found) =>
            found.length > 0)
        )
        assert.deepStrictEqual(yield* problems, [["Late", dead.projection]])
      }))

    it.effect("is not while anything is frozen, which it names", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const [a, b, c] = SliceRange.split(4) as [SliceRange.SliceRange, SliceRange.SliceRange, SliceRange.SliceRange]
        const failure = { tag: "Broken", message: "no way", event: undefined, age: 1_000 }
        yield* revisionOf(key)
        yield* beat([
          reportOf(key, { range: a, state: "Stopped", failure }),
          reportOf(key, { range: b, stuck: { slice: Slice.make(300), age: 90_000 } }),
          reportOf(key, { range: c, state: "Restarting", stuck: { slice: undefined, age: 70_000 }, failure })
        ])
        const health = yield* ProjectionHealth.of(key.projection)
        assert.deepStrictEqual(kindsOf(health), [
          "Stopped 0-255",
          "StandsStill 300-300",
          "Idle 512-767",
          "NoWorker 768-1023"
        ])
        assert.isFalse(health.isHealthy)
        const [stopped, , idle] = health.problems
        assert.strictEqual(stopped!.failure!.tag, "Broken")
        assert.include(stopped!.message, "in process 'one', has stopped")
        assert.include(idle!.message, "It has failed last with Broken: no way")
        const patient = yield* ProjectionHealth.of(key, { patience: "2 minutes" })
        assert.deepStrictEqual(kindsOf(patient), ["Stopped 0-255", "NoWorker 768-1023"])
        const { problems } = yield* ProjectionHealth.all()
        assert.deepStrictEqual(
          kindsOf({ ...health, problems: problems.filter((one) => one.projection === key.projection) }),
          kindsOf(health)
        )
      }))

    it.effect("is not while a worker looks no further through the past", () =>
      Effect.gen(function*() {
        const key = freshKey()
        yield* revisionOf(key)
        yield* beat([reportOf(key, { state: "Running", stuck: { slice: undefined, age: 90_000 } })])
        const health = yield* ProjectionHealth.of(key)
        assert.deepStrictEqual(kindsOf(health), ["StandsStill 0-1023"])
        assert.include(health.problems[0]!.message, "in the past that it is to look through once more")
      }))

    it.effect("is not while a process gives no sign of life", () =>
      Effect.gen(function*() {
        const key = freshKey()
        yield* revisionOf(key)
        yield* beat([reportOf(key)], 1)
        yield* Wait.until("a late heartbeat", Effect.map(ProjectionHealth.of(key), (health) => !health.isHealthy))
        const health = yield* ProjectionHealth.of(key)
        assert.deepStrictEqual(kindsOf(health), ["Late 0-1023"])
        assert.isDefined(health.problems[0]!.since)
      }))

    it.effect("is good of a version that is retired, which nobody runs", () =>
      Effect.gen(function*() {
        const management = yield* ProjectionManagement
        const of = freshNameOf("projection")
        const second = { of, version: 2 }
        const key = { ...freshKey(), projection: nameOf(second) }
        yield* management.declare({ of, version: 1 })
        yield* management.declare(second)
        yield* revisionOf(key)
        assert.deepStrictEqual(kindsOf(yield* ProjectionHealth.of(key)), ["NoWorker 0-1023"])
        yield* management.cancel(second)
        assert.deepStrictEqual(kindsOf(yield* ProjectionHealth.of(key)), [])
      }))

    it.effect("is not good by mistake: of a projection that is not known, or with too little patience", () =>
      Effect.gen(function*() {
        assert.instanceOf(yield* Effect.flip(ProjectionHealth.of(freshKey())), UnknownProjection)
        const key = freshKey()
        yield* revisionOf(key)
        assert.deepStrictEqual(kindsOf(yield* ProjectionHealth.of(key)), ["NoWorker 0-1023"])
        assert.instanceOf(yield* Effect.flip(ProjectionHealth.of(key, { patience: "1 second" })), InvalidInput)
      }))
  })
}
