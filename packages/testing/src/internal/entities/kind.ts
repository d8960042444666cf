import type { EntityType } from "@sluice/core/EntityType"
import type { StateType } from "@sluice/core/StateType"
import type { Behaviour } from "@sluice/entity/Behaviour"
import * as DurableState from "@sluice/entity/DurableState"
import type { Runs } from "@sluice/entity/EntityClient"
import * as EventSourced from "@sluice/entity/EventSourced"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"

/** @internal A kind of entity, event sourced or a durable state, as the test kit sees it. */
export interface Kind {
  readonly name: string
  readonly commands: ReadonlyMap<string, Rpc.AnyWithProps>
  readonly behaviour: Effect.Effect<Behaviour<any>, never, any>
  readonly layer: Layer.Layer<Runs<any>, never, any>
  readonly stateType: StateType<any>
  /** The type of its events, or of its change events if it has any. */
  readonly entityType: EntityType<any> | undefined
  readonly initial: (id: string) => unknown
  readonly decide: Readonly<Record<string, (request: any) => unknown>>
  /** Undefined of a durable state. */
  readonly evolve: ((state: unknown, event: unknown, place: any) => unknown) | undefined
}

/** @internal */
export type AnyEntity =
  | EventSourced.EventSourced<any, any, any, any, any>
  | DurableState.DurableState<any, any, any, any, any>

/** @internal */
export const kindOf = (entity: AnyEntity): Kind => {
  const { behaviour, decide, initial, name, stateType } = entity
  const commands = new Map(
    (entity.commands as ReadonlyArray<Rpc.AnyWithProps>).map((command) => [command._tag, command] as const)
  )
  const common = { name, commands, behaviour, stateType, initial, decide }
  return "evolve" in entity
    ? { ...common, layer: EventSourced.layerPlain(entity), entityType: entity.entityType, evolve: entity.evolve }
    : { ...common, layer: DurableState.layerPlain(entity), entityType: entity.changeEvents, evolve: undefined }
}
