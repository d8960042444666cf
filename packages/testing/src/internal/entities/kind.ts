import type { EntityType } from "@sluice/core/EntityType"
import type { StateType } from "@sluice/core/StateType"
import type { Behaviour } from "@sluice/entity/Behaviour"
import * as DurableState from "@sluice/entity/DurableState"
import type { Runs } from "@sluice/entity/EntityClient"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as Replica from "@sluice/replication/Replica"
import * as ReplicatedEventSourced from "@sluice/replication/ReplicatedEventSourced"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"

/** @internal A kind of entity, event sourced, replicated or a durable state, as the test kit sees it. */
export interface Kind {
  readonly name: string
  readonly commands: ReadonlyMap<string, Rpc.AnyWithProps>
  readonly behaviour: Effect.Effect<Behaviour<any>, never, any>
  readonly layer: Layer.Layer<Runs<any>, never, any>
  readonly stateType: StateType<any>
  /** The type of its events, or of its change events if it has any. */
  readonly entityType: EntityType<any> | undefined
  readonly initial: (id: string) => unknown
  /** Undefined of a replicated entity, which does not show it. */
  readonly decide: Readonly<Record<string, (request: any) => unknown>> | undefined
  /** The id that an entity has in the journal. */
  readonly journalId: Effect.Effect<(id: string) => string, never, any>
  /** Undefined of a durable state. */
  readonly evolve: ((state: unknown, event: unknown, place: any) => unknown) | undefined
}

/** @internal */
export type AnyEntity =
  | EventSourced.EventSourced<any, any, any, any, any>
  | DurableState.DurableState<any, any, any, any, any>
  | ReplicatedEventSourced.ReplicatedEventSourced<any, any, any, any, any>

/** @internal */
export const kindOf = (entity: AnyEntity): Kind => {
  const { behaviour, initial, name, stateType } = entity
  const commands = new Map(
    (entity.commands as ReadonlyArray<Rpc.AnyWithProps>).map((command) => [command._tag, command] as const)
  )
  const common = { name, commands, behaviour, stateType, initial }
  if ("replicas" in entity) {
    return {
      ...common,
      layer: ReplicatedEventSourced.layerPlain(entity),
      entityType: entity.entityType,
      decide: undefined,
      evolve: entity.evolve,
      journalId: Effect.map(Replica.Replica, (replica) => (id) => `${id}|${replica.id}`)
    }
  }
  const plain = { ...common, decide: entity.decide, journalId: Effect.succeed((id: string) => id) }
  return "evolve" in entity
    ? { ...plain, layer: EventSourced.layerPlain(entity), entityType: entity.entityType, evolve: entity.evolve }
    : { ...plain, layer: DurableState.layerPlain(entity), entityType: entity.changeEvents, evolve: undefined }
}
