import type { Offsets } from "@sluice/core/Offset"
import * as Slice from "@sluice/core/Slice"
import type { LogKind, StorageSignals } from "@sluice/sql/adapter/StorageSignals"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { UnderWay } from "./UnderWay.ts"

/** How often to look for what other processes append: soon after there was something, and later when it is quiet. */
const soon = 10
const later = 100

/** For how long to wait for an answer before those who follow the logs are to find out themselves, in milliseconds. */
const patience = 3_000

/** @internal Asks for the heads of an entity type's logs, by their kind. */
export type Heads = Readonly<Record<LogKind, (entityType: string) => Effect.Effect<Offsets, unknown>>>

/** What is known of the logs of an entity type. */
interface Known {
  /** The positions of the heads. */
  heads: Float64Array
  /** Slices that had moved at the last look, and were being written to by this process. */
  doubtful: ReadonlySet<Slice.Slice>
  /** The last positions that this process has written, unless they are lost since. */
  readonly written: Float64Array
}

/**
 * Takes the heads that there are now, where `since` was written before they were asked for. Returns the slices in which they have moved, other than by what this
 * process has written. Where it is just writing it may be its own event that is seen before the answer, and is waited for until the next look.
 */
const take = (
  known: Known,
  now: Offsets,
  since: Float64Array,
  isWriting: (slice: Slice.Slice) => boolean
): ReadonlyArray<Slice.Slice> => {
  const { written } = known
  const heads = new Float64Array(Slice.count)
  const doubtful = new Set<Slice.Slice>()
  const moved: Array<Slice.Slice> = []
  for (const [slice, { position }] of now) heads[slice] = position
  // a failover, or a backup, has lost it: the next one with that position is another's
  for (let slice = 0; slice < Slice.count; slice++) if (heads[slice]! < since[slice]!) written[slice] = heads[slice]!
  for (const [slice, { position }] of now) {
    const before = known.heads[slice]!
    if (position <= Math.max(before, written[slice]!)) continue
    if (isWriting(slice) && !known.doubtful.has(slice)) {
      heads[slice] = before
      doubtful.add(slice)
    } else moved.push(slice)
  }
  known.heads = heads
  known.doubtful = doubtful
  return moved
}

/**
 * @internal
 * Looks at the heads of the logs that somebody follows, a thousand short rows of an entity type, for changes that this process did not
 * make. MySQL has nothing that tells of a commit.
 */
export const watch = (
  heads: Heads,
  signals: StorageSignals,
  underWay: Pick<UnderWay, "has">
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function*() {
    const known: Record<LogKind, Map<string, Known>> = { events: new Map(), states: new Map() }

    const knownOf = Effect.fnUntraced(function*(kind: LogKind, entityType: string) {
      const found = known[kind].get(entityType)
      if (found !== undefined) return found
      const written = new Float64Array(Slice.count)
      if (kind === "events") {
        yield* signals.committed(entityType, (events) => {
          for (const { position, slice } of events) written[slice] = Math.max(written[slice]!, position!)
        })
      }
      const added: Known = { heads: new Float64Array(Slice.count), doubtful: new Set(), written }
      known[kind].set(entityType, added)
      return added
    })

    /** Readers that wait for events would not notice that the database is silent. */
    const askedToLook = Effect.sleep(patience).pipe(
      Effect.andThen(Effect.sync(signals.signalFollowed)),
      Effect.andThen(Effect.never)
    )

    let wait = soon
    let isAway = false
    const look = Effect.gen(function*() {
      yield* signals.untilFollowed
      let changed = false
      for (const kind of ["events", "states"] as const) {
        for (const entityType of signals[kind].followed()) {
          const logs = yield* knownOf(kind, entityType)
          const since = logs.written.slice()
          const now = yield* Effect.raceFirst(heads[kind](entityType), askedToLook)
          if (isAway) signals.reconnected()
          isAway = false
          const slices = take(logs, now, since, (slice) => kind === "events" && underWay.has(slice))
          if (slices.length === 0) continue
          changed = true
          signals[kind].signal(entityType, slices)
        }
      }
      wait = changed ? soon : Math.min(wait * 1.5, later)
      yield* Effect.sleep(wait)
    })
    yield* Effect.forever(
      Effect.catch(look, () => {
        // readers that wait for events would not notice an outage. So they are woken, read, and report it
        if (!isAway) signals.signalAll()
        isAway = true
        return Effect.sleep(later)
      })
    ).pipe(Effect.forkScoped)
  })
