import type { Behaviour } from "@sluice/entity/Behaviour"
import { EntityUnreachable } from "@sluice/entity/EntityError"
import * as Effect from "effect/Effect"

/** What is held of an entity, and which one it is. */
interface Held {
  readonly id: string
  readonly held: any
}

/**
 * @internal
 * A behaviour that goes no further with an entity that this process has not any more: it neither recovers it nor writes, nor answers from a state that may be
 * out of date. The journal's numbers would keep it from writing what is wrong; this tells it to whoever has sent the command in time, as nothing was begun.
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
  return {
    name,
    // whoever sends it is asked, maybe in another process
    inTransaction: Effect.succeed(false),
    state: ({ held }) => behaviour.state(held),
    recover: (id) =>
      Effect.suspend(() => has(id) ? Effect.map(behaviour.recover(id), (held) => ({ id, held })) : lost(id)),
    remembered: ({ held }, command) => behaviour.remembered(held, command),
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
