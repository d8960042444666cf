import type { MessageShape } from "@bufbuild/protobuf"
import { create } from "@bufbuild/protobuf"
import { StringValueSchema } from "@bufbuild/protobuf/wkt"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventStream from "@sluice/core/EventStream"
import * as Journal from "@sluice/core/Journal"
import * as Source from "@sluice/core/Source"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import * as ProtobufCodec from "@sluice/grpc/ProtobufCodec"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import Sqlite from "better-sqlite3"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Path from "node:path"
import * as Python from "./interop/python/Python.ts"
import * as Service from "./kit/Service.ts"

class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String, quantity: Schema.Int }) {}
class CouponTried extends Schema.TaggedClass<CouponTried>()("CouponTried", { code: Schema.String }) {}

const Cart = EntityType.make("cart", { event: Schema.Union([ItemAdded, CouponTried]) })
const Note = EntityType.make("note", { codec: EventCodec.string })
const labels: EventCodec.EventCodec<MessageShape<typeof StringValueSchema>> = ProtobufCodec.make([StringValueSchema])
const Label = EntityType.make("label", { codec: labels })
const label = (value: string) => create(StringValueSchema, { value })

/** Coupons are not for others. */
const streams = Layer.mergeAll(
  EventProducer.layer(
    EventStream.make("carts", { event: ItemAdded }),
    Source.journal(Cart).pipe(
      Source.filterMap(({ event }) => event._tag === "ItemAdded" ? Option.some(event) : Option.none())
    )
  ),
  EventProducer.layer(EventStream.make("notes", { codec: Note.codec }), Source.journal(Note)),
  EventProducer.layer(EventStream.make("labels", { codec: labels }), Source.journal(Label))
)

const kinds = [["carts", Cart], ["notes", Note], ["labels", Label]] as const

const texts = ["", "plain", "thé 🍵 茶", "\u0000 \u2028 \"quoted\"", "x".repeat(100_000)] as const

/** The first events of an entity, or its next ones. */
const append = (type: typeof kinds[number][1], id: string) => {
  switch (type) {
    case Cart:
      return Journal.append(Cart, {
        id,
        events: [
          new ItemAdded({ sku: "thé 🍵", quantity: 2 }),
          new CouponTried({ code: "SPRING" }),
          new ItemAdded({ sku: id, quantity: -1 })
        ],
        tags: (event) => event._tag === "ItemAdded" ? ["added", "t:thé", event.sku] : ["hidden"],
        metadata: { "correlation-id": `c-${id}`, naïve: "ja" }
      })
    case Note:
      return Journal.append(Note, { id, events: texts })
    default:
      return Journal.append(Label, { id, events: [label("first"), label(""), label("thé 🍵")], tags: ["label"] })
  }
}

const backlog = Effect.forEach(
  ["a", "b", "c|d", "é 🛒"],
  (id) => Effect.forEach(kinds, ([, type]) => append(type, id))
)

/** A row of the journal, read without any code of ours. */
interface Row {
  readonly persistence_id: string
  readonly sequence_number: number
  readonly slice: number
  readonly position: number
  readonly timestamp: number
  readonly manifest: string
  readonly payload: Buffer
  readonly tags: string | null
  readonly metadata: string | null
}

/** What the consumer makes of a message. */
interface Received {
  readonly case: "event" | "filtered_event"
  readonly persistence_id: string
  readonly seq_nr: number
  readonly slice: number
  readonly position: number
  readonly timestamp: number
  readonly seen: Readonly<Record<string, number>>
  readonly source: string
  readonly tags?: ReadonlyArray<string>
  readonly metadata?: Readonly<Record<string, string>>
  readonly type_url?: string
  readonly bytes?: string
  readonly decoded?: unknown
}

const isPublic = ({ manifest }: Row): boolean => manifest !== "json.sluice/CouponTried"

/** The event that the bytes of a row are. */
const eventOf = ({ manifest, payload }: Row): unknown => {
  if (manifest.startsWith("json.sluice/")) return JSON.parse(payload.toString())
  if (manifest === "ser.akka.io/20") return payload.toString()
  assert.strictEqual(manifest, "type.googleapis.com/google.protobuf.StringValue")
  return labels.decodeUnsafe({ manifest, bytes: payload }).value
}

/** What a consumer is to make of a row, or, as a reminder, of a row that it should have seen. */
const expected = (row: Row, as: "event" | "reminder" = "event"): Received => {
  const place = {
    persistence_id: row.persistence_id,
    seq_nr: row.sequence_number,
    slice: row.slice,
    position: row.position,
    timestamp: row.timestamp,
    seen: { [row.persistence_id]: row.sequence_number }
  }
  if (!isPublic(row)) return { case: "filtered_event", ...place, source: "" }
  const tags = row.tags === null ? [] : JSON.parse(row.tags) as ReadonlyArray<string>
  if (as === "reminder") return { case: "event", ...place, source: "BT", tags }
  return {
    case: "event",
    ...place,
    source: "",
    tags,
    ...(row.metadata !== null && { metadata: JSON.parse(row.metadata) }),
    type_url: row.manifest,
    bytes: row.payload.toString("hex"),
    decoded: eventOf(row)
  }
}

const base64 = (text: Buffer | string): string => Buffer.from(text).toString("base64")

/** A row as a client makes JSON of it that knows no more than what reflection tells: a field that is zero or empty is not there. */
const asReflected = (row: Row) => {
  const nanos = row.timestamp % 1_000_000 * 1000
  const seen = { persistence_id: row.persistence_id, seq_nr: row.sequence_number }
  const place = {
    ...seen,
    slice: row.slice,
    offset: [{
      timestamp: { seconds: Math.floor(row.timestamp / 1_000_000), ...(nanos > 0 && { nanos }) },
      seen: [seen]
    }],
    sluice_position: row.position
  }
  return isPublic(row)
    ? {
      event: {
        ...place,
        payload: { type_url: row.manifest, ...(row.payload.length > 0 && { value: base64(row.payload) }) },
        ...(row.tags !== null && { tags: JSON.parse(row.tags) }),
        ...(row.metadata !== null && { metadata: { type_url: "json.sluice/metadata", value: base64(row.metadata) } })
      }
    }
    : { filtered_event: place }
}

/** Slices come side by side, the events of each in the order of their positions. */
const bySlice = <A extends { readonly slice: number }>(events: ReadonlyArray<A>) => Map.groupBy(events, (_) => _.slice)

const parsed = ({ lines }: Python.Running) => lines.map((line): Received => JSON.parse(line))

/** A producer that can be stopped, the backlog in its journal, which is a file. */
const makeProducer = Effect.gen(function*() {
  const filename = Path.join(yield* Service.temporaryFolder, "journal.db")
  const scope = yield* Scope.fork(yield* Effect.scope)
  const services = Layer.mergeAll(GrpcServer.layer({ port: 0 }), SqliteStorage.layer({ filename }))
  const context = yield* Layer.buildWithScope(Layer.provideMerge(streams, services), scope)
  const write = <A, E>(effect: Effect.Effect<A, E, Journal.Journal>) => Effect.provideContext(effect, context)
  yield* write(backlog)
  return {
    port: Context.get(context, GrpcServer.GrpcServer).port,
    write,
    rows: ({ name }: { readonly name: string }): ReadonlyArray<Row> => {
      const database = new Sqlite(filename, { readonly: true })
      try {
        return database.prepare<[string], Row>(
          "SELECT * FROM sluice_journal WHERE entity_type = ? ORDER BY slice, position"
        ).all(name)
      } finally {
        database.close()
      }
    },
    stop: Scope.close(scope, Exit.void)
  }
})

const python = await Python.prepare()
const skipped = "missing" in python ? ` (skipped: ${python.missing})` : ""
if (skipped !== "") console.warn(`Python's grpcio${skipped}`)
const run = (script: string, ...args: ReadonlyArray<string | number>) =>
  Python.run(python as Python.Python, script, ...args.map(String))

const service = "akka.projection.grpc.EventProducerService"

const consume = (port: number, stream: string, offsets: ReadonlyArray<object> = []) =>
  run("consumer.py", port, "consume", stream, JSON.stringify(offsets))

const notFound = (id: string, n: number) => ({ status: "NOT_FOUND", details: `there is no event ${n} of '${id}'` })

/** Everything, of every slice in order. */
const assertReceived = (consumer: Python.Running, rows: ReadonlyArray<Received>) =>
  Effect.gen(function*() {
    yield* consumer.printed(rows.length)
    assert.deepStrictEqual(bySlice(parsed(consumer)), bySlice(rows))
  })

afterAll(() => "missing" in python || python.dispose())

describe.skipIf(skipped !== "")(`Python's grpcio${skipped}`, () => {
  it.live("reads streams of JSON, strings and protobuf from the beginning, and what is appended meanwhile", () =>
    Effect.gen(function*() {
      const { port, rows, write } = yield* makeProducer
      const consumers = yield* Effect.forEach(kinds, ([stream]) => consume(port, stream))
      for (const [i, [, type]] of kinds.entries()) {
        yield* assertReceived(consumers[i]!, rows(type).map((row) => expected(row)))
      }
      yield* write(Effect.gen(function*() {
        yield* Journal.append(Cart, { id: "new", events: [new CouponTried({ code: "x" })] })
        yield* Journal.append(Cart, { id: "a", events: [new ItemAdded({ sku: "live", quantity: 1 })], tags: ["live"] })
        yield* Journal.append(Note, { id: "a", events: ["live", "too"] })
        yield* Journal.append(Label, { id: "new", events: [label("live")] })
      }))
      for (const [i, [, type]] of kinds.entries()) {
        yield* assertReceived(consumers[i]!, rows(type).map((row) => expected(row)))
      }
      const carts = parsed(consumers[0])
      assert.deepStrictEqual(carts.map((received) => received.case).toSorted(), [
        ...Array<string>(9).fill("event"),
        ...Array<string>(5).fill("filtered_event")
      ])
    }))

  it.live("goes on from the offset that it got, reminded of what it should have seen before", () =>
    Effect.gen(function*() {
      const { port, rows, write } = yield* makeProducer
      for (const [stream, type] of kinds) {
        const before = rows(type)
        const last = yield* Effect.scoped(Effect.gen(function*() {
          const consumer = yield* consume(port, stream)
          yield* consumer.printed(before.length)
          return parsed(consumer).reduce((a, b) => a.timestamp > b.timestamp ? a : b)
        }))
        yield* write(append(type, "a"))
        yield* write(append(type, "later"))
        const { seen, timestamp } = last
        const consumer = yield* consume(port, stream, [{ timestamp, seen }])
        yield* assertReceived(
          consumer,
          rows(type).filter((row) => row.timestamp !== timestamp).map((row) =>
            expected(row, row.timestamp < timestamp ? "reminder" : "event")
          )
        )
      }
    }))

  it.live("goes on from an offset for each slice, without what it has seen", () =>
    Effect.gen(function*() {
      const { port, rows, write } = yield* makeProducer
      const before = rows(Note)
      const offsets = yield* Effect.scoped(Effect.gen(function*() {
        const consumer = yield* consume(port, "notes")
        yield* consumer.printed(before.length)
        return Array.from(bySlice(parsed(consumer)), ([slice, events]) => {
          const { seen, timestamp } = events.at(-1)!
          return { slice, seen, timestamp }
        })
      }))
      yield* write(append(Note, "a"))
      yield* write(append(Note, "later"))
      const consumer = yield* consume(port, "notes", offsets)
      const newest = Math.max(...before.map((row) => row.timestamp))
      yield* assertReceived(
        consumer,
        rows(Note).filter((row) => row.timestamp > newest).map((row) => expected(row))
      )
    }))

  it.live("loads single events, and asks when they were written", () =>
    Effect.gen(function*() {
      const { port, rows } = yield* makeProducer
      for (const [stream, type] of kinds) {
        const all = rows(type)
        const missing = [`${type.name}|nobody`, 1, all[0]!.persistence_id, 99]
        const keys = [...all.flatMap((row) => [row.persistence_id, row.sequence_number]), ...missing]
        const load = yield* run("consumer.py", port, "load", stream, ...keys)
        const timestamp = yield* run("consumer.py", port, "timestamp", stream, ...keys)
        yield* load.ended
        yield* timestamp.ended
        assert.deepStrictEqual(load.lines.map((line) => JSON.parse(line)), [
          ...all.map((row) => expected(row)),
          notFound(`${type.name}|nobody`, 1),
          notFound(all[0]!.persistence_id, 99)
        ])
        assert.deepStrictEqual(timestamp.lines.map((line) => JSON.parse(line).timestamp), [
          ...all.map((row) => row.timestamp),
          null,
          null
        ])
      }
    }))

  it.live("knows nothing, asks by reflection what there is, and reads a stream of it", () =>
    Effect.gen(function*() {
      const { port, rows, write } = yield* makeProducer
      for (const [stream, type] of kinds) {
        const request = { init: { stream_id: stream, slice_max: 1023 } }
        const stranger = yield* run("stranger.py", port, JSON.stringify(request))
        yield* stranger.printed(1 + rows(type).length)
        yield* write(append(type, "later"))
        yield* stranger.printed(1 + rows(type).length)
        const [methods, ...messages] = stranger.lines.map((line) => JSON.parse(line))
        assert.deepStrictEqual(methods, [
          `${service}/EventsBySlices`,
          `${service}/EventTimestamp`,
          `${service}/LoadEvent`,
          `${service}/LatestEventTimestamp`,
          `${service}/CurrentEventsByPersistenceId`,
          "grpc.health.v1.Health/Check",
          "grpc.health.v1.Health/List",
          "grpc.health.v1.Health/Watch"
        ])
        const sliceOf = (message: ReturnType<typeof asReflected>) => Object.values(message)[0]!.slice
        assert.deepStrictEqual(
          Map.groupBy(messages, sliceOf),
          Map.groupBy(rows(type).map(asReflected), sliceOf)
        )
      }
    }))

  it.live("sees the server's health, is told when it stops, and to come again", () =>
    Effect.gen(function*() {
      const { port, stop } = yield* makeProducer
      const watching = [yield* run("health.py", port, ""), yield* run("health.py", port, service)]
      const consumer = yield* consume(port, "notes")
      const unknown = yield* run("health.py", port, "nobody")
      for (const each of watching) yield* each.printed(2)
      yield* consumer.printed(1)
      yield* unknown.ended
      yield* stop
      for (const each of [...watching, consumer]) yield* each.ended
      for (const { lines } of watching) {
        assert.deepStrictEqual(lines, ["check SERVING", "watch SERVING", "watch NOT_SERVING", "end UNAVAILABLE"])
      }
      assert.deepStrictEqual(JSON.parse(consumer.lines.at(-1)!), {
        status: "UNAVAILABLE",
        details: "the producer is shutting down"
      })
      assert.deepStrictEqual(unknown.lines, ["end NOT_FOUND"])
    }))
})
