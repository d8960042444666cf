/** What Effect Cluster needs of its storage, on each database. */
import { assert } from "@effect/vitest"
import * as SliceRange from "@sluice/core/SliceRange"
import type { OwnTables } from "@sluice/sql/adapter/OwnTables"
import type { Database } from "@sluice/sql/Database"
import * as Wait from "@sluice/testing/Wait"
import { PersistenceError } from "effect/cluster/ClusterError"
import * as Runner from "effect/cluster/Runner"
import * as RunnerAddress from "effect/cluster/RunnerAddress"
import * as ShardId from "effect/cluster/ShardId"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import * as ClusterDatabase from "../src/internal/ClusterDatabase.ts"
import { RangeLeases } from "../src/internal/RangeLeases.ts"
import * as runnerStorage from "../src/internal/runnerStorage.ts"

const shards = (...ids: ReadonlyArray<number>) => ids.map((id) => ShardId.make("default", id))
const idsOf = (shards: ReadonlyArray<ShardId.ShardId>) => shards.map(({ id }) => id).toSorted((a, b) => a - b)

/** A process, as its storage sees it. */
export const runner = (
  host: string,
  options?: {
    readonly workers?: number
    readonly expiration?: Duration.Input
    /** What goes wrong for its leases. */
    readonly faults?: (cluster: ClusterDatabase.ClusterDatabase) => ClusterDatabase.ClusterDatabase
  }
) =>
  Effect.gen(function*() {
    const address = RunnerAddress.make(host, 1)
    const expiration = Duration.fromInputUnsafe(options?.expiration ?? "1 hour")
    const cluster = yield* ClusterDatabase.make({
      pollEvery: Duration.millis(10),
      takeover: expiration,
      what: "workers"
    })
    const storage = yield* runnerStorage.make({
      cluster,
      workers: options?.workers ?? 8,
      onNothingAssigned: () => {}
    })
    const ranges = yield* RangeLeases.make(options?.faults?.(cluster) ?? cluster, `${host}:1`)
    return {
      lease: (projection: string, min: number, max: number) =>
        ranges.lease({ projection, source: "journal:note" }, SliceRange.make(min, max)),
      acquire: (...ids: ReadonlyArray<number>) => Effect.map(storage.acquire(address, shards(...ids)), idsOf),
      members: Effect.map(
        storage.getRunners,
        (runners) => runners.map(([{ address }, healthy]) => healthy ? address.host : `(${address.host})`).toSorted()
      ),
      refresh: (...ids: ReadonlyArray<number>) => Effect.map(storage.refresh(address, shards(...ids)), idsOf),
      register: storage.register(Runner.make({ address, groups: ["default"], weight: 1 }), true),
      release: (id: number) => storage.release(address, ShardId.make("default", id)),
      releaseAll: storage.releaseAll(address),
      setHealth: (healthy: boolean) => storage.setRunnerHealth(address, healthy),
      unregister: storage.unregister(address)
    }
  })

/** The lease of a range, and how it is given back. */
const held = <A>(lease: Effect.Effect<A, never, Scope.Scope>) =>
  Effect.gen(function*() {
    const scope = yield* Scope.fork(yield* Effect.scope)
    const leased = yield* Scope.provide(lease, scope)
    return { ...leased, end: Scope.close(scope, Exit.void) }
  })

const isDone = (fiber: Fiber.Fiber<unknown, unknown>) => fiber.pollUnsafe() !== undefined

/** Ends for everybody once so many have come. */
const meeting = (missing: number): Effect.Effect<void> => {
  const isComplete = Latch.makeUnsafe()
  return Effect.suspend(() => {
    if (--missing === 0) isComplete.openUnsafe()
    return isComplete.await
  })
}

/** So short that it has run out before anybody looks. */
const short = "1 millis"

const tests: Readonly<Record<string, Effect.Effect<void, unknown, Database | OwnTables | Scope.Scope>>> = {
  "a lease is one process's until it gives it back": Effect.gen(function*() {
    const one = yield* runner("one")
    const two = yield* runner("two")
    assert.deepStrictEqual(yield* one.acquire(1, 2, 3), [1, 2, 3])
    assert.deepStrictEqual(yield* two.acquire(2, 3, 4), [4])
    assert.deepStrictEqual(yield* one.acquire(1, 2, 3), [1, 2, 3])
    assert.deepStrictEqual(yield* two.refresh(2, 3, 4), [4])
    yield* one.release(2)
    assert.deepStrictEqual(yield* two.acquire(2), [2])
    // another's lease is not given back
    yield* one.release(2)
    yield* one.releaseAll
    assert.deepStrictEqual(yield* two.refresh(2, 4), [2, 4])
    assert.deepStrictEqual(yield* two.acquire(1, 3), [1, 3])
  }),

  "each number of workers has leases and members of its own": Effect.gen(function*() {
    const one = yield* runner("one", { workers: 4 })
    const two = yield* runner("two", { workers: 16 })
    yield* one.register
    yield* two.register
    assert.deepStrictEqual(yield* one.acquire(1, 2), [1, 2])
    assert.deepStrictEqual(yield* two.acquire(1, 2), [1, 2])
    yield* one.releaseAll
    assert.deepStrictEqual(yield* two.refresh(1, 2), [1, 2])
    yield* one.unregister
    assert.deepStrictEqual(yield* two.members, ["two"])
  }),

  "a lease that has run out is another's, and its former owner learns of it": Effect.gen(function*() {
    const one = yield* runner("one", { expiration: short })
    const two = yield* runner("two")
    assert.deepStrictEqual(yield* one.acquire(1, 2), [1, 2])
    yield* Wait.until("the lease to run out", Effect.map(two.acquire(1), (taken) => taken.length === 1))
    assert.deepStrictEqual(yield* one.refresh(1, 2), [2])
    yield* one.release(1)
    yield* one.releaseAll
    assert.deepStrictEqual(yield* two.refresh(1), [1])
  }),

  "nobody has a lease for longer than it can be given, as after the clock was set back": Effect.gen(function*() {
    const one = yield* runner("one")
    yield* one.register
    assert.deepStrictEqual(yield* one.acquire(1), [1])
    const two = yield* runner("two", { expiration: short })
    yield* Wait.until("one to be gone", Effect.map(two.members, (members) => members.length === 0))
    assert.deepStrictEqual(yield* two.acquire(1), [1])
    // who lives renews its lease
    yield* one.refresh()
    const three = yield* runner("three")
    assert.deepStrictEqual(yield* three.members, ["one"])
  }),

  "a lease that has run out is renewed while nobody has taken it": Effect.gen(function*() {
    const one = yield* runner("one", { expiration: short })
    assert.deepStrictEqual(yield* one.acquire(1), [1])
    assert.deepStrictEqual(yield* one.refresh(1), [1])
  }),

  "a process that is not heard of is no member, and has no leases": Effect.gen(function*() {
    const one = yield* runner("one", { expiration: short })
    yield* one.register
    const longer = yield* runner("one")
    assert.deepStrictEqual(yield* longer.acquire(1), [1])
    const two = yield* runner("two")
    yield* two.register
    assert.deepStrictEqual(yield* two.members, ["two"])
    assert.deepStrictEqual(yield* two.acquire(1), [1])
    assert.deepStrictEqual(yield* longer.refresh(1), [])
  }),

  "a process that is heard of again is a member again": Effect.gen(function*() {
    yield* Effect.flatMap(runner("one", { expiration: short }), ({ register }) => register)
    const two = yield* runner("two")
    yield* two.register
    assert.deepStrictEqual(yield* two.members, ["two"])
    const one = yield* runner("one")
    yield* one.refresh()
    yield* Wait.until("both", Effect.map(two.members, (members) => members.join() === "one,two"))
  }),

  "the health of a process is told to all": Effect.gen(function*() {
    const one = yield* runner("one")
    const two = yield* runner("two")
    yield* one.register
    yield* two.register
    yield* one.setHealth(false)
    yield* Wait.until("one to be unwell", Effect.map(two.members, (members) => members.join() === "(one),two"))
    yield* one.register
    yield* Wait.until("one to be well", Effect.map(two.members, (members) => members.join() === "one,two"))
  }),

  "what ends leaves nothing behind, also where it was interrupted while it began": Effect.gen(function*() {
    const scope = yield* Scope.make()
    const one = yield* Scope.provide(runner("one"), scope)
    yield* one.register
    assert.deepStrictEqual(yield* one.acquire(1, 2), [1, 2])
    yield* Scope.close(scope, Exit.void)
    const two = yield* runner("two")
    assert.deepStrictEqual(yield* two.members, [])
    assert.deepStrictEqual(yield* two.acquire(1, 2), [1, 2])
  }),

  "slices are one process's until it gives them back, whatever the number of workers": Effect.gen(function*() {
    const one = yield* runner("one")
    const two = yield* runner("two", { workers: 16 })
    yield* one.register
    yield* two.register
    const first = yield* held(one.lease("p", 0, 255))
    // its own workers wait for each other by themselves, and other slices and projections are free
    const [own, next, other] = yield* Effect.all([
      one.lease("p", 0, 63),
      two.lease("p", 256, 511),
      two.lease("q", 0, 9)
    ])
    assert.deepStrictEqual([first.overdue, own.overdue, next.overdue, other.overdue], [[], [], [], []])
    const waiting = yield* Effect.forkChild(held(two.lease("p", 192, 255)), { startImmediately: true })
    const third = yield* held(two.lease("q", 100, 109))
    assert.isFalse(isDone(waiting))
    yield* third.end
    yield* first.end
    const second = yield* Fiber.join(waiting)
    const back = yield* Effect.forkChild(one.lease("p", 128, 192), { startImmediately: true })
    yield* held(one.lease("q", 10, 19))
    assert.isFalse(isDone(back))
    yield* second.end
    yield* Fiber.join(back)
  }),

  "slices that several processes ask for at once are one's at a time": Effect.gen(function*() {
    const runners = yield* Effect.forEach(["one", "two", "three"], (host) => runner(host))
    yield* Effect.forEach(runners, ({ register }) => register)
    let having = 0
    let most = 0
    const has = (by: number) =>
      Effect.sync(() => {
        having += by
        most = Math.max(most, having)
      })
    yield* Effect.forEach(runners, ({ lease }, i) =>
      lease("p", i * 10, 100).pipe(
        Effect.andThen(has(1)),
        Effect.andThen(Effect.sleep("1 millis")),
        Effect.andThen(has(-1)),
        Effect.scoped,
        Effect.repeat({ times: 4 })
      ), { concurrency: "unbounded" })
    assert.strictEqual(most, 1)
  }),

  "slices that two processes have written at once become one's after the database was away": Effect.gen(function*() {
    const [allLooked, allWritten] = [meeting(2), meeting(2)]
    const faults = (cluster: ClusterDatabase.ClusterDatabase): ClusterDatabase.ClusterDatabase => {
      let isFirst = true
      let isAway = false
      return {
        ...cluster,
        insertMissing: (insert) => {
          if (!isFirst) return cluster.insertMissing(insert)
          isFirst = false
          return Effect.andThen(allLooked, cluster.insertMissing(insert)).pipe(
            Effect.andThen(allWritten),
            Effect.andThen(Effect.sync(() => void (isAway = true)))
          )
        },
        run: (query) =>
          Effect.suspend(() => {
            if (!isAway) return cluster.run(query)
            isAway = false
            return Effect.fail(new PersistenceError({ cause: "the database is away" }))
          })
      }
    }
    const runners = yield* Effect.forEach(["one", "two"], (host) => runner(host, { faults }))
    yield* Effect.forEach(runners, ({ register }) => register)
    yield* Effect.forEach(runners, ({ lease }, i) => Effect.scoped(lease("p", 0, 100 + i)), {
      concurrency: "unbounded",
      discard: true
    })
  }),

  "a lease that has ended while its slices were looked for leaves no row, also where the database is away then": Effect
    .gen(function*() {
      const scope = yield* Scope.make()
      let looks = 0
      let isAway = false
      const faults = (cluster: ClusterDatabase.ClusterDatabase): ClusterDatabase.ClusterDatabase => ({
        ...cluster,
        insertMissing: (insert) =>
          Effect.ensuring(cluster.insertMissing(insert), Effect.sync(() => void (isAway = true))),
        run: (query) =>
          Effect.suspend(() => {
            if (!isAway) {
              return Effect.tap(cluster.run(query), () => looks++ === 0 ? Scope.close(scope, Exit.void) : Effect.void)
            }
            isAway = false
            return Effect.fail(new PersistenceError({ cause: "the database is away" }))
          })
      })
      const one = yield* runner("one", { faults })
      const two = yield* runner("two")
      yield* one.register
      const waiting = yield* Effect.forkChild(Scope.provide(one.lease("p", 0, 63), scope), { startImmediately: true })
      yield* Wait.until("the first look", () => looks > 0)
      yield* Fiber.interrupt(waiting)
      yield* two.lease("p", 0, 63)
    }),

  "a database that is away is asked now and then": Effect.gen(function*() {
    let asked = 0
    const faults = (cluster: ClusterDatabase.ClusterDatabase): ClusterDatabase.ClusterDatabase => ({
      ...cluster,
      run: () =>
        Effect.suspend(() => {
          asked++
          return Effect.fail(new PersistenceError({ cause: "the database is away" }))
        })
    })
    const one = yield* runner("one", { faults })
    yield* Effect.timeoutOption(Effect.scoped(one.lease("p", 0, 63)), "1 second")
    assert.isBelow(asked, 10)
  }),

  "slices of a worker that is overdue are free, and who takes them knows what it has in hand": Effect.gen(function*() {
    const one = yield* runner("one")
    const two = yield* runner("two")
    yield* one.register
    const first = yield* held(one.lease("p", 0, 255))
    const waiting = yield* Effect.forkChild(two.lease("p", 0, 63), { startImmediately: true })
    yield* first.giveUp("event 3 of 'note|a'")
    assert.deepStrictEqual((yield* Fiber.join(waiting)).overdue, ["event 3 of 'note|a'"])
    yield* first.end
    yield* Wait.until(
      "it to be forgotten",
      Effect.map(Effect.scoped(two.lease("p", 64, 127)), ({ overdue }) => overdue.length === 0)
    )
  }),

  "slices of a process that is not heard of are free, and what waited for them and is interrupted leaves nothing":
    Effect
      .gen(function*() {
        const scope = yield* Scope.make()
        const one = yield* Scope.provide(runner("one"), scope)
        yield* one.register
        yield* one.lease("p", 0, 255)
        const two = yield* runner("two")
        yield* two.register
        const waiting = yield* Effect.forkChild(Effect.scoped(two.lease("p", 0, 63)), { startImmediately: true })
        yield* held(two.lease("p", 256, 319))
        yield* Fiber.interrupt(waiting)
        yield* one.unregister
        const three = yield* runner("three")
        yield* three.lease("p", 0, 127)
        yield* Scope.close(scope, Exit.void)
        yield* three.lease("p", 128, 255)
      }),

  "one that ends is waited for by who takes its leases": Effect.gen(function*() {
    const one = yield* runner("one")
    const two = yield* runner("two")
    yield* one.acquire(1, 2)
    const taking = yield* Effect.forkChild(two.acquire(1, 2), { startImmediately: true })
    yield* one.unregister
    assert.deepStrictEqual(yield* Fiber.join(taking), [1, 2])
  })
}

/** The tests by what they say. */
export const leases = Object.entries(tests)
