import { assert, describe } from "@effect/vitest"
import * as DurableStateStore from "@sluice/core/DurableStateStore"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as LogsIdentity from "@sluice/core/LogsIdentity"
import * as Offset from "@sluice/core/Offset"
import { type OffsetKey, OffsetStore } from "@sluice/core/OffsetStore"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Receipt from "@sluice/core/Receipt"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Source from "@sluice/core/Source"
import * as StateType from "@sluice/core/StateType"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { freshNameOf } from "../ids.ts"
import type { It } from "../kit.ts"
import { append, fresh, texts, transactAs } from "../kit.ts"
import { appendUndecodable, freshName, stopped, whileRunning } from "./projectionKit.ts"

/** What never ends on a busy machine, and what ends at once. */
const long = { timeout: "2 minutes" } as const
const short = { timeout: "50 millis" } as const

const letter = ({ persistenceId }: Receipt.Receipt, sequenceNumber: number) => ({
  persistenceId,
  sequenceNumber: SequenceNumber.make(sequenceNumber)
})

const nothingElse = { leftOut: [], deadLetters: [] }

/** Registers a projection as its first start does, without running it. */
const register = (key: OffsetKey) =>
  ProjectionManagement.ProjectionManagement.use((management) => management.register(key))

const offsetOf = ({ position, timestamp }: Receipt.Receipt) => Offset.make(position, timestamp)

const changed = (receipt: Receipt.Receipt, change: Partial<Receipt.Receipt>): Receipt.Receipt =>
  Object.assign({}, receipt, change)

/** @internal */
export const receiptTests = (
  it: It<Journal.Journal | Projection.Stores | DurableStateStore.DurableStateStore>
): void => {
  describe("a receipt", () => {
    for (const deliver of ["exactly once", "at least once"] as const) {
      it.effect(`is reached once the handler has its event, ${deliver}, from append to append`, () =>
        Effect.gen(function*() {
          const type = fresh("receipt")
          const name = freshName()
          const seen = new Set<string>()
          const handle = ({ event }: { readonly event: string }) => Effect.sync(() => void seen.add(event))
          const projection = Source.journal(type).pipe(
            deliver === "exactly once"
              ? Projection.exactlyOnce(name, handle)
              : Projection.atLeastOnce(name, handle, { saveWithin: "10 millis" }),
            Projection.workers(3)
          )
          yield* Effect.gen(function*() {
            for (let i = 0; i < 10; i++) {
              const receipt = yield* append(type, `${i % 4}`, texts(2, `${i}-`))
              assert.deepStrictEqual(yield* ProjectionStatus.reached(name, receipt, long), nothingElse)
              assert.isTrue(seen.has(`${i}-2`))
            }
          }).pipe(whileRunning(projection))
        }))
    }

    it.effect("of each entity, appended in one transaction, is waited for with those of the others", () =>
      Effect.gen(function*() {
        const type = fresh("receipt")
        const name = freshName()
        const seen: Array<string> = []
        const projection = Source.journal(type).pipe(
          Projection.exactlyOnce(name, ({ event }) => Effect.sync(() => void seen.push(event)))
        )
        const receipts = yield* Journal.transaction(
          Effect.forEach(["a", "b", "c", "d", "e"], (id) => append(type, id, [`of ${id}`]))
        )
        yield* ProjectionStatus.reached(projection, receipts, long).pipe(whileRunning(projection))
        assert.sameMembers(seen, ["of a", "of b", "of c", "of d", "of e"])
      }))

    it.effect("of a state is reached with that change or a later one", () =>
      Effect.gen(function*() {
        const type = StateType.make(freshNameOf("state"), { codec: EventCodec.string })
        const name = freshName()
        const seen: Array<string> = []
        const projection = Source.durableState(type).pipe(
          Projection.exactlyOnce(name, ({ event }) =>
            Effect.sync(() => void seen.push(Option.getOrElse(event, () => "none"))))
        )
        assert.isTrue(Option.isNone(yield* DurableStateStore.receipt(type, "a")))
        const first = yield* DurableStateStore.upsert(type, { id: "a", expected: 0, state: "one" })
        const receipt = Option.getOrThrow(yield* DurableStateStore.receipt(type, "a"))
        assert.deepInclude(receipt, { log: "states", sequenceNumber: SequenceNumber.make(1), count: 1 })
        yield* DurableStateStore.upsert(type, { id: "a", expected: first, state: "two" })
        const second = Option.getOrThrow(yield* DurableStateStore.receipt(type, "a"))
        yield* ProjectionStatus.reached(name, [receipt, second], long).pipe(whileRunning(projection))
        assert.strictEqual(seen.at(-1), "two")
      }))

    it.effect("is reached where stages drop its event, and when it has gone through a text", () =>
      Effect.gen(function*() {
        const type = fresh("receipt")
        const name = freshName()
        const projection = Source.journal(type).pipe(
          Source.filter(() => false),
          Projection.exactlyOnce(name, () => Effect.void)
        )
        const text = Schema.encodeSync(Receipt.Receipt)(yield* append(type, "a", texts(3)))
        const receipt = yield* Schema.decodeEffect(Receipt.Receipt)(text)
        assert.deepStrictEqual(
          yield* ProjectionStatus.reached(name, receipt, long).pipe(whileRunning(projection)),
          nothingElse
        )
      }))

    it.effect("is reached, with a word on its events that were put aside", () =>
      Effect.gen(function*() {
        const type = fresh("receipt")
        const name = freshName()
        const projection = Source.journal(type).pipe(
          Projection.exactlyOnce(name, ({ event }) => event.startsWith("bad") ? Effect.fail("broken") : Effect.void),
          Projection.recovery(RecoveryStrategy.deadLetter)
        )
        yield* Effect.gen(function*() {
          yield* append(type, "a", ["bad"])
          const receipt = yield* append(type, "a", ["good", "bad", "good"])
          const other = yield* append(type, "b", ["bad"])
          const after = yield* append(type, "a", ["good"])
          const fine = yield* append(type, "c", ["good"])
          // those of its entity wait behind the first
          assert.deepStrictEqual(yield* ProjectionStatus.reached(name, [receipt, other, after, fine], long), {
            leftOut: [],
            deadLetters: [2, 3, 4].map((n) => letter(receipt, n)).concat(letter(other, 1), letter(after, 5))
          })
        }).pipe(whileRunning(projection))
      }))

    it.effect("is not reached in time where nobody runs the projection, and the error says where it stands", () =>
      Effect.gen(function*() {
        const type = fresh("receipt")
        const name = freshName()
        const projection = Source.journal(type).pipe(Projection.exactlyOnce(name, () => Effect.void))
        const first = yield* append(type, "a", texts(2))
        yield* ProjectionStatus.reached(name, first, long).pipe(whileRunning(projection))
        const second = yield* append(type, "a", texts(3))
        const error = yield* Effect.flip(ProjectionStatus.reached(name, [first, second], short)).pipe(
          // a busy storage may not have answered in that time
          Effect.repeat({ until: (error) => error._tag !== "NotReached" || error.at !== undefined })
        )
        assert.instanceOf(error, ProjectionStatus.NotReached)
        const { persistenceId, position, slice } = second
        assert.deepInclude(error, {
          projection: name,
          persistenceId,
          sequenceNumber: 5,
          slice,
          position,
          at: 2,
          waited: 50
        })
        assert.match(error.message, /has not handled event 5 of .* within 50 ms: it is at position 2 of slice/)
        // it has been handled, whoever runs it now
        assert.deepStrictEqual(yield* ProjectionStatus.reached(projection, first, short), nothingElse)
      }))

    it.effect("is refused at once where nothing is to be waited for", () =>
      Effect.gen(function*() {
        const type = fresh("receipt")
        const other = fresh("receipt")
        const name = freshName()
        const projection = Source.journal(type).pipe(Projection.exactlyOnce(name, () => Effect.void))
        const receipt = yield* append(type, "a", texts(1))
        const wait = (receipt: Receipt.Receipt) => Effect.flip(ProjectionStatus.reached(name, receipt, long))
        const noReceipts = ProjectionStatus.reached(name, [], short)
        assert.instanceOf(yield* wait(receipt), ProjectionManagement.UnknownProjection)
        assert.instanceOf(yield* Effect.flip(noReceipts), ProjectionManagement.UnknownProjection)
        yield* register(Projection.offsetKey(projection))
        assert.instanceOf(yield* wait(yield* append(other, "a", texts(1))), ProjectionStatus.ReceiptNotRead)
        assert.instanceOf(yield* wait(changed(receipt, { log: "states" })), ProjectionStatus.ReceiptNotRead)
        const source = "journal:elsewhere"
        assert.deepInclude(
          yield* Effect.flip(ProjectionStatus.reached({ projection: name, source }, receipt, long)),
          { _tag: "UnknownProjection", source }
        )
        assert.deepInclude(
          yield* Effect.flip(ProjectionStatus.reached({ projection: name, source }, [], short)),
          { _tag: "UnknownProjection", source }
        )
        assert.deepStrictEqual(yield* noReceipts, nothingElse)
        yield* ProjectionManagement.pause(name)
        assert.instanceOf(yield* wait(receipt), ProjectionStatus.ProjectionPaused)
        yield* ProjectionManagement.resume(name)
        yield* ProjectionStatus.reached(name, receipt, long).pipe(whileRunning(projection))
        yield* ProjectionManagement.pause(name)
        // it was handled before
        yield* ProjectionStatus.reached(name, receipt, long)
        const replaced = yield* wait(changed(receipt, { journal: "another" }))
        assert.instanceOf(replaced, ProjectionStatus.ReceiptOfOtherJournal)
        assert.match(replaced.message, /is of journal another, and projection .* has read 'journal:/)
        // nothing was read of its slice
        const persistenceId = PersistenceId.make(type.name, "b")
        const slice = Slice.ofPersistenceId(persistenceId)
        const unread = yield* wait(changed(receipt, { persistenceId, slice, journal: "another" }))
        assert.instanceOf(unread, ProjectionStatus.ReceiptOfOtherJournal)
        assert.deepInclude(unread, { journal: "another", read: receipt.journal })
        const forked = yield* wait(changed(receipt, { timestamp: Timestamp.make(receipt.timestamp + 1) }))
        assert.instanceOf(forked, ProjectionStatus.ReceiptOfOtherJournal)
        assert.match(forked.message, /another history/)
      }))

    it.effect("is not waited for while a worker of this process has stopped, and is once that is resumed", () =>
      Effect.gen(function*() {
        const type = fresh("receipt")
        const name = freshName()
        let isBroken = true
        const projection = Source.journal(type).pipe(
          Projection.exactlyOnce(name, () => isBroken ? Effect.fail("broken") : Effect.void),
          Projection.recovery(RecoveryStrategy.fail)
        )
        yield* Effect.gen(function*() {
          const receipt = yield* append(type, "a", texts(2))
          const error = yield* Effect.flip(ProjectionStatus.reached(name, receipt, long))
          assert.instanceOf(error, ProjectionStatus.WorkerStopped)
          assert.strictEqual(error.event?.sequenceNumber, 1)
          yield* stopped(name)
          isBroken = false
          yield* ProjectionManagement.resume(name)
          yield* ProjectionStatus.reached(name, receipt, long)
        }).pipe(whileRunning(projection))
      }))

    it.effect("of an event that cannot be decoded is not waited for in vain", () =>
      Effect.gen(function*() {
        const type = fresh("receipt")
        const name = freshName()
        const projection = Source.journal(type).pipe(
          Projection.exactlyOnce(name, () => Effect.void),
          Projection.recovery(RecoveryStrategy.deadLetter)
        )
        const receipt = yield* appendUndecodable(type, "a")
        const { deadLetters } = yield* ProjectionStatus.reached(name, receipt, long).pipe(whileRunning(projection))
        assert.strictEqual(deadLetters.length, 1)
      }))

    it.effect("of an entity that a source leaves out is judged by the entity's number, and is passed with the offset", () =>
      Effect.gen(function*() {
        const type = fresh("receipt")
        const name = freshName()
        // a stream, of which only the journal is known
        const key = { projection: name, source: "stream:receipts" }
        const receipts = yield* Effect.forEach(texts(6), (event) => append(type, "a", [event]))
        const [first, second, third, fourth, fifth] = receipts as [
          Receipt.Receipt,
          Receipt.Receipt,
          Receipt.Receipt,
          Receipt.Receipt,
          Receipt.Receipt
        ]
        const { journal, persistenceId, slice } = first
        const move = (from: Receipt.Receipt | undefined, to: Receipt.Receipt, last?: number) =>
          transactAs(
            key,
            journal,
            [{
              slice,
              from: from && offsetOf(from),
              to: offsetOf(to),
              entities: last === undefined
                ? undefined
                : new Map(
                  last === 0 ? [] : [[persistenceId, {
                    first: SequenceNumber.make(last),
                    last: SequenceNumber.make(last)
                  }]]
                )
            }],
            Effect.void
          )
        const leftOut = (receipt: Receipt.Receipt) =>
          Effect.map(ProjectionStatus.reached(name, receipt, long), ({ leftOut }) => leftOut.length === 1)
        yield* move(undefined, first)
        yield* move(first, third, 0)
        assert.isFalse(yield* leftOut(first), "read before anything was left out")
        assert.isTrue(yield* leftOut(second))
        assert.isTrue(yield* leftOut(third))
        assert.instanceOf(
          yield* Effect.flip(ProjectionStatus.reached(name, fourth, short)),
          ProjectionStatus.NotReached
        )
        // a replay has brought what is ahead in the log
        yield* move(third, third, 4)
        assert.isFalse(yield* leftOut(second))
        assert.isFalse(yield* leftOut(fourth))
        assert.instanceOf(
          yield* Effect.flip(ProjectionStatus.reached(name, fifth, short)),
          ProjectionStatus.NotReached
        )
        // it goes by the offsets of the source that is meant, or that is known to read the journal
        const others = { ...key, source: "stream:others" }
        yield* register(others)
        yield* ProjectionStatus.reached(name, second, long)
        yield* transactAs(others, journal, [{ slice, from: undefined, to: offsetOf(first) }], Effect.void)
        assert.instanceOf(
          yield* Effect.flip(ProjectionStatus.reached(name, second, long)),
          ProjectionManagement.AmbiguousProjection
        )
        yield* ProjectionStatus.reached(key, second, long)
        assert.strictEqual((yield* OffsetStore.use((_) => _.sequenceNumbers(key, [persistenceId]))).size, 1)
      }))

    it.effect("of another entity type of the same journal is not read by a projection of a stream", () =>
      Effect.gen(function*() {
        const [carts, orders] = [fresh("receipt"), fresh("receipt")]
        const key = { projection: freshName(), source: "stream:receipts" }
        const [cart, order] = [yield* append(carts, "a", texts(1)), yield* append(orders, "a", texts(1))]
        const wait = (receipt: Receipt.Receipt, options: typeof long | typeof short = long) =>
          ProjectionStatus.reached(key.projection, receipt, options)
        yield* register(key)
        // nothing of it was read yet
        assert.instanceOf(yield* Effect.flip(wait(order, short)), ProjectionStatus.NotReached)
        const { journal, slice } = cart
        const logs = LogsIdentity.make({ journal, log: "events", entityType: carts.name })
        yield* transactAs(key, logs, [{ slice, from: undefined, to: offsetOf(cart) }], Effect.void)
        yield* wait(cart)
        assert.instanceOf(yield* Effect.flip(wait(order)), ProjectionStatus.ReceiptNotRead)
        assert.instanceOf(yield* Effect.flip(wait(changed(cart, { log: "states" }))), ProjectionStatus.ReceiptNotRead)
        const elsewhere = yield* Effect.flip(wait(changed(order, { journal: "another" })))
        assert.instanceOf(elsewhere, ProjectionStatus.ReceiptOfOtherJournal)
      }))

    it.effect("is waited for by many at once", () =>
      Effect.gen(function*() {
        const type = fresh("receipt")
        const name = freshName()
        const seen = new Set<string>()
        const projection = Source.journal(type).pipe(
          Projection.exactlyOnce(name, ({ event }) => Effect.sync(() => void seen.add(event))),
          Projection.workers(2)
        )
        yield* Effect.forEach(texts(60), (event, i) =>
          Effect.gen(function*() {
            const receipt = yield* append(type, `e${i % 20}`, [event])
            yield* ProjectionStatus.reached(name, receipt, long)
            assert.isTrue(seen.has(event))
          }), { concurrency: 20, discard: true }).pipe(whileRunning(projection))
      }))
  })
}
