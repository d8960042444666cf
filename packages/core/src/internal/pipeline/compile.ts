import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import type { Element, EncodedElement, Envelope, Poison } from "../../Envelope.ts"
import { encoded, FailedAt, isSkipped, make, notSent, placeholder, poison, reminder, sizeOf } from "../../Envelope.ts"
import type { EventCodec } from "../../EventCodec.ts"
import type { Stage } from "../../Stage.ts"
import { decodeEnvelopeUnsafe } from "./decodeEnvelope.ts"
import { encodeUnsafe } from "./encodeUnsafe.ts"
import { mapChunks } from "./mapChunks.ts"

/**
 * @internal
 * The stages of a source as one function of a chunk. A stage that is a plain function costs a call per event. There is
 * one effect per chunk, up to the first stage that is an effect itself.
 */
export const compile = <A, R>(
  codec: EventCodec<A>,
  stages: ReadonlyArray<Stage>
): (chunk: Arr.NonEmptyReadonlyArray<EncodedElement>) => Effect.Effect<ReadonlyArray<Element<A>>, never, R> => {
  const firstEffect = stages.findIndex((stage) => stage._tag === "Effect")
  const decode = decodeWith(codec, firstEffect < 0 ? stages : stages.slice(0, firstEffect))
  if (firstEffect < 0) return (chunk) => Effect.sync(() => decode(chunk))
  const rest = stages.slice(firstEffect)
  return Effect.fnUntraced(function*(chunk: Arr.NonEmptyReadonlyArray<EncodedElement>) {
    const elements: Array<Element<any>> = []
    for (const decoded of decode(chunk)) {
      let element = decoded
      for (const stage of rest) {
        if (element._tag !== "Envelope") break
        if (stage._tag === "Sync") {
          element = applySync(stage, element)
          continue
        }
        const envelope = element
        const exit: Exit.Exit<Envelope<any> | undefined, any> = yield* Effect.exit(
          Effect.suspend(() => stage.run(envelope))
        )
        if (exit._tag === "Success") element = exit.value ?? placeholder(element)
        else element = poison(element, exit.cause, false)
      }
      elements.push(element)
      // an effect that fails may fail on the next event as well, so later events wait for another try
      if (element._tag === "Poison" && !element.permanent) break
    }
    return elements
  })
}

/** @internal */
export const decodeWith =
  <A>(codec: EventCodec<A>, stages: ReadonlyArray<Stage>) =>
  (chunk: Arr.NonEmptyReadonlyArray<EncodedElement>): Arr.NonEmptyArray<Element<A>> =>
    Arr.map(chunk, (stored) => {
      if (isSkipped(stored)) return stored
      const { payload } = stored
      if (payload === undefined) return placeholder(stored)
      if (payload === notSent) return reminder(stored)
      let element: Element<any>
      try {
        element = make(stored, decodeEnvelopeUnsafe(codec, stored, payload), sizeOf(stored))
      } catch (error) {
        return poison(stored, Cause.fail(error), true)
      }
      for (const stage of stages) {
        if (element._tag !== "Envelope") break
        element = applySync(stage as Extract<Stage, { _tag: "Sync" }>, element)
      }
      return element
    })

const applySync = (stage: Extract<Stage, { _tag: "Sync" }>, envelope: Envelope<any>): Element<any> => {
  try {
    return stage.run(envelope) ?? placeholder(envelope)
  } catch (defect) {
    return poison(envelope, Cause.die(defect), true)
  }
}

type Sound<A> = Exclude<Element<A>, Poison>

const isPoison = (element: { readonly _tag?: unknown }): boolean => element._tag === "Poison"

/** @internal Fails at the first poison event, after all that are before it. */
export const failAtPoison = <T extends object, E, R>(
  self: Stream.Stream<T, E, R>
): Stream.Stream<Exclude<T, Poison>, E, R> =>
  Stream.transformPull(self, (pull) => {
    let failure: Cause.Cause<E> | undefined
    const next: Pull.Pull<Arr.NonEmptyReadonlyArray<Exclude<T, Poison>>, E, void, R> = Effect.suspend(() =>
      failure === undefined
        ? Effect.flatMap(pull, (chunk) => {
          const at = chunk.findIndex(isPoison)
          if (at < 0) return Effect.succeed(chunk as Arr.NonEmptyReadonlyArray<any>)
          const { cause, persistenceId, sequenceNumber } = chunk[at] as unknown as Poison
          failure = Cause.annotate(
            cause as Cause.Cause<E>,
            Context.make(FailedAt, { persistenceId, sequenceNumber }) as Context.Context<never>
          )
          if (at === 0) return Effect.failCause(failure)
          return Effect.succeed(chunk.slice(0, at) as any)
        })
        : Effect.failCause(failure)
    )
    return Effect.succeed(next)
  })

/** @internal The events alone, up to the first poison one, where it fails. */
export const events = <A, E, R>(self: Stream.Stream<Element<A>, E, R>): Stream.Stream<Envelope<A>, E, R> =>
  mapChunks((chunk: ReadonlyArray<Sound<A>>) => Effect.succeed(chunk.filter((element) => element._tag === "Envelope")))(
    failAtPoison(self)
  )

/** @internal An event that its public codec refuses is a bug of the pipeline: a defect. */
export const reencode =
  <A>(codec: EventCodec<A>) =>
  (chunk: Arr.NonEmptyReadonlyArray<Element<A>>): Arr.NonEmptyArray<EncodedElement | Poison> =>
    Arr.map(chunk, (element) => {
      if (element._tag === "Skipped" || element._tag === "Poison") return element
      if (element._tag === "Placeholder") return encoded(element, undefined)
      if (element._tag === "Reminder") return encoded(element, notSent)
      try {
        return encoded(element, encodeUnsafe(codec, element.persistenceId, element.event))
      } catch (defect) {
        return poison(element, Cause.die(defect), true)
      }
    })
