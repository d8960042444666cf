import { assert, describe, it } from "@effect/vitest"
import { StorageError } from "@sluice/core/StorageError"
import * as Cause from "effect/Cause"
import { fingerprint } from "../src/internal/projection/fingerprint.ts"

const of = (error: unknown) => fingerprint(Cause.fail(error))

/** An error whose trace has nothing of the program. */
const foreign = <E extends Error>(error: E, change: object = {}): E =>
  Object.assign(error, { stack: `${error.name}\n    at run (node:internal/x:1:1)` }, change)

const failed = (cause: unknown) => foreign(new StorageError({ operation: "run", reason: "Failed", cause }))

describe("the fingerprint of a failure", () => {
  it("is the name of the error, and the first frame of the program", () => {
    assert.match(of(new RangeError("of 4711")), /^RangeError at (.+ \()?Fingerprint\.test\.ts:\d+\)?$/)
    assert.strictEqual(fingerprint(Cause.interrupt(1)), "Interrupted")
    assert.strictEqual(of("of 4711"), "Error")
  })

  it("has nothing of the message, whatever that looks like", () => {
    const [one, other] = ["4711", "4712"].map((order) =>
      of(new Error(`upstream said:\n    at order ${order} (order-${order}.ts:3:1)\n at 12:30:15`))
    )
    assert.strictEqual(one, other)
    assert.notInclude(one, "order")
  })

  it("is there for any stack", () => {
    const broken = Object.defineProperty(new Error("x"), "stack", {
      get() {
        throw new Error("no")
      }
    })
    const nameless = Object.assign(foreign(new Error("x")), { name: 5 })
    for (const error of [broken, Object.assign(new Error("x"), { stack: ["a", "b"] }), nameless]) {
      assert.strictEqual(of(error), "Error")
    }
  })

  it("is of what has caused it where the trace has nothing of the program", () => {
    const unique = foreign(new Error("of 4711"), { code: "SQLITE_CONSTRAINT_UNIQUE" })
    assert.strictEqual(of(failed(unique)), "StorageError: SQLITE_CONSTRAINT_UNIQUE")
    assert.strictEqual(of(failed({ code: "23505" })), "StorageError: 23505")
    assert.strictEqual(of(failed({ code: "not a code: 4711", errno: 1062 })), "StorageError: 1062")
    assert.strictEqual(of(failed(foreign(new TypeError("of 4711")))), "StorageError: TypeError")
    assert.match(of(failed(new TypeError("x"))), /^StorageError: TypeError at (.+ \()?Fingerprint\.test\.ts:\d+\)?$/)
    const circle: Error = foreign(new Error("x"))
    circle.cause = { cause: circle }
    assert.match(of(circle), /^Error(: Error)+$/)
  })
})
