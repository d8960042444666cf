import { timestamps } from "@sluice/core/Feed"
import * as LogsIdentity from "@sluice/core/LogsIdentity"
import { ProjectionManagement } from "@sluice/core/ProjectionManagement"
import * as SliceRange from "@sluice/core/SliceRange"
import type { Refusal, ReplicaInfo } from "@sluice/grpc/ReplicaInfo"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { projectionName } from "./projectionName.ts"

/** Callers name themselves, and the log and a status have little room. */
const maxShown = 100
const shown = (text: string): string =>
  `${JSON.stringify(text.slice(0, maxShown)).slice(1, -1)}${text.length > maxShown ? "…" : ""}`

const otherOrder = (self: string, order: string, other: string, otherOrder: string): Refusal => ({
  code: "OtherOrder",
  problem:
    `'${self}' stores events in the order '${order}', and '${shown(other)}' in the order '${shown(otherOrder)}': ` +
    "give Replication.layer, or Replication.producer and Replication.consumer, the same 'order' in all regions"
})

const otherJournal = (self: string, known: string, other: string, journal: string): Refusal => ({
  code: "OtherJournal",
  problem:
    `'${self}' knows the journal '${shown(known)}' as that of '${shown(other)}', and this one has '${
      shown(journal)
    }': ` +
    `either '${shown(other)}' runs twice, with a database each, and one of them is to be stopped; ` +
    "or it has lost its database, and is to begin anew under another id"
})

/**
 * @internal
 * Why another replica is not given the events of this one. It is known by its journal where this one has read that, or else where it gives it its events at the moment. What a replica has written that runs twice
 * would be taken from one of the two journals alone, by whoever reads that.
 */
export const refusing = (entityType: string, self: string, order: "origin" | "causal") => {
  /** Of each that is given the events now, by which journals, and in how many streams. */
  const given = new Map<string, Map<string, number>>()

  /** The journals that were read of another replica. */
  const readOf = (id: string) =>
    Effect.gen(function*() {
      const { progress } = yield* ProjectionManagement
      const sources = yield* progress(projectionName(entityType, self, id), SliceRange.slices(SliceRange.full))
      // as a replica on Akka it had no journal that could be told
      return sources.flatMap(({ journal }) => journal === undefined || journal === timestamps ? [] : [journal])
      // others are not to wait for the database of the offsets, and are looked at again with the next stream
    }).pipe(Effect.orElseSucceed((): ReadonlyArray<string> => []))

  const giving = (id: string, journal: string) => {
    const change = (by: number) =>
      Effect.sync(() => {
        const journals = given.get(id) ?? new Map<string, number>()
        const streams = (journals.get(journal) ?? 0) + by
        if (streams > 0) journals.set(journal, streams)
        else journals.delete(journal)
        if (journals.size > 0) given.set(id, journals)
        else given.delete(id)
      })
    return Effect.acquireRelease(change(1), () => change(-1))
  }

  return (
    { id, journal, order: other }: ReplicaInfo
  ): Effect.Effect<Refusal | undefined, never, ProjectionManagement | Scope.Scope> =>
    Effect.gen(function*() {
      if (other !== undefined && other !== order) return otherOrder(self, order, id, other)
      if (journal === undefined) return undefined
      const read = yield* readOf(id)
      const isRead = read.some((known) => LogsIdentity.isOf(known, { journal, log: "events", entityType }))
      const known = isRead ? undefined : read[0] ?? [...given.get(id)?.keys() ?? []].find((known) => known !== journal)
      if (known !== undefined) return otherJournal(self, known, id, journal)
      yield* giving(id, journal)
      return undefined
    })
}
