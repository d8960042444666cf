/**
 * What an entity decides to do about a command: which events to persist, or which state, and what to reply. A decision is a value; nothing happens
 * until whoever runs the entity acts on it.
 *
 * @since 0.1.0
 */
import type { Receipt } from "@sluice/core/Receipt"
import type * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import { type Pipeable, pipeArguments } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"

const TypeId = "~sluice/Decision"

/**
 * What an entity decides: events of type `Event`, and a reply, or a rejection of type `Error`. `R` is what effects after persisting need.
 *
 * @category models
 * @since 0.1.0
 */
export type Decision<Event, State, Reply, Error, R = never> =
  | Persist<Event, State, Reply, R>
  | Fail<Error>

/**
 * The command is accepted. Where there are no events, nothing is appended.
 *
 * @category models
 * @since 0.1.0
 */
export interface Persist<out Event, in State, out Reply, out R = never> extends Pipeable {
  readonly [TypeId]: typeof TypeId
  readonly _tag: "Persist"
  readonly events: ReadonlyArray<Event>
  /** The reply, from the state after the events. */
  readonly reply: (state: State) => Reply
  /** What is run after the events were persisted, in this order. */
  readonly after: ReadonlyArray<After<State, R>>
}

/**
 * The command is rejected, and nothing happens.
 *
 * @category models
 * @since 0.1.0
 */
export interface Fail<out Error> extends Pipeable {
  readonly [TypeId]: typeof TypeId
  readonly _tag: "Fail"
  readonly error: Error
}

/**
 * What a durable state persists in the place of events: the state that replaces the one before, or that there is none any more.
 *
 * @category models
 * @since 0.1.0
 */
export type Change<State> = Updated<State> | Removed

/**
 * A state that replaces the one before.
 *
 * @category models
 * @since 0.1.0
 */
export interface Updated<out State> {
  readonly _tag: "Updated"
  readonly state: State
}

/**
 * The state is deleted: the entity is as it was before its first command.
 *
 * @category models
 * @since 0.1.0
 */
export interface Removed {
  readonly _tag: "Removed"
}

/**
 * An effect after persisting. It gets the state after the events, and the receipt of the append, if there was one.
 *
 * @category models
 * @since 0.1.0
 */
export type After<in State, out R = never> = (
  state: State,
  receipt: Receipt | undefined
) => Effect.Effect<unknown, unknown, R>

/**
 * Whether a value is a decision.
 *
 * @category guards
 * @since 0.1.0
 */
export const isDecision = (u: unknown): u is Decision<unknown, never, unknown, unknown, unknown> =>
  Predicate.hasProperty(u, TypeId)

const persisting = <Event, State, Reply>(
  events: ReadonlyArray<Event>,
  reply: Reply | ((state: State) => Reply)
): Persist<Event, State, Reply> =>
  make({
    _tag: "Persist",
    events,
    reply: typeof reply === "function" ? reply as (state: State) => Reply : () => reply,
    after: []
  })

const Proto = {
  [TypeId]: TypeId,
  pipe() {
    return pipeArguments(this, arguments)
  }
} as const

const make = <Fields extends object>(fields: Fields): typeof Proto & Fields =>
  Object.assign(Object.create(Proto) as typeof Proto, fields)

/**
 * Persists events, all of them or none, and then replies: a value, or what a function computes from the state after the events. Without a reply it is
 * for commands whose success is void.
 *
 * **Gotchas**
 *
 * A reply that is itself a function is not possible, as no message could carry it.
 *
 * **Example** (A reply that is computed)
 *
 * ```ts
 * import { Decision } from "@sluice/entity"
 *
 * const decision = Decision.persist(["added"], (state: number) => state * 2)
 * decision.reply(21) // => 42
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const persist: {
  <Event, State = unknown>(events: ReadonlyArray<Event>): Persist<Event, State, void>
  <Event, State, Reply>(
    events: ReadonlyArray<Event>,
    reply: (state: State) => Reply
  ): Persist<Event, State, Reply>
  <Event, Reply, State = unknown>(events: ReadonlyArray<Event>, reply: Reply): Persist<Event, State, Reply>
} = <Event, State, Reply>(
  events: ReadonlyArray<Event>,
  reply?: Reply | ((state: State) => Reply)
): Persist<Event, State, Reply | undefined> => persisting(events, reply)

/**
 * Replaces the state of a durable state, and then replies. Without a reply it is for commands whose success is void.
 *
 * **Example** (A profile that is renamed)
 *
 * ```ts
 * import { Decision } from "@sluice/entity"
 *
 * const state = { name: "Ada", visits: 3 }
 * Decision.update({ ...state, name: "Ada Lovelace" }).events
 * // => [{ _tag: "Updated", state: { name: "Ada Lovelace", visits: 3 } }]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const update: {
  <State>(state: State): Persist<Updated<State>, unknown, void>
  <State, Reply>(state: State, reply: Reply): Persist<Updated<State>, unknown, Reply>
} = <State, Reply>(state: State, reply?: Reply): Persist<Updated<State>, unknown, Reply | undefined> =>
  persisting<Updated<State>, unknown, Reply | undefined>([{ _tag: "Updated", state }], () => reply)

/**
 * Deletes a durable state, and then replies. Without a reply it is for commands whose success is void. The next command finds the entity as it was at
 * first; its revisions count on.
 *
 * @category constructors
 * @since 0.1.0
 */
export const remove: {
  (): Persist<Removed, unknown, void>
  <Reply>(reply: Reply): Persist<Removed, unknown, Reply>
} = <Reply>(reply?: Reply): Persist<Removed, unknown, Reply | undefined> =>
  persisting<Removed, unknown, Reply | undefined>([{ _tag: "Removed" }], () => reply)

/**
 * Replies, and persists nothing: for what only reads.
 *
 * @category constructors
 * @since 0.1.0
 */
export const reply = <Reply>(value: Reply): Persist<never, unknown, Reply> =>
  persisting<never, unknown, Reply>(noEvents, () => value)

/**
 * Rejects the command with an error that it declares. Nothing is persisted, and the same command is decided anew when it comes again.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fail = <Error>(error: Error): Fail<Error> => make({ _tag: "Fail", error })

const noEvents: ReadonlyArray<never> = []

/**
 * Accepts the command, and there is nothing to do: for commands whose success is void.
 *
 * @category constructors
 * @since 0.1.0
 */
export const none: Persist<never, unknown, void> = persisting<never, unknown, void>(noEvents, undefined)

/**
 * Runs an effect after the events were persisted. An entity that is active decides on its next command afterwards.
 *
 * **Details**
 *
 * It runs at most once for a decision that persists something: not at all if the process ends before, and not again when the command is repeated with its
 * id. A command that has nothing to persist is not remembered: repeated, it is decided anew, and runs its effects again. Its failure is logged, and the command has
 * succeeded nevertheless. It is stopped where it takes longer than `decideWithin` of the entity. What has to happen for sure belongs into a projection.
 *
 * @category combinators
 * @since 0.1.0
 */
export const andThen: {
  <State, R2>(
    after: After<State, R2>
  ): <Event, Reply, R = never>(self: Persist<Event, State, Reply, R>) => Persist<Event, State, Reply, R | R2>
  <Event, State, Reply, R2, R = never>(
    self: Persist<Event, NoInfer<State>, Reply, R>,
    after: After<State, R2>
  ): Persist<Event, State, Reply, R | R2>
} = dual(
  2,
  <Event, State, Reply, R, R2>(
    self: Persist<Event, State, Reply, R>,
    after: After<State, R2>
  ): Persist<Event, State, Reply, R | R2> => make({ ...self, after: [...self.after, after] })
)
