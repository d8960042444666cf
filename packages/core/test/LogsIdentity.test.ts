import { assert, describe, it } from "@effect/vitest"
import * as LogsIdentity from "@sluice/core/LogsIdentity"
import { journalOf } from "@sluice/core/OffsetStore"

const carts = { journal: "j", log: "events", entityType: "cart" } as const

describe("the identity of logs", () => {
  it("is in its journal, and in no other whose identity begins alike", () => {
    const text = LogsIdentity.make(carts)
    assert.deepStrictEqual(["j", "j/events", "jj", "", "j/"].map((journal) => LogsIdentity.isIn(text, journal)), [
      true,
      true,
      false,
      false,
      false
    ])
    assert.isFalse(LogsIdentity.isIn("j", text))
  })

  it("is that of these logs alone", () => {
    const text = LogsIdentity.make(carts)
    assert.isTrue(LogsIdentity.isOf(text, carts))
    assert.isTrue(LogsIdentity.isOf("j", carts))
    assert.isFalse(LogsIdentity.isOf(text, { ...carts, log: "states" }))
    assert.isFalse(LogsIdentity.isOf(text, { ...carts, entityType: "cart/2" }))
    assert.isFalse(LogsIdentity.isOf(text, { ...carts, journal: "k" }))
  })

  it("is short, and of characters that headers have, for every name", () => {
    const text = LogsIdentity.make({ journal: crypto.randomUUID(), log: "events", entityType: "é".repeat(64) })
    assert.match(text, /^[!-~]{1,255}$/)
  })

  it("stands for its journal, where other offsets have that alone", () => {
    const text = LogsIdentity.make(carts)
    assert.strictEqual(journalOf(["j", text, "", text, "j"]), text)
    assert.strictEqual(journalOf(["j", text, "k"]), `${text}, k`)
    assert.isUndefined(journalOf(["", ""]))
  })
})
