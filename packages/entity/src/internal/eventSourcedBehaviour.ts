import type { EntityType } from "@sluice/core/EntityType"
import type { Journal } from "@sluice/core/Journal"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import type { SnapshotStore } from "@sluice/core/SnapshotStore"
import type { StateType } from "@sluice/core/StateType"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Scope from "effect/Scope"
import type { Behaviour } from "../Behaviour.ts"
import type { SnapshotPolicy } from "../SnapshotPolicy.ts"

/** @internal What `EventSourced.make` was told, with what it was not told. */
export interface Definition<in out Event, in out State> {
  readonly entityType: EntityType<Event>
  readonly stateType: StateType<State>
  readonly commands: ReadonlyArray<Rpc.Any>
  readonly initial: (id: string) => State
  readonly decide: Readonly<
    Record<
      string,
      (request: {
        readonly id: string
        readonly payload: any
        readonly state: State
        readonly sequenceNumber: number
        readonly commandId: string | undefined
      }) => unknown
    >
  >
  readonly evolve: (
    state: State,
    event: Event,
    place: { readonly persistenceId: PersistenceId; readonly sequenceNumber: number }
  ) => State
  readonly tags: (state: State, event: Event) => ReadonlyArray<string>
  readonly snapshots: SnapshotPolicy<State> | undefined
  readonly decideWithin: Duration.Duration
  readonly recoverWithin: Duration.Duration
  readonly maxEvents: number
  readonly remembered: number
}

/** @internal How an event sourced entity is run. */
export const eventSourcedBehaviour = <Event, State>(
  _definition: Definition<Event, State>
): Effect.Effect<Behaviour<any>, never, Journal | SnapshotStore | Scope.Scope> => Effect.die("not yet")
