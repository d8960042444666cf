/**
 * Reads a journal from its beginning to its end. Measured is the time from opening the reader to the last event: first of envelopes as they
 * are stored, through `JournalReader`; then of decoded events, through `Source.toStream`.
 *
 * The baseline is a keyset loop over the same rows and index with the same pages, which proves nothing about gaps. It parses the
 * payloads, without looking at what is in them, where ours are decoded.
 */
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Connection } from "../baseline/Connection.ts"
import { type Bench, compare, type Sample } from "../Bench.ts"
import { Logs, parse } from "../events.ts"
import { Cart, load } from "../load.ts"
import { adapters, connect, storage } from "../Target.ts"
import * as Work from "../Work.ts"

/** A reader is asked for as many as a source asks for. */
const pageSize = 500

export const timed = <E, R>(
  total: number,
  read: (logs: Logs) => Effect.Effect<void, E, R>
): Effect.Effect<Sample, E, R> =>
  Effect.suspend(() => {
    const logs = new Logs()
    const start = performance.now()
    return Effect.map(Work.counted(read(logs)), () => ({
      value: logs.count / ((performance.now() - start) / 1000),
      ...logs.of(total)
    }))
  })

/** Gives every page to `f`, of what has been loaded, or of another type and from other offsets. */
export const readPages = (
  f: (page: ReadonlyArray<EncodedEnvelope>) => void,
  { entityType = Cart.name, start = Offset.none }: {
    readonly entityType?: string
    readonly start?: Offset.Offsets
  } = {}
) =>
  Effect.scoped(Effect.gen(function*() {
    const journal = yield* Journal.Journal
    const reader = yield* journal.reader(entityType, SliceRange.full, start)
    while (true) {
      const page = yield* reader.next(pageSize)
      if (page.length === 0) return
      f(page)
    }
  }))

export const readRows = async (connection: Connection, f: (rows: Awaited<ReturnType<Connection["page"]>>) => void) => {
  let after = { timestamp: 0, slice: 0 }
  while (true) {
    const rows = await connection.page(Cart.name, after, pageSize)
    if (rows.length === 0) return
    f(rows)
    after = rows.at(-1)!
  }
}

const readStream = (total: number, logs: Logs) =>
  Source.toStream(Source.journal(Cart)).pipe(
    Stream.runForEachArray((envelopes) => {
      for (const envelope of envelopes) logs.see(envelope)
      // a source has no end
      return logs.count < total ? Effect.void : Effect.fail("done" as const)
    }),
    Effect.catchIf((error) => error === "done", () => Effect.void)
  )

export const catchUpRead: Bench = {
  name: "catch-up-read",
  adapters,
  run: (setting) =>
    Effect.gen(function*() {
      const target = yield* setting.place
      return yield* Effect.gen(function*() {
        const connection = yield* connect(target)
        const total = Math.ceil(200_000 * setting.size.scale)
        yield* load(total)
        const byHand = (f: (row: { readonly payload: Uint8Array }) => void) =>
          timed(total, (logs) =>
            Effect.promise(() =>
              readRows(connection, (rows) => {
                for (const row of rows) {
                  f(row)
                  logs.see(row)
                }
              })
            ))
        return [
          yield* compare(
            setting,
            { bench: "catch-up-read", unit: "events/s" },
            timed(total, (logs) => readPages((page) => page.forEach((envelope) => logs.see(envelope)))),
            byHand(() => {})
          ),
          yield* compare(
            setting,
            { bench: "catch-up-read-decoded", unit: "events/s" },
            timed(total, (logs) => readStream(total, logs)),
            byHand(({ payload }) => parse(payload))
          )
        ]
      }).pipe(Effect.provide(storage(target)))
    })
}
