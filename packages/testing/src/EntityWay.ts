/**
 * The ways to run entities, of which each passes the same suites.
 *
 * @since 0.1.0
 */
import type { DurableStateStore } from "@sluice/core/DurableStateStore"
import type { Journal } from "@sluice/core/Journal"
import type { SnapshotStore } from "@sluice/core/SnapshotStore"
import type { DurableState } from "@sluice/entity/DurableState"
import type { Runs } from "@sluice/entity/EntityClient"
import type { EventSourced } from "@sluice/entity/EventSourced"
import type * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"

/**
 * A way to run event sourced entities, such as `EventSourced.layerPlain`.
 *
 * @category models
 * @since 0.1.0
 */
export type EntityWay = <Name extends string, Rpcs extends Rpc.Any, Event, State, R>(
  entity: EventSourced<Name, Rpcs, Event, State, R>
) => Layer.Layer<Runs<Name>, never, R | Journal | SnapshotStore>

/**
 * A way to run durable states, such as `DurableState.layerPlain`.
 *
 * @category models
 * @since 0.1.0
 */
export type DurableStateWay = <Name extends string, Rpcs extends Rpc.Any, State, Event, R>(
  entity: DurableState<Name, Rpcs, State, Event, R>
) => Layer.Layer<Runs<Name>, never, R | Journal | DurableStateStore>
