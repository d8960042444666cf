import { create } from "@bufbuild/protobuf"
import { AnySchema } from "@bufbuild/protobuf/wkt"
import { assert, it, layer } from "@effect/vitest"
import type * as Grpc from "@grpc/grpc-js"
import { status } from "@grpc/grpc-js"
import * as EventCodec from "@sluice/core/EventCodec"
import { EventDecodeError } from "@sluice/core/EventCodec"
import * as EventStream from "@sluice/core/EventStream"
import * as Journal from "@sluice/core/Journal"
import { JournalForked, JournalReplaced } from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Offset from "@sluice/core/Offset"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import { CallTransport } from "@sluice/grpc/CallTransport"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as EventProducer from "@sluice/grpc/EventProducer"
import { GrpcError, InsecureTransport, ProtocolError, StreamNotOffered } from "@sluice/grpc/GrpcError"
import * as Wait from "@sluice/testing/Wait"
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { failure, read, received, remote, shortly } from "./kit/Consumer.ts"
import * as FakeProducer from "./kit/FakeProducer.ts"
import * as Producer from "./kit/Producer.ts"
import { append, at, Cart, CartEvents, carts, serve } from "./kit/Producer.ts"
import * as TcpProxy from "./kit/TcpProxy.ts"

/** A storage of its own each time. */
const memory = Layer.fresh(MemoryStorage.layer)

const id = PersistenceId.make("Cart", "a")
const one = SequenceNumber.make(1)
const slice = Slice.ofPersistenceId(id)

const take = <E, R>(source: Source.Source<string, E, R>, n = 3) =>
  Stream.runCollect(Stream.take(Source.toStream(source), n))

const since = (micros: number, range?: SliceRange.SliceRange) => ({
  journal: undefined,
  offsets: Offset.since(Timestamp.make(micros), range)
})

/** What a source with the headers is refused with. */
const refused = (headers: Readonly<Record<string, string>>): Error => {
  try {
    remote("localhost:1", { headers })
  } catch (error) {
    return error as Error
  }
  return assert.fail("is not refused")
}

layer(Producer.quiet, { excludeTestServices: true })("a remote source", (it) => {
  it.effect("has the events of the stream, past and future, in the order of each entity", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      yield* append("a", ["a1", "a2"])
      yield* append("b", ["b1"])
      const reading = yield* read(remote(port))
      yield* received(reading, 3)
      yield* append("a", ["a3"])
      yield* received(reading, 4)
      assert.deepStrictEqual(reading.envelopes.map(shortly), ["a 1 a1", "a 2 a2", "b 1 b1", "a 3 a3"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("has them as the journal of the producer has them", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      yield* Journal.append(Cart, { id: "a", events: ["1", ""], tags: ["x", "y"], metadata: { trace: "7" } })
      yield* append("b", ["1"])
      assert.deepStrictEqual(yield* take(remote(port)), yield* take(Source.journal(Cart)))
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("has where replicated events come from, and foreign metadata, also past stages on both sides", () =>
    Effect.gen(function*() {
      const stage = Source.map(({ event }: { readonly event: string }) => `${event}!`)
      const port = yield* serve(EventProducer.layer(CartEvents, Source.journal(Cart).pipe(stage)))
      const about = {
        replication: {
          origin: "eu",
          originSequenceNumber: SequenceNumber.make(7),
          version: new Map([["eu", SequenceNumber.make(7)], ["us", SequenceNumber.make(3)]]),
          concurrent: true
        },
        foreignMetadata: { manifest: "ser.akka.io/31:cart.Meta", bytes: new Uint8Array([1, 2, 3]) }
      }
      yield* Journal.Journal.use((journal) =>
        journal.append({
          entityType: "Cart",
          persistenceId: PersistenceId.make("Cart", "a"),
          expected: "any",
          events: [{
            id: "00000000-0000-4000-8000-000000000000",
            payload: EventCodec.string.encodeUnsafe("tea"),
            tags: ["x"],
            metadata: { trace: "7" },
            ...about
          }],
          recheck: false
        })
      )
      const [found] = yield* take(remote(port).pipe(stage), 1)
      assert.strictEqual(found!.event, "tea!!")
      assert.deepStrictEqual([found!.tags, found!.metadata], [["x"], { trace: "7" }])
      assert.deepStrictEqual(found!.replication, about.replication)
      assert.deepStrictEqual(found!.foreignMetadata, about.foreignMetadata)
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("shows what the producer dropped as placeholders, which its events do not have", () =>
    Effect.gen(function*() {
      const port = yield* serve(
        EventProducer.layer(CartEvents, Source.journal(Cart).pipe(Source.filter(({ event }) => event !== "secret")))
      )
      yield* append("a", ["1", "secret", "3"])
      const { elements } = yield* Source.open(remote(port))
      const all = yield* Stream.runCollect(Stream.take(elements, 3))
      assert.deepStrictEqual(all.map(({ _tag, position }) => [_tag, Number(position)]), [
        ["Envelope", 1],
        ["Placeholder", 2],
        ["Envelope", 3]
      ])
      const reading = yield* read(remote(port))
      yield* received(reading, 2)
      assert.deepStrictEqual(reading.envelopes.map(shortly), ["a 1 1", "a 3 3"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("passes its events through stages of this side", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      yield* append("a", ["1", "2", "3"])
      const reading = yield* read(
        remote(port).pipe(
          Source.filter(({ event }) => event !== "2"),
          Source.map(({ event }) => Number(event) * 10)
        )
      )
      yield* received(reading, 2)
      assert.deepStrictEqual(reading.envelopes.map(({ event }) => event), [10, 30])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("has the slices that are asked for", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      for (let i = 0; i < 50; i++) yield* append(`${i * 7919}`, ["x"])
      const readings = yield* Effect.forEach(SliceRange.split(3), (range) => read(remote(port), { range }))
      yield* Wait.until("all", () => readings.reduce((sum, { envelopes }) => sum + envelopes.length, 0) === 50)
      for (const [i, range] of SliceRange.split(3).entries()) {
        assert.isNotEmpty(readings[i]!.envelopes)
        for (const { slice } of readings[i]!.envelopes) assert.isTrue(SliceRange.contains(range, slice))
      }
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("goes on after the offsets that it is given", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      const { identity } = yield* Journal.Journal
      yield* append("a", ["a1"])
      const { position, timestamp } = yield* append("a", ["a2"])
      yield* append("a", ["a3"])
      yield* append("b", ["b1"])
      const offsets = new Map([[slice, { position, timestamp }]])
      const reading = yield* read(remote(port), { start: { journal: identity, offsets } })
      yield* received(reading, 2)
      assert.deepStrictEqual(reading.envelopes.map(shortly), ["a 3 a3", "b 1 b1"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("begins at a time", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      for (const millis of [1000, 2000, 3000]) {
        for (const id of ["a", "b"]) yield* at(millis)(append(id, [`${millis}`]))
      }
      const from = (micros: number) =>
        Effect.gen(function*() {
          const reading = yield* read(remote(port), { start: since(micros) })
          yield* received(reading, 2)
          return reading.envelopes.map(shortly)
        })
      assert.deepStrictEqual(yield* from(2_000_000), ["a 2 2000", "b 2 2000", "a 3 3000", "b 3 3000"])
      assert.deepStrictEqual(yield* from(2_000_001), ["a 3 3000", "b 3 3000"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("reads one entity from one number to another", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      yield* append("a", ["1", "2", "3", "4"])
      const { entity } = remote(port).provider
      const numbers = (from: number, to: number, persistenceId = id) =>
        Effect.map(
          Stream.runCollect(entity(persistenceId, SequenceNumber.make(from), SequenceNumber.make(to))),
          (envelopes) => envelopes.map(({ sequenceNumber }) => Number(sequenceNumber))
        )
      assert.deepStrictEqual(yield* numbers(2, 3), [2, 3])
      assert.deepStrictEqual(yield* numbers(3, Number.MAX_SAFE_INTEGER), [3, 4])
      assert.deepStrictEqual(yield* numbers(1, 9, PersistenceId.make("Cart", "nobody")), [])
      const error = yield* Effect.flip(numbers(1, 9, PersistenceId.make("Order", "a")))
      assert.instanceOf(error, GrpcError)
      assert.strictEqual(error.code, status.INVALID_ARGUMENT)
      assert.strictEqual(error.method, "CurrentEventsByPersistenceId")
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("knows the heads of its producer's logs", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      const { heads } = remote(port).provider
      assert.strictEqual((yield* heads(SliceRange.full)).size, 0)
      yield* append("a", ["1", "2"])
      yield* append("b", ["1"])
      const journal = yield* Journal.Journal
      assert.deepStrictEqual(
        [...yield* heads(SliceRange.full)].toSorted(([a], [b]) => a - b),
        [...yield* journal.heads("Cart", SliceRange.full)].toSorted(([a], [b]) => a - b)
      )
      assert.deepStrictEqual([...(yield* heads(SliceRange.make(slice, slice))).keys()], [slice])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("fails at an event that its codec does not know, after those before it", () =>
    Effect.gen(function*() {
      const address = yield* FakeProducer.make({
        eventsBySlices: (call) => {
          call.headers("j")
          call.send(
            ...FakeProducer.events(1, 2),
            FakeProducer.event(3, { payload: create(AnySchema, { typeUrl: "test/unknown" }) })
          )
        }
      })
      const reading = yield* read(remote(address))
      const error = yield* failure(reading)
      assert.instanceOf(error, EventDecodeError)
      assert.strictEqual(error.sequenceNumber, 3)
      assert.deepStrictEqual(reading.envelopes.map(shortly), ["a 1 e1", "a 2 e2"])
    }))

  it.effect("sends its headers with every call", () =>
    Effect.gen(function*() {
      const seen: Array<Grpc.Metadata> = []
      const address = yield* FakeProducer.make({
        eventsBySlices: (call) => {
          seen.push(call.metadata)
          call.headers("j")
        },
        latestEventTimestamp: (metadata) => {
          seen.push(metadata)
          return {}
        },
        currentEventsByPersistenceId: (call) => {
          seen.push(call.metadata)
          call.end()
        }
      })
      const source = remote(address, { headers: { authorization: "Bearer 1234", "x-tenant": "t" } })
      yield* Source.open(source)
      yield* source.provider.heads(SliceRange.full)
      yield* Stream.runDrain(source.provider.entity(id, SequenceNumber.make(1), SequenceNumber.make(2)))
      assert.deepStrictEqual(
        seen.map((metadata) => [metadata.get("authorization"), metadata.get("x-tenant")]),
        Array.from({ length: 3 }, () => [["Bearer 1234"], ["t"]])
      )
    }))

  it.effect("says so when its headers do not come, and asks for them again", () =>
    Effect.gen(function*() {
      const address = yield* FakeProducer.make({
        eventsBySlices: (call) => {
          call.headers("j")
          call.send(FakeProducer.event(1))
        }
      })
      const transport = yield* CallTransport
      const sooner: Clock.Clock = Object.assign(Object.create(transport.clock), {
        sleep: (duration: Duration.Duration) => transport.clock.sleep(Duration.divideUnsafe(duration, 20))
      })
      const { layer, lines } = Producer.logging()
      yield* Effect.gen(function*() {
        let asked = 0
        const late = Effect.suspend(() => ++asked === 1 ? Effect.never : Effect.succeed({}))
        yield* received(yield* read(remote(address, { headers: late })), 1)
        assert.strictEqual(asked, 2)
        const { provider } = remote(address, { headers: Effect.never })
        for (
          const asking of [
            provider.heads(SliceRange.full),
            Stream.runDrain(provider.entity(id, SequenceNumber.make(1), SequenceNumber.make(2)))
          ]
        ) {
          const error = yield* Effect.flip(asking)
          assert.isTrue(error instanceof GrpcError && error.isRetryable)
        }
      }).pipe(
        Effect.provideService(CallTransport, Object.assign(Object.create(transport), { clock: sooner })),
        Effect.provide(layer)
      )
      assert.isTrue(lines.some((line) => line.includes("'headers' has not ended after 10 seconds")), lines.join("\n"))
    }))

  it.effect("asks for its headers anew for each call", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const address = yield* FakeProducer.make({
        latestEventTimestamp: (metadata) => {
          seen.push(...metadata.get("authorization"))
          return {}
        }
      })
      let renewed = 0
      const source = remote(address, { headers: Effect.sync(() => ({ authorization: `Bearer ${++renewed}` })) })
      for (let i = 0; i < 3; i++) yield* source.provider.heads(SliceRange.full)
      assert.deepStrictEqual(seen, ["Bearer 1", "Bearer 2", "Bearer 3"])
    }))

  it.effect("refuses a header that cannot be sent, without showing it", () =>
    Effect.gen(function*() {
      for (const headers of [{ authorization: "Bearer secret\n" }, { "not a name": "secret" }]) {
        const error = refused(headers)
        assert.instanceOf(error, RangeError)
        assert.include(error.message, JSON.stringify(Object.keys(headers)[0]))
        assert.notInclude(String(error.stack), "secret")
        const address = yield* FakeProducer.make({})
        const exit = yield* Effect.exit(
          remote(address, { headers: Effect.succeed(headers) }).provider.heads(SliceRange.full)
        )
        assert(exit._tag === "Failure")
        assert.notInclude(Cause.pretty(exit.cause), "secret")
      }
    }))

  it.effect("asks for its stream, its slices and nothing else, in a way that plain producers ignore", () =>
    Effect.gen(function*() {
      const inits: Array<FakeProducer.FakeCall["init"]> = []
      const address = yield* FakeProducer.make({
        eventsBySlices: (call) => {
          inits.push(call.init)
          call.headers("j")
        }
      })
      yield* Source.open(remote(address), { range: SliceRange.make(5, 9) })
      yield* Source.open(remote(address), {
        range: SliceRange.make(5, 6),
        start: since(5_000_001, SliceRange.make(5, 6))
      })
      const [first, second] = inits
      assert.deepStrictEqual([first!.streamId, first!.sliceMin, first!.sliceMax], ["cart", 5, 9])
      assert.isEmpty(first!.offset)
      assert.isEmpty(first!.filter)
      assert.deepStrictEqual([first!.sluice!.protocol, first!.sluice!.journal], [4, ""])
      assert.isEmpty(first!.sluice!.positions)
      // what a plain producer goes by
      assert.deepStrictEqual(
        second!.offset.map(({ seen, slice, timestamp }) => [timestamp?.seconds, timestamp?.nanos, seen.length, slice]),
        [[5n, 1000, 0, undefined]]
      )
      assert.deepStrictEqual(
        second!.sluice!.positions.map(({ position, slice, timestamp }) => [slice, position, timestamp]),
        [[5, 0n, 5_000_001n], [6, 0n, 5_000_001n]]
      )
    }))
})

const offsetsOf = ({ init }: FakeProducer.FakeCall) =>
  init.sluice!.positions.map(({ position, slice, timestamp }) => [slice, Number(position), Number(timestamp)])

layer(Producer.quiet, { excludeTestServices: true })("a connection that ends", (it) => {
  it.effect.each<[string, (call: FakeProducer.FakeCall) => void]>([
    ["OK", (call) => call.end()],
    ...(["CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "UNAVAILABLE"] as const).map((name) =>
      [name, (call: FakeProducer.FakeCall) => call.fail(status[name], "later")] as [
        string,
        (call: FakeProducer.FakeCall) => void
      ]
    )
  ])("with %s is made again, and goes on after the last event", ([, end]) =>
    Effect.gen(function*() {
      const inits: Array<FakeProducer.FakeCall> = []
      const address = yield* FakeProducer.make({
        eventsBySlices: (call, n) => {
          inits.push(call)
          call.headers("j")
          call.send(...FakeProducer.events(2 * n - 1, 2 * n))
          if (n === 1) end(call)
        }
      })
      const reading = yield* read(remote(address))
      yield* received(reading, 4)
      assert.deepStrictEqual(reading.envelopes.map(shortly), ["a 1 e1", "a 2 e2", "a 3 e3", "a 4 e4"])
      assert.deepStrictEqual(inits.map(offsetsOf), [[], [[slice, 2, 2]]])
      assert.deepStrictEqual(inits.map(({ init }) => init.sluice!.journal), ["", "j"])
    }))

  it.effect.each(
    [
      "UNKNOWN",
      "INVALID_ARGUMENT",
      "PERMISSION_DENIED",
      "UNAUTHENTICATED",
      "UNIMPLEMENTED",
      "INTERNAL",
      "DATA_LOSS"
    ] as const
  )("with %s fails, and says where, what and why", (name) =>
    Effect.gen(function*() {
      let calls = 0
      const address = yield* FakeProducer.make({
        eventsBySlices: (call) => {
          calls++
          call.headers("j")
          call.send(...FakeProducer.events(1, 2))
          call.fail(status[name], "because of this")
        }
      })
      const reading = yield* read(remote(address))
      const error = yield* failure(reading) as Effect.Effect<GrpcError>
      assert.instanceOf(error, GrpcError)
      assert.deepStrictEqual([error.address, error.method, error.code, error.details], [
        address,
        "EventsBySlices",
        status[name],
        "because of this"
      ])
      assert.strictEqual(error.message, `EventsBySlices of '${address}' ended with ${name}: because of this`)
      assert.deepStrictEqual(reading.envelopes.map(shortly), ["a 1 e1", "a 2 e2"])
      assert.strictEqual(calls, 1)
    }))

  it.effect("before its headers, as the producer is not there yet, is made again", () =>
    Effect.gen(function*() {
      const address = yield* FakeProducer.make({
        eventsBySlices: (call, n) => {
          if (n === 1) return call.fail(status.UNAVAILABLE, "starting")
          call.headers("j")
          call.send(FakeProducer.event(1))
        }
      })
      const reading = yield* read(remote(address))
      yield* received(reading, 1)
    }))

  it.effect("as the stream is unknown fails at first, whatever is asked, and names those on offer", () =>
    Effect.gen(function*() {
      const more = EventProducer.layer(EventStream.make("bücher", { codec: EventCodec.string }), Source.journal(Cart))
      const port = yield* serve(Layer.merge(carts, more))
      const address = `127.0.0.1:${port}`
      const source = EventConsumer.source(EventStream.make("orders", { codec: EventCodec.string }), { address })
      const { provider } = source
      const failures = [
        yield* failure(yield* read(source)),
        yield* Effect.flip(provider.heads(SliceRange.full)),
        yield* Effect.flip(provider.before(SliceRange.full, Timestamp.make(1))),
        yield* Effect.flip(Stream.runDrain(provider.entity(PersistenceId.make("Cart", "a"), one, one)))
      ]
      for (const error of failures) {
        assert.instanceOf(error, StreamNotOffered)
        assert.deepStrictEqual(error.offered, ["bücher", "cart"])
        assert.strictEqual(
          error.message,
          `'${address}' does not offer the stream 'orders', but 'bücher', 'cart': ` +
            "take the id of a stream that is offered there, or offer this one with 'EventProducer.layer'"
        )
      }
      const empty = `127.0.0.1:${yield* serve(Layer.empty)}`
      const other = EventConsumer.source(EventStream.make("cart", { codec: EventCodec.string }), { address: empty })
      assert.include(
        (yield* failure(yield* read(other))).message,
        "nor any other: where it starts, wait; otherwise offer it there"
      )
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("as the stream is unknown is made again by a projection, whose status says so meanwhile", () =>
    Effect.gen(function*() {
      const address = yield* FakeProducer.make({
        eventsBySlices: (call, n) => {
          if (n === 1) return call.fail(status.NOT_FOUND, "not yet")
          call.headers("j")
          call.send(FakeProducer.event(1))
        }
      })
      yield* Layer.build(Projection.layer(remote(address).pipe(Projection.atLeastOnce("carts", () => Effect.void))))
      let worker: ProjectionStatus.WorkerStatus | undefined
      const look = (f: (worker: ProjectionStatus.WorkerStatus) => boolean) =>
        Effect.map(ProjectionStatus.status("carts"), ([now]) => {
          worker = now
          return now !== undefined && f(now)
        })
      yield* Wait.until("the restart", look(({ state }) => state === "Restarting"))
      const error = Cause.squash(worker!.failure!.cause)
      assert.instanceOf(error, StreamNotOffered)
      assert.isUndefined(error.offered)
      yield* Wait.until("the event", look(({ handled }) => handled === 1))
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("as the stream is not known any more is made again, for a producer that starts offers it later", () =>
    Effect.gen(function*() {
      const address = yield* FakeProducer.make({
        eventsBySlices: (call, n) => {
          if (n === 2) return call.fail(status.NOT_FOUND, "not yet")
          call.headers("j")
          call.send(FakeProducer.event(n === 1 ? 1 : 2))
          if (n === 1) call.fail(status.UNAVAILABLE, "stops")
        }
      })
      const reading = yield* read(remote(address))
      yield* received(reading, 2)
      assert.deepStrictEqual(reading.envelopes.map(shortly), ["a 1 e1", "a 2 e2"])
    }))

  it.effect("goes on from its time in slices without an event so far", () =>
    Effect.gen(function*() {
      const inits: Array<FakeProducer.FakeCall> = []
      const address = yield* FakeProducer.make({
        eventsBySlices: (call, n) => {
          inits.push(call)
          call.headers("j")
          // from a time on, any position may be the first
          call.send(FakeProducer.event(6 + n))
          if (n === 1) call.fail(status.UNAVAILABLE, "later")
        }
      })
      const reading = yield* read(remote(address), { start: since(5, SliceRange.make(slice, slice)) })
      yield* received(reading, 2)
      assert.deepStrictEqual(inits.map(offsetsOf), [[[slice, 0, 5]], [[slice, 7, 7]]])
    }))

  it.effect("while nobody listens is made when somebody does", () =>
    Effect.gen(function*() {
      const producer = yield* Producer.restartable(carts)
      yield* producer.stop
      const reading = yield* read(remote(producer.port))
      yield* append("a", ["1"])
      yield* Effect.yieldNow
      assert.isUndefined(reading.fiber.pollUnsafe())
      yield* producer.start
      yield* received(reading, 1)
      assert.deepStrictEqual(reading.envelopes.map(shortly), ["a 1 1"])
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

it.effect("a producer that stays away is asked again after longer and longer, until it answers", () => {
  const waits: Array<number> = []
  const logging = Producer.logging()
  return Effect.gen(function*() {
    let calls = 0
    const address = yield* FakeProducer.make({
      eventsBySlices: (call) => {
        calls++
        if (calls <= 8) return call.fail(status.UNAVAILABLE, "closed")
        call.headers("j")
        if (calls > 9) return
        call.send(FakeProducer.event(1))
        call.fail(status.UNAVAILABLE, "closed again")
      }
    })
    const reading = yield* read(remote(address))
    for (let n = 1; n <= 9; n++) {
      yield* Wait.until("a failure", () => logging.lines.length === n)
      const [, wait] = /Connects to 'cart' at \S+ again in (\d+) ms: .*closed/.exec(logging.lines[n - 1]!)!
      waits.push(Number(wait))
      yield* TestClock.adjust(waits.at(-1)!)
    }
    yield* Wait.until("the last call", () => calls === 10)
    assert.lengthOf(reading.envelopes, 1)
    for (const [i, expected] of [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 200].entries()) {
      assert.isAtLeast(waits[i]!, expected * 0.8 - 1)
      assert.isAtMost(waits[i]!, expected * 1.2 + 1)
    }
  }).pipe(Effect.provide(logging.layer))
})

/** Answers with an event. */
const answer = (call: FakeProducer.FakeCall, n: number): void => {
  call.headers("j")
  call.send(FakeProducer.event(n))
}

it.effect("that a producer is there is said once all who read have a connection, if it was said that one has none", () => {
  const logging = Producer.logging("Info")
  return Effect.gen(function*() {
    const calls: Array<FakeProducer.FakeCall> = []
    const address = yield* FakeProducer.make({
      eventsBySlices: (call) => {
        calls.push(call)
        if (calls.length <= 2) call.fail(status.UNAVAILABLE, "closed")
        else if (calls.length <= 4) answer(call, 1)
      }
    })
    const source = remote(address)
    const first = yield* read(source)
    for (let n = 1; n <= 2; n++) {
      yield* Wait.until("a line", () => logging.lines.length === n)
      yield* TestClock.adjust("1 second")
    }
    yield* Wait.until("the event", () => first.envelopes.length === 1)
    // whoever is there from the beginning says nothing
    const second = yield* read(source)
    yield* Wait.until("the event", () => second.envelopes.length === 1)
    assert.lengthOf(logging.lines, 3)
    assert.match(logging.lines[2]!, /"Is connected to 'cart' at \S+"$/)

    for (const call of calls.slice(2)) call.fail(status.UNAVAILABLE, "lost")
    yield* Wait.until("the calls", Effect.map(TestClock.adjust("1 second"), () => calls.length === 6))
    answer(calls[4]!, 2)
    yield* Wait.until("an event", () => first.envelopes.length + second.envelopes.length === 3)
    assert.lengthOf(logging.lines, 4)
    answer(calls[5]!, 2)
    yield* Wait.until("the last line", () => logging.lines.length === 5)
    assert.match(logging.lines[4]!, /"Is connected to 'cart' at \S+ again"$/)
  }).pipe(Effect.provide(logging.layer))
})

it.effect("that a producer stays away is said again to whoever reads later, at the first failure", () => {
  const logging = Producer.logging()
  return Effect.gen(function*() {
    const source = remote(
      yield* FakeProducer.make({ eventsBySlices: (call) => call.fail(status.UNAVAILABLE, "closed") })
    )
    const saying = (n: number) => Wait.until("a failure", () => logging.lines.length === n, { atMost: "60 seconds" })
    yield* Effect.scoped(Effect.gen(function*() {
      yield* read(source)
      for (let n = 1; n <= 4; n++) {
        if (n > 1) yield* TestClock.adjust("2 seconds")
        yield* saying(n)
      }
    }))
    yield* read(source)
    yield* saying(5)
    assert.match(logging.lines[4]!, /again in (1[6-9]|2[0-4])\d ms: .*closed/)
  }).pipe(Effect.provide(logging.layer))
})

/** How a reading ends that is sent two events and then these answers. */
const outcome = (...answers: ReadonlyArray<FakeProducer.Answer | Uint8Array>) =>
  Effect.gen(function*() {
    const address = yield* FakeProducer.make({
      eventsBySlices: (call) => {
        call.headers("j")
        call.send(...FakeProducer.events(1, 2), ...answers)
      }
    })
    const reading = yield* read(remote(address))
    const error = yield* failure(reading)
    return { address, error, events: reading.envelopes.map(shortly) }
  })

layer(Producer.quiet, { excludeTestServices: true })("a producer that breaks the protocol", (it) => {
  it.effect.each<[string, FakeProducer.Answer | Uint8Array, string]>([
    ["a gap in its positions", FakeProducer.event(4), `position 4 of slice ${slice} follows 2`],
    [
      "an event without a position",
      FakeProducer.event(3, { sluicePosition: 0n }),
      "event of 'Cart|a' without a position"
    ],
    ["an event without an offset", FakeProducer.event(3, { offset: [] }), "an event without an offset"],
    ["an offset without a timestamp", FakeProducer.event(3, { offset: [{}] }), "an event without an offset"],
    [
      "an id that is none",
      FakeProducer.event(3, { persistenceId: "a" }),
      "\"a\" is no persistence id: 'entityType|entityId', neither of them empty"
    ],
    [
      "a sequence number that no number holds",
      FakeProducer.event(3, { seqNr: 2n ** 53n }),
      `${2n ** 53n} is no safe integer`
    ],
    [
      "a position that no number holds",
      FakeProducer.event(3, { sluicePosition: 2n ** 53n }),
      `${2n ** 53n} is no safe integer`
    ],
    ["neither an event nor a filtered event", new Uint8Array(), "a message with neither an event nor a filtered event"]
  ])("with %s fails the stream, after the events before it", ([, answer, problem]) =>
    Effect.gen(function*() {
      const { address, error, events } = yield* outcome(answer, FakeProducer.event(3))
      assert.instanceOf(error, ProtocolError)
      assert.deepStrictEqual([error.address, error.problem], [address, problem])
      assert.strictEqual(error.message, `'${address}' breaks the protocol: ${problem}`)
      assert.deepStrictEqual(events, ["a 1 e1", "a 2 e2"])
    }))

  it.effect("is found out after the events that arrived together with the fault", () =>
    Effect.gen(function*() {
      const address = yield* FakeProducer.make({
        eventsBySlices: (call) => {
          call.headers("j")
          call.send(...FakeProducer.events(1, 3), FakeProducer.event(5), FakeProducer.event(6))
        }
      })
      const source = remote(address)
      const { elements } = yield* Source.open(source)
      // answered behind them on the same connection, so that they are all there
      yield* source.provider.heads(SliceRange.full)
      yield* source.provider.heads(SliceRange.full)
      let n = 0
      const error = yield* Effect.flip(Stream.runForEach(elements, () => Effect.sync(() => n++)))
      assert.instanceOf(error, ProtocolError)
      assert.strictEqual(error.problem, `position 5 of slice ${slice} follows 3`)
      assert.strictEqual(n, 3)
    }))

  it.effect("with bytes that are no message fails the stream, after the events before them", () =>
    Effect.gen(function*() {
      const { error, events } = yield* outcome(Buffer.from([0xff, 0xff]), FakeProducer.event(3))
      assert.instanceOf(error, ProtocolError)
      assert.deepStrictEqual(events, ["a 1 e1", "a 2 e2"])
    }))

  it.effect("with a first position that is not 1 fails the stream", () =>
    Effect.gen(function*() {
      const address = yield* FakeProducer.make({
        eventsBySlices: (call) => {
          call.headers("j")
          call.send(FakeProducer.event(2))
        }
      })
      const error = yield* failure(yield* read(remote(address))) as Effect.Effect<ProtocolError>
      assert.strictEqual(error.problem, `position 2 of slice ${slice} follows 0`)
    }))

  it.effect("with a slice that was not asked for fails the stream, as others are working on it", () =>
    Effect.gen(function*() {
      const address = yield* FakeProducer.make({
        eventsBySlices: (call) => {
          call.headers("j")
          call.send(FakeProducer.event(1))
        }
      })
      const range = SliceRange.make(slice + 1, slice + 1)
      const error = yield* failure(yield* read(remote(address), { range })) as Effect.Effect<ProtocolError>
      assert.strictEqual(error.problem, `event of 'Cart|a', whose slice ${slice} is not in ${slice + 1}-${slice + 1}`)
    }))

  it.effect("with positions that it has sent before is forgiven", () =>
    Effect.gen(function*() {
      const address = yield* FakeProducer.make({
        eventsBySlices: (call, n) => {
          call.headers("j")
          if (n === 1) {
            call.send(
              ...FakeProducer.events(1, 3),
              ...FakeProducer.events(2, 3),
              FakeProducer.event(1),
              FakeProducer.event(4)
            )
            call.fail(status.UNAVAILABLE, "again")
          } else {
            call.send(...FakeProducer.events(1, 6))
          }
        }
      })
      const reading = yield* read(remote(address))
      yield* received(reading, 6)
      assert.deepStrictEqual(reading.envelopes.map(shortly), [1, 2, 3, 4, 5, 6].map((n) => `a ${n} e${n}`))
    }))

  it.effect("in its answer about the heads fails the question", () =>
    Effect.gen(function*() {
      for (const answer of [Buffer.from([0xff]), { sluiceHeads: [{ slice: 1024, position: 1n, timestamp: 1n }] }]) {
        const address = yield* FakeProducer.make({ latestEventTimestamp: () => answer })
        const error = yield* Effect.flip(remote(address).provider.heads(SliceRange.full))
        assert.instanceOf(error, ProtocolError)
      }
    }))

  it.effect("in its events of an entity fails the stream of them", () =>
    Effect.gen(function*() {
      const address = yield* FakeProducer.make({
        currentEventsByPersistenceId: (call) => call.send(FakeProducer.event(1, { offset: [] }))
      })
      const { entity } = remote(address).provider
      const error = yield* Effect.flip(Stream.runDrain(entity(id, SequenceNumber.make(1), SequenceNumber.make(2))))
      assert.instanceOf(error, ProtocolError)
    }))
})

layer(Producer.quiet, { excludeTestServices: true })("another journal", (it) => {
  it.effect("is not what a status is of that follows headers which say nothing of any, as those of proxies do", () =>
    Effect.gen(function*() {
      const address = yield* FakeProducer.make({
        eventsBySlices: (call, n) => {
          call.headers(n === 1 ? undefined : "j")
          if (n === 1) call.fail(status.UNAVAILABLE, "no healthy upstream")
          else call.send(FakeProducer.event(1))
        }
      })
      yield* received(yield* read(remote(address)), 1)
    }))

  it.effect("is not looked for where events came from before, whatever is there for a while", () =>
    Effect.gen(function*() {
      const address = yield* FakeProducer.make({
        eventsBySlices: (call, n) => {
          call.headers(n === 2 ? undefined : "j")
          call.send(FakeProducer.event(n === 3 ? 2 : 1))
          if (n === 1) call.fail(status.UNAVAILABLE, "again")
        }
      })
      yield* received(yield* read(remote(address)), 2)
    }))

  it.effect("is not looked for where stored offsets are of a journal, either", () =>
    Effect.gen(function*() {
      const address = yield* FakeProducer.make({
        eventsBySlices: (call, n) => {
          call.headers(n === 1 ? undefined : "j")
          call.send(FakeProducer.event(1))
        }
      })
      yield* received(yield* read(remote(address), { start: { journal: "j", offsets: Offset.none } }), 1)
    }))

  it.effect("than the one that was read is noticed when the connection is made again", () =>
    Effect.gen(function*() {
      const address = yield* FakeProducer.make({
        eventsBySlices: (call, n) => {
          call.headers(n === 1 ? "before" : "after")
          call.send(FakeProducer.event(n))
          if (n === 1) call.fail(status.UNAVAILABLE, "again")
        }
      })
      const reading = yield* read(remote(address))
      const error = yield* failure(reading) as Effect.Effect<JournalReplaced>
      assert.instanceOf(error, JournalReplaced)
      assert.deepStrictEqual([error.expected, error.actual, error.isFinal], ["before", "after", true])
      assert.include(error.message, "The offsets of 'cart'")
      assert.deepStrictEqual(reading.envelopes.map(shortly), ["a 1 e1"])
    }))

  it.effect("than the one that the offsets are of is noticed, with our server, at the first connection", () =>
    Effect.gen(function*() {
      const { layer, lines } = Producer.logging()
      const port = yield* serve(carts).pipe(Effect.provide(layer))
      const { identity } = yield* Journal.Journal
      yield* append("a", ["1"])
      const offsets = new Map([[slice, Offset.make(1, 1)]])
      const error = yield* failure(yield* read(remote(port), { start: { journal: "before", offsets } }))
      assert.instanceOf(error, JournalReplaced)
      assert.deepStrictEqual([error.expected, error.actual], [
        "before",
        `${identity}/events/Cart`
      ])
      yield* Wait.until("the log of the producer", () => lines.length > 0)
      assert.match(
        lines[0]!,
        /EventsBySlices failed for 127\.0\.0\.1:\d+ on the stream 'cart'".*Correct the address or restore the database/
      )
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("behind the same address is noticed, with our server, after it was restarted", () =>
    Effect.gen(function*() {
      const [one, other] = yield* Effect.all([Layer.build(memory), Layer.build(memory)])
      const before = yield* Producer.restartable(Layer.provide(carts, Layer.succeedContext(one)))
      const reading = yield* read(remote(before.port))
      yield* Effect.provide(append("a", ["1"]), one)
      yield* received(reading, 1)
      yield* before.stop
      yield* serve(carts, { port: before.port }).pipe(Effect.provide(other))
      assert.instanceOf(yield* failure(reading), JournalReplaced)
    }))

  it.effect("of the same identity that has lost events is noticed, with our server", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      const { identity } = yield* Journal.Journal
      yield* append("a", ["1"])
      const lost = Offset.make(7, 12_345)
      const start = { journal: identity, offsets: new Map([[slice, lost]]) }
      const error = yield* failure(yield* read(remote(port), { start })) as Effect.Effect<JournalForked>
      assert.instanceOf(error, JournalForked)
      assert.deepStrictEqual([error.entityType, Number(error.slice), error.offset], ["cart", slice, lost])
      assert.isTrue(error.isFinal)
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("that has lost events is noticed when the connection is made again", () =>
    Effect.gen(function*() {
      const address = yield* FakeProducer.make({
        eventsBySlices: (call, n) => {
          if (n === 1) {
            call.headers("j")
            call.send(FakeProducer.event(1))
            call.fail(status.UNAVAILABLE, "again")
          } else {
            call.fail(status.FAILED_PRECONDITION, "lost", { "sluice-fork": `[${slice},1,1]` })
          }
        }
      })
      const error = yield* failure(yield* read(remote(address))) as Effect.Effect<JournalForked>
      assert.instanceOf(error, JournalForked)
      assert.deepStrictEqual(error.offset, Offset.make(1, 1))
    }))

  it.effect.each<[string, FakeProducer.Answer]>([
    ["another event at the last position", FakeProducer.event(3, { sluicePosition: 2n })],
    ["an older event at the next position", FakeProducer.event(1, { sluicePosition: 3n })]
  ])(
    "that goes on with %s is noticed on the stream, after the events before it",
    ([, answer]) =>
      Effect.gen(function*() {
        const { error, events } = yield* outcome(answer, FakeProducer.event(4))
        assert.instanceOf(error, JournalForked)
        assert.deepStrictEqual([error.entityType, error.slice, error.offset], ["cart", slice, Offset.make(2, 2)])
        assert.deepStrictEqual(events, ["a 1 e1", "a 2 e2"])
      })
  )

  it.effect.each(["", "{", "[]", "[1024,1,1]", `[1,-1,1]`, `[1,1,"x"]`])(
    "cannot be told from the trailer '%s', so that the status is what is left",
    (trailer) =>
      Effect.gen(function*() {
        const address = yield* FakeProducer.make({
          eventsBySlices: (call) => call.fail(status.FAILED_PRECONDITION, "lost", { "sluice-fork": trailer })
        })
        const error = yield* failure(yield* read(remote(address))) as Effect.Effect<GrpcError>
        assert.instanceOf(error, GrpcError)
        assert.deepStrictEqual([error.code, error.details], [status.FAILED_PRECONDITION, "lost"])
      })
  )
})

layer(Producer.quiet, { excludeTestServices: true })("an event of the largest size that a journal takes", (it) => {
  it.effect("arrives, and a larger one is refused before it is stored, with the limit", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      const { maxEventBytes } = yield* Journal.Journal
      const event = "x".repeat(maxEventBytes - "ser.akka.io/20".length)
      yield* append("a", [event])
      yield* append("a", ["x".repeat(3 * 1024 * 1024)])
      const error = yield* Effect.flip(append("a", [`${event}x`]))
      assert.instanceOf(error, Journal.EventTooLarge)
      assert.include(error.message, `has ${maxEventBytes + 1} bytes, more than the limit of ${maxEventBytes}`)
      yield* append("a", [event])
      const reading = yield* read(remote(port))
      yield* received(reading, 3)
      assert.deepStrictEqual(
        reading.envelopes.map(({ event, sequenceNumber }) => [Number(sequenceNumber), event.length]),
        [
          [1, event.length],
          [2, 3 * 1024 * 1024],
          [3, event.length]
        ]
      )
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

layer(Producer.quiet, { excludeTestServices: true })("a message that is too large", (it) => {
  it.effect("for a consumer fails the stream after the events before it, and says of which entity it is", () =>
    Effect.gen(function*() {
      const { layer, lines } = Producer.logging()
      // small where it is stored, but a stage makes it large
      const port = yield* serve(
        EventProducer.layer(
          CartEvents,
          Source.journal(Cart).pipe(
            Source.map(({ event }) => event === "large" ? "x".repeat(5 * 1024 * 1024) : event)
          )
        )
      ).pipe(Effect.provide(layer))
      yield* append("a", ["small", "large", "behind"])
      const reading = yield* read(remote(port))
      const error = yield* failure(reading) as Effect.Effect<GrpcError>
      assert.instanceOf(error, GrpcError)
      assert.deepStrictEqual(reading.envelopes.map(shortly), ["a 1 small"])
      assert.strictEqual(error.code, status.INTERNAL)
      assert.match(error.details, /^An event for 'Cart\|a' has 52429\d\d bytes, more than the limit of 4194304/)
      yield* Wait.until("the log", () => lines.join("\n").includes("An event for 'Cart|a' has"))
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

layer(Producer.quiet, { excludeTestServices: true })("lag", (it) => {
  it.effect("of a projection of a remote stream is exact, across the wire", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      for (let i = 0; i < 20; i++) yield* append(`c-${i}`, ["1", "2"])
      let stop = false
      const projection = remote(port).pipe(
        Projection.exactlyOnce("lagging", () => stop ? Effect.never : Effect.void),
        Projection.workers(3)
      )
      yield* Layer.build(Layer.provide(Projection.layer(projection), memory))
      const lag = ProjectionStatus.lag("lagging")
      yield* Wait.until("the end", Effect.map(lag, (lag) => lag === 0))
      stop = true
      yield* append("c-0", ["3", "4", "5"])
      yield* append("c-1", ["3"])
      assert.strictEqual(yield* lag, 4)
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("cannot be told while the producer is away", () =>
    Effect.gen(function*() {
      const producer = yield* Producer.restartable(carts)
      yield* producer.stop
      const error = yield* Effect.flip(remote(producer.port).provider.heads(SliceRange.full)) as Effect.Effect<
        GrpcError
      >
      assert.instanceOf(error, GrpcError)
      assert.deepStrictEqual([error.code, error.method, error.isRetryable], [
        status.UNAVAILABLE,
        "LatestEventTimestamp",
        true
      ])
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

layer(Producer.quiet, { excludeTestServices: true })("one connection", (it) => {
  it.effect("serves all streams to one producer, and is closed with the last", () =>
    Effect.gen(function*() {
      const proxy = yield* TcpProxy.make(yield* serve(carts))
      yield* append("a", ["1"])
      yield* Effect.gen(function*() {
        const source = remote(proxy.port)
        const readings = yield* Effect.forEach(SliceRange.split(8), (range) => read(source, { range }))
        const all = yield* read(remote(proxy.port))
        yield* received(all, 1)
        yield* Wait.until("an event", () => readings.some(({ envelopes }) => envelopes.length > 0))
        yield* source.provider.heads(SliceRange.full)
        yield* Stream.runDrain(source.provider.entity(id, SequenceNumber.make(1), SequenceNumber.make(2)))
        assert.strictEqual(proxy.made, 1)
      }).pipe(Effect.scoped)
      yield* Wait.until("the connection to be closed", () => proxy.open === 0)
      assert.strictEqual(proxy.made, 1)
      const again = yield* read(remote(proxy.port))
      yield* received(again, 1)
      assert.strictEqual(proxy.made, 2)
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect.each(["example.com:8101", "10.0.0.1:8101", "0.0.0.0:8101", "[2001:db8::1]:8101", "cart:8101"])(
    "to %s is refused without TLS, for good",
    (address) =>
      Effect.gen(function*() {
        const source = remote(address)
        const failures = [
          yield* failure(yield* read(source)),
          yield* Effect.flip(source.provider.heads(SliceRange.full)),
          yield* Effect.flip(
            Stream.runDrain(source.provider.entity(id, SequenceNumber.make(1), SequenceNumber.make(2)))
          )
        ] as ReadonlyArray<InsecureTransport>
        for (const error of failures) {
          assert.instanceOf(error, InsecureTransport)
          assert.strictEqual(error.address, address)
          assert.isTrue(error.isFinal)
        }
      })
  )

  it.effect("without TLS is made where the network is to be trusted", () =>
    Effect.gen(function*() {
      // which this machine takes for itself, though it is not known to be
      const port = yield* serve(carts, { host: "0.0.0.0", insecure: true })
      yield* append("a", ["1"])
      yield* received(yield* read(remote(`0.0.0.0:${port}`, { insecure: true })), 1)
      yield* received(yield* read(remote(`localhost:${port}`)), 1)
    }).pipe(Effect.provide(MemoryStorage.layer)))
})
