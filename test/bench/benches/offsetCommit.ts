/**
 * Offsets of groups of 100 events, each in its own transaction, one after the other. The baseline sets the same rows, by
 * upsert in one statement between BEGIN and COMMIT, and does not look at what they were.
 */
import * as Offset from "@sluice/core/Offset"
import { OffsetStore } from "@sluice/core/OffsetStore"
import { ProjectionManagement } from "@sluice/core/ProjectionManagement"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Effect from "effect/Effect"
import type { Connection } from "../baseline/Connection.ts"
import { type Bench, callers, compare, promised, type Sample } from "../Bench.ts"
import { adapters, connectAll, storage } from "../Target.ts"

const size = 100

/** The events of a group are of any slices, some of the same. */
const groups = (seed: number) => {
  const slices = Array.from(SliceRange.slices(SliceRange.full))
  let position = 0
  return () => {
    const group = new Map<Slice.Slice, Offset.Offset>()
    for (let i = 0; i < size; i++) {
      position++
      group.set(slices[(seed = seed * 48271 % 2147483647) % Slice.count]!, Offset.make(position, position))
    }
    return group
  }
}

const sampleOf = (
  committed: number,
  seconds: number,
  expected: ReadonlyMap<number, Offset.Offset>,
  found: Awaited<ReturnType<Connection["offsets"]>>
): Sample => {
  const positions = new Map(found.map(({ position, slice }) => [slice, position]))
  return {
    value: committed * size / seconds,
    lost: [...expected].filter(([slice, { position }]) => positions.get(slice) !== position).length,
    doubled: found.length - positions.size
  }
}

export const offsetCommit: Bench = {
  name: "offset-commit",
  adapters,
  run: (setting) =>
    Effect.gen(function*() {
      const target = yield* setting.place
      return yield* Effect.gen(function*() {
        const [connection] = yield* connectAll(target, 1)
        const store = yield* OffsetStore
        const { seconds } = setting.size
        let run = 0
        const ours = Effect.gen(function*() {
          const projection = `p${run++}`
          const key = { projection, source: "journal" }
          yield* ProjectionManagement.use((management) => management.register(key))
          const basis = { journal: "identity", revision: (yield* store.load(key, SliceRange.full)).revision! }
          const next = groups(run)
          const stored = new Map<Slice.Slice, Offset.Offset>()
          let committed = 0
          const elapsed = yield* callers(1, seconds, () => {
            const group = [...next()].toSorted(([a], [b]) => a - b)
            const moves = group.map(([slice, to]) => ({ slice, from: stored.get(slice), to }))
            return Effect.map(store.transact(key, basis, moves, Effect.void), () => {
              for (const [slice, to] of group) stored.set(slice, to)
              committed++
            })
          })
          const found = yield* Effect.promise(() => connection.offsets("ours", projection))
          return sampleOf(committed, elapsed, stored, found)
        })
        const byHand = Effect.gen(function*() {
          const projection = `p${run++}`
          const next = groups(run)
          const stored = new Map<Slice.Slice, Offset.Offset>()
          let committed = 0
          const elapsed = yield* promised(1, seconds, async () => {
            const group = [...next()].toSorted(([a], [b]) => a - b)
            await connection.project(
              projection,
              [],
              group.map(([slice, offset]) => ({ slice, position: offset.position, timestamp: offset.timestamp }))
            )
            for (const [slice, to] of group) stored.set(slice, to)
            committed++
          })
          const found = yield* Effect.promise(() => connection.offsets("base", projection))
          return sampleOf(committed, elapsed, stored, found)
        })
        return [yield* compare(setting, { bench: "offset-commit", unit: "events/s" }, ours, byHand)]
      }).pipe(Effect.provide(storage(target)))
    })
}
