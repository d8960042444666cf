/**
 * How callers reach entities: by id and command. They do not see how, or where, an entity is run.
 *
 * @since 0.1.0
 */
import type { Metadata } from "@sluice/core/Envelope"
import type { Receipt } from "@sluice/core/Receipt"
import * as Tracing from "@sluice/core/Tracing"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Formatter from "effect/Formatter"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { type Answer, type Command, commandIdProblem, metadataProblem, type Replied } from "./Behaviour.ts"
import type { Entity } from "./Entity.ts"
import { type EntityError, InvalidCommand } from "./EntityError.ts"
import { entityCommand, entityCommands } from "./EntityMetrics.ts"
import { entityIdProblem } from "./internal/ids.ts"

/**
 * Sends commands to entities of one type, wherever they are.
 *
 * @category models
 * @since 0.1.0
 */
export interface Runner {
  /** The id and the command have been checked. */
  readonly send: (id: string, command: Command) => Effect.Effect<Answer, EntityError>
}

/**
 * A runner whose commands cannot be part of a transaction of whoever sends them. One that is sent in a transaction fails: it could wait for the
 * transaction, which waits for it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const outsideTransactions = (
  entityType: string,
  inTransaction: Effect.Effect<boolean>,
  { send }: Runner
): Runner => ({
  send: (id, command) =>
    Effect.flatMap(inTransaction, (inTransaction) =>
      inTransaction
        ? Effect.fail(
          new InvalidCommand({
            entityType,
            id,
            command: command.tag,
            problem: "it is sent in a transaction, and this entity takes no part in those of others: " +
              "send it before or after, or run the entity with layerPlain"
          })
        )
        : send(id, command))
})

/**
 * That entities of the type with this name are run. Each way to run them provides it.
 *
 * @category services
 * @since 0.1.0
 */
export interface Runs<in out Name extends string> {
  /** It is known by its name alone. */
  readonly "~sluice/Runs": (name: Name) => Name
}

/**
 * The service of an entity type, by its name.
 *
 * @category services
 * @since 0.1.0
 */
export const Runs = <Name extends string>(name: Name): Context.Service<Runs<Name>, Runner> =>
  Context.Service<Runs<Name>, Runner>(`@sluice/entity/Runs/${name}`)

/**
 * What a caller may say beside a command.
 *
 * @category models
 * @since 0.1.0
 */
export interface CommandOptions {
  /**
   * An id of the caller's own, of at most 200 bytes, such as a UUID. A command that comes again with the same id is not executed again, and gets the
   * first reply, also from another process, or after a restart.
   *
   * **Gotchas**
   *
   * A command that had nothing to persist is not remembered: it is decided anew, and may then persist something. So is one that was rejected, and one that the
   * entity has forgotten for newer ones.
   *
   * The payload has to be the same. Where the schema has a default that differs each time, such as the time or a random id, give it in the payload: otherwise the
   * repetition has another payload, and fails with `InvalidCommand`.
   */
  readonly commandId?: string | undefined
  /**
   * What is stored with each event of the command, such as a correlation id, and is seen by whoever reads it: projections, and the consumers of streams. It is the
   * metadata of a durable state that the command leads to, and of its change event. 8 KiB at most, as UTF-8; keys that begin with `sluice.` are Sluice's own.
   *
   * **Gotchas**
   *
   * No decision sees it: what a decision depends on is in the payload. A command that comes again with its id leaves the metadata of the first.
   */
  readonly metadata?: Metadata | undefined
}

/**
 * A reply, and where the events of the command stand. `ProjectionStatus.reached` waits until a projection has handled them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Acknowledged<out Reply> {
  readonly reply: Reply
  /** Undefined where there was nothing to persist. */
  readonly receipt: Receipt | undefined
}

/**
 * What is given for a command: nothing where it has no payload.
 *
 * @category utility types
 * @since 0.1.0
 */
export type Arguments<C extends Rpc.Any> = [Rpc.PayloadConstructor<C>] extends [void]
  ? [payload?: undefined, options?: CommandOptions]
  : [payload: Rpc.PayloadConstructor<C>, options?: CommandOptions]

/**
 * Sends one command to one entity. It fails with the errors that the command declares, and with {@link EntityError}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Send<C extends Rpc.Any> {
  /**
   * Sends the command, and answers with its reply.
   *
   * @since 0.1.0
   */
  (...args: Arguments<C>): Effect.Effect<Rpc.Success<C>, Rpc.Error<C> | EntityError>
  /** The same, with the receipt of what was persisted. */
  readonly withReceipt: (
    ...args: Arguments<C>
  ) => Effect.Effect<Acknowledged<Rpc.Success<C>>, Rpc.Error<C> | EntityError>
}

/**
 * One entity, as a caller sees it: a function for each command.
 *
 * @category models
 * @since 0.1.0
 */
export type EntityRef<Rpcs extends Rpc.Any> = {
  readonly [C in Rpcs as C["_tag"]]: Send<C>
}

/**
 * The entities of one type, as a caller sees them, by their ids.
 *
 * @category models
 * @since 0.1.0
 */
export type EntityClient<Rpcs extends Rpc.Any> = (id: string) => EntityRef<Rpcs>

/**
 * The client of a kind of entity, in whatever way it is run.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <Name extends string, Rpcs extends Rpc.Any>(
  entity: Entity<Name, Rpcs, any>
): Effect.Effect<EntityClient<Rpcs>, never, Runs<Name>> =>
  Effect.map(Runs(entity.name), (runner) => {
    const { name } = entity
    const sends = entity.commands.map((command) => {
      const { _tag, payloadSchema } = command as Rpc.Any as Rpc.AnyWithProps
      return [_tag, sending(name, _tag, payloadSchema, runner)] as const
    })
    const Ref = refs(sends)
    return (id) => new Ref(id) as unknown as EntityRef<Rpcs>
  })

type Sending = <A>(
  id: unknown,
  payload: unknown,
  options: CommandOptions | undefined,
  answered: (answer: Replied) => A
) => Effect.Effect<A, unknown>

const replyOf = ({ reply }: Replied): unknown => reply
const acknowledged = ({ receipt, reply }: Replied): Acknowledged<unknown> => ({ reply, receipt })

/** A class of references, so that one for an id costs nothing but the id. */
const refs = (sends: ReadonlyArray<readonly [tag: string, send: Sending]>): new(id: string) => object => {
  class Ref {
    readonly #id: string
    constructor(id: string) {
      this.#id = id
    }
    static idOf(self: Ref): string {
      return self.#id
    }
  }
  for (const [tag, send] of sends) {
    Object.defineProperty(Ref.prototype, tag, {
      enumerable: true,
      get(this: Ref) {
        const id = Ref.idOf(this)
        const plain = (payload?: unknown, options?: CommandOptions) => send(id, payload, options, replyOf)
        plain.withReceipt = (payload?: unknown, options?: CommandOptions) => send(id, payload, options, acknowledged)
        return plain
      }
    })
  }
  return Ref
}

const sending = (entityType: string, tag: string, payloadSchema: Schema.Top, runner: Runner): Sending => {
  const observed = observing(entityType, tag)
  const invalid = (id: unknown, problem: string): EntityError =>
    new InvalidCommand({
      entityType,
      // types rule out that it is no text, but a program may ignore them
      id: typeof id === "string" ? id : Formatter.format(id),
      command: tag,
      problem
    })
  const send = (id: unknown, input: unknown, options?: CommandOptions): Effect.Effect<Answer, EntityError> => {
    const { commandId, metadata } = options ?? {}
    const wrong = entityIdProblem(entityType, id) ??
      (commandId === undefined ? undefined : commandIdProblem(commandId)) ??
      (metadata === undefined ? undefined : metadataProblem(metadata))
    if (wrong !== undefined) return Effect.fail(invalid(id, wrong))
    let payload: unknown
    try {
      payload = payloadSchema.make(input)
    } catch (cause) {
      return Effect.fail(invalid(id, `its payload is not what it declares: ${problemOf(cause as Error)}`))
    }
    return runner.send(
      id as string,
      metadata === undefined ? { tag, payload, commandId } : { tag, payload, commandId, metadata: { ...metadata } }
    )
  }
  return (id, input, options, answered) =>
    Tracing.traced(
      { name: "sluice.command", attributes: { entityType, id, command: tag, commandId: options?.commandId } },
      Effect.flatMap(
        observed(() => send(id, input, options)),
        (answer) => answer._tag === "Rejected" ? Effect.fail(answer.error) : Effect.succeed(answered(answer))
      )
    )
}

const formatted = SchemaIssue.makeFormatterDefault()

const problemOf = ({ cause, message }: Error): string => SchemaIssue.isIssue(cause) ? formatted(cause) : message

/** Counts commands, and measures how long they take. */
const observing = (entityType: string, command: string) => {
  const attributes = { entity_type: entityType, command }
  const outcomes = new Map<string, readonly [count: Metric.Counter<number>, seconds: Metric.Histogram<number>]>()
  const ended = (outcome: string, seconds: number, context: Context.Context<never>): void => {
    let metrics = outcomes.get(outcome)
    if (metrics === undefined) {
      const of = { ...attributes, outcome }
      metrics = [Metric.withAttributes(entityCommands, of), Metric.withAttributes(entityCommand, of)]
      outcomes.set(outcome, metrics)
    }
    metrics[0].updateUnsafe(1, context)
    metrics[1].updateUnsafe(seconds, context)
  }
  return (send: () => Effect.Effect<Answer, EntityError>): Effect.Effect<Answer, EntityError> =>
    Effect.withFiber(({ context }) => {
      const clock = Context.get(context, Clock.Clock)
      const begun = clock.monotonicTimeNanosUnsafe()
      return Effect.onExitPrimitive(send(), (exit) => {
        ended(outcomeOf(exit), Number(clock.monotonicTimeNanosUnsafe() - begun) / 1e9, context)
        return undefined
      })
    })
}

const outcomeOf = (exit: Exit.Exit<Answer, EntityError>): string => {
  if (Exit.isSuccess(exit)) return exit.value._tag === "Replied" ? "replied" : "rejected"
  const error = Cause.findErrorOption(exit.cause)
  if (Option.isNone(error)) return Cause.hasDies(exit.cause) ? "died" : "interrupted"
  return error.value._tag
}
