import type { Envelope } from "@sluice/core/Envelope"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import type { Answer } from "@sluice/entity/Behaviour"
import { Runs } from "@sluice/entity/EntityClient"
import * as Replica from "@sluice/replication/Replica"
import * as ReplicatedEventSourced from "@sluice/replication/ReplicatedEventSourced"
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import type * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Wrong } from "./codecs.ts"
import { eventsAfter, payloadOf } from "./given.ts"
import { difference, isSame, short } from "./render.ts"

type Entity = ReplicatedEventSourced.ReplicatedEventSourced<any, any, any, any, any>

/** @internal One step: a command to a replica, or the next event of one replica that comes to another one. */
export type Step =
  | { readonly _tag: "Command"; readonly replica: string; readonly tag: string; readonly payload: unknown }
  | { readonly _tag: "Arrival"; readonly from: string; readonly to: string }

/** @internal The steps of a run: those that bring events are as many as commands. */
export const stepsBetween = (
  entity: Entity,
  { length, payloads }: {
    readonly payloads: Readonly<Record<string, Arbitrary.Arbitrary<unknown> | undefined>>
    readonly length: number
  }
) => {
  const replica = Arbitrary.schema(Schema.Literals(entity.replicas))
  const commands = entity.commands.map((command: Rpc.AnyWithProps) =>
    Arbitrary.map(
      Arbitrary.all({
        replica,
        payload: payloads[command._tag] ??
          Arbitrary.schema(Schema.toType(command.payloadSchema as Schema.Codec<unknown>))
      }),
      ({ payload, replica }): Step => ({ _tag: "Command", replica, tag: command._tag, payload })
    )
  )
  const arrival = Arbitrary.map(
    Arbitrary.all({ from: replica, to: replica }),
    ({ from, to }): Step => ({ _tag: "Arrival", from, to })
  )
  const all = [...commands, ...commands.map(() => arrival)]
  const step = Arbitrary.flatMap(
    Arbitrary.schema(Schema.Literals(all.map((_, i) => i))),
    (i): Arbitrary.Arbitrary<Step> => all[i]!
  )
  return Arbitrary.array(step, { minLength: 1, maxLength: length })
}

const id = "1"

/** @internal Runs the steps, has all events come everywhere, and says what is wrong, if anything is. */
export const differenceOf = (
  entity: Entity,
  steps: ReadonlyArray<Step>
): Effect.Effect<{ readonly steps: ReadonlyArray<string>; readonly problem: string } | undefined, never, any> =>
  Effect.gen(function*() {
    const told: Array<string> = []
    const ended = yield* Effect.exit(Effect.scoped(run(entity, steps, told)))
    if (ended._tag === "Success") return undefined
    const wrong = Cause.squash(ended.cause)
    return wrong instanceof Wrong ? { steps: told, problem: wrong.message } : yield* Effect.failCause(ended.cause)
  }).pipe(
    Effect.provide(TestClock.layer()),
    Effect.provideService(References.MinimumLogLevel, "None"),
    Effect.orDie
  )

/** A replica, with a storage of its own. */
const start = Effect.fnUntraced(function*(entity: Entity, self: string) {
  const context = yield* Layer.build(
    ReplicatedEventSourced.layerPlain(entity).pipe(
      Layer.provideMerge([Replica.layer(self), Layer.fresh(MemoryStorage.layer)])
    )
  )
  const inside = <A, E>(effect: Effect.Effect<A, E, any>): Effect.Effect<A, E> =>
    Effect.provideContext(effect, context) as Effect.Effect<A, E>
  const { send } = yield* inside(Runs(entity.name))
  const receive = yield* inside(ReplicatedEventSourced.receive(entity))
  /** How many events of this one have come to each other one. */
  const sent = new Map<string, number>()
  const own = Effect.map(
    inside(eventsAfter(entity.entityType, `${id}|${self}`, 0)),
    (events) => events.filter(({ replication }) => replication?.origin === self)
  )
  return {
    self,
    send: (tag: string, payload: unknown): Effect.Effect<Answer, Wrong> =>
      Effect.mapError(send(id, { tag, payload, commandId: undefined }), ({ message }) => new Wrong(message)),
    receive: ({ event, metadata, replication }: Envelope<unknown>) =>
      Effect.mapError(
        receive(id, { event, metadata, replication: replication! }),
        ({ message }) =>
          new Wrong(`'${self}' does not take an event of '${replication!.origin}', ${short(event)}: ${message}`)
      ),
    /** The next event for another one, if there is one. */
    next: (other: string) =>
      Effect.map(own, (events) => {
        const count = sent.get(other) ?? 0
        if (count < events.length) sent.set(other, count + 1)
        return events[count]
      }),
    state: Effect.gen(function*() {
      const behaviour = yield* inside(entity.behaviour)
      const held = yield* Effect.mapError(
        inside(behaviour.recover(id)),
        ({ message }: { readonly message: string }) => new Wrong(message)
      )
      const { bytes, manifest } = entity.stateType.codec.encodeUnsafe(behaviour.state(held))
      // a value may know the order in which its parts have come, and need not tell
      return manifest.startsWith("json.") ? JSON.parse(Buffer.from(bytes).toString()) : bytes
    })
  }
})

const run = Effect.fnUntraced(function*(
  entity: Entity,
  steps: ReadonlyArray<Step>,
  told: Array<string>
): Effect.fn.Return<void, any, any> {
  const replicas = new Map<string, Effect.Success<ReturnType<typeof start>>>()
  for (const self of entity.replicas) replicas.set(self, yield* start(entity, self))

  const bring = Effect.fnUntraced(function*(from: string, to: string): Effect.fn.Return<boolean, any, any> {
    if (from === to) return false
    const next = yield* replicas.get(from)!.next(to)
    if (next === undefined) return false
    told.push(`'${to}' gets an event of '${from}', ${short(next.event)}`)
    yield* replicas.get(to)!.receive(next)
    return true
  })
  for (const step of steps) {
    if (step._tag === "Arrival") {
      // what is written on both sides of it may be at one time, and what is written after it is later
      if (yield* bring(step.from, step.to)) yield* TestClock.adjust(1)
      continue
    }
    const { replica, tag } = step
    const declared = entity.commands.find((command: Rpc.AnyWithProps) => command._tag === tag)
    const payload = payloadOf(declared, step.payload)
    told.push(`'${replica}' ${tag}${step.payload === undefined ? "" : ` ${short(step.payload)}`}`)
    yield* replicas.get(replica)!.send(tag, payload)
  }
  for (const from of entity.replicas) {
    for (const to of entity.replicas) {
      while (yield* bring(from, to));
    }
  }
  const [first, ...others] = replicas.values()
  const expected = yield* first!.state
  for (const other of others) {
    const actual = yield* other.state
    if (!isSame(expected, actual)) {
      throw new Wrong(
        `'${first!.self}' and '${other.self}' have the same events in another order, which lead to other states ` +
          `(- ${first!.self}, + ${other.self})\n${difference(expected, actual)}`
      )
    }
  }
})
