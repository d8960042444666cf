import { assert, layer } from "@effect/vitest"
import { status } from "@grpc/grpc-js"
import type * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Source from "@sluice/core/Source"
import { StorageError } from "@sluice/core/StorageError"
import * as Timestamp from "@sluice/core/Timestamp"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { toTimestampMessage } from "../src/internal/wire/messages.ts"
import * as FakeSource from "./kit/FakeSource.ts"
import * as Producer from "./kit/Producer.ts"
import { append, appendAsEntity, at, Cart, CartEvents, carts, logging, serve } from "./kit/Producer.ts"
import * as RawClient from "./kit/RawClient.ts"

/** Internal events that begin with `secret` are dropped, the others are shouted. */
const shouted = EventProducer.layer(
  CartEvents,
  Source.journal(Cart).pipe(
    Source.filter(({ event }) => !event.startsWith("secret")),
    Source.map(({ event }) => event.toUpperCase())
  )
)

const clientOf = <E, R>(streams: Parameters<typeof serve<E, R>>[0]) => Effect.flatMap(serve(streams), RawClient.client)

const ask = { streamId: "cart", persistenceId: "Cart|a", seqNr: 1n }

/** How a call is refused. */
const refusal = <A>(call: Effect.Effect<A, { readonly code: number; readonly details: string }>) =>
  Effect.map(Effect.flip(call), ({ code, details }) => [code, details])

const unknownStream = [status.NOT_FOUND, "Stream id [orders] is not available for consumption; on offer: [cart]"]
const wrongType = [status.INVALID_ARGUMENT, "the stream 'cart' has no events of the entity type 'Order'"]
const noId = [
  status.INVALID_ARGUMENT,
  "persistence id: \"a\" is no persistence id: 'entityType|entityId', neither of them empty"
]
const tooLarge = [status.INVALID_ARGUMENT, `seq_nr: ${2n ** 53n} is no safe integer`]
const negative = [status.INVALID_ARGUMENT, "seq_nr: -1 is no sequence number: a safe integer from 0"]

layer(Producer.quiet, { excludeTestServices: true })("EventTimestamp", (it) => {
  it.effect("answers with the microseconds of the event, and with nothing where there is none", () =>
    Effect.gen(function*() {
      const client = yield* clientOf(carts)
      const first = yield* at(1_700_000_000_123)(append("a", ["1", "2"]))
      assert.deepStrictEqual(
        (yield* RawClient.eventTimestamp(client, { ...ask, seqNr: 2n })).timestamp,
        toTimestampMessage(first.timestamp)
      )
      assert.strictEqual((yield* RawClient.eventTimestamp(client, ask)).timestamp!.nanos, 123_000_000)
      for (const seqNr of [0n, 3n]) {
        assert.isUndefined((yield* RawClient.eventTimestamp(client, { ...ask, seqNr })).timestamp)
      }
      const other = { ...ask, persistenceId: "Cart|b" }
      assert.isUndefined((yield* RawClient.eventTimestamp(client, other)).timestamp)
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("answers for an event that is dropped, too", () =>
    Effect.gen(function*() {
      const client = yield* clientOf(shouted)
      const { timestamp } = yield* append("a", ["secret"])
      assert.deepStrictEqual(
        (yield* RawClient.eventTimestamp(client, ask)).timestamp,
        toTimestampMessage(timestamp)
      )
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("refuses what makes no sense", () =>
    Effect.gen(function*() {
      const client = yield* clientOf(carts)
      const refused = (change: object) => refusal(RawClient.eventTimestamp(client, { ...ask, ...change }))
      assert.deepStrictEqual(yield* refused({ streamId: "orders" }), unknownStream)
      assert.deepStrictEqual(yield* refused({ persistenceId: "Order|a" }), wrongType)
      assert.deepStrictEqual(yield* refused({ persistenceId: "a" }), noId)
      assert.deepStrictEqual(yield* refused({ seqNr: 2n ** 53n }), tooLarge)
      assert.deepStrictEqual(yield* refused({ seqNr: -1n }), negative)
      const [code] = yield* refusal(RawClient.eventTimestamp(client, Buffer.from([0xff])))
      assert.strictEqual(code, status.INVALID_ARGUMENT)
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

layer(Producer.quiet, { excludeTestServices: true })("LoadEvent", (it) => {
  it.effect("answers with the event as the stream would have sent it", () =>
    Effect.gen(function*() {
      const client = yield* clientOf(carts)
      const metadata = { "sluice.command": "stays within the service", trace: "7" }
      yield* appendAsEntity("a", [["1", metadata]], ["large"])
      yield* append("a", ["2"])
      const call = yield* RawClient.eventsBySlices(client)
      call.send({ case: "init", value: { streamId: "cart", sliceMax: 1023 } })
      yield* RawClient.answered(call, 2)
      for (const [i, seqNr] of [1n, 2n].entries()) {
        const { message } = yield* RawClient.loadEvent(client, { ...ask, seqNr })
        assert.deepStrictEqual(message, call.messages[i]!.message)
        if (message.case !== "event" || i > 0) continue
        assert.strictEqual(Buffer.from(message.value.metadata!.value).toString(), `{"trace":"7"}`)
      }
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("answers with what the stages make of the event, and a filtered_event where they drop it", () =>
    Effect.gen(function*() {
      const client = yield* clientOf(shouted)
      yield* append("a", ["one", "secret"])
      const one = yield* RawClient.loadEvent(client, ask)
      assert.isTrue(one.message.case === "event")
      assert.strictEqual(RawClient.shortly(one as any), "a 1 ONE")
      const two = yield* RawClient.loadEvent(client, { ...ask, seqNr: 2n })
      assert.isTrue(two.message.case === "filteredEvent")
      assert.strictEqual(RawClient.placeOf(two as any).seqNr, 2n)
      assert.strictEqual(RawClient.placeOf(two as any).sluicePosition, 2n)
      assert.lengthOf(RawClient.placeOf(two as any).offset, 1)
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("refuses what makes no sense", () =>
    Effect.gen(function*() {
      const client = yield* clientOf(carts)
      yield* append("a", ["1"])
      const refused = (change: object) => refusal(RawClient.loadEvent(client, { ...ask, ...change }))
      assert.deepStrictEqual(yield* refused({ streamId: "orders" }), unknownStream)
      assert.deepStrictEqual(yield* refused({ persistenceId: "Order|a" }), wrongType)
      assert.deepStrictEqual(yield* refused({ persistenceId: "a" }), noId)
      assert.deepStrictEqual(yield* refused({ seqNr: 2n ** 53n }), tooLarge)
      assert.deepStrictEqual(yield* refused({ seqNr: -1n }), negative)
      assert.deepStrictEqual(yield* refused({ seqNr: 2n }), [status.NOT_FOUND, "there is no event 2 of 'Cart|a'"])
      assert.deepStrictEqual(yield* refused({ persistenceId: "Cart|b" }), [
        status.NOT_FOUND,
        "there is no event 1 of 'Cart|b'"
      ])
      const [longCode, text] = yield* refused({ persistenceId: `Cart|${"é".repeat(2 ** 19)}` })
      assert.strictEqual(longCode, status.INVALID_ARGUMENT)
      assert.isBelow(String(text).length, 600)
      const [code] = yield* refusal(RawClient.loadEvent(client, Buffer.from([0xff])))
      assert.strictEqual(code, status.INVALID_ARGUMENT)
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("keeps the text of a defect to its own log", () =>
    Effect.gen(function*() {
      const { layer, lines } = logging()
      const failing = EventProducer.layer(
        CartEvents,
        Source.journal(Cart).pipe(Source.map(({ event }): string => {
          throw new Error(`password ${event}`)
        }))
      )
      const client = yield* clientOf(failing).pipe(Effect.provide(layer))
      yield* append("a", ["1234"])
      assert.deepStrictEqual(yield* refusal(RawClient.loadEvent(client, ask)), [
        status.INTERNAL,
        "the producer failed at event 1 of 'Cart|a'; its log says more"
      ])
      yield* Wait.until("the log", () => lines.join("\n").includes("password 1234"))
      assert.match(
        lines.join("\n"),
        /A call of LoadEvent failed for \S+:\d+ on the stream 'cart', at event 1 of 'Cart\|a'/
      )
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

layer(Producer.quiet, { excludeTestServices: true })("LatestEventTimestamp", (it) => {
  const all = { streamId: "cart", sliceMin: 0, sliceMax: 1023 }

  it.effect("answers with the newest event of the range, and with nothing where there is none", () =>
    Effect.gen(function*() {
      const client = yield* clientOf(carts)
      assert.isUndefined((yield* RawClient.latestEventTimestamp(client, all)).timestamp)
      yield* at(2000)(append("a", ["1"]))
      yield* at(1000)(append("b", ["1"]))
      const answer = yield* RawClient.latestEventTimestamp(client, { ...all, correlationId: "x" })
      assert.deepStrictEqual(answer.timestamp, toTimestampMessage(2_000_000 as any))
      assert.isEmpty(answer.sluiceHeads, "heads are for those who ask for them")
      const slice = Producer.sliceOf("b")
      const ofB = yield* RawClient.latestEventTimestamp(client, { ...all, sliceMin: slice, sliceMax: slice })
      assert.deepStrictEqual(ofB.timestamp, toTimestampMessage(1_000_000 as any))
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("answers with the head of each log when asked for them", () =>
    Effect.gen(function*() {
      const client = yield* clientOf(shouted)
      yield* at(2000)(append("a", ["1", "secret"]))
      yield* at(1000)(append("b", ["1"]))
      const { sluiceHeads } = yield* RawClient.latestEventTimestamp(client, { ...all, sluiceHeads: true })
      assert.sameDeepMembers(sluiceHeads.map(({ position, slice, timestamp }) => ({ position, slice, timestamp })), [
        { slice: Producer.sliceOf("a"), position: 2n, timestamp: 2_000_001n },
        { slice: Producer.sliceOf("b"), position: 1n, timestamp: 1_000_000n }
      ])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("refuses what makes no sense", () =>
    Effect.gen(function*() {
      const client = yield* clientOf(carts)
      const refused = (change: object) => refusal(RawClient.latestEventTimestamp(client, { ...all, ...change }))
      assert.deepStrictEqual(yield* refused({ streamId: "orders" }), unknownStream)
      for (const change of [{ sliceMin: -1 }, { sliceMax: 1024 }, { sliceMin: 5, sliceMax: 4 }]) {
        const [code, details] = yield* refused(change)
        assert.strictEqual(code, status.INVALID_ARGUMENT)
        assert.match(String(details), /^slice range: /)
      }
      const [code] = yield* refusal(RawClient.latestEventTimestamp(client, Buffer.from([0xff])))
      assert.strictEqual(code, status.INVALID_ARGUMENT)
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("says UNAVAILABLE while the database cannot be reached", () =>
    Effect.gen(function*() {
      const cause = new Error("password 1234")
      const client = yield* clientOf(EventProducer.layer(
        CartEvents,
        FakeSource.source<StorageError>(Stream.never, {
          heads: () => Effect.fail(new StorageError({ operation: "heads", reason: "Unavailable", cause })),
          now: Effect.succeed(Timestamp.make(0))
        })
      ))
      assert.deepStrictEqual(yield* refusal(RawClient.latestEventTimestamp(client, all)), [
        status.UNAVAILABLE,
        "the producer's database is busy or cannot be reached"
      ])
    }))
})

layer(Producer.quiet, { excludeTestServices: true })("CurrentEventsByPersistenceId", (it) => {
  const entity = { streamId: "cart", persistenceId: "Cart|a", fromSeqNr: 1n, toSeqNr: 100n }

  const answersTo = (client: any, request: object) =>
    Effect.gen(function*() {
      const answers = yield* RawClient.currentEventsByPersistenceId(client, { ...entity, ...request })
      const { code, details } = yield* RawClient.ended(answers)
      return { end: [code, details], events: answers.messages.map(RawClient.shortly), answers }
    })

  it.effect("answers with the events of the entity between two numbers, and ends", () =>
    Effect.gen(function*() {
      const client = yield* clientOf(carts)
      yield* append("a", ["1", "2", "3", "4"])
      yield* append("b", ["1"])
      const middle = yield* answersTo(client, { fromSeqNr: 2n, toSeqNr: 3n })
      assert.deepStrictEqual(middle.events, ["a 2 2", "a 3 3"])
      assert.deepStrictEqual(middle.end, [status.OK, "OK"])
      assert.deepStrictEqual((yield* answersTo(client, {})).events, ["a 1 1", "a 2 2", "a 3 3", "a 4 4"])
      assert.deepStrictEqual((yield* answersTo(client, { fromSeqNr: 0n, toSeqNr: 1n })).events, ["a 1 1"])
      for (const nothing of [{ fromSeqNr: 5n }, { fromSeqNr: 3n, toSeqNr: 2n }, { persistenceId: "Cart|c" }]) {
        const { end, events } = yield* answersTo(client, nothing)
        assert.deepStrictEqual([end, events], [[status.OK, "OK"], []])
      }
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("answers in batches to who asks for them", () =>
    Effect.gen(function*() {
      const client = yield* clientOf(carts)
      const events = Array.from({ length: 501 }, (_, i) => `${i + 1}`)
      yield* append("a", events as [string, ...Array<string>])
      const answers = yield* RawClient.currentEventsByPersistenceId(client, {
        ...entity,
        fromSeqNr: 2n,
        toSeqNr: 501n,
        sluiceBatches: true
      })
      assert.strictEqual((yield* RawClient.ended(answers)).code, status.OK)
      const batches = answers.messages.map(RawClient.eventsOf)
      assert.isBelow(batches.length, 10)
      assert.deepStrictEqual(batches.flat(), events.slice(1).map((event) => `a ${event} ${event}`))
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("leaves others a turn before each page that it reads", () =>
    Effect.gen(function*() {
      let turn = 0
      const counting = Effect.forever(Effect.andThen(Effect.yieldNow, Effect.sync(() => turn++)))
      const read: Array<number> = []
      const { provider } = Source.journal(Cart)
      const source = Source.make<string, StorageError, Journal.Journal>({
        ...provider,
        entity: (...asked) =>
          Stream.unwrap(Effect.sync(() => {
            read.push(turn)
            return provider.entity(...asked)
          }))
      })
      const client = yield* clientOf(EventProducer.layer(CartEvents, source))
      yield* append("a", ["1"])
      yield* Effect.forkChild(counting)
      yield* Effect.all(Array.from({ length: 8 }, () => answersTo(client, {})), { concurrency: "unbounded" })
      assert.strictEqual(new Set(read).size, 8, read.join())
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("answers up to the newest for the largest number there is, which is what JVM services ask for", () =>
    Effect.gen(function*() {
      const client = yield* clientOf(carts)
      yield* append("a", ["1", "2"])
      assert.deepStrictEqual((yield* answersTo(client, { toSeqNr: 2n ** 63n - 1n })).events, ["a 1 1", "a 2 2"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("answers every number, if only with a filtered_event", () =>
    Effect.gen(function*() {
      const client = yield* clientOf(shouted)
      yield* append("a", ["one", "secret", "three"])
      const { answers, events } = yield* answersTo(client, {})
      assert.deepStrictEqual(events, ["a 1 ONE", "a 2 -", "a 3 THREE"])
      assert.deepStrictEqual(answers.messages.map(({ message }) => message.case), ["event", "filteredEvent", "event"])
      assert.notInclude(Buffer.concat(answers.bytes).toString("latin1"), "secret")
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("answers with more events than a page has, in order", () =>
    Effect.gen(function*() {
      const client = yield* clientOf(carts)
      const n = 1234
      yield* append("a", Array.from({ length: n }, (_, i) => `${i + 1}`) as any)
      const { events } = yield* answersTo(client, { toSeqNr: 5000n })
      assert.deepStrictEqual(events, Array.from({ length: n }, (_, i) => `a ${i + 1} ${i + 1}`))
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("refuses what makes no sense", () =>
    Effect.gen(function*() {
      const client = yield* clientOf(carts)
      const refused = (change: object) => Effect.map(answersTo(client, change), ({ end }) => end)
      assert.deepStrictEqual(yield* refused({ streamId: "orders" }), unknownStream)
      assert.deepStrictEqual(yield* refused({ persistenceId: "Order|a" }), wrongType)
      assert.deepStrictEqual(yield* refused({ persistenceId: "a" }), noId)
      assert.deepStrictEqual(yield* refused({ fromSeqNr: -1n }), [
        status.INVALID_ARGUMENT,
        "sequence numbers: -1 is no sequence number: a safe integer from 0"
      ])
      assert.deepStrictEqual(yield* refused({ fromSeqNr: 2n ** 53n }), [
        status.INVALID_ARGUMENT,
        `sequence numbers: ${2n ** 53n} is no safe integer`
      ])
    }).pipe(Effect.provide(MemoryStorage.layer)))
})
