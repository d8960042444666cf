import { assert, describe, it } from "@effect/vitest"
import * as EventFilter from "@sluice/core/EventFilter"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import * as Path from "node:path"
import { makeNotes } from "../packages/replication/test/kit/Notes.ts"
import { temporaryFolder } from "./kit/Service.ts"
import * as Regions from "./replication/regions.ts"
import { sequence } from "./replication/sequence.ts"

const quietly = Effect.provideService(References.MinimumLogLevel, "None")

const memory = () => ({ eu: MemoryStorage.layer, us: MemoryStorage.layer, ap: MemoryStorage.layer })

type Region = Effect.Success<ReturnType<typeof Regions.start>>["replicas"][number]

/** The numbers of each origin rise, and none is there twice. */
const checkOrder = (events: ReadonlyArray<string>) => {
  const last = new Map<string, number>()
  for (const event of events) {
    const [origin, number] = event.split("#") as [string, string]
    assert.isAbove(Number(number), last.get(origin) ?? 0, event)
    last.set(origin, Number(number))
  }
}

const has = (replica: Region, id: string, count: number) =>
  Wait.until(
    `${count} events of ${id} at ${replica.id}`,
    Effect.map(replica.events(id), ({ length }) => length === count),
    { atMost: "60 seconds" }
  )

const checkSame = Effect.fnUntraced(function*(replicas: ReadonlyArray<Region>, id: string, count: number) {
  const all = yield* Effect.forEach(replicas, ({ events }) => events(id))
  for (const events of all) {
    checkOrder(events)
    assert.deepStrictEqual(events.toSorted(), all[0]!.toSorted())
  }
  assert.strictEqual(all[0]!.length, count)
  const states = yield* Effect.forEach(replicas, (replica) => replica.notes(id).Get())
  for (const { notes } of states) assert.deepStrictEqual(notes.toSorted(), states[0]!.notes.toSorted())
  const versions = yield* Effect.forEach(replicas, (replica) => replica.notes(id).Version())
  for (const version of versions) assert.deepStrictEqual(version, versions[0])
})

/** The first note says where an entity is at home, if it is to stay there. */
const homes = (name: string) =>
  makeNotes(name, {
    tags: ({ notes }) => {
      const home = /home:\w+/.exec(notes[0] ?? "")
      return home === null ? [] : [home[0]]
    }
  })

describe("what a replica offers", () => {
  it.live("may leave out by one tag what stays in its region, which comes to no other", () =>
    Effect.gen(function*() {
      const { replicas, settled } = yield* Regions.start(homes("notes"), memory(), {
        selectOf: (id) => EventFilter.passAll.pipe(EventFilter.excludeTags(`home:${id}`))
      })
      const [eu, us, ap] = replicas as [Region, Region, Region]
      for (let i = 0; i < 3; i++) {
        yield* eu.notes("stays").Add({ text: `home:eu ${i}` })
        yield* eu.notes("free").Add({ text: "free" })
      }
      // whoever is on a journey writes elsewhere
      yield* us.notes("stays").Add({ text: "home:eu, written in us" })
      yield* has(eu, "stays", 4)
      yield* settled(["free"], () => 3)
      // nobody is behind, so that it was passed over
      assert.deepStrictEqual(yield* us.events("stays"), ["us#1"])
      assert.deepStrictEqual(yield* ap.events("stays"), ["us#1"])
    }).pipe(Effect.scoped, quietly))

  it.live("may be told by the ids that entities have everywhere", () =>
    Effect.gen(function*() {
      const { replicas, settled } = yield* Regions.start(makeNotes("notes"), memory(), {
        select: EventFilter.passAll.pipe(EventFilter.excludeEntityIds("x"), EventFilter.excludeMatching("y-\\d"))
      })
      for (const { notes } of replicas) {
        for (const id of ["x", "y-1", "z"]) yield* notes(id).Add({ text: "one" })
      }
      yield* settled(["z"], () => 3)
      for (const { events, id } of replicas) {
        for (const kept of ["x", "y-1"]) assert.deepStrictEqual(yield* events(kept), [`${id}#1`])
      }
    }).pipe(Effect.scoped, quietly))
})

describe("what a replica takes", () => {
  it.live.each([["nextEvent", "origin"], ["now", "origin"], ["now", "causal"], ["nextEvent", "causal"]] as const)(
    "is written on both sides while it is left out, and whole once it is included (%s, in the order %s)",
    ([history, order]) =>
      Effect.gen(function*() {
        const { replicas, settled } = yield* Regions.start(makeNotes("notes"), memory(), { order })
        const [eu, us, ap] = replicas as [Region, Region, Region]
        const write = (text: string) =>
          Effect.forEach(replicas, ({ notes }) => Effect.andThen(notes("a").Add({ text }), notes("b").Add({ text })), {
            discard: true
          })
        yield* write("before")
        yield* settled(["a", "b"], () => 3)
        yield* us.take(EventFilter.excludeEntityIds("a"))
        yield* write("apart")
        yield* write("apart again")
        yield* has(eu, "a", 9)
        yield* has(ap, "a", 9)
        yield* settled(["b"], () => 9)
        yield* has(us, "a", 5)
        // what is decided there goes on by what is there
        yield* us.notes("a").Add({ text: "alone" })
        assert.strictEqual((yield* us.notes("a").Get()).notes.length, 6)
        yield* us.take(EventFilter.without(EventFilter.excludeEntityIds("a")), history)
        if (history === "nextEvent") yield* write("after")
        const count = history === "nextEvent" ? 13 : 10
        yield* settled(["a"], () => count)
        yield* checkSame(replicas, "a", count)
        yield* write("in the end")
        yield* settled(["a"], () => count + 3)
        yield* checkSame(replicas, "a", count + 3)
      }).pipe(Effect.scoped, quietly),
    180_000
  )

  it.live.each([1, 2, 3, 4])(
    "converges whatever is written while filters change and links are cut (%i)",
    (seed) =>
      Effect.gen(function*() {
        const notes = makeNotes("notes", { snapshotEvery: 7 })
        const { cut, heal, replicas, settled } = yield* Regions.start(notes, memory(), {
          order: seed % 2 === 0 ? "causal" : "origin",
          isPlain: seed === 3
        })
        const next = sequence(seed)
        const entities = ["a", "b", "c"]
        const written = new Map(entities.map((id) => [id, 0]))
        const pairs = [["eu", "us"], ["us", "ap"], ["ap", "eu"]] as const
        for (let i = 0; i < 90; i++) {
          const [a, b] = pairs[next(3)]!
          const id = entities[next(entities.length)]!
          const replica = replicas[next(3)]!
          const what = next(16)
          if (what === 0) yield* cut(a, b)
          else if (what === 1) yield* heal(a, b)
          else if (what === 2) yield* replica.take(EventFilter.excludeEntityIds(id))
          else if (what === 3) {
            const history = next(2) === 0 ? "now" : "nextEvent"
            yield* replica.take(EventFilter.without(EventFilter.excludeEntityIds(id)), history)
          } else {
            yield* replica.notes(id).Add({ text: String(i) })
            written.set(id, written.get(id)! + 1)
          }
          // what has come meanwhile has its turn
          if (what > 13) yield* Effect.sleep(5)
        }
        for (const [a, b] of pairs) yield* heal(a, b)
        for (const replica of replicas) {
          yield* replica.take(EventFilter.without(EventFilter.excludeEntityIds(...entities)), "now")
        }
        yield* settled(entities, (id) => written.get(id)!)
        for (const id of entities) yield* checkSame(replicas, id, written.get(id)!)
      }).pipe(Effect.scoped, quietly),
    300_000
  )

  it.live(
    "begins with the filter of its options, and stays as it was changed when it is started again",
    () =>
      Effect.gen(function*() {
        const folder = yield* temporaryFolder
        const notes = makeNotes("notes")
        const start = Regions.start(
          notes,
          Object.fromEntries(
            ["eu", "us"].map((id) => [id, SqliteStorage.layer({ filename: Path.join(folder, `${id}.db`) })])
          ),
          {
            filterOf: (id) =>
              id === "us" ? EventFilter.excludeAll.pipe(EventFilter.includeEntityIds("a", "b")) : undefined
          }
        )
        yield* Effect.scoped(Effect.gen(function*() {
          const { replicas, settled } = yield* start
          const [eu, us] = replicas as [Region, Region]
          for (const id of ["a", "b", "c"]) yield* eu.notes(id).Add({ text: "1" })
          yield* settled(["a", "b"], () => 1)
          assert.deepStrictEqual(yield* us.events("c"), [])
          yield* us.take(EventFilter.without(EventFilter.includeEntityIds("b")))
          yield* eu.notes("b").Add({ text: "2" })
        }))
        yield* Effect.scoped(Effect.gen(function*() {
          const { replicas, settled } = yield* start
          const [eu, us] = replicas as [Region, Region]
          for (const id of ["a", "b", "c"]) yield* eu.notes(id).Add({ text: "3" })
          yield* settled(["a"], () => 2)
          assert.deepStrictEqual(yield* us.events("b"), ["eu#1"])
          yield* us.take(EventFilter.includeEntityIds("b", "c"), "now")
          yield* settled(["b", "c"], (id) => id === "b" ? 3 : 2)
        }))
      }).pipe(Effect.scoped, quietly),
    180_000
  )

  it.live("is all that it passes on", () =>
    Effect.gen(function*() {
      const { replicas, settled } = yield* Regions.start(makeNotes("notes"), memory(), {
        links: (from, to) => from === "eu" || to === "eu",
        filterOf: (id) => id === "eu" ? EventFilter.passAll.pipe(EventFilter.excludeEntityIds("a")) : undefined
      })
      const [eu, us, ap] = replicas as [Region, Region, Region]
      for (const { notes } of replicas) {
        for (const id of ["a", "b"]) yield* notes(id).Add({ text: "one" })
      }
      yield* settled(["b"], () => 3)
      yield* has(us, "a", 2)
      yield* has(ap, "a", 2)
      yield* has(eu, "a", 1)
      yield* eu.take(EventFilter.without(EventFilter.excludeEntityIds("a")), "now")
      yield* settled(["a"], () => 3)
      yield* checkSame(replicas, "a", 3)
    }).pipe(Effect.scoped, quietly), 180_000)
})
