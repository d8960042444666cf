import { assert, layer } from "@effect/vitest"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as AkkaProducer from "./kit/AkkaProducer.ts"
import { remote, shortly } from "./kit/Consumer.ts"
import * as Producer from "./kit/Producer.ts"
import { append, at, Cart, carts } from "./kit/Producer.ts"

const makeStorage = Layer.build(Layer.fresh(MemoryStorage.layer))

/** A producer of six events, three of them after the `middle`, and the storage of a consumer. */
const past = Effect.gen(function*() {
  const [there, here] = yield* Effect.all([makeStorage, makeStorage])
  const day = Date.UTC(2020, 0, 1)
  const write = (millis: number, id: string) => at(day + millis)(Effect.provide(append(id, [`${millis}`]), there))
  for (const id of ["a", "b", "quiet"]) yield* write(1000, id)
  for (const id of ["a", "b", "a"]) yield* write(2000, id)
  const port = yield* Producer.serve(Layer.provide(carts, Layer.succeedContext(there)), { port: 0 })
  return { here, port, middle: Timestamp.fromMillis(day + 1500) }
})

const begin = (name: string, address: string | number, since: number) => {
  const handled: Array<string> = []
  const projection = remote(address).pipe(
    Projection.exactlyOnce(name, (envelope) => Effect.sync(() => void handled.push(shortly(envelope)))),
    Projection.workers(3),
    Projection.beginAt({ since: Timestamp.make(since) })
  )
  return { handled, running: Effect.asVoid(Layer.build(Projection.layer(projection))) }
}

layer(Producer.quiet, { excludeTestServices: true })("a projection of another service's stream", (it) => {
  it.effect("that is rewound to a time knows from the producer which events come again", () =>
    Effect.gen(function*() {
      const { here, middle, port } = yield* past
      const handled: Array<string> = []
      const projection = remote(port).pipe(
        Projection.exactlyOnce("rewound", (envelope) => Effect.sync(() => void handled.push(shortly(envelope)))),
        Projection.workers(3)
      )
      yield* Effect.gen(function*() {
        yield* Layer.build(Projection.layer(projection))
        yield* ProjectionStatus.caughtUp("rewound")
        assert.strictEqual(handled.splice(0).length, 6)
        const since = { since: middle }
        for (
          const rewind of [
            Projection.rewind(projection, since),
            ProjectionManagement.rewind(projection, since)
          ]
        ) {
          yield* ProjectionManagement.pause("rewound")
          yield* rewind
          assert.strictEqual(yield* ProjectionStatus.lag("rewound"), 3)
          yield* ProjectionManagement.resume("rewound")
          yield* ProjectionStatus.caughtUp("rewound")
          assert.sameMembers(handled.splice(0), ["a 2 2000", "a 3 2000", "b 2 2000"])
        }
      }).pipe(Effect.provide(here))
    }))

  it.effect("that begins at a time asks the producer for nothing older, be that ours or Akka's", () =>
    Effect.gen(function*() {
      const { here, middle, port } = yield* past
      const akka = yield* AkkaProducer.make()
      const old = akka.append("a", 100)
      akka.append("quiet", 2)
      const ours = begin("ours", port, middle)
      const akkas = begin("akkas", akka.address, old[89]!.timestamp)
      // the second time it goes on where it was
      for (const n of [1, 2]) {
        akka.write("a", 1)
        yield* Effect.gen(function*() {
          yield* ours.running
          yield* akkas.running
          yield* Wait.until("Akka's", () => akkas.handled.length >= 13 + n)
          yield* ProjectionStatus.caughtUp("ours")
          if (n === 1) assert.sameMembers(ours.handled.splice(0), ["a 2 2000", "a 3 2000", "b 2 2000"])
        }).pipe(Effect.provide(here), Effect.scoped)
      }
      assert.deepStrictEqual(ours.handled, [])
      const numbers = akkas.handled.filter((_) => _.startsWith("a ")).map((_) => Number(_.split(" ")[1]))
      assert.deepStrictEqual(numbers, Array.from({ length: 13 }, (_, i) => 90 + i))
    }))

  it.effect("does not handle what it has put aside, and the other service has deleted since", () =>
    Effect.gen(function*() {
      const [there, here] = yield* Effect.all([makeStorage, makeStorage])
      for (const id of ["a", "b"]) yield* Effect.provide(append(id, ["x"]), there)
      const port = yield* Producer.serve(Layer.provide(carts, Layer.succeedContext(there)), { port: 0 })
      const handled: Array<string> = []
      let isBroken = true
      const projection = remote(port).pipe(
        Projection.exactlyOnce(
          "aside",
          (envelope) => isBroken ? Effect.fail("broken") : Effect.sync(() => void handled.push(shortly(envelope)))
        ),
        Projection.recovery(RecoveryStrategy.deadLetter)
      )
      yield* Effect.gen(function*() {
        yield* Effect.scoped(
          Effect.andThen(Layer.build(Projection.layer(projection)), ProjectionStatus.caughtUp("aside"))
        )
        isBroken = false
        yield* Effect.provide(Journal.deleteEvents(Cart, "a"), there)
        const redriven = yield* Projection.handleDeadLetters(projection)
        assert.deepStrictEqual(redriven, { handled: 1, failed: 0, obsolete: 1, excluded: 0 })
        assert.deepStrictEqual(handled, ["b 1 x"])
      }).pipe(Effect.provide(here))
    }))
})
