import { assert, describe, it } from "@effect/vitest"
import { completed, initialPhase, isAtWork, nameOf, type StoredVersion } from "@sluice/core/ProjectionVersion"
import * as Schema from "effect/Schema"

const of = "popularity"

const stored = (version: number, phase: StoredVersion["phase"]): StoredVersion => ({
  projection: nameOf({ of, version }),
  of,
  version,
  phase
})

const live = (versions: ReadonlyArray<StoredVersion>) => versions.filter(({ phase }) => phase === "Live")

/** A version begins, is complete, is cancelled, or is dropped. */
const Step = Schema.Tuple([
  Schema.Literals(["begin", "complete", "cancel", "drop"]),
  Schema.Literals([1, 2, 3, 4])
])

describe("the versions of a projection", () => {
  it("retire those before them when they are complete", () => {
    const versions = [stored(1, "Live"), stored(2, "Building"), stored(3, "Building"), stored(4, "Building")]
    assert.deepStrictEqual(completed(versions, { of, version: 3 }), [
      stored(1, "Retired"),
      stored(2, "Retired"),
      stored(3, "Live")
    ])
  })

  it("do not begin after a later one is live", () => {
    const before = { of, version: 2 }
    assert.strictEqual(initialPhase([stored(3, "Live")], before), "Dropped")
    assert.strictEqual(initialPhase([stored(1, "Live"), stored(3, "Building")], before), "Building")
    assert.strictEqual(initialPhase([], before), "Building")
  })

  it("are retired themselves when they are complete after a later one", () => {
    const versions = [stored(1, "Dropped"), stored(2, "Building"), stored(3, "Live")]
    assert.deepStrictEqual(completed(versions, { of, version: 2 }), [stored(2, "Retired")])
  })

  it.prop(
    "are never live two at once, nor after a later one or after they have rested, and one is once one was",
    [Schema.Array(Step)],
    ([steps]) => {
      const versions = new Map<number, StoredVersion>()
      let highest = 0
      for (const [step, version] of steps) {
        const before = Array.from(versions.values()).toSorted((a, b) => a.version - b.version)
        const own = versions.get(version)
        const changes = step === "complete"
          ? completed(before, { of, version })
          : step === "begin"
          ? own === undefined ? [stored(version, initialPhase(before, { of, version }))] : []
          : step === "cancel"
          ? own?.phase === "Building" ? [stored(version, "Retired")] : []
          : own?.phase === "Retired"
          ? [stored(version, "Dropped")]
          : []
        for (const change of changes) {
          const phase = versions.get(change.version)?.phase
          assert.isTrue(phase === undefined || isAtWork(phase) || change.phase === "Dropped")
          versions.set(change.version, change)
        }
        const after = Array.from(versions.values())
        assert.strictEqual(live(after).length, highest === 0 && live(after).length === 0 ? 0 : 1)
        const now = live(after)[0]?.version ?? 0
        assert.isAtLeast(now, highest)
        highest = now
      }
    },
    { arbitrary: { runs: 2000 } }
  )
})
