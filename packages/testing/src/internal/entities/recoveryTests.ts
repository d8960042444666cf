import { assert, describe } from "@effect/vitest"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Retention from "@sluice/core/Retention"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as SnapshotStore from "@sluice/core/SnapshotStore"
import * as StateType from "@sluice/core/StateType"
import * as Timestamp from "@sluice/core/Timestamp"
import * as EntityMetrics from "@sluice/entity/EntityMetrics"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as SnapshotPolicy from "@sluice/entity/SnapshotPolicy"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import type { EntityWay } from "../../EntityWay.ts"
import * as Wait from "../../Wait.ts"
import { freshNameOf } from "../ids.ts"
import { type It, newEvent, request } from "../kit.ts"
import { type Account, amountsIn, Deposited, makeAccount, runningIn, State } from "./account.ts"

const numbersOf = (account: Account, id = "a") =>
  SnapshotStore.SnapshotStore.use((store) =>
    Effect.map(
      store.list(request(account.entityType, id, [newEvent("")]).persistenceId),
      (kept) => kept.map(({ sequenceNumber }) => sequenceNumber as number)
    )
  )

const untilSnapshots = (account: Account, expected: ReadonlyArray<number>) =>
  Wait.until(
    `snapshots ${expected.join(", ")}`,
    Effect.map(numbersOf(account), (numbers) => JSON.stringify(numbers) === JSON.stringify(expected))
  )

/** Waits until so many were saved, each with the removal of older ones: the next one is not begun before. */
const untilSaved = (account: Account, expected: number) =>
  Wait.until(
    `${expected} snapshots to be saved`,
    Effect.map(
      Metric.value(
        Metric.withAttributes(EntityMetrics.entitySnapshots, { entity_type: account.name, outcome: "saved" })
      ),
      ({ count }) => count === expected
    )
  )

/** A snapshot that says how the balance came about: it is not that of the events. */
const save = (account: Account, sequenceNumber: number, balance: number, metadata: Record<string, string> = {}) =>
  SnapshotStore.SnapshotStore.use((store) =>
    store.save({
      persistenceId: PersistenceId.make(account.name, "a"),
      sequenceNumber: SequenceNumber.make(sequenceNumber),
      payload: account.stateType.codec.encodeUnsafe({ balance, count: sequenceNumber }),
      metadata
    })
  )

const garbage = (account: Account, sequenceNumber: number) =>
  SnapshotStore.save(StateType.make(account.name, { codec: EventCodec.string }), {
    id: "a",
    sequenceNumber,
    state: "garbage",
    retention: Retention.all
  })

/** @internal */
export const recoveryTests = (it: It<Journal.Journal | SnapshotStore.SnapshotStore>, way: EntityWay): void => {
  const running = runningIn(way)

  /** What an account that is recovered anew says. */
  const balance = (account: Account, id = "a") =>
    Effect.scoped(Effect.flatMap(running(account), (_) => _(id).Balance()))

  const deposit = (account: Account, amounts: ReadonlyArray<number>, id = "a") =>
    Effect.scoped(
      Effect.flatMap(running(account), (accounts) =>
        Effect.forEach(amounts, (amount) => accounts(id).Deposit({ amount }), { discard: true }))
    )

  const failsToRecover = (account: Account, text: string) =>
    Effect.map(Effect.flip(balance(account)), (error) => {
      assert.deepInclude(error, { _tag: "RecoveryFailed", id: "a", isUnknown: false, isRetryable: false })
      assert.include(error.message, text)
    })

  describe("a recovery", () => {
    it.effect("computes the state from all events, over several pages", () =>
      Effect.gen(function*() {
        const account = makeAccount()
        const events = Array.from({ length: 700 }, () => new Deposited({ amount: 1 }))
        yield* Journal.append(account.entityType, { id: "a", events })
        yield* Journal.append(account.entityType, { id: "a", events })
        assert.strictEqual(yield* balance(account), 1_400)
        yield* deposit(account, [1])
        assert.strictEqual((yield* amountsIn(account, "a")).length, 1_401)
      }))

    it.effect("reads no more events than it may, says how many it has read, and is done again once a snapshot includes them", () =>
      Effect.gen(function*() {
        const name = freshNameOf("account")
        const account = makeAccount({ name, snapshots: SnapshotPolicy.every(10_000) })
        const events = Array.from({ length: 600 }, () => new Deposited({ amount: 1 }))
        yield* Journal.append(account.entityType, { id: "a", events })
        const limited = (recoverAtMost: number) =>
          makeAccount({ name, snapshots: SnapshotPolicy.every(10_000), recoverAtMost })
        for (const atMost of [0, 3, 500, 501, 599]) {
          const error = yield* Effect.flip(balance(limited(atMost)))
          assert.deepInclude(error, { _tag: "RecoveryFailed", id: "a", events: atMost + 1, isRetryable: false })
          assert.include(
            error.message,
            `it takes more than ${atMost} events: save snapshots, or raise \`recoverAtMost\``
          )
        }
        assert.strictEqual(yield* balance(limited(600)), 600)
        assert.strictEqual(yield* balance(limited(0), "b"), 0)
        yield* save(account, 597, 597)
        assert.strictEqual(yield* balance(limited(3)), 600)
        assert.deepInclude(yield* Effect.flip(balance(limited(2))), { _tag: "RecoveryFailed", events: 3 })
        for (const recoverAtMost of [-1, 0.5, NaN]) assert.throws(() => makeAccount({ recoverAtMost }), RangeError)
      }))

    it.effect("counts those after a snapshot alone, also where it looks for one only as events are missing", () =>
      Effect.gen(function*() {
        const name = freshNameOf("account")
        const account = makeAccount({ name, recoverAtMost: 100 })
        const append = (count: number) =>
          Journal.append(account.entityType, {
            id: "a",
            events: Array.from({ length: count }, () => new Deposited({ amount: 1 }))
          })
        yield* append(200)
        yield* save(account, 200, 200)
        yield* Journal.deleteEvents(account.entityType, "a")
        yield* append(60)
        assert.strictEqual(yield* balance(account), 260)
        yield* append(40)
        assert.strictEqual(yield* balance(account), 300)
        yield* append(1)
        yield* failsToRecover(account, "it takes more than 100 events")
      }))

    it.effect("begins at the newest snapshot", () =>
      Effect.gen(function*() {
        const account = makeAccount({ snapshots: SnapshotPolicy.every(1_000) })
        yield* deposit(account, [1, 1, 1])
        yield* save(account, 1, 100)
        yield* save(account, 2, 1_000)
        assert.strictEqual(yield* balance(account), 1_001)
      }))

    it.effect("begins at an older snapshot where a newer one cannot be read, and at the first event where none can", () =>
      Effect.gen(function*() {
        const account = makeAccount({ snapshots: SnapshotPolicy.every(1_000) })
        yield* deposit(account, [1, 1, 1])
        yield* save(account, 1, 100)
        yield* garbage(account, 2)
        yield* save(account, 3, 10_000, { "sluice.commands": "garbage" })
        assert.strictEqual(yield* balance(account), 102)
        yield* garbage(account, 1)
        assert.strictEqual(yield* balance(account), 3)
      }))

    it.effect("passes over a snapshot that is newer than the journal, or of other events, and replaces it", () =>
      Effect.gen(function*() {
        const account = makeAccount({ snapshots: SnapshotPolicy.every(4) })
        yield* deposit(account, [1, 1, 1])
        // as left behind where a backup of the journal was restored
        yield* save(account, 9, 9_000)
        yield* save(account, 7, 7_000)
        yield* save(account, 2, 2_000, { "sluice.event": "1" })
        assert.strictEqual(yield* balance(account), 3)
        yield* deposit(account, [1])
        yield* untilSnapshots(account, [4])
        assert.strictEqual(yield* balance(account), 4)
        yield* deposit(account, [1, 1, 1, 1, 1, 1])
        assert.strictEqual(yield* balance(account), 10)
      }))

    it.effect("reads snapshots of an older schema", () =>
      Effect.gen(function*() {
        const name = freshNameOf("account")
        const Old = Schema.Struct({ total: Schema.Int })
        const versions = {
          [name]: [Old.pipe(Schema.decodeTo(
            Schema.toType(State),
            SchemaTransformation.transform({
              decode: ({ total }) => ({ balance: total, count: -1 }),
              encode: ({ balance }) => ({ total: balance })
            })
          ))]
        }
        const account = makeAccount({
          name,
          state: EventCodec.json(State, { name, versions }),
          snapshots: SnapshotPolicy.every(2)
        })
        yield* deposit(account, [1])
        yield* SnapshotStore.save(StateType.make(name, { state: Old }), {
          id: "a",
          sequenceNumber: 1,
          state: { total: 500 }
        })
        assert.strictEqual(yield* balance(account), 500)
        yield* deposit(account, [1, 1])
        yield* untilSnapshots(account, [3, 1])
        assert.strictEqual(yield* balance(account), 502)
      }))

    it.effect("needs no event that a snapshot includes, and says which one is missing otherwise", () =>
      Effect.gen(function*() {
        const account = makeAccount({ snapshots: SnapshotPolicy.every(1_000) })
        yield* deposit(account, [1, 2, 3, 4])
        yield* Journal.deleteEvents(account.entityType, "a", { to: 2 })
        yield* failsToRecover(account, "event 1 was deleted")
        yield* save(account, 1, 1)
        yield* failsToRecover(account, "event 2 was deleted")
        yield* save(account, 2, 3)
        assert.strictEqual(yield* balance(account), 10)
        yield* Journal.deleteEvents(account.entityType, "a")
        yield* save(account, 4, 10)
        assert.strictEqual(yield* balance(account), 10)
        yield* deposit(account, [5])
        assert.strictEqual(yield* balance(account), 15)
        // also where no snapshots are saved any more
        const without = makeAccount({ name: account.name })
        assert.strictEqual(yield* balance(without), 15)
      }))

    it.effect("needs no event that was removed from the journal, where a snapshot includes it", () =>
      Effect.gen(function*() {
        const account = makeAccount({ snapshots: SnapshotPolicy.every(1_000) })
        yield* deposit(account, [1, 2, 3, 4])
        yield* Journal.prune(account.entityType, { before: Timestamp.make(Number.MAX_SAFE_INTEGER) })
        yield* failsToRecover(account, "event 1 was removed")
        yield* save(account, 2, 3)
        yield* failsToRecover(account, "event 3 was removed")
        yield* save(account, 3, 6)
        assert.strictEqual(yield* balance(account), 10)
      }))

    it.effect("needs no event that its own pruning has removed", () =>
      Effect.gen(function*() {
        const account = makeAccount({ snapshots: SnapshotPolicy.every(1_000) })
        yield* deposit(account, [1, 2, 3, 4])
        const pruned = EventSourced.prune(account, { before: Timestamp.make(Number.MAX_SAFE_INTEGER) })
        assert.strictEqual(yield* pruned, 0)
        yield* save(account, 3, 6)
        // the event of the snapshot stays as well
        assert.strictEqual(yield* pruned, 2)
        assert.strictEqual(yield* balance(account), 10)
      }))

    it.effect("takes no snapshot of other events for its own, also after its pruning", () =>
      Effect.gen(function*() {
        const account = makeAccount({ snapshots: SnapshotPolicy.every(1_000) })
        yield* deposit(account, [1, 2, 3, 4])
        // as left behind where a backup of the journal was restored, and the entity has written since
        yield* save(account, 3, 3_000, { "sluice.event": "1" })
        assert.strictEqual(yield* balance(account), 10)
        yield* EventSourced.prune(account, { before: Timestamp.make(Number.MAX_SAFE_INTEGER) })
        yield* failsToRecover(account, "event 1 was removed")
      }))

    it.effect("fails where an event cannot be read, or the state after it not be computed, and others go on", () =>
      Effect.gen(function*() {
        const account = makeAccount()
        const journal = yield* Journal.Journal
        yield* deposit(account, [1])
        yield* journal.append(request(account.entityType, "a", [newEvent("no account")]))
        yield* failsToRecover(account, "event 2, manifest 'ser.akka.io/20', cannot be decoded")
        const other = makeAccount()
        yield* Journal.append(other.entityType, { id: "a", events: [new Deposited({ amount: 666 })] })
        yield* failsToRecover(other, "`evolve` throws at event 1, manifest 'json.sluice/Deposited': 666")
        yield* deposit(other, [1], "b")
        assert.strictEqual(yield* balance(other, "b"), 1)
      }))

    it.effect("of which the journal answers nothing says that this is not available", () =>
      Effect.gen(function*() {
        const account = makeAccount({ recoverWithin: "50 millis" })
        const error = yield* Effect.flip(balance(account)).pipe(
          Effect.provideServiceEffect(
            Journal.Journal,
            Journal.Journal.useSync((journal) => ({ ...journal, entity: () => Effect.never }))
          )
        )
        assert.deepInclude(error, { _tag: "JournalUnavailable", isUnknown: false })
        assert.include(error.message, "has not answered within 50ms")
      }))
  })

  describe("snapshots", () => {
    it.effect("are saved by the policy, and kept by the retention", () =>
      Effect.gen(function*() {
        const account = makeAccount({ snapshots: SnapshotPolicy.every(3, { retention: Retention.latest(2) }) })
        const accounts = yield* running(account)
        for (const last of [3, 6, 9]) {
          for (let i = 0; i < 3; i++) yield* accounts("a").Deposit({ amount: 1 })
          yield* untilSaved(account, last / 3)
          assert.deepStrictEqual(yield* numbersOf(account), last === 3 ? [3] : [last, last - 3])
        }
        const found = yield* SnapshotStore.load(account.stateType, "a")
        assert.deepStrictEqual(Option.getOrThrow(found).state, { balance: 9, count: 9 })
        assert.strictEqual(yield* balance(account), 9)
      }))

    it.effect("are saved where a predicate says so, once for several events of a command", () =>
      Effect.gen(function*() {
        const account = makeAccount({ snapshots: SnapshotPolicy.when(({ state }) => state.count === 4) })
        const accounts = yield* running(account)
        for (let i = 0; i < 3; i++) yield* accounts("a").Exchange({ amount: 1 })
        yield* untilSnapshots(account, [4])
      }))

    it.effect("of other events are removed later where that fails, and take the place of none until then", () =>
      Effect.gen(function*() {
        const account = makeAccount({ snapshots: SnapshotPolicy.every(2, { retention: Retention.latest(1) }) })
        // as left behind where a backup of the journal was restored
        yield* save(account, 100, 9_000)
        let failures = 1
        const accounts = yield* running(account).pipe(
          Effect.provideServiceEffect(
            SnapshotStore.SnapshotStore,
            SnapshotStore.SnapshotStore.useSync((store) => ({
              ...store,
              delete: (...args) => Effect.suspend(() => failures-- > 0 ? Effect.die("away") : store.delete(...args))
            }))
          )
        )
        const twice = Effect.repeat(accounts("a").Deposit({ amount: 1 }), { times: 1 })
        yield* twice
        yield* Wait.until("a removal that fails", Effect.sync(() => failures === 0))
        assert.deepStrictEqual(yield* numbersOf(account), [100])
        // one of them is begun once the one before has ended
        yield* Wait.until(
          "a snapshot in its place",
          Effect.andThen(twice, Effect.map(numbersOf(account), ([number = 100]) => number < 100))
        )
      }))

    it.effect("that cannot be saved are of no consequence, and nobody waits for them", () =>
      Effect.gen(function*() {
        const account = makeAccount({
          snapshots: SnapshotPolicy.when(({ state }) => {
            if (state.count > 2) throw new Error("thrown")
            return true
          })
        })
        const accounts = yield* running(account).pipe(
          Effect.provideServiceEffect(
            SnapshotStore.SnapshotStore,
            SnapshotStore.SnapshotStore.useSync((store) => ({ ...store, save: () => Effect.die("broken") }))
          )
        )
        for (let i = 1; i <= 4; i++) assert.strictEqual(yield* accounts("a").Deposit({ amount: 1 }), i)
      }))
  })
}
