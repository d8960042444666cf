/**
 * Which replicas of replicated entities are at the two ends of a stream.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
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
  /** In which order it stores events of different replicas, as `"origin"` or `"causal"`; undefined where it does not say. */
  readonly order?: string | undefined
  /** The identity of its own journal. A consumer of a process that has a journal says that one, where this is undefined. */
  readonly journal?: string | undefined
}

/**
 * Why a replica does not give its events to another one: that stores events in another order, or has another journal than the one that is known here under its id.
 *
 * @category models
 * @since 0.1.0
 */
export interface Refusal {
  readonly code: "OtherOrder" | "OtherJournal"
  /** What is wrong, and what to do. */
  readonly problem: string
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
  /** Why another replica is not given the stream, if it is not. It is asked when that begins, with the scope of the stream, and again from time to time. Each is given it if undefined. */
  readonly refuse?: ((other: ReplicaInfo) => Effect.Effect<Refusal | undefined, unknown, Scope.Scope>) | undefined
}
