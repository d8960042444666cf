/**
 * What the appends of all SQL journals have in common: whether they are part of the fiber's transaction, and how others are told of them.
 *
 * @since 0.1.0
 */
import { type AppendRequest, type SequenceConflict, type Written, writtenEnvelopes } from "@sluice/core/Journal"
import type { StorageError } from "@sluice/core/StorageError"
import * as Effect from "effect/Effect"
import type { Database } from "../Database.ts"
import type { Answer } from "./AppendLane.ts"
import type { StorageSignals } from "./StorageSignals.ts"

/**
 * As `Journal.append`.
 *
 * @category models
 * @since 0.1.0
 */
export type Append = (request: AppendRequest) => Effect.Effect<Written, SequenceConflict | StorageError>

/**
 * The two ways to append.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly database: Pick<Database["Service"], "inTransaction" | "hasOutlived" | "afterCommit">
  readonly signals: Pick<StorageSignals, "appended">
  /** Appends in the fiber's transaction, which holds the log until its end. */
  readonly within: (request: AppendRequest) => Effect.Effect<Answer, StorageError>
  /** Appends in a transaction that is shared with others' appends, and announces it. */
  readonly alone: Append
}

/**
 * Appends in the fiber's transaction if there is one. Others hear of that after the commit.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ alone, database, signals, within }: Options): Append => (request) =>
  Effect.flatMap(database.inTransaction, (inTransaction) => {
    if (!inTransaction) {
      return Effect.flatMap(database.hasOutlived, (hasOutlived) =>
        // it may have been meant to be part of that, and not to happen without it
        hasOutlived ? Effect.die(outlived()) : alone(request))
    }
    let answer: Answer | undefined
    return Effect.andThen(
      // first of all, as this dies in a transaction that has ended since
      database.afterCommit(Effect.sync(() => announce(signals, [request], [answer]))),
      Effect.flatMap(within(request), (written) => answer = written)
    )
  })

const outlived = () =>
  new Error("A fiber appends in a transaction that is over: it has outlived the effect that the transaction was for")

/**
 * Tells whoever waits for events what was written, right after the commit. The requests are of one entity type.
 *
 * @category signalling
 * @since 0.1.0
 */
export const announce = (
  signals: Options["signals"],
  requests: ReadonlyArray<AppendRequest>,
  answers: ReadonlyArray<Answer | undefined>
): void => {
  const written: Array<readonly [AppendRequest, Written]> = []
  answers.forEach((answer, i) => {
    if (answer?._tag === "Success") written.push([requests[i]!, answer.value])
  })
  if (written.length === 0) return
  signals.appended(
    requests[0]!.entityType,
    new Set(written.map(([, { slice }]) => slice)),
    () => written.flatMap(([request, answer]) => writtenEnvelopes(request, answer))
  )
}
