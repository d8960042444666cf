import type { MessageShape } from "@bufbuild/protobuf"
import { create, fromBinary, toBinary } from "@bufbuild/protobuf"
import { StringValueSchema } from "@bufbuild/protobuf/wkt"
import { assert, layer } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventStream from "@sluice/core/EventStream"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Source from "@sluice/core/Source"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as ProtobufCodec from "@sluice/grpc/ProtobufCodec"
import * as Effect from "effect/Effect"
import type { Event, StreamOut } from "../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import { StreamOutSchema } from "../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import * as Producer from "./kit/Producer.ts"
import * as RawClient from "./kit/RawClient.ts"
import * as Recording from "./kit/Recording.ts"

type StringValue = MessageShape<typeof StringValueSchema>

const codecs: Record<Recording.Name, EventCodec.EventCodec<string> | EventCodec.EventCodec<StringValue>> = {
  string: EventCodec.string,
  protobuf: ProtobufCodec.make([StringValueSchema])
}

/** The clock of the memory's journal has milliseconds. */
const millisOf = (event: Event): number => Math.floor(Recording.timestampOf(event) / 1000)

/** What a JVM service wrote, written by ours, and offered as it was there. */
const makeProducer = (name: Recording.Name) => {
  const codec: EventCodec.EventCodec<any> = codecs[name]
  const Cart = EntityType.make("Cart", { codec })
  return {
    streams: EventProducer.layer(EventStream.make("cart", { codec }), Source.journal(Cart)),
    append: (event: Event) =>
      Journal.append(Cart, {
        id: PersistenceId.entityId(event.persistenceId as PersistenceId.PersistenceId),
        expected: "any",
        tags: event.tags,
        events: [codec.decodeUnsafe({ manifest: event.payload!.typeUrl, bytes: event.payload!.value })]
      }).pipe(Producer.at(millisOf(event)))
  }
}

/** The answer as the JVM producer would have sent it: without our extension, at the time of its own database. */
const asSentBy = (peer: Event, answer: StreamOut): Uint8Array => {
  const copy = fromBinary(StreamOutSchema, toBinary(StreamOutSchema, answer))
  const place = RawClient.placeOf(copy)
  assert.isAbove(Number(place.sluicePosition), 0)
  assert.strictEqual(
    Number(place.offset[0]!.timestamp!.seconds) * 1000 + place.offset[0]!.timestamp!.nanos / 1_000_000,
    millisOf(peer)
  )
  place.sluicePosition = 0n
  place.offset[0]!.timestamp = peer.offset[0]!.timestamp!
  return toBinary(StreamOutSchema, copy)
}

const assertSame = (answers: ReadonlyArray<StreamOut>, recorded: ReadonlyArray<Event>) => {
  assert.deepStrictEqual(
    answers.map((answer, i) => Buffer.from(asSentBy(recorded[i]!, answer)).toString("hex")),
    recorded.map((value) =>
      Buffer.from(toBinary(StreamOutSchema, create(StreamOutSchema, { message: { case: "event", value } })))
        .toString("hex")
    )
  )
}

const inRange = ({ init }: Recording.Exchange) => ({ slice }: Event) => slice >= init.sliceMin && slice <= init.sliceMax

layer(Producer.quiet, { excludeTestServices: true })("what a JVM consumer said", (it) => {
  for (const name of ["string", "protobuf"] as const) {
    const exchanges = Recording.read(name)
    const written = Recording.events(exchanges)
    const first = exchanges.filter(({ init }) => init.offset.length === 0)
    const resumed = exchanges.filter(({ init }) => init.offset.length > 0)

    it.effect(`is answered from the beginning, and on as events are written, with what the JVM producer sent (${name})`, () =>
      Effect.gen(function*() {
        const producer = makeProducer(name)
        const port = yield* Producer.serve(producer.streams)
        const half = written.length / 2
        for (const event of written.slice(0, half)) yield* producer.append(event)
        const client = yield* RawClient.client(port)
        const calls = yield* Effect.forEach(first, () => RawClient.eventsBySlices(client))
        first.forEach(({ requests }, i) => requests.forEach(calls[i]!.sendBytes))
        yield* Effect.forEach(calls, (call) => RawClient.answered(call, 1))
        for (const event of written.slice(half)) yield* producer.append(event)

        for (const [i, exchange] of first.entries()) {
          const expected = written.filter(inRange(exchange))
          yield* RawClient.answered(calls[i]!, expected.length)
          assertSame(calls[i]!.messages, expected)
          // the recording ends where its consumer went away
          const recorded = exchange.answers.map(({ event }) => event)
          assert.isAtLeast(recorded.length, 9)
          assertSame(calls[i]!.messages.slice(0, recorded.length), recorded)
        }
      }).pipe(Effect.provide(MemoryStorage.layer)))

    it.effect(`is answered after its offset with what the JVM producer sent after its repetitions (${name})`, () =>
      Effect.gen(function*() {
        const producer = makeProducer(name)
        const port = yield* Producer.serve(producer.streams)
        for (const event of written) yield* producer.append(event)
        const client = yield* RawClient.client(port)
        assert.isNotEmpty(resumed)
        for (const exchange of resumed) {
          const seen = exchange.init.offset[0]!.seen[0]!
          const from = written.findIndex(({ persistenceId, seqNr }) =>
            persistenceId === seen.persistenceId && seqNr === seen.seqNr
          )
          assert.isAtLeast(from, 0)
          const recorded = exchange.answers.map(({ event }) => event).filter(({ source }) => source !== "BT")
          const expected = written.slice(from + 1).filter(inRange(exchange))
          assert.deepStrictEqual(
            expected.map(({ persistenceId, seqNr }) => `${persistenceId} ${seqNr}`),
            recorded.map(({ persistenceId, seqNr }) => `${persistenceId} ${seqNr}`)
          )

          // the offset in bytes as it was, then at the very timestamp that the event has here
          const asHere = create(RawClient.OffsetSchema, {
            timestamp: {
              seconds: BigInt(Math.floor(millisOf(written[from]!) / 1000)),
              nanos: millisOf(written[from]!) % 1000 * 1_000_000
            },
            seen: exchange.init.offset[0]!.seen
          })
          for (const mapped of [false, true]) {
            const call = yield* RawClient.eventsBySlices(client)
            if (mapped) call.send({ case: "init", value: { ...exchange.init, offset: [asHere] } })
            else call.sendBytes(exchange.initBytes)
            assertSame(yield* RawClient.newAnswers(call, recorded.length), recorded)
          }
        }
      }).pipe(Effect.provide(MemoryStorage.layer)))
  }
})
