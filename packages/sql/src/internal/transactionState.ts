import type { SqlError } from "effect/sql/SqlError"
import type { TransactionStatus } from "../adapter/Session.ts"

/**
 * @internal
 * The state of a transaction.
 *
 * - `Idle`: none has begun here.
 * - `Open`: the server has said so.
 * - `Failed`: the server takes nothing any more but a rollback, at least to a savepoint.
 * - `Broken`: the server has ended it, or nobody knows. Nothing helps.
 * - `Over`: it was committed or rolled back, and takes nothing any more.
 *
 * The error is the first that led to the state.
 */
export type TransactionState =
  | { readonly _tag: "Idle" | "Open" | "Over" }
  | { readonly _tag: "Failed" | "Broken"; readonly error: SqlError }

/** @internal */
export const idle: TransactionState = { _tag: "Idle" }
/** @internal */
export const open: TransactionState = { _tag: "Open" }
/** @internal */
export const over: TransactionState = { _tag: "Over" }

/** @internal What the server has answered to a statement. */
export interface Answer {
  readonly status: TransactionStatus
  /** Undefined if the statement succeeded. */
  readonly error: SqlError | undefined
  /** Whether the connection is lost, and the transaction with it. */
  readonly isLost: boolean
}

/**
 * @internal
 * The state of a transaction after an answer. `ended` makes the error for a statement that succeeded but ended the
 * transaction.
 */
export const next = (state: TransactionState, answer: Answer, ended: () => SqlError): TransactionState => {
  if (state._tag !== "Open" && state._tag !== "Failed") return state
  const first = state._tag === "Failed" ? state.error : answer.error
  if (answer.isLost || answer.status === "none") return { _tag: "Broken", error: first ?? ended() }
  return answer.status === "open" ? open : { _tag: "Failed", error: first ?? ended() }
}

/** @internal The state of a transaction that is known to be broken, unless it is over. */
export const broken = (state: TransactionState, error: SqlError): TransactionState =>
  state._tag === "Open" ? { _tag: "Broken", error } : state._tag === "Failed" ? { ...state, _tag: "Broken" } : state

/** @internal Why a statement must not be sent. `goesBack` says that it rolls back to a savepoint. */
export const refusal = (state: TransactionState, goesBack: boolean): SqlError | "over" | undefined => {
  switch (state._tag) {
    case "Idle":
    case "Open":
      return undefined
    case "Over":
      return "over"
    case "Failed":
      return goesBack ? undefined : state.error
    case "Broken":
      return state.error
  }
}
