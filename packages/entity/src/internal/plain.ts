import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import type { Answer, Command } from "../Behaviour.ts"
import type { Entity } from "../Entity.ts"
import { Runs } from "../EntityClient.ts"
import { EntityConflict, type EntityError, Overloaded } from "../EntityError.ts"
import { bytesOfCommand, defaultMaxBytes as maxBytes } from "./commandBytes.ts"
import { commandsThatWait } from "./commandsThatWait.ts"
import { maxAttempts, pauseAfter } from "./conflicts.ts"
import { handle } from "./handle.ts"
import { Turns } from "./Turns.ts"

/** So many commands may wait for an entity. */
const maxWaiting = 1_000

/**
 * @internal
 * Recovers an entity for each command, and keeps nothing of it.
 *
 * Commands that write to the same entity take turns, so that they do not conflict within a process. Those that were never seen to write, such as reads, are handled
 * at the same time. A command in a transaction of its sender's does not wait for its turn: what that transaction has locked could keep whoever has it.
 */
export const plain = <Name extends string, Rpcs extends Rpc.Any, R>(
  entity: Entity<Name, Rpcs, R>
): Layer.Layer<Runs<Name>, never, R> =>
  Layer.effect(
    Runs(entity.name),
    Effect.map(entity.behaviour, (behaviour) => {
      const entityType = entity.name
      const turns = new Turns(maxWaiting)
      const commands = commandsThatWait(entityType)
      /** What the commands take that are not answered. */
      let bytes = 0
      /** The names of the commands that were seen to write. */
      const writing = new Set<string>()

      const once = (id: string, command: Command) =>
        Effect.map(
          Effect.flatMap(behaviour.recover(id), (held) => handle(behaviour, held, command, true)),
          ({ answer }) => {
            if (answer._tag === "Replied" && answer.receipt !== undefined) writing.add(command.tag)
            return answer
          }
        )

      const attempts = (id: string, command: Command, number: number): Effect.Effect<Answer, EntityError> =>
        Effect.catchTag(once(id, command), "Stale", ({ cause }) =>
          number < maxAttempts
            ? Effect.andThen(pauseAfter(number), attempts(id, command, number + 1))
            : Effect.fail(new EntityConflict({ entityType, id, attempts: number, cause })))

      const inTurn = (id: string, command: Command, number: number): Effect.Effect<Answer, EntityError> =>
        Effect.withFiber(({ context }) => {
          const before = turns.waiting(id)
          if (before !== undefined) commands.waits(before, context)
          return turns.run(
            id,
            attempts(id, command, number),
            Effect.suspend(() => {
              commands.refused("mailbox", context)
              return new Overloaded({ entityType, id, full: "mailbox", limit: maxWaiting })
            })
          )
        })

      const handled = (id: string, command: Command): Effect.Effect<Answer, EntityError> =>
        Effect.flatMap(behaviour.inTransaction, (inTransaction): Effect.Effect<Answer, EntityError> =>
          inTransaction
            ? attempts(id, command, 1)
            : writing.has(command.tag)
            ? inTurn(id, command, 1)
            : Effect.catchTag(once(id, command), "Stale", () => {
              writing.add(command.tag)
              return inTurn(id, command, 2)
            }))

      return {
        send: (id, command) =>
          Effect.withFiber(({ context }) => {
            const more = bytesOfCommand(command)
            if (bytes > 0 && bytes + more > maxBytes) {
              commands.refused("memory", context)
              return new Overloaded({ entityType, id, full: "memory", limit: maxBytes })
            }
            bytes += more
            return Effect.ensuring(handled(id, command), Effect.sync(() => void (bytes -= more)))
          })
      }
    })
  ) as Layer.Layer<Runs<Name>, never, R>
