/**
 * From the journal into a table of the same database, exactly once: an entity's counts are upserted, per event or for a group in one
 * statement, and the offsets of its slices in the same transaction. Measured is the time from starting the projection until it has caught up.
 *
 * The baseline reads pages by keyset, parses the payloads, and does the same with the same statements on one connection, awaiting
 * each: BEGIN, counts, offset rows, COMMIT. It reads the next page while it writes, where its database lets it.
 */
import * as Handler from "@sluice/core/Handler"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Source from "@sluice/core/Source"
import { Transaction } from "@sluice/core/Transaction"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Connection, counted, lastOf } from "../baseline/Connection.ts"
import { type Bench, compare, type Sample } from "../Bench.ts"
import type { ItemAdded } from "../events.ts"
import { parse } from "../events.ts"
import { Cart, compareCounts, type Expected, load } from "../load.ts"
import { type Adapter, adapterModules, adapters, connectAll, storage } from "../Target.ts"
import * as Work from "../Work.ts"

/** What the handler does with events, in the transaction that moves their offsets. */
export const counting = (adapter: Adapter, table: string) =>
(
  envelopes: ReadonlyArray<
    { readonly persistenceId: string; readonly sequenceNumber: number; readonly event: ItemAdded }
  >
) =>
  Transaction.use((transaction) =>
    Effect.asVoid(transaction.execute(
      adapterModules[adapter].countStatement(
        table,
        counted(envelopes.map(({ event: { quantity }, persistenceId, sequenceNumber }) => ({
          persistenceId,
          sequenceNumber,
          quantity
        })))
      )
    ))
  )

/** The table of counts as Sluice's connections see it. */
export const countTable = (adapter: Adapter, schema: string): string =>
  adapter === "postgres" ? `${schema}.ours_count` : "ours_count"

/** Reads and writes by hand, in groups. */
const project = async (reader: Connection, writer: Connection, projection: string, group: number): Promise<void> => {
  const pageSize = Math.max(500, group)
  let next = reader.page(Cart.name, { timestamp: 0, slice: 0 }, pageSize)
  while (true) {
    const rows = await next
    if (rows.length === 0) return
    next = reader.page(Cart.name, rows.at(-1)!, pageSize)
    const events = rows.map(({ payload, persistence_id, sequence_number }) => ({
      persistenceId: persistence_id,
      sequenceNumber: sequence_number,
      quantity: parse(payload).quantity
    }))
    for (let i = 0; i < events.length; i += group) {
      await writer.project(projection, counted(events.slice(i, i + group)), lastOf(rows.slice(i, i + group)))
    }
  }
}

interface Options {
  readonly bench: string
  readonly group: number
  readonly events: number
}

const make = ({ bench, events, group }: Options): Bench => ({
  name: bench,
  adapters,
  run: (setting) =>
    Effect.gen(function*() {
      const target = yield* setting.place
      return yield* Effect.gen(function*() {
        const [reader, writer = reader] = yield* connectAll(target, 2)
        // the last group is full as well, and does not wait for more
        const total = Math.ceil(events * setting.size.scale / group) * group
        const expected = yield* load(total)
        const handle = counting(target.adapter, countTable(target.adapter, target.schema))
        let run = 0
        const measured = <E, R>(side: "ours" | "base", work: (name: string) => Effect.Effect<void, E, R>) =>
          Effect.gen(function*() {
            yield* Effect.promise(() => reader.clear())
            const start = performance.now()
            yield* Work.counted(work(`p${run++}`))
            const seconds = (performance.now() - start) / 1000
            const counts = yield* Effect.promise(() => reader.counts(side))
            return sampleOf(total, seconds, expected, counts)
          })
        const ours = measured("ours", (name) =>
          Effect.scoped(Effect.gen(function*() {
            const projection = Source.journal(Cart).pipe(
              Projection.exactlyOnce(
                name,
                group === 1
                  ? (envelope) => handle([envelope])
                  : Handler.grouped({ size: group, within: "100 millis" }, handle)
              )
            )
            yield* Layer.build(Projection.layer(projection))
            yield* ProjectionStatus.caughtUp(name)
          })))
        const byHand = measured("base", (name) => Effect.promise(() => project(reader, writer, name, group)))
        return [
          yield* compare(
            setting,
            { bench, unit: "events/s", ...(group === 1 && { singleEvents: total }) },
            ours,
            byHand
          )
        ]
      }).pipe(Effect.provide(storage(target)))
    })
})

const sampleOf = (
  total: number,
  seconds: number,
  expected: Expected,
  counts: Parameters<typeof compareCounts>[1]
): Sample => ({ value: total / seconds, ...compareCounts(expected, counts) })

export const exactlyOnce = make({ bench: "exactly-once", group: 1, events: 4_000 })
export const exactlyOnceBulk100 = make({ bench: "exactly-once-bulk-100", group: 100, events: 50_000 })
export const exactlyOnceBulk500 = make({ bench: "exactly-once-bulk-500", group: 500, events: 100_000 })
