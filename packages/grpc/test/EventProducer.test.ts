import { create, toBinary } from "@bufbuild/protobuf"
import { assert, layer } from "@effect/vitest"
import { compressionAlgorithms, status } from "@grpc/grpc-js"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventStream from "@sluice/core/EventStream"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Offset from "@sluice/core/Offset"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import { StorageError } from "@sluice/core/StorageError"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { StreamInSchema } from "../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import { toTimestampMessage } from "../src/internal/wire/messages.ts"
import { protocolVersion } from "../src/internal/wire/protocolVersion.ts"
import { remote } from "./kit/Consumer.ts"
import * as FakeSource from "./kit/FakeSource.ts"
import * as Http2Client from "./kit/Http2Client.ts"
import * as Producer from "./kit/Producer.ts"
import { append, appendAsEntity, at, Cart, CartEvents, carts, logging, serve } from "./kit/Producer.ts"
import * as RawClient from "./kit/RawClient.ts"
import { answered, ended, eventsBySlices, placeOf, type Request, shortly } from "./kit/RawClient.ts"

type Init = NonNullable<Extract<Request, { case: "init" }>["value"]>

const init = (change: Partial<Init> = {}): Request =>
  ({ case: "init", value: { streamId: "cart", sliceMin: 0, sliceMax: 1023, ...change } }) as Request

const initBytes = Buffer.from(toBinary(StreamInSchema, create(StreamInSchema, { message: init() })))

const offset = (microseconds: number, seen: Record<string, number> = {}) => ({
  timestamp: toTimestampMessage(microseconds as any),
  seen: Object.entries(seen).map(([id, seqNr]) => ({ persistenceId: `Cart|${id}`, seqNr: BigInt(seqNr) }))
})

/** A call to a server of the carts. */
const call = (port: number, ...requests: ReadonlyArray<Request>) =>
  Effect.gen(function*() {
    const call = yield* eventsBySlices(yield* RawClient.client(port))
    requests.forEach(call.send)
    return call
  })

/** What a call is answered up to an event that is appended after all others. */
const upToMarker = (port: number, request: Request) =>
  Effect.gen(function*() {
    const answers = yield* call(port, request)
    yield* Wait.until("headers", () => answers.headers !== undefined || answers.status !== undefined)
    yield* append("marker", ["marker"])
    const messages = () => answers.messages.flatMap(RawClient.messagesOf)
    yield* Wait.until(
      "the marker",
      () => answers.status !== undefined || messages().some((message) => shortly(message).endsWith(" marker"))
    )
    assert.isUndefined(answers.status)
    return messages().filter((message) => !shortly(message).startsWith("marker"))
  })

/** An entity for each of the slices 0 to 1023. */
const idInSlice = (() => {
  const ids: Array<string> = []
  for (let i = 0, n = 0; n < 1024; i++) {
    const slice = Producer.sliceOf(`s${i}`)
    if (ids[slice] === undefined) {
      ids[slice] = `s${i}`
      n++
    }
  }
  return (slice: number) => ids[slice]!
})()

layer(Producer.quiet, { excludeTestServices: true })("EventsBySlices", (it) => {
  it.effect.each<[string, Request, number, string]>([
    [
      "an unknown stream",
      init({ streamId: "orders" }),
      status.NOT_FOUND,
      "Stream id [orders] is not available for consumption; on offer: [cart]"
    ],
    [
      "a stream without a name",
      init({ streamId: "" }),
      status.NOT_FOUND,
      "Stream id [] is not available for consumption; on offer: [cart]"
    ],
    [
      "a stream whose name has a megabyte",
      init({ streamId: "🛒".repeat(2 ** 18) }),
      status.NOT_FOUND,
      `Stream id [${"🛒".repeat(100)}…] is not available for consumption; on offer: [cart]`
    ],
    [
      "a slice below 0",
      init({ sliceMin: -1, sliceMax: 5 }),
      status.INVALID_ARGUMENT,
      "slice range: -1 is no slice: an integer from 0 to 1023"
    ],
    [
      "a slice above 1023",
      init({ sliceMax: 1024 }),
      status.INVALID_ARGUMENT,
      "slice range: 1024 is no slice: an integer from 0 to 1023"
    ],
    [
      "a range that ends before it begins",
      init({ sliceMin: 7, sliceMax: 6 }),
      status.INVALID_ARGUMENT,
      "slice range: 7-6 is no range of slices: its first is above its last"
    ],
    [
      "a filter first",
      { case: "filter", value: {} },
      status.INVALID_ARGUMENT,
      "the first message has to be init, not filter"
    ],
    [
      "a replay request first",
      { case: "replay", value: {} },
      status.INVALID_ARGUMENT,
      "the first message has to be init, not replay"
    ],
    ["an ack first", { case: "ack", value: {} }, status.INVALID_ARGUMENT, "the first message has to be init, not ack"],
    [
      "an offset before the epoch",
      init({ offset: [{ timestamp: { seconds: -1n } }] }),
      status.INVALID_ARGUMENT,
      "offset: -1000000 is no timestamp: a safe integer from 0"
    ],
    ...[-1, 2_000_000_000].map((nanos): [string, Request, number, string] => [
      `an offset of ${nanos} nanoseconds`,
      init({ offset: [{ timestamp: { seconds: 1n, nanos } }] }),
      status.INVALID_ARGUMENT,
      `offset: ${nanos} nanoseconds, which are not between 0 and 999999999`
    ]),
    ...[-1, 5000].map((slice): [string, Request, number, string] => [
      `an offset of slice ${slice}`,
      init({ offset: [{ timestamp: { seconds: 1n }, slice }] }),
      status.INVALID_ARGUMENT,
      `offset: ${slice} is no slice: an integer from 0 to 1023`
    ]),
    [
      "an offset that no number holds",
      init({ offset: [{ timestamp: { seconds: 2n ** 62n } }] }),
      status.INVALID_ARGUMENT,
      `offset: ${2n ** 62n} is no safe integer`
    ],
    [
      "a sequence number that no number holds",
      init({ offset: [{ seen: [{ persistenceId: "Cart|a", seqNr: 2n ** 53n }] }] }),
      status.INVALID_ARGUMENT,
      `offset: ${2n ** 53n} is no safe integer`
    ],
    [
      "a position in no slice",
      init({ sluice: { protocol: protocolVersion, positions: [{ slice: 1024, position: 1n, timestamp: 1n }] } }),
      status.INVALID_ARGUMENT,
      "offset: 1024 is no slice: an integer from 0 to 1023"
    ],
    [
      "a negative position",
      init({ sluice: { protocol: protocolVersion, positions: [{ slice: 1, position: -1n, timestamp: 1n }] } }),
      status.INVALID_ARGUMENT,
      "offset: -1 is no position: a safe integer from 0"
    ]
  ])("refuses %s", ([, request, code, details]) =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      const refused = yield* call(port, request)
      const { code: actual, details: text } = yield* ended(refused)
      assert.deepStrictEqual([actual, text], [code, details])
      assert.isUndefined(refused.headers?.get("sluice-journal")[0], "no stream was opened")

      yield* append("a", ["one"])
      const other = yield* call(port, init())
      yield* answered(other, 1)
      assert.deepStrictEqual(other.messages.map(shortly), ["a 1 one"], "others are served")
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect.each<[string, Uint8Array, string]>([
    ["bytes that are no message", Buffer.from([0xff, 0xff, 0xff]), "a message that is no StreamIn"],
    ["no alternative", Buffer.alloc(0), "the first message has to be init, not an unknown one"],
    [
      "an alternative of a later version",
      Buffer.from([0xaa, 0x01, 0x00]),
      "the first message has to be init, not an unknown one"
    ]
  ])("refuses a first message with %s", ([, bytes, details]) =>
    Effect.gen(function*() {
      const refused = yield* call(yield* serve(carts))
      refused.sendBytes(bytes)
      const { code, details: text } = yield* ended(refused)
      assert.deepStrictEqual([code, text], [status.INVALID_ARGUMENT, details])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect.each<[string, Request | Uint8Array, number, string]>([
    ["a second init", init(), status.INVALID_ARGUMENT, "a second init"],
    [
      "bytes that are no message",
      Buffer.from([0xff, 0xff, 0xff]),
      status.INVALID_ARGUMENT,
      "a message that is no StreamIn"
    ]
  ])("ends a stream at %s", ([, request, code, details]) =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      yield* append("a", ["one"])
      const broken = yield* call(port, init())
      yield* answered(broken, 1)
      if (request instanceof Uint8Array) broken.sendBytes(request)
      else broken.send(request)
      const { code: actual, details: text } = yield* ended(broken)
      assert.deepStrictEqual([actual, text], [code, details])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("ends a stream at a fault that comes together with the init", () =>
    Effect.gen(function*() {
      const broken = yield* call(yield* serve(carts), init(), init())
      assert.strictEqual((yield* ended(broken)).details, "a second init")
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("ignores empty filters and replay requests, acks, and what it does not know", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      const live = yield* call(
        port,
        init(),
        { case: "filter", value: {} },
        { case: "replay", value: {} },
        { case: "ack", value: { originEvent: { persistenceId: "Cart|a", seqNr: 1n } } }
      )
      live.sendBytes(Buffer.from([0xaa, 0x01, 0x00]))
      live.sendBytes(Buffer.alloc(0))
      // a fault behind them shows that they were read
      yield* append("a", ["one"])
      yield* answered(live, 1)
      assert.deepStrictEqual(live.messages.map(shortly), ["a 1 one"])
      live.send(init())
      assert.strictEqual((yield* ended(live)).details, "a second init")
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("refuses a stream that is closed before its init, and never with OK", () =>
    Effect.gen(function*() {
      const closed = yield* call(yield* serve(carts))
      closed.halfClose()
      const { code, details } = yield* ended(closed)
      assert.deepStrictEqual([code, details], [status.INVALID_ARGUMENT, "the stream was closed before its init"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("goes on for a consumer that has nothing more to say", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      yield* append("a", ["one"])
      const closed = yield* call(port, init())
      closed.halfClose()
      yield* answered(closed, 1)
      yield* append("a", ["two"])
      yield* answered(closed, 2)
      assert.deepStrictEqual(closed.messages.map(shortly), ["a 1 one", "a 2 two"])
      assert.isUndefined(closed.status)
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("says in its headers which protocol and which journal it is, before there is any event", () =>
    Effect.gen(function*() {
      const quiet = yield* call(yield* serve(carts), init())
      yield* Wait.until("headers", () => quiet.headers !== undefined)
      assert.deepStrictEqual(quiet.headers!.get("sluice-protocol"), [String(protocolVersion)])
      assert.deepStrictEqual(quiet.headers!.get("sluice-journal"), [`${(yield* Journal.Journal).identity}/events/Cart`])
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

layer(Producer.quiet, { excludeTestServices: true })("a plain consumer", (it) => {
  it.effect("is sent everything without an offset, in the order of each entity, and what comes after", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      yield* append("a", ["a1", "a2"])
      yield* append("b", ["b1"])
      const live = yield* call(port, init())
      yield* answered(live, 3)
      yield* append("a", ["a3"])
      yield* answered(live, 4)
      assert.deepStrictEqual(live.messages.map(shortly), ["a 1 a1", "a 2 a2", "b 1 b1", "a 3 a3"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("is sent places that a JVM consumer accepts", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      const written = yield* append("a", ["a1"])
      const live = yield* call(port, init())
      yield* answered(live, 1)
      const { offset, slice, source } = placeOf(live.messages[0]!)
      assert.strictEqual(slice, written.slice)
      assert.strictEqual(source, "")
      assert.lengthOf(offset, 1)
      assert.deepStrictEqual(offset[0]!.timestamp, toTimestampMessage(written.timestamp))
      assert.deepStrictEqual(offset[0]!.seen.map(({ persistenceId, seqNr }) => [persistenceId, seqNr]), [[
        "Cart|a",
        1n
      ]])
      assert.isUndefined(offset[0]!.slice)
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("is not sent again what it has seen at the timestamp of its offset, but what it has not", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      yield* at(1000)(append("before", ["x"]))
      for (const id of ["a", "b", "c"]) yield* at(2000)(append(id, [`${id}1`]))
      yield* at(3000)(append("a", ["a2"]))
      const T = 2_000_000
      const from = (seen: Record<string, number>) =>
        Effect.map(upToMarker(port, init({ offset: [offset(T, seen)] })), (messages) => messages.map(shortly))
      assert.deepStrictEqual(yield* from({ a: 1 }), ["before 1 BT", "b 1 b1", "c 1 c1", "a 2 a2"])
      assert.deepStrictEqual(yield* from({ a: 1, b: 1, c: 1 }), ["before 1 BT", "a 2 a2"])
      assert.deepStrictEqual(yield* from({ a: 7, b: 0 }), ["before 1 BT", "b 1 b1", "c 1 c1", "a 2 a2"])
      assert.deepStrictEqual(yield* from({}), ["before 1 BT", "a 1 a1", "b 1 b1", "c 1 c1", "a 2 a2"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("is reminded of the events of 130 seconds before its offset, which it loads where it has not seen them", () =>
    Effect.gen(function*() {
      const kept = Source.journal(Cart).pipe(Source.filter(({ event }) => event !== "drop"))
      const port = yield* serve(EventProducer.layer(CartEvents, kept))
      yield* at(69_000)(append("a", ["too old"]))
      yield* at(70_000)(append("b", ["within"]))
      yield* at(71_000)(append("b", ["drop"]))
      yield* at(200_000)(append("c", ["at"]))
      yield* at(201_000)(append("c", ["after"]))
      const messages = yield* upToMarker(port, init({ offset: [offset(200_000_000, { c: 1 })] }))
      assert.deepStrictEqual(messages.map(shortly), ["b 1 BT", "b 2 -", "c 2 after"])
      const [reminder] = messages
      assert(reminder!.message.case === "event")
      const { metadata, offset: [place], payload, source, tags } = reminder!.message.value
      assert.deepStrictEqual([source, payload, metadata], ["BT", undefined, undefined])
      assert.strictEqual(Number(place!.timestamp!.seconds), 70)
      assert.deepStrictEqual(place!.seen.map(({ seqNr }) => seqNr), [1n])
      assert.deepStrictEqual(tags, [])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("goes back from the database's time where its offset is ahead of it", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      const now = Math.floor(Date.now() / 1000) * 1000
      yield* at(now - 100_000)(append("a", ["late"]))
      const future = (now + 3_600_000) * 1000
      const reminded = yield* call(port, init({ offset: [offset(future)] }))
      yield* answered(reminded, 1)
      assert.deepStrictEqual(reminded.messages.map(shortly), ["a 1 BT"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("begins at the epoch with an offset that has no timestamp", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      yield* append("a", ["a1"])
      assert.deepStrictEqual((yield* upToMarker(port, init({ offset: [{}] }))).map(shortly), ["a 1 a1"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("begins at the first of several offsets", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      for (const millis of [1000, 2000, 3000]) yield* at(millis)(append("a", [`at ${millis}`]))
      const request = init({ offset: [offset(1_500_000), offset(2_500_000)] })
      assert.deepStrictEqual((yield* upToMarker(port, request)).map(shortly), ["a 1 BT", "a 2 at 2000", "a 3 at 3000"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("goes on in each slice after the offset of that slice, and from the beginning in others", () =>
    Effect.gen(function*() {
      const read: Array<string> = []
      const source = Source.journal(Cart).pipe(Source.map(({ event, persistenceId }) => {
        read.push(`${persistenceId.slice("Cart|".length)} ${event}`)
        return event
      }))
      const port = yield* serve(EventProducer.layer(CartEvents, source))
      const [x, y, z] = [10, 20, 30].map(idInSlice) as [string, string, string]
      for (const millis of [1000, 2000]) for (const id of [x, y, z]) yield* at(millis)(append(id, [`${millis}`]))
      const request = init({
        offset: [
          { ...offset(1_000_000, { [x]: 1 }), slice: 10 },
          { ...offset(2_000_000, { [y]: 2 }), slice: 20 },
          // those without a slice do not count beside them
          offset(9_000_000)
        ]
      })
      assert.deepStrictEqual((yield* upToMarker(port, request)).map(shortly), [
        `${z} 1 1000`,
        `${x} 2 2000`,
        `${z} 2 2000`
      ])
      // no event from before the offset of its slice
      assert.sameMembers(read, [`${x} 1000`, `${x} 2000`, `${y} 2000`, `${z} 1000`, `${z} 2000`, "marker marker"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("is sent the slices that it asked for and no others", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      for (const slice of [0, 255, 256, 511, 512, 1023]) yield* append(idInSlice(slice), [`${slice}`])
      const texts = (min: number, max: number) =>
        Effect.gen(function*() {
          const answers = yield* call(port, init({ sliceMin: min, sliceMax: max }))
          yield* Wait.until("headers", () => answers.headers !== undefined)
          // the last event of the range
          yield* append(idInSlice(max), ["last"])
          yield* Wait.until("the last event", () => answers.messages.some((_) => shortly(_).endsWith(" last")))
          return answers.messages.map((message) => shortly(message).split(" ")[2])
        })
      assert.deepStrictEqual(yield* texts(0, 255), ["0", "255", "last"])
      assert.deepStrictEqual(yield* texts(256, 511), ["256", "511", "last"])
      assert.deepStrictEqual(yield* texts(1023, 1023), ["1023", "last"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("is sent every event by one of the ranges that divide the slices", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      for (let i = 0; i < 100; i++) yield* append(`c-${i}`, ["1", "2"])
      const calls = yield* Effect.forEach(
        SliceRange.split(7),
        ({ max, min }) => call(port, init({ sliceMin: min, sliceMax: max }))
      )
      yield* Wait.until("all events", () => calls.reduce((sum, { messages }) => sum + messages.length, 0) >= 200)
      const all = calls.flatMap(({ messages }) => messages.map(shortly))
      assert.strictEqual(all.length, 200)
      assert.strictEqual(new Set(all).size, 200)
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("is not sent the metadata that stays within the service", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      const own = { "sluice.command": "secret", "sluice.reply": "secret" }
      yield* appendAsEntity("a", [["1", own], ["2", { ...own, trace: "7", sluice: "8" }]])
      const live = yield* call(port, init())
      yield* answered(live, 2)
      const metadata = live.messages.map(({ message }) =>
        message.case === "event" && message.value.metadata !== undefined
          ? Buffer.from(message.value.metadata.value).toString()
          : undefined
      )
      assert.deepStrictEqual(metadata, [undefined, `{"trace":"7","sluice":"8"}`])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("is sent tags, metadata and the bytes of the event", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      yield* Journal.append(Cart, {
        id: "a",
        events: ["ä"],
        tags: ["large", "t:home/kitchen"],
        metadata: { trace: "7" }
      })
      const live = yield* call(port, init())
      yield* answered(live, 1)
      const { message } = live.messages[0]!
      assert.isTrue(message.case === "event")
      if (message.case !== "event") return
      assert.deepStrictEqual(message.value.tags, ["large", "t:home/kitchen"])
      assert.strictEqual(message.value.payload!.typeUrl, "ser.akka.io/20")
      assert.strictEqual(Buffer.from(message.value.payload!.value).toString(), "ä")
      assert.strictEqual(message.value.metadata!.typeUrl, "json.sluice/metadata")
      assert.strictEqual(Buffer.from(message.value.metadata!.value).toString(), `{"trace":"7"}`)
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

const sluice = (
  positions: ReadonlyArray<readonly [slice: number, position: number, timestamp: number]>,
  journal = ""
) => ({
  protocol: protocolVersion,
  journal,
  positions: positions.map(([slice, position, timestamp]) => ({
    slice,
    position: BigInt(position),
    timestamp: BigInt(timestamp)
  }))
})

layer(Producer.quiet, { excludeTestServices: true })("a Sluice consumer", (it) => {
  it.effect("is sent positions that are dense in each slice", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      yield* append("a", ["1", "2"])
      yield* append("b", ["1"])
      yield* append("a", ["3"])
      const messages = yield* upToMarker(port, init({ sluice: sluice([]) }))
      assert.deepStrictEqual(
        messages.map((message) => [placeOf(message).persistenceId, placeOf(message).sluicePosition]),
        [["Cart|a", 1n], ["Cart|a", 2n], ["Cart|b", 1n], ["Cart|a", 3n]]
      )
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("goes on exactly after its positions, whatever the timestamps are", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      const { identity } = yield* Journal.Journal
      const [x, y, z] = [10, 20, 30].map(idInSlice) as [string, string, string]
      // all at one time
      for (const id of [x, y, z]) yield* at(1000)(append(id, ["1", "2", "3"]))
      const positions = [[10, 2, 1_000_001], [20, 3, 1_000_002]] as const
      const messages = yield* upToMarker(port, init({ sluice: sluice(positions, identity) }))
      assert.deepStrictEqual(messages.map(shortly), [`${x} 3 3`, `${z} 1 1`, `${z} 2 2`, `${z} 3 3`])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("begins at a time in some slices, and goes on in others", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      const [x, y] = [10, 20].map(idInSlice) as [string, string]
      for (const millis of [1000, 2000, 3000]) for (const id of [x, y]) yield* at(millis)(append(id, [`${millis}`]))
      const messages = yield* upToMarker(
        port,
        init({ sluice: sluice([[10, 2, 2_000_000], [20, 0, 2_000_000]]) })
      )
      assert.deepStrictEqual(messages.map(shortly), [`${y} 2 2000`, `${x} 3 3000`, `${y} 3 3000`])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("learns from headers and status that the journal is another one than its positions are of", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      const { identity } = yield* Journal.Journal
      yield* append("a", ["1"])
      const other = yield* call(port, init({ sluice: sluice([], "another-journal") }))
      const { code, details } = yield* ended(other)
      assert.strictEqual(code, status.FAILED_PRECONDITION)
      assert.include(details, "another-journal")
      assert.include(details, identity)
      assert.deepStrictEqual(other.headers?.get("sluice-protocol"), [String(protocolVersion)])
      assert.deepStrictEqual(other.headers?.get("sluice-journal"), [`${identity}/events/Cart`])
      assert.isEmpty(other.messages)
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect.each<[string, number, number]>([
    ["that the journal does not reach", 2, 1_000_001],
    ["where the journal has another event", 1, 999_999]
  ])("learns from the status and its trailer of a position %s", ([, position, timestamp]) =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      const { identity } = yield* Journal.Journal
      yield* at(1000)(append(idInSlice(10), ["1"]))
      const forked = yield* call(port, init({ sluice: sluice([[10, position, timestamp]], identity) }))
      const { code, details, metadata } = yield* ended(forked)
      assert.strictEqual(code, status.FAILED_PRECONDITION)
      assert.include(details, `no event at position ${position} of slice 10 with timestamp ${timestamp}`)
      assert.deepStrictEqual(metadata.get("sluice-fork"), [JSON.stringify([10, position, timestamp])])
      assert.isEmpty(forked.messages)
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("may have positions of slices that it does not ask for", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      const { identity } = yield* Journal.Journal
      yield* append(idInSlice(10), ["1"])
      const live = yield* call(
        port,
        init({ sliceMin: 10, sliceMax: 10, sluice: sluice([[11, 99, 5]], identity) })
      )
      yield* answered(live, 1)
      assert.deepStrictEqual(live.messages.flatMap(RawClient.messagesOf).map(shortly), [`${idInSlice(10)} 1 1`])
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

layer(Producer.quiet, { excludeTestServices: true })("dropped events", (it) => {
  const dropping: ReadonlyArray<[string, Source.Source<string, any, Journal.Journal>]> = [
    ["filter", Source.journal(Cart).pipe(Source.filter(({ event }) => event.startsWith("public")))],
    [
      "filterMap",
      Source.journal(Cart).pipe(
        Source.filterMap(({ event }) => event.startsWith("public") ? Option.some(event) : Option.none())
      )
    ]
  ]
  it.effect.each(dropping)(
    "by Source.%s leave a filtered_event, with numbers and positions dense",
    ([, source]) =>
      Effect.gen(function*() {
        const port = yield* serve(EventProducer.layer(CartEvents, source))
        yield* Journal.append(Cart, {
          id: "a",
          events: ["public 1", "secret 2", "public 3", "secret 4"],
          tags: ["tag"],
          metadata: { who: "me" }
        })
        const live = yield* call(port, init())
        yield* answered(live, 4)
        assert.deepStrictEqual(live.messages.map(({ message }) => message.case), [
          "event",
          "filteredEvent",
          "event",
          "filteredEvent"
        ])
        assert.deepStrictEqual(live.messages.map((message) => placeOf(message).seqNr), [1n, 2n, 3n, 4n])
        assert.deepStrictEqual(live.messages.map((message) => placeOf(message).sluicePosition), [1n, 2n, 3n, 4n])
        for (const message of live.messages) {
          assert.lengthOf(placeOf(message).offset, 1)
          assert.strictEqual(placeOf(message).slice, Producer.sliceOf("a"))
        }
        assert.notInclude(Buffer.concat(live.bytes).toString("latin1"), "secret")
      }).pipe(Effect.provide(MemoryStorage.layer))
  )

  it.effect("of a whole journal still move the offset", () =>
    Effect.gen(function*() {
      const port = yield* serve(
        EventProducer.layer(CartEvents, Source.journal(Cart).pipe(Source.filter(() => false)))
      )
      yield* append("a", ["1", "2"])
      const live = yield* call(port, init())
      yield* answered(live, 2)
      assert.deepStrictEqual(live.messages.map(shortly), ["a 1 -", "a 2 -"])
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String }) {}
const JsonCart = EntityType.make("Cart", { event: ItemAdded })
const JsonCarts = EventStream.make("cart", { event: ItemAdded })

/** An event that nobody can decode. */
const appendUndecodable = (id: string) =>
  Effect.flatMap(Journal.Journal, (journal) =>
    journal.append({
      entityType: "Cart",
      persistenceId: EntityType.persistenceId(Cart, id),
      expected: "any",
      events: [{
        id: crypto.randomUUID(),
        payload: { manifest: "test/unknown", bytes: new Uint8Array([1]) },
        tags: [],
        metadata: {}
      }],
      recheck: false
    }))

layer(Producer.quiet, { excludeTestServices: true })("at the start", (it) => {
  it.effect("a server says where it listens and whether encrypted, and each stream what is offered", () =>
    Effect.gen(function*() {
      const { layer, lines } = logging("Info")
      const port = yield* serve(
        EventProducer.layer(JsonCarts, Source.journal(JsonCart).pipe(Source.filter(() => true)))
      ).pipe(Effect.provide(layer))
      assert.lengthOf(lines, 2)
      assert.include(lines[0], `"Listens on 127.0.0.1:${port}, in plaintext" host=127.0.0.1 port=${port}`)
      assert.include(lines[1], `"Offers stream '${JsonCarts.id}' on port ${port}: journal of Cart | filter"`)
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

layer(Producer.quiet, { excludeTestServices: true })("an event that cannot be decoded", (it) => {
  it.effect("fails a stream that reads it, after the events before it, and says which one it is", () =>
    Effect.gen(function*() {
      const { layer, lines } = logging()
      yield* Journal.append(JsonCart, {
        id: "a",
        events: [new ItemAdded({ sku: "tea" }), new ItemAdded({ sku: "milk" })]
      })
      yield* appendUndecodable("a")
      yield* Journal.append(JsonCart, { id: "b", events: [new ItemAdded({ sku: "bread" })] })
      const port = yield* serve(
        EventProducer.layer(JsonCarts, Source.journal(JsonCart).pipe(Source.map(({ event }) => event)))
      ).pipe(Effect.provide(layer))
      const failed = yield* call(port, init())
      const { code, details } = yield* ended(failed)
      assert.strictEqual(code, status.INTERNAL)
      assert.include(details, "event 3 of 'Cart|a', manifest 'test/unknown'")
      assert.deepStrictEqual(failed.messages.map((message) => placeOf(message).seqNr), [1n, 2n])
      yield* Wait.until("the log", () => lines.length > 0)
      assert.match(
        lines.join("\n"),
        /EventsBySlices failed for 127\.0\.0\.1:\d+ on the stream '\S+', at event 3 of 'Cart\|a', .*: teach the codec of the source/
      )
      assert.match(lines.join("\n"), /Event 3 of 'Cart\|a'/)
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("passes through a stream that does not read it", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      yield* appendUndecodable("a")
      yield* append("a", ["2"])
      const live = yield* call(port, init())
      yield* answered(live, 2)
      assert.deepStrictEqual(
        live.messages.map(({ message }) => message.case === "event" ? message.value.payload!.typeUrl : ""),
        ["test/unknown", "ser.akka.io/20"]
      )
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("fails a stream of another codec, though it has no stages", () =>
    Effect.gen(function*() {
      const port = yield* serve(
        EventProducer.layer(EventStream.make("cart", { codec: EventCodec.json(ItemAdded) }), Source.journal(JsonCart))
      )
      yield* appendUndecodable("a")
      assert.strictEqual((yield* ended(yield* call(port, init()))).code, status.INTERNAL)
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

class Refused extends Schema.TaggedError<Refused>()("Refused", { text: Schema.String }) {
  override get message(): string {
    return this.text
  }
}

/** How a call of a source of strings ends, and what the producer's log has to say. */
const outcome = <E>(source: Source.Source<string, E>) =>
  Effect.gen(function*() {
    const { layer, lines } = logging()
    const port = yield* serve(EventProducer.layer(CartEvents, source)).pipe(Effect.provide(layer))
    const failed = yield* call(port, init())
    const { code, details } = yield* ended(failed)
    return { code, details, answers: failed.messages.map(shortly), log: () => lines.join("\n") }
  })
const twoThen = (n: number) => Stream.fromIterable(Array.from({ length: n }, (_, i) => FakeSource.event(i + 1)))
const atThird = "the producer failed at event 3 of 'Cart|a'; its log says more"
const thirdInLog = " on the stream 'cart', at event 3 of 'Cart|a', which its consumers cannot pass: "

const storage = (reason: StorageError["reason"]) =>
  new StorageError({ operation: "read", reason, cause: new Error("password 1234") })

layer(Producer.quiet, { excludeTestServices: true })("a source that fails", (it) => {
  it.effect("with a defect in a stage ends with INTERNAL, and keeps the text to its own log", () =>
    Effect.gen(function*() {
      const source = FakeSource.source(twoThen(4)).pipe(Source.map(({ event }) => {
        if (event === "e3") throw new Error("password 1234")
        return event.toUpperCase()
      }))
      const { answers, code, details, log } = yield* outcome(source)
      assert.deepStrictEqual([code, details], [status.INTERNAL, atThird])
      assert.deepStrictEqual(answers, ["a 1 E1", "a 2 E2"])
      yield* Wait.until("the log", () => log().includes("password 1234"))
      assert.include(log(), `${thirdInLog}correct the stage of the source that fails`)
    }))

  it.effect("with an error in an effect of a stage does so as well", () =>
    Effect.gen(function*() {
      const source = FakeSource.source(twoThen(4)).pipe(
        Source.mapEffect(({ event }) =>
          event === "e3" ? Effect.fail(new Refused({ text: "password 1234" })) : Effect.succeed(event)
        )
      )
      const { answers, code, details, log } = yield* outcome(source)
      assert.deepStrictEqual([code, details], [status.INTERNAL, atThird])
      assert.deepStrictEqual(answers, ["a 1 e1", "a 2 e2"])
      yield* Wait.until("the log", () => log().includes("password 1234"))
      assert.include(log(), `${thirdInLog}correct the stage of the source that fails`)
    }))

  it.effect("with storage in a stage says that it is the database, and not the event", () =>
    Effect.gen(function*() {
      const source = FakeSource.source(twoThen(4)).pipe(
        Source.mapEffect(({ event }) => event === "e3" ? Effect.fail(storage("Busy")) : Effect.succeed(event))
      )
      const { code, details, log } = yield* outcome(source)
      assert.deepStrictEqual([code, details], [
        status.UNAVAILABLE,
        "the producer's database is busy or cannot be reached"
      ])
      yield* Wait.until("the log", () => log().includes("password 1234"))
      assert.include(log(), " on the stream 'cart', at event 3 of 'Cart|a'\"")
    }))

  it.effect("with an event that its public codec refuses does so as well", () =>
    Effect.gen(function*() {
      const codec = EventCodec.make<string>({
        name: "strict",
        encode: (event) => {
          if (event === "e3") throw new TypeError("password 1234")
          return EventCodec.string.encodeUnsafe(event)
        },
        decode: () => ""
      })
      const { layer, lines } = logging()
      const port = yield* serve(EventProducer.layer(EventStream.make("cart", { codec }), FakeSource.source(twoThen(4))))
        .pipe(Effect.provide(layer))
      const failed = yield* call(port, init())
      const { code, details } = yield* ended(failed)
      assert.deepStrictEqual([code, details], [
        status.INTERNAL,
        "the producer cannot encode event 3 of 'Cart|a'; its log says more"
      ])
      assert.deepStrictEqual(failed.messages.map(shortly), ["a 1 e1", "a 2 e2"])
      yield* Wait.until("the log", () => lines.join("\n").includes("password 1234"))
      assert.include(lines.join("\n"), `${thirdInLog}let the source make an event of the stream of it`)
    }))

  it.effect.each<[StorageError["reason"], number, string]>([
    ["Unavailable", status.UNAVAILABLE, "the producer's database is busy or cannot be reached"],
    ["Busy", status.UNAVAILABLE, "the producer's database is busy or cannot be reached"],
    ["Closed", status.UNAVAILABLE, "the producer is shutting down"],
    [
      "Replaced",
      status.INTERNAL,
      "the producer's database has another journal than when the producer started; its log says more"
    ],
    ["Damaged", status.INTERNAL, "the producer's database fails; its log says more"],
    ["Failed", status.INTERNAL, "the producer's database fails; its log says more"]
  ])("with storage that is %s says so, and no more", ([reason, code, details]) =>
    Effect.gen(function*() {
      const late = yield* outcome(FakeSource.source(Stream.concat(twoThen(2), Stream.fail(storage(reason)))))
      assert.deepStrictEqual([late.code, late.details], [code, details])
      assert.deepStrictEqual(late.answers, ["a 1 e1", "a 2 e2"])
      yield* Wait.until("the log", () => late.log().includes("password 1234"))
      const early = yield* outcome(
        FakeSource.source(Stream.empty as any, { open: () => Effect.fail(storage(reason)) } as any)
      )
      assert.deepStrictEqual([early.code, early.details], [code, details])
    }))

  it.effect("by ending does not end the stream with OK, which a JVM consumer takes for the end of all events", () =>
    Effect.gen(function*() {
      const { answers, code } = yield* outcome(FakeSource.source(twoThen(2)))
      assert.strictEqual(code, status.UNAVAILABLE)
      assert.deepStrictEqual(answers, ["a 1 e1", "a 2 e2"])
    }))

  it.effect("leaves the streams of others alone", () =>
    Effect.gen(function*() {
      const broken = EventStream.make("broken", { codec: EventCodec.string })
      const port = yield* serve(
        Layer.mergeAll(carts, EventProducer.layer(broken, FakeSource.source(Stream.die(new Error("boom")))))
      )
      const live = yield* call(port, init())
      const dead = yield* call(port, init({ streamId: "broken" }))
      assert.strictEqual((yield* ended(dead)).code, status.INTERNAL)
      yield* append("a", ["1"])
      yield* answered(live, 1)
      assert.deepStrictEqual(live.messages.map(shortly), ["a 1 1"])
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

layer(Producer.quiet, { excludeTestServices: true })("compression", (it) => {
  it.effect("is neither asked for nor needed by a client that knows none", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      yield* append("a", ["1"])
      const plain = yield* Http2Client.eventsBySlices(port, initBytes)
      yield* Wait.until("an answer", () => plain.messages.length === 1)
      assert.isFalse(plain.messages[0]!.compressed)
      assert.include([undefined, "identity"], plain.headers!["grpc-encoding"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("of requests with gzip is understood", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      yield* append("a", ["1"])
      const zipped = yield* Http2Client.eventsBySlices(port, initBytes, {
        gzip: true,
        headers: { "grpc-accept-encoding": "gzip" }
      })
      yield* Wait.until("an answer", () => zipped.messages.length === 1)
      const client = yield* RawClient.client(port, {
        channel: { "grpc.default_compression_algorithm": compressionAlgorithms.gzip }
      })
      const live = yield* eventsBySlices(client)
      live.send(init())
      yield* answered(live, 1)
      assert.deepStrictEqual(live.messages.map(shortly), ["a 1 1"])
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

layer(Producer.quiet, { excludeTestServices: true })("a producer whose journal has none of its events", (it) => {
  it.effect("says so in its log, and to a consumer that has read nothing, until there is one", () =>
    Effect.gen(function*() {
      const Misspelt = EntityType.make("Carts", { codec: EventCodec.string })
      yield* Journal.append(Misspelt, { id: "a", events: ["1"] })
      const { layer, lines } = Producer.logging()
      const port = yield* Effect.provide(serve(carts), layer)
      yield* Wait.until("a warning", () => lines.length > 0)
      assert.match(
        lines[0]!,
        /Offers the stream 'cart'. There are no events of the entity type 'Cart' yet, but of 'Carts'/
      )
      const notice = Effect.gen(function*() {
        const { provider } = remote(port)
        yield* provider.open(SliceRange.full, { journal: undefined, offsets: Offset.none })
        return yield* provider.notice!
      }).pipe(Effect.scoped)
      // which types there are is the producer's to know
      assert.match(
        String((yield* notice)?.message),
        /^The stream 'cart' of the producer at '127.0.0.1:\d+' has no event yet, though its journal has others/
      )
      yield* append("a", ["1"])
      assert.isUndefined(yield* notice)
    }).pipe(Effect.provide(MemoryStorage.layer)))
})
