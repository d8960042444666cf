import { assert, layer } from "@effect/vitest"
import { status } from "@grpc/grpc-js"
import * as DurableStateStore from "@sluice/core/DurableStateStore"
import type { EncodedElement, Skipped } from "@sluice/core/Envelope"
import * as Envelope from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventStream from "@sluice/core/EventStream"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Offset from "@sluice/core/Offset"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as Position from "@sluice/core/Position"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as StateType from "@sluice/core/StateType"
import * as Timestamp from "@sluice/core/Timestamp"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as EventProducer from "@sluice/grpc/EventProducer"
import { ProtocolError } from "@sluice/grpc/GrpcError"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { protocolVersion } from "../src/internal/wire/protocolVersion.ts"
import { failure, read, received, remote, shortly } from "./kit/Consumer.ts"
import * as FakeProducer from "./kit/FakeProducer.ts"
import * as FakeSource from "./kit/FakeSource.ts"
import { toBatch, toSkipped, toStreamOut } from "./kit/Generated.ts"
import * as Http2Proxy from "./kit/Http2Proxy.ts"
import * as Producer from "./kit/Producer.ts"
import { CartEvents, serve } from "./kit/Producer.ts"
import * as RawClient from "./kit/RawClient.ts"

const { slice } = FakeSource.event(1)

const skipped = (from: number, to: number, timestamp?: number): Skipped =>
  Envelope.skipped(slice, Position.make(from), Position.make(to), timestamp as Timestamp.Timestamp)

const offer = (elements: ReadonlyArray<EncodedElement>) =>
  serve(
    EventProducer.layer(
      CartEvents,
      FakeSource.source(Stream.empty, {
        open: (_, { offsets }) => {
          const after = offsets.get(slice)?.position ?? 0
          const left = elements.filter(({ position }) => position! > after)
          const envelopes = Stream.concat(Stream.fromArray(left), Stream.never)
          return Effect.succeed({ journal: "test-journal", envelopes })
        }
      })
    )
  )

/** A consumer that speaks a version of the extensions, or none. */
const call = (port: number, protocol: number | undefined) =>
  Effect.gen(function*() {
    const call = yield* RawClient.eventsBySlices(yield* RawClient.client(port))
    const sluice = protocol === undefined ? {} : { sluice: { protocol } }
    call.send({ case: "init", value: { streamId: "cart", sliceMax: 1023, ...sluice } })
    return call
  })

const message = (n: number) => toStreamOut(FakeSource.event(n))

const many = Array.from({ length: 1000 }, (_, i) => FakeSource.event(i + 1))

layer(Producer.quiet, { excludeTestServices: true })("batches", (it) => {
  it.effect(
    "are sent to a consumer that speaks the same version of the extensions, which the headers name",
    () =>
      Effect.gen(function*() {
        const answers = yield* call(yield* offer(many), protocolVersion)
        const events = () =>
          answers.messages.flatMap(({ message }) =>
            message.case === "sluiceBatch" ? message.value.messages : assert.fail("no batch")
          )
        yield* Wait.until("all events", () => events().length === many.length)
        assert.deepStrictEqual(answers.headers!.get("sluice-protocol"), [String(protocolVersion)])
        assert.isBelow(answers.messages.length, 10)
        assert.deepStrictEqual(
          events().map((event) => Number(RawClient.placeOf(event).sluicePosition)),
          many.map(({ position }) => Number(position))
        )
      })
  )

  it.effect(
    "are not sent to a plain consumer: each event is a message, and nothing is said of what was left out",
    () =>
      Effect.gen(function*() {
        const answers = yield* call(yield* offer([FakeSource.event(1), skipped(2, 4, 4), ...many.slice(4)]), undefined)
        yield* RawClient.answered(answers, many.length - 3)
        assert.deepStrictEqual(
          answers.messages.map((message) => Number(RawClient.placeOf(message).sluicePosition)),
          [1, ...many.slice(4).map(({ position }) => Number(position))]
        )
      })
  )

  it.effect.each([[0], [protocolVersion - 1], [protocolVersion + 1]])(
    "are not sent to a consumer that speaks version %d, which is told why",
    ([protocol]) =>
      Effect.gen(function*() {
        const { code, details } = yield* RawClient.ended(yield* call(yield* offer(many), protocol))
        assert.strictEqual(code, status.FAILED_PRECONDITION)
        assert.include(details, `the consumer speaks version ${protocol} of Sluice's extensions, and this side version`)
      })
  )

  it.effect("are not read of a producer that speaks another version", () =>
    Effect.gen(function*() {
      const proxy = yield* Http2Proxy.make({
        target: yield* offer(many),
        onStream: (stream) => {
          stream.respond({
            ":status": 200,
            "content-type": "application/grpc",
            "sluice-protocol": String(protocolVersion + 1),
            "sluice-journal": "j"
          })
          return true
        }
      })
      const reading = yield* read(remote(proxy.port))
      const error = yield* failure(reading) as Effect.Effect<ProtocolError>
      assert.instanceOf(error, ProtocolError)
      assert.include(error.problem, `the producer speaks version ${protocolVersion + 1} of Sluice's extensions`)
    }))

  it.effect("are taken apart, in whatever way a producer makes them", () =>
    Effect.gen(function*() {
      const address = yield* FakeProducer.make({
        eventsBySlices: (call) => {
          assert.strictEqual(call.init.sluice!.protocol, protocolVersion)
          call.headers("j")
          call.send(message(1), toBatch([message(2)]), toBatch([]), toBatch([message(3), message(4)]), message(5))
        }
      })
      const reading = yield* read(remote(address))
      yield* received(reading, 5)
      assert.deepStrictEqual(reading.envelopes.map(shortly), [1, 2, 3, 4, 5].map((n) => `a ${n} e${n}`))
    }))

  it.effect("fail at what is wrong in them, after the events before it", () =>
    Effect.gen(function*() {
      const address = yield* FakeProducer.make({
        eventsBySlices: (call) => {
          call.headers("j")
          call.send(toBatch([1, 2, 4, 5].map((n) => toStreamOut(FakeSource.event(n)))))
        }
      })
      const reading = yield* read(remote(address))
      const error = yield* failure(reading) as Effect.Effect<ProtocolError>
      assert.instanceOf(error, ProtocolError)
      assert.strictEqual(error.problem, `position 4 of slice ${slice} follows 2`)
      assert.deepStrictEqual(reading.envelopes.map(shortly), ["a 1 e1", "a 2 e2"])
    }))
})

layer(Producer.quiet, { excludeTestServices: true })("what a producer says it has left out", (it) => {
  it.effect("comes out of a remote source as it went in", () =>
    Effect.gen(function*() {
      const elements = [skipped(1, 3), FakeSource.event(4), skipped(5, 8, 8), FakeSource.event(9)]
      const { elements: found } = yield* Source.open(remote(yield* offer(elements)))
      const all = yield* Stream.runCollect(Stream.take(found, 4))
      assert.deepStrictEqual(all.map(({ _tag, position }) => [_tag, Number(position)]), [
        ["Skipped", 3],
        ["Envelope", 4],
        ["Skipped", 8],
        ["Envelope", 9]
      ])
      assert.deepStrictEqual([all[0], all[2]], [skipped(1, 3), skipped(5, 8, 8)])
    }))

  it.effect.each<[string, ReadonlyArray<Skipped>, string]>([
    ["that begins too late", [skipped(4, 6)], `position 4 of slice ${slice} follows 2`],
    ["that ends too early for what follows", [skipped(3, 6)], `position 10 of slice ${slice} follows 6`],
    [
      "twice, and then too late",
      [skipped(3, 6), skipped(3, 6), skipped(8, 9)],
      `position 8 of slice ${slice} follows 6`
    ],
    [
      "of a slice that was not asked for",
      [{ ...skipped(1, 9), slice: 1023 as any }],
      "left out, whose slice 1023 is not in 0-1022"
    ]
  ])("%s fails the stream", ([, ranges, problem]) =>
    Effect.gen(function*() {
      const address = yield* FakeProducer.make({
        eventsBySlices: (call) => {
          call.headers("j")
          call.send(...FakeProducer.events(1, 2), ...ranges.map(toSkipped), FakeProducer.event(10))
        }
      })
      const reading = yield* read(remote(address), { range: SliceRange.make(0, 1022) })
      const error = yield* failure(reading) as Effect.Effect<ProtocolError>
      assert.instanceOf(error, ProtocolError)
      assert.strictEqual(error.problem, problem)
      assert.deepStrictEqual(reading.envelopes.map(shortly), ["a 1 e1", "a 2 e2"])
    }))

  it.effect.each<[string, { from: bigint; to: bigint }]>([
    ["from 0", { from: 0n, to: 3n }],
    ["backwards", { from: 5n, to: 4n }],
    ["beyond what a number holds", { from: 3n, to: 2n ** 60n }]
  ])("%s is refused", ([, range]) =>
    Effect.gen(function*() {
      const address = yield* FakeProducer.make({
        eventsBySlices: (call) => {
          call.headers("j")
          call.send({ message: { case: "sluiceSkipped", value: { slice, ...range } } })
        }
      })
      assert.instanceOf(yield* failure(yield* read(remote(address))), ProtocolError)
    }))

  it.effect("may overlap with what was read, and is where the stream goes on if its time is known", () =>
    Effect.gen(function*() {
      const inits: Array<FakeProducer.FakeCall["init"]> = []
      const address = yield* FakeProducer.make({
        eventsBySlices: (call, n) => {
          inits.push(call.init)
          call.headers("j")
          if (n === 1) call.send(...FakeProducer.events(1, 2), toSkipped(skipped(1, 4, 4)), toSkipped(skipped(5, 6)))
          if (n === 2) call.send(toSkipped(skipped(5, 6)), FakeProducer.event(7))
          if (n === 1) call.fail(status.UNAVAILABLE, "later")
        }
      })
      const reading = yield* read(remote(address))
      yield* received(reading, 3)
      assert.deepStrictEqual(reading.envelopes.map(shortly), ["a 1 e1", "a 2 e2", "a 7 e7"])
      assert.deepStrictEqual(
        inits[1]!.sluice!.positions.map(({ position, slice, timestamp }) => [slice, position, timestamp]),
        [[slice, 4n, 4n]],
        "the time of position 6 is not known"
      )
    }))

  it.effect("has to be said again on another connection, unless its time is known", () =>
    Effect.gen(function*() {
      const address = yield* FakeProducer.make({
        eventsBySlices: (call, n) => {
          call.headers("j")
          if (n === 1) {
            call.send(FakeProducer.event(1), toSkipped(skipped(2, 6)))
            call.fail(status.UNAVAILABLE, "later")
          } else {
            call.send(FakeProducer.event(7))
          }
        }
      })
      const error = yield* failure(yield* read(remote(address))) as Effect.Effect<ProtocolError>
      assert.instanceOf(error, ProtocolError)
      assert.strictEqual(error.problem, `position 7 of slice ${slice} follows 1`)
    }))

  it.effect("may begin anywhere where the stream begins at a time", () =>
    Effect.gen(function*() {
      const port = yield* offer([skipped(40, 41, 41), FakeSource.event(42)])
      const start = { journal: undefined, offsets: Offset.since(Timestamp.make(5), SliceRange.make(slice, slice)) }
      const reading = yield* read(remote(port), { start })
      yield* received(reading, 1)
    }))

  it.effect("moves the offset of a projection, which goes on behind it", () =>
    Effect.gen(function*() {
      const port = yield* offer([FakeSource.event(1), skipped(2, 4), FakeSource.event(5), skipped(6, 9, 9)])
      const handled: Array<string> = []
      const run = Effect.gen(function*() {
        const scope = yield* Scope.make()
        const projection = remote(port).pipe(
          Projection.exactlyOnce("left out", (envelope) => Effect.sync(() => handled.push(shortly(envelope))))
        )
        yield* Scope.provide(Layer.build(Projection.layer(projection)), scope)
        const store = yield* OffsetStore
        yield* Wait.until(
          "the offset to be 9",
          Effect.map(
            store.load(Projection.offsetKey(projection), SliceRange.full),
            ({ offsets }) => offsets.get(slice)?.position === 9
          )
        )
        yield* Scope.close(scope, Exit.void)
      })
      yield* run
      yield* run
      assert.deepStrictEqual(handled, ["a 1 e1", "a 5 e5"])
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

layer(Producer.quiet, { excludeTestServices: true })("the changes of durable states", (it) => {
  const Profile = StateType.make("profile", { codec: EventCodec.string })
  const Profiles = EventStream.make("profiles", { codec: EventCodec.string })

  it.effect("reach the consumer, though those that were changed again are left out", () =>
    Effect.gen(function*() {
      const port = yield* serve(
        EventProducer.layer(
          Profiles,
          Source.durableState(Profile).pipe(Source.map(({ event }) => Option.getOrElse(event, () => "deleted")))
        )
      )
      const change = (id: string, expected: number, state: string) =>
        DurableStateStore.upsert(Profile, { id, expected, state })
      for (let n = 0; n < 5; n++) {
        yield* change("ada", n, `a${n}`)
        yield* change("grace", n, `g${n}`)
      }
      const seen = new Map<string, string>()
      const projection = EventConsumer.source(Profiles, { address: `127.0.0.1:${port}` }).pipe(
        Projection.exactlyOnce("profiles", ({ event, persistenceId }) =>
          Effect.sync(() => seen.set(persistenceId, event)))
      )
      yield* Layer.build(Projection.layer(projection))
      const caughtUp = Wait.until(
        "the projection to catch up",
        Effect.map(Effect.option(ProjectionStatus.lag("profiles")), (lag) =>
          lag._tag === "Some" && lag.value === 0)
      )
      yield* caughtUp
      assert.deepStrictEqual(seen, new Map([["profile|ada", "a4"], ["profile|grace", "g4"]]))
      yield* change("ada", 5, "a5")
      yield* change("ada", 6, "a6")
      yield* DurableStateStore.delete(Profile, { id: "grace", expected: 5 })
      yield* Wait.until("the changes", () => seen.get("profile|grace") === "deleted")
      yield* caughtUp
      assert.strictEqual(seen.get("profile|ada"), "a6")
      const [status] = yield* ProjectionStatus.status("profiles")
      assert.strictEqual(status!.restarts, 0)
    }).pipe(Effect.provide(MemoryStorage.layer)))
})
