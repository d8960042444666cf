/**
 * What all kinds of event sourced entities have in common, those of {@link EventSourced} and those whose events come from several replicas: how they are
 * described, and what follows from that.
 *
 * @since 0.1.0
 */
import type { EntityType } from "@sluice/core/EntityType"
import type * as EventCodec from "@sluice/core/EventCodec"
import type { Journal } from "@sluice/core/Journal"
import type { SnapshotStore } from "@sluice/core/SnapshotStore"
import type { StateType } from "@sluice/core/StateType"
import * as StateTypes from "@sluice/core/StateType"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Behaviour } from "./Behaviour.ts"
import { checkCommands, checkNatural } from "./internal/commands.ts"
import { eventSourcedBehaviour } from "./internal/eventSourcedBehaviour.ts"
import type { Lineage } from "./Lineage.ts"
import type { SnapshotPolicy } from "./SnapshotPolicy.ts"

/**
 * How an entity is described, but for what its kind says of commands, and of the place of an event.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<in out Event, in out State> {
  /** How snapshots of the state are stored: a schema, which means JSON, or a codec. */
  readonly state: Schema.Codec<State, any> | EventCodec.EventCodec<State>
  /** The state before the first event. */
  readonly initial: NoInfer<State> | ((id: string) => NoInfer<State>)
  /** The tags of an event, from the state after it. */
  readonly tags?: ((state: NoInfer<State>, event: NoInfer<Event>) => ReadonlyArray<string>) | undefined
  /** When snapshots are saved; none where nothing is said. */
  readonly snapshots?: SnapshotPolicy<NoInfer<State>> | undefined
  /** How long `decide`, and effects after persisting, may take; 10 seconds where nothing is said. */
  readonly decideWithin?: Duration.Input | undefined
  /** How long a recovery may take; 30 seconds where nothing is said. */
  readonly recoverWithin?: Duration.Input | undefined
  /** How many events a recovery may read after a snapshot, or of all where there is none; 1,000,000 where nothing is said. */
  readonly recoverAtMost?: number | undefined
  /** How many events a decision may have; 1,000 where nothing is said. */
  readonly maxEvents?: number | undefined
  /** How many command ids an entity remembers, with their replies; 1,000 where nothing is said. */
  readonly remembered?: number | undefined
}

/**
 * What follows from a description.
 *
 * @category models
 * @since 0.1.0
 */
export interface EventSourcedKind<in out State> {
  readonly stateType: StateType<State>
  /** The state before the first event. */
  readonly initial: (id: string) => State
  /** How it is run; with the lineage, where its events come from several replicas. */
  readonly behaviour: (
    lineage?: Lineage<any>
  ) => Effect.Effect<Behaviour<any>, never, Journal | SnapshotStore | Scope.Scope>
}

/**
 * What follows from a description. Throws as `EventSourced.make` does.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <Name extends string, Event, State>(
  entityType: EntityType<Event, Name>,
  options: Options<Event, State> & {
    readonly commands: ReadonlyArray<Rpc.Any>
    readonly decide: Readonly<Record<string, (request: any) => unknown>>
    readonly evolve: (state: State, event: Event, place: any) => State
  }
): EventSourcedKind<State> => {
  const {
    commands,
    decide,
    decideWithin,
    evolve,
    initial,
    maxEvents,
    recoverAtMost,
    recoverWithin,
    remembered,
    snapshots,
    state,
    tags
  } = options
  checkCommands(entityType.name, commands, decide)
  checkNatural("maxEvents", maxEvents)
  checkNatural("recoverAtMost", recoverAtMost)
  checkNatural("remembered", remembered)
  const stateType = StateTypes.make<State, Name>(entityType.name, Schema.isSchema(state) ? { state } : { codec: state })
  const initialOf = typeof initial === "function" ? initial as (id: string) => State : () => initial
  const definition = {
    entityType,
    stateType,
    commands,
    initial: initialOf,
    decide,
    evolve,
    tags: tags ?? (() => noTags),
    snapshots,
    decideWithin: Duration.fromInputUnsafe(decideWithin ?? "10 seconds"),
    recoverWithin: Duration.fromInputUnsafe(recoverWithin ?? "30 seconds"),
    recoverAtMost: recoverAtMost ?? 1_000_000,
    maxEvents: maxEvents ?? 1_000,
    remembered: remembered ?? 1_000
  }
  return {
    stateType,
    initial: initialOf,
    behaviour: (lineage) => eventSourcedBehaviour<Event, State>({ ...definition, lineage })
  }
}

const noTags: ReadonlyArray<string> = []
