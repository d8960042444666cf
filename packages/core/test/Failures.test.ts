import { assert, describe, it } from "@effect/vitest"
import { JournalForked, JournalReplaced } from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import { Fenced, OffsetsDeleted } from "@sluice/core/OffsetStore"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import { StorageError } from "@sluice/core/StorageError"
import * as Cause from "effect/Cause"
import {
  eventOf,
  ForkedAhead,
  InterruptedByCommand,
  isAheadOfStored,
  isFaultOfEvent,
  StoppedAtEvent
} from "../src/internal/projection/failures.ts"

const key = { projection: "notes", source: "journal:note" }
const slice = Slice.make(1)
const byWorker = new Fenced({ ...key, slice, by: "worker" })
const byCommand = new Fenced({ ...key, slice: undefined, by: "command" })
const replaced = new JournalReplaced({ expected: "one", actual: "another", entityType: "note" })
const forked = new JournalForked({ entityType: "note", slice, offset: Offset.make(3, 30) })
const deleted = new OffsetsDeleted({ ...key, slice })
const unavailable = new StorageError({ operation: "test", reason: "Unavailable", cause: new Error("gone") })
const failure = {
  cause: Cause.fail("bad"),
  event: { persistenceId: PersistenceId.make("note", "a"), sequenceNumber: SequenceNumber.make(1) }
}

const happened = (cause: Cause.Cause<unknown>, canReset = false) =>
  eventOf(cause, { lasted: 7, canReset: () => canReset })

describe("what has happened to a worker that has failed", () => {
  for (
    const [what, cause, event] of [
      ["a command", Cause.fail(new InterruptedByCommand()), { _tag: "Interrupted" }],
      ["a rewind", Cause.fail(byCommand), { _tag: "Interrupted" }],
      ["another worker", Cause.fail(byWorker), { _tag: "Fenced", cause: Cause.fail(byWorker), lasted: 7 }],
      ["an event", Cause.fail(new StoppedAtEvent(failure)), { _tag: "FailedForGood", failure }],
      ["a final error", Cause.fail(deleted), {
        _tag: "FailedForGood",
        failure: { cause: Cause.fail(deleted), event: undefined }
      }],
      ["another journal", Cause.fail(replaced), {
        _tag: "FailedForGood",
        failure: { cause: Cause.fail(replaced), event: undefined }
      }],
      ["lost events of which nothing is stored", Cause.fail(new ForkedAhead(Cause.fail(forked))), {
        _tag: "Failed",
        cause: Cause.fail(forked)
      }],
      ["lost events", Cause.fail(forked), {
        _tag: "FailedForGood",
        failure: { cause: Cause.fail(forked), event: undefined }
      }],
      ["storage", Cause.fail(unavailable), { _tag: "Failed", cause: Cause.fail(unavailable) }],
      ["a defect", Cause.die("bug"), { _tag: "Failed", cause: Cause.die("bug") }],
      ["an interruption from within", Cause.interrupt(1), { _tag: "Failed", cause: Cause.interrupt(1) }]
    ] as const
  ) {
    it(`by ${what}`, () => assert.deepStrictEqual<unknown>(happened(cause), event))
  }

  it("by another journal, where it is to begin again then", () => {
    const cause = Cause.fail(replaced)
    assert.deepStrictEqual(happened(cause, true), { _tag: "JournalChanged", cause, change: replaced })
    // only what changes a journal
    assert.strictEqual(happened(Cause.fail(deleted), true)._tag, "FailedForGood")
  })
})

const isAhead = (known: Offset.Offset | undefined, stored: Offset.Offset | undefined) =>
  isAheadOfStored(forked, new Map(known && [[slice, known]]), new Map(stored && [[slice, stored]]))

describe("stored offsets say nothing of the events that a journal has lost", () => {
  const [second, third, fourth] = [Offset.make(2, 20), Offset.make(3, 30), Offset.make(4, 40)]

  it("where they are behind these", () => {
    assert.isTrue(isAhead(second, second))
    assert.isTrue(isAhead(undefined, undefined))
    assert.isFalse(isAhead(third, third))
    assert.isFalse(isAhead(fourth, fourth))
  })

  it("where they are not what the worker has stored, as they went back, and maybe on in the other history", () => {
    assert.isTrue(isAhead(third, second))
    assert.isTrue(isAhead(third, undefined))
    assert.isTrue(isAhead(fourth, third))
    assert.isTrue(isAhead(third, Offset.make(3, 31)))
  })
})

describe("an event", () => {
  it("is at fault for what its handler fails with, whatever that is", () => {
    for (const cause of [Cause.fail("bad"), Cause.die(new Error("bug")), Cause.fail(replaced), Cause.fail(undefined)]) {
      assert.isTrue(isFaultOfEvent(cause))
    }
  })

  it("is not at fault where storage is, a command, or another worker, however that is wrapped", () => {
    for (const error of [unavailable, new InterruptedByCommand(), byWorker, byCommand, { isRetryable: true }]) {
      const wrapped = new Error("wrapped", { cause: error })
      const circular: { cause?: unknown; errors?: unknown } = new AggregateError([wrapped])
      circular.cause = circular
      for (
        const cause of [
          Cause.fail(error),
          Cause.die(error),
          Cause.fail(wrapped),
          Cause.fail(new Error("again", { cause: wrapped })),
          Cause.fail(circular),
          Cause.fail(new Error("a cause", { cause: Cause.fail(error) })),
          Cause.combine(Cause.fail("bad"), Cause.die(error))
        ]
      ) {
        assert.isFalse(isFaultOfEvent(cause))
      }
    }
  })
})
