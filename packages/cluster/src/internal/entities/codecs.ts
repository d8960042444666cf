import * as Receipt from "@sluice/core/Receipt"
import { type Answer, type Command, commandIdProblem, metadataProblem } from "@sluice/entity/Behaviour"
import type { Entity } from "@sluice/entity/Entity"
import { EntityError, EntityUnreachable, InvalidCommand, InvalidDecision } from "@sluice/entity/EntityError"
import * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import type { Elsewhere, EntityAnswer, EntityCommand, Unknown } from "../../EntityMessage.ts"
import { Forgotten, type MaybeExecuted } from "./guarded.ts"

/** Commands declare what they need of services nowhere, so that there are none. */
type Codec = Schema.Codec<unknown, unknown>

const coding = (schema: Schema.Top) => {
  const codec = Schema.toCodecJson(schema) as unknown as Codec
  return { encode: Schema.encodeUnknownEffect(codec), decode: Schema.decodeUnknownEffect(codec) }
}

const receipts = coding(Receipt.Receipt)
const errors = coding(EntityError)

/**
 * @internal
 * How the commands of an entity type, and its answers, travel.
 */
export interface Codecs {
  readonly encodeCommand: (id: string, command: Command) => Effect.Effect<EntityCommand, InvalidCommand>
  readonly decodeCommand: (command: EntityCommand) => Effect.Effect<Command, InvalidCommand>
  /** The answer, as it travels. One that does not fit its schema travels as what is wrong with it. */
  readonly encodeAnswer: (
    command: EntityCommand,
    answer: Effect.Effect<Answer, EntityError>
  ) => Effect.Effect<EntityAnswer | Elsewhere | Unknown>
  readonly decodeAnswer: (command: EntityCommand, answer: EntityAnswer) => Effect.Effect<Answer, EntityError>
}

/** When a command is too late to be begun, in milliseconds: its sender is to hear so before it gives up, and not know. */
const beginsWithin = (within: number): number => Math.max(0, within - Math.min(within / 10, 1_000))

const failedWith = (error: EntityError): Effect.Effect<EntityAnswer> =>
  Effect.map(Effect.orDie(errors.encode(error)), (error) => ({ _tag: "Failed", error }))

/** @internal */
export const make = ({ arrival, commands, name }: Entity<string, Rpc.Any, any>): Codecs => {
  const all = arrival === undefined ? commands : [...commands, arrival]
  const codings = new Map(all.map((command) => {
    const { _tag, errorSchema, payloadSchema, successSchema } = command as Rpc.AnyWithProps
    return [_tag, { payload: coding(payloadSchema), reply: coding(successSchema), error: coding(errorSchema) }] as const
  }))
  const of = (command: { readonly id: string; readonly tag: string }, problem: string) =>
    new InvalidCommand({ entityType: name, id: command.id, command: command.tag, problem })
  const unfit = ({ id, tag }: EntityCommand, what: string, wasExecuted: boolean) => (cause: Schema.SchemaError) =>
    new InvalidDecision({
      entityType: name,
      id,
      command: tag,
      problem: `${what} does not fit its schema`,
      ...(wasExecuted && { wasExecuted }),
      cause
    })
  /** Nobody can tell whether it was executed. */
  const untold = ({ id }: EntityCommand, problem: string, cause: unknown) =>
    new EntityUnreachable({ entityType: name, id, isUnknown: true, problem, cause })
  const codingOf = (command: { readonly id: string; readonly tag: string }) => {
    const coding = codings.get(command.tag)
    return coding === undefined
      ? Effect.fail(of(command, `it is none of the entity's: ${Array.from(codings.keys()).join(", ")}`))
      : Effect.succeed(coding)
  }
  return {
    encodeCommand: (id, { commandId, metadata, payload, tag }) =>
      Effect.flatMap(codingOf({ id, tag }), (coding) =>
        Effect.mapBoth(coding.payload.encode(payload), {
          onFailure: (error) => of({ id, tag }, `its payload cannot be sent: ${error.message}`),
          onSuccess: (payload) => ({
            entityType: name,
            id,
            tag,
            payload,
            metadata,
            commandId,
            isArrival: tag === arrival?._tag
          })
        })),
    decodeCommand: (command) =>
      Effect.flatMap(codingOf(command), (coding) => {
        const { commandId, firstSentAt, metadata, tag, within } = command
        // another process may send what no client of this one would
        const wrong = (commandId === undefined ? undefined : commandIdProblem(commandId)) ??
          (metadata === undefined ? undefined : metadataProblem(metadata))
        if (wrong !== undefined) return Effect.fail(of(command, wrong))
        return Effect.mapBoth(coding.payload.decode(command.payload), {
          onFailure: (error) => of(command, `its payload is not what it declares: ${error.message}`),
          onSuccess: (payload): MaybeExecuted => ({
            tag,
            payload,
            metadata: metadata as Command["metadata"],
            commandId,
            firstSentAt,
            beginsWithin: within === undefined ? undefined : beginsWithin(within)
          })
        })
      }),
    encodeAnswer: (command, answer) =>
      Effect.flatMap(
        codingOf(command),
        (coding) =>
          Effect.flatMap(answer, (answer): Effect.Effect<EntityAnswer, EntityError> =>
            answer._tag === "Rejected"
              ? Effect.mapBoth(coding.error.encode(answer.error), {
                onFailure: unfit(command, "its error", false),
                onSuccess: (error) => ({ _tag: "Rejected", error })
              })
              : Effect.mapBoth(
                Effect.all([
                  coding.reply.encode(answer.reply),
                  answer.receipt === undefined ? Effect.undefined : receipts.encode(answer.receipt)
                ]),
                {
                  onFailure: unfit(command, "its reply", true),
                  onSuccess: ([reply, receipt]) => ({ _tag: "Replied", reply, receipt })
                }
              ))
      ).pipe(
        Effect.catch((error): Effect.Effect<EntityAnswer | Elsewhere | Unknown> =>
          error._tag === "EntityUnreachable" && !(error instanceof Forgotten)
            ? Effect.succeed({ _tag: error.isUnknown ? "Unknown" : "Elsewhere", why: error.problem })
            : failedWith(error)
        ),
        // it would happen again, so that the command is not sent on
        Effect.catchDefect((cause) =>
          failedWith(untold(command, "the process that runs it has failed with what is a bug", cause))
        )
      ),
    decodeAnswer: (command, answer) => {
      switch (answer._tag) {
        case "Replied":
          return Effect.flatMap(codingOf(command), ({ reply }) =>
            Effect.mapBoth(
              Effect.all([
                reply.decode(answer.reply),
                answer.receipt === undefined ? Effect.undefined : receipts.decode(answer.receipt)
              ]),
              {
                onFailure: unfit(command, "the reply of another process", true),
                onSuccess: ([reply, receipt]): Answer => ({
                  _tag: "Replied",
                  reply,
                  receipt: receipt as Receipt.Receipt | undefined
                })
              }
            ))
        case "Rejected":
          return Effect.flatMap(codingOf(command), ({ error }) =>
            Effect.mapBoth(error.decode(answer.error), {
              onFailure: unfit(command, "the error of another process", false),
              onSuccess: (error): Answer => ({ _tag: "Rejected", error })
            }))
        case "Failed":
          return Effect.flatMap(
            Effect.mapError(
              errors.decode(answer.error),
              (cause) => untold(command, "another process has failed with an error that is none", cause)
            ),
            (error) => Effect.fail(error as EntityError)
          )
      }
    }
  }
}
