import * as LogsIdentity from "@sluice/core/LogsIdentity"
import type { Offsets } from "@sluice/core/Offset"
import * as SliceRange from "@sluice/core/SliceRange"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import type { ReplicaProgress } from "@sluice/grpc/ReplicaProgress"
import * as Effect from "effect/Effect"
import type { ReplicatedEventSourced } from "../ReplicatedEventSourced.ts"
import type { ConsumerOptions } from "../Replication.ts"
import * as Replication from "../Replication.ts"
import { checkReplicas } from "./checkReplicas.ts"

/** @internal Within so many milliseconds a replica has answered, or cannot be reached. */
export const answerWithin = 15_000

/** @internal Whether positions are of other logs than these, as of those before a backup was restored, or nobody knows of which. */
export const isOfOthers = ({ journal, offsets }: ReplicaProgress, logs: LogsIdentity.Logs): boolean =>
  journal === undefined ? offsets.size > 0 : !LogsIdentity.isOf(journal, logs)

/** @internal Another replica, and what it can be asked. What it fails with is said as text. */
export interface Other {
  readonly id: string
  /** How far it has stored the events of this replica; undefined where it does not say. */
  readonly progress: Effect.Effect<ReplicaProgress | undefined, string>
  /** The same of the events of a third one. */
  readonly progressOf: (id: string) => Effect.Effect<ReplicaProgress | undefined, string>
  /** How far its own journal goes. */
  readonly heads: Effect.Effect<Offsets, string>
}

/** @internal Whether heads are positions: a plain Akka producer tells times, and none of these. */
export const isPositioned = (heads: Offsets): boolean => {
  for (const { position } of heads.values()) if (position === 0) return false
  return true
}

/** @internal What an error says. */
export const messageOf = (error: unknown): string => error instanceof Error ? error.message : String(error)

const inTime = <A, E>(asked: Effect.Effect<A, E>): Effect.Effect<A, string> =>
  asked.pipe(
    Effect.mapError(messageOf),
    Effect.timeoutOrElse({
      duration: answerWithin,
      orElse: () => Effect.fail(`It has not answered within ${answerWithin / 1000} seconds`)
    })
  )

/** @internal The other replicas that this one has the addresses of. It throws a `RangeError` where one is none of the entity's. */
export const othersOf = (
  entity: ReplicatedEventSourced<any, any, any, any, any>,
  self: string,
  { replicas }: Pick<ConsumerOptions, "replicas">
): ReadonlyArray<Other> => {
  checkReplicas(entity, Object.keys(replicas))
  const others = Object.keys(replicas).filter((id) => id !== self)
  const stream = Replication.stream(entity)
  return others.map((id) => {
    const options = { ...replicas[id]!, replica: { id: self, others }, producerReplica: id }
    const { heads } = EventConsumer.source(stream, options).provider
    const progressOf = (id: string) => inTime(EventConsumer.replicaProgress(stream.id, options, id))
    return {
      id,
      progress: progressOf(self),
      progressOf,
      heads: inTime(heads(SliceRange.full) as Effect.Effect<Offsets, EventConsumer.ConsumerError>)
    }
  })
}
