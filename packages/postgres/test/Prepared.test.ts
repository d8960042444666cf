import { assert, it } from "@effect/vitest"
import { Prepared, Sharing } from "../src/internal/Prepared.ts"

const runOften = (prepared: Prepared, sql: string, values: ReadonlyArray<unknown> = [1]) =>
  Array.from({ length: 5 }, () => {
    const name = prepared.nameOf(sql, values)
    if (name === undefined) prepared.succeeded(sql)
    return name !== undefined
  })

it("a statement is prepared when it has succeeded three times, and one that fails is not", () => {
  const prepared = new Prepared(new Sharing())
  assert.deepStrictEqual(runOften(prepared, "SELECT $1"), [false, false, false, true, true])
  for (let i = 0; i < 5; i++) assert.isUndefined(prepared.nameOf("SELECT missing", [1]))
  prepared.forget()
  assert.deepStrictEqual(runOften(prepared, "SELECT $1"), [false, false, false, true, true])
})

it("a statement that joins tables with arrays is planned anew each time", () => {
  const prepared = new Prepared(new Sharing())
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
  const prepared = new Prepared(new Sharing())
  const kept = Array.from({ length: 60 }, (_, i) => runOften(prepared, `SELECT $1, ${i}`)[4]).filter((is) => is)
  assert.strictEqual(kept.length, 50)
  assert.isFalse(runOften(new Prepared(new Sharing()), `SELECT $1, ${"0".repeat(4_000)}`)[4])
})

it("nothing is prepared for a minute where a session did not keep it, and for twice as long each time thereafter, for an hour at most", () => {
  let now = 0
  const sharing = new Sharing(() => now)
  const prepared = new Prepared(sharing)
  const constraint = Object.assign(new Error("twice"), { severity: "ERROR", code: "23505" })
  assert.strictEqual(prepared.errorOf("SELECT $1", constraint), constraint)
  for (const code of ["0A000", "42804"]) {
    assert.deepInclude(prepared.errorOf("SELECT $1, 2", Object.assign(new Error("changed"), { code })), {
      code: "ECONNABORTED"
    })
  }
  assert.isTrue(sharing.isKept)
  const rests = Array.from({ length: 9 }, () => {
    // what is under way on several connections fails at once
    for (const one of [prepared, new Prepared(sharing)]) {
      assert.deepInclude(one.errorOf("SELECT $1", Object.assign(new Error("none"), { code: "26000" })), {
        code: "ECONNABORTED"
      })
    }
    assert.deepStrictEqual(runOften(new Prepared(sharing), "SELECT $1"), [false, false, false, false, false])
    const begun = now
    while (!sharing.isKept) now += 30_000
    // the same statement as well
    assert.deepStrictEqual(runOften(new Prepared(sharing), "SELECT $1"), [false, false, false, true, true])
    return (now - begun) / 60_000
  })
  assert.deepStrictEqual(rests, [1, 2, 4, 8, 16, 32, 60, 60, 60])
})

it("a statement that has failed after it was prepared is prepared on no connection any more", () => {
  const sharing = new Sharing()
  const [one, other] = [new Prepared(sharing), new Prepared(sharing)]
  for (const prepared of [one, other]) runOften(prepared, "SELECT $1")
  const refused = Object.assign(new Error("no number"), { code: "22P02" })
  assert.deepInclude(one.errorOf("SELECT $1", refused), { code: "ECONNABORTED" })
  for (const prepared of [one, other, new Prepared(sharing)]) {
    assert.deepStrictEqual(runOften(prepared, "SELECT $1"), [false, false, false, false, false])
    assert.isTrue(runOften(prepared, "SELECT $1, 2")[4])
  }
  for (let i = 0; i < 200; i++) one.errorOf(`SELECT $1, ${i}`, refused)
  assert.isFalse(sharing.isKept)
})

it("what may have done a part of its work before it fails is not prepared, as it must not be tried again", () => {
  const prepared = new Prepared(new Sharing())
  assert.isFalse(runOften(prepared, "CALL pays($1)")[4])
})
