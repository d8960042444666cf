import * as Effect from "effect/Effect"
import type { Answer, Behaviour, Command, Stale } from "../Behaviour.ts"
import type { EntityError } from "../EntityError.ts"

/** @internal What is held of an entity after a command, and the answer to that. */
export interface Handled<out Held> {
  readonly held: Held
  readonly answer: Answer
}

/** @internal Handles one command of an entity, from what is remembered of it to the effects after persisting. */
export const handle = <Held>(
  behaviour: Behaviour<Held>,
  held: Held,
  command: Command
): Effect.Effect<Handled<Held>, Stale | EntityError> =>
  Effect.flatMap(
    behaviour.remembered(held, command),
    (answer): Effect.Effect<Handled<Held>, Stale | EntityError> =>
      answer === undefined
        ? Effect.flatMap(behaviour.decide(held, command), (decided) =>
          Effect.flatMap(
            behaviour.persist(held, command, decided),
            ({ after, answer, held }) =>
              after === undefined ? Effect.succeed({ held, answer }) : Effect.as(after, { held, answer })
          ))
        : Effect.succeed({ held, answer })
  )

/** @internal Whether what is held of an entity may be out of date after an error, so that it has to be recovered before the next command. */
export const isOutdated = (error: Stale | EntityError): boolean =>
  error._tag === "Stale" || error._tag === "JournalUnavailable"
