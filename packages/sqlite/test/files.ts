import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"

const temporaryIn = (parent: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => Fs.mkdtempSync(Path.join(parent, "sluice-sqlite-"))),
      (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true }))
    ),
    (folder) => Path.join(folder, "journal.db")
  )

/** The name of a file that does not exist yet; its folder is removed with the scope. */
export const temporaryFile = temporaryIn(Os.tmpdir())

/**
 * For tests that do not ask what survives a failure: in a file system in memory, where there is one. On a disk each commit waits for
 * it, some milliseconds, which such tests would spend a third of their time with.
 */
export const quickFile = temporaryIn(
  process.env["TMPDIR"] === undefined && Fs.existsSync("/dev/shm") ? "/dev/shm" : Os.tmpdir()
)
