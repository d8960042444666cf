/** What is said of replicas that are compared with each other, on every storage. */
import { assert, describe, it } from "@effect/vitest"
import * as EventFilter from "@sluice/core/EventFilter"
import { Journal } from "@sluice/core/Journal"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Timestamp from "@sluice/core/Timestamp"
import type * as EntityClient from "@sluice/entity/EntityClient"
import * as ReplicatedJournal from "@sluice/replication/ReplicatedJournal"
import * as ReplicaVerification from "@sluice/replication/ReplicaVerification"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import { makeNotes } from "../../packages/replication/test/kit/Notes.ts"
import * as Regions from "./regions.ts"
import { sequence } from "./sequence.ts"
import { writeWhileLinksFail } from "./writeWhileLinksFail.ts"

type Region = Effect.Success<ReturnType<typeof Regions.start>>["replicas"][number]

/** The same in whatever order notes come, as they are sorted, and what differs between replicas is left out. */
const converging: Parameters<typeof makeNotes>[1] = {
  evolve: ({ notes }, note) => ({ notes: [...notes, note].toSorted(), concurrent: [], times: [] })
}

const byId = ({ differences }: ReplicaVerification.Report) =>
  differences.map((difference) =>
    "origin" in difference
      ? `${difference._tag} ${difference.id} ${difference.origin} ${difference.count}`
      : difference._tag
  ).toSorted()

const select = () => EventFilter.passAll.pipe(EventFilter.excludeEntityIds("hidden"))

/** Has a region lose the first events of an entity. */
const lose = ({ context, id }: Region, entity: string, to: number) =>
  Effect.provideContext(
    Journal.use((journal) =>
      journal.deleteEvents(PersistenceId.make("notes", `${entity}|${id}`), SequenceNumber.make(to), {
        evenReplicated: true
      })
    ),
    context
  )

const originOf = (event: string) => event.split("#")[0]!

const only = <E, R>(asked: Effect.Effect<ReadonlyArray<ReplicaVerification.Report>, E, R>) =>
  Effect.map(asked, ([report]) => report!)

export const verificationTests = (
  name: string,
  storages: Effect.Effect<Readonly<Record<"eu" | "us" | "ap", Regions.Storage>>, never, Scope.Scope>
): void => {
  describe(`${name}: replicas that are compared`, { timeout: 180_000 }, () => {
    const two = Effect.map(storages, ({ eu, us }) => ({ eu, us }))

    it.live("finds what one of them lacks, and tells it from what is under way, left out, or not known", () =>
      Effect.gen(function*() {
        let isBroken = false
        const notes = makeNotes("notes", {
          ...converging,
          intercept: ({ event }) => isBroken && event.text === "held" ? Effect.fail(new Error("not yet")) : Effect.void
        })
        const { cut, heal, replicas, settled } = yield* Regions.start(notes, yield* two)
        const [eu, us] = replicas as [Region, Region]
        const verify = (region: Region) =>
          Effect.map(
            Effect.provideContext(ReplicaVerification.verify(notes, region.options), region.context),
            ([report]) => report!
          )
        const equal = (region: Region) =>
          Wait.until("them to be equal", Effect.map(verify(region), ReplicaVerification.isEqual), {
            atMost: "60 seconds"
          })
        const write = (region: Region, id: string, text = "x") => region.notes(id).Add({ text })

        // with concurrent writes, and one that is in one region alone at first
        const ids = ["a", "b", "c", "d"]
        for (const id of ids) yield* Effect.all([write(eu, id), write(us, id)], { concurrency: 2 })
        yield* write(us, "of us")
        yield* settled(ids, () => 2)
        yield* settled(["of us"], () => 1)
        for (const region of [eu, us]) {
          yield* equal(region)
          const { entities, events, leftOut, states } = yield* verify(region)
          assert.deepStrictEqual([entities, events, states, leftOut], [5, 9, 5, 0])
        }

        // what is cut is not known, and what is held up is under way
        yield* cut("eu", "us")
        yield* write(us, "a", "held")
        yield* write(us, "new")
        const away = yield* verify(eu)
        assert.isString(away.problem)
        assert.isFalse(ReplicaVerification.isEqual(away))
        isBroken = true
        yield* us.pause("eu")
        yield* eu.pause("us")
        yield* heal("eu", "us")
        for (const region of [eu, us]) {
          yield* Wait.until(
            "the link to be healed",
            Effect.map(verify(region), ({ problem }) => problem === undefined),
            { atMost: "60 seconds" }
          )
          const paused = yield* verify(region)
          assert.deepStrictEqual([paused.underWay, paused.differences], [2, []])
          assert.isFalse(ReplicaVerification.isEqual(paused))
        }
        yield* eu.resume("us")
        yield* Wait.until(
          "all but what is held up",
          Effect.map(verify(eu), ({ underWay }) => underWay === 1),
          { atMost: "60 seconds" }
        )
        assert.strictEqual((yield* verify(eu)).found, 0)
        isBroken = false
        yield* us.resume("eu")
        yield* equal(eu)
        yield* equal(us)

        // what is lost is missing, on both sides of the comparison
        yield* lose(eu, "of us", 1)
        yield* lose(eu, "b", 2)
        assert.deepStrictEqual(byId(yield* verify(eu)), [
          "MissingHere b eu 1",
          "MissingHere b us 1",
          "MissingHere of us us 1"
        ])
        assert.deepStrictEqual(byId(yield* verify(us)), [
          "MissingThere b eu 1",
          "MissingThere b us 1",
          "MissingThere of us us 1"
        ])
        const listed = yield* Effect.provideContext(
          ReplicaVerification.verify(notes, { ...us.options, limit: 1 }),
          us.context
        )
        assert.deepStrictEqual([listed[0]!.differences.length, listed[0]!.found], [1, 3])
      }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None")))

    it.live.each(["origin", "causal"] as const)(
      "are equal, each with both others, when links have failed, and name who has lost what (%s)",
      (order) =>
        Effect.gen(function*() {
          const notes = makeNotes("notes", converging)
          const regions = yield* Regions.start(notes, yield* storages, { order })
          const ids = ["a", "b", "c"]
          const written = yield* writeWhileLinksFail(regions, ids, sequence(order === "origin" ? 1 : 5))
          const all = ids.reduce((sum, id) => sum + written.get(id)!, 0)
          const verify = ({ context, options }: Region) =>
            Effect.provideContext(ReplicaVerification.verify(notes, options), context)
          for (const region of regions.replicas) {
            yield* Wait.until(
              `${region.id} to be equal with both`,
              Effect.map(
                verify(region),
                (reports) => reports.length === 2 && reports.every(ReplicaVerification.isEqual)
              ),
              { atMost: "60 seconds" }
            )
            for (const { events, leftOut, states } of yield* verify(region)) {
              assert.deepStrictEqual([events, states, leftOut], [all, ids.length, 0])
            }
          }
          const [eu, us, ap] = regions.replicas as [Region, Region, Region]

          // what a third one has written, and one of two has not read, is under way between these as well
          yield* eu.pause("us")
          if (order === "causal") yield* eu.pause("ap")
          yield* us.notes("a").Add({ text: "late" })
          yield* regions.settledAt(ap, "a", written.get("a")! + 1)
          for (const reports of [yield* verify(eu), yield* verify(ap)]) {
            for (const { found } of reports) assert.strictEqual(found, 0)
            const between = reports.find(({ replica }) => replica !== "us")!
            assert.deepStrictEqual([between.problem, between.underWay], [undefined, 1])
          }
          yield* eu.resume("us")
          if (order === "causal") yield* eu.resume("ap")
          yield* regions.settledAt(eu, "a", written.get("a")! + 1)

          const eventsOf = yield* Effect.forEach(ids, (id) =>
            Effect.map(eu.events(id), (events) => [id, events] as const))
          // whose event is the first of an entity depends on who was faster: one of another region, where there is one
          const at = Math.max(
            0,
            eventsOf.findIndex(([, events]) =>
              originOf(events[0]!) !== eu.id
            )
          )
          const [one, [first]] = eventsOf[at]!
          const [whole, events] = eventsOf[(at + 1) % ids.length]!
          yield* lose(eu, one, 1)
          yield* lose(eu, whole, events.length)
          const lost = [
            `${one} ${originOf(first!)} 1`,
            ...Array.from(Map.groupBy(events, originOf), ([origin, { length }]) => `${whole} ${origin} ${length}`)
          ]
          /** Waits until one of them says this of the other: what it has just stored it knows to be past a moment later. */
          const says = (region: Region, other: Region, tag: string) => {
            const expected = lost.map((of) => `${tag} ${of}`).toSorted()
            return Wait.until(
              `${region.id} to say '${expected.join("', '")}' of ${other.id}`,
              Effect.map(verify(region), (reports) => {
                const report = reports.find(({ replica }) => replica === other.id)!
                return report.underWay === 0 && JSON.stringify(byId(report)) === JSON.stringify(expected)
              }),
              { atMost: "60 seconds" }
            )
          }
          // whoever has written them, and though the third one is the only one that this one gets them from
          for (const other of [us, ap]) {
            yield* says(eu, other, "MissingHere")
            yield* says(other, eu, "MissingThere")
          }
          for (const { found } of (yield* verify(us)).filter(({ replica }) => replica === "ap")) {
            assert.strictEqual(found, 0)
          }
        }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None"))
    )

    it.live("finds states that differ though the events are the same, and says so", () =>
      Effect.gen(function*() {
        const notes = makeNotes("notes")
        const { cut, heal, replicas, settled } = yield* Regions.start(notes, yield* two)
        const [eu, us] = replicas as [Region, Region]
        yield* eu.notes("same").Add({ text: "x" })
        yield* settled(["same"], () => 1)
        // each has its own first
        yield* cut("eu", "us")
        yield* eu.notes("other").Add({ text: "of eu" })
        yield* us.notes("other").Add({ text: "of us" })
        yield* heal("eu", "us")
        yield* settled(["other"], () => 2)
        const verify = ({ context, options }: Region) =>
          Effect.provideContext(ReplicaVerification.verify(notes, options), context)
        yield* Wait.until("nothing to be under way", Effect.map(verify(eu), ([report]) => report!.underWay === 0), {
          atMost: "60 seconds"
        })
        const [here] = yield* verify(eu)
        const [there] = yield* verify(us)
        assert.deepStrictEqual([here!.events, here!.states, here!.found], [3, 2, 1])
        const [ofEu, ofUs] = [here!.differences[0]!, there!.differences[0]!]
        assert(ofEu._tag === "OtherState" && ofUs._tag === "OtherState")
        assert.strictEqual(ofEu.id, "other")
        assert.notStrictEqual(ofEu.here, ofEu.there)
        assert.deepStrictEqual([ofUs.here, ofUs.there], [ofEu.there, ofEu.here])
      }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None")))

    it.live("does not take for a difference what filters leave out, here and there", () =>
      Effect.gen(function*() {
        const notes = makeNotes("notes", converging)
        const { replicas, settled } = yield* Regions.start(notes, yield* two, {
          selectOf: (id) => id === "us" ? select : undefined,
          filterOf: (id) => id === "eu" ? EventFilter.passAll.pipe(EventFilter.excludeEntityIds("local")) : undefined
        })
        const [eu, us] = replicas as [Region, Region]
        for (const id of ["hidden", "local", "all"]) {
          yield* us.notes(id).Add({ text: "x" })
          yield* eu.notes(id).Add({ text: "x" })
        }
        yield* settled(["all"], () => 2)
        const verify = ({ context, options }: Region, select?: () => EventFilter.EventFilter) =>
          Effect.map(
            Effect.provideContext(ReplicaVerification.verify(notes, { ...options, select }), context),
            ([report]) => report!
          )
        yield* Wait.until(
          "nothing to be under way",
          Effect.map(
            Effect.all([verify(eu), verify(us, select)]),
            ([a, b]) => a.underWay === 0 && b.underWay === 0
          ),
          { atMost: "60 seconds" }
        )
        const here = yield* verify(eu)
        assert.deepStrictEqual([here.problem, here.differences], [undefined, []])
        assert.isAbove(here.leftOut, 0)
        assert.deepStrictEqual((yield* verify(us, select)).differences, [])
        // once it is included, it is missing until it comes
        yield* eu.take(EventFilter.without(EventFilter.excludeEntityIds("local")))
        const later = yield* verify(eu)
        assert.deepStrictEqual(
          later.differences.map((difference) => [difference._tag, difference.id]),
          [["MissingHere", "local"]]
        )
      }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None")))

    it.live("explains what was pruned at different times, and not what was lost before that", () =>
      Effect.gen(function*() {
        const notes = makeNotes("notes", { ...converging, snapshotEvery: 1 })
        /** The second one answers that it has stored what it has not, and does not notice later. */
        let isLosing = false
        const { replicas } = yield* Regions.start(notes, yield* two, {
          given: (id, entities): EntityClient.Runner => ({
            ...entities,
            send: (entity, command) => {
              if (id !== "us" || entity !== "c") return entities.send(entity, command)
              if (isLosing) return Effect.succeed({ _tag: "Replied", reply: ["Stored"] } as never)
              const { arriving } = command.payload as { readonly arriving: ReadonlyArray<object> }
              const payload = { arriving: arriving.map((event) => ({ ...event, previous: undefined })) }
              return entities.send(entity, { ...command, payload })
            }
          })
        })
        const [eu, us] = replicas as [Region, Region]
        /** Waits until both know so many events, of which they may have removed some. */
        const known = (id: string, ...counts: readonly [atEu: number, atUs: number]) =>
          Wait.until(
            `${counts.join(" and ")} events of ${id}`,
            Effect.map(
              Effect.forEach([eu, us], (region) => region.notes(id).Get()),
              (states) => states.every(({ notes }, i) => notes.length === counts[i])
            ),
            { atMost: "60 seconds" }
          )
        const write = Effect.fnUntraced(function*(ids: ReadonlyArray<string>, count: number) {
          for (const id of ids) {
            yield* Effect.all([eu.notes(id).Add({ text: "x" }), us.notes(id).Add({ text: "y" })])
            yield* known(id, count, count)
          }
        })
        const verify = ({ context, options }: Region) =>
          only(Effect.provideContext(ReplicaVerification.verify(notes, options), context))
        const prune = ({ context, options }: Region) =>
          Effect.gen(function*() {
            const before = Timestamp.make((yield* Journal.use(({ now }) => now)) + 1)
            return yield* ReplicatedJournal.prune(notes, { ...options, before, gone: ["ap"], within: "60 seconds" })
          }).pipe(Effect.provideContext(context))
        const ids = ["a", "b"]
        for (const count of [2, 4]) yield* write(ids, count)
        const prunedAtEu = yield* prune(eu)
        assert.isAbove(prunedAtEu, 0)
        for (const region of [eu, us]) {
          const { found, pruned } = yield* verify(region)
          assert.deepStrictEqual([found, pruned], [0, prunedAtEu])
        }
        yield* write(["c"], 2)
        for (const count of [6, 8]) yield* write(ids, count)
        assert.isAbove(yield* prune(us), 0)
        for (const region of [eu, us]) {
          const { found, pruned } = yield* verify(region)
          assert.strictEqual(found, 0)
          assert.isAbove(pruned, 0)
        }

        // one is lost before others, and no fewer were pruned then than are missing
        yield* prune(eu)
        isLosing = true
        yield* eu.notes("c").Add({ text: "lost" })
        yield* Wait.until("it to be lost", Effect.map(verify(us), ({ found }) => found === 1), { atMost: "60 seconds" })
        isLosing = false
        yield* Effect.all([eu.notes("c").Add({ text: "kept" }), eu.notes("c").Add({ text: "newest" })])
        yield* known("c", 5, 4)
        yield* prune(us)
        for (const [region, tag] of [[us, "MissingHere"], [eu, "MissingThere"]] as const) {
          const differences = (yield* verify(region)).differences
          assert.deepStrictEqual(
            differences.map((difference) => [difference._tag, difference.id]),
            differences.map(() => [tag, "c"])
          )
          assert.isAbove(differences.length, 0)
        }
        // both have removed it, so that the numbers alone tell. It stays as long as no snapshot was stored since, and not each event has one
        let found: ReadonlyArray<ReplicaVerification.Difference> = []
        let count = 5
        yield* Wait.until(
          "it to be removed",
          Effect.gen(function*() {
            yield* eu.notes("c").Add({ text: "later" })
            count++
            yield* known("c", count, count - 1)
            yield* prune(eu)
            found = (yield* verify(us)).differences
            return found.every(({ _tag }) => _tag !== "MissingHere")
          }),
          { atMost: "60 seconds" }
        )
        const numbers = { here: count, there: count - 1 }
        assert.deepStrictEqual((yield* verify(eu)).differences, [{ _tag: "OtherCount", id: "c", ...numbers }])
        assert.deepStrictEqual(found, [{ _tag: "OtherCount", id: "c", here: numbers.there, there: numbers.here }])
      }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None")))

    it.live("stores what is missing here, where it is repaired", () =>
      Effect.gen(function*() {
        const notes = makeNotes("notes", converging)
        /** The second one answers that it has stored what it has not, once. */
        let isLosing = false
        const { replicas, settled } = yield* Regions.start(notes, yield* two, {
          given: (id, entities): EntityClient.Runner => ({
            ...entities,
            send: (entity, command) =>
              id === "us" && isLosing
                ? Effect.succeed({ _tag: "Replied", reply: "Stored" } as never)
                : entities.send(entity, command)
          })
        })
        const [eu, us] = replicas as [Region, Region]
        yield* eu.notes("a").Add({ text: "kept" })
        yield* settled(["a"], () => 1)
        isLosing = true
        yield* eu.notes("a").Add({ text: "lost" })
        yield* eu.notes("b").Add({ text: "lost" })
        const verify = only(Effect.provideContext(ReplicaVerification.verify(notes, us.options), us.context))
        yield* Wait.until("them to be lost", Effect.map(verify, ({ found }) => found === 2), { atMost: "60 seconds" })
        isLosing = false
        const repaired = yield* only(
          Effect.provideContext(ReplicaVerification.repair(notes, us.options), us.context)
        )
        assert.deepStrictEqual([repaired.found, repaired.repaired], [2, 2])
        assert.isTrue(ReplicaVerification.isEqual(yield* verify))
        const { notes: there } = yield* us.notes("a").Get()
        assert.strictEqual(there.length, 2)

        // an emptied entity takes nothing, and the report says so
        yield* lose(us, "b", 1)
        yield* lose(eu, "a", 1)
        for (const [{ context, options }, id] of [[us, "b"], [eu, "a"]] as const) {
          const { found, notRepaired, repaired } = yield* only(
            Effect.provideContext(ReplicaVerification.repair(notes, options), context)
          )
          assert.deepStrictEqual([found, repaired, notRepaired.length], [2, 0, 1])
          const { problem, ...which } = notRepaired[0]!
          assert.deepStrictEqual(which, { id, origin: "eu", number: 1 })
          assert.include(problem, id === "b" ? "its events were deleted here" : "an event of this replica itself")
        }
      }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None")))
  })
}
