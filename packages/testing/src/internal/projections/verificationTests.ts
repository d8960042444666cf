import { assert, describe } from "@effect/vitest"
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import type * as EntityType from "@sluice/core/EntityType"
import * as EventFilter from "@sluice/core/EventFilter"
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import type * as Timestamp from "@sluice/core/Timestamp"
import * as Verification from "@sluice/core/Verification"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { It } from "../kit.ts"
import { append, below, fresh, idsOfSlice, texts } from "../kit.ts"
import { ada, filtered, guarantees, whileWaiting } from "./filteredProjectionTests.ts"
import { complete, only } from "./historyTests.ts"
import { caughtUp, freshName, placeOf, whileRunning } from "./projectionKit.ts"

/** The report of a projection's only source, checked to say of each event up to the offsets what has become of it. */
const verified = (
  projection: Projection.Projection<any, any>,
  options?: Verification.Options
): Effect.Effect<Verification.Report, any, any> =>
  Effect.map(Verification.verify(projection, options), ([report]) => {
    for (
      const { deleted, handled, jumped, leftOut, missing, offset, pending, proven, slice, unshown } of report!.slices
    ) {
      if (report!.differences.some((one) => one._tag === "Ahead" && one.slice === slice)) continue
      assert.strictEqual(
        proven + handled + leftOut + deleted + jumped + pending + missing + unshown,
        offset.position,
        `each event of slice ${slice}`
      )
    }
    return report!
  })

/** Moves the offset of a slice to the newest event, as a worker that has lost what is before. */
const goPast = Effect.fnUntraced(function*(
  projection: Projection.Projection<any, any>,
  type: EntityType.EntityType<string>,
  slice: number,
  change: (head: Offset.Offset) => Offset.Offset = (head) => head
) {
  const store = yield* OffsetStore
  const journal = yield* Journal.Journal
  const key = Projection.offsetKey(projection)
  const range = SliceRange.make(slice, slice)
  const stored = yield* store.load(key, range)
  const [[of, from]] = stored.offsets as any as [[any, Offset.Offset]]
  const head = (yield* journal.heads(type.name, range)).get(of)!
  const entities = stored.completeUpTo.has(of) ? new Map() : undefined
  const basis = { revision: stored.revision!, journal: stored.journal! }
  yield* store.transact(key, basis, [{ slice: of, from, to: change(head), entities }], Effect.void)
})

/** @internal What comes of comparing a projection with its journal, on any storage. */
export const verificationTests = (it: It<Journal.Journal | Projection.Stores>): void => {
  describe("a projection that is verified", () => {
    it.effect("has its offsets proven where nothing was left out", () =>
      Effect.gen(function*() {
        const type = fresh("verified")
        const projection = Source.journal(type).pipe(Projection.exactlyOnce(freshName(), () => Effect.void))
        for (const id of ["a", "b"]) yield* append(type, id, texts(3))
        yield* caughtUp(projection.name).pipe(whileRunning(projection))
        yield* append(type, "a", ["after"])
        const { counts, differences, slices } = yield* verified(projection)
        assert.deepStrictEqual(differences, [])
        assert.deepStrictEqual({ ...counts }, {
          proven: 6,
          handled: 0,
          leftOut: 0,
          deleted: 0,
          jumped: 0,
          pending: 0,
          missing: 0,
          unshown: 0
        })
        const lag = slices.reduce((sum, { head, offset }) => sum + head.position - offset.position, 0)
        assert.deepStrictEqual([slices.map(({ mode }) => mode), lag], [["exact", "exact"], 1])
      }))

    it.effect("is ahead of a journal that lacks what it has handled, or has something else there", () =>
      Effect.gen(function*() {
        const type = fresh("verified")
        const projection = Source.journal(type).pipe(Projection.exactlyOnce(freshName(), () => Effect.void))
        for (const slice of [3, 5, 7]) yield* append(type, idsOfSlice(type, slice, 1)[0]!, texts(2))
        yield* caughtUp(projection.name).pipe(whileRunning(projection))
        yield* goPast(projection, type, 3, ({ position, timestamp }) => Offset.make(position + 1, timestamp + 1))
        yield* goPast(projection, type, 5, ({ position, timestamp }) => Offset.make(position, timestamp + 1))
        const { counts, differences, slices } = yield* verified(projection)
        assert.deepStrictEqual(differences.map(({ _tag, slice }) => [_tag, slice as number]), [
          ["Ahead", 3],
          ["Ahead", 5]
        ])
        const [shorter, other] = differences as ReadonlyArray<Verification.Ahead>
        assert.deepStrictEqual([shorter!.handled.position, shorter!.head.position], [3, 2] as any)
        assert.deepStrictEqual([other!.handled.position, other!.head.position], [2, 2] as any)
        assert.deepStrictEqual([slices.length, counts.proven], [3, 2], "what the last one has read is proven")
      }))
  })

  for (const [guarantee, make] of guarantees) {
    describe(`a projection ${guarantee} that is verified`, whileWaiting(guarantee), () => {
      it.effect("is given what is missing, in order and once, and the command is kept", () =>
        Effect.gen(function*() {
          const type = fresh("verified")
          const name = freshName()
          const handled: Array<string> = []
          const projection = filtered(type, EventFilter.passAll.pipe(EventFilter.excludeTags("test"))).pipe(
            make(name, (envelope) => Effect.sync(() => void handled.push(placeOf(envelope))))
          )
          const [a, b, c] = idsOfSlice(type, 9, 3) as [string, string, string]
          yield* append(type, a, texts(2))
          yield* Journal.append(type, { id: b, events: ["left out"], tags: ["test"] })
          yield* append(type, a, texts(2))
          yield* caughtUp(name).pipe(whileRunning(projection))
          handled.length = 0
          yield* append(type, c, texts(3))
          yield* append(type, a, texts(2))
          yield* Journal.append(type, { id: b, events: ["left out"], tags: ["test"] })
          yield* goPast(projection, type, 9)
          const { counts, differences, repairing } = yield* verified(projection)
          assert.deepStrictEqual({ ...counts }, {
            proven: 2,
            handled: 2,
            leftOut: 2,
            deleted: 0,
            jumped: 0,
            pending: 0,
            missing: 5,
            unshown: 0
          })
          assert.deepStrictEqual(
            differences.map((one) => one._tag === "Missing" ? [one.persistenceId, one.from, one.to] : []) as any,
            [[`${type.name}|${c}`, 1, 3], [`${type.name}|${a}`, 5, 6]]
          )
          assert.strictEqual(repairing, 0)
          const { repairing: slices } = yield* verified(projection, { ...ada, repair: true, reason: "lost" })
          assert.strictEqual(slices, 1)
          const { counts: { missing, pending } } = yield* verified(projection)
          assert.deepStrictEqual([pending, missing], [5, 0], "it is about to be repaired")
          const [command] = yield* ProjectionManagement.history(projection)
          assert.deepStrictEqual(
            [command!.command, command!.by, command!.reason, command!.target],
            ["Repair", "ada", "lost", "1 slice"]
          )
          yield* Effect.gen(function*() {
            yield* complete(projection)
            assert.deepStrictEqual(handled, [`${c} 1`, `${c} 2`, `${c} 3`, `${a} 5`, `${a} 6`])
            yield* append(type, a, ["next"])
            yield* caughtUp(name)
            assert.deepStrictEqual(handled.slice(5), [`${a} 7`])
          }).pipe(whileRunning(projection))
          const after = yield* verified(projection, { repair: true })
          assert.deepStrictEqual([after.differences, after.repairing], [[], 0])
        }))

      it.effect("misses nothing that was deleted since, was jumped over, or is to be looked through", () =>
        Effect.gen(function*() {
          const type = fresh("verified")
          const name = freshName()
          const projection = filtered(type, EventFilter.passAll.pipe(EventFilter.excludeTags("test"))).pipe(
            make(name, () => Effect.void)
          )
          const [a, b, c] = idsOfSlice(type, 9, 3) as [string, string, string]
          const test = (id: string) => Journal.append(type, { id, events: ["left out"], tags: ["test"] })
          yield* append(type, a, texts(1))
          yield* test(b)
          yield* test(c)
          yield* append(type, a, texts(1))
          yield* caughtUp(name).pipe(whileRunning(projection))
          // its tags are gone, and it would pass now
          yield* Journal.deleteEvents(type, b)
          yield* append(type, b, texts(2))
          const { timestamp } = yield* append(type, a, texts(1))
          yield* Projection.rewind(projection, { since: timestamp })
          yield* caughtUp(name).pipe(whileRunning(projection))
          const first = yield* verified(projection)
          assert.deepStrictEqual({ ...first.counts }, {
            proven: 1,
            handled: 2,
            leftOut: 1,
            deleted: 1,
            jumped: 2,
            pending: 0,
            missing: 0,
            unshown: 0
          })
          yield* ConsumerFilter.update(projection, () => EventFilter.passAll, { ...ada, history: "now" })
          const { counts, differences } = yield* verified(projection)
          assert.deepStrictEqual([counts.pending, counts.leftOut, counts.missing, differences], [1, 0, 0, []])
        }))

      it.effect("is said to be shown nothing of some events by a source of one's own that has left them out without a placeholder", () =>
        Effect.gen(function*() {
          const type = fresh("verified")
          const source = filtered(type, EventFilter.passAll.pipe(EventFilter.excludeTags("test")))
          const of = make(freshName(), () => Effect.void)
          const projection = source.pipe(of)
          const [a, b] = idsOfSlice(type, 9, 2) as [string, string]
          yield* Journal.append(type, { id: b, events: ["left out"], tags: ["test"] })
          yield* append(type, a, texts(4))
          yield* Journal.append(type, { id: b, events: ["left out"], tags: ["test"] })
          yield* append(type, a, texts(1))
          yield* caughtUp(projection.name).pipe(whileRunning(projection))
          const without = (...positions: ReadonlyArray<number>) =>
            Source.make<string, any, any>({
              ...source.provider,
              open: (range, start) =>
                Effect.map(source.provider.open(range, start), (feed) => ({
                  ...feed,
                  envelopes: Stream.filter(feed.envelopes, ({ position }) => !positions.includes(position!))
                }))
            }).pipe(of)
          const { counts, differences, repairing } = yield* verified(without(2, 3, 6), { ...ada, repair: true })
          assert.deepStrictEqual(
            differences.map((one) => one._tag === "Unshown" ? [one.slice as number, one.from, one.to] : one) as any,
            [[9, 2, 3], [9, 6, 6]]
          )
          assert.deepStrictEqual([counts.handled, counts.leftOut, counts.unshown, counts.missing], [3, 1, 3, 0])
          assert.strictEqual(repairing, 0, "a repair would not be shown them either")
          const { differences: some, hasMore } = yield* verified(without(2, 6), { limit: 1 })
          assert.deepStrictEqual([some.length, hasMore], [1, true])
          assert.deepStrictEqual((yield* verified(projection)).differences, [])
        }))

      it.effect("is not compared while it is commanded, again and again", () =>
        Effect.gen(function*() {
          const type = fresh("verified")
          const name = freshName()
          const source = filtered(type)
          const disturbed = Source.make<string, any, any>({
            ...source.provider,
            heads: (range) =>
              Effect.andThen(ProjectionManagement.rewind(name, "beginning"), source.provider.heads(range))
          }).pipe(make(name, () => Effect.void))
          yield* append(type, "a", texts(1))
          yield* caughtUp(name).pipe(whileRunning(source.pipe(make(name, () => Effect.void))))
          assert.instanceOf(yield* Effect.flip(Verification.verify(disturbed)), Verification.VerificationDisturbed)
          const { counts } = yield* verified(source.pipe(make(name, () => Effect.void)))
          assert.strictEqual(counts.proven, 0, "it is at the beginning")
        }))

      it.effect("misses nothing, whatever its filter, rewinds, deletions and dead letters have left out", () =>
        Effect.gen(function*() {
          const type = fresh("verified")
          const name = freshName()
          const ids = [...idsOfSlice(type, 11, 3), ...idsOfSlice(type, 12, 2)]
          const withoutTests = EventFilter.passAll.pipe(EventFilter.excludeTags("test"))
          const initial = (yield* below(2)) === 0 ? withoutTests : only(ids[0]!, ids[3]!)()
          const projection = filtered(type, initial).pipe(
            make(name, ({ event }) => event.startsWith("bad") ? Effect.fail("bad") : Effect.void),
            Projection.recovery(RecoveryStrategy.deadLetter),
            Projection.workers(2)
          )
          const some = Effect.gen(function*() {
            const kept = []
            for (const id of ids) if ((yield* below(2)) === 0) kept.push(id)
            return kept
          })
          const times: Array<Timestamp.Timestamp> = []
          yield* Effect.gen(function*() {
            for (let step = 0; step < 25; step++) {
              const id = ids[yield* below(ids.length)]!
              const what = yield* below(12)
              if (what < 6) {
                const events = texts(1 + (yield* below(3)), (yield* below(8)) === 0 ? "bad" : "e")
                const tags = [[], ["large"], ["test"]][yield* below(3)]!
                const { timestamp } = yield* Journal.append(type, { id, events, tags })
                times.push(timestamp)
              } else if (what === 6) {
                const history = (["nextEvent", "now", "none"] as const)[yield* below(3)]!
                const filter = (yield* below(3)) === 0
                  ? withoutTests
                  : only(...(yield* some))().pipe(EventFilter.includeTags("large"))
                yield* ConsumerFilter.update(projection, () => filter, { ...ada, history })
              } else if (what === 7 && times.length > 0) {
                yield* Projection.rewind(projection, { since: times[yield* below(times.length)]! })
              } else if (what >= 8 && what < 10) {
                yield* Journal.deleteEvents(type, id, { to: 1 + (yield* below(4)) })
              } else if (what === 10) {
                yield* caughtUp(name)
              } else {
                const { differences } = yield* verified(projection).pipe(
                  Effect.catchTag("VerificationDisturbed", () => Effect.succeed({ differences: [] }))
                )
                assert.deepStrictEqual(differences, [], `after ${step} steps`)
              }
            }
            yield* complete(projection)
            const { differences } = yield* verified(projection)
            assert.deepStrictEqual(differences, [])
          }).pipe(whileRunning(projection))
        }))
    })
  }
}
