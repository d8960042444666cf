/**
 * The network between the processes of a simulation. It carries the real messages of producers and consumers, without sockets.
 *
 * @since 0.1.0
 */
import { CallTransport } from "@sluice/grpc/CallTransport"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Network, networkOf } from "./internal/simulation/network.ts"
import { place } from "./internal/simulation/runners.ts"
import type { Simulation } from "./Simulation.ts"

const onNetwork = (f: (network: Network) => void): Effect.Effect<void, never, Simulation> =>
  Effect.map(place, ({ engine }) => f(networkOf(engine)))

/**
 * Provides the network to a process, in the place of sockets. `EventConsumer`, `EventProducer` and `GrpcServer` are used as they are; the
 * host of an address is the name of a process.
 *
 * **Example** (A producer and a consumer in processes of their own, and a cut between them)
 *
 * ```ts
 * import { EntityType, EventCodec, EventStream, Journal, MemoryStorage, Projection, Source } from "@sluice/core"
 * import { EventConsumer, EventProducer, GrpcServer } from "@sluice/grpc"
 * import * as SimulatedNetwork from "@sluice/testing/SimulatedNetwork"
 * import * as Simulation from "@sluice/testing/Simulation"
 * import { Effect, Layer } from "effect"
 *
 * const Cart = EntityType.make("cart", { codec: EventCodec.string })
 * const Carts = EventStream.make("carts", { codec: EventCodec.string })
 * const producer = Layer.mergeAll(
 *   EventProducer.layer(Carts, Source.journal(Cart)),
 *   Layer.effectDiscard(Journal.append(Cart, { id: "a", events: ["first", "second"] }))
 * ).pipe(Layer.provide([GrpcServer.layer({ port: 8101 }), MemoryStorage.layer]), Layer.provide(SimulatedNetwork.layer))
 *
 * const program = Effect.gen(function*() {
 *   const handled: Array<string> = []
 *   const consumer = Projection.layer(
 *     EventConsumer.source(Carts, { address: "producer:8101", insecure: true }).pipe(
 *       Projection.atLeastOnce("carts", ({ event }) => Effect.sync(() => handled.push(event)))
 *     )
 *   ).pipe(Layer.provide(MemoryStorage.layer), Layer.provide(SimulatedNetwork.layer))
 *   yield* Simulation.process("producer", producer)
 *   yield* SimulatedNetwork.cut("producer", "consumer")
 *   yield* Simulation.process("consumer", consumer)
 *   yield* Effect.sleep("1 minute")
 *   const before = handled.length
 *   yield* SimulatedNetwork.heal("producer", "consumer")
 *   yield* Effect.sleep("1 minute")
 *   return [before, ...handled]
 * })
 * Simulation.run(program, { seed: 1 }).exit // => { _id: "Exit", _tag: "Success", value: [0, "first", "second"] }
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<never, never, Simulation> = Layer.effect(
  CallTransport,
  Effect.map(place, ({ engine }) => networkOf(engine).transport)
)

/**
 * From now on nothing that one process sends to the other arrives. It arrives when the way is healed, unless the connection has been given
 * up meanwhile.
 *
 * @category faults
 * @since 0.1.0
 */
export const cutOneWay = (from: string, to: string): Effect.Effect<void, never, Simulation> =>
  onNetwork((network) => network.block(from, to))

/**
 * From now on nothing arrives between two processes, as `cutOneWay` for both ways.
 *
 * @category faults
 * @since 0.1.0
 */
export const cut = (a: string, b: string): Effect.Effect<void, never, Simulation> =>
  onNetwork((network) => {
    network.block(a, b)
    network.block(b, a)
  })

const millis = (input: Duration.Input): number => Duration.toMillis(Duration.fromInputUnsafe(input))

/**
 * What two processes send to each other takes so long, drawn for each message. Messages of one call stay in their order.
 *
 * @category faults
 * @since 0.1.0
 */
export const slow = (
  a: string,
  b: string,
  delay: { readonly min: Duration.Input; readonly max: Duration.Input }
): Effect.Effect<void, never, Simulation> => Effect.andThen(slowOneWay(a, b, delay), slowOneWay(b, a, delay))

/**
 * What one process sends to the other takes so long, as `slow` for one way.
 *
 * @category faults
 * @since 0.1.0
 */
export const slowOneWay = (
  from: string,
  to: string,
  delay: { readonly min: Duration.Input; readonly max: Duration.Input }
): Effect.Effect<void, never, Simulation> =>
  onNetwork((network) => network.slow(from, to, { min: millis(delay.min), max: millis(delay.max) }))

/**
 * Ends cuts and slowness between two processes.
 *
 * @category faults
 * @since 0.1.0
 */
export const heal = (a: string, b: string): Effect.Effect<void, never, Simulation> =>
  onNetwork((network) => network.heal(a, b))

/**
 * Breaks the connections between two processes. Only those that are named notice at once: for the other, calls go on until it sends
 * something, so that a consumer that has connected again is served twice for a while.
 *
 * @category faults
 * @since 0.1.0
 */
export const sever = (
  a: string,
  b: string,
  options?: { readonly noticedBy?: ReadonlyArray<string> | undefined }
): Effect.Effect<void, never, Simulation> => onNetwork((network) => network.sever(a, b, options?.noticedBy ?? [a, b]))

/**
 * Begins or ends a time in which somebody else accepts new connections to a process, and says nothing on them. On a connection that is there
 * already, a proxy does the same, if it has one: that is drawn for each. Afterwards such a connection is closed, or stays silent for ever, as is drawn.
 *
 * @category faults
 * @since 0.1.0
 */
export const halfOpen = (server: string, isHalfOpen: boolean): Effect.Effect<void, never, Simulation> =>
  onNetwork((network) => network.setHalfOpen(server, isHalfOpen))

/**
 * What a proxy does to a call:
 *
 * - `SendsTwice`: the server is sent it a second time, as by a proxy that tries again. The client hears of the first one.
 * - `CutsAfterHeaders`: the call breaks once the server has answered with headers.
 * - `EndsRequests`: after its first message the client's side is closed, and the server's stays open.
 *
 * @category models
 * @since 0.1.0
 */
export type Misconduct = "SendsTwice" | "CutsAfterHeaders" | "EndsRequests"

/**
 * Puts a proxy in front of a process, which does that to each call from now on. Undefined takes it away for later calls.
 *
 * @category faults
 * @since 0.1.0
 */
export const proxy = (server: string, misconduct: Misconduct | undefined): Effect.Effect<void, never, Simulation> =>
  onNetwork((network) => network.misconduct(server, misconduct))
