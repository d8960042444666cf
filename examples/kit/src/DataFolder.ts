/**
 * The folder with databases and logs: it exists, can be written to, and is nobody else's for as long as the scope.
 */
import Sqlite from "better-sqlite3"
import { Effect, Exit, FileSystem, Option, type PlatformError, Schema } from "effect"
import * as OS from "node:os"
import * as Path from "node:path"

export class FolderNotUsable extends Schema.TaggedError<FolderNotUsable>()("FolderNotUsable", {
  folder: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `The folder '${this.folder}' cannot be used: ${this.reason}`
  }
}

export interface DataFolder {
  readonly path: string
  /** The database and the log of a service. */
  readonly of: (service: string) => { readonly database: string; readonly log: string }
}

/** Another process, or nobody: SQLite's lock ends with the process that has it, however that dies. */
const lock = (folder: string) =>
  Effect.acquireRelease(
    Effect.try({
      try: () => {
        const connection = new Sqlite(Path.join(folder, "lock"), { timeout: 0 })
        try {
          connection.exec("BEGIN EXCLUSIVE")
          return connection
        } catch (error) {
          connection.close()
          throw error
        }
      },
      catch: (error) => {
        const { code, message } = error as Error & { readonly code?: unknown }
        const reason = code === "SQLITE_BUSY" ? "another run is using it" : message
        return new FolderNotUsable({ folder, reason })
      }
    }),
    (connection) => Effect.sync(() => connection.close())
  )

/** Node's own recursion never ends where a file system is not made for folders, such as /proc. */
const makeDirectory = (fs: FileSystem.FileSystem, path: string): Effect.Effect<void, PlatformError.PlatformError> =>
  fs.makeDirectory(path).pipe(
    Effect.catchReason(
      "PlatformError",
      "NotFound",
      (_, error) =>
        Path.dirname(path) === path
          ? Effect.fail(error)
          : Effect.andThen(makeDirectory(fs, Path.dirname(path)), fs.makeDirectory(path))
    ),
    Effect.catchReason(
      "PlatformError",
      "AlreadyExists",
      (_, error) => Effect.flatMap(fs.stat(path), ({ type }) => type === "Directory" ? Effect.void : Effect.fail(error))
    )
  )

const reasonOf = ({ message, reason }: PlatformError.PlatformError): string => {
  switch (reason._tag) {
    case "AlreadyExists":
    case "BadResource":
      return "it is a file, or lies within one"
    case "PermissionDenied":
      return "permission is denied"
    case "NotFound":
      return "it does not exist and cannot be made"
    default:
      return message
  }
}

/** Without a path it is a temporary folder, which is removed if all goes well. */
export const acquire = Effect.fn("DataFolder.acquire")(function*(example: string, path: Option.Option<string>) {
  const fs = yield* FileSystem.FileSystem
  const folder = yield* Option.match(path, {
    onNone: () =>
      Effect.acquireRelease(
        fs.makeTempDirectory({ prefix: `sluice-${example}-` }),
        (folder, exit) =>
          Exit.isSuccess(exit) || Exit.hasInterrupts(exit)
            ? Effect.ignore(fs.remove(folder, { recursive: true }))
            : Effect.void
      ),
    onSome: (path) => Effect.as(makeDirectory(fs, path), path)
  }).pipe(
    Effect.mapError((error) =>
      new FolderNotUsable({ folder: Option.getOrElse(path, () => OS.tmpdir()), reason: reasonOf(error) })
    )
  )
  yield* lock(folder)
  return {
    path: folder,
    of: (service) => ({ database: Path.join(folder, `${service}.db`), log: Path.join(folder, `${service}.log`) })
  } satisfies DataFolder
})
