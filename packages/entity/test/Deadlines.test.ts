import { assert, describe, it } from "@effect/vitest"
import { Deadline, Deadlines } from "../src/internal/Deadlines.ts"

/** Deadlines that are ten milliseconds away, and what has expired. */
const make = () => {
  const expired: Array<string> = []
  return { deadlines: new Deadlines(10), expired, named: (name: string) => new Deadline(() => expired.push(name)) }
}

describe("Deadlines", () => {
  it("expire in their order, once, and not before their time", () => {
    const { deadlines, expired, named } = make()
    deadlines.set(named("a"), 0)
    deadlines.set(named("b"), 3)
    assert.strictEqual(deadlines.next, 10)
    deadlines.expire(9)
    assert.deepStrictEqual(expired, [])
    deadlines.expire(10)
    assert.deepStrictEqual(expired, ["a"])
    assert.strictEqual(deadlines.next, 13)
    deadlines.expire(100)
    assert.deepStrictEqual(expired, ["a", "b"])
    assert.strictEqual(deadlines.next, undefined)
  })

  it("that were called off do not expire, wherever they stood", () => {
    for (const left of ["a", "b", "c"]) {
      const { deadlines, expired, named } = make()
      const all = new Map(["a", "b", "c"].map((name) => [name, named(name)]))
      for (const deadline of all.values()) deadlines.set(deadline, 0)
      for (const [name, deadline] of all) if (name !== left) deadlines.callOff(deadline)
      assert.strictEqual(deadlines.next, 10)
      deadlines.expire(10)
      assert.deepStrictEqual(expired, [left])
    }
  })

  it("that have come may be called off, also by another that expires", () => {
    const { deadlines, expired, named } = make()
    const first = named("first")
    const last = named("last")
    deadlines.set(first, 0)
    deadlines.set(new Deadline(() => deadlines.callOff(last)), 0)
    deadlines.set(last, 0)
    deadlines.expire(10)
    assert.deepStrictEqual(expired, ["first"])
    deadlines.callOff(first)
    deadlines.set(named("later"), 11)
    assert.strictEqual(deadlines.next, 21)
  })
})
