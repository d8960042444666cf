import { timestamps } from "@sluice/core/Feed"
import * as LogsIdentity from "@sluice/core/LogsIdentity"
import { ProjectionManagement } from "@sluice/core/ProjectionManagement"
import * as SliceRange from "@sluice/core/SliceRange"
import type { Refusal, ReplicaInfo } from "@sluice/grpc/ReplicaInfo"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { projectionName } from "./projectionName.ts"

const otherOrder = (self: string, order: string, other: string, otherOrder: string): Refusal => ({
  code: "OtherOrder",
  problem: `'${self}' stores events in the order '${order}', and '${other}' in the order '${otherOrder}': ` +
    "give Replication.layer the same 'order' in all regions"
})

const otherJournal = (self: string, known: string, other: string, journal: string): Refusal => ({
  code: "OtherJournal",
  problem: `'${self}' knows the journal '${known}' as that of '${other}', and this one has '${journal}': ` +
    `either '${other}' runs twice, with a database each, and one of them is to be stopped; ` +
    "or it has lost its database, and is to begin anew under another id"
})

/**
 * @internal
 * Why another replica is not given the events of this one. It is known by its journal where this one has read that, or gives it its events at the moment. What a replica has written that runs twice would be taken from one of the two
 * journals alone, by whoever reads that.
 */
export const refusing = (entityType: string, self: string, order: "origin" | "causal") => {
  /** The journals of those that are given the events now, and in how many streams. */
  const given = new Map<string, { readonly journal: string; streams: number }>()

  const isOf = (known: string, journal: string): boolean =>
    LogsIdentity.isOf(known, { journal, log: "events", entityType })

  /** One of the journals that were read of another replica, where it is none of them. */
  const readOther = (id: string, journal: string) =>
    Effect.gen(function*() {
      const { progress } = yield* ProjectionManagement
      const sources = yield* progress(projectionName(entityType, self, id), SliceRange.slices(SliceRange.full))
      // as a replica on Akka it had no journal that could be told
      const known = sources.flatMap(({ journal }) => journal === undefined || journal === timestamps ? [] : [journal])
      return known.some((one) => isOf(one, journal)) ? undefined : known[0]
      // others are not to wait for the database of the offsets, and are looked at again with the next stream
    }).pipe(Effect.orElseSucceed(() => undefined))

  return (
    { id, journal, order: other }: ReplicaInfo
  ): Effect.Effect<Refusal | undefined, never, ProjectionManagement | Scope.Scope> =>
    Effect.gen(function*() {
      if (other !== undefined && other !== order) return otherOrder(self, order, id, other)
      if (journal === undefined) return undefined
      const read = yield* readOther(id, journal)
      if (read !== undefined) return otherJournal(self, read, id, journal)
      const now = given.get(id)
      if (now !== undefined && now.journal !== journal) return otherJournal(self, now.journal, id, journal)
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          const streams = given.get(id) ?? { journal, streams: 0 }
          streams.streams++
          given.set(id, streams)
          return streams
        }),
        (streams) =>
          Effect.sync(() => {
            if (--streams.streams === 0) given.delete(id)
          })
      )
      return undefined
    })
}
