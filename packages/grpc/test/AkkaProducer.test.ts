/** The producer that plays Akka's answers as Akka Projection gRPC 1.4.0 was seen to. */
import { assert, layer } from "@effect/vitest"
import { status } from "@grpc/grpc-js"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as AkkaProducer from "./kit/AkkaProducer.ts"
import * as Producer from "./kit/Producer.ts"
import * as RawClient from "./kit/RawClient.ts"

const shown = (answers: RawClient.Answers): ReadonlyArray<string> =>
  answers.messages.map(({ message }) => {
    if (message.case !== "event" && message.case !== "filteredEvent") throw new Error("no event")
    const { persistenceId, seqNr, source } = message.value
    const payload = message.case === "filteredEvent"
      ? " inside"
      : message.value.payload === undefined
      ? " no payload"
      : ""
    return `${persistenceId} ${seqNr}${source === "" ? "" : ` ${source}`}${payload}`
  })

const init = (value: object): RawClient.Request => ({
  case: "init",
  value: { streamId: "cart", sliceMin: 0, sliceMax: 1023, ...value }
})

const start = Effect.gen(function*() {
  const producer = yield* AkkaProducer.make()
  const client = yield* RawClient.client(producer.network.port)
  return { client, producer }
})

layer(Producer.quiet, { excludeTestServices: true })("a producer on a script", (it) => {
  it.effect("goes on at the timestamp of an offset, but for what was seen there", () =>
    Effect.gen(function*() {
      const { client, producer } = yield* start
      const [, second] = producer.append("a", 3)
      producer.append("b", 1, { at: second!.timestamp })
      const after = (offset: unknown, n: number) =>
        Effect.gen(function*() {
          const call = yield* RawClient.eventsBySlices(client)
          call.send(init({ offset }))
          yield* RawClient.answered(call, n)
          return shown(call)
        })
      assert.deepStrictEqual(yield* after(AkkaProducer.offsetOf(second!), 2), ["Cart|b 1", "Cart|a 3"])
      const [{ timestamp }] = AkkaProducer.offsetOf(second!) as [{ timestamp: object }]
      assert.deepStrictEqual(yield* after([{ timestamp }], 3), ["Cart|b 1", "Cart|a 2", "Cart|a 3"])
    }))

  it.effect("replays an entity from a number on to its end, and knows the first field alone", () =>
    Effect.gen(function*() {
      const { client, producer } = yield* start
      producer.append("a", 4)
      const call = yield* RawClient.eventsBySlices(client)
      call.send(init({}))
      yield* RawClient.answered(call, 4)
      const wanted = { persistenceId: "Cart|a", seqNr: 3n }
      call.send({ case: "replay", value: { replayPersistenceIds: [{ fromPersistenceIdOffset: wanted }] } })
      call.send({ case: "replay", value: { persistenceIdOffset: [wanted] } })
      yield* RawClient.answered(call, 6)
      assert.deepStrictEqual(shown(call).slice(4), ["Cart|a 3", "Cart|a 4"])
      assert.deepStrictEqual(producer.asked.replays, ["Cart|a 3"])
    }))

  it.effect("shows a look back without payloads, and what stays inside as that", () =>
    Effect.gen(function*() {
      const { client, producer } = yield* start
      const call = yield* RawClient.eventsBySlices(client)
      call.send(init({}))
      yield* Wait.until("the stream", () => producer.streams() === 1)
      producer.show(producer.append("a"), "PS")
      producer.show(producer.rows, "BT")
      producer.write("a", 1, { isPublic: false })
      yield* RawClient.answered(call, 3)
      assert.deepStrictEqual(shown(call), ["Cart|a 1 PS", "Cart|a 1 BT no payload", "Cart|a 2 inside"])
    }))

  it.effect("answers what 1.4.0 does, and nothing that came later", () =>
    Effect.gen(function*() {
      const { client, producer } = yield* start
      const [row] = producer.append("a")
      const wanted = { streamId: "cart", persistenceId: "Cart|a", seqNr: 1n }
      const { timestamp } = yield* RawClient.eventTimestamp(client, wanted)
      assert.strictEqual(Number(timestamp!.seconds) * 1e6 + timestamp!.nanos / 1000, row!.timestamp)
      const none = yield* RawClient.eventTimestamp(client, { ...wanted, seqNr: 2n })
      assert.isUndefined(none.timestamp)
      assert.strictEqual((yield* RawClient.loadEvent(client, wanted)).message.case, "event")
      const gone = yield* Effect.flip(RawClient.loadEvent(client, { ...wanted, seqNr: 2n }))
      assert.strictEqual(gone.code, status.NOT_FOUND)
      const latest = yield* Effect.flip(RawClient.latestEventTimestamp(client, { streamId: "cart", sliceMax: 1023 }))
      assert.strictEqual(latest.code, status.UNIMPLEMENTED)
      const current = yield* RawClient.currentEventsByPersistenceId(client, {
        streamId: "cart",
        persistenceId: "Cart|a"
      })
      yield* RawClient.answered(current, 1)
      assert.strictEqual(current.status?.code, status.UNIMPLEMENTED)
    }))
})
