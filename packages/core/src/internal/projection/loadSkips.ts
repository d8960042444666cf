import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { EncodedEnvelope } from "../../Envelope.ts"
import { beginning } from "../../Offset.ts"
import type { OffsetStore, StoredOffsets } from "../../OffsetStore.ts"
import { offsetKey, type SourceProjection } from "../../ProjectionDefinition.ts"
import { isPast, type ProjectionManagement, type Skip } from "../../ProjectionManagement.ts"
import * as SequenceNumber from "../../SequenceNumber.ts"
import * as Slice from "../../Slice.ts"
import type { SliceRange } from "../../SliceRange.ts"
import type { StorageError } from "../../StorageError.ts"
import { fetch } from "./fetch.ts"
import { Skips } from "./Skips.ts"
import type { WorkerMemory } from "./WorkerMemory.ts"

/** How many events a source is asked for at once. */
const maxCalls = 8

interface Options {
  readonly projection: SourceProjection<any, any>
  readonly range: SliceRange
  readonly store: OffsetStore["Service"]
  readonly management: ProjectionManagement["Service"]
  readonly memory: WorkerMemory
}

/**
 * @internal
 * Loads what is to be skipped. What is not to come, as the worker is past it or its source does not have it, does not stay: it must not be skipped later on.
 */
export const loadSkips = Effect.fnUntraced(function*(
  options: Options,
  stored: Pick<StoredOffsets, "offsets" | "completeUpTo" | "rewinds">
): Effect.fn.Return<Skips, StorageError, any> {
  const { management, projection, range, store } = options
  const key = offsetKey(projection)
  const skips = yield* management.skips(key, range)
  if (skips.length === 0) return new Skips(skips)
  const numbers = yield* store.sequenceNumbers(key, skips.map(({ persistenceId }) => persistenceId))
  const left = yield* Effect.filter(skips, (skip) => {
    const slice = Slice.ofPersistenceId(skip.persistenceId)
    const progress = {
      offset: stored.offsets.get(slice) ?? beginning,
      completeUpTo: stored.completeUpTo.get(slice)?.position,
      rewinds: stored.rewinds.get(slice) ?? []
    }
    return Effect.flatMap(find(options, skip), (event) => {
      if (event === undefined) return Effect.succeed(true)
      const problem = event === "none"
        ? "its source has no such event"
        : isPast(event, progress, numbers.get(skip.persistenceId))
        ? "it is past it already"
        : undefined
      return problem === undefined ? Effect.succeed(true) : Effect.as(
        Effect.andThen(
          management.endSkip(key, skip),
          Effect.logWarning(
            `Does not skip event ${skip.sequenceNumber} of '${skip.persistenceId}', as ${skip.by} has said: ${problem}`
          )
        ),
        false
      )
    })
  }, { concurrency: maxCalls })
  return new Skips(left)
})

/** The event as its source has it, or that it has none. Undefined where that is not known: it may show the event later. */
const find = (
  { memory, projection: { source: { provider } } }: Options,
  skip: Skip
): Effect.Effect<EncodedEnvelope | "none" | undefined, never, any> =>
  Effect.gen(function*() {
    const found = yield* fetch(provider, skip)
    if (found._tag === "Some") return found.value
    if (provider.filter === undefined) return "none"
    // an entity that is hidden may be shown later
    const later = yield* fetch(provider, skip, SequenceNumber.make(Number.MAX_SAFE_INTEGER))
    return later._tag === "Some" ? "none" : undefined
  }).pipe(
    memory.ofSource,
    Effect.exit,
    Effect.map((exit) => Exit.isSuccess(exit) ? exit.value : undefined)
  )
