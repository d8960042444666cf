/**
 * How far the replicas of an entity type are behind each other, and how far one that is new has come.
 *
 * @since 0.1.0
 */
import type { HeartbeatStore } from "@sluice/core/HeartbeatStore"
import { Journal } from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import type { ProjectionManagement } from "@sluice/core/ProjectionManagement"
import type { ReportedWorker } from "@sluice/core/ReportedWorker"
import * as SliceRange from "@sluice/core/SliceRange"
import type { StorageError } from "@sluice/core/StorageError"
import type { ReplicaProgress } from "@sluice/grpc/ReplicaProgress"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { isOfOthers, isPositioned, type Other, othersOf } from "./internal/asking.ts"
import { filledOf } from "./internal/filledOf.ts"
import { type OwnProgress, progressOf } from "./internal/progressOf.ts"
import * as Replica from "./Replica.ts"
import type { ReplicatedEventSourced } from "./ReplicatedEventSourced.ts"
import type { ConsumerOptions } from "./Replication.ts"

/**
 * How a replica is doing that consumes another one. What is not known is undefined, and never 0.
 *
 * @category models
 * @since 0.1.0
 */
export interface Direction {
  /** How many events of the other one's journal it has yet to come to, those included that are not for it. */
  readonly lag: number | undefined
  /** From the newest event that it has come to, to the newest one that there is, at most, over all slices. Infinite where it has nothing of a slice yet. */
  readonly timeLag: Duration.Duration | undefined
  /** How many events it has come to. With `lag` they are all that there are. */
  readonly passed: number | undefined
  /** How many of those it has put aside, as their entities do not take them. */
  readonly waiting: number | undefined
  /** Whether it has stored all that it has come to and takes. It has not where events are put aside, or what it has gone past is still looked through for a filter. */
  readonly isComplete: boolean | undefined
  /** What its workers do, as the least of them. `Unknown` where they have given no sign of life. */
  readonly state: ReportedWorker["state"]
}

/**
 * How this replica and another one are doing with each other.
 *
 * @category models
 * @since 0.1.0
 */
export interface PairStatus {
  /** The other one. */
  readonly replica: string
  /** Why it could not be asked, or has not said everything; undefined where it has. */
  readonly problem: string | undefined
  /** This one, which consumes the other. */
  readonly incoming: Direction & {
    /** In what time it will have all of it, at its pace; undefined where that is not known. */
    readonly eta: Duration.Duration | undefined
  }
  /** The other one, which consumes this. */
  readonly outgoing: Direction
}

/**
 * Whether everything is known of a direction, and all is well: nothing is missing, nothing waits, and it goes on.
 *
 * @category guards
 * @since 0.1.0
 */
export const isInStep = ({ isComplete, lag, state, waiting }: Direction): boolean =>
  lag === 0 && waiting === 0 && isComplete === true && state === "Running"

const timeLagOf = (heads: Offset.Offsets, offsets: Offset.Offsets): Duration.Duration => {
  let micros = 0
  for (const [slice, { position, timestamp }] of heads) {
    const stored = offsets.get(slice)
    if (stored === undefined) return Duration.infinity
    if (position > stored.position) micros = Math.max(micros, timestamp - stored.timestamp)
  }
  return Duration.millis(micros / 1000)
}

const unknown: Direction = {
  lag: undefined,
  timeLag: undefined,
  passed: undefined,
  waiting: undefined,
  isComplete: undefined,
  state: "Unknown"
}

const directionOf = (
  heads: Offset.Offsets | undefined,
  { incomplete, offsets, state, waiting }: Pick<ReplicaProgress, "incomplete" | "offsets" | "state" | "waiting">
): Direction => {
  const known = heads !== undefined && isPositioned(heads) ? heads : undefined
  let passed = 0
  for (const { position } of offsets.values()) passed += position
  return {
    lag: known && Offset.lag(known, offsets),
    timeLag: known && timeLagOf(known, offsets),
    passed,
    waiting,
    isComplete: incomplete.size === 0,
    state
  }
}

const pairOf = (
  other: Other,
  own: OwnProgress,
  journal: Journal["Service"],
  entityType: string
): Effect.Effect<PairStatus, StorageError> =>
  Effect.gen(function*() {
    const [there, progress] = yield* Effect.all([Effect.result(other.heads), Effect.result(other.progress)], {
      concurrency: "unbounded"
    })
    const incoming = directionOf(there._tag === "Success" ? there.success : undefined, own)
    const problems: Array<string> = []
    if (there._tag === "Failure") problems.push(there.failure)
    if (progress._tag === "Failure" && progress.failure !== problems[0]) problems.push(progress.failure)
    let outgoing = unknown
    if (progress._tag === "Success") {
      const said = progress.success
      if (said === undefined) {
        problems.push("It does not say how far it has come, as a replica on Akka, or of an earlier release")
      } else if (isOfOthers(said, { journal: journal.identity, log: "events", entityType })) {
        problems.push("It has read another journal than that of this replica, at least in part")
        outgoing = { ...unknown, state: said.state, waiting: said.waiting }
        // after what was said, so that nothing which came between counts as stored
      } else outgoing = directionOf(yield* journal.heads(entityType, SliceRange.full), said)
    }
    return {
      replica: other.id,
      problem: problems.length === 0 ? undefined : problems.join(" "),
      incoming: { ...incoming, eta: etaOf(incoming.lag, own.eta) },
      outgoing
    }
  })

/** Workers that have all they know of do not know yet of what is to come all the same. */
const etaOf = (lag: number | undefined, eta: Duration.Duration | undefined): Duration.Duration | undefined =>
  lag === 0 ? Duration.zero : lag === undefined || eta === undefined || Duration.isZero(eta) ? undefined : eta

/**
 * How this replica and each of the others are doing with each other, in both directions. The others are asked, and one that does not answer within 15 seconds is one of which nothing is
 * known; what is known here of its events is said all the same. Any process of the replica can ask.
 *
 * **Details**
 *
 * {@link isInStep} tells whether a direction is as it should be. It is not where anything is unknown. `status` dies with a `RangeError` where one of `replicas` is none of the entity's.
 *
 * @category getters
 * @since 0.1.0
 */
export const status = (
  entity: ReplicatedEventSourced<any, any, any, any, any>,
  options: Pick<ConsumerOptions, "replicas">
): Effect.Effect<
  ReadonlyArray<PairStatus>,
  StorageError,
  Replica.Replica | Journal | ProjectionManagement | HeartbeatStore
> =>
  Effect.gen(function*() {
    const { id: self } = yield* Replica.Replica
    const journal = yield* Journal
    return yield* Effect.forEach(
      othersOf(entity, self, options),
      // the own offsets first, so that an event which comes between counts as one that is to come
      (other) =>
        Effect.flatMap(progressOf(entity.name, self, other.id), (own) => pairOf(other, own, journal, entity.name)),
      { concurrency: "unbounded" }
    )
  })

/** In milliseconds: how often it is looked how far a new replica has come, how often one is asked that cannot be reached, and how often it is said. */
const lookEvery = 250
const askEvery = 1_000
const sayEvery = 30_000

/**
 * Waits until this replica has stored all events that each of the others had when the wait began, and is known there: a new region is ready for commands then. One that cannot be reached is waited for, as is
 * an event that its entity does not take, and one that does not have this replica among those of the entity: what is written here would not come there. Every 30 seconds the log says how far it has come. {@link status} says so at any time.
 *
 * **Details**
 *
 * What comes by way of another replica is among that one's events. A replica that is no more is not to be among `replicas`. It waits for as long as it takes, also where the projections do
 * not run, or the database of this replica is away: interrupt it, or use `Effect.timeout`. It dies with a `RangeError` where one of `replicas` is none of the entity's.
 *
 * @category running
 * @since 0.1.0
 */
export const filled = (
  entity: ReplicatedEventSourced<any, any, any, any, any>,
  options: Pick<ConsumerOptions, "replicas">
): Effect.Effect<void, never, Replica.Replica | ProjectionManagement | HeartbeatStore> =>
  Effect.gen(function*() {
    const { id: self } = yield* Replica.Replica
    yield* Effect.forEach(othersOf(entity, self, options), (other) => filledFrom(entity.name, self, other), {
      concurrency: "unbounded",
      discard: true
    })
  })

const filledFrom = (entityType: string, self: string, { heads, id, progress }: Other) =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
    let saidAt = now()
    const say = (text: string) =>
      Effect.suspend(() => {
        if (now() - saidAt < sayEvery) return Effect.void
        saidAt = now()
        return Effect.annotateLogs(Effect.logInfo(text), { entityType, replica: self, from: id })
      })
    let there: Offset.Offsets | undefined
    while (there === undefined) {
      const asked = yield* Effect.result(heads)
      if (asked._tag === "Success") there = asked.success
      else {
        yield* say(`Waits for replica '${id}', to know how many events of '${entityType}' it has: ${asked.failure}`)
        yield* Effect.sleep(askEvery)
      }
    }
    while (true) {
      const asked = yield* Effect.result(progressOf(entityType, self, id))
      if (asked._tag === "Failure") {
        yield* say(`Waits for its own database, to know how far it has come: ${asked.failure.message}`)
        yield* Effect.sleep(askEvery)
        continue
      }
      const own = asked.success
      const { all, isFilled, passed } = filledOf(there, own)
      if (isFilled) break
      // something is to come: what is not positioned does not count
      const eta = etaOf(Math.max(1, all - passed), own.eta)
      const rest = eta === undefined ? "" : `, and has the others in about ${Duration.format(eta)}`
      const held = own.waiting === 0 ? "" : `, of which ${own.waiting} wait for their entities`
      yield* say(`Has ${passed} of ${all} events of '${entityType}' of replica '${id}'${held}${rest}`)
      yield* Effect.sleep(lookEvery)
    }
    while (true) {
      const asked = yield* Effect.result(progress)
      if (asked._tag === "Success") return
      yield* say(
        `Has all events of '${entityType}' of replica '${id}', and waits until that one says that it knows '${self}': ${asked.failure}`
      )
      yield* Effect.sleep(askEvery)
    }
  })
