/** What deleting events of replicated entities promises, on every storage. */
import { assert, describe, it } from "@effect/vitest"
import * as Journal from "@sluice/core/Journal"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as Timestamp from "@sluice/core/Timestamp"
import * as ReplicatedJournal from "@sluice/replication/ReplicatedJournal"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { makeNotes, type Notes } from "../../packages/replication/test/kit/Notes.ts"
import * as Regions from "./regions.ts"

type Region = Effect.Success<ReturnType<typeof Regions.start>>["replicas"][number]

/** Which events of an entity are left in the journal of a replica. */
const left = (notes: Notes, { context, id }: Region, entity: string) =>
  Stream.runCollect(Journal.readEncoded(`${notes.name}|${entity}|${id}` as any)).pipe(
    Effect.map((events) =>
      Array.from(events).flatMap(({ payload, sequenceNumber }) => payload === undefined ? [] : [sequenceNumber])
    ),
    Effect.provideContext(context)
  )

const now = ({ context }: Region) =>
  Effect.provideContext(Journal.Journal.use(({ now }) => Effect.map(now, (now) => Timestamp.make(now + 1))), context)

const region = <A, E, R>(region: Region, effect: Effect.Effect<A, E, R>) =>
  Effect.provideContext(effect, region.context)

export const deletionTests = (
  name: string,
  storages: Effect.Effect<Readonly<Record<"eu" | "us" | "ap", Regions.Storage>>, never, Scope.Scope>
): void => {
  describe(`${name}: deleting events of replicated entities`, { timeout: 180_000 }, () => {
    it.live("waits for all replicas, and says who does not have them", () =>
      Effect.gen(function*() {
        const notes = makeNotes("notes", { snapshotEvery: 1 })
        const { cut, heal, replicas, settled } = yield* Regions.start(notes, yield* storages)
        const [eu, us, ap] = replicas as [Region, Region, Region]
        for (const id of ["a", "a", "a", "b"]) yield* eu.notes(id).Add({ text: "x" })
        yield* settled(["a", "b"], (id) => id === "a" ? 3 : 1)
        const id = "a|eu"
        const plain = yield* Effect.flip(region(eu, Journal.deleteEvents(notes.entityType, id)))
        assert.strictEqual(plain._tag, "ReplicatedEvents")
        const all = yield* Effect.flip(region(eu, Journal.prune(notes.entityType, { before: yield* now(eu) })))
        assert.strictEqual(all._tag, "ReplicatedEvents")

        // one that is reached, and has not read them
        yield* us.pause("eu")
        yield* eu.notes("a").Add({ text: "new" })
        const deleting = (options: Partial<ReplicatedJournal.Options> & { readonly to?: number } = {}) =>
          region(eu, ReplicatedJournal.deleteEvents(notes, "a", { ...eu.options, ...options }))
        const lacking = Effect.map(Effect.flip(deleting()), (error) => {
          assert(error._tag === "NotEverywhere", error.message)
          return error
        })
        const behind = yield* Effect.repeat(lacking, {
          until: ({ replicas }) => replicas.length === 1 && replicas[0]!.direction === "outgoing"
        })
        assert.deepStrictEqual(
          behind.replicas.map(({ behind, problem, replica }) => [replica, behind, problem]),
          [["us", 1, undefined]]
        )
        assert.include(behind.message, "'us' is 1 event behind")
        const pruning = (options: Partial<ReplicatedJournal.Options> = {}) =>
          Effect.flatMap(
            now(eu),
            (before) => region(eu, ReplicatedJournal.prune(notes, { ...eu.options, before, ...options }))
          )
        const error = yield* Effect.flip(pruning())
        assert(error._tag === "NotEverywhere")
        assert.deepStrictEqual(error.replicas.map(({ replica }) => replica), ["us"])
        assert.deepStrictEqual(yield* left(notes, eu, "a"), [1, 2, 3, 4])
        // what it has may be deleted
        yield* deleting({ to: 2, within: "90 seconds" })
        assert.deepStrictEqual(yield* left(notes, eu, "a"), [3, 4])
        assert.deepStrictEqual(yield* left(notes, us, "a"), [1, 2, 3])

        // one that cannot be asked
        yield* cut("eu", "us")
        const [away] = (yield* lacking).replicas
        assert.strictEqual(away!.replica, "us")
        assert.isUndefined(away!.behind)
        assert.isString(away!.problem)
        yield* heal("eu", "us")

        // it is waited for
        const waiting = yield* Effect.forkChild(deleting({ within: "90 seconds" }), { startImmediately: true })
        yield* us.resume("eu")
        yield* Fiber.join(waiting)
        assert.deepStrictEqual(yield* left(notes, eu, "a"), [])
        yield* settled(["a"], () => 0)
        assert.deepStrictEqual(yield* left(notes, us, "a"), [1, 2, 3, 4])

        // one that is no more is not asked
        yield* ap.pause("eu")
        yield* eu.notes("b").Add({ text: "new" })
        yield* Wait.until("it at us", Effect.map(us.events("b"), ({ length }) => length === 2))
        const stopped = yield* Effect.flip(pruning())
        assert(stopped._tag === "NotEverywhere")
        assert.include(stopped.replicas.map(({ replica }) => replica), "ap")
        // how much depends on the snapshots that were saved meanwhile
        assert.isAbove(yield* pruning({ gone: ["ap"], within: "90 seconds" }), 0)
        assert.strictEqual((yield* eu.notes("b").Get()).notes.length, 2)
      }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None")))

    it.live("empties an entity once what others have written of it is here", () =>
      Effect.gen(function*() {
        const notes = makeNotes("notes")
        const { replicas, settled } = yield* Regions.start(notes, yield* storages)
        const [eu, us, ap] = replicas as [Region, Region, Region]
        yield* eu.notes("a").Add({ text: "one" })
        yield* settled(["a"], () => 1)
        yield* eu.pause("us")
        yield* us.notes("a").Add({ text: "two" })
        yield* Wait.until("it at ap", Effect.map(ap.events("a"), ({ length }) => length === 2))
        const deleting = (at: Region, within?: "90 seconds") =>
          region(at, ReplicatedJournal.deleteEvents(notes, "a", { ...at.options, within }))
        const error = yield* Effect.repeat(Effect.flip(deleting(eu)), {
          until: (error) => error._tag === "NotEverywhere" && error.replicas.length === 1
        })
        assert(error._tag === "NotEverywhere")
        const [{ behind, direction, replica }] = error.replicas as [ReplicatedJournal.Lacking]
        assert.deepStrictEqual([replica, direction], ["us", "incoming"])
        assert.isAbove(behind!, 0)
        assert.match(error.message, /this one is \d events? of 'us' behind/)
        assert.deepStrictEqual(yield* left(notes, eu, "a"), [1])
        const waiting = yield* Effect.forkChild(deleting(eu, "90 seconds"), { startImmediately: true })
        yield* eu.resume("us")
        yield* Fiber.join(waiting)
        // region by region, and nothing is left or put aside in any
        yield* deleting(us, "90 seconds")
        yield* deleting(ap, "90 seconds")
        for (const at of [eu, us, ap]) assert.deepStrictEqual(yield* left(notes, at, "a"), [])
        const letters = yield* region(eu, ProjectionManagement.deadLetterCounts(`RES_${notes.name}_eu_us`))
        assert.strictEqual(letters.failed + letters.queued, 0)
      }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None")))

    it.live("goes on where an event that comes to a deleted entity is given up", () =>
      Effect.gen(function*() {
        const notes = makeNotes("notes")
        // without anything in memory, as after a restart
        const { replicas, settled } = yield* Regions.start(notes, yield* storages, { isPlain: true })
        const [eu, us, ap] = replicas as [Region, Region, Region]
        yield* eu.notes("a").Add({ text: "one" })
        yield* settled(["a"], () => 1)
        const deleting = (at: Region, within?: "90 seconds") =>
          region(at, ReplicatedJournal.deleteEvents(notes, "a", { ...at.options, within }))
        yield* deleting(eu, "90 seconds")
        yield* us.notes("a").Add({ text: "late" })
        const projection = `RES_${notes.name}_eu_us`
        const letters = region(eu, ProjectionManagement.deadLetterCounts(projection))
        yield* Wait.until("it to wait", Effect.map(letters, ({ failed }) => failed === 1), { atMost: "60 seconds" })
        const blocked = yield* Effect.repeat(Effect.flip(deleting(us)), {
          until: (error) =>
            error._tag === "NotEverywhere" && error.replicas.length === 1 && error.replicas[0]!.behind === 0
        })
        assert.include(blocked.message, "'eu' has put 1 event aside")
        const which = { persistenceId: `${notes.name}|a|us` }
        assert.strictEqual(yield* region(eu, ProjectionManagement.discardLetters(projection, which)), 1)
        yield* deleting(us, "90 seconds")
        yield* deleting(ap, "90 seconds")
        yield* us.notes("b").Add({ text: "more" })
        yield* us.notes("b").Add({ text: "still" })
        const before = yield* now(us)
        const pruned = region(us, ReplicatedJournal.prune(notes, { ...us.options, before, within: "90 seconds" }))
        assert.isAbove(yield* pruned, 0)
        for (const at of [eu, us, ap]) assert.deepStrictEqual(yield* left(notes, at, "a"), [])
      }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None")))

    it.live("waits for what a replica has put aside, and for those that get it by way of this one", () =>
      Effect.gen(function*() {
        let isBroken = true
        const notes = makeNotes("notes", {
          intercept: ({ event }) => isBroken && event.text === "held" ? Effect.fail(new Error("not yet")) : Effect.void
        })
        // us and ap have no address of each other
        const { replicas } = yield* Regions.start(notes, yield* storages, {
          links: (from, to) => from === "eu" || to === "eu"
        })
        const [eu, us, ap] = replicas as [Region, Region, Region]
        yield* us.notes("b").Add({ text: "free" })
        yield* Wait.until("it at ap", Effect.map(ap.events("b"), ({ length }) => length === 1))
        // what is relayed is to be at ap before eu deletes it
        yield* ap.pause("eu")
        yield* us.notes("b").Add({ text: "more" })
        yield* Wait.until("it at eu", Effect.map(eu.events("b"), ({ length }) => length === 2))
        const atEu = region(eu, ReplicatedJournal.deleteEvents(notes, "b", eu.options))
        const notAtAp = yield* Effect.repeat(Effect.flip(atEu), {
          until: (error) => error._tag !== "NotEverywhere" || error.replicas[0]!.direction === "outgoing"
        })
        assert(notAtAp._tag === "NotEverywhere", notAtAp.message)
        assert.include(notAtAp.replicas.map(({ replica }) => replica), "ap")
        yield* ap.resume("eu")
        // us cannot ask ap, but eu, which keeps them for ap
        yield* region(us, ReplicatedJournal.deleteEvents(notes, "b", { ...us.options, within: "60 seconds" }))
        assert.deepStrictEqual(yield* left(notes, us, "b"), [])
        yield* region(eu, ReplicatedJournal.deleteEvents(notes, "b", { ...eu.options, within: "60 seconds" }))
        assert.deepStrictEqual(yield* left(notes, ap, "b"), [1, 2])

        yield* us.notes("a").Add({ text: "held" })
        const letters = ProjectionManagement.deadLetterCounts(`RES_${notes.name}_eu_us`)
        yield* Wait.until("it to wait", Effect.map(region(eu, letters), ({ failed }) => failed === 1), {
          atMost: "60 seconds"
        })
        const deleting = region(us, ReplicatedJournal.deleteEvents(notes, "a", us.options))
        const error = yield* Effect.flip(
          Effect.retry(deleting, {
            while: (error) =>
              error._tag === "NotEverywhere" &&
              (error.replicas[0]!.behind !== 0 || error.replicas[0]!.direction === "incoming")
          })
        )
        assert(error._tag === "NotEverywhere")
        const [held, other] = error.replicas
        assert.deepStrictEqual([held!.replica, held!.behind, held!.waiting], ["eu", 0, 1])
        assert.include(error.message, "'eu' has put 1 event aside")
        assert.strictEqual(other!.replica, "ap")
        isBroken = false
        yield* region(us, ReplicatedJournal.deleteEvents(notes, "a", { ...us.options, within: "90 seconds" }))
        assert.strictEqual((yield* eu.events("a")).length, 1)
      }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None")))
  })
}
