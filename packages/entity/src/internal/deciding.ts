import type { StorageError } from "@sluice/core/StorageError"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import type { Rejected } from "../Behaviour.ts"
import * as Decision from "../Decision.ts"
import { DecisionFailed, InvalidDecision, type JournalUnavailable } from "../EntityError.ts"
import { type InTime, unavailable } from "./inTime.ts"

/** @internal The entity and the command that a decision is about. */
export interface About {
  readonly entityType: string
  readonly id: string
  readonly command: string
}

/** @internal A decision to persist something, or nothing, and to reply. */
export interface Accepted {
  readonly _tag: "Accepted"
  readonly decision: Decision.Persist<any, any, unknown, any>
}

/** @internal Runs what is the user's. */
export interface Decisions {
  /**
   * What a function of the user's decides, purely or as an effect. It fails with `DecisionFailed` where it throws, dies, takes too long or gives no decision;
   * what the effect fails with is a rejection.
   */
  readonly deciding: (about: About, decide: () => unknown) => Effect.Effect<Rejected | Accepted, DecisionFailed>
  /** Runs effects after persisting one after the other. One that fails, or takes too long, is logged. */
  readonly runAfter: <State>(
    about: About,
    after: ReadonlyArray<Decision.After<State, any>>,
    ...args: Parameters<Decision.After<State, any>>
  ) => Effect.Effect<void>
}

/**
 * @internal
 * Effects of the user's have the services that the layer of the entity was built with. The span, and a transaction, are those of whoever runs them.
 */
export const makeDecisions = (inTime: InTime, within: Duration.Duration): Effect.Effect<Decisions> =>
  Effect.map(Effect.context<any>() as Effect.Effect<Context.Context<any>>, (context): Decisions => {
    const services = Context.omit(Scope.Scope, Tracer.ParentSpan)(context)

    const ofEffect = (
      about: About,
      decided: Effect.Effect<unknown, unknown, any>
    ): Effect.Effect<Rejected | Accepted, DecisionFailed> =>
      Effect.flatMap(
        Effect.provideContext(inTime(decided, within), services),
        (exit): Effect.Effect<Rejected | Accepted, DecisionFailed> => {
          if (exit === undefined) {
            const problem = `\`decide\` takes longer than ${Duration.format(within)}`
            return Effect.fail(new DecisionFailed({ ...about, problem, cause: new Cause.TimeoutError("") }))
          }
          if (Exit.isSuccess(exit)) return ofValue(about, exit.value)
          const rejection = Cause.findErrorOption(exit.cause)
          if (Cause.hasInterruptsOnly(exit.cause)) {
            return Effect.fail(new DecisionFailed({ ...about, problem: "`decide` interrupts itself" }))
          }
          return Option.isSome(rejection) && !Cause.hasDies(exit.cause)
            ? Effect.succeed({ _tag: "Rejected", error: rejection.value })
            : Effect.fail(new DecisionFailed({ ...about, problem: "`decide` dies", cause: Cause.squash(exit.cause) }))
        }
      )

    return {
      deciding: (about, decide) => {
        let decided: unknown
        try {
          decided = decide()
        } catch (cause) {
          return Effect.fail(new DecisionFailed({ ...about, problem: "`decide` throws", cause }))
        }
        return Effect.isEffect(decided) ? ofEffect(about, decided) : ofValue(about, decided)
      },
      runAfter: (about, after, ...args) =>
        Effect.forEach(
          after,
          (effect) =>
            Effect.flatMap(inTime(Effect.suspend(() => effect(...args)), within), (exit) => {
              if (exit === undefined) {
                return Effect.logWarning(
                  `What is to be done after persisting takes longer than ${Duration.format(within)}: it was stopped`
                )
              }
              return Exit.isSuccess(exit)
                ? Effect.void
                : Effect.logWarning("What was to be done after persisting has failed", exit.cause)
            }),
          { discard: true }
        ).pipe(
          Effect.annotateLogs({ entityType: about.entityType, id: about.id, command: about.command }),
          Effect.provideContext(services)
        )
    }
  })

const ofValue = (about: About, decision: unknown): Effect.Effect<Rejected | Accepted, DecisionFailed> => {
  if (!Decision.isDecision(decision)) {
    return Effect.fail(new DecisionFailed({ ...about, problem: "`decide` gives no decision" }))
  }
  return Effect.succeed(
    decision._tag === "Fail"
      ? { _tag: "Rejected", error: decision.error }
      : { _tag: "Accepted", decision: decision as Decision.Persist<any, any, unknown, any> }
  )
}

/** @internal What a pure function of the user's gives, which may throw. It is called at once. */
export const computing = <A>(about: About, name: string, f: () => A): Effect.Effect<A, DecisionFailed> => {
  try {
    return Effect.succeed(f())
  } catch (cause) {
    return Effect.fail(new DecisionFailed({ ...about, problem: `\`${name}\` throws`, cause }))
  }
}

/** @internal What is to be stored, as its codec writes it, which is done at once. */
export const encoding = <A>(about: About, what: string, encode: () => A): Effect.Effect<A, InvalidDecision> => {
  try {
    return Effect.succeed(encode())
  } catch (cause) {
    return Effect.fail(new InvalidDecision({ ...about, problem: `${what} cannot be encoded`, cause }))
  }
}

/** Whether what was being written may be written nevertheless. */
const mayBeWritten = ({ reason }: StorageError): boolean => reason === "Unavailable" || reason === "Failed"

/** @internal What has become of something that was to be written and could not, apart from a conflict. */
export const unwritten = (
  { command, entityType, id }: About,
  error: { readonly _tag: string }
): JournalUnavailable | InvalidDecision =>
  isStorageError(error)
    ? unavailable({ entityType, id }, mayBeWritten(error), error)
    : new InvalidDecision({
      entityType,
      id,
      command,
      problem: "the storage refuses it, and nothing was written",
      cause: error
    })

const isStorageError = (error: { readonly _tag: string }): error is StorageError => error._tag === "StorageError"
