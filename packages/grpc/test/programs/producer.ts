/**
 * Offers a stream of so many events of so many bytes, which are made when they are read, and then none. The first line that it prints
 * is its port. Each line on standard input is answered with what it has done, and the memory that it takes.
 *
 * usage: producer EVENTS BYTES
 */
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventStream from "@sluice/core/EventStream"
import * as Offset from "@sluice/core/Offset"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Slice from "@sluice/core/Slice"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import { createInterface } from "node:readline"

const [count, size] = process.argv.slice(2).map(Number) as [number, number]

/** What a producer says of itself. */
export interface Report {
  /** The memory of the process, in bytes. */
  readonly rss: number
  /** What of it is in use. */
  readonly live: number
  /** How many events have been made. */
  readonly made: number
  /** How many consumers have the stream open. */
  readonly open: number
}

const state = { made: 0, open: 0 }
const payload = EventCodec.string.encodeUnsafe("x".repeat(size))
const entities = Array.from({ length: 1000 }, (_, i) => {
  const persistenceId = PersistenceId.make("Cart", `entity-${i * 7919}`)
  return { persistenceId, slice: Slice.ofPersistenceId(persistenceId) }
})

const open = (positions: Map<number, number>): Stream.Stream<EncodedEnvelope> => {
  let n = 0
  const next = Effect.suspend((): Effect.Effect<NonEmptyReadonlyArray<EncodedEnvelope>> => {
    if (n >= count) return Effect.never
    const chunk: Array<any> = []
    while (n < count && chunk.length < 500) {
      const entity = entities[n++ % entities.length]!
      const position = (positions.get(entity.slice) ?? 0) + 1
      positions.set(entity.slice, position)
      chunk.push({
        ...entity,
        sequenceNumber: Math.ceil(n / entities.length),
        position,
        timestamp: 1_795_414_260_246_181 + n,
        tags: [],
        metadata: {},
        payload
      })
    }
    state.made += chunk.length
    return Effect.as(Effect.yieldNow, chunk as any)
  })
  return Stream.fromPull(Effect.succeed(next))
}

const source = Source.make<string, never, never>({
  key: "test",
  description: "test",
  entityType: "Cart",
  codec: EventCodec.string,
  open: () =>
    Effect.map(
      Effect.acquireRelease(Effect.sync(() => state.open++), () => Effect.sync(() => state.open--)),
      () => ({ journal: "test-journal", envelopes: open(new Map()) })
    ),
  entity: () => Stream.empty,
  heads: () => Effect.succeed(Offset.none),
  before: () => Effect.succeed(Offset.none),
  now: Effect.succeed(Timestamp.make(0))
})

const announced = Layer.effectDiscard(
  GrpcServer.GrpcServer.useSync(({ port }) => {
    process.stdout.write(`${port}\n`)
    createInterface({ input: process.stdin }).on("line", () => {
      globalThis.gc?.()
      const { arrayBuffers, heapUsed, rss } = process.memoryUsage()
      const report: Report = { rss, live: heapUsed + arrayBuffers, ...state }
      process.stdout.write(`${JSON.stringify(report)}\n`)
    })
  })
)

process.stdin.on("end", () => process.exit(0))
Effect.runFork(
  Layer.launch(
    Layer.mergeAll(
      EventProducer.layer(EventStream.make("events", { codec: EventCodec.string }), source),
      announced
    ).pipe(Layer.provide(GrpcServer.layer({ port: 0 })))
  ).pipe(
    // the parent reads the other one
    Effect.provideService(References.LogToStderr, true)
  )
)
