import { assert, it } from "@effect/vitest"
import * as Slice from "@sluice/core/Slice"
import * as Notification from "../src/internal/notification.ts"

const slices = (...slices: ReadonlyArray<number>) => new Set(slices.map(Slice.make))

it("what is told arrives as it was told, messages about the same as one", () => {
  const pending = new Notification.Pending("one")
  assert.isTrue(pending.isEmpty)
  pending.add({ kind: "events", entityType: "note", slices: slices(1, 2) })
  pending.add({ kind: "command", projection: "note" })
  pending.add({ kind: "states", entityType: "note", slices: slices(4) })
  pending.add({ kind: "events", entityType: "note", slices: slices(2, 3) })
  const payloads = pending.take()
  assert.isTrue(pending.isEmpty)
  assert.deepStrictEqual(payloads.map((payload) => Notification.parse("another", payload)), [
    { kind: "events", entityType: "note", slices: slices(1, 2, 3) },
    { kind: "command", projection: "note" },
    { kind: "states", entityType: "note", slices: slices(4) }
  ])
  assert.deepStrictEqual(payloads.map((payload) => Notification.parse("one", payload)), [
    undefined,
    undefined,
    undefined
  ])
})

it("no payload is too long for the server", () => {
  for (const character of ["\u0001", "\uffff"]) {
    const pending = new Notification.Pending(crypto.randomUUID())
    const all = slices(...Array.from({ length: Slice.count }, (_, slice) => slice))
    pending.add({ kind: "events", entityType: character.repeat(255), slices: all })
    const [payload] = pending.take()
    assert.isBelow(Buffer.byteLength(payload!), 8000)
  }
})

it("what nobody of ours has sent is nothing", () => {
  const wrong = [
    "",
    "{",
    "null",
    "{}",
    "[]",
    "[1,2,3]",
    "[\"x\",\"events\"]",
    "[\"x\",\"other\",\"note\"]",
    "[\"x\",\"events\",1]"
  ]
  for (const payload of wrong) assert.isUndefined(Notification.parse("one", payload), payload)
  assert.deepStrictEqual(
    Notification.parse("one", "[\"x\",\"events\",\"note\",1024,-1,1.5,\"2\",3]"),
    { kind: "events", entityType: "note", slices: slices(3) }
  )
})
