/** What all scenarios have in common: processes that work, something that disturbs them, and a count of what that did. */
import * as Journal from "@sluice/core/Journal"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Wait from "@sluice/testing/Wait"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type Event, eventOf, Thing, type Work } from "./contract.ts"
import * as Crew from "./Crew.ts"
import * as Server from "./Server.ts"
import * as Tally from "./Tally.ts"
import * as Target from "./Target.ts"

export interface Environment {
  readonly server: Server.Server
  /** Ends when the workers have worked for long enough: some more events, and, in a long run, some more time. */
  readonly while: (crew: Crew.Crew, events?: number) => Effect.Effect<void>
}

/** Ends when so many more events were acknowledged. */
export const moreEvents = (crew: Crew.Crew, events: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    const before = crew.acknowledged()
    return Wait.until(
      `${events} more events`,
      () => crew.crashes.length > 0 || crew.acknowledged() >= before + events,
      { atMost: "2 minutes" }
    )
  })

export interface Outcome {
  readonly tally: Tally.Tally
  /** How often something failed, by reason. */
  readonly failed: Readonly<Record<string, number>>
  /** What must not be, in words. */
  readonly problems: ReadonlyArray<string>
}

export interface Scenario {
  readonly name: string
  readonly run: (environment: Environment) => Effect.Effect<Outcome, unknown, Scope.Scope>
}

export interface Options extends Omit<Work, "target" | "tail"> {
  readonly space: string
  readonly workers: number
  readonly url?: string | undefined
  readonly settings?: Target.Target["settings"]
  /** What may fail beside a wrong expectation and a lock that somebody else has; nothing by default. */
  readonly mayFail?: ((failure: Crew.Failure) => boolean) | undefined
  /** For how long tails may read on when all is over; a minute by default. */
  readonly patience?: Duration.Input | undefined
  /** What happens meanwhile; by default nothing, for a while. */
  readonly during?: ((crew: Crew.Crew) => Effect.Effect<void, unknown, Scope.Scope>) | undefined
}

/** Processes append and read on while something happens to them. */
export const load = (
  environment: Environment,
  { during = environment.while, mayFail = () => false, patience = "1 minute", settings, space, url, workers, ...work }:
    Options
): Effect.Effect<Outcome, unknown, Scope.Scope> =>
  Effect.gen(function*() {
    const { server } = environment
    const target: Target.Target = { adapter: server.adapter, url: url ?? server.url(), space, settings }
    const crew = yield* Crew.start(
      Array.from({ length: workers }, (_, i) => ({ ...work, target, tail: i % 2 === 0 ? "source" : "reader" }))
    )
    yield* during(crew)
    yield* crew.stop
    const rows = yield* Server.rows(server, space)
    // those who do not get there have left something unseen
    yield* Wait.until("the tails", () => crew.crashes.length > 0 || crew.haveSeen(rows), { atMost: patience }).pipe(
      Effect.ignoreCause
    )
    const { problems, tally } = yield* examine(environment, space, crew.ledger())
    const unexpected = crew.failures.filter((failure) =>
      failure.reason !== "SequenceConflict" && failure.reason !== "Busy" && !mayFail(failure)
    )
    return {
      tally,
      failed: Object.fromEntries(
        crew.failures.map(({ count, operation, reason }) => [`${operation}:${reason}`, count])
      ),
      problems: [
        ...problems,
        ...unexpected.map(({ count, first, operation, reason }) =>
          `${count} × ${operation} failed (${reason}), such as: ${first}`
        ),
        ...crew.crashes.map((crash) => `a crash: ${crash}`)
      ]
    }
  })

/** A connection was lost on which a transaction was, or which read. Single appends are sent again, and do not fail for that. */
export const lostConnection = ({ operation, reason }: Crew.Failure): boolean =>
  reason === "Unavailable" && operation !== "append" && operation !== "expect"

/** Compares what was said with what is there, and with what a reader finds that comes when all is over. */
export const examine = (
  { server }: Environment,
  space: string,
  ledger: Tally.Ledger
): Effect.Effect<Outcome, unknown> =>
  Effect.gen(function*() {
    const rows = yield* Server.rows(server, space)
    const floors = yield* Server.floors(server, space)
    const seen = yield* readAll({ adapter: server.adapter, url: server.url(), space })
    const tally = Tally.count(rows, floors, {
      ...ledger,
      tails: [...ledger.tails, { seen, start: floors, isComplete: true }]
    })
    return { tally, failed: {}, problems: Tally.describe(tally) }
  })

const readAll = (target: Target.Target): Effect.Effect<ReadonlyArray<Event>, unknown> =>
  Effect.gen(function*() {
    const journal = yield* Journal.Journal
    const floors = yield* journal.floors(Thing.name, SliceRange.full)
    const reader = yield* journal.reader(Thing.name, SliceRange.full, floors)
    const found: Array<Event> = []
    while (true) {
      const page = yield* reader.next(100)
      if (page.length === 0) return found
      found.push(...page.map(eventOf))
    }
  }).pipe(Effect.provide(Target.layer(target)), Effect.scoped)
