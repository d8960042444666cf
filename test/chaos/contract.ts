/** What the two processes of the chaos test share. */
import * as EntityType from "@sluice/core/EntityType"
import * as EventStream from "@sluice/core/EventStream"
import * as Schema from "effect/Schema"

/** A public event: `n` counts the events of its entity. */
export class Counted extends Schema.TaggedClass<Counted>()("Counted", { n: Schema.Int }) {}
/** An internal event, which only its placeholder leaves the service of. */
export class Noted extends Schema.TaggedClass<Noted>()("Noted", { n: Schema.Int }) {}

export const Counter = EntityType.make("counter", { event: Schema.Union([Counted, Noted]) })
export const Counts = EventStream.make("counts", { event: Counted })

/** Every fifth event is internal. */
export const isPublic = (n: number): boolean => n % 5 !== 0
