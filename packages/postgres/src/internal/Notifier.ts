import * as RealTime from "@sluice/sql/adapter/RealTime"
import type { Message } from "@sluice/sql/adapter/StorageSignals"
import { createHash } from "node:crypto"
import Pg from "pg"
import * as Notification from "./notification.ts"
import { statementName } from "./statementName.ts"

/** The least time between two notifications, in milliseconds: one per commit would cost the server as much as the commits. */
const spacing = 5

/** Before a greeting is tried again, in milliseconds. */
const beforeRetry = 100

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
 *
 * A process that is alone tells nothing until somebody says hello, which everybody does who begins to listen. It says hello itself then: who hears that looks for
 * everything that is new, and what comes later is told.
 */
export class Notifier {
  readonly #channel: string
  readonly #lock: string
  readonly #pending: Notification.Pending
  readonly #hello: string
  #client: Pick<Pg.ClientBase, "query"> | undefined
  #isSending = false
  #isToGreet = false
  #isAlone = false
  /** How often somebody has said hello. */
  #heard = 0

  constructor(channel: string, instance: string) {
    this.#channel = channel
    this.#lock = lockOf(channel)
    this.#pending = new Notification.Pending(instance)
    this.#hello = Notification.hello(instance)
  }

  get isConnected(): boolean {
    return this.#client !== undefined
  }

  /** Whether nobody else listens: whoever begins to says hello. */
  get isAlone(): boolean {
    return this.#isAlone
  }

  /** Tells other processes, as soon as there is a connection. */
  tell(message: Message): void {
    if (this.#isAlone) return
    this.#pending.add(message)
    void this.#send()
  }

  /** Says hello to others, who may believe to be alone. */
  connected(client: Pick<Pg.ClientBase, "query">): void {
    this.#client = client
    this.#greet()
  }

  disconnected(): void {
    this.#client = undefined
    this.#isAlone = false
  }

  /** Somebody has said hello, and knows nothing of what was kept from them until now: they look for it when they are greeted. */
  heard(): void {
    this.#heard++
    if (!this.#isAlone) return
    this.#isAlone = false
    this.#greet()
  }

  #greet(): void {
    this.#isToGreet = true
    void this.#send()
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
        if (this.#client === client && !this.#isToGreet) break
        // nobody else would say it, where it was only refused
        await RealTime.sleep(beforeRetry)
      }
      await RealTime.sleep(spacing)
    }
    this.#isSending = false
  }

  get #hasWork(): boolean {
    return this.#client !== undefined && (this.#isToGreet || !this.#pending.isEmpty)
  }

  async #flush(): Promise<void> {
    const client = this.#client
    if (client === undefined || !this.#hasWork) return
    const heard = this.#heard
    const greeting = this.#isToGreet ? [this.#hello] : []
    const { rowCount } = await client.query({
      name,
      text: notify,
      values: [this.#channel, [...greeting, ...this.#pending.take()], this.#lock],
      query_timeout: timeout
    } as Pg.QueryConfig)
    if (this.#client !== client) return
    if (greeting.length > 0) this.#isToGreet = false
    // nobody was told, and nobody has come since that was asked
    this.#isAlone = rowCount === 0 && this.#heard === heard
  }
}
