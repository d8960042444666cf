/** Adapters that are broken on purpose: what watches the real ones has to notice. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Proxy from "./Proxy.ts"
import * as Server from "./Server.ts"
import * as Target from "./Target.ts"

/**
 * Makes a journal whose appends take no locks, and returns its URL. Without `uniquePositions` the table takes a position twice, as that of a
 * store does which gives out numbers and trusts that all is well.
 */
export const withoutLocks = (
  server: Server.Server,
  space: string,
  { uniquePositions }: { readonly uniquePositions: boolean }
): Effect.Effect<string, unknown, Scope.Scope> =>
  Effect.gen(function*() {
    yield* Effect.scoped(Target.open({ adapter: server.adapter, url: server.url(), space }))
    const journal = Server.table(server.adapter, space, "journal")
    if (server.adapter === "postgres") {
      const [row] = yield* server.run(`SELECT pg_get_functiondef('${space}.sluice_append_events'::regproc) AS text`)
      const text: string = row.text
      const mutant = text
        .replace("PERFORM pg_advisory_xact_lock(p_lock, p_slice[i])", "PERFORM 1")
        .replace("pg_try_advisory_xact_lock(p_lock, p_slice[i])", "true")
      if (mutant.includes("advisory")) {
        return yield* Effect.die(new Error("the function takes its locks in another way"))
      }
      yield* server.run(mutant)
      if (!uniquePositions) {
        yield* server.run(
          `DROP INDEX ${space}.sluice_journal_log`,
          `CREATE INDEX sluice_journal_log ON ${journal} (entity_type, slice, position)`
        )
      }
      return server.url()
    }
    if (!uniquePositions) {
      yield* server.run(
        `ALTER TABLE ${journal} DROP INDEX ${space}_journal_log,
          ADD INDEX ${space}_journal_log (entity_type, slice, position)`
      )
    }
    const proxy = yield* Proxy.start(server.port)
    yield* proxy.rule(({ bytes, from }) => {
      if (from === "server" || !bytes.includes("FOR UPDATE")) return bytes
      // as long as it was, or the packet would not be one
      return Buffer.from(
        bytes.toString("latin1").replace(/FOR UPDATE (SKIP LOCKED)?/g, (text) => " ".repeat(text.length)),
        "latin1"
      )
    })
    return server.url({ port: proxy.port })
  })
