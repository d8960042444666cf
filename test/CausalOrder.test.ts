import { assert, describe, it } from "@effect/vitest"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Timestamp from "@sluice/core/Timestamp"
import * as ReplicatedJournal from "@sluice/replication/ReplicatedJournal"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Wait from "@sluice/testing/Wait"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import * as Path from "node:path"
import { makeNotes } from "../packages/replication/test/kit/Notes.ts"
import { temporaryFolder } from "./kit/Service.ts"
import * as Regions from "./replication/regions.ts"
import { sequence } from "./replication/sequence.ts"
import { writeWhileLinksFail } from "./replication/writeWhileLinksFail.ts"

const quietly = Effect.provideService(References.MinimumLogLevel, "None")

const memory = () => ({ eu: MemoryStorage.layer, us: MemoryStorage.layer, ap: MemoryStorage.layer })

type Region = Effect.Success<ReturnType<typeof Regions.start>>["replicas"][number]

/** Checks in each replica that an event was stored after all that its origin had seen, and was concurrent where something else was there. */
const checkCausal = Effect.fnUntraced(function*(replicas: ReadonlyArray<Region>, id: string) {
  const journals = new Map<Region, ReadonlyArray<string>>()
  for (const replica of replicas) journals.set(replica, yield* replica.events(id))
  const past = new Map<string, ReadonlySet<string>>()
  for (const [{ id }, events] of journals) {
    events.forEach((event, i) => {
      if (event.startsWith(`${id}#`)) past.set(event, new Set(events.slice(0, i)))
    })
  }
  let concurrencies = 0
  for (const [replica, events] of journals) {
    const concurrent: Array<string> = []
    const here = new Set<string>()
    for (const event of events) {
      const seen = past.get(event)!
      for (const earlier of seen) assert.isTrue(here.has(earlier), `${earlier} before ${event} in ${replica.id}`)
      if (here.size > seen.size) concurrent.push(event)
      here.add(event)
    }
    const told = (yield* replica.notes(id).Get()).concurrent.map((note) => note.split(" ")[0])
    assert.deepStrictEqual(told, concurrent)
    concurrencies += concurrent.length
  }
  return concurrencies
})

describe("in causal order", () => {
  it.live("an event comes after what it has seen, on whatever way that can come", () =>
    Effect.gen(function*() {
      const { cut, heal, replicas, settled } = yield* Regions.start(makeNotes("notes"), memory(), { order: "causal" })
      const [eu, us, ap] = replicas as [Region, Region, Region]
      const at = (replica: Region, count: number) =>
        Wait.until(
          `${count} events at ${replica.id}`,
          Effect.map(replica.events("a"), ({ length }) => length === count),
          { atMost: "60 seconds" }
        )
      yield* cut("us", "ap")
      yield* us.notes("a").Add({ text: "asks" })
      yield* at(eu, 1)
      yield* eu.notes("a").Add({ text: "answers" })
      yield* at(ap, 2)
      assert.deepStrictEqual(yield* ap.events("a"), ["us#1", "eu#2"])
      // so does what goes the other way
      yield* ap.notes("a").Add({ text: "thanks" })
      yield* at(us, 3)
      assert.deepStrictEqual(yield* us.events("a"), ["us#1", "eu#2", "ap#3"])
      yield* heal("us", "ap")
      yield* settled(["a"], () => 3)
      assert.strictEqual(yield* checkCausal(replicas, "a"), 0)
      for (const { notes } of replicas) assert.deepStrictEqual(yield* notes("a").Version(), { us: 1, eu: 2, ap: 3 })
    }).pipe(Effect.scoped, quietly))

  it.live.each([1, 2, 3, 4])(
    "`concurrent` is exact whatever is written while links are cut (%i)",
    (seed) =>
      Effect.gen(function*() {
        const notes = makeNotes("notes", { snapshotEvery: 7 })
        const regions = yield* Regions.start(notes, memory(), {
          order: "causal",
          isPlain: seed === 3
        })
        const entities = ["a", "b"]
        const written = yield* writeWhileLinksFail(regions, entities, sequence(seed))
        const { replicas } = regions
        for (const id of entities) {
          const all = yield* Effect.forEach(replicas, ({ events }) => events(id))
          for (const events of all) assert.deepStrictEqual(events.toSorted(), all[0]!.toSorted())
          assert.strictEqual(new Set(all[0]).size, written.get(id))
          // none of the two would show nothing
          assert.isAbove(yield* checkCausal(replicas, id), 0)
          assert.isTrue((yield* Effect.forEach(replicas, (replica) => replica.notes(id).Get())).some(
            ({ concurrent, notes }) => concurrent.length < notes.length
          ))
        }
      }).pipe(Effect.scoped, quietly),
    300_000
  )

  it.live("replicas go on that had another order before", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const storages = Object.fromEntries(
        ["eu", "us", "ap"].map((id) => [id, SqliteStorage.layer({ filename: Path.join(folder, `${id}.db`) })])
      )
      const notes = makeNotes("notes")
      let count = 0
      for (const order of ["origin", "causal", "origin"] as const) {
        yield* Effect.scoped(Effect.gen(function*() {
          const { cut, replicas, settled } = yield* Regions.start(notes, storages, { order })
          if (order === "causal") yield* cut("us", "ap")
          for (const { notes } of replicas) yield* notes("a").Add({ text: order })
          count += 3
          if (order === "origin") yield* settled(["a"], () => count)
          for (const replica of replicas) {
            yield* Wait.until(
              `all at ${replica.id}`,
              Effect.map(replica.events("a"), ({ length }) => length >= count),
              { atMost: "60 seconds" }
            )
            assert.strictEqual(new Set(yield* replica.events("a")).size, count)
          }
        }))
      }
    }).pipe(Effect.scoped, quietly), 180_000)

  it.live(
    "replicas that had another order before a prune stop, and go on once they are rewound to it",
    () =>
      Effect.gen(function*() {
        const folder = yield* temporaryFolder
        const storages = Object.fromEntries(
          ["eu", "us", "ap"].map((id) => [id, SqliteStorage.layer({ filename: Path.join(folder, `${id}.db`) })])
        )
        const notes = makeNotes("notes", { snapshotEvery: 1 })
        const pruned = yield* Effect.scoped(Effect.gen(function*() {
          const { replicas, settled } = yield* Regions.start(notes, storages, { order: "origin" })
          for (const { notes } of replicas) yield* notes("a").Add({ text: "first" })
          yield* settled(["a"], () => 3)
          const eu = replicas[0]!
          return yield* Effect.provideContext(
            Effect.gen(function*() {
              const before = Timestamp.make((yield* Journal.Journal.use(({ now }) => now)) + 1)
              const options = { ...eu.options, before, within: "90 seconds" } as const
              assert.isAbove(yield* ReplicatedJournal.prune(notes, options), 0)
              return before
            }),
            eu.context
          )
        }))
        const { replicas } = yield* Regions.start(notes, storages, { order: "causal" })
        const [eu, ...others] = replicas
        for (const { notes } of replicas) yield* notes("a").Add({ text: "more" })
        for (const { context, id } of others) {
          const projection = `RES_notes_${id}_eu`
          const stopped = Effect.map(ProjectionStatus.status(projection), (workers) =>
            workers.filter(({ failure, state }) =>
              state === "Stopped" && failure !== undefined && Cause.pretty(failure.cause).includes("OffsetBelowFloor")
            ))
          yield* Effect.gen(function*() {
            yield* Wait.until(
              `${id} to stop`,
              Effect.map(stopped, ({ length }) =>
                length > 0),
              {
                atMost: "60 seconds"
              }
            )
            for (
              const source of new Set((yield* stopped).map(({ source }) =>
                source
              ))
            ) {
              yield* ProjectionManagement.rewind({ projection, source }, { since: pruned })
            }
          }).pipe(Effect.provideContext(context))
        }
        for (const replica of replicas) {
          yield* Wait.until(
            `all at ${replica.id}`,
            Effect.map(replica.notes("a").Get(), ({ notes }) => notes.length === 6),
            { atMost: "60 seconds" }
          )
        }
        assert.strictEqual((yield* eu!.events("a")).length, 4)
      }).pipe(Effect.scoped, quietly),
    180_000
  )
})
