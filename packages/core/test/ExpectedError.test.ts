import { assert, it } from "@effect/vitest"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import { StorageError } from "@sluice/core/StorageError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

const conflict = () =>
  new Journal.SequenceConflict({
    persistenceId: PersistenceId.make("cart", "c-1"),
    expected: 3,
    actual: SequenceNumber.make(4)
  })

it("an error that is expected is printed as one line", () => {
  const line =
    "@sluice/core/SequenceConflict: The writer of 'cart|c-1' expected event 3 to be its last, but its last event is 4"
  assert.strictEqual(conflict().stack, line)
  assert.strictEqual(Cause.pretty(Cause.fail(conflict())), line)
})

it("it is still an error of its class, with nothing but its fields, also after a way through its schema", () => {
  const error = conflict()
  assert.instanceOf(error, Error)
  assert.deepStrictEqual(Object.keys(error), ["_tag", "persistenceId", "expected", "actual"])
  const back = Schema.decodeUnknownSync(Journal.SequenceConflict)(
    JSON.parse(JSON.stringify(Schema.encodeUnknownSync(Journal.SequenceConflict)(error)))
  )
  assert.instanceOf(back, Journal.SequenceConflict)
  assert.deepStrictEqual(back, error)
})

it("it says what it is where its cause is the copy of an error, which has no prototype", () => {
  const cause = Object.assign(Object.create(null), { message: "Expected string, got 3" })
  const persistenceId = PersistenceId.make("cart", "c-1")
  for (
    const error of [
      new EventCodec.EventEncodeError({ persistenceId, cause }),
      new EventCodec.EventDecodeError({ persistenceId, sequenceNumber: SequenceNumber.make(1), manifest: "m", cause }),
      new Source.GapNotFilled({ source: "s", persistenceId, from: 1, to: 2, cause })
    ]
  ) assert.include(error.message, cause.message)
})

it("a mistake of the program keeps its trace", () => {
  const error = new ProjectionStatus.ProjectionAlreadyRuns({ projection: "p", range: SliceRange.full })
  assert.include(Cause.pretty(Cause.die(error)), "ExpectedError.test.ts")
})

const mistaken = () => new StorageError({ operation: "append", reason: "Bogus" as "Failed", cause: undefined })

it.effect("so does one that is made with a wrong argument", () =>
  Effect.gen(function*() {
    const cause = yield* Effect.flip(Effect.sandbox(Effect.sync(mistaken)))
    const { stack } = Cause.squash(cause) as Error
    assert.match(String(stack), /\n +at mistaken .*ExpectedError\.test\.ts/)
  }))

const failed = (cause: unknown) => new StorageError({ operation: "append", reason: "Unavailable", cause })

it("a cause with a code has no trace either, and is the same error", () => {
  const tls = Object.assign(new Error("altnames"), { code: "ERR_TLS_CERT_ALTNAME_INVALID" })
  assert.strictEqual((failed(tls).cause as Error).stack, "Error: altnames")
  const inner = Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:1"), { code: "ECONNREFUSED" })
  const all = Object.assign(new AggregateError([inner], "none of them"), { code: "ECONNREFUSED" })
  const driver = Object.assign(new Error("relation \"cart\" does not exist", { cause: all }), { code: "42P01" })
  const error = failed(driver)
  assert.strictEqual(error.cause, driver)
  assert.include(driver, { code: "42P01", message: "relation \"cart\" does not exist" })
  assert.notMatch(Cause.pretty(Cause.fail(error)), /^ *at /m)
  assert.include(Cause.pretty(Cause.fail(error)), "[cause]: Error: relation \"cart\" does not exist")
  assert.strictEqual(all.stack, "AggregateError: none of them")
  assert.strictEqual(inner.stack, "Error: connect ECONNREFUSED 127.0.0.1:1")
})

it("a cause that is a mistake of the program, or that nobody knows, keeps its trace", () => {
  const wrong = Object.assign(new TypeError("not a string"), { code: "ERR_INVALID_ARG_TYPE" })
  for (const cause of [new Error("why"), wrong]) {
    assert.include(Cause.pretty(Cause.fail(failed(cause))), "ExpectedError.test.ts")
  }
  const frozen = Object.freeze(Object.assign(new Error("frozen"), { code: "42P01" }))
  assert.strictEqual(failed(frozen).cause, frozen)
})
