/** The larger statements are kept outside of the heap: some at once would not have room in a small one. */
import { assert, it } from "@effect/vitest"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Naming from "@sluice/sql/adapter/Naming"
import { collectGarbage } from "../../../test/kit/collectGarbage.ts"
import { makeStatements, packets } from "../src/internal/statements.ts"
import { format } from "../src/internal/values.ts"

const size = 4_000_000
const count = 8
const bytes = Buffer.alloc(size, "ä'\\\0")
const digits = bytes.toString("hex")

const heapUsed = (): number => {
  collectGarbage()
  return process.memoryUsage().heapUsed
}

/** How many bytes of heap texts take that are kept, once the driver has read them. */
const heapOf = (make: () => string): { readonly texts: ReadonlyArray<string>; readonly heap: number } => {
  const before = heapUsed()
  const texts = Array.from({ length: count }, make)
  for (const text of texts) Buffer.byteLength(text)
  return { texts, heap: heapUsed() - before }
}

it("an append of large events takes little of the heap", () => {
  const statements = makeStatements(Naming.make({}), crypto.randomUUID(), () => Infinity)
  const persistenceId = PersistenceId.make("doc", "d")
  const payload = { manifest: "", bytes }
  const event = { id: crypto.randomUUID(), payload, tags: [], metadata: undefined } as any
  const rows = [1, 2].map((n) => ({ slice: 1, position: n, timestamp: n, persistenceId, sequenceNumber: n, event }))
  const { heap, texts } = heapOf(() => {
    const inserts = statements.inserts("doc", { answers: [], rows, moved: new Map() })
    return packets([...inserts, ["COMMIT"]], Infinity)[0]!
  })
  assert.isBelow(heap, size)
  const [text] = texts
  assert.strictEqual(text!.split(`,x'${digits}')`).length, 3)
  assert.isTrue(/^INSERT INTO .*\);COMMIT$/s.test(text!))
})

it("an append may have very many events", () => {
  const insert = Array.from({ length: 300_000 }, (_, i) => `${i % 10}`)
  assert.strictEqual(packets([insert, ["COMMIT"]], Infinity)[0]!.length, 300_000 + ";COMMIT".length)
})

it("large values of a query take little of the heap", () => {
  const { heap, texts } = heapOf(() => format("UPDATE t SET a = ?, b = ?, c = ? WHERE d = ?", ["a", bytes, bytes, 1]))
  assert.isBelow(heap, size)
  assert.isTrue(texts[0] === `UPDATE t SET a = 'a', b = x'${digits}', c = x'${digits}' WHERE d = 1`)
})

it("a text that is not ASCII stays as it is beside a large value", () => {
  const text = format("SELECT ?, ?, ?", [bytes, "ü", "it's"])
  assert.isTrue(text === `SELECT x'${digits}', 'ü', _utf8mb4 x'${Buffer.from("it's").toString("hex")}'`)
})
