/**
 * How many statements this process has sent to its databases, of whatever kind: counted at the drivers. Of SQLite, whether its file has changed is none: that is
 * read from memory.
 */
import Sqlite from "better-sqlite3"
import * as Mysql from "mysql2"
import Pg from "pg"

let sent = 0
let isCounting = false

const isLook = (statement: unknown): boolean =>
  (statement as { readonly source?: unknown }).source === "PRAGMA data_version"

const count = (prototype: object, methods: ReadonlyArray<string>): void => {
  for (const method of methods) {
    const original = Reflect.get(prototype, method) as (...args: Array<unknown>) => unknown
    Reflect.set(prototype, method, function(this: unknown, ...args: Array<unknown>) {
      if (!isLook(this)) sent++
      return original.apply(this, args)
    })
  }
}

/** How many were sent since it was called first. */
export const statements = (): number => {
  if (!isCounting) {
    isCounting = true
    const database = new Sqlite(":memory:")
    count(Object.getPrototypeOf(database.prepare("SELECT 1")), ["run", "get", "all", "iterate"])
    database.close()
    count(Pg.Client.prototype, ["query"])
    const { Connection } = Mysql as unknown as { readonly Connection: { readonly prototype: object } }
    count(Connection.prototype, ["query", "execute"])
  }
  return sent
}
