import { assert, describe, it } from "@effect/vitest"
import * as Envelope from "@sluice/core/Envelope"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Source from "@sluice/core/Source"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as Replication from "@sluice/replication/Replication"
import { freePort } from "@sluice/testing/FreePort"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { makeNotes } from "../packages/replication/test/kit/Notes.ts"
import { respawned } from "./kit/Respawned.ts"
import { temporaryFolder } from "./kit/Service.ts"
import type { Answer, Asked } from "./replication/region.ts"
import * as Regions from "./replication/regions.ts"

const region = fileURLToPath(new URL("./replication/region.ts", import.meta.url))

const quietly = Effect.provideService(References.MinimumLogLevel, "None")

const memory = () => ({ eu: MemoryStorage.layer, us: MemoryStorage.layer, ap: MemoryStorage.layer })

/** A sequence that is the same in every run. */
const sequence = (seed: number) => {
  let state = seed
  return (below: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return (state >>> 8) % below
  }
}

describe("three replicas", () => {
  it.live.each([1, 2, 3])(
    "converge whatever is written while links are cut and healed (%i)",
    (seed) =>
      Effect.gen(function*() {
        const notes = makeNotes("notes", { snapshotEvery: seed === 1 ? 1 : 7 })
        // where nothing is kept in memory, all that a replica has seen comes from its snapshots
        const { cut, heal, replicas, settled } = yield* Regions.start(notes, memory(), { isPlain: seed === 1 })
        const next = sequence(seed)
        const entities = ["a", "b", "c", "d"]
        const written = new Map(entities.map((id) => [id, 0]))
        const pairs = [["eu", "us"], ["us", "ap"], ["ap", "eu"]] as const
        for (let i = 0; i < 150; i++) {
          const [a, b] = pairs[next(3)]!
          const what = next(10)
          if (what === 0) yield* cut(a, b)
          else if (what === 1) yield* heal(a, b)
          else if (what === 2 && i % 5 === 0) yield* replicas[next(3)]!.rewind
          else {
            const id = entities[next(entities.length)]!
            yield* replicas[next(3)]!.notes(id).Add({ text: String(i) })
            written.set(id, written.get(id)! + 1)
          }
          // what has come meanwhile has its turn
          if (what > 7) yield* Effect.sleep(5)
        }
        for (const [a, b] of pairs) yield* heal(a, b)
        yield* settled(entities, (id) => written.get(id)!)
        for (const id of entities) {
          const all = yield* Effect.forEach(replicas, ({ events }) => events(id))
          const [first] = all.map((events) => events.toSorted())
          assert.strictEqual(new Set(first).size, written.get(id))
          for (const events of all) assert.deepStrictEqual(events.toSorted(), first)
          const states = yield* Effect.forEach(replicas, (replica) => replica.notes(id).Get())
          const versions = yield* Effect.forEach(replicas, (replica) => replica.notes(id).Version())
          for (const { notes } of states) assert.deepStrictEqual(notes.toSorted(), states[0]!.notes.toSorted())
          for (const version of versions) assert.deepStrictEqual(version, versions[0])
        }
      }).pipe(Effect.scoped, quietly),
    300_000
  )

  it.live("of which one is away do without it, and it has everything once it is back", () =>
    Effect.gen(function*() {
      const notes = makeNotes("notes")
      const { cut, heal, replicas, settled } = yield* Regions.start(notes, memory())
      const [eu, us, ap] = replicas
      yield* cut("us", "eu")
      yield* cut("us", "ap")
      yield* us!.notes("a").Add({ text: "alone" })
      yield* eu!.notes("a").Add({ text: "one" })
      yield* ap!.notes("b").Add({ text: "two" })
      const there = (replica: typeof eu, id: string, n: number) =>
        Effect.map(replica!.events(id), (events) => events.length === n)
      yield* Wait.until("what was written in eu at ap", there(ap, "a", 1))
      yield* Wait.until("what was written in ap at eu", there(eu, "b", 1))
      assert.deepStrictEqual(yield* us!.events("b"), [])
      yield* heal("us", "eu")
      yield* heal("us", "ap")
      yield* settled(["a", "b"], (id) => id === "a" ? 2 : 1)
    }).pipe(Effect.scoped, quietly))

  it.live("in a line have the events of each other by way of the one between them", () =>
    Effect.gen(function*() {
      const notes = makeNotes("notes")
      const { replicas, settled } = yield* Regions.start(notes, memory(), {
        links: (from, to) => from === "eu" || to === "eu"
      })
      for (let i = 0; i < 5; i++) {
        yield* Effect.forEach(replicas, (replica) => replica.notes("a").Add({ text: String(i) }), { concurrency: 3 })
      }
      yield* settled(["a"], () => 15)
      for (const { events } of replicas) assert.strictEqual(new Set(yield* events("a")).size, 15)
    }).pipe(Effect.scoped, quietly))
})

/** The first events of the stream, and how many places there are up to the last of them. */
const offered = (
  address: string,
  replica: { readonly id: string; readonly others: ReadonlyArray<string> } | undefined,
  n: number
) =>
  Effect.gen(function*() {
    const notes = makeNotes("notes")
    const feed = yield* Source.open(EventConsumer.source(Replication.stream(notes), { address, replica }))
    const elements = yield* Stream.runCollect(Stream.take(feed.elements, n))
    return Array.from(elements, (element) => {
      assert(!Envelope.isSkipped(element as any))
      const { replication, sequenceNumber } = element as Envelope.Place
      return `${sequenceNumber} ${replication === undefined ? element._tag : replication.origin}`
    })
  }).pipe(Effect.scoped)

describe("what a replica offers", () => {
  it.live("is what its consumer has not by itself, and placeholders", () =>
    Effect.gen(function*() {
      const notes = makeNotes("notes")
      const { ports, replicas, settled } = yield* Regions.start(notes, memory())
      for (const { notes } of replicas) yield* notes("a").Add({ text: "x" })
      yield* settled(["a"], () => 3)
      const address = `localhost:${ports.get("eu")}`
      const origins = (yield* replicas[0]!.events("a")).map((event) => event.slice(0, 2))
      const shown = (isShown: (origin: string) => boolean) =>
        origins.map((origin, i) => `${i + 1} ${isShown(origin) ? origin : "Placeholder"}`)
      assert.deepStrictEqual(
        yield* offered(address, { id: "us", others: ["eu", "ap"] }, 3),
        shown((origin) => origin === "eu")
      )
      assert.deepStrictEqual(
        yield* offered(address, { id: "us", others: ["eu"] }, 3),
        shown((origin) => origin !== "us")
      )
      // as a replica of Akka 1.4 is, which says nothing of itself, and takes nothing else
      assert.deepStrictEqual(yield* offered(address, undefined, 3), shown((origin) => origin === "eu"))
    }).pipe(Effect.scoped, quietly))
})

describe("an event that is not stored", () => {
  it.live("as its entity cannot take it holds up nobody else's, and comes once that is repaired", () =>
    Effect.gen(function*() {
      let isBroken = true
      const notes = makeNotes("notes", {
        onEvolve: ({ text }) => {
          if (isBroken && text === "poison") throw new Error("broken")
        }
      })
      const { replicas, settled } = yield* Regions.start(notes, { eu: MemoryStorage.layer, us: MemoryStorage.layer })
      const [eu, us] = replicas
      isBroken = false
      yield* us!.notes("a").Add({ text: "poison" })
      isBroken = true
      for (const id of ["b", "c", "d"]) yield* us!.notes(id).Add({ text: "fine" })
      const [projection] = eu!.projections
      const letters = ProjectionManagement.deadLetters(projection!.name)
      yield* Wait.until(
        "the letter",
        Effect.map(Effect.provideContext(letters, eu!.context), ({ length }) => length === 1)
      )
      isBroken = false
      yield* us!.notes("a").Add({ text: "behind" })
      yield* Wait.until(
        "those of others",
        Effect.map(Effect.forEach(["b", "c", "d"], eu!.events), (all) => all.every(({ length }) => length === 1))
      )
      assert.deepStrictEqual(yield* eu!.events("a"), [])
      yield* Effect.provideContext(Projection.handleDeadLetters(projection!), eu!.context)
      yield* Wait.until("both", Effect.map(eu!.events("a"), ({ length }) => length === 2))
      assert.deepStrictEqual((yield* eu!.notes("a").Get()).notes, ["us#1 poison", "us#2 behind"])
      yield* settled(["a", "b", "c", "d"], (id) => id === "a" ? 2 : 1)
    }).pipe(Effect.scoped, quietly))

  it.live("as another replica answers says so, and waits", () =>
    Effect.gen(function*() {
      const notes = makeNotes("notes")
      const { replicas, swap } = yield* Regions.start(notes, memory())
      const [eu, , ap] = replicas
      yield* swap("eu", "us", "ap")
      yield* ap!.notes("a").Add({ text: "one" })
      const status = Effect.provideContext(ProjectionStatus.status("RES_notes_eu_us"), eu!.context)
      yield* Wait.until(
        "the worker to say why it waits",
        Effect.map(status, (status) => JSON.stringify(status).includes("WrongReplica"))
      )
      yield* Wait.until("it by its own way", Effect.map(eu!.events("a"), ({ length }) => length === 1))
    }).pipe(Effect.scoped, quietly))
})

describe("regions", () => {
  it.live("that are killed lose nothing and have nothing twice", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const ids = ["eu", "us", "ap"]
      const ports = JSON.stringify(
        Object.fromEntries(yield* Effect.forEach(ids, (id) => Effect.map(freePort, (port) => [id, port] as const)))
      )
      const regions = yield* Effect.forEach(ids, (id) => {
        const where = { dialect: "sqlite", filename: Path.join(folder, `${id}.db`) }
        return respawned<Asked, Answer>(region, JSON.stringify(where), id, ports)
      })
      yield* Wait.until("the regions", () => regions.every(({ isReady }) => isReady))
      const entities = ["a", "b", "c"]
      const next = sequence(7)
      const added = new Map(entities.map((id) => [id, [] as Array<string>]))
      /** Asks again until it is answered: what was executed is remembered. */
      const add = (at: number, id: string, text: string) =>
        Effect.gen(function*() {
          yield* Wait.until(
            `note ${text}`,
            Effect.map(
              Effect.promise(() => regions[at]!.ask({ id, text })),
              (answer) => answer !== undefined && answer.failure === undefined
            )
          )
          added.get(id)!.push(text)
        })
      for (let round = 0; round < 6; round++) {
        const adds = Effect.forEach(
          Array.from({ length: 60 }, (_, i) => i),
          (i) => Effect.suspend(() => add(next(3), entities[next(3)]!, `${round}-${i}`)),
          { concurrency: 6, discard: true }
        )
        const kill = Effect.andThen(Effect.sleep(next(100)), Effect.sync(() => regions[round % 3]!.signal("SIGKILL")))
        yield* Effect.all([adds, kill], { concurrency: 2 })
      }
      const all = (id: string) =>
        Effect.forEach(regions, (region) => Effect.promise(() => region.ask({ id, text: undefined })))
      for (const id of entities) {
        const expected = added.get(id)!.toSorted()
        yield* Wait.until(
          `all of ${id} in all regions`,
          Effect.map(all(id), (answers) => answers.every((answer) => (answer?.events?.length ?? 0) >= expected.length)),
          { atMost: "2 minutes" }
        )
        const [first, ...others] = yield* all(id)
        assert.deepStrictEqual(first!.notes!.map((note) => note.split(" ")[1]!).toSorted(), expected)
        assert.strictEqual(new Set(first!.events).size, expected.length)
        for (const other of others) {
          assert.deepStrictEqual([other!.notes, other!.events], [first!.notes, first!.events])
        }
      }
    }).pipe(Effect.scoped), 300_000)
})
