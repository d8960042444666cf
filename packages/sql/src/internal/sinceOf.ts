import { type Expression, type RawBuilder, sql } from "kysely"

/** @internal The time that the events after an offset begin at, as `sinceOf` in `Rewind` has it. */
export const sinceOf = (position: Expression<number | null>, timestamp: Expression<number>): RawBuilder<number> =>
  sql<number>`CASE WHEN ${position} > 0 THEN ${timestamp} + 1 ELSE ${timestamp} END`
