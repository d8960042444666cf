import { assert, describe, it } from "@effect/vitest"
import { mayChangeSession, mayHideEnd, wouldControl } from "@sluice/sql/adapter/StatementEffects"

describe("a statement by hand", () => {
  const statements = [
    ["postgres", "COMMIT", "ends"],
    ["postgres", "/* a /* nested */ comment */ rollback", "ends"],
    ["postgres", "-- a comment\n; BEGIN", "ends"],
    ["postgres", "PREPARE TRANSACTION 'x'", "ends"],
    ["postgres", "prepare p as select 1", undefined],
    ["postgres", "ROLLBACK TO SAVEPOINT a", "nests"],
    ["postgres", "RELEASE a", "nests"],
    ["postgres", "SELECT 'COMMIT'", undefined],
    ["mysql", "TRUNCATE note", "ends"],
    ["mysql", "/*!80000 COMMIT */", "ends"],
    ["mysql", "# a comment\nSET autocommit = 1", "ends"],
    ["mysql", "CREATE TABLE note (id INT)", "ends"],
    ["mysql", "CREATE TEMPORARY TABLE note (id INT)", undefined],
    ["mysql", "rollback work to a", "nests"],
    ["sqlite", "END", "ends"],
    ["sqlite", "SAVEPOINT a", "nests"],
    ["sqlite", "CREATE TABLE note (id INT)", undefined]
  ] as const
  for (const [dialect, sql, expected] of statements) {
    it(`${expected ?? "does nothing"} to the transaction on ${dialect}: ${sql}`, () => {
      assert.strictEqual(wouldControl(dialect, sql), expected)
    })
  }
})

describe("an end of the transaction", () => {
  const statements = [
    ["postgres", "SELECT 1; COMMIT; BEGIN", true, true],
    // with parameters there is one statement alone
    ["postgres", "SELECT 1; COMMIT; BEGIN", false, false],
    ["postgres", "SELECT 1;", true, false],
    ["postgres", "DO $$ BEGIN END $$", false, false],
    ["postgres", "EXECUTE p", false, true],
    ["mysql", "CALL p()", true, true],
    ["mysql", "/* a comment */ (SELECT 1)", true, false],
    ["sqlite", "SELECT 1; COMMIT", true, false]
  ] as const
  for (const [dialect, sql, isPlain, expected] of statements) {
    it(`${expected ? "may hide" : "hides not"} in ${isPlain ? "" : "a prepared "}${sql} on ${dialect}`, () => {
      assert.strictEqual(mayHideEnd(dialect, sql, isPlain), expected)
    })
  }
})

describe("a session", () => {
  const statements = [
    ["postgres", "SELECT 1", false],
    ["postgres", "SET LOCAL work_mem = '1MB'", false],
    ["postgres", "SET work_mem = '1MB'", true],
    ["postgres", "select set_config('a', 'b', false)", true],
    ["postgres", "SELECT pg_advisory_lock(1)", true],
    ["postgres", "CREATE TEMP TABLE a (id int)", true],
    ["postgres", "DECLARE a CURSOR WITH HOLD FOR SELECT 1", true],
    ["postgres", "SELECT 1; SET a.b = 1", true],
    ["postgres", "LISTEN a", true],
    ["postgres", "/* a comment */ PREPARE p AS SELECT 1", true],
    ["mysql", "SELECT 1", false],
    ["mysql", "SELECT 1 INTO @a", true],
    ["mysql", "SELECT @a := 1", true],
    ["mysql", "SELECT GET_LOCK('a', 1)", true],
    ["mysql", "SET @a = 1", true],
    ["mysql", "/*!80000 SET @a = 1 */", true],
    ["mysql", "CALL p()", true],
    ["mysql", "-- a comment\nINSERT INTO a VALUES (1)", false]
  ] as const
  for (const [dialect, sql, expected] of statements) {
    it(`${expected ? "may be changed" : "is left as it was"} on ${dialect} by ${sql}`, () => {
      assert.strictEqual(mayChangeSession(dialect, sql), expected)
    })
  }
})
