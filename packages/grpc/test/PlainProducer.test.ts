/** A projection of a plain Akka producer, from one end to the other. */
import { assert, layer } from "@effect/vitest"
import { status } from "@grpc/grpc-js"
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import * as EventFilter from "@sluice/core/EventFilter"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Metrics from "@sluice/core/Metrics"
import * as Offset from "@sluice/core/Offset"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as Wait from "@sluice/testing/Wait"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as AkkaProducer from "./kit/AkkaProducer.ts"
import { play, playToFailure, setStage } from "./kit/AkkaScenario.ts"
import { read, received, remote } from "./kit/Consumer.ts"
import * as FakeProducer from "./kit/FakeProducer.ts"
import * as Producer from "./kit/Producer.ts"

const millisOf = <E, R>(lag: Effect.Effect<Duration.Duration, E, R>) => Effect.map(lag, Duration.toMillis)

const ids = (n: number): ReadonlyArray<string> => Array.from({ length: n }, (_, i) => `c-${i * 7919}`)

layer(Producer.quiet, { excludeTestServices: true })("a projection of a plain producer", (it) => {
  it.effect("handles each event once, though it is shown three times", () =>
    play(({ connected, producer }) =>
      Effect.map(connected(), () => {
        for (const id of ids(10)) {
          for (let n = 0; n < 5; n++) {
            const rows = producer.append(id)
            for (const from of ["PS", "", "BT"] as const) producer.show(rows, from)
          }
        }
      })
    ))

  it.effect("goes on after its offset, which is the earliest of its slices", () =>
    play(({ connected, handled, producer, start, stop, until }) =>
      Effect.gen(function*() {
        yield* connected()
        const rows = ids(20).flatMap((id) => producer.write(id, 2))
        yield* handled(40)
        yield* stop
        yield* until("no stream", () => producer.streams() === 0)
        for (const id of ids(20)) producer.append(id, 1)
        yield* start()
        yield* handled(60)
        const { offset } = producer.asked.inits.at(-1)!
        assert.lengthOf(offset, 1)
        const { nanos, seconds } = offset[0]!.timestamp!
        const at = Number(seconds) * 1e6 + nanos / 1000
        assert.isAtLeast(at, rows[0]!.timestamp)
        assert.isAtMost(at, rows.at(-1)!.timestamp)
      }), { limits: { inits: 2 } }))

  it.effect("gets what is missing before an event with one request, while others go on", () =>
    play(({ connected, handled, producer, until }) =>
      Effect.gen(function*() {
        yield* connected()
        producer.write("a", 2)
        const missing = producer.append("a", 3)
        const next = producer.write("a", 2)
        yield* until("the replay", () => producer.asked.replays.length > 0)
        producer.write("b", 50)
        yield* handled(52)
        producer.show([...missing, ...next])
      }), { limits: { repairs: 1 }, replay: () => {} }))

  it.effect("gets it by a call from a newer one", () =>
    play(({ connected, producer }) =>
      Effect.map(connected(), () => {
        producer.write("a", 2)
        producer.append("a", 30)
        producer.write("a", 2)
      }), { version: "1.6.19", limits: { repairs: 1 } }))

  it.effect("loads an event that it is reminded of and has not handled", () =>
    play(({ connected, producer }) =>
      Effect.map(connected(), () => {
        producer.write("a", 2)
        producer.show(producer.append("a", 1), "BT")
      }), { limits: { loads: 1 } }))

  it.effect("asks once whether something is missing before the first event that it sees", () =>
    play(({ connected, producer }) =>
      Effect.map(connected(), () => {
        producer.write("gone", 3, { from: 7 })
        producer.write("large", 3, { from: 2 ** 31 })
      }), { limits: { eventTimestamps: 2 } }))

  it.effect("knows its lag in time of a producer that tells its newest timestamp, and when it has caught up", () =>
    Effect.gen(function*() {
      const stage = yield* setStage({ version: "1.6.19" })
      const { producer } = stage
      yield* stage.start()
      yield* Wait.until("it to run", Effect.map(stage.status, ([worker]) => worker!.state === "Running"))
      assert.strictEqual(yield* millisOf(stage.asked(ProjectionStatus.timeLag(stage.projection))), 0)
      const [first] = producer.append("a", 1)
      assert.strictEqual(yield* millisOf(stage.asked(ProjectionStatus.timeLag(stage.projection))), Infinity)
      producer.show([first!])
      yield* stage.asked(ProjectionStatus.caughtUp(stage.projection))
      assert.deepStrictEqual(stage.given, ["a 1"])
      producer.append("b", 1, { at: first!.timestamp + 2_500_000 })
      assert.strictEqual(yield* millisOf(stage.asked(ProjectionStatus.timeLag(stage.projection))), 2_500)
      const metric = Metric.withAttributes(Metrics.projectionTimeLag, {
        projection: stage.projection,
        source: "stream:cart"
      })
      assert.strictEqual((yield* stage.asked(Metric.value(metric))).value, 2.5)
      const error = yield* Effect.flip(stage.asked(ProjectionStatus.lag(stage.projection)))
      assert.deepInclude(error, { _tag: "OtherLag", known: "timeLag" })
    }))

  it.effect("has caught up after a restart, once it has read again what it has handled", () =>
    Effect.gen(function*() {
      let show: (() => void) | undefined
      const stage = yield* setStage({
        version: "1.6.19",
        open: (call, n, rows) => {
          call.headers()
          if (n > 1) show = () => call.send(...rows.map((row) => AkkaProducer.answer(row)))
        }
      })
      const { producer } = stage
      yield* stage.start()
      yield* stage.connected()
      for (const id of ids(3)) producer.write(id, 2)
      yield* stage.stored(6)
      yield* stage.stop
      yield* stage.start()
      yield* stage.connected()
      const caughtUp = yield* Effect.forkScoped(stage.asked(ProjectionStatus.caughtUp(stage.projection)))
      yield* Wait.until("it to read", Effect.map(stage.status, ([worker]) => worker!.state === "CatchingUp"))
      assert.isUndefined(caughtUp.pollUnsafe())
      show!()
      yield* Fiber.join(caughtUp)
      yield* Wait.until("it to run", Effect.map(stage.status, ([worker]) => worker!.state === "Running"))
      assert.lengthOf(stage.given, 6)
    }))

  it.effect("has not caught up while events wait for earlier ones, also after a restart", () =>
    Effect.gen(function*() {
      let isThere = false
      const stage = yield* setStage({
        version: "1.6.19",
        current: (call, _, found) => {
          if (!isThere) return call.fail(status.UNAVAILABLE, "later")
          call.headers()
          call.send(...found.map((row) => AkkaProducer.answer(row)))
          call.end()
        }
      })
      const { producer } = stage
      yield* stage.start()
      yield* stage.connected()
      producer.write("a", 1)
      const [missing] = producer.append("a", 1, { isShown: false })
      const [waits] = producer.write("a", 1, { at: missing!.timestamp + 1_000_000 })
      producer.write("b", 1, { at: waits!.timestamp + 1_000_000 })
      yield* stage.stored(2)
      const isWaiting = Effect.gen(function*() {
        yield* Wait.until(
          "an event to wait",
          Effect.map(stage.status, ([worker]) => worker!.waitsFrom === waits!.timestamp)
        )
        const [worker] = yield* stage.status
        assert.strictEqual(worker!.state, "CatchingUp")
        assert.isAtLeast(yield* millisOf(stage.asked(ProjectionStatus.timeLag(stage.projection))), 1_000)
      })
      yield* Wait.until("an event to wait", Effect.map(stage.status, ([worker]) => worker!.waitsFrom !== undefined))
      yield* stage.stop
      const asked = producer.asked.currents.length
      yield* stage.start()
      yield* stage.until("a question for it", () => producer.asked.currents.length > asked)
      yield* isWaiting
      isThere = true
      yield* stage.asked(ProjectionStatus.caughtUp(stage.projection))
      assert.deepStrictEqual((yield* stage.status).map(({ state, waitsFrom }) => [state, waitsFrom]), [[
        "Running",
        undefined
      ]])
      assert.deepStrictEqual(stage.given, ["a 1", "b 1", "a 2", "a 3"])
    }))

  it.effect("says once that its lag is not known of a producer that tells nothing of it", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => void lines.push(`${logLevel} ${String(message)}`))
      yield* Effect.gen(function*() {
        const stage = yield* setStage({ version: "1.4.0" })
        for (let n = 1; n <= 2; n++) {
          yield* stage.start()
          stage.producer.write("a", 3)
          yield* stage.handled(3 * n)
          yield* Wait.until("a notice", Effect.map(stage.status, ([worker]) => worker!.notice !== undefined))
          const [worker] = yield* stage.status
          assert.strictEqual(worker!.state, "CatchingUp")
          assert.include(worker!.notice, "Akka before 1.6.12")
          for (const asks of [ProjectionStatus.lag, ProjectionStatus.timeLag, ProjectionStatus.caughtUp]) {
            const error = yield* Effect.flip(stage.asked(asks(stage.projection) as Effect.Effect<unknown, any>))
            assert.strictEqual(error._tag, "SourceFailed")
            assert.strictEqual(error.cause._tag, "HeadsNotServed")
          }
          if (n === 1) stage.producer.fail(status.UNAVAILABLE)
          else yield* stage.stop
          yield* Wait.until("another stream", () => stage.producer.asked.inits.length > n || n === 2)
          if (n === 1) yield* stage.stop
        }
      }).pipe(Effect.provide(Logger.layer([logger])))
      const said = lines.filter((line) => line.includes("CatchingUp"))
      assert.strictEqual(said.length, 2)
      for (const line of said) assert.match(line, /^Info /)
    }))

  for (const guarantee of ["exactly once", "at least once"] as const) {
    it.effect(`goes by a filter and its changes, with the past of an entity before its next event (${guarantee})`, () =>
      Effect.gen(function*() {
        const filter = EventFilter.excludeAll.pipe(EventFilter.includeEntityIds("a"))
        const stage = yield* setStage({ version: "1.6.19", guarantee, filter })
        const { producer } = stage
        yield* stage.start()
        yield* stage.connected()
        assert.deepStrictEqual(producer.asked.inits[0]!.filter.map((_) => _.message.case), [
          "excludeMatchingEntityIds",
          "includeEntityIds"
        ])
        producer.write("a", 2)
        producer.append("b", 3, { isShown: false })
        yield* stage.stored(2)
        yield* Wait.until("offsets", Effect.map(stage.status, ([worker]) => worker!.offsets.size > 0))
        const change = (history: "nextEvent" | "now" | "none") =>
          ConsumerFilter.update(stage.projection, EventFilter.includeEntityIds("b"), { by: "ada", history })
            .pipe(Effect.provide(stage.storage))
        for (const history of ["now", "none"] as const) {
          const error = yield* Effect.flip(change(history))
          assert.deepInclude(error, { _tag: "HistoryNotSupported", history })
          assert.include(error.message, "nextEvent")
        }
        assert.strictEqual((yield* change("nextEvent")).version, 2)
        yield* stage.until("a stream with the new filter", () => producer.asked.inits.length > 1)
        yield* stage.connected()
        producer.write("b", 1)
        yield* stage.handled(6)
        yield* stage.stored(6)
        assert.deepStrictEqual(
          [...new Set(stage.given)].filter((line) => line.startsWith("b")),
          ["b 1", "b 2", "b 3", "b 4"]
        )
        if (guarantee === "exactly once") assert.strictEqual(stage.given.length, 6)
      }))
  }

  it.effect("begins again where a proxy has answered before the producer, of which nothing has come yet", () =>
    Effect.gen(function*() {
      const proxy = yield* Deferred.make<FakeProducer.FakeCall>()
      const stage = yield* setStage({
        open: (call, n) => {
          call.headers(n === 1 ? undefined : "j")
          if (n === 1) Deferred.doneUnsafe(proxy, Effect.succeed(call))
          else call.send(FakeProducer.event(1))
        }
      })
      yield* stage.start()
      const call = yield* Deferred.await(proxy)
      // it counts as a plain producer
      yield* Wait.until(
        "the projection to read it",
        Effect.map(stage.status, ([worker]) => worker?.state === "CatchingUp")
      )
      call.fail(status.UNAVAILABLE, "no upstream")
      yield* stage.handled(1)
      yield* stage.stored(1)
    }))

  it.effect("is itself one, whose consumers go on at their offset", () =>
    Effect.gen(function*() {
      const akka = yield* AkkaProducer.make()
      const rows = akka.append("a", 100)
      const port = yield* Producer.serve(EventProducer.layer(Producer.CartEvents, remote(akka.address)))
      const offsets = Offset.since(Timestamp.make(rows[89]!.timestamp))
      const reading = yield* read(remote(port), { start: { journal: Source.timestamps, offsets } })
      yield* received(reading, 11)
      assert.deepStrictEqual(reading.envelopes.map((_) => _.sequenceNumber as number), [
        90,
        91,
        92,
        93,
        94,
        95,
        96,
        97,
        98,
        99,
        100
      ])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("stops at a producer of the other kind behind the same address", () =>
    playToFailure(
      ({ connected, handled, producer }) =>
        Effect.gen(function*() {
          yield* connected()
          producer.write("a", 2)
          yield* handled(2)
          producer.fail(status.UNAVAILABLE)
        }),
      { tag: "JournalReplaced", text: "without positions" },
      {
        open: (call, n) => {
          call.headers(n === 1 ? undefined : "j")
          if (n > 1) call.send(FakeProducer.event(1))
        }
      }
    ))
})
