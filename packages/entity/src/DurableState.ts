/**
 * Entities whose state is stored as such: commands are decided, and what they lead to replaces the state before.
 *
 * @since 0.1.0
 */
import type { DurableStateStore } from "@sluice/core/DurableStateStore"
import type { EntityType } from "@sluice/core/EntityType"
import type { Journal } from "@sluice/core/Journal"
import type { StateType } from "@sluice/core/StateType"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import * as Activations from "./Activations.ts"
import type { Change, Decision } from "./Decision.ts"
import type { Entity } from "./Entity.ts"
import type { EntityClient, Runs } from "./EntityClient.ts"
import * as Client from "./EntityClient.ts"
import type { Requirements } from "./EventSourced.ts"
import { checkCommands, checkNatural } from "./internal/commands.ts"
import { durableStateBehaviour } from "./internal/durableStateBehaviour.ts"
import { plain } from "./internal/plain.ts"

const TypeId = "~sluice/DurableState"

/**
 * A command, and the entity that it is for.
 *
 * @category models
 * @since 0.1.0
 */
export interface Request<out Payload, out State> {
  /** The id of the entity. */
  readonly id: string
  readonly payload: Payload
  readonly state: State
  /** How often the state was changed, deletions included; 0 where there never was one. */
  readonly revision: number
  readonly commandId: string | undefined
}

/**
 * A function for each command, which decides: purely, or as an effect. An error that the effect fails with is a rejection.
 *
 * @category models
 * @since 0.1.0
 */
export type Decide<Rpcs extends Rpc.Any, State> = {
  readonly [C in Rpcs as C["_tag"]]: (
    request: Request<Rpc.Payload<C>, State>
  ) =>
    | Decision<Change<State>, State, Rpc.Success<C>, Rpc.Error<C>, any>
    | Effect.Effect<Decision<Change<State>, State, Rpc.Success<C>, Rpc.Error<C>, any>, Rpc.Error<C>, any>
}

/**
 * A change of a state, for its change event.
 *
 * @category models
 * @since 0.1.0
 */
export interface Changed<out Rpcs extends Rpc.Any, out State> {
  /** The id of the entity. */
  readonly id: string
  /** The state before, which may be the one that the entity has at first. */
  readonly before: State
  /** The state after; none where it is deleted. */
  readonly after: Option.Option<State>
  /** What has led to it. */
  readonly command: CommandOf<Rpcs>
}

/**
 * A command with its payload.
 *
 * @category utility types
 * @since 0.1.0
 */
export type CommandOf<Rpcs extends Rpc.Any> = Rpcs extends infer C extends Rpc.Any
  ? { readonly tag: C["_tag"]; readonly payload: Rpc.Payload<C> }
  : never

/**
 * A kind of durable state, with change events of type `Event`. `R` is what its decisions need.
 *
 * @category models
 * @since 0.1.0
 */
export interface DurableState<
  out Name extends string,
  out Rpcs extends Rpc.Any,
  in out State,
  in out Event = unknown,
  out R = never
> extends Entity<Name, Rpcs, R | Journal | DurableStateStore> {
  readonly [TypeId]: typeof TypeId
  readonly stateType: StateType<State, Name>
  /** The type of its change events, if it has any. */
  readonly changeEvents: EntityType<Event, Name> | undefined
  /** The state before the first change, and after it was deleted. */
  readonly initial: (id: string) => State
  /** Its functions that decide, by the names of the commands. */
  readonly decide: Readonly<Record<string, (request: any) => unknown>>
}

/**
 * A kind of entity whose state is stored as such.
 *
 * **Details**
 *
 * A decision is `Decision.update` with the state that replaces the one before, `Decision.remove`, or one that changes nothing. A state that is deleted
 * has the tags that it had, so that whoever chose it by them hears of its end.
 *
 * A change event is appended to the journal of the entity in the transaction of the change, with the tags of the state. Where the function answers
 * `undefined`, there is none.
 *
 * **Gotchas**
 *
 * Where `decide` is an effect, write an arrow function with `Effect.gen`: in `Effect.fnUntraced(function*(request) {…})` the request is `any`.
 *
 * Command ids are kept with the state, and each change writes them all: `remembered` is 32 by default, and as many as have room in 16 KiB.
 *
 * Throws a `TypeError` where `decide` and `commands` do not fit each other, or where the change events are of another entity type, and a `RangeError` where
 * `remembered` is no integer from 0.
 *
 * **Example** (A profile)
 *
 * ```ts
 * import { MemoryStorage, StateType } from "@sluice/core"
 * import { Decision, DurableState } from "@sluice/entity"
 * import { Effect, Schema } from "effect"
 * import { Rpc } from "effect/rpc"
 *
 * const ProfileType = StateType.make("profile", { state: Schema.Struct({ name: Schema.String, renamed: Schema.Int }) })
 *
 * const Profile = DurableState.make(ProfileType, {
 *   initial: { name: "", renamed: 0 },
 *   commands: [
 *     Rpc.make("Rename", { payload: { name: Schema.String }, success: Schema.Int }),
 *     Rpc.make("GetName", { success: Schema.String }),
 *     Rpc.make("Close")
 *   ],
 *   decide: {
 *     Rename: ({ payload: { name }, state: { renamed } }) => Decision.update({ name, renamed: renamed + 1 }, renamed + 1),
 *     GetName: ({ state }) => Decision.reply(state.name),
 *     Close: () => Decision.remove()
 *   }
 * })
 *
 * const program = Effect.gen(function*() {
 *   const profiles = yield* DurableState.client(Profile)
 *   yield* profiles("ada").Rename({ name: "Ada" })
 *   const renamed = yield* profiles("ada").Rename({ name: "Ada Lovelace" })
 *   const name = yield* profiles("ada").GetName()
 *   yield* profiles("ada").Close()
 *   return [renamed, name, yield* profiles("ada").GetName()]
 * }).pipe(Effect.provide(DurableState.layerPlain(Profile)), Effect.provide(MemoryStorage.layer))
 * await Effect.runPromise(program) // => [2, "Ada Lovelace", ""]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <
  Name extends string,
  State,
  Rpcs extends Rpc.Any,
  const D extends Decide<Rpcs, State>,
  Event = unknown
>(
  stateType: StateType<State, Name>,
  options: {
    /** The state before the first change, and after it was deleted. */
    readonly initial: NoInfer<State> | ((id: string) => NoInfer<State>)
    readonly commands: ReadonlyArray<Rpcs>
    readonly decide: D & { readonly [Tag in Exclude<keyof D, Rpcs["_tag"]>]: "There is no command of this name" }
    /** The tags of a state. */
    readonly tags?: ((state: NoInfer<State>) => ReadonlyArray<string>) | undefined
    /** The event of a change, and its entity type, which has the name of the state type. */
    readonly changeEvent?:
      | readonly [
        entityType: EntityType<Event, NoInfer<Name>>,
        event: (change: Changed<NoInfer<Rpcs>, NoInfer<State>>) => NoInfer<Event> | undefined
      ]
      | undefined
    /** How long `decide`, and effects after persisting, may take; 10 seconds where nothing is said. */
    readonly decideWithin?: Duration.Input | undefined
    /** How many command ids an entity remembers, with their replies; 32 where nothing is said. */
    readonly remembered?: number | undefined
  }
): DurableState<Name, Rpcs, State, Event, Requirements<D>> => {
  const { changeEvent, commands, decide, decideWithin, initial, remembered, tags } = options
  const { name } = stateType
  checkCommands(name, commands, decide)
  checkNatural("remembered", remembered)
  if (changeEvent !== undefined && changeEvent[0].name !== name) {
    throw new TypeError(`The change events of '${name}' are of '${changeEvent[0].name}': they are of the same entity`)
  }
  const initialOf = typeof initial === "function" ? initial as (id: string) => State : () => initial
  return {
    [TypeId]: TypeId,
    name,
    commands,
    stateType,
    changeEvents: changeEvent?.[0],
    initial: initialOf,
    decide,
    behaviour: durableStateBehaviour<State, Event>({
      stateType,
      commands,
      initial: initialOf,
      decide,
      tags: tags ?? (() => []),
      changeEvent,
      decideWithin: Duration.fromInputUnsafe(decideWithin ?? "10 seconds"),
      remembered: remembered ?? 32
    })
  }
}

/**
 * The client of a kind of durable state: by the id of an entity, a function for each command.
 *
 * @category operations
 * @since 0.1.0
 */
export const client = <Name extends string, Rpcs extends Rpc.Any>(
  entity: DurableState<Name, Rpcs, any, any, any>
): Effect.Effect<EntityClient<Rpcs>, never, Runs<Name>> => Client.make(entity)

/**
 * Runs durable states without keeping anything of them in memory: each command gets the state, decides, and changes it. So it is right in any number of
 * processes. Where another process has changed the state meanwhile, the command is decided again, up to ten times.
 *
 * **Details**
 *
 * Commands of this process that change the same entity take turns, in the order in which they come. 1,000 may wait for one: the next fails with `Overloaded`. Those
 * in a transaction, and those that an entity sends, do not wait for a turn.
 *
 * A command that is sent in a transaction of the journal is part of that: the state is changed if that commits, and effects after persisting run then.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerPlain = <Name extends string, Rpcs extends Rpc.Any, State, Event, R>(
  entity: DurableState<Name, Rpcs, State, Event, R>
): Layer.Layer<Runs<Name>, never, R | Journal | DurableStateStore> => plain(entity)

/**
 * Runs durable states in this process, each in memory from its first command on, until it has been idle for long, or another one needs the room. The
 * commands of an entity are handled one after the other. See {@link Activations.make}.
 *
 * **Gotchas**
 *
 * What only reads is answered from memory, and may not see what another process has changed since. A command with a change, one with a command id, and one that is
 * rejected are answered from the newest state that the database has, and so are reads after them.
 *
 * A command is no part of a transaction of whoever sends it. So one that is sent in a transaction fails with `InvalidCommand`: the two could wait for
 * each other.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Name extends string, Rpcs extends Rpc.Any, State, Event, R>(
  entity: DurableState<Name, Rpcs, State, Event, R>,
  options?: Activations.Options
): Layer.Layer<Runs<Name>, never, R | Journal | DurableStateStore> => Activations.layer(entity, options)
