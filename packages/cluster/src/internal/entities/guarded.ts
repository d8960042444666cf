import type { Behaviour, Command } from "@sluice/entity/Behaviour"
import { EntityUnreachable } from "@sluice/entity/EntityError"
import * as Effect from "effect/Effect"

/** What is held of an entity, and which one it is. */
interface Held {
  readonly id: string
  readonly held: any
}

/** How far the database's clock may go back, in microseconds. */
const tolerance = 1_000_000

/** @internal A command, and when it was sent first if it may have been executed, in microseconds by the database's clock. */
export interface MaybeExecuted extends Command {
  readonly firstSentAt: number | undefined
}

/** @internal The command may have been executed, and nobody can tell any more. */
export class Forgotten extends EntityUnreachable {}

/**
 * @internal
 * A behaviour that goes no further with an entity that this process has not any more: it neither recovers it nor writes, nor answers from a state that may be
 * out of date. The journal's numbers would keep it from writing what is wrong; this tells it to whoever has sent the command in time, as nothing was begun.
 * Nor does it execute what was sent before, and may have been executed and forgotten since.
 */
export const guarded = (behaviour: Behaviour<any>, has: (id: string) => boolean): Behaviour<Held> => {
  const { name } = behaviour
  // whoever runs it passes on what fails, whatever it is
  const lost = (id: string) =>
    Effect.fail(
      new EntityUnreachable({
        entityType: name,
        id,
        isUnknown: false,
        problem: "the entity is another process's by now"
      })
    ) as Effect.Effect<never, any> as Effect.Effect<never>
  const forgotten = (id: string) =>
    Effect.fail(
      new Forgotten({
        entityType: name,
        id,
        isUnknown: true,
        problem:
          "its answer was lost, and the entity does not remember as many commands as it has had since (`remembered`)"
      })
    ) as Effect.Effect<never, any> as Effect.Effect<never>
  return {
    name,
    // whoever sends it is asked, maybe in another process
    inTransaction: Effect.succeed(false),
    state: ({ held }) => behaviour.state(held),
    recover: (id) =>
      Effect.suspend(() => has(id) ? Effect.map(behaviour.recover(id), (held) => ({ id, held })) : lost(id)),
    forgottenAt: ({ held }) => behaviour.forgottenAt(held),
    rememberedBytes: ({ held }) => behaviour.rememberedBytes(held),
    remembered: ({ held, id }, command) => {
      const { firstSentAt } = command as MaybeExecuted
      const remembered = behaviour.remembered(held, command)
      return firstSentAt === undefined
        ? remembered
        : Effect.flatMap(
          remembered,
          (answer) =>
            answer === undefined && behaviour.forgottenAt(held) > firstSentAt - tolerance
              ? forgotten(id)
              : Effect.succeed(answer)
        )
    },
    decide: ({ held }, command) => behaviour.decide(held, command),
    persist: ({ held, id }, command, decided) =>
      Effect.suspend(() =>
        has(id)
          ? Effect.map(behaviour.persist(held, command, decided), (persisted) => ({
            ...persisted,
            held: { id, held: persisted.held }
          }))
          : lost(id)
      ),
    // each command that comes from another process has an id, also one that only reads: that is answered from memory
    verify: ({ held, id }, answer) =>
      Effect.suspend(() => {
        if (!has(id)) return lost(id)
        return answer._tag === "Rejected" ? behaviour.verify(held, answer) : Effect.void
      })
  }
}
