import type * as Naming from "@sluice/sql/adapter/Naming"
import * as RealTime from "@sluice/sql/adapter/RealTime"
import { toSqlError } from "@sluice/sql/adapter/SqlStorageError"
import type { StorageSignals } from "@sluice/sql/adapter/StorageSignals"
import { WebCrypto } from "effect/crypto/WebCrypto"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { createHash } from "node:crypto"
import Pg from "pg"
import type { Options } from "../PostgresOptions.ts"
import { Client, configOf } from "./client.ts"
import * as Notification from "./notification.ts"
import { statementName } from "./statementName.ts"

/** The least time between two notifications, in milliseconds: one per commit would cost the server as much as the commits. */
const spacing = 5
/** How often readers look for themselves, while notifications arrive, and while they do not. */
const pollInterval = { listening: "1 second", deaf: "50 millis" } as const

/**
 * @internal
 * Tells the other processes of what was appended, after the commit: a NOTIFY in the transaction would make all commits wait for each
 * other. What is appended soon after one notification goes with the next. Nothing depends on it but the time that
 * an event takes.
 */
export const watch = (
  options: Options,
  naming: Naming.Naming,
  signals: StorageSignals
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function*() {
    const instance = (yield* WebCrypto).randomUUID()
    const channel = channelOf(naming)
    const pending = new Notification.Pending(instance)
    let client: Pg.Client | undefined
    let isSending = false

    /** Sends what there is, if there is any. */
    const flush = async (): Promise<boolean> => {
      if (client === undefined || pending.isEmpty) return false
      const payloads = pending.take()
      await client.query({
        name: statementName("notify", notify),
        text: notify,
        values: [channel, payloads],
        // a server that does not answer holds up nobody who leaves
        query_timeout: 1000
      } as Pg.QueryConfig)
      return true
    }
    const send = async (): Promise<void> => {
      if (isSending) return
      isSending = true
      try {
        while (await flush()) await RealTime.sleep(spacing)
      } catch {
        // the connection says so itself, and the others look for themselves meanwhile
      } finally {
        isSending = false
      }
    }

    /** Listens until the connection is lost. */
    const listen = Effect.callback<never, unknown>((resume) => {
      const connection = new Client(configOf(options, "events"))
      const lost = (error?: unknown) => {
        void connection.end()
        resume(Effect.fail(toSqlError("postgres")("listen")(error)))
      }
      connection.on("error", lost)
      connection.on("end", lost)
      connection.on("notification", ({ payload }) => receive(signals, instance, payload ?? ""))
      connection.connect().then(() => connection.query(`LISTEN ${Pg.escapeIdentifier(channel)}`)).then(() => {
        client = connection
        // whatever was appended while nobody listened
        signals.reconnected()
        void send()
      }, lost)
      return Effect.promise(async () => {
        connection.removeAllListeners("end")
        const last = flush()
        client = undefined
        await last.catch(() => {})
        await connection.end().catch(() => {})
      })
    }).pipe(
      Effect.onExit(() =>
        Effect.sync(() => {
          client = undefined
        })
      ),
      Effect.retry(Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("5 seconds")]))
    )
    yield* Effect.forkScoped(listen)

    yield* Effect.gen(function*() {
      yield* signals.followed
      signals.signalFollowed()
      yield* Effect.sleep(client === undefined ? pollInterval.deaf : pollInterval.listening)
    }).pipe(Effect.forever, Effect.forkScoped)

    signals.tellOthers((message) => {
      pending.add(message)
      void send()
    })
  })

const notify = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) payload"

/** A name may have 63 bytes. */
const channelOf = ({ prefix, schema }: Naming.Naming): string => {
  const channel = `${schema ?? ""}${prefix}events`
  return Buffer.byteLength(channel) < 64
    ? channel
    : `sluice_${createHash("sha256").update(channel).digest("hex").slice(0, 40)}`
}

const receive = (signals: StorageSignals, instance: string, payload: string): void => {
  const message = Notification.parse(instance, payload)
  if (message === undefined) return
  if (message.kind === "command") return signals.commands.signal(message.projection)
  const { entityType, kind, slices } = message
  signals[kind].signal(entityType, slices.size === 0 ? undefined : slices)
}
