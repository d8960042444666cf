import { encoded, type EncodedElement, isSkipped } from "@sluice/core/Envelope"
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { IncomingCall } from "../../Call.ts"
import type { Caller } from "../../Caller.ts"
import type { ReplicaInfo } from "../generated/akka/projection/grpc/event_producer_pb.ts"
import { quotable, refused, type Status } from "../wire/status.ts"
import type { OfferedStream } from "./OfferedStream.ts"

const said = (text: string): string | undefined => text === "" ? undefined : text

/** @internal Who makes a call, which says which replica it is for where it does. */
export const callerOf = (
  { certificate, headers, peer }: Pick<IncomingCall, "certificate" | "headers" | "peer">,
  replica: ReplicaInfo | undefined
): Caller => ({
  headers,
  address: peer,
  certificate,
  replica: replica && {
    id: replica.replicaId,
    others: replica.otherReplicaIds,
    order: said(replica.sluiceOrder),
    journal: said(replica.sluiceJournal)
  }
})

/** @internal A caller, for the log. */
export const nameOf = ({ address, replica }: Caller): string =>
  replica === undefined ? address : `replica ${JSON.stringify(quotable(replica.id))} at ${address}`

/** @internal Puts placeholders in the place of what is never for the caller. Undefined where all of it is. */
export const droppingFor = (
  { drop }: Pick<OfferedStream, "drop">,
  caller: Caller
): (<Element extends EncodedElement>(elements: ReadonlyArray<Element>) => ReadonlyArray<Element>) | undefined => {
  if (drop === undefined) return undefined
  const isDropped = drop(caller)
  return <Element extends EncodedElement>(elements: ReadonlyArray<Element>) =>
    elements.map((element) => {
      if (isSkipped(element) || element.payload === undefined || !isDropped(element)) return element
      const { persistenceId, position, sequenceNumber, slice, timestamp } = element
      return encoded({ persistenceId, sequenceNumber, slice, position, timestamp }, undefined) as Element
    })
}

/** Callers name themselves. */
const maxStrangers = 100

/** @internal Whether a caller is a replica which is not known here, and what is to be said of it the first time that it calls. */
export const strangerOf = (
  { id, replica: own, strangers }: Pick<OfferedStream, "id" | "replica" | "strangers">,
  { address, replica }: Caller
): { readonly said: string | undefined } | undefined => {
  if (own === undefined || replica === undefined || own.replicas.includes(replica.id)) return undefined
  if (strangers.has(replica.id) || strangers.size >= maxStrangers) return { said: undefined }
  strangers.add(replica.id)
  const said = `Replica ${
    JSON.stringify(quotable(replica.id))
  } at ${address} consumes the stream '${id}', and is none of the replicas that '${own.id}' knows: '${
    own.replicas.join("', '")
  }'. What is written there does not come here: name it among the replicas of the entity type here as well, and consume it`
  return { said }
}

/** How often it is looked again, in milliseconds, more or less, whether a replica is to be given the stream that it is given. */
const lookAgain = 30_000

type Admitting = Pick<OfferedStream, "id" | "replica" | "refusals">

const looking = (
  { id, refusals, replica: own }: Admitting,
  { address, replica }: Caller,
  admitted: () => void
): Effect.Effect<void, unknown, Scope.Scope> | undefined => {
  if (own?.refuse === undefined || replica === undefined) return undefined
  return Effect.flatMap(own.refuse(replica), (refusal): Effect.Effect<void, Status> => {
    if (refusal === undefined) return Effect.sync(admitted)
    const { code, problem } = refusal
    const isSaid = refusals.get(replica.id) === code || refusals.size >= maxStrangers
    if (!isSaid) refusals.set(replica.id, code)
    return Effect.andThen(
      isSaid
        ? Effect.void
        : Effect.logWarning(
          `Replica ${JSON.stringify(quotable(replica.id))} at ${address} is not given the stream '${id}': ${problem}`
        ),
      Effect.fail(refused(code, problem))
    )
  })
}

/** @internal Refuses a replica that the stream is not given to. The log says so once for each and each reason, until it is given the stream. */
export const admit = (stream: Admitting, caller: Caller): Effect.Effect<void, unknown, Scope.Scope> =>
  looking(stream, caller, () => void stream.refusals.delete(caller.replica!.id)) ?? Effect.void

/** @internal Fails once a replica that is given the stream is to be refused: what tells may not have been known when it came. By the clock of the network. */
export const untilRefused = (
  stream: Admitting & Pick<OfferedStream, "looks">,
  caller: Caller,
  clock: Clock.Clock
): Effect.Effect<never, unknown> => {
  const look = looking(stream, caller, () => {})
  if (look === undefined) return Effect.never
  const { id, journal, order } = caller.replica!
  const key = JSON.stringify([id, journal, order])
  // replicas that have connected together are not looked at together
  const sleep = Effect.flatMap(
    Random.nextBetween(0.8, 1.2),
    (jitter) => clock.sleep(Duration.millis(lookAgain * jitter))
  )
  return Effect.acquireUseRelease(
    Effect.sync(() => {
      let looks = stream.looks.get(key)
      if (looks === undefined) {
        looks = { calls: 0, one: Semaphore.makeUnsafe(1), refused: Deferred.makeUnsafe() }
        stream.looks.set(key, looks)
      }
      looks.calls++
      return looks
    }),
    ({ one, refused }) =>
      Effect.forever(Effect.andThen(sleep, Effect.scoped(look))).pipe(
        Effect.tapError((refusal) => Deferred.fail(refused, refusal)),
        one.withPermits(1),
        Effect.raceFirst(Deferred.await(refused))
      ),
    (looks) =>
      Effect.sync(() => {
        if (--looks.calls === 0) stream.looks.delete(key)
      })
  )
}
