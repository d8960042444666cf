import { assert, describe, it } from "@effect/vitest"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Schema from "effect/Schema"

describe("PersistenceId", () => {
  it("is its entity type and its entity id", () => {
    const id = PersistenceId.make("cart", "c-17")
    assert.strictEqual<string>(id, "cart|c-17")
    assert.strictEqual(PersistenceId.entityType(id), "cart")
    assert.strictEqual(PersistenceId.entityId(id), "c-17")
  })

  it("keeps a replica id, and any other '|', in the entity id", () => {
    const replica = PersistenceId.parse("cart|c-17|DCA")
    assert.strictEqual(PersistenceId.entityType(replica), "cart")
    assert.strictEqual(PersistenceId.entityId(replica), "c-17|DCA")
    assert.strictEqual(PersistenceId.entityId(PersistenceId.make("cart", "|")), "|")
    assert.strictEqual(PersistenceId.entityId(PersistenceId.make("cart", "a||b|")), "a||b|")
  })

  it("takes any text that is well-formed, and has no U+0000", () => {
    for (const text of ["a|b", " | ", "Cart|A b", "carrito|ñ", "😀|👩‍👩‍👧‍👦", "a|\n"]) {
      assert.strictEqual<string>(PersistenceId.parse(text), text)
      assert.isTrue(PersistenceId.is(text))
    }
  })

  it("is refused when a part is empty, the separator is missing, or the text is malformed", () => {
    for (const wrong of ["", "|", "a|", "|b", "ab", "a|\ud83d", "\ude00|b", "a|\u0000", "\u0000|b"]) {
      assert.isFalse(PersistenceId.is(wrong))
      assert.isFalse(Schema.is(PersistenceId.PersistenceId)(wrong))
      assert.throws(() => PersistenceId.parse(wrong), RangeError)
    }
    assert.isFalse(PersistenceId.is(17))
    assert.throws(() => PersistenceId.make("", "b"), RangeError)
    assert.throws(() => PersistenceId.make("a", ""), RangeError)
    assert.throws(() => PersistenceId.make("a|b", "c"), RangeError, /contains '\|'/)
  })

  it("has at most 255 bytes of UTF-8", () => {
    assert.isTrue(PersistenceId.is(`a|${"x".repeat(253)}`))
    assert.isFalse(PersistenceId.is(`a|${"x".repeat(254)}`))
    assert.isTrue(PersistenceId.is(`a|${"é".repeat(126)}x`))
    assert.isFalse(PersistenceId.is(`a|${"é".repeat(127)}`))
    assert.isTrue(PersistenceId.is(`a|${"😀".repeat(63)}x`))
    assert.isFalse(PersistenceId.is(`a|${"😀".repeat(64)}`))
  })
})
