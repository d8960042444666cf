import { assert, describe, it as plainIt, layer } from "@effect/vitest"
import { Metadata, status } from "@grpc/grpc-js"
import * as DurableStateStore from "@sluice/core/DurableStateStore"
import * as EntityType from "@sluice/core/EntityType"
import type { Place } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventFilter from "@sluice/core/EventFilter"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import * as Source from "@sluice/core/Source"
import * as StateType from "@sluice/core/StateType"
import type { Headers } from "@sluice/grpc/Call"
import type { Caller } from "@sluice/grpc/Caller"
import { CallTransport } from "@sluice/grpc/CallTransport"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as EventProducer from "@sluice/grpc/EventProducer"
import { CallRefused } from "@sluice/grpc/GrpcError"
import type { Visibility, Visible } from "@sluice/grpc/Visibility"
import * as Wait from "@sluice/testing/Wait"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Certificates from "../../../test/kit/Certificates.ts"
import type { StreamOut } from "../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import { toCriteria } from "../src/internal/wire/criteria.ts"
import { toTimestampMessage } from "../src/internal/wire/messages.ts"
import { protocolVersion } from "../src/internal/wire/protocolVersion.ts"
import * as AkkaProducer from "./kit/AkkaProducer.ts"
import { remote } from "./kit/Consumer.ts"
import * as Producer from "./kit/Producer.ts"
import { Cart, CartEvents, serve } from "./kit/Producer.ts"
import * as RawClient from "./kit/RawClient.ts"
import { eventsOf, newAnswers, type Request, shortly } from "./kit/RawClient.ts"
import { caughtUp, effectsOf, makeStorage, record, run } from "./kit/Recorder.ts"

const append = (id: string, text: string, tags: ReadonlyArray<string> = [], tenant = "acme") =>
  Journal.append(Cart, { id, events: [text], tags, metadata: { tenant } })

/** The carts, their events in capitals, and what is visible of them. */
const offer = <R = never>(select: Visibility<R>) =>
  EventProducer.layer(CartEvents, Source.journal(Cart).pipe(Source.map(({ event }) => event.toUpperCase())), { select })

const ofTenant = ({ headers: { tenant } }: Caller) => ({ metadata }: Place) => metadata["tenant"] === tenant

const metadataOf = (headers: Headers): Metadata => {
  const metadata = new Metadata()
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value)
  return metadata
}

type Init = NonNullable<Extract<Request, { case: "init" }>["value"]>

const init = (change: Partial<Init> = {}): Request => ({
  case: "init",
  value: { streamId: "cart", sliceMin: 0, sliceMax: 1023, ...change } as Init
})

/** As a consumer of ours asks. */
const inBatches = { sluice: { protocol: protocolVersion, journal: "", positions: [] } as never }

const ask = (id: string, seqNr: number) => ({
  streamId: "cart",
  persistenceId: EntityType.persistenceId(Cart, id),
  seqNr: BigInt(seqNr)
})

/** All the ways to ask for events, as a caller with these headers. */
const callerOf = (port: number, headers: Headers = {}) =>
  Effect.map(RawClient.client(port), (client) => {
    const metadata = metadataOf(headers)
    const entityOnce = (id: string, sluiceBatches: boolean, from = 1, to = 1_000_000) =>
      Effect.gen(function*() {
        const { persistenceId, streamId } = ask(id, 1)
        const request = { streamId, persistenceId, fromSeqNr: BigInt(from), toSeqNr: BigInt(to), sluiceBatches }
        const answers = yield* RawClient.currentEventsByPersistenceId(client, request, { metadata })
        const { code, details } = yield* RawClient.ended(answers)
        if (code !== status.OK) return [`${status[code]}: ${details}`]
        return answers.messages.flatMap((answer) => sluiceBatches ? eventsOf(answer) : [shortly(answer)])
      }).pipe(Effect.scoped)
    const entity = (id: string, from = 1, to = 1_000_000) =>
      Effect.gen(function*() {
        const answers = yield* entityOnce(id, false, from, to)
        assert.deepStrictEqual(yield* entityOnce(id, true, from, to), answers, "in batches")
        return answers
      })
    return {
      stream: (...requests: ReadonlyArray<Request>) =>
        Effect.map(RawClient.eventsBySlices(client, { metadata }), (call) => {
          requests.forEach(call.send)
          return call
        }),
      entity,
      entityOnce,
      load: (id: string, seqNr: number) =>
        RawClient.loadEvent(client, ask(id, seqNr), metadata).pipe(
          Effect.map((answer) => shortly(answer as unknown as StreamOut)),
          Effect.catch(({ code, details }) => Effect.succeed(`${status[code]}: ${details}`))
        ),
      time: (id: string, seqNr: number) =>
        RawClient.eventTimestamp(client, ask(id, seqNr), metadata).pipe(
          Effect.map(({ timestamp }) => timestamp === undefined ? "none" : "a time"),
          Effect.catch(({ code, details }) => Effect.succeed(`${status[code]}: ${details}`))
        ),
      latest: RawClient.latestEventTimestamp(
        client,
        { streamId: "cart", sliceMin: 0, sliceMax: 1023, sluiceHeads: true },
        metadata
      ).pipe(
        Effect.map(({ sluiceHeads }) => `${sluiceHeads.length} heads`),
        Effect.catch(({ code, details }) => Effect.succeed(`${status[code]}: ${details}`))
      )
    }
  })

const shown = (answers: RawClient.Answers, n: number) =>
  Effect.map(newAnswers(answers, n), (messages) => messages.map(shortly))

const large = EventFilter.excludeAll.pipe(EventFilter.includeTags("large"))

layer(Producer.quiet, { excludeTestServices: true })("what a caller may not see", (it) => {
  it.effect("is not there, however it is asked for", () =>
    Effect.gen(function*() {
      const port = yield* serve(offer(ofTenant))
      yield* append("a", "a1")
      yield* append("a", "a2")
      yield* append("b", "b1", [], "other")
      const last = yield* append("b", "b2", [], "other")
      const acme = yield* callerOf(port, { tenant: "acme" })
      const replays = ["a", "b"].map((id) => ({ persistenceId: `Cart|${id}`, seqNr: 1n }))
      const included = EventFilter.passAll.pipe(
        EventFilter.includeEntityIds({ entityId: "a", from: 1 }, { entityId: "b", from: 1 }),
        EventFilter.includeMatching("b")
      )
      // the last event, and reminders of those before it
      const offset = [{ timestamp: toTimestampMessage(last.timestamp), seen: [] }]
      const inits = [{}, { offset }, { filter: toCriteria(EventFilter.diff(EventFilter.passAll, included)) }] as const
      for (const change of inits) {
        const answers = yield* acme.stream(
          init(change),
          { case: "replay", value: { persistenceIdOffset: replays } },
          {
            case: "replay",
            value: {
              replayPersistenceIds: replays.map((fromPersistenceIdOffset) => ({
                fromPersistenceIdOffset,
                filterAfterSeqNr: 2n ** 63n - 1n
              }))
            }
          }
        )
        yield* Wait.until("the replay", () => answers.messages.length >= 4)
        yield* append("c", "last")
        yield* Wait.until("the last", () => answers.messages.map(shortly).some((text) => text.endsWith("LAST")))
        for (const text of answers.messages.map(shortly)) assert.match(text, /^[ac] /)
      }
      assert.deepStrictEqual(yield* acme.entity("a"), ["a 1 A1", "a 2 A2"])
      // as an entity that nobody has written to
      assert.deepStrictEqual(yield* acme.entity("b"), [])
      assert.deepStrictEqual(yield* acme.entity("nobody"), [])
      assert.strictEqual(yield* acme.load("a", 2), "a 2 A2")
      assert.strictEqual(yield* acme.load("b", 2), "NOT_FOUND: there is no event 2 of 'Cart|b'")
      assert.strictEqual(yield* acme.load("nobody", 2), "NOT_FOUND: there is no event 2 of 'Cart|nobody'")
      assert.strictEqual(yield* acme.time("a", 1), "a time")
      assert.strictEqual(yield* acme.time("b", 1), "none")
      // positions and times are no events
      assert.strictEqual(yield* acme.latest, "3 heads")

      const other = yield* callerOf(port, { tenant: "other" })
      assert.deepStrictEqual(yield* other.entity("b"), ["b 1 B1", "b 2 B2"])
      assert.deepStrictEqual(yield* shown(yield* other.stream(init()), 2), ["b 1 B1", "b 2 B2"])
      const nobody = yield* callerOf(port)
      assert.deepStrictEqual(yield* nobody.entity("b"), [])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("keeps its place, where more of its entity can be seen, so that numbers have no gap", () =>
    Effect.gen(function*() {
      const port = yield* serve(offer(large))
      yield* append("a", "1")
      yield* append("a", "2", ["large"])
      yield* append("a", "3")
      yield* append("b", "1")
      const caller = yield* callerOf(port)
      assert.deepStrictEqual(yield* caller.entity("a"), ["a 1 -", "a 2 2", "a 3 -"])
      assert.deepStrictEqual(yield* caller.entity("a", 1, 1), ["a 1 -"])
      assert.deepStrictEqual(yield* caller.entity("a", 3, 3), [])
      assert.deepStrictEqual(yield* caller.entity("b"), [])
      assert.strictEqual(yield* caller.load("a", 1), "NOT_FOUND: there is no event 1 of 'Cart|a'")
      assert.strictEqual(yield* caller.time("a", 1), "none")
      assert.strictEqual(yield* caller.time("a", 2), "a time")
      assert.deepStrictEqual(yield* shown(yield* caller.stream(init()), 1), ["a 2 2"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("is not there where it is a state either", () =>
    Effect.gen(function*() {
      const Profile = StateType.make("Cart", { codec: EventCodec.string })
      const states = Source.durableState(Profile).pipe(Source.map(({ event }) => Option.getOrElse(event, () => "gone")))
      const port = yield* serve(EventProducer.layer(CartEvents, states, { select: large }))
      const write = (id: string, expected: number, state: string, ...tags: ReadonlyArray<string>) =>
        DurableStateStore.upsert(Profile, { id, expected, state, tags })
      yield* write("a", 0, "small", "small")
      yield* write("b", 0, "large", "large")
      const caller = yield* callerOf(port)
      const answers = yield* caller.stream(init())
      assert.deepStrictEqual(yield* shown(answers, 1), ["b 1 large"])
      assert.deepStrictEqual([yield* caller.entity("a"), yield* caller.entity("b")], [[], ["b 1 large"]])
      assert.strictEqual(yield* caller.load("a", 1), "NOT_FOUND: there is no event 1 of 'Cart|a'")
      yield* write("a", 1, "larger", "large")
      assert.deepStrictEqual(yield* shown(answers, 2), ["b 1 large", "a 2 larger"])
      assert.deepStrictEqual(yield* caller.entity("a"), ["a 2 larger"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("is not sent to calls that run, from when it is set", () =>
    Effect.gen(function*() {
      const tenants = yield* SubscriptionRef.make<EventFilter.EventFilter>(EventFilter.passAll)
      const port = yield* serve(offer(tenants))
      const caller = yield* callerOf(port)
      const [plain, batched] = [
        yield* caller.stream(init()),
        yield* caller.stream(init(inBatches))
      ]
      yield* append("a", "1")
      assert.deepStrictEqual(yield* shown(plain, 1), ["a 1 1"])
      yield* SubscriptionRef.set(tenants, EventFilter.passAll.pipe(EventFilter.excludeEntityIds("a")))
      yield* append("a", "2")
      yield* append("b", "1")
      assert.deepStrictEqual(yield* shown(plain, 2), ["a 1 1", "b 1 1"])
      assert.deepStrictEqual(yield* caller.entity("a"), [])
      const batches = () => batched.messages.flatMap(eventsOf)
      yield* Wait.until("the batches", () => batches().includes("b 1 1"))
      yield* SubscriptionRef.set(tenants, EventFilter.passAll)
      yield* append("a", "3")
      assert.deepStrictEqual(yield* shown(plain, 3), ["a 1 1", "b 1 1", "a 3 3"])
      assert.deepStrictEqual(yield* caller.entity("a"), ["a 1 1", "a 2 2", "a 3 3"])
      yield* Wait.until("the batches", () => batches().includes("a 3 3"))
      assert.deepStrictEqual(batches(), ["a 1 1", "left out", "b 1 1", "a 3 3"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("is not sent, however often it changes while events flow", () =>
    Effect.gen(function*() {
      const now = yield* SubscriptionRef.make<Visible>(EventFilter.passAll)
      const port = yield* serve(offer(now))
      const caller = yield* callerOf(port)
      const plain = yield* caller.stream(init())
      const batched = yield* caller.stream(init(inBatches))
      const all = [() => plain.messages.map(shortly), () => batched.messages.flatMap(eventsOf)]
      const open: Array<string> = []
      const narrow = EventFilter.excludeAll.pipe(EventFilter.includeTags("end"))
      for (let round = 1; round <= 40; round++) {
        yield* Effect.forEach(["1", "2"], (n) => append("a", `open ${round} ${n}`))
        open.push(`OPEN ${round} 1`, `OPEN ${round} 2`)
        // as they are sent, or not yet
        if (round % 2 === 0) {
          yield* Wait.until("what is open", () =>
            all.every((found) => found().some((text) => text.endsWith(open.at(-1)!))))
        }
        yield* SubscriptionRef.set(now, narrow)
        yield* Effect.forEach(["1", "2", "3"], (n) =>
          append("a", `hidden ${round} ${n}`))
        yield* append("a", `end ${round}`, ["end"])
        yield* Wait.until("the end", () => all.every((found) => found().some((text) => text.endsWith(`END ${round}`))))
        yield* SubscriptionRef.set(now, EventFilter.passAll)
      }
      for (const found of all) {
        const texts = found().filter((text) => text !== "left out")
        assert.isEmpty(texts.filter((text) => text.includes("HIDDEN")))
        assert.strictEqual(texts.filter((text) => text.includes("END ")).length, 40)
        // half of them were waited for
        assert.isAtLeast(texts.filter((text) => text.includes("OPEN")).length, 40)
      }
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("is not sent where it comes from a plain producer, without a position", () =>
    Effect.gen(function*() {
      const akka = yield* AkkaProducer.make()
      akka.append("a", 3)
      for (const change of [{}, inBatches]) {
        const [isRead, goOn] = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
        const now = yield* SubscriptionRef.make<Visible>(() => true)
        const source = remote(akka.address).pipe(Source.mapEffect(({ event }) =>
          Effect.andThen(Deferred.succeed(isRead, undefined), Effect.as(Deferred.await(goOn), event))
        ))
        const port = yield* serve(EventProducer.layer(CartEvents, source, {
          select: () =>
            now
        }))
        const caller = yield* callerOf(port)
        const call = yield* caller.stream(init(change))
        yield* Deferred.await(isRead)
        yield* SubscriptionRef.set(now, ({ persistenceId }: Place) => persistenceId !== "Cart|a")
        yield* Deferred.succeed(goOn, undefined)
        const last = `last-${Object.keys(change).length}`
        akka.write(last)
        const texts = () =>
          call.messages.flatMap((message) => change === inBatches ? eventsOf(message) : [shortly(message)])
        yield* Wait.until("the last", () => texts().some((text) => text.startsWith(last)))
        assert.isEmpty(texts().filter((text) => text.startsWith("a ")))
      }
    }), 60_000)

  it.effect(
    "ends a call for an entity that vanishes, or appears, while it is answered, so that nobody takes a part for the whole",
    () =>
      Effect.gen(function*() {
        const now = yield* SubscriptionRef.make<Visible>(() => true)
        let read = 0
        const { provider } = Source.journal(Cart)
        /** Reads one event at a time, and changes what is visible once so many are read. */
        const paged = (next: Visible, after: number) =>
          Source.make({
            ...provider,
            entity: (persistenceId, from, to) =>
              Stream.rechunk(provider.entity(persistenceId, from, to), 1).pipe(
                Stream.tap(() => ++read === after ? SubscriptionRef.set(now, next) : Effect.void)
              )
          }) as ReturnType<typeof Source.journal<string>>
        for (let n = 1; n <= 6; n++) yield* append("a", String(n), n === 2 ? ["large"] : [])
        const changed = "UNAVAILABLE: what this caller may see of the entity has changed while the call ran: call again"
        const answers = (isBatched: boolean) => (first: Visible, next: Visible, after = 3) =>
          Effect.gen(function*() {
            yield* SubscriptionRef.set(now, first)
            read = 0
            const port = yield* serve(EventProducer.layer(CartEvents, paged(next, after), { select: () => now }))
            const caller = yield* callerOf(port)
            return [yield* caller.entityOnce("a", isBatched), yield* caller.entityOnce("a", isBatched)]
          }).pipe(Effect.scoped)
        for (const answer of [answers(false), answers(true)]) {
          assert.deepStrictEqual(yield* answer(() => true, () => false), [[changed], []])
          const all = ["a 1 1", "a 2 2", "a 3 3", "a 4 4", "a 5 5", "a 6 6"]
          // all of them are read first to find out that none is to be seen
          assert.deepStrictEqual(yield* answer(only("b"), () => true, 8), [[changed], all])
          // as long as something of it is to be seen, each event is shown as it may be when it is sent
          const places = ["a 1 -", "a 2 2", "a 3 -", "a 4 -", "a 5 -", "a 6 -"]
          assert.deepStrictEqual(yield* answer(() => true, large), [["a 1 1", "a 2 2", ...places.slice(2)], places])
        }
      }).pipe(Effect.provide(MemoryStorage.layer))
  )

  it.effect(
    "ends a call for an entity that vanishes while what was read of it waits for its consumer",
    () =>
      Effect.gen(function*() {
        const now = yield* SubscriptionRef.make<Visible>(() => true)
        const port = yield* serve(offer(() => now))
        const text = "x".repeat(200_000)
        for (let n = 1; n <= 20; n++) yield* append("a", `${n} ${text}`)
        const client = yield* RawClient.client(port)
        const { persistenceId, streamId } = ask("a", 1)
        const request = { streamId, persistenceId, fromSeqNr: 1n, toSeqNr: 20n }
        const call = yield* RawClient.currentEventsByPersistenceId(client, request, { reads: false })
        yield* Wait.until("the first", () => call.bytes.length > 0)
        yield* SubscriptionRef.set(now, ({ persistenceId }: Place) => persistenceId !== "Cart|a")
        call.resume()
        assert.strictEqual((yield* RawClient.ended(call)).code, status.UNAVAILABLE)
        // those that were written before are on their way
        assert.isBelow(call.bytes.length, 10)
      }).pipe(Effect.provide(MemoryStorage.layer)),
    60_000
  )

  it.effect("is not loaded, though it could be seen when it was asked for", () =>
    Effect.gen(function*() {
      const now = yield* SubscriptionRef.make<Visible>(() => true)
      const hiding = Source.journal(Cart).pipe(
        Source.mapEffect(({ event }) => Effect.as(SubscriptionRef.set(now, () => false), event))
      )
      const port = yield* serve(EventProducer.layer(CartEvents, hiding, { select: () => now }))
      yield* append("a", "1")
      const caller = yield* callerOf(port)
      assert.strictEqual(yield* caller.load("a", 1), "NOT_FOUND: there is no event 1 of 'Cart|a'")
      yield* SubscriptionRef.set(now, () => true)
      assert.strictEqual(yield* caller.time("a", 1), "none")
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect(
    "is not sent to consumers who have not read for long, though it waits for them",
    () =>
      Effect.gen(function*() {
        const now = yield* SubscriptionRef.make<Visible>(() => true)
        const port = yield* serve(offer(() => now))
        const text = "x".repeat(200_000)
        for (let n = 1; n <= 40; n++) yield* append("a", `${n} ${text}`)
        for (const change of [{}, inBatches]) {
          yield* SubscriptionRef.set(now, () => true)
          const client = yield* RawClient.client(port)
          const call = yield* RawClient.eventsBySlices(client, { reads: false })
          call.send(init(change))
          yield* Wait.until("the first", () => call.bytes.length > 0)
          yield* SubscriptionRef.set(now, ({ persistenceId }: Place) => persistenceId !== "Cart|a")
          yield* append("b", "last")
          call.resume()
          yield* Wait.until("the last", () => call.bytes.some((bytes) => bytes.includes("LAST")))
          // those that were written before are on their way
          const sent = call.bytes.filter((bytes) => bytes.length > 100_000).length
          assert.isBelow(sent, 10)
        }
      }).pipe(Effect.provide(MemoryStorage.layer)),
    60_000
  )
})

const allRefused = (text: string) => Array.from({ length: 5 }, () => text)

const fails = ({ persistenceId, sequenceNumber }: Place): boolean => {
  if (persistenceId === "Cart|secret") throw new Error(`at ${sequenceNumber}`)
  return true
}

layer(Producer.quiet, { excludeTestServices: true })("who calls", (it) => {
  it.effect("is refused with the status that the effect says, whatever the call", () =>
    Effect.gen(function*() {
      class Tenants extends Context.Service<Tenants, ReadonlyMap<string, string>>()("test/Tenants") {}
      const streams = offer(({ headers: { authorization: token } }) =>
        Effect.gen(function*() {
          if (token === undefined) return yield* new CallRefused({ code: "UNAUTHENTICATED", reason: "who are you?" })
          const tenant = (yield* Tenants).get(token)
          if (tenant === undefined) return yield* new CallRefused({ code: "PERMISSION_DENIED", reason: "not for you" })
          return ({ metadata }: Place) => metadata["tenant"] === tenant
        })
      ).pipe(Layer.provide(Layer.succeed(Tenants, new Map([["t-1", "acme"]]))))
      const port = yield* serve(streams)
      yield* append("a", "1")
      yield* append("b", "1", [], "other")
      const outcomes = (headers: Headers) =>
        Effect.gen(function*() {
          const caller = yield* callerOf(port, headers)
          const call = yield* caller.stream(init())
          yield* RawClient.answered(call, 1)
          const found = call.status === undefined
            ? call.messages.map(shortly)
            : [`${status[call.status.code]}: ${call.status.details}`]
          const entity = yield* caller.entity("a")
          return [...found, ...entity, yield* caller.load("a", 1), yield* caller.time("a", 1), yield* caller.latest]
        })
      assert.deepStrictEqual(yield* outcomes({ authorization: "t-1" }), [
        "a 1 1",
        "a 1 1",
        "a 1 1",
        "a time",
        "2 heads"
      ])
      assert.deepStrictEqual(yield* outcomes({ authorization: "t-2" }), allRefused("PERMISSION_DENIED: not for you"))
      assert.deepStrictEqual(yield* outcomes({}), allRefused("UNAUTHENTICATED: who are you?"))
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("waits until it is known what may be seen, and for no longer than 10 seconds", () =>
    Effect.gen(function*() {
      const transport = yield* CallTransport
      const sooner: Clock.Clock = Object.assign(Object.create(transport.clock), {
        sleep: (duration: Duration.Duration) => transport.clock.sleep(Duration.divideUnsafe(duration, 20))
      })
      const { layer, lines } = Producer.logging()
      const unknown = "UNAVAILABLE: what this caller may see cannot be found out now; the producer's log says more"
      for (
        const [select, problem] of [
          [Effect.never, "correct its 'select'. the effect has not ended after 10 seconds"],
          [Effect.fail("no such tenant"), "no such tenant"],
          [Effect.die(new Error("a bug")), "a bug"],
          [Effect.succeed(undefined as never), "is neither an EventFilter nor a predicate on events"]
        ] as ReadonlyArray<readonly [Effect.Effect<Visible, unknown>, string]>
      ) {
        yield* Effect.gen(function*() {
          const port = yield* serve(offer(() => select))
          yield* append("a", "1")
          const { entity, time } = yield* callerOf(port)
          assert.deepStrictEqual(yield* entity("a"), [unknown])
          assert.strictEqual(yield* time("a", 1), unknown)
          assert.include(lines.join("\n"), problem)
        }).pipe(
          Effect.scoped,
          Effect.provideService(CallTransport, Object.assign(Object.create(transport), { clock: sooner })),
          Effect.provide([layer, Layer.fresh(MemoryStorage.layer)])
        )
      }
    }))

  it.effect("is told nothing of the event that a predicate has failed at, which stands in the log", () =>
    Effect.gen(function*() {
      const { layer, lines } = Producer.logging()
      const port = yield* Effect.provide(serve(Layer.merge(offer(() => fails), other)), layer)
      yield* append("a", "1")
      yield* append("secret", "1")
      const caller = yield* callerOf(port)
      const problem = "what this caller may see cannot be said; the producer's log says more"
      const call = yield* caller.stream(init())
      const { code, details } = yield* RawClient.ended(call)
      assert.deepStrictEqual([code, details], [status.INTERNAL, problem])
      assert.deepStrictEqual(yield* caller.entity("secret"), [`INTERNAL: ${problem}`])
      assert.strictEqual(yield* caller.load("secret", 1), `INTERNAL: ${problem}`)
      assert.strictEqual(yield* caller.time("secret", 1), `INTERNAL: ${problem}`)
      const expected =
        "What a caller may see of the stream 'cart' cannot be said at event 1 of 'Cart|secret': correct its 'select'. at 1"
      assert.isTrue(lines.some((line) => line.includes(expected)), lines.join("\n"))
      // nothing else dies
      assert.deepStrictEqual(yield* caller.entity("a"), ["a 1 1"])
      const others = yield* caller.stream(init({ streamId: "others" }))
      assert.deepStrictEqual((yield* shown(others, 2)).toSorted(), ["a 1 1", "secret 1 1"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect(
    "is sent nothing of what was written for another when a predicate has failed",
    () =>
      Effect.gen(function*() {
        const [acme, globex] = ["acme", "globex"].map((tenant) => ({ metadata }: Place) =>
          metadata["tenant"] === tenant
        )
        const text = "x".repeat(1_000)
        for (const change of [{}, inBatches]) {
          yield* Effect.gen(function*() {
            const now = yield* SubscriptionRef.make<Visible>(acme!)
            const port = yield* serve(offer(({ headers: { tenant } }) => tenant === "acme" ? now : globex!))
            for (let n = 1; n <= 2_000; n++) yield* append("a", `acme ${n} ${text}`)
            yield* append("g", "globex", [], "globex")
            const client = yield* RawClient.client(port)
            const metadata = metadataOf({ tenant: "acme" })
            const first = yield* RawClient.eventsBySlices(client, { reads: false, metadata })
            first.send(init(change))
            yield* Wait.until("the first", () => first.bytes.length > 0)
            // pieces are of more events than those between two at which it fails
            yield* SubscriptionRef.set(now, (event) => {
              if (event.sequenceNumber % 10 === 0) throw new Error("a bug")
              return acme!(event)
            })
            first.resume()
            assert.strictEqual((yield* RawClient.ended(first)).code, status.INTERNAL)
            const other = yield* callerOf(port, { tenant: "globex" })
            const second = yield* other.stream(init())
            assert.deepStrictEqual(yield* shown(second, 1), ["g 1 GLOBEX"])
            assert.deepStrictEqual(yield* other.entity("g"), ["g 1 GLOBEX"])
          }).pipe(Effect.scoped, Effect.provide(Layer.fresh(MemoryStorage.layer)))
        }
      }),
    60_000
  )

  it.effect("sees nothing where a predicate does not say so", () =>
    Effect.gen(function*() {
      const port = yield* serve(offer(() => (() => Promise.resolve(true)) as never))
      yield* append("a", "1")
      const caller = yield* callerOf(port)
      assert.deepStrictEqual(yield* caller.entity("a"), [])
      assert.strictEqual(yield* caller.load("a", 1), "NOT_FOUND: there is no event 1 of 'Cart|a'")
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

const OtherEvents = { ...CartEvents, id: "others" }
const other = EventProducer.layer(OtherEvents, Source.journal(Cart))

describe.skipIf(!Certificates.available)("a certificate", () => {
  layer(Producer.quiet, { excludeTestServices: true })((it) => {
    it.effect("tells who calls, where the server asks for it", () =>
      Effect.gen(function*() {
        const authority = Certificates.makeAuthority()
        const server = authority.issue("DNS:localhost", "IP:127.0.0.1")
        const client = authority.issue("DNS:analytics.internal", "URI:spiffe://acme/analytics")
        const callers: Array<Caller> = []
        const select = (caller: Caller) => {
          callers.push(caller)
          return EventFilter.passAll
        }
        const tls = { certificate: server.certificate, key: Redacted.make(server.key) }
        const port = yield* serve(offer(select), { tls: { ...tls, clientAuthority: authority.certificate } })
        const storage = yield* makeStorage
        const projection = remote(port, {
          tls: { authority: authority.certificate, certificate: client.certificate, key: Redacted.make(client.key) },
          headers: { authorization: "Bearer 1" }
        }).pipe(Projection.exactlyOnce("certified", record))
        yield* append("a", "1")
        yield* run(projection, storage)
        yield* caughtUp("certified")
        assert.deepStrictEqual(yield* Effect.provide(effectsOf("a"), storage), ["1 1"])
        const [{ address, certificate, headers }] = callers as [Caller]
        assert.match(address, /^127\.0\.0\.1:\d+$/)
        assert.strictEqual(headers["authorization"], "Bearer 1")
        assert.match(certificate!.subject["CN"]!, /^issued-/)
        assert.deepStrictEqual(certificate!.alternativeNames, [
          "DNS:analytics.internal",
          "URI:spiffe://acme/analytics"
        ])
        assert.match(certificate!.fingerprint, /^([0-9A-F]{2}:){31}[0-9A-F]{2}$/)
      }).pipe(Effect.provide(MemoryStorage.layer)))
  })
})

describe("what is visible", () => {
  plainIt("is refused where it is no filter, or asks for replays", () => {
    assert.throws(
      () => offer("all" as never),
      RangeError,
      "The 'select' of the stream 'cart' is neither an EventFilter nor a predicate on events"
    )
    assert.throws(
      () => offer(large.pipe(EventFilter.includeEntityIds({ entityId: "c-1", from: 2 }))),
      RangeError,
      "The 'select' of the stream 'cart' includes \"c-1\" from 2: include the id alone"
    )
    assert.throws(() => offer(Effect.runSync(SubscriptionRef.make("all")) as never), RangeError)
  })
})

const only = (...ids: ReadonlyArray<string>) =>
  EventFilter.excludeAll.pipe(EventFilter.includeEntityIds("nobody", ...ids))

layer(Producer.quiet, { excludeTestServices: true })("a projection of a stream that is seen in part", (it) => {
  const setUp = Effect.gen(function*() {
    const [there, here] = yield* Effect.all([makeStorage, makeStorage])
    return {
      there,
      here,
      write: (id: string, text: string, tags: ReadonlyArray<string> = []) =>
        Effect.provide(append(id, text, tags), there),
      found: (id: string) => Effect.provide(effectsOf(id), here)
    }
  })

  it.effect("handles an entity from its first event on, once it may be seen, and its lag reaches 0", () =>
    Effect.gen(function*() {
      const { found, here, there, write } = yield* setUp
      const shared = yield* SubscriptionRef.make(only("a"))
      const port = yield* serve(Layer.provide(offer(shared), Layer.succeedContext(there)))
      for (const text of ["1", "2", "3"]) for (const id of ["a", "b"]) yield* write(id, text)
      yield* run(remote(port).pipe(Projection.exactlyOnce("seen", record), Projection.workers(2)), here)
      yield* caughtUp("seen")
      assert.deepStrictEqual([yield* found("a"), yield* found("b")], [["1 1", "2 2", "3 3"], []])
      yield* SubscriptionRef.set(shared, only("a", "b"))
      yield* write("b", "4")
      yield* caughtUp("seen")
      assert.deepStrictEqual(yield* found("b"), ["1 1", "2 2", "3 3", "4 4"])
      yield* SubscriptionRef.set(shared, only("a"))
      yield* write("b", "5")
      yield* write("a", "4")
      yield* caughtUp("seen")
      assert.deepStrictEqual(yield* found("b"), ["1 1", "2 2", "3 3", "4 4"])
      yield* SubscriptionRef.set(shared, only("b"))
      yield* write("b", "6")
      yield* caughtUp("seen")
      assert.deepStrictEqual(yield* found("b"), ["1 1", "2 2", "3 3", "4 4", "5 5", "6 6"])
    }))

  it.effect("goes past the events of an entity that it may not see, before those that it may", () =>
    Effect.gen(function*() {
      const { found, here, there, write } = yield* setUp
      const { layer, lines } = Producer.logging()
      const port = yield* serve(
        Layer.provide(
          offer(() => ({ tags }: Place) => tags.includes("large") || tags.includes("huge")),
          Layer.succeedContext(there)
        )
      )
      yield* write("a", "1")
      yield* write("a", "2")
      const projection = remote(port).pipe(
        EventConsumer.filter(EventFilter.excludeAll.pipe(EventFilter.includeTags("huge"))),
        Projection.exactlyOnce("partly", record)
      )
      yield* Effect.provide(run(projection, here), layer)
      yield* caughtUp("partly")
      yield* write("a", "3", ["large"])
      yield* write("a", "4")
      yield* write("a", "5", ["huge"])
      yield* write("a", "6")
      yield* write("a", "7", ["huge"])
      yield* caughtUp("partly")
      // 3 is brought by what it has missed, as it may be seen
      assert.deepStrictEqual(yield* found("a"), ["3 3", "5 5", "7 7"])
      assert.deepStrictEqual(lines, [])
    }))
})

/** The events of a journal: of three entities, of which one changes its tenant, and one by which the end is seen. */
const written = ["a", "b", "c", "b", "a", "c", "a", "b", "a", "c", "b", "a"].map((id, i, ids) => ({
  id,
  number: ids.slice(0, i + 1).filter((other) => other === id).length,
  tags: i % 3 === 0 ? ["large", "t:x"] : i % 4 === 1 ? ["small"] : [],
  tenant: id === "c" && i > 5 || id === "b" ? "other" : "acme"
}))

/** Everything about an event that a selection or a filter may look at. */
type Written = (typeof written)[number]

const naively =
  (passes: (event: Written) => boolean) => ({ id, number }: { readonly id: string; readonly number: number }) =>
    id === "end" || written.some((event) => event.id === id && event.number === number && passes(event))

/** It may be a reminder: logs have times of their own. */
const isLast = (text: string): boolean => text.startsWith("end 1 ")

const ended = EventFilter.includeEntityIds("end")
const filters: ReadonlyArray<readonly [EventFilter.EventFilter, ReturnType<typeof naively>]> = [
  [EventFilter.passAll, naively(() => true)],
  [EventFilter.excludeAll.pipe(ended), naively(() => false)],
  [large.pipe(ended), naively(({ tags }) => tags.includes("large"))],
  [EventFilter.passAll.pipe(EventFilter.excludeEntityIds("b"), ended), naively(({ id }) => id !== "b")],
  [
    EventFilter.passAll.pipe(EventFilter.excludeMatching("[ab]"), EventFilter.includeTopics("x"), ended),
    naively(({ id, tags }) => id === "c" || tags.includes("t:x"))
  ]
]
const predicates: ReadonlyArray<readonly [Visible, ReturnType<typeof naively>]> = [
  [
    ({ metadata: { tenant }, persistenceId }) => tenant === "other" || persistenceId === "Cart|end",
    naively(({ tenant }) => tenant === "other")
  ],
  [
    ({ persistenceId, sequenceNumber }) => sequenceNumber % 2 === 0 || persistenceId === "Cart|end",
    naively(({ number }) => number % 2 === 0)
  ]
]
const selections = [...filters, ...predicates]

const numbers = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 6 }))
const ids = Schema.Literals(["a", "b", "c", "nobody"])
const requests = Schema.Struct({
  selection: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: selections.length - 1 })),
  filter: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: filters.length - 1 })),
  /** Whether the consumer has an offset, and is reminded of what it may have seen. */
  reminded: Schema.Boolean,
  replays: Schema.Array(Schema.Struct({ id: ids, from: numbers, filterFrom: numbers })).check(Schema.isMaxLength(4)),
  included: Schema.Array(Schema.Struct({ entityId: ids, from: numbers })).check(Schema.isMaxLength(2)),
  asked: Schema.Array(Schema.Struct({ id: ids, from: numbers, to: numbers })).check(Schema.isMaxLength(4))
})

const text = ({ id, number }: { readonly id: string; readonly number: number }) =>
  `${id} ${number} ${(id + number).toUpperCase()}`

const reminder = ({ id, number }: Written) => `${id} ${number} BT`

layer(Producer.quiet, { excludeTestServices: true })("any selection, filter and requests", (it) => {
  it.effect.prop(
    "show what is selected, as a naive model has it, and nothing else",
    [requests],
    ([request]) =>
      Effect.gen(function*() {
        const [visible, isVisible] = selections[request.selection]!
        const [filter, passes] = filters[request.filter]!
        const port = yield* serve(offer(() => visible))
        let last = 0
        for (const { id, number, tags, tenant } of written) {
          last = (yield* append(id, `${id}${number}`, tags, tenant)).timestamp
        }
        yield* append("end", "end")
        const caller = yield* callerOf(port)
        const wanted = filter.pipe(EventFilter.includeEntityIds(...request.included))
        const isWanted = (event: { readonly id: string; readonly number: number }) =>
          passes(event) || request.included.some(({ entityId }) => entityId === event.id)
        const answers = yield* caller.stream(init({
          filter: toCriteria(EventFilter.diff(EventFilter.passAll, wanted)),
          ...(request.reminded && { offset: [{ timestamp: toTimestampMessage(last as any), seen: [] }] as never })
        }))
        const replay = (id: string, seqNr: number, filterAfterSeqNr: number) =>
          answers.send({
            case: "replay",
            value: {
              replayPersistenceIds: [{
                fromPersistenceIdOffset: { persistenceId: `Cart|${id}`, seqNr: BigInt(seqNr) },
                filterAfterSeqNr: BigInt(filterAfterSeqNr)
              }]
            }
          })
        yield* Wait.until("the log", () => answers.messages.map(shortly).some(isLast))
        for (const { filterFrom, from, id } of request.replays) replay(id, from, filterFrom)
        replay("end", 1, 0)
        yield* Wait.until("the replays", () => answers.messages.map(shortly).filter(isLast).length === 2)

        const found = answers.messages.map(shortly)
        const all = written.filter(isVisible)
        assert.isEmpty(
          found.filter((text) => !isLast(text) && !all.some((event) => text.startsWith(`${event.id} ${event.number} `)))
        )
        for (const event of all.filter(isWanted)) {
          assert.isTrue(found.includes(text(event)) || request.reminded && found.includes(reminder(event)), text(event))
        }
        for (const { filterFrom, from, id } of request.replays) {
          const replayed = all.filter((event) => event.id === id && event.number >= from && event.number < filterFrom)
          // of several for one entity the last one says from where on it is filtered
          if (request.replays.filter((other) => other.id === id).length > 1) continue
          for (const event of replayed) assert.include(found, text(event))
        }
        for (const { from, id, to } of request.asked) {
          const rest = written.filter((event) => event.id === id && event.number >= from)
          const places = rest.some(isVisible) ? rest.filter(({ number }) => number <= to) : []
          assert.deepStrictEqual(
            yield* caller.entity(id, from, to),
            places.map((event) => isVisible(event) ? text(event) : `${id} ${event.number} -`)
          )
          const event = { id, number: from }
          const isThere = isVisible(event)
          const missing = `NOT_FOUND: there is no event ${from} of 'Cart|${id}'`
          assert.strictEqual(yield* caller.load(id, from), isThere ? text(event) : missing)
          assert.strictEqual(yield* caller.time(id, from), isThere ? "a time" : "none")
        }
      }).pipe(Effect.scoped, Effect.provide(Layer.fresh(MemoryStorage.layer))),
    {
      timeout: 120_000,
      arbitrary: { runs: 60 }
    }
  )
})
