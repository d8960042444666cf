import * as DurableStateStore from "@sluice/core/DurableStateStore"
import type { EntityType } from "@sluice/core/EntityType"
import type { Metadata } from "@sluice/core/Envelope"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import { Runs } from "@sluice/entity/EntityClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Rpc from "effect/rpc/Rpc"
import * as Stream from "effect/Stream"
import { throughCodec, throughSchema } from "./codecs.ts"
import type { Kind } from "./kind.ts"

/** @internal What there is before the commands: events, or a state. */
export interface Before {
  readonly id: string
  readonly events: ReadonlyArray<unknown>
  readonly state: Option.Option<unknown>
}

/** @internal A command, as the test gives it. */
export interface Sent {
  readonly tag: string
  readonly payload: unknown
  readonly commandId: string | undefined
  readonly metadata?: Metadata | undefined
}

/** @internal What the last command has led to: a reply, an error that it declares, or what went wrong beside. */
export interface Outcome {
  readonly events: ReadonlyArray<unknown>
  readonly state: unknown
  readonly tags: ReadonlyArray<string>
  readonly answer:
    | { readonly _tag: "Reply"; readonly reply: unknown }
    | { readonly _tag: "Error"; readonly error: unknown }
    | { readonly _tag: "Failure"; readonly error: { readonly _tag: string; readonly message: string } }
}

/** @internal The envelopes of the entity's events after a number. */
export const eventsAfter = (entityType: EntityType<any>, id: string, number: number) =>
  Stream.runCollect(Journal.read(entityType, id, { from: number + 1 }))

/**
 * @internal
 * Runs the commands one after the other on a storage in memory that holds what is given, and says what the last one has led to. Each value passes its codec
 * on its way. What is given, and what comes before the last command, has to succeed.
 */
export const outcomeOf = (
  kind: Kind,
  { events, id, state }: Before,
  commands: ReadonlyArray<Sent>
): Effect.Effect<Outcome, never, any> =>
  Effect.gen(function*() {
    const { entityType, stateType } = kind
    const inJournal = (yield* kind.journalId)(id)
    if (kind.evolve !== undefined) {
      yield* Journal.append(entityType!, { id: inJournal, events: events.map(through("the event", entityType!)) })
    } else if (Option.isSome(state)) {
      yield* DurableStateStore.upsert(stateType, {
        id,
        expected: 0,
        state: through("the state", stateType)(state.value)
      })
    }
    const behaviour = yield* kind.behaviour
    const { send } = yield* Runs(kind.name)
    const lastEvent = Effect.suspend(() =>
      entityType === undefined
        ? Effect.succeed(0)
        : Effect.map(eventsAfter(entityType, inJournal, 0), (all) => Number(all.at(-1)?.sequenceNumber ?? 0))
    )
    let number = 0
    let answer: Outcome["answer"] | undefined
    for (const { commandId, metadata, payload, tag } of commands) {
      if (answer !== undefined && answer._tag !== "Reply") {
        return yield* Effect.die(new Error(`A command before '${tag}' was not accepted`, { cause: answer.error }))
      }
      number = yield* lastEvent
      const command = kind.commands.get(tag)
      const sent = command === undefined ? payload : payloadOf(command, payload)
      const result = yield* Effect.result(send(id, { tag, payload: sent, commandId, metadata }))
      answer = Result.isFailure(result)
        ? { _tag: "Failure", error: result.failure }
        : result.success._tag === "Replied"
        ? { _tag: "Reply", reply: throughSchema("the reply", command!.successSchema, result.success.reply) }
        : { _tag: "Error", error: throughSchema("the error", command!.errorSchema, result.success.error) }
    }
    const appended = entityType === undefined ? [] : yield* eventsAfter(entityType, inJournal, number)
    // what cannot be recovered was said by the last command
    const held = yield* Effect.option(behaviour.recover(id))
    const found = Option.isNone(held) ? undefined : through("the state", stateType)(behaviour.state(held.value))
    return {
      events: appended.map(({ event }) => event),
      state: found,
      tags: kind.evolve === undefined
        ? Option.match(yield* DurableStateStore.get(stateType, id), { onNone: () => [], onSome: ({ tags }) => tags })
        : appended.at(-1)?.tags ?? [],
      answer: answer!
    }
  }).pipe(
    Effect.scoped,
    Effect.provide(kind.layer),
    Effect.provide(Layer.fresh(MemoryStorage.layer)),
    // a storage in memory does not fail, and what is given is the test's
    Effect.orDie
  )

const through = (what: string, { codec }: Pick<EntityType<any>, "codec">) => (value: unknown) =>
  throughCodec(what, codec, value)

/** @internal The payload of a command as whoever receives it has it. */
export const payloadOf = ({ payloadSchema }: Rpc.AnyWithProps, input: unknown): unknown =>
  throughSchema("the payload", payloadSchema, payloadSchema.make(input))
