import { assert, describe, it } from "@effect/vitest"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as VersionVector from "@sluice/replication/VersionVector"
import * as Schema from "effect/Schema"

const replicas = ["eu", "us", "asia"]

const Version = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 }))).check(
  Schema.isMinLength(3),
  Schema.isMaxLength(3)
)

/** A replica of which nothing was seen is missing, as it may be. */
const version = (numbers: ReadonlyArray<number>): VersionVector.VersionVector =>
  new Map(numbers.flatMap((number, i) => number === 0 ? [] : [[replicas[i]!, SequenceNumber.make(number)]]))

const numbersOf = (version: VersionVector.VersionVector): ReadonlyArray<number> =>
  replicas.map((replica) => version.get(replica) ?? 0)

describe("two versions", () => {
  it.prop("are compared replica by replica", [Version, Version], ([a, b]) => {
    const isMore = a.some((number, i) => number > b[i]!)
    const isLess = a.some((number, i) => number < b[i]!)
    const expected = isMore && isLess ? "concurrent" : isMore ? "after" : isLess ? "before" : "same"
    assert.strictEqual(VersionVector.compare(version(a), version(b)), expected)
  })

  it.prop("are merged to what both have seen, and to no more", [Version, Version], ([a, b]) => {
    assert.deepStrictEqual(
      numbersOf(VersionVector.merge(version(a), version(b))),
      a.map((number, i) => Math.max(number, b[i]!))
    )
  })

  it.prop("are not changed by what is written after them", [Version], ([numbers]) => {
    const before = version(numbers)
    const after = VersionVector.written(before, "us", SequenceNumber.make(9))
    assert.deepStrictEqual(numbersOf(before), numbers)
    assert.strictEqual(VersionVector.compare(before, after), "before")
    assert.strictEqual(after.get("us"), 9)
  })
})
