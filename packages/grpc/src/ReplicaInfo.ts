/**
 * Which replicas of replicated entities are at the two ends of a stream.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type { ReplicaProgress } from "./ReplicaProgress.ts"

/**
 * Which replica of replicated entities a consumer is, and whose events come to it on another way.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReplicaInfo {
  readonly id: string
  /** The replicas that it has the events of by itself, the one that it calls among them. What is of others is passed on to it. */
  readonly others: ReadonlyArray<string>
}

/**
 * Which replica of replicated entities a producer is, and which it knows.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProducerReplica {
  readonly id: string
  /** All replicas of the entities, this one among them. */
  readonly replicas: ReadonlyArray<string>
  /** How far this one has stored the events of another, for whoever asks; nobody is told if undefined. */
  readonly progress?: ((of: string) => Effect.Effect<ReplicaProgress, unknown>) | undefined
}
