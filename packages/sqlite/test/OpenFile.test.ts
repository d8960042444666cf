import { assert, it } from "@effect/vitest"
import Sqlite from "better-sqlite3"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as Fs from "node:fs"
import { OpenFile } from "../src/internal/openFile.ts"
import { temporaryFile } from "./files.ts"

it.effect("a look at the files a moment ago will do before something is written, and none before a commit is told of", () =>
  Effect.gen(function*() {
    const filename = yield* temporaryFile
    const connection = yield* Effect.acquireRelease(
      Effect.sync(() => new Sqlite(filename)),
      (connection) => Effect.sync(() => connection.close())
    )
    connection.pragma("journal_mode = WAL")
    connection.exec("CREATE TABLE note (id INTEGER)")
    const file = new OpenFile(filename, yield* Clock.Clock)

    Fs.renameSync(`${filename}-wal`, `${filename}-elsewhere`)
    assert.throws(() => file.checkBefore(), /was moved/, "that it was opened was no look")
    Fs.renameSync(`${filename}-elsewhere`, `${filename}-wal`)
    file.checkBefore()

    Fs.renameSync(`${filename}-wal`, `${filename}-elsewhere`)
    file.checkBefore()
    assert.throws(() => file.checkAfter(), /was moved/)
    yield* TestClock.adjust("1 millis")
    assert.throws(() => file.checkBefore(), /was moved/)
  }))
