import { assert, describe, it } from "@effect/vitest"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as Receipt from "@sluice/core/Receipt"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

const encode = Schema.encodeSync(Receipt.Receipt)
const decode = Schema.decodeUnknownResult(Receipt.Receipt)

const toBase64 = Schema.encodeSync(Schema.StringFromBase64Url)

const natural = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }))

/** As it is sent, with parts that are changed. */
const sent = (change: Partial<Record<number, unknown>>) =>
  toBase64(
    JSON.stringify(
      [1, "journal", "events", "cart|c-1", 3, 4, 5, 2].map((value, i) => i in change ? change[i] : value)
    )
  )

describe("a receipt", () => {
  it.prop(
    "comes back from a text that fits a header and a URL",
    [
      Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(36)),
      Schema.Literals(["events", "states"]),
      Schema.String,
      natural,
      natural,
      natural
    ],
    ([journal, log, id, sequenceNumber, position, timestamp]) => {
      const persistenceId = PersistenceId.make("cart", `c${id.slice(0, 80).replaceAll("\0", "").toWellFormed()}`)
      const receipt: Receipt.Receipt = {
        journal: journal.toWellFormed(),
        log,
        persistenceId,
        slice: Slice.ofPersistenceId(persistenceId),
        sequenceNumber: SequenceNumber.make(sequenceNumber),
        position: Position.make(position),
        timestamp: Timestamp.make(timestamp),
        count: Math.min(sequenceNumber, position)
      }
      const text = encode(receipt)
      assert.match(text, /^[\w-]+$/)
      assert.deepStrictEqual(decode(text), Result.succeed(receipt))
    }
  )

  it("is small", () => {
    const persistenceId = PersistenceId.make("cart", "0f7c4f0e-6f0b-4a57-9d0c-9b1c4f6d2a11")
    const text = encode({
      journal: "7b2f4a52-3c39-4c5e-8f0f-0f6e2f7f1c11",
      log: "events",
      persistenceId,
      slice: Slice.ofPersistenceId(persistenceId),
      sequenceNumber: SequenceNumber.make(1234),
      position: Position.make(12345678),
      timestamp: Timestamp.make(1764388800000000),
      count: 12
    })
    assert.isAtMost(text.length, 200)
  })

  it("is read as it is sent", () => assert.isTrue(Result.isSuccess(decode(sent({})))))

  for (
    const [what, text] of [
      ["nothing", ""],
      ["no text", 7],
      ["no base64", "€"],
      ["no JSON", toBase64("[1,")],
      ["too few parts", toBase64("[1,\"journal\"]")],
      ["another version", sent({ 0: 2 })],
      ["no journal", sent({ 1: "" })],
      ["a log that there is not", sent({ 2: "snapshots" })],
      ["no persistence id", sent({ 3: "cart" })],
      ["event 0", sent({ 4: 0 })],
      ["a fraction", sent({ 5: 4.5 })],
      ["a position that is no safe integer", sent({ 5: 2 ** 60 })],
      ["a timestamp before time", sent({ 6: -1 })],
      ["no events", sent({ 7: 0 })],
      ["more events than there can be", sent({ 7: 4 })]
    ] as const
  ) {
    it(`is no text with ${what}`, () => {
      const decoded = decode(text)
      assert.isTrue(Result.isFailure(decoded))
      assert.strictEqual((decoded as any).failure.message, "Expected a receipt, as Journal.append returns it")
    })
  }
})
