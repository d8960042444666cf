/** An instance in the test's own process, for what has to happen at an exact moment. It remembers what it was answered. */
import * as Journal from "@sluice/core/Journal"
import type { StorageError } from "@sluice/core/StorageError"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { contentOf, type Event, placesOf, Thing } from "./contract.ts"
import { type Environment, examine, type Outcome } from "./Scenario.ts"
import * as Target from "./Target.ts"

type Services = Layer.Success<ReturnType<typeof Target.layer>>

export interface Instance {
  /** Runs any effect on the instance. */
  readonly on: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, Exclude<R, Services>>
  /** Appends an event. */
  readonly append: (
    id: string,
    expected?: Journal.ExpectedSequenceNumber
  ) => Effect.Effect<void, AppendError>
  /** As `Journal.transaction`; what is appended in it counts when it has ended well. */
  readonly transaction: <A, E>(
    f: (append: Instance["append"]) => Effect.Effect<A, E, Services>
  ) => Effect.Effect<A, E | StorageError>
}

type AppendError = Effect.Error<ReturnType<typeof Journal.append>>

export interface Witness {
  /** One more instance, by any URL of the server. */
  readonly open: (
    options?: { readonly url?: string; readonly settings?: Target.Target["settings"] }
  ) => Effect.Effect<Instance, Effect.Error<ReturnType<typeof Target.open>>, Scope.Scope>
  /** What became of it all. */
  readonly outcome: Effect.Effect<Outcome, unknown>
}

export const make = (environment: Environment, space: string): Witness => {
  const acknowledged: Array<ReadonlyArray<Event>> = []
  const refused: Array<string> = []
  const { server } = environment
  let count = 0

  const record = <A, E, R>(
    f: (
      append: (
        id: string,
        expected: Journal.ExpectedSequenceNumber
      ) => Effect.Effect<void, AppendError, Journal.Journal>
    ) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      const written: Array<ReadonlyArray<Event>> = []
      const sent: Array<string> = []
      return Effect.onExit(
        f((id, expected) => {
          const contents = [contentOf(`witness-${count}`, count++, 0)] as [string]
          sent.push(...contents)
          return Effect.map(
            Journal.append(Thing, { id, events: contents, expected }),
            (place) => void written.push(placesOf(place, contents))
          )
        }),
        (exit) =>
          Effect.sync(() => {
            if (Exit.isSuccess(exit)) acknowledged.push(...written)
            // an append that was interrupted may have been on its way
            else if (Exit.hasFails(exit) && (exit.cause.reasons as any)[0]?.error?.reason !== "Unavailable") {
              refused.push(...sent)
            }
          })
      )
    })

  return {
    open: (options = {}) =>
      Effect.map(
        Target.open({ adapter: server.adapter, url: options.url ?? server.url(), space, settings: options.settings }),
        (context: Context.Context<Services>): Instance => {
          const on = Target.on(context)
          return {
            on,
            append: (id, expected = "any") => on(record((append) => append(id, expected))),
            transaction: (f) =>
              on(record((append) => Journal.transaction(f((id, expected = "any") => on(append(id, expected))))))
          }
        }
      ),
    outcome: Effect.suspend(() => examine(environment, space, { acknowledged, refused, tails: [] }))
  }
}
