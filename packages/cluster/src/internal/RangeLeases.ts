import type { OffsetKey } from "@sluice/core/OffsetStore"
import type { RangeLease } from "@sluice/core/Placement"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Arr from "effect/Array"
import type { PersistenceError } from "effect/cluster/ClusterError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import type { ClusterDatabase } from "./ClusterDatabase.ts"

/** How often leases are asked for that others have, in milliseconds. */
const askEvery = 50
/** The same where the database does not answer. */
const retryEvery = 500

/** So many leases are written with a statement. */
const chunk = 200

/** The lease of a worker's slices, as far as it has come. */
interface Lease {
  readonly id: number
  readonly key: OffsetKey
  readonly range: SliceRange.SliceRange
  readonly granted: Deferred.Deferred<ReadonlyArray<string>>
  /** Whether there may be a row of it. */
  isWritten: boolean
}

/** A lease of another process. */
interface Other extends OffsetKey {
  readonly range: SliceRange.SliceRange
  readonly overdue: string | null
}

const meets = ({ key, range }: Lease) => (other: Other): boolean =>
  other.projection === key.projection && other.source === key.source && SliceRange.overlaps(other.range, range)

/**
 * @internal
 * Which slices the workers of this process have, of each projection and source, in rows that count while the process is alive. A row is written first, and then
 * it is looked whether another process has one that overlaps: of two processes at least one sees the other's, and gives way.
 */
export class RangeLeases {
  readonly #cluster: ClusterDatabase
  readonly #address: string
  readonly #wanted = new Set<Lease>()
  /** Those that are not needed any more. */
  readonly #ended = new Set<Lease>()
  readonly #overdue = new Map<Lease, string>()
  readonly #changed = Latch.makeUnsafe()
  #ids = 0

  private constructor(cluster: ClusterDatabase, address: string) {
    this.#cluster = cluster
    this.#address = address
  }

  static readonly make = Effect.fnUntraced(
    function*(cluster: ClusterDatabase, address: string): Effect.fn.Return<RangeLeases, never, Scope.Scope> {
      const leases = new RangeLeases(cluster, address)
      yield* Effect.addFinalizer(() =>
        cluster.leaving(cluster.run(cluster.db.deleteFrom("sluice_range_lease").where("address", "=", address)))
      )
      yield* Effect.forkScoped(leases.#follow)
      return leases
    }
  )

  /** Ends once no other process has any of the slices, and has them until the scope closes. */
  lease(key: OffsetKey, range: SliceRange.SliceRange): Effect.Effect<RangeLease, never, Scope.Scope> {
    return Effect.acquireRelease(Effect.sync(() => this.#want(key, range)), (lease) => this.#end(lease)).pipe(
      Effect.flatMap((lease) =>
        Effect.map(Deferred.await(lease.granted), (overdue) => ({
          overdue,
          giveUp: (inHand: string) =>
            Effect.sync(() => {
              this.#overdue.set(lease, inHand)
              this.#changed.openUnsafe()
            })
        }))
      )
    )
  }

  #want(key: OffsetKey, range: SliceRange.SliceRange): Lease {
    const lease: Lease = { id: ++this.#ids, key, range, granted: Deferred.makeUnsafe(), isWritten: false }
    this.#wanted.add(lease)
    this.#changed.openUnsafe()
    return lease
  }

  #end(lease: Lease): Effect.Effect<void> {
    return Effect.sync(() => {
      this.#wanted.delete(lease)
      this.#overdue.delete(lease)
      if (!lease.isWritten) return
      this.#ended.add(lease)
      this.#changed.openUnsafe()
    })
  }

  readonly #follow: Effect.Effect<never> = Effect.gen({ self: this }, function*() {
    yield* this.#changed.await
    this.#changed.closeUnsafe()
    const exit = yield* Effect.exit(this.#round)
    // two that give way to each other ask again at different moments
    const part = yield* Random.nextBetween(0.5, 1.5)
    if (Exit.isFailure(exit)) yield* Effect.sleep(retryEvery * part)
    else if (this.#wanted.size > 0) yield* Effect.timeoutOption(this.#changed.await, askEvery * part)
    else return
    this.#changed.openUnsafe()
  }).pipe(Effect.forever)

  readonly #round: Effect.Effect<void, PersistenceError> = Effect.gen({ self: this }, function*() {
    const wanted = [...this.#wanted]
    // what a round that failed has left would keep others waiting, that keep this process waiting in the same way
    yield* this.#forget([...this.#ended, ...wanted.filter(({ isWritten }) => isWritten)])
    yield* this.#tellOverdue()
    if (wanted.length === 0) return
    const before = yield* this.#others(wanted)
    const free = wanted.filter((lease) => !before.some((other) => other.overdue === null && meets(lease)(other)))
    if (free.length === 0) return
    yield* this.#write(free)
    const now = yield* this.#others(free)
    const refused: Array<Lease> = []
    for (const lease of free) {
      const met = now.filter(meets(lease))
      // it may have ended meanwhile
      if (met.some(({ overdue }) => overdue === null) || !this.#wanted.delete(lease)) refused.push(lease)
      else Deferred.doneUnsafe(lease.granted, Exit.succeed(met.map(({ overdue }) => overdue!)))
    }
    yield* this.#forget(refused)
  })

  /** The leases of other processes that are alive. */
  readonly #others = Effect.fnUntraced({ self: this }, function*(
    this: RangeLeases,
    leases: ReadonlyArray<Lease>
  ): Effect.fn.Return<ReadonlyArray<Other>, PersistenceError> {
    const { db, now, run } = this.#cluster
    const names = [...new Set(leases.map(({ key }) => key.projection))]
    const found: Array<Other> = []
    for (const projections of Arr.chunksOf(names, chunk)) {
      const rows = yield* run(
        db.selectFrom("sluice_range_lease").selectAll()
          .where("projection", "in", projections)
          .where("address", "!=", this.#address)
          .where(
            "address",
            "in",
            db.selectFrom("sluice_runner").select("address").where("expires_at", ">", yield* now)
          )
      )
      for (const { overdue, projection, slice_max, slice_min, source } of rows) {
        const range = SliceRange.make(slice_min, slice_max)
        found.push({ projection: textOf(projection), source: textOf(source), range, overdue })
      }
    }
    return found
  })

  readonly #write = Effect.fnUntraced({ self: this }, function*(
    this: RangeLeases,
    leases: ReadonlyArray<Lease>
  ): Effect.fn.Return<void, PersistenceError> {
    const { db, insertMissing } = this.#cluster
    for (const asked of Arr.chunksOf(leases, chunk)) {
      // one that has ended while it was looked is not told to be forgotten
      const some = asked.filter((lease) => this.#wanted.has(lease))
      if (some.length === 0) continue
      for (const lease of some) lease.isWritten = true
      yield* insertMissing(
        db.insertInto("sluice_range_lease").values(some.map(({ id, key, range }) => ({
          address: this.#address,
          id,
          projection: key.projection,
          source: key.source,
          slice_min: range.min,
          slice_max: range.max
        })))
      )
    }
  })

  readonly #forget = Effect.fnUntraced({ self: this }, function*(
    this: RangeLeases,
    leases: ReadonlyArray<Lease>
  ): Effect.fn.Return<void, PersistenceError> {
    const { db, run } = this.#cluster
    for (const some of Arr.chunksOf(leases, chunk)) {
      yield* run(
        db.deleteFrom("sluice_range_lease").where("address", "=", this.#address)
          .where("id", "in", some.map(({ id }) => id))
      )
      for (const lease of some) {
        lease.isWritten = false
        this.#ended.delete(lease)
      }
    }
  })

  #tellOverdue(): Effect.Effect<void, PersistenceError> {
    const { db, run } = this.#cluster
    return Effect.forEach(
      [...this.#overdue],
      ([lease, overdue]) =>
        Effect.andThen(
          run(
            db.updateTable("sluice_range_lease").set({ overdue })
              .where("address", "=", this.#address).where("id", "=", lease.id)
          ),
          Effect.sync(() => this.#overdue.delete(lease))
        ),
      { discard: true }
    )
  }
}

/** Names are bytes in MySQL. */
const textOf = (name: string | Uint8Array): string => typeof name === "string" ? name : new TextDecoder().decode(name)
