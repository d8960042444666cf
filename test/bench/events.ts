/** The events that everything is measured with, of about 200 bytes, and how they are counted. */
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventStream from "@sluice/core/EventStream"
import * as Schema from "effect/Schema"

/** `n` tells an event from all others of a run. */
export class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", {
  n: Schema.Int,
  cart: Schema.String,
  sku: Schema.String,
  quantity: Schema.Int,
  price: Schema.Finite,
  note: Schema.String
}) {}

export const codec = EventCodec.json(ItemAdded)

/** An entity type of its own for each run that writes, so that what it wrote can be counted. */
export const cart = (run: number | string) => EntityType.make(`cart${run}`, { codec })

export const Items = EventStream.make("items", { codec })

const note = "x".repeat(95)
export const entities = 10_000
/** An entity has its next event after all others have theirs; neighbours in time are none in an index. */
export const idOf = (n: number): string => `c-${String(Math.abs(n) * 7919 % entities).padStart(10, "0")}`
export const fields = (n: number) => ({
  n,
  cart: idOf(n),
  sku: `sku-${n * 7919 % 100_000}`,
  quantity: n % 9,
  price: 19.99,
  note
})
export const item = (n: number): ItemAdded => new ItemAdded(fields(n))

/** How many events an entity has that wakes up: all but the last were left out. */
export const pastSize = 100
/** The events of entities that wake up have other numbers than those that are live. */
const firstPast = 10_000_000
export const pastOf = (entity: number): ReadonlyArray<number> =>
  Array.from({ length: pastSize }, (_, i) => firstPast + entity * pastSize + i)

/** The same event as the baseline writes it. */
export const encoded = (n: number): Buffer => Buffer.from(JSON.stringify({ _tag: "ItemAdded", ...fields(n) }))
export const parse = (payload: Uint8Array): { readonly n: number; readonly quantity: number } =>
  JSON.parse(Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString())

/** How many of what should be there are not, and how many are more often than once. */
export const tally = (
  expected: ReadonlyArray<number>,
  found: Iterable<number>
): { readonly lost: number; readonly doubled: number } => {
  const times = new Map<number, number>()
  let doubled = 0
  for (const n of found) {
    const before = times.get(n) ?? 0
    if (before > 0) doubled++
    times.set(n, before + 1)
  }
  return { lost: expected.filter((n) => !times.has(n)).length, doubled }
}

/** Counts by positions, which are dense in each log. */
export class Logs {
  readonly #last = new Float64Array(1024)
  count = 0
  doubled = 0
  see({ position, slice }: { readonly slice: number; readonly position: number | undefined }): void {
    this.count++
    if (position! <= this.#last[slice]!) this.doubled++
    this.#last[slice] = position!
  }
  /** Of so many. */
  of(total: number): { readonly lost: number; readonly doubled: number } {
    return { lost: total - this.count + this.doubled, doubled: this.doubled }
  }
}

/** Counts by the numbers of events, from 0. */
export class Seen {
  readonly #times: Uint8Array
  #missing: number
  /** When the last of them was seen. */
  at = Number.NaN
  constructor(total: number) {
    this.#times = new Uint8Array(total)
    this.#missing = total
  }
  see(n: number): void {
    if (this.#times[n]!++ === 0 && --this.#missing === 0) this.at = performance.now()
  }
  get counts(): { readonly lost: number; readonly doubled: number } {
    let lost = 0
    let doubled = 0
    for (const times of this.#times) {
      if (times === 0) lost++
      else doubled += times - 1
    }
    return { lost, doubled }
  }
}
