import { assert, layer } from "@effect/vitest"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import { read, type Reading, remote, shortly } from "./kit/Consumer.ts"
import * as Producer from "./kit/Producer.ts"
import { append, carts } from "./kit/Producer.ts"
import * as TcpProxy from "./kit/TcpProxy.ts"

// far apart, so that every range has some
const ids = Array.from({ length: 12 }, (_, i) => `entity-${i * 7919}`)

/** Appends a round of events, one to three for every entity. */
const makeWriter = () => {
  const written = new Map(ids.map((id) => [id, 0]))
  return {
    total: () => [...written.values()].reduce((sum, n) => sum + n, 0),
    round: Effect.forEach(ids, (id, i) => {
      const from = written.get(id)!
      const n = 1 + (from + i) % 3
      written.set(id, from + n)
      const events = Array.from({ length: n }, (_, k) => `e${from + k + 1} ${"x".repeat(500)}`)
      return append(id, events as [string, ...Array<string>])
    }),
    /** Fails unless the readings have every event once, those of each entity in order. */
    assertComplete: (readings: ReadonlyArray<Reading<string, unknown>>, hint: string) => {
      for (const id of ids) {
        const found = readings.flatMap(({ envelopes }) => envelopes.map(shortly))
          .filter((text) => text.startsWith(`${id} `)).map((text) => text.replace(/ x+$/, ""))
        const expected = Array.from({ length: written.get(id)! }, (_, i) => `${id} ${i + 1} e${i + 1}`)
        assert.deepStrictEqual(found, expected, hint)
      }
    }
  }
}

const count = (readings: ReadonlyArray<Reading<unknown, unknown>>): number =>
  readings.reduce((sum, { envelopes }) => sum + envelopes.length, 0)

const random = (below: number): number => Math.floor(Math.random() * below)

layer(Producer.quiet, { excludeTestServices: true })("events arrive once and in order", (it) => {
  it.effect("though connections break at any byte", () =>
    Effect.gen(function*() {
      const port = yield* Producer.serve(carts)
      const proxy = yield* TcpProxy.make(port)
      const writer = makeWriter()
      const readings = yield* Effect.forEach(SliceRange.split(3), (range) => read(remote(proxy.port), { range }))
      const cuts: Array<number> = []
      for (let n = 1; n <= 8; n++) {
        const after = n === 1 ? 1 : 1 + random(20_000)
        cuts.push(after)
        proxy.cutAfter(after)
        while (proxy.made <= n) {
          yield* writer.round
          yield* Wait.until("all, or a new connection", () => proxy.made > n || count(readings) === writer.total())
        }
      }
      yield* writer.round
      yield* Wait.until("all events", () => count(readings) >= writer.total())
      writer.assertComplete(readings, `cut after ${cuts.join(", ")} bytes`)
      assert.isAtLeast(proxy.made, 9)
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("though the producer is stopped and started again", () =>
    Effect.gen(function*() {
      const producer = yield* Producer.restartable(carts)
      const writer = makeWriter()
      const readings = yield* Effect.forEach(SliceRange.split(3), (range) => read(remote(producer.port), { range }))
      const stops: Array<number> = []
      for (let n = 0; n < 5; n++) {
        yield* writer.round
        yield* writer.round
        // in the middle of them, and never before the consumer is back
        const until = count(readings) + 1 + random(writer.total() - count(readings))
        yield* Wait.until("some events", () => count(readings) >= until)
        stops.push(count(readings))
        yield* producer.stop
        yield* writer.round
        yield* producer.start
      }
      yield* Wait.until("all events", () => count(readings) >= writer.total())
      writer.assertComplete(readings, `stopped after ${stops.join(", ")} events`)
    }).pipe(Effect.provide(MemoryStorage.layer)))
})
