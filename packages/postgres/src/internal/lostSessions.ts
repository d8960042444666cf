import * as RealTime from "@sluice/sql/adapter/RealTime"
import type Pg from "pg"
import type { SessionId } from "./client.ts"

/** How long to wait for the end of a session, in milliseconds. */
const patience = 5_000
const interval = 10

/**
 * @internal
 * Sessions whose connection was lost while they appended. The network may deliver an append minutes later, and such a
 * session would execute it. So each of them is ended before the append is sent again.
 */
export class LostSessions {
  private readonly sessions = new Map<string, SessionId>()

  add(session: SessionId): void {
    this.sessions.set(keyOf(session), session)
  }

  /**
   * Ends the sessions, and waits until they have ended. If one does not end in time, this fails like a lost connection.
   */
  async end(client: Pg.ClientBase): Promise<void> {
    const known = [...this.sessions.values()]
    if (known.length === 0) return
    const deadline = RealTime.now() + patience
    const values = [known.map((session) => session.process), known.map((session) => session.began)]
    while ((await client.query(statement, values)).rows.length > 0) {
      if (RealTime.now() > deadline) {
        throw Object.assign(new Error("a session that may still append does not end"), {
          severity: "ERROR",
          code: "08007"
        })
      }
      await RealTime.sleep(interval)
    }
    for (const session of known) this.sessions.delete(keyOf(session))
  }
}

const keyOf = ({ began, process }: SessionId): string => `${process} ${began}`

const statement = `SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a
  JOIN unnest($1::int[], $2::text[]) s(process, began) ON a.pid = s.process
    AND (EXTRACT(epoch FROM a.backend_start) * 1000000)::bigint::text = s.began`
