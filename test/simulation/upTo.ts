import * as Schema from "effect/Schema"

/** An integer from 0 to a maximum. */
export const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))
