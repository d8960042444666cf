/**
 * What callers may see of a stream.
 *
 * @since 0.1.0
 */
import type { Place } from "@sluice/core/Envelope"
import type { EventFilter } from "@sluice/core/EventFilter"
import type * as Effect from "effect/Effect"
import type { SubscriptionRef } from "effect/SubscriptionRef"
import type { Caller } from "./Caller.ts"

/**
 * Which events may be seen: those that pass a filter, or that a predicate is true for. It is asked about each event, before that is decoded, so that it has
 * to be quick, and gives the same answer for the same event until it is another one.
 *
 * @category models
 * @since 0.1.0
 */
export type Visible = EventFilter | ((event: Place) => boolean)

/**
 * What may be seen now. Whoever sets the ref changes it for the calls that run, too.
 *
 * @category models
 * @since 0.1.0
 */
export type Changing =
  | SubscriptionRef<EventFilter>
  | SubscriptionRef<(event: Place) => boolean>
  | SubscriptionRef<Visible>

/**
 * What each caller may see: a filter for all of them, one that changes, or a function of the caller, which may be an effect.
 *
 * @category models
 * @since 0.1.0
 */
export type Visibility<R = never> =
  | EventFilter
  | Changing
  | ((caller: Caller) => Visible | Changing | Effect.Effect<Visible | Changing, unknown, R>)
