import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventStream from "@sluice/core/EventStream"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import * as Source from "@sluice/core/Source"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import * as SimulatedNetwork from "@sluice/testing/SimulatedNetwork"
import * as Simulation from "@sluice/testing/Simulation"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"

const value = <A, E>({ exit, trace }: Simulation.Outcome<A, E>): A => {
  if (Exit.isFailure(exit)) throw new Error(`${Cause.pretty(exit.cause)}\n${trace.slice(-60).join("\n")}`)
  return exit.value
}

const Cart = EntityType.make("cart", { codec: EventCodec.string })
const Carts = EventStream.make("carts", { codec: EventCodec.string })

/** A producer and a consumer in processes of their own, and what the consumer has handled. */
const services = Effect.gen(function*() {
  const makeStorage = Layer.build(Layer.fresh(MemoryStorage.layer))
  const [there, here] = yield* Effect.all([makeStorage, makeStorage])
  const handled: Array<string> = []
  const producer = yield* Simulation.process(
    "producer",
    EventProducer.layer(Carts, Source.journal(Cart)).pipe(
      Layer.provide(GrpcServer.layer({ port: 8101 })),
      Layer.provide([Layer.succeedContext(there), SimulatedNetwork.layer])
    )
  )
  const consumer = yield* Simulation.process(
    "consumer",
    Projection.layer(
      EventConsumer.source(Carts, { address: "producer:8101", insecure: true }).pipe(
        Projection.exactlyOnce(
          "carts",
          ({ event, persistenceId, sequenceNumber }) =>
            Effect.sync(() => void handled.push(`${persistenceId} ${sequenceNumber} ${event}`))
        ),
        Projection.workers(2)
      )
    ).pipe(Layer.provide([Layer.succeedContext(here), SimulatedNetwork.layer]))
  )
  let appended = 0
  return {
    producer,
    consumer,
    handled,
    append: (n: number) =>
      Effect.gen(function*() {
        for (let i = 0; i < n; i++) {
          const id = `c${appended++ % 5}`
          yield* Effect.provide(Journal.append(Cart, { id, events: [`e${appended}`] }), there)
        }
      }),
    /** Waits until all is handled, or for so many seconds, and then a little for what comes twice. */
    settled: Effect.gen(function*() {
      for (let i = 0; i < 240 && handled.length < appended; i++) yield* Effect.sleep("1 second")
      yield* Effect.sleep("20 seconds")
    }),
    expected: () =>
      Array.from({ length: appended }, (_, i) => `cart|c${i % 5} ${Math.floor(i / 5) + 1} e${i + 1}`).toSorted()
  }
})

type Services = Effect.Success<typeof services>

const faults: ReadonlyArray<Effect.Effect<void, never, Simulation.Simulation>> = [
  SimulatedNetwork.cut("producer", "consumer"),
  SimulatedNetwork.cutOneWay("producer", "consumer"),
  SimulatedNetwork.cutOneWay("consumer", "producer"),
  SimulatedNetwork.slow("producer", "consumer", { min: "1 second", max: "5 seconds" }),
  SimulatedNetwork.sever("producer", "consumer"),
  SimulatedNetwork.sever("producer", "consumer", { noticedBy: ["consumer"] }),
  SimulatedNetwork.sever("producer", "consumer", { noticedBy: ["producer"] }),
  Effect.andThen(SimulatedNetwork.halfOpen("producer", true), SimulatedNetwork.sever("producer", "consumer"))
]

const heal = Effect.andThen(
  SimulatedNetwork.heal("producer", "consumer"),
  SimulatedNetwork.halfOpen("producer", false)
)

const program = Effect.gen(function*() {
  const services_: Services = yield* services
  const { append, expected, handled, settled } = services_
  for (let i = 0; i < 6; i++) {
    yield* append(Math.floor(yield* Random.nextBetween(1, 12)))
    yield* Effect.sleep(yield* Random.nextBetween(0, 3000))
    yield* faults[Math.floor(yield* Random.nextBetween(0, faults.length))]!
    yield* append(Math.floor(yield* Random.nextBetween(1, 12)))
    yield* Effect.sleep(yield* Random.nextBetween(0, 40_000))
    yield* heal
  }
  yield* settled
  return { handled, expected: expected() }
})

describe("a projection of another service's stream", () => {
  it("handles each event once, in order, whatever becomes of the network", () => {
    for (let seed = 0; seed < 40; seed++) {
      const { expected, handled } = value(Simulation.run(program, { seed, trace: true }))
      assert.deepStrictEqual(handled.toSorted(), expected, `seed ${seed}`)
      for (let c = 0; c < 5; c++) {
        const numbers = handled.filter((line) => line.startsWith(`cart|c${c} `)).map((line) =>
          Number(line.split(" ")[1])
        )
        assert.deepStrictEqual(numbers, numbers.toSorted((a, b) => a - b), `seed ${seed}`)
      }
    }
  }, 60_000)
})
