/**
 * What event sourced entities and durable states have in common: a name, commands, and a behaviour.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Scope from "effect/Scope"
import type { Behaviour } from "./Behaviour.ts"

/**
 * A kind of entity that takes commands. `R` is what it needs to run: storage, and whatever its decisions need.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entity<out Name extends string, out Rpcs extends Rpc.Any, out R> {
  /** The name of the entity type. */
  readonly name: Name
  /** The commands, in the order in which they are declared. */
  readonly commands: ReadonlyArray<Rpcs>
  /** A command that no caller sends, nor is offered over HTTP: events of other replicas come with it. */
  readonly arrival?: Rpc.Any | undefined
  /** How it is run, in a scope: what it does in the background, such as saving snapshots, ends with it. */
  readonly behaviour: Effect.Effect<Behaviour<any>, never, R | Scope.Scope>
}

/**
 * The commands of an entity.
 *
 * @category utility types
 * @since 0.1.0
 */
export type Commands<E> = E extends Entity<any, infer Rpcs, any> ? Rpcs : never
