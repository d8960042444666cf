import * as RealTime from "@sluice/sql/adapter/RealTime"
import type { Message } from "@sluice/sql/adapter/StorageSignals"
import { createHash } from "node:crypto"
import Pg from "pg"
import * as Notification from "./notification.ts"
import { statementName } from "./statementName.ts"

/** The least time between two notifications, in milliseconds: one per commit would cost the server as much as the commits. */
const spacing = 5

/** A server that does not answer must not hold up a process that ends. In milliseconds. */
const timeout = 1000

/**
 * A notification is a commit of its own, which others wait for. So there is none where nobody else listens: whoever does holds the lock, from before it begins
 * to and as long as it has the connection, and no lock is in the way of those that the same connection holds. Whoever begins to listen after this
 * has looked for the lock looks for what is new then, and so finds what is not told here.
 */
const notify = `SELECT pg_notify($1, payload) FROM unnest($2::text[]) payload
  WHERE NOT (SELECT pg_try_advisory_xact_lock($3::bigint))`
const name = statementName("notify", notify)

/** The lock of all who listen to the channel. */
const lockOf = (channel: string): string =>
  createHash("sha256").update(`sluice listens ${channel}`).digest().readBigInt64BE().toString()

/** @internal How a connection begins to listen. */
export const listen = (channel: string): string =>
  `SELECT pg_advisory_lock_shared(${lockOf(channel)}); LISTEN ${Pg.escapeIdentifier(channel)}`

/**
 * @internal
 * The messages of this process that others have yet to be told, and the connection for that, while there is one. What comes soon after one
 * notification goes with the next. Messages may be lost with a connection: other processes also look for themselves.
 */
export class Notifier {
  readonly #channel: string
  readonly #lock: string
  readonly #pending: Notification.Pending
  #client: Pick<Pg.ClientBase, "query"> | undefined
  #isSending = false

  constructor(channel: string, instance: string) {
    this.#channel = channel
    this.#lock = lockOf(channel)
    this.#pending = new Notification.Pending(instance)
  }

  get isConnected(): boolean {
    return this.#client !== undefined
  }

  /** Tells other processes, as soon as there is a connection. */
  tell(message: Message): void {
    this.#pending.add(message)
    void this.#send()
  }

  connected(client: Pick<Pg.ClientBase, "query">): void {
    this.#client = client
    void this.#send()
  }

  disconnected(): void {
    this.#client = undefined
  }

  /** Sends what there still is, and then nothing more on this connection. */
  async finish(): Promise<void> {
    const last = this.#flush()
    this.disconnected()
    await last.catch(() => {})
  }

  /** Sends while there is something to send. That is checked in the very moment in which it ends, so that nothing is left behind. */
  async #send(): Promise<void> {
    if (this.#isSending) return
    this.#isSending = true
    while (this.#hasWork) {
      const client = this.#client
      try {
        await this.#flush()
      } catch {
        // the connection itself reports its loss; there may be another one by now
        if (this.#client === client) break
      }
      await RealTime.sleep(spacing)
    }
    this.#isSending = false
  }

  get #hasWork(): boolean {
    return this.#client !== undefined && !this.#pending.isEmpty
  }

  async #flush(): Promise<void> {
    if (this.#client === undefined || !this.#hasWork) return
    await this.#client.query({
      name,
      text: notify,
      values: [this.#channel, this.#pending.take(), this.#lock],
      query_timeout: timeout
    } as Pg.QueryConfig)
  }
}
