import { type ChangeReader, toEnvelope } from "@sluice/core/DurableStateStore"
import { JournalForked } from "@sluice/core/Journal"
import type { Offsets } from "@sluice/core/Offset"
import type { SliceRange } from "@sluice/core/SliceRange"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import { fromSqlError } from "../adapter/SqlStorageError.ts"
import type { StorageSignals } from "../adapter/StorageSignals.ts"
import { type Read, StateLogPlan } from "./StateLogPlan.ts"
import * as Queries from "./stateQueries.ts"

/** @internal */
export interface Options extends Queries.Options {
  readonly signals: Pick<StorageSignals, "states">
  readonly entityType: string
  readonly range: SliceRange
  readonly start: Offsets
  readonly byTime: boolean
}

/** Reads what the plan says, and tells it what was found. Returns the states in it; undefined once there is nothing to be read. */
const read = Effect.fnUntraced(function*(
  options: Options,
  plan: StateLogPlan,
  next: Read
): Effect.fn.Return<Queries.Page["states"] | undefined, JournalForked | SqlError> {
  const { entityType, range } = options
  switch (next._tag) {
    case "Nothing":
      return undefined
    case "Fork":
      return yield* new JournalForked({ entityType, slice: next.slice, offset: next.offset })
    case "Heads":
      plan.heads(yield* Queries.heads(options, entityType, range))
      return []
    case "Firsts": {
      const found = yield* Queries.neighbours(options, entityType, next.after)
      plan.firsts(Array.from(found.values(), ({ after }) => after ?? Infinity))
      return []
    }
    case "Window": {
      const found = yield* Queries.findByTime(options, entityType, range, next.after, next.count)
      const page = yield* Queries.readPage(options, plan.unread(found))
      return plan.window(next, found, page) ? page.states : []
    }
    case "Logs": {
      const found = yield* Queries.findInLogs(options, entityType, next.after, next.each)
      const page = yield* Queries.readPage(options, found)
      return plan.logs(next, page) ? page.states : []
    }
  }
})

/** @internal Reads the changes of durable states after the offsets. */
export const make = (options: Options): ChangeReader => {
  const { byTime, entityType, range, signals, start } = options
  const plan = new StateLogPlan({
    range,
    start,
    byTime,
    marks: signals.states.marks(entityType),
    maxRows: Queries.maxPageRows
  })
  const next: (limit: number) => ReturnType<ChangeReader["next"]> = Effect.fnUntraced(
    function*(limit) {
      while (true) {
        const states = yield* read(options, plan, plan.next(limit))
        if (states === undefined) return []
        if (states.length > 0) return states.map(toEnvelope)
      }
    },
    Effect.catchTag("SqlError", (error) => Effect.fail(readFailed(error)))
  )
  return { next }
}

/** @internal */
export const readFailed = fromSqlError("read changes of states")
