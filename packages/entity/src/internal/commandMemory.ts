import type { PersistenceId } from "@sluice/core/PersistenceId"
import type { Receipt } from "@sluice/core/Receipt"
import * as Slice from "@sluice/core/Slice"
import * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type { Answer, Command, Rejected } from "../Behaviour.ts"
import { InvalidCommand, InvalidDecision } from "../EntityError.ts"
import { commandCodecs } from "./commandCodecs.ts"
import type { About } from "./deciding.ts"
import type { CommandOfEvent } from "./metadataKeys.ts"
import type { RememberedCommand, RememberedCommands } from "./rememberedCommands.ts"

/** @internal What commands may be answered, and how repetitions of those that have an id are. What its functions find out, they find out at once. */
export interface CommandMemory {
  /** The answer to a command whose id is remembered. It fails where there is no such command, and where the id was of another one. */
  readonly answer: (
    about: About,
    persistenceId: PersistenceId,
    remembered: RememberedCommands,
    command: Command
  ) => Effect.Effect<Answer | undefined, InvalidCommand | InvalidDecision>
  /**
   * What is to be remembered of a command that is about to persist so many events; undefined where there is none, or it has no id. It fails where the reply
   * does not fit its schema: who sent the command could not be answered any more once the events are written.
   */
  readonly keep: (
    about: About,
    command: Command,
    reply: unknown,
    count: number
  ) => Effect.Effect<CommandOfEvent | undefined, InvalidDecision>
  /** The rejection, if it is an error that the command declares. */
  readonly reject: (about: About, rejected: Rejected) => Effect.Effect<Rejected, InvalidDecision>
}

/** @internal Where what is remembered stands, in the log of events or in that of states. */
export const makeCommandMemory = (
  commands: ReadonlyArray<Rpc.Any>,
  journal: string,
  log: Receipt["log"]
): CommandMemory => {
  const codecs = commandCodecs(commands)
  const receiptOf = (
    persistenceId: PersistenceId,
    { count, position, sequenceNumber, timestamp }: RememberedCommand
  ): Receipt => ({
    journal,
    log,
    persistenceId,
    slice: Slice.ofPersistenceId(persistenceId),
    sequenceNumber,
    position,
    timestamp,
    count
  })
  return {
    answer: (about, persistenceId, remembered, { commandId, payload, tag }) => {
      const codec = codecs.get(tag)
      if (codec === undefined) {
        return Effect.fail(new InvalidCommand({ ...about, problem: "there is no such command" }))
      }
      if (commandId === undefined) return Effect.undefined
      const first = remembered.get(commandId)
      if (first === undefined) return Effect.undefined
      if (first.tag !== tag) return reused(about, `the command ${JSON.stringify(first.tag)}`)
      try {
        if (first.fingerprint !== codec.fingerprint(payload)) return reused(about, "another payload")
      } catch (cause) {
        return Effect.fail(new InvalidDecision({ ...about, problem: "the payload cannot be encoded", cause }))
      }
      try {
        const reply = codec.decodeReply(first.reply)
        return Effect.succeed({ _tag: "Replied", reply, receipt: receiptOf(persistenceId, first) })
      } catch (cause) {
        const problem = "it is not of the command's `success` any more"
        return Effect.fail(new InvalidDecision({ ...about, problem, wasExecuted: true, cause }))
      }
    },
    keep: (about, { commandId, payload, tag }, reply, count) => {
      const codec = codecs.get(tag)!
      let encoded: string
      try {
        encoded = codec.encodeReply(reply)
      } catch (cause) {
        return Effect.fail(new InvalidDecision({ ...about, problem: "the reply does not fit its schema", cause }))
      }
      if (commandId === undefined || count === 0) return Effect.undefined
      try {
        return Effect.succeed({ commandId, tag, fingerprint: codec.fingerprint(payload), reply: encoded, count })
      } catch (cause) {
        return Effect.fail(new InvalidDecision({ ...about, problem: "the payload cannot be encoded", cause }))
      }
    },
    reject: (about, rejected) => {
      try {
        codecs.get(about.command)!.checkRejection(rejected.error)
        return Effect.succeed(rejected)
      } catch (cause) {
        return Effect.fail(new InvalidDecision({ ...about, problem: "the error does not fit its schema", cause }))
      }
    }
  }
}

const reused = (about: About, otherwise: string) =>
  Effect.fail(new InvalidCommand({ ...about, problem: `its command id was used for ${otherwise}` }))
