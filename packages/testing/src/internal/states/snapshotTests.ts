import { assert } from "@effect/vitest"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Retention from "@sluice/core/Retention"
import * as SnapshotStore from "@sluice/core/SnapshotStore"
import * as StateType from "@sluice/core/StateType"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { freshNameOf } from "../ids.ts"
import type { It } from "../kit.ts"
import { assertInvalid, impossible, number } from "../kit.ts"

type Type = StateType.StateType<string>

const fresh = (): Type => StateType.make(freshNameOf("snapshot"), { codec: EventCodec.string })

const save = (type: Type, id: string, n: number, options?: { state?: string; retention?: Retention.Retention }) =>
  SnapshotStore.save(type, { id, sequenceNumber: number(n), state: `${id}${n}`, retention: Retention.all, ...options })

const load = (type: Type, id: string, criteria?: SnapshotStore.Criteria) =>
  Effect.map(
    SnapshotStore.load(type, id, criteria),
    (found) =>
      Option.getOrUndefined(Option.map(found, ({ sequenceNumber, state }) => [sequenceNumber as number, state]))
  )

const list = (type: Type, id: string) =>
  SnapshotStore.SnapshotStore.use((store) => store.list(PersistenceId.make(type.name, id)))

const kept = (type: Type, id: string) =>
  Effect.map(list(type, id), (all) => all.map(({ sequenceNumber }) => sequenceNumber as number))

const second = 1_000_000

/** @internal */
export const snapshotTests = (it: It<Journal.Journal | SnapshotStore.SnapshotStore>): void => {
  it.effect("there is none of an entity that has none", () =>
    Effect.gen(function*() {
      assert.isUndefined(yield* load(fresh(), "a"))
      assert.deepStrictEqual(yield* list(fresh(), "a"), [])
    }))

  it.effect("are of one entity each", () =>
    Effect.gen(function*() {
      const type = fresh()
      const other = fresh()
      yield* save(type, "a", 3)
      yield* save(type, "b", 4)
      yield* save(other, "a", 5)
      assert.deepStrictEqual(yield* load(type, "a"), [3, "a3"])
      assert.deepStrictEqual(yield* load(type, "b"), [4, "b4"])
      assert.deepStrictEqual(yield* load(other, "a"), [5, "a5"])
      for (const id of ["A", "a ", " a", "á", "a\u0301"]) assert.isUndefined(yield* load(type, id), `'${id}'`)
    }))

  it.effect("are refused where ids or metadata could not be kept", () =>
    Effect.gen(function*() {
      const type = fresh()
      for (const text of impossible) {
        assertInvalid(yield* Effect.flip(save(type, text, 1)))
        assertInvalid(yield* Effect.flip(load(type, text)))
        assertInvalid(yield* Effect.flip(SnapshotStore.delete(type, text)))
        for (const metadata of [{ [text]: "" }, { a: text }]) {
          assertInvalid(
            yield* Effect.flip(SnapshotStore.save(type, { id: "a", sequenceNumber: number(1), state: "", metadata }))
          )
        }
      }
      // which would be taken for what an entity says of its snapshot
      const own = { id: "a", sequenceNumber: number(1), state: "", metadata: { "sluice.commands": "[]" } }
      assertInvalid(yield* Effect.flip(SnapshotStore.save(type, own)))
      for (const id of ["", "x".repeat(300)]) assertInvalid(yield* Effect.flip(save(type, id, 1)))
      for (const wrong of [-1, 0.5, NaN, 2 ** 53]) {
        assertInvalid(yield* Effect.flip(SnapshotStore.save(type, { id: "a", sequenceNumber: wrong, state: "" })))
        assertInvalid(yield* Effect.flip(load(type, "a", { maxSequenceNumber: wrong })))
        assertInvalid(yield* Effect.flip(SnapshotStore.delete(type, "a", { minSequenceNumber: wrong })))
      }
      assert.deepStrictEqual(yield* list(type, "a"), [])
    }))

  it.effect("come back as they were saved, with their metadata and the time", () =>
    Effect.gen(function*() {
      const type = fresh()
      const now = Journal.Journal.use((journal) => journal.now)
      const before = yield* now
      const metadata = { traceparent: "00-1-2-3", "😀": "\"'\\" }
      const state = "naïve 🙂 \u0000 '\"\\ \r\n"
      yield* SnapshotStore.save(type, { id: "a", sequenceNumber: number(7), state, metadata })
      const { timestamp, ...found } = Option.getOrThrow(yield* SnapshotStore.load(type, "a"))
      const persistenceId = PersistenceId.make(type.name, "a")
      assert.deepStrictEqual(found, { persistenceId, sequenceNumber: number(7), state, metadata })
      assert.isAtLeast(timestamp, before - second)
      assert.isAtMost(timestamp, (yield* now) + second)
    }))

  it.effect("may be large", () =>
    Effect.gen(function*() {
      const type = fresh()
      const state = "🙂".repeat(second)
      yield* save(type, "a", 1, { state })
      assert.strictEqual((yield* load(type, "a"))?.[1], state)
    }))

  it.effect("take the place of one with the same sequence number", () =>
    Effect.gen(function*() {
      const type = fresh()
      yield* save(type, "a", 3)
      yield* save(type, "a", 3, { state: "again" })
      assert.deepStrictEqual(yield* load(type, "a"), [3, "again"])
      assert.deepStrictEqual(yield* kept(type, "a"), [3])
    }))

  it.effect("are found by what is asked for, the newest first", () =>
    Effect.gen(function*() {
      const type = fresh()
      for (const n of [10, 30, 20, 40]) yield* save(type, "a", n)
      assert.deepStrictEqual(yield* kept(type, "a"), [40, 30, 20, 10])
      assert.deepStrictEqual(yield* load(type, "a"), [40, "a40"])
      assert.deepStrictEqual(yield* load(type, "a", { maxSequenceNumber: number(30) }), [30, "a30"])
      assert.deepStrictEqual(yield* load(type, "a", { maxSequenceNumber: number(29) }), [20, "a20"])
      assert.deepStrictEqual(yield* load(type, "a", { minSequenceNumber: number(40) }), [40, "a40"])
      assert.isUndefined(yield* load(type, "a", { minSequenceNumber: number(41) }))
      assert.isUndefined(yield* load(type, "a", { minSequenceNumber: number(21), maxSequenceNumber: number(29) }))
      // 20 was saved after 30, and 40 at last
      const [, , twenty] = yield* list(type, "a")
      const from = yield* load(type, "a", { minTimestamp: twenty!.timestamp, maxSequenceNumber: number(30) })
      assert.include([20, 30], from?.[0])
      const upTo = yield* load(type, "a", { maxTimestamp: twenty!.timestamp, maxSequenceNumber: number(20) })
      assert.deepStrictEqual(upTo, [20, "a20"])
      assert.isUndefined(yield* load(type, "a", { maxTimestamp: Timestamp.make(1) }))
      assert.isUndefined(yield* load(type, "a", { minTimestamp: Timestamp.make(twenty!.timestamp + 3600 * second) }))
    }))

  it.effect("are found for many entities at once, the newest of each", () =>
    Effect.gen(function*() {
      const type = fresh()
      const store = yield* SnapshotStore.SnapshotStore
      const ids = Array.from({ length: 600 }, (_, i) => PersistenceId.make(type.name, `${i}`))
      for (const id of ["1", "2", "599"]) {
        yield* save(type, id, 4)
        yield* save(type, id, 9)
        yield* save(type, id, 7)
      }
      yield* save(type, "3", 2 ** 40)
      const found = [["1", 9], ["2", 9], ["3", 2 ** 40], ["599", 9]] as const
      const newest = yield* store.newest(ids)
      assert.sameDeepMembers([...newest], found.map(([id, n]) => [PersistenceId.make(type.name, id), number(n)]))
      const loaded = yield* store.loadNewest(ids)
      assert.sameDeepMembers(
        loaded.map((
          snapshot
        ) => [snapshot.persistenceId, snapshot.sequenceNumber, EventCodec.string.decodeUnsafe(snapshot.payload)]),
        found.map(([id, n]) => [PersistenceId.make(type.name, id), number(n), `${id}${n}`])
      )
      assert.deepStrictEqual(loaded.map(({ metadata }) => metadata), loaded.map(() => ({})))
      assert.strictEqual((yield* store.newest([])).size, 0)
      assert.deepStrictEqual(yield* store.loadNewest([]), [])
    }))

  it.effect("are deleted as is asked for, and no others", () =>
    Effect.gen(function*() {
      const type = fresh()
      for (const n of [10, 20, 30, 40]) yield* save(type, "a", n)
      yield* save(type, "b", 20)
      yield* SnapshotStore.delete(type, "a", { minSequenceNumber: number(20), maxSequenceNumber: number(30) })
      assert.deepStrictEqual(yield* kept(type, "a"), [40, 10])
      yield* SnapshotStore.delete(type, "a", { maxTimestamp: Timestamp.make(1) })
      assert.deepStrictEqual(yield* kept(type, "a"), [40, 10])
      yield* SnapshotStore.delete(type, "a")
      assert.deepStrictEqual(yield* kept(type, "a"), [])
      assert.deepStrictEqual(yield* kept(type, "b"), [20])
    }))

  it.effect("are kept as the retention says, two by default", () =>
    Effect.gen(function*() {
      const type = fresh()
      for (const n of [1, 2, 3, 4]) {
        yield* SnapshotStore.save(type, { id: "a", sequenceNumber: number(n), state: `${n}` })
        yield* save(type, "b", n, { retention: Retention.latest(3) })
        yield* save(type, "c", n, { retention: (all) => all.map((_) => _.sequenceNumber).filter((_) => _ % 2 === 0) })
      }
      assert.deepStrictEqual(yield* kept(type, "a"), [4, 3])
      assert.deepStrictEqual(yield* kept(type, "b"), [4, 3, 2])
      assert.deepStrictEqual(yield* kept(type, "c"), [3, 1])
    }))

  it.effect("belong to the transaction of the fiber", () =>
    Effect.gen(function*() {
      const type = fresh()
      yield* save(type, "a", 1)
      yield* Effect.ignore(Journal.transaction(Effect.gen(function*() {
        yield* save(type, "a", 2)
        assert.deepStrictEqual(yield* load(type, "a"), [2, "a2"])
        yield* SnapshotStore.delete(type, "a", { maxSequenceNumber: number(1) })
        return yield* Effect.fail("no")
      })))
      assert.deepStrictEqual(yield* kept(type, "a"), [1])
      yield* Journal.transaction(save(type, "a", 3))
      assert.deepStrictEqual(yield* kept(type, "a"), [3, 1])
    }))

  it.effect("that cannot be decoded are refused by name", () =>
    Effect.gen(function*() {
      const type = fresh()
      yield* SnapshotStore.SnapshotStore.use((store) =>
        store.save({
          persistenceId: PersistenceId.make(type.name, "a"),
          sequenceNumber: number(1),
          payload: { manifest: "unheard of", bytes: new Uint8Array([1, 2, 3]) },
          metadata: {}
        })
      )
      const error = yield* Effect.flip(load(type, "a"))
      assert.instanceOf(error, EventCodec.EventDecodeError)
      assert.include(error.message, "unheard of")
    }))
}
