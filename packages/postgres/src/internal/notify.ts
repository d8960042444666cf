import type * as Naming from "@sluice/sql/adapter/Naming"
import { toSqlError } from "@sluice/sql/adapter/SqlStorageError"
import type { StorageSignals } from "@sluice/sql/adapter/StorageSignals"
import { WebCrypto } from "effect/crypto/WebCrypto"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { SqlError } from "effect/sql/SqlError"
import { createHash } from "node:crypto"
import type { Options } from "../PostgresOptions.ts"
import { Client, configOf, type KnownJournal } from "./client.ts"
import * as Notification from "./notification.ts"
import { listen, Notifier } from "./Notifier.ts"

/** How often readers look for themselves, while notifications arrive, and while they do not. */
const pollInterval = { listening: "1 second", deaf: "50 millis" } as const

/** How long until another connection is tried, after one that was lost. */
const beforeAnother = "100 millis"

/** While there is none to be had. */
const backoff = Schedule.min([Schedule.exponential(beforeAnother), Schedule.spaced("5 seconds")])

/**
 * @internal
 * Tells the other processes of what was appended, after the commit: a NOTIFY in the transaction would make all commits wait for each
 * other. What is appended soon after one notification goes with the next. Nothing depends on it but the time that
 * an event takes.
 */
export const watch = (
  options: Options,
  naming: Naming.Naming,
  journal: KnownJournal,
  signals: StorageSignals
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function*() {
    const instance = (yield* WebCrypto).randomUUID()
    const channel = channelOf(naming)
    const notifier = new Notifier(channel, instance)

    /** Listens until the connection is lost, or fails where there is none to be had. */
    const listening = Effect.callback<void, SqlError>((resume) => {
      const connection = new Client(configOf(options, "events", journal))
      let isListening = false
      const lost = (error?: unknown) => {
        void connection.end()
        resume(isListening ? Effect.void : Effect.fail(toSqlError("postgres")("listen")(error)))
      }
      connection.on("error", lost)
      connection.on("end", lost)
      connection.on("notification", ({ payload }) => receive(signals, notifier, instance, payload ?? ""))
      connection.connect().then(() => connection.query(listen(channel))).then(() => {
        isListening = true
        // whatever was appended while nobody listened
        signals.reconnected()
        notifier.connected(connection)
      }, lost)
      return Effect.promise(async () => {
        connection.removeAllListeners("end")
        await notifier.finish()
        await connection.end().catch(() => {})
      })
    }).pipe(
      Effect.onExit(() => Effect.sync(() => notifier.disconnected())),
      Effect.retry(backoff),
      Effect.andThen(Effect.sleep(beforeAnother)),
      Effect.forever
    )
    yield* Effect.forkScoped(listening)

    yield* Effect.gen(function*() {
      yield* signals.untilFollowed
      signals.signalFollowed()
      yield* Effect.sleep(notifier.isConnected ? pollInterval.listening : pollInterval.deaf)
    }).pipe(Effect.forever, Effect.forkScoped)

    signals.tellOthers((message) => notifier.tell(message))
  })

/** A name may have 63 bytes. */
const channelOf = ({ prefix, schema }: Naming.Naming): string => {
  const channel = `${schema ?? ""}${prefix}events`
  return Buffer.byteLength(channel) < 64
    ? channel
    : `sluice_${createHash("sha256").update(channel).digest("hex").slice(0, 40)}`
}

const receive = (signals: StorageSignals, notifier: Notifier, instance: string, payload: string): void => {
  const message = Notification.parse(instance, payload)
  if (message === undefined) return
  if (message.kind === "hello") {
    notifier.heard()
    return signals.signalAll()
  }
  if (message.kind === "command") return signals.commands.signal(message.projection)
  const { entityType, kind, slices } = message
  signals[kind].signal(entityType, slices.size === 0 ? undefined : slices)
}
