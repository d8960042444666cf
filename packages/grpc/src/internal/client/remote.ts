import type { EncodedElement } from "@sluice/core/Envelope"
import type { EventFilter } from "@sluice/core/EventFilter"
import { JournalForked, JournalReplaced } from "@sluice/core/Journal"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Options } from "../../ConsumerOptions.ts"
import { type ConsumerError, StreamNotOffered } from "../../GrpcError.ts"
import * as StreamMetrics from "../../StreamMetrics.ts"
import { EventReceiver } from "./EventReceiver.ts"
import { PlainReceiver } from "./PlainReceiver.ts"
import { type Connection, makeProducerClient } from "./producerClient.ts"

const initialBackoff = 200
const maximalBackoff = 10_000

/** A connection that has lasted for so long, in milliseconds, was none that failed, though no event has come. */
const lasting = 3_000

/**
 * @internal
 * The part of a provider that talks to a producer. A connection that is lost is made again, after a while that grows with each
 * failure, and then as soon as the producer can be reached.
 */
export const makeRemote = (
  streamId: string,
  options: Options,
  filter: EventFilter
): Pick<
  Source.Provider<any, ConsumerError, never>,
  "hold" | "topicPrefix" | "open" | "entity" | "written" | "heads" | "before" | "now" | "notice"
> => {
  const producer = makeProducerClient(streamId, options, filter)
  const attributes = { stream: streamId }
  const received = Metric.withAttributes(StreamMetrics.received, attributes)
  const receivedBatch = Metric.withAttributes(StreamMetrics.receivedBatch, attributes)
  const reconnects = Metric.withAttributes(StreamMetrics.reconnects, attributes)

  /** As the producer has said it last. */
  let isMissing = false

  /** Whether the producer is a replica that does not know this one, as it has said last. */
  let isStranger = false

  /** What the log says last of why no connection could be made, and after how many failures in a row: once for all who read the stream. */
  let said: { readonly message: string; readonly failures: number } | undefined

  /** Those who read the stream and have no connection. */
  const away = new Set<object>()

  /** Whether there has been a connection. */
  let wasConnected = false

  /** A replica that starts is called before its streams are offered. */
  const isReplica = options.producerReplica !== undefined

  const open: Source.Provider<any, ConsumerError, never>["open"] = Effect.fnUntraced(function*(range, start) {
    const scope = yield* Effect.scope
    const health = yield* Source.Health
    const channel = yield* producer.channel
    const logs = new EventReceiver(streamId, range, start.offsets)
    const plain = new PlainReceiver(range, start)
    const faultOf = (fault: unknown) => fault instanceof JournalForked ? fault : producer.protocolError(fault)
    let failures = 0
    let connected = start.journal !== undefined
    const clock = yield* Effect.clockWith(Effect.succeed)
    /** In milliseconds. The time of day may be set meanwhile. */
    const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
    let connectedAt = 0
    const context = yield* Effect.context()
    const self = {}
    /** Returns whether it was said that there was no connection, and all have one again. What is said later begins anew: who begins later is to hear of it, though it fails less often. */
    const isOver = (): boolean => {
      away.delete(self)
      if (away.size > 0 || said === undefined) return false
      said = undefined
      return true
    }
    yield* Effect.addFinalizer(() => Effect.sync(isOver))

    const backOff = (error: ConsumerError) =>
      Effect.flatMap(Random.nextBetween(0.8, 1.2), (jitter) => {
        const wait = Math.round(Math.min(initialBackoff * 2 ** failures++, maximalBackoff) * jitter)
        health.disrupted(Cause.fail(error))
        reconnects.updateUnsafe(1, context)
        away.add(self)
        const { message } = error
        if (said?.message === message && failures <= said.failures) return Effect.sleep(wait)
        said = { message, failures }
        return Effect.andThen(
          Effect.logWarning(`Connects to '${streamId}' at ${options.address} again in ${wait} ms: ${message}`),
          Effect.sleep(wait)
        )
      })

    /** Connects until it succeeds, or fails for good. */
    const connect = (
      journal: string | undefined
    ): Effect.Effect<Connection & { readonly close: Effect.Effect<void> }, ConsumerError> =>
      Effect.suspend(() => {
        const own = Scope.forkUnsafe(scope)
        const close = Scope.close(own, Exit.void)
        const { filter, pastDeleted, placesOnly } = start
        const onwards = { journal, offsets: logs.offsets, plain: plain.offset, pastDeleted, placesOnly, filter }
        return producer.connect(channel, range, onwards, failures > 0, () => logs.offsets).pipe(
          Scope.provide(own),
          Effect.flatMap((connection) => {
            if (failures > 0) health.restored()
            connected = true
            const again = wasConnected ? " again" : ""
            wasConnected = true
            isMissing = connection.isMissing
            connectedAt = now()
            logs.reset()
            for (const request of plain.reset(connectedAt)) connection.replay?.(request)
            const isNewStranger = connection.isStranger && !isStranger
            isStranger = connection.isStranger
            return Effect.gen(function*() {
              if (isOver()) yield* Effect.logInfo(`Is connected to '${streamId}' at ${options.address}${again}`)
              if (isNewStranger) yield* Effect.logWarning(strange(streamId, options))
              return { ...connection, close }
            })
          }),
          Effect.onError(() => close),
          Effect.catch((error) =>
            // a producer that has offered the stream before is starting, and about to do so again
            isRetryable(error) || ((connected || isReplica) && isPassing(error, failures))
              ? Effect.andThen(backOff(error), connect(journal))
              : Effect.fail(error)
          )
        )
      })

    const first = yield* connect(start.journal)
    let current: typeof first | undefined = first
    const receiver = first.journal === Source.timestamps ? plain : logs
    /** Whether it is known that the producer was the first to answer, and not a proxy. */
    let isKnown = start.journal !== undefined

    const next: Effect.Effect<Arr.NonEmptyReadonlyArray<EncodedElement>, ConsumerError> = Effect.suspend(() => {
      if (current === undefined) {
        return connect(first.journal).pipe(
          Effect.mapError((error) => error instanceof JournalReplaced && !isKnown ? producer.hasChanged : error),
          Effect.flatMap((connection) => {
            current = connection
            return next
          })
        )
      }
      const { close, pull } = current
      const receiving = receiver.fault === undefined
        ? Effect.flatMap(pull, (messages) => Effect.try({ try: () => receiver.receive(messages), catch: faultOf }))
        : Effect.fail(faultOf(receiver.fault))
      return receiving.pipe(
        Effect.flatMap((envelopes) => {
          failures = 0
          isKnown = true
          if (!Arr.isReadonlyArrayNonEmpty(envelopes)) return next
          received.updateUnsafe(envelopes.length, context)
          receivedBatch.updateUnsafe(envelopes.length, context)
          return Effect.succeed(envelopes)
        }),
        Effect.catch((error) => {
          current = undefined
          if (now() - connectedAt >= lasting) failures = 0
          return Effect.andThen(close, isRetryable(error) ? Effect.andThen(backOff(error), next) : Effect.fail(error))
        })
      )
    })
    return {
      journal: first.journal,
      supersedes: first.supersedes,
      envelopes: Stream.fromPull(Effect.succeed(next)),
      replay: first.replay && ((request) =>
        Effect.sync(() => {
          if (current?.replay === undefined) return false
          plain.replay(request, now())
          current.replay(request)
          return true
        }))
    }
  })

  return {
    // opening fails for the same reason, and says so
    hold: Effect.ignore(producer.channel),
    topicPrefix: producer.topicPrefix,
    open,
    entity: producer.entity,
    written: producer.written,
    heads: producer.heads,
    before: producer.before,
    notice: Effect.sync(() =>
      isMissing ? { message: missing(streamId, options.address), level: "Warn" as const } : undefined
    ),
    // another service's clock is not ours to read; its events say more
    now: Effect.map(Clock.currentTimeMillis, Timestamp.fromMillis)
  }
}

const missing = (streamId: string, address: string): string =>
  `The stream '${streamId}' of the producer at '${address}' has no event yet, though its journal has others: if some are expected, the ` +
  "entity type of its source is misspelt, or was renamed; the producer's log names those that there are"

const strange = (streamId: string, { address, producerReplica, replica }: Options): string =>
  `Replica '${producerReplica}' at ${address} gives this one, '${replica?.id}', the stream '${streamId}', and does not know it. What is written here does not come there: ` +
  `name '${replica?.id}' among the replicas of the entity type there as well, and consume it`

const isRetryable = (error: ConsumerError): boolean => "isRetryable" in error && error.isRetryable

/** How often in a row a producer without positions may answer in place of one that had a journal. */
const maxStrangers = 5

/** Whether the error says nothing of a producer that was one before. */
const isPassing = (error: ConsumerError, failures: number): boolean =>
  error instanceof StreamNotOffered ||
  error instanceof JournalReplaced && error.actual === Source.timestamps && failures < maxStrangers
