import type { OffsetKey } from "@sluice/core/OffsetStore"
import type { Expression, ExpressionBuilder, SqlBool } from "kysely"

/** @internal Rows of the projection in the source. */
export const isOf = ({ projection, source }: OffsetKey) => (eb: ExpressionBuilder<any, any>): Expression<SqlBool> =>
  eb.and([eb("projection", "=", projection), eb("source", "=", source)])
