import { assert, layer } from "@effect/vitest"
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import type { Envelope } from "@sluice/core/Envelope"
import * as EventFilter from "@sluice/core/EventFilter"
import * as Journal from "@sluice/core/Journal"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { read, received, remote, shortly } from "./kit/Consumer.ts"
import * as Producer from "./kit/Producer.ts"
import { Cart, carts, restartable, serve } from "./kit/Producer.ts"
import { caughtUp, effectsOf, makeStorage, record, run } from "./kit/Recorder.ts"
import * as TcpProxy from "./kit/TcpProxy.ts"

const ids = Array.from({ length: 12 }, (_, i) => `e${i}`)

const only = (...some: ReadonlyArray<string>) => EventFilter.excludeAll.pipe(EventFilter.includeEntityIds(...some))

const idOf = ({ persistenceId }: Envelope<unknown>): string => PersistenceId.entityId(persistenceId)

const ada = { by: "ada" }

const append = (id: string, text: string) => Journal.append(Cart, { id, events: [text] })

layer(Producer.quiet, { excludeTestServices: true })("a consumer whose filter changes", (it) => {
  it.effect("goes on over the same connection, and nothing has failed", () =>
    Effect.gen(function*() {
      const { layer, lines } = Producer.logging()
      const [there, here] = yield* Effect.all([makeStorage, makeStorage])
      const proxy = yield* TcpProxy.make(yield* serve(Layer.provide(carts, Layer.succeedContext(there))))
      const source = remote(proxy.port).pipe(EventConsumer.filter(only("a")))
      yield* run(source.pipe(Projection.exactlyOnce("changed", record)), here).pipe(Effect.provide(layer))
      for (let i = 0; i < 10; i++) {
        for (const id of ["a", "b"]) yield* Effect.provide(append(id, `${i}`), there)
        yield* caughtUp("changed")
        yield* Effect.provide(ConsumerFilter.update(source, () => i % 2 === 0 ? only("b") : only("a"), ada), here)
      }
      for (const id of ["a", "b"]) yield* Effect.provide(append(id, "10"), there)
      yield* caughtUp("changed")
      assert.deepStrictEqual(
        (yield* Effect.provide(effectsOf("a"), here)).map((text) => text.split(" ")[0]),
        Array.from({ length: 11 }, (_, i) => `${i + 1}`)
      )
      const workers = yield* ProjectionStatus.status("changed")
      assert.deepStrictEqual(workers.map(({ failure, restarts }) => [failure, restarts]), [[undefined, 0]])
      assert.strictEqual(proxy.made, 1)
      assert.deepStrictEqual(lines, [])
    }))

  it.effect("says in its log and its status by which version it goes", () =>
    Effect.gen(function*() {
      const { layer, lines } = Producer.logging("Info")
      const [there, here] = yield* Effect.all([makeStorage, makeStorage])
      const port = yield* serve(Layer.provide(carts, Layer.succeedContext(there)))
      const source = remote(port).pipe(EventConsumer.filter(only("a")))
      const projection = source.pipe(Projection.exactlyOnce("told", record), Projection.workers(2))
      yield* run(projection, here).pipe(Effect.provide(layer))
      const versions = Effect.map(ProjectionStatus.status("told"), (workers) =>
        workers.map(({ filterVersion }) => filterVersion))
      const said = () =>
        lines.filter((line) => line.includes("Goes by version"))
      yield* caughtUp("told")
      assert.deepStrictEqual(yield* versions, [1, 1])
      assert.deepStrictEqual(said(), [], "what it begins with is no change")
      yield* Effect.provide(ConsumerFilter.update(source, () => only("b"), { by: "ada", reason: "why" }), here)
      yield* Effect.provide(append("b", "1"), there)
      yield* caughtUp("told")
      assert.deepStrictEqual(yield* versions, [2, 2])
      yield* Effect.provide(ProjectionManagement.rewind("told", "beginning"), here)
      yield* caughtUp("told")
      assert.lengthOf(said(), 1, "once, not for each worker, and not after a rewind")
      assert.include(said()[0], "level=INFO")
      assert.include(said()[0], "Goes by version 2 of the filter of 'stream:cart', by ada (why)")
    }))

  it.effect("stays with what it was changed to, and says so, when its pipeline begins with another", () =>
    Effect.gen(function*() {
      const { layer, lines } = Producer.logging("Info")
      const [there, here] = yield* Effect.all([makeStorage, makeStorage])
      const port = yield* serve(Layer.provide(carts, Layer.succeedContext(there)))
      const pipeline = (filter: EventFilter.EventFilter) => remote(port).pipe(EventConsumer.filter(filter))
      yield* Effect.provide(
        ConsumerFilter.update(pipeline(only("a")), EventFilter.includeEntityIds("b"), { by: "ada", reason: "why" }),
        here
      )
      for (const id of ["a", "b", "c"]) yield* Effect.provide(append(id, "1"), there)
      yield* run(pipeline(only("c")).pipe(Projection.exactlyOnce("stays", record)), here).pipe(Effect.provide(layer))
      yield* caughtUp("stays")
      const handled = yield* Effect.forEach(["a", "b", "c"], (id) => Effect.provide(effectsOf(id), here))
      assert.deepStrictEqual(handled.map(({ length }) => length), [1, 1, 0])
      const said = lines.filter((line) => line.includes("Goes by version"))
      const [line] = said
      assert.include(line, "level=INFO")
      assert.match(line!, /Goes by version 2 of the filter of 'stream:cart', which ada has stored at .* \(why\)/)
      assert.match(
        line!,
        /roll back to its version 1 with ConsumerFilter.rollBack and start again, or give the pipeline this filter/
      )
      assert.strictEqual(said.length, 1, "once, not for each worker")
      // a plain stream has the filter of its pipeline
      const plain = yield* read(pipeline(only("c")))
      yield* received(plain, 1)
      assert.deepStrictEqual(plain.envelopes.map(shortly), ["c 1 1"])
    }))

  for (const guarantee of ["exactly once", "at least once"] as const) {
    it.effect(`misses nothing ${guarantee} under load, while both sides come and go`, () =>
      Effect.gen(function*() {
        const [there, here] = yield* Effect.all([makeStorage, makeStorage])
        const producer = yield* restartable(Layer.provide(carts, Layer.succeedContext(there)))
        const acknowledged = new Set<string>()
        let late: Array<string> = []
        const handled = new Map<string, Array<number>>(ids.map((id) => [id, []]))
        const handler = (envelope: Envelope<string>) =>
          Effect.gen(function*() {
            const id = idOf(envelope)
            if (acknowledged.has(id)) late = [...late, `${id} ${envelope.sequenceNumber}`]
            if (guarantee === "exactly once") yield* record(envelope)
            handled.get(id)!.push(envelope.sequenceNumber)
          })
        const projection: Projection.Projection<any, any> = (guarantee === "exactly once"
          ? remote(producer.port).pipe(Projection.exactlyOnce(guarantee, handler))
          : remote(producer.port).pipe(Projection.atLeastOnce(guarantee, handler))).pipe(Projection.workers(2))
        const update = (filter: EventFilter.EventFilter, excluded: ReadonlyArray<string>) =>
          Effect.suspend(() => {
            // what is included may be handled as soon as the change is stored
            for (const id of acknowledged) if (!excluded.includes(id)) acknowledged.delete(id)
            return ConsumerFilter.update(projection, () => filter, ada).pipe(
              Effect.tap(() => Effect.sync(() => excluded.forEach((id) => acknowledged.add(id)))),
              Effect.provide(here)
            )
          })
        let written = 0
        const writing = yield* Effect.gen(function*() {
          while (true) {
            yield* Effect.provide(append(ids[written++ % ids.length]!, `${written}`), there)
            yield* Effect.sleep(1)
          }
        }).pipe(Effect.forkScoped)
        let consumer = yield* Scope.fork(yield* Effect.scope)
        const start = Effect.gen(function*() {
          consumer = yield* Scope.fork(yield* Effect.scope)
          yield* Scope.provide(run(projection, here), consumer)
        })
        yield* start
        for (let round = 0; round < 30; round++) {
          const excluded = ids.filter((_, i) => (i + round) % 3 === 0)
          yield* update(EventFilter.passAll.pipe(EventFilter.excludeEntityIds(...excluded)), excluded)
          yield* Effect.sleep("30 millis")
          if (round % 10 === 5) {
            yield* Scope.close(consumer, Exit.void)
            yield* start
          }
          if (round % 10 === 8) {
            yield* producer.stop
            yield* producer.start
          }
        }
        yield* Fiber.interrupt(writing)
        assert.deepStrictEqual(late, [])
        yield* update(EventFilter.passAll, [])
        for (const id of ids) yield* Effect.provide(append(id, "last"), there)
        yield* caughtUp(guarantee)
        for (const id of ids) {
          const sent = Math.floor((written - 1 - ids.indexOf(id)) / ids.length) + 2
          const numbers = handled.get(id)!
          assert.deepStrictEqual(
            [...new Set(numbers)].toSorted((a, b) => a - b),
            Array.from({ length: sent }, (_, i) => i + 1),
            `${id} is complete`
          )
          if (guarantee === "exactly once") {
            const kept = (yield* Effect.provide(effectsOf(id), here)).map((text) => Number(text.split(" ")[0]))
            assert.deepStrictEqual(kept, Array.from({ length: sent }, (_, i) => i + 1), `${id} once and in order`)
          }
        }
      }))
  }
})
