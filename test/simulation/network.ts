/** What the simulator runs: a producer and consumers in processes of their own, each side with its database, and what becomes of the network meanwhile. */
import { EntityType, type Envelope, EventCodec, EventStream, Journal, Projection, Source } from "@sluice/core"
import { EventConsumer, EventProducer, GrpcServer } from "@sluice/grpc"
import { Auditor, FaultPlan, SimulatedDatabase, SimulatedNetwork, Simulation } from "@sluice/testing"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"

const Cart = EntityType.make("cart", { codec: EventCodec.string })
const Carts = EventStream.make("carts", { codec: EventCodec.string })

const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

/** What goes wrong between the producer and a consumer, so many milliseconds after the fault before, and for how many. */
const Fault = Schema.Struct({
  kind: Schema.Literals([
    "Cut",
    "CutToConsumer",
    "CutToProducer",
    "Slow",
    "SlowToConsumer",
    "SlowToProducer",
    "Sever",
    "SeverUnnoticedByProducer",
    "SeverUnnoticedByConsumer",
    "HalfOpen",
    "SendsTwice",
    "CutsAfterHeaders",
    "EndsRequests"
  ]),
  after: upTo(2000),
  lasts: upTo(45_000),
  consumer: upTo(1)
})

export type Fault = typeof Fault.Type

const Append = Schema.Struct({ after: upTo(2000), entity: upTo(6), events: upTo(4) })

export interface Workload {
  readonly appends: ReadonlyArray<typeof Append.Type>
  readonly network: ReadonlyArray<Fault>
  /** What happens to the processes, and to the databases. */
  readonly others: FaultPlan.FaultPlan
  /** How many processes run the projection, and with how many workers each. */
  readonly consumers: number
  readonly workers: number
  readonly delivery: "ExactlyOnce" | "AtLeastOnce"
  /** How long the handler takes, in milliseconds. */
  readonly slowness: number
  /** How large an event is, in bytes. */
  readonly bytes: number
}

export const workloads: Arbitrary.Arbitrary<Workload> = Arbitrary.all({
  appends: Arbitrary.array(Arbitrary.schema(Append), { minLength: 1, maxLength: 20 }),
  network: Arbitrary.array(Arbitrary.schema(Fault), { maxLength: 5 }),
  others: Arbitrary.array(Arbitrary.schema(FaultPlan.Fault), { maxLength: 3 }),
  consumers: Arbitrary.schema(Schema.Literals([1, 1, 2])),
  workers: Arbitrary.schema(Schema.Literals([1, 2, 3])),
  delivery: Arbitrary.schema(Schema.Literals(["ExactlyOnce", "AtLeastOnce"])),
  slowness: Arbitrary.schema(Schema.Literals([0, 0, 20, 300])),
  bytes: Arbitrary.schema(Schema.Literals([1, 100, 3000]))
})

const projection = "carts"

/** How long it may take after the last fault until all is handled: an answer is waited for for a minute, and backoff is up to 36 seconds. */
const patience = "5 minutes"

const slowly = { min: "100 millis", max: "5 seconds" } as const

const suffer = ({ consumer, kind }: Fault, consumers: number) => {
  const name = `consumer-${consumer % consumers}`
  switch (kind) {
    case "Cut":
      return SimulatedNetwork.cut("producer", name)
    case "CutToConsumer":
      return SimulatedNetwork.cutOneWay("producer", name)
    case "CutToProducer":
      return SimulatedNetwork.cutOneWay(name, "producer")
    case "Slow":
      return SimulatedNetwork.slow("producer", name, slowly)
    case "SlowToConsumer":
      return SimulatedNetwork.slowOneWay("producer", name, slowly)
    case "SlowToProducer":
      return SimulatedNetwork.slowOneWay(name, "producer", slowly)
    case "Sever":
      return SimulatedNetwork.sever("producer", name)
    case "SeverUnnoticedByProducer":
      return SimulatedNetwork.sever("producer", name, { noticedBy: [name] })
    case "SeverUnnoticedByConsumer":
      return SimulatedNetwork.sever("producer", name, { noticedBy: ["producer"] })
    case "HalfOpen":
      return SimulatedNetwork.halfOpen("producer", true)
    case "SendsTwice":
    case "CutsAfterHeaders":
    case "EndsRequests":
      return SimulatedNetwork.proxy("producer", kind)
  }
}

const heal = ({ consumer, kind }: Fault, consumers: number) => {
  switch (kind) {
    case "HalfOpen":
      return SimulatedNetwork.halfOpen("producer", false)
    case "SendsTwice":
    case "CutsAfterHeaders":
    case "EndsRequests":
      return SimulatedNetwork.proxy("producer", undefined)
    default:
      return SimulatedNetwork.heal("producer", `consumer-${consumer % consumers}`)
  }
}

export const run = (workload: Workload): Effect.Effect<void, unknown, Simulation.Simulation> =>
  Effect.gen(function*() {
    const { appends, bytes, consumers, delivery, network, others, slowness, workers } = workload
    const there = yield* SimulatedDatabase.make("there")
    const here = yield* SimulatedDatabase.make("here")
    const auditor = yield* Auditor.make({ journal: there, offsets: here })
    const table = SimulatedDatabase.table<string>(here)

    const source = EventConsumer.source(Carts, { address: "producer:8101", insecure: true })
    const handler = ({ persistenceId, sequenceNumber }: Envelope.Envelope<string>) =>
      Effect.gen(function*() {
        if (slowness > 0) yield* Effect.sleep(slowness)
        if (delivery === "ExactlyOnce") yield* table.set(`${persistenceId} ${sequenceNumber}`, "handled")
      })
    const offered = auditor.source(Source.journal(Cart))
    const projected = auditor.projection(
      source.pipe(
        delivery === "ExactlyOnce"
          ? Projection.exactlyOnce(projection, handler)
          : Projection.atLeastOnce(projection, handler, { saveAfter: 3, saveWithin: "200 millis" }),
        Projection.workers(workers)
      ),
      { origin: offered }
    )

    /** Takes each step once, whatever becomes of the process. */
    const left = [...appends]
    const writing = Effect.gen(function*() {
      for (let step = left.shift(); step !== undefined; step = left.shift()) {
        yield* Effect.sleep(step.after)
        const text = `${left.length}`.padStart(bytes, ".")
        const events = Array.from({ length: step.events + 1 }, () => text) as [string, ...Array<string>]
        yield* Effect.ignore(Journal.append(Cart, { id: `c${step.entity}`, events }))
      }
      return yield* Effect.never
    })
    const producer = EventProducer.layer(Carts, offered).pipe(
      Layer.provide(GrpcServer.layer({ port: 8101 })),
      Layer.provideMerge(there.layer),
      Layer.provide(SimulatedNetwork.layer)
    )
    const consumer = Projection.layer(projected).pipe(Layer.provide([here.layer, SimulatedNetwork.layer]))
    const processes = [yield* Simulation.process("producer", Effect.provide(writing, producer))]
    for (let i = 0; i < consumers; i++) processes.push(yield* Simulation.process(`consumer-${i}`, consumer))

    const faults = Effect.forEach(network, (fault) =>
      Effect.gen(function*() {
        yield* Effect.sleep(fault.after)
        yield* suffer(fault, consumers)
        yield* Effect.sleep(fault.lasts)
        yield* heal(fault, consumers)
      }), { discard: true })
    yield* Effect.all([faults, FaultPlan.run(others, { processes, databases: [there, here] })], {
      concurrency: "unbounded",
      discard: true
    })
    yield* Simulation.note("no more faults")
    while (left.length > 0) yield* Effect.sleep("100 millis")
    yield* Effect.sleep("5 seconds")
    yield* auditor.settled({ within: patience })
    yield* Effect.sleep("30 seconds")
    yield* auditor.settled({ within: patience })
  })
