/** Queries of a server, as the JVM side sees it: by psql. */
import type * as TestServer from "@sluice/testing/TestServer"
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"

const separator = "\u0001"

/** The rows as texts; none for a table that nobody has made yet. */
export const query = (server: TestServer.TestServer, sql: string) =>
  Effect.callback<ReadonlyArray<ReadonlyArray<string>>>((resume) => {
    const args = ["-h", server.host, "-p", `${server.port}`, "-U", server.user, "-d", server.database, "-AtX", "-F"]
    execFile("psql", [...args, separator, "-c", sql], { maxBuffer: 2 ** 30 }, (error, stdout) =>
      // before the peer has made its table
      resume(
        Effect.succeed(
          error === null && stdout !== "" ? stdout.trimEnd().split("\n").map((_) => _.split(separator)) : []
        )
      ))
  })
