/** A projection of a plain Akka producer, from one end to the other. */
import { assert, layer } from "@effect/vitest"
import { status } from "@grpc/grpc-js"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Effect from "effect/Effect"
import { play, playToFailure, setStage } from "./kit/AkkaScenario.ts"
import * as FakeProducer from "./kit/FakeProducer.ts"
import * as Producer from "./kit/Producer.ts"

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

  it.effect("does not know its lag", () =>
    Effect.gen(function*() {
      for (const version of ["1.4.0", "1.6.19"] as const) {
        const stage = yield* setStage({ version })
        yield* stage.start()
        stage.producer.write("a", 3)
        yield* stage.handled(3)
        const error = yield* Effect.flip(ProjectionStatus.lag("scripted"))
        assert.strictEqual(error._tag, "SourceFailed")
        yield* stage.stop
      }
    }))

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
