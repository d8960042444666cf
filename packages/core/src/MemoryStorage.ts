/**
 * A journal and an offset store in the memory of the process, for tests and for trying things out. It keeps every
 * promise of the others but one: nothing survives the process.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Semaphore from "effect/Semaphore"
import type { EncodedEnvelope } from "./Envelope.ts"
import { append, type Draft, entity, forked, heads, makeLogs, publish, reader } from "./internal/memoryLogs.ts"
import * as Journal from "./Journal.ts"
import type { Offset, Offsets } from "./Offset.ts"
import { Fenced, journalOf, type OffsetKey, OffsetStore } from "./OffsetStore.ts"
import type { Slice } from "./Slice.ts"
import * as SliceRange from "./SliceRange.ts"
import { StorageError } from "./StorageError.ts"
import { Transaction } from "./Transaction.ts"

/** What an open transaction has written and nobody else sees. Savepoints copy it. */
interface Pending {
  draft: Draft
  offsets: Map<string, StoredOffset>
}

interface StoredOffset {
  readonly journal: string
  readonly offset: Offset
}

class CurrentTransaction extends Context.Service<CurrentTransaction, { pending: Pending; isOver: boolean }>()(
  "@sluice/core/MemoryStorage/CurrentTransaction"
) {}

const noTables = Transaction.of({
  dialect: "none",
  execute: () =>
    Effect.fail(
      new StorageError({
        operation: "execute",
        reason: "Unsupported",
        cause: new Error("MemoryStorage has no tables: use SqliteStorage with the filename ':memory:'")
      })
    )
})

const offsetKey = (key: OffsetKey, slice: Slice): string => JSON.stringify([key.projection, key.source, slice])

const make = Effect.gen(function*() {
  const logs = makeLogs()
  const offsets = new Map<string, StoredOffset>()
  const lock = yield* Semaphore.make(1)
  const listeners = new Map<string, Set<Latch.Latch>>()

  const commit = ({ draft, offsets: moved }: Pending) => {
    publish(logs, draft)
    for (const [key, offset] of moved) offsets.set(key, offset)
    for (const entityType of new Set(draft.events.map((event) => event.entityType))) {
      listeners.get(entityType)?.forEach((latch) => latch.openUnsafe())
    }
  }

  const transaction = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, CurrentTransaction>> =>
    Effect.flatMap(Effect.serviceOption(CurrentTransaction), (current) => {
      if (current._tag === "Some") {
        if (current.value.isOver) {
          return Effect.die(new Error("The transaction that this fiber was started in is over: let it end first"))
        }
        const { pending } = current.value
        const savepoint = { draft: { events: [...pending.draft.events] }, offsets: new Map(pending.offsets) }
        return Effect.onExit(
          Effect.provideService(effect, CurrentTransaction, current.value),
          (exit) =>
            Effect.sync(() => {
              if (Exit.isFailure(exit)) current.value.pending = savepoint
            })
        )
      }
      const own: { pending: Pending; isOver: boolean } = {
        isOver: false,
        pending: { draft: { events: [] }, offsets: new Map() }
      }
      return lock.withPermit(
        Effect.onExit(Effect.provideService(effect, CurrentTransaction, own), (exit) =>
          Effect.sync(() => {
            own.isOver = true
            if (Exit.isSuccess(exit)) commit(own.pending)
          }))
      )
    })

  const pending = Effect.map(CurrentTransaction, (current) => current.pending)
  const draft = Effect.map(
    Effect.serviceOption(CurrentTransaction),
    (current) => current._tag === "Some" ? current.value.pending.draft : undefined
  )

  const journal = Journal.make({
    identity: crypto.randomUUID(),
    transaction,
    append: (request) =>
      transaction(Effect.flatMap(
        Effect.all([pending, Clock.currentTimeMillis]),
        ([{ draft }, now]) => {
          const answer = append(logs, draft, request, now * 1000)
          return answer._tag === "Written" ? Effect.succeed(answer.written) : Effect.fail(answer.conflict)
        }
      )),
    heads: (entityType, range) => Effect.sync(() => heads(logs, entityType, range)),
    reader: (entityType, range, start) =>
      Effect.suspend(() => {
        const fork = typeof start === "number" ? undefined : forked(logs, entityType, range, start)
        return fork === undefined ? Effect.succeed(reader(logs, entityType, range, start)) : Effect.fail(fork)
      }),
    entity: (persistenceId, from, to, limit) =>
      Effect.map(draft, (draft): ReadonlyArray<EncodedEnvelope> => entity(logs, draft, persistenceId, from, to, limit)),
    changes: (entityType) =>
      Effect.map(
        Effect.acquireRelease(
          Effect.sync(() => {
            const latch = Latch.makeUnsafe()
            const set = listeners.get(entityType) ?? new Set()
            listeners.set(entityType, set.add(latch))
            return latch
          }),
          (latch) => Effect.sync(() => listeners.get(entityType)?.delete(latch))
        ),
        (latch) => Effect.andThen(latch.await, latch.close)
      )
  })

  const offsetStore = OffsetStore.of({
    load: (key, range) =>
      Effect.sync(() => {
        const found = new Map<Slice, Offset>()
        const journals: Array<string> = []
        for (const slice of SliceRange.slices(range)) {
          const stored = offsets.get(offsetKey(key, slice))
          if (stored === undefined) continue
          found.set(slice, stored.offset)
          journals.push(stored.journal)
        }
        return { journal: journalOf(journals), offsets: found satisfies Offsets }
      }),
    transact: (key, journal, moves, effect) =>
      transaction(Effect.flatMap(
        Effect.flatMap(pending, (pending) => {
          for (const { from, slice, to } of moves) {
            const name = offsetKey(key, slice)
            const stored = (pending.offsets.get(name) ?? offsets.get(name))?.offset
            if (stored?.position !== from?.position || stored?.timestamp !== from?.timestamp) {
              return Effect.fail(new Fenced({ ...key, slice }))
            }
            pending.offsets.set(name, { journal, offset: to })
          }
          return Effect.void
        }),
        () => Effect.provideService(effect, Transaction, noTables)
      )) as Effect.Effect<any, any, any>
  })

  return Context.make(Journal.Journal, journal).pipe(Context.add(OffsetStore, offsetStore))
})

/**
 * A new, empty journal and offset store, which share their transactions.
 *
 * **Gotchas**
 *
 * A transaction holds the one lock of the storage until it ends.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Journal.Journal | OffsetStore> = Layer.effectContext(make)
