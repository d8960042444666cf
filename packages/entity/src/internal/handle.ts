import * as Effect from "effect/Effect"
import type { Answer, Behaviour, Command, Persisted, Rejected, Stale } from "../Behaviour.ts"
import type { EntityError } from "../EntityError.ts"

/** @internal What is held of an entity after a command, and the answer to that. */
export interface Handled<out Held> {
  readonly held: Held
  readonly answer: Answer
  /** Whether it was seen that nobody else had written to the entity. */
  readonly isVerified: boolean
}

/**
 * @internal
 * Handles one command of an entity, from what is remembered of it to the effects after persisting.
 *
 * An append fails where another has written since the state was recovered. What appends nothing has no such check, so that it has one of its own, unless
 * what is held `isFresh`, recovered since the command came: the command may be valid in the newest state, or a repetition of one that another process has
 * executed. Only a reply to a command without an id is answered from what is held. What looks like a bug of the entity may be one that only a state has which
 * is out of date.
 */
export const handle = <Held>(
  behaviour: Behaviour<Held>,
  held: Held,
  command: Command,
  isFresh: boolean
): Effect.Effect<Handled<Held>, Stale | EntityError> =>
  Effect.suspend(() =>
    Effect.flatMapEager(
      behaviour.remembered(held, command),
      (answer): Effect.Effect<Handled<Held>, Stale | EntityError> => {
        if (answer !== undefined) return Effect.succeed({ held, answer, isVerified: false })
        const persisted = Effect.flatMapEager(
          behaviour.decide(held, command),
          (decided) => behaviour.persist(held, command, decided)
        )
        const checked = isFresh ?
          persisted :
          Effect.catchEager(persisted, (error) =>
            error._tag === "DecisionFailed" || error._tag === "InvalidDecision"
              ? Effect.andThen(behaviour.verify(held, refused(error)), Effect.fail(error))
              : Effect.fail(error))
        return Effect.flatMapEager(
          checked,
          (persisted) => {
            const { answer } = persisted
            if (answer._tag === "Replied" && answer.receipt !== undefined) return finish(persisted, true)
            return isFresh || answer._tag === "Replied" && command.commandId === undefined
              ? finish(persisted, false)
              : Effect.flatMap(behaviour.verify(held, answer), () => finish(persisted, true))
          }
        )
      }
    )
  )

/** What is wrong with a decision is an answer for which nothing was written, as a rejection is. */
const refused = (error: EntityError): Rejected => ({ _tag: "Rejected", error })

const finish = <Held>(
  { after, answer, held }: Persisted<Held>,
  isVerified: boolean
): Effect.Effect<Handled<Held>> => {
  const handled = { held, answer, isVerified }
  return after === undefined ? Effect.succeed(handled) : Effect.as(after, handled)
}

/** @internal Whether what is held of an entity may be out of date after an error, so that it has to be recovered before the next command. */
export const isOutdated = (error: Stale | EntityError): boolean =>
  error._tag === "Stale" || error._tag === "JournalUnavailable"
