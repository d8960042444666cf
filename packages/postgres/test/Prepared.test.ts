import { assert, it } from "@effect/vitest"
import { Prepared } from "../src/internal/Prepared.ts"

const runOften = (prepared: Prepared, sql: string, values: ReadonlyArray<unknown> = [1]) =>
  Array.from({ length: 5 }, () => {
    const name = prepared.nameOf(sql, values)
    if (name === undefined) prepared.succeeded(sql)
    return name !== undefined
  })

it("a statement is prepared when it has succeeded three times, and one that fails is not", () => {
  const prepared = new Prepared({ isKept: true })
  assert.deepStrictEqual(runOften(prepared, "SELECT $1"), [false, false, false, true, true])
  for (let i = 0; i < 5; i++) assert.isUndefined(prepared.nameOf("SELECT missing", [1]))
  prepared.forget()
  assert.deepStrictEqual(runOften(prepared, "SELECT $1"), [false, false, false, true, true])
})

it("a statement that joins tables with arrays is planned anew each time", () => {
  const prepared = new Prepared({ isKept: true })
  const isPrepared = (sql: string) => runOften(prepared, sql, [[1, 2]])[4]
  assert.isTrue(
    isPrepared("INSERT INTO t SELECT * FROM unnest($1::int[]) ON CONFLICT (n) DO UPDATE SET n = excluded.n")
  )
  assert.isTrue(isPrepared("SELECT * FROM t WHERE n = ANY($1)"))
  assert.isFalse(isPrepared("UPDATE t SET n = m.n FROM unnest($1::int[]) m(n) WHERE t.n = m.n"))
  assert.isFalse(isPrepared("SELECT * FROM t JOIN unnest($1::int[]) m(n) ON m.n = t.n"))
  assert.isFalse(isPrepared("INSERT INTO t SELECT o.n FROM o WHERE o.n IN (SELECT * FROM unnest($1::int[]))"))
})

it("no more statements are prepared than a session should keep", () => {
  const prepared = new Prepared({ isKept: true })
  const kept = Array.from({ length: 60 }, (_, i) => runOften(prepared, `SELECT $1, ${i}`)[4]).filter((is) => is)
  assert.strictEqual(kept.length, 50)
  assert.isFalse(runOften(new Prepared({ isKept: true }), `SELECT $1, ${"0".repeat(4_000)}`)[4])
})

it("nothing is prepared any more where sessions do not keep it", () => {
  const sharing = { isKept: true }
  const prepared = new Prepared(sharing)
  const constraint = Object.assign(new Error("twice"), { code: "23505" })
  assert.strictEqual(prepared.errorOf(constraint), constraint)
  for (const code of ["0A000", "42804"]) {
    assert.deepInclude(prepared.errorOf(Object.assign(new Error("changed"), { code })), { code: "ECONNABORTED" })
  }
  assert.isTrue(sharing.isKept)
  assert.deepInclude(prepared.errorOf(Object.assign(new Error("none"), { code: "26000" })), { code: "ECONNABORTED" })
  assert.deepStrictEqual(runOften(new Prepared(sharing), "SELECT $1"), [false, false, false, false, false])
})
