import { assert, describe, it } from "@effect/vitest"
import * as ClusterPlacement from "@sluice/cluster/ClusterPlacement"
import * as Envelope from "@sluice/core/Envelope"
import * as EventFilter from "@sluice/core/EventFilter"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import type { Runner } from "@sluice/entity/EntityClient"
import { EntityConflict, type EntityError, JournalUnavailable, Overloaded } from "@sluice/entity/EntityError"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import { CallRefused } from "@sluice/grpc/GrpcError"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import * as Replica from "@sluice/replication/Replica"
import * as ReplicatedEventSourced from "@sluice/replication/ReplicatedEventSourced"
import * as Replication from "@sluice/replication/Replication"
import * as ReplicaVerification from "@sluice/replication/ReplicaVerification"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import { freePort } from "@sluice/testing/FreePort"
import * as Wait from "@sluice/testing/Wait"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import { copyFile } from "node:fs/promises"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { Added, makeNotes, type Notes } from "../packages/replication/test/kit/Notes.ts"
import { respawned } from "./kit/Respawned.ts"
import { temporaryFolder } from "./kit/Service.ts"
import type { Answer, Asked } from "./replication/region.ts"
import * as Regions from "./replication/regions.ts"
import { sequence } from "./replication/sequence.ts"
import { writeWhileLinksFail } from "./replication/writeWhileLinksFail.ts"

const region = fileURLToPath(new URL("./replication/region.ts", import.meta.url))

const quietly = Effect.provideService(References.MinimumLogLevel, "None")

const memory = () => ({ eu: MemoryStorage.layer, us: MemoryStorage.layer, ap: MemoryStorage.layer })

describe("three replicas", () => {
  it.live.each([1, 2, 3])(
    "converge whatever is written while links are cut and healed (%i)",
    (seed) =>
      Effect.gen(function*() {
        const notes = makeNotes("notes", { snapshotEvery: seed === 1 ? 1 : 7 })
        // where nothing is kept in memory, all that a replica has seen comes from its snapshots
        const regions = yield* Regions.start(notes, memory(), { isPlain: seed === 1 })
        const entities = ["a", "b", "c", "d"]
        const written = yield* writeWhileLinksFail(regions, entities, sequence(seed))
        const { replicas } = regions
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

  it.live.each(["origin", "causal"] as const)(
    "have each event as it was written, where one of them is of a later version (%s)",
    (order) =>
      Effect.gen(function*() {
        const notes = makeNotes("notes")
        const { replicas, settled } = yield* Regions.start(notes, memory(), {
          order,
          // by way of the one between them
          links: (from, to) => from === "eu" || to === "eu"
        })
        const written = `{"colour":"red","text":"later","_tag":"Added"}`
        const event: Journal.NewEvent = {
          id: "7c9d52d8-5f0e-4c1c-9d0b-3a4d7c8e1f00",
          payload: { manifest: "json.sluice/Added", bytes: new TextEncoder().encode(written) },
          tags: [],
          metadata: {},
          replication: {
            origin: "us",
            originSequenceNumber: SequenceNumber.make(1),
            version: new Map([["us", SequenceNumber.make(1)]]),
            concurrent: false,
            time: Timestamp.make(1)
          }
        }
        const persistenceId = PersistenceId.make("notes", "a|us")
        yield* Journal.Journal.use((journal) =>
          journal.append({
            entityType: "notes",
            persistenceId,
            expected: SequenceNumber.make(0),
            events: [event],
            recheck: false
          })
        ).pipe(Effect.provideContext(replicas[1]!.context))
        yield* settled(["a"], () => 1)
        for (const { context, id } of replicas) {
          const [stored] = yield* Stream.runCollect(Journal.readEncoded(PersistenceId.make("notes", `a|${id}`))).pipe(
            Effect.provideContext(context)
          )
          assert.strictEqual(new TextDecoder().decode(stored!.payload!.bytes), written)
        }
      }).pipe(Effect.scoped, quietly),
    180_000
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
  it.live("may be for replicas alone, which say in each call that they are", () =>
    Effect.gen(function*() {
      const notes = makeNotes("notes")
      const asked = new Set<string | undefined>()
      const { replicas, settled } = yield* Regions.start(notes, { eu: MemoryStorage.layer, us: MemoryStorage.layer }, {
        select: ({ replica }) => {
          asked.add(replica?.id)
          return replica === undefined
            ? Effect.fail(new CallRefused({ code: "PERMISSION_DENIED", reason: "no replica" }))
            : Effect.succeed(EventFilter.passAll)
        }
      })
      for (const { notes } of replicas) yield* notes("a").Add({ text: "x" })
      // so are the heads, by which it is known that they have everything
      yield* settled(["a"], () => 2)
      assert.deepStrictEqual(asked, new Set(["eu", "us"]))
    }).pipe(Effect.scoped, quietly))

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

type Region = Effect.Success<ReturnType<typeof Regions.start>>["replicas"][number]

/** What keeps the entity "a" of eu from taking an event of us. */
type HeldUp = (state: { readonly isBroken: boolean }) => {
  readonly notes: Notes
  readonly isPlain?: boolean
  readonly given?: (id: string, entities: Runner) => Runner
  readonly prepare?: (eu: Region, us: Region) => Effect.Effect<unknown, unknown>
  readonly repair?: (eu: Region, us: Region) => Effect.Effect<unknown, unknown>
}

/** Events for the entity fail so before they come to it. */
const refusing = (error: EntityError): HeldUp => (state) => ({
  notes: makeNotes("notes"),
  given: (_, entities) => ({
    send: (id, command) =>
      Effect.suspend(() => state.isBroken && id === "a" ? Effect.fail(error) : entities.send(id, command))
  })
})

const ofA = { entityType: "notes", id: "a" }

const heldUp: ReadonlyArray<[what: string, of: HeldUp]> = [
  ["`evolve` throws at it", (state) => ({
    notes: makeNotes("notes", {
      onEvolve: ({ text }, { recovering, persistenceId }) => {
        const isHere = persistenceId === "notes|a|eu" && !recovering
        if (state.isBroken && isHere && text === "held") throw new Error("broken")
      }
    })
  })],
  ["it is of a later version, until that is there", (state) => ({
    notes: makeNotes("notes", {
      onDecode: ({ text }) => {
        if (state.isBroken && text === "held") throw new Error("unknown")
      }
    })
  })],
  ["its entity cannot be recovered", (state) => ({
    notes: makeNotes("notes", {
      onEvolve: ({ text }) => {
        if (state.isBroken && text === "bad") throw new Error("broken")
      }
    }),
    isPlain: true,
    prepare: (eu) => eu.notes("a").Add({ text: "bad" })
  })],
  ["`intercept` fails", (state) => ({
    notes: makeNotes("notes", {
      intercept: ({ id }) => state.isBroken && id === "a" ? Effect.fail(new Error("not yet")) : Effect.void
    })
  })],
  ["`intercept` does not end, nor lets itself be interrupted", (state) => {
    let running = 0
    return {
      notes: makeNotes("notes", {
        decideWithin: "500 millis",
        intercept: ({ id }) =>
          id === "a"
            ? Effect.uninterruptible(Effect.gen(function*() {
              assert.strictEqual(++running, 1)
              yield* Wait.until("repair", () => !state.isBroken)
              running--
            }))
            : Effect.void
      })
    }
  }],
  ["it has seen what was lost here", () => ({
    notes: makeNotes("notes"),
    prepare: (_, us) =>
      Effect.flatMap(
        Effect.provideContext(ReplicatedEventSourced.receive(makeNotes("notes")), us.context),
        (receive) =>
          receive("a", {
            event: new Added({ text: "lost" }),
            metadata: {},
            replication: {
              origin: "eu",
              originSequenceNumber: SequenceNumber.make(3),
              version: new Map([["eu", SequenceNumber.make(3)]]),
              concurrent: false
            }
          })
      ),
    repair: (eu) => Effect.forEach(["1", "2", "3"], (text) => eu.notes("a").Add({ text }))
  })],
  ["too many commands of its entity wait", refusing(new Overloaded({ ...ofA, full: "mailbox", limit: 1 }))],
  ["others write to its entity all the time", refusing(new EntityConflict({ ...ofA, attempts: 10 }))]
]

const sliceAtUs = (id: string) => Slice.ofPersistenceId(PersistenceId.parse(`notes|${id}|us`))

describe("an event that is not stored", () => {
  it.live.each(heldUp)(
    "as %s holds up nobody else's, and is stored by itself once that is over",
    ([, of]) =>
      Effect.gen(function*() {
        const state = { isBroken: false }
        const { notes, prepare = () => Effect.void, repair = () => Effect.void, ...options } = of(state)
        const { replicas } = yield* Regions.start(notes, { eu: MemoryStorage.layer, us: MemoryStorage.layer }, {
          ...options,
          links: (from) => from === "eu"
        })
        const [eu, us] = replicas
        yield* prepare(eu!, us!)
        state.isBroken = true
        const before = (yield* us!.events("a")).length
        yield* us!.notes("a").Add({ text: "held" })
        // more than are under way at once, in all slice ranges
        const others = Array.from({ length: 40 }, (_, i) => `o${i}`)
        yield* Effect.forEach(others, (id) => us!.notes(id).Add({ text: "fine" }), { discard: true })
        yield* Wait.until(
          "those of others",
          Effect.map(Effect.forEach(others, eu!.events), (all) => all.every(({ length }) => length === 1)),
          { atMost: "60 seconds" }
        )
        yield* us!.notes("a").Add({ text: "behind" })
        const counts = ProjectionManagement.deadLetterCounts(eu!.projections[0]!.name)
        yield* Wait.until(
          "the one behind it to wait",
          Effect.map(Effect.provideContext(counts, eu!.context), ({ queued }) => queued === 1)
        )
        const fromUs = Effect.map(eu!.events("a"), (events) => events.filter((event) => event.startsWith("us")))
        assert.deepStrictEqual(yield* fromUs, [])
        state.isBroken = false
        yield* repair(eu!, us!)
        yield* Wait.until("both", Effect.map(fromUs, ({ length }) => length === 2), { atMost: "2 minutes" })
        assert.deepStrictEqual(yield* fromUs, (yield* us!.events("a")).slice(before))
      }).pipe(Effect.scoped, quietly),
    180_000
  )

  it.live(
    "among many of its slice that come together, the events before it are stored, and all of others",
    () =>
      Effect.gen(function*() {
        const state = { isBroken: false }
        const notes = makeNotes("notes", {
          onEvolve: ({ text }) => {
            if (state.isBroken && text === "bad") throw new Error("broken")
          }
        })
        const { replicas } = yield* Regions.start(notes, { eu: MemoryStorage.layer, us: MemoryStorage.layer }, {
          links: (from) => from === "eu"
        })
        const [eu, us] = replicas
        const neighbour = Array.from({ length: 100_000 }, (_, i) => `n${i}`).find((id) =>
          sliceAtUs(id) === sliceAtUs("a")
        )!
        // so that they come together
        yield* eu!.pause("us")
        const texts = Array.from({ length: 60 }, (_, i) => i === 30 ? "bad" : `${i}`)
        for (const text of texts) {
          yield* us!.notes("a").Add({ text })
          yield* us!.notes(neighbour).Add({ text: "fine" })
        }
        state.isBroken = true
        yield* eu!.resume("us")
        const letters = Effect.provideContext(ProjectionManagement.deadLetters(eu!.projections[0]!.name), eu!.context)
        yield* Wait.until(
          "those behind it to wait",
          Effect.map(letters, ({ length }) => length >= 30),
          { atMost: "60 seconds" }
        )
        assert.deepStrictEqual(
          (yield* letters).map(({ envelope }) => [envelope.persistenceId, envelope.sequenceNumber]),
          Array.from({ length: 30 }, (_, i) => ["notes|a|us", 31 + i] as any)
        )
        assert.strictEqual((yield* eu!.events("a")).length, 30)
        // its last one is behind all of those
        yield* Wait.until(
          "all of its neighbour",
          Effect.map(eu!.events(neighbour), ({ length }) => length === 60),
          { atMost: "60 seconds" }
        )
        state.isBroken = false
        yield* Wait.until("all", Effect.map(eu!.events("a"), ({ length }) => length === 60), { atMost: "2 minutes" })
        assert.deepStrictEqual(yield* eu!.events("a"), yield* us!.events("a"))
        assert.deepStrictEqual(yield* eu!.events(neighbour), yield* us!.events(neighbour))
      }).pipe(Effect.scoped, quietly),
    180_000
  )

  it.live("as the journal is away is put aside of no entity", () =>
    Effect.gen(function*() {
      let tries = 0
      const notes = makeNotes("notes")
      const { replicas } = yield* Regions.start(notes, { eu: MemoryStorage.layer, us: MemoryStorage.layer }, {
        links: (from) => from === "eu",
        given: (_, entities) => ({
          send: (id, command) =>
            Effect.suspend(() =>
              tries++ < 5
                ? Effect.fail(new JournalUnavailable({ entityType: "notes", id, isUnknown: false, cause: "away" }))
                : entities.send(id, command)
            )
        })
      })
      const [eu, us] = replicas
      yield* us!.notes("a").Add({ text: "one" })
      yield* Wait.until("it", Effect.map(eu!.events("a"), ({ length }) => length === 1), { atMost: "60 seconds" })
      const counts = ProjectionManagement.deadLetterCounts(eu!.projections[0]!.name)
      assert.deepStrictEqual(yield* Effect.provideContext(counts, eu!.context), { entities: 0, failed: 0, queued: 0 })
      assert.isAbove(tries, 5)
    }).pipe(Effect.scoped, quietly), 90_000)

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

/** A region on a database of its own that ends with its scope, and consumes what lives at these ports. */
const running = Effect.fnUntraced(function*(
  id: string,
  filename: string,
  port: number,
  ports: Readonly<Record<string, number>>,
  placed: <A, E, R>(layer: Layer.Layer<A, E, R>) => Layer.Layer<A, E, R> = (layer) => layer
) {
  const notes = makeNotes("notes")
  const consumers = 2
  const replicas = Object.fromEntries(
    Object.entries(ports).map(([id, port]) => [id, { address: `localhost:${port}` }])
  )
  const context = yield* Layer.build(Layer.fresh(
    placed(Replication.layer(notes, { replicas, consumers })).pipe(
      Layer.provideMerge(ReplicatedEventSourced.layer(notes)),
      Layer.provideMerge([
        Replica.layer(id),
        GrpcServer.layer({ port }),
        SqliteStorage.layer({ filename }),
        ProjectionRegistry.layer
      ])
    )
  ))
  const client = yield* Effect.provideContext(ReplicatedEventSourced.client(notes), context)
  const stored = Stream.runCollect(Journal.read(notes.entityType, `a|${id}`))
  return {
    context,
    projections: Replication.projections(notes, id, { replicas, consumers }),
    verify: Effect.provideContext(ReplicaVerification.verify(notes, { replicas }), context),
    add: (text: string) => client("a").Add({ text }),
    has: (...expected: ReadonlyArray<string>) =>
      Wait.until(
        `'${expected.join("', '")}' at ${id}`,
        Effect.map(Effect.provideContext(stored, context), (events) => {
          const texts = Array.from(events, ({ event }) => event.text)
          return texts.length === expected.length && expected.every((text) => texts.includes(text))
        })
      )
  }
})

describe("a replica of several processes", () => {
  it.live("with a placement consumes each slice range of another one once", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const [one, two, us] = yield* Effect.all([freePort, freePort, freePort])
      const there = yield* running("us", Path.join(folder, "us.db"), us, {})
      const placed = Layer.provide(ClusterPlacement.layer()) as <A, E, R>(
        layer: Layer.Layer<A, E, R>
      ) => Layer.Layer<A, E, R>
      const processes = yield* Effect.forEach(
        [one, two],
        (port) => running("eu", Path.join(folder, "eu.db"), port, { us }, placed)
      )
      const states = Effect.forEach(processes, ({ context }) =>
        Effect.map(Effect.provideContext(ProjectionStatus.status("RES_notes_eu_us"), context), (workers) =>
          workers.map(({ state }) =>
            state
          )))
      yield* Wait.until(
        "each process to have one worker of two",
        Effect.map(states, (states) =>
          states.every((states) =>
            states.filter((state) => state === "Running").length === 1
          )),
        { atMost: "60 seconds" }
      )
      for (const text of ["1", "2", "3"]) yield* there.add(text)
      for (const { has } of processes) yield* has("1", "2", "3")
    }).pipe(Effect.scoped, quietly), 120_000)
})

describe("a replica whose database was restored from a backup", () => {
  it.live(
    "is refused by those that have what it has lost, also once they are rewound, and begins anew under another id",
    () =>
      Effect.gen(function*() {
        const folder = yield* temporaryFolder
        const fileOf = (name: string) => Path.join(folder, `${name}.db`)
        const [eu, us, ap] = yield* Effect.all([freePort, freePort, freePort])
        yield* Effect.scoped(Effect.gen(function*() {
          const there = yield* running("us", fileOf("us"), us, { eu })
          yield* Effect.scoped(Effect.gen(function*() {
            const { add } = yield* running("eu", fileOf("eu"), eu, { us })
            yield* add("1")
            yield* there.has("1")
          }))
          yield* Effect.promise(() => copyFile(fileOf("eu"), fileOf("backup")))
          yield* Effect.scoped(Effect.gen(function*() {
            const { add } = yield* running("eu", fileOf("eu"), eu, { us })
            yield* add("2")
            yield* add("3")
            yield* there.has("1", "2", "3")
          }))
          const told: Array<string> = []
          const logger = Logger.layer([Logger.make(({ message }) => told.push(String(message)))])
          yield* Effect.scoped(Effect.gen(function*() {
            const { add } = yield* running("eu", fileOf("backup"), eu, {}).pipe(
              Effect.provide(logger),
              Effect.provideService(References.MinimumLogLevel, "Warn")
            )
            for (const text of ["new-2", "new-3", "new-4"]) yield* add(text)
            const status = Effect.provideContext(ProjectionStatus.status("RES_notes_us_eu"), there.context)
            yield* Wait.until(
              "the projection to be stopped",
              Effect.map(status, (status) => JSON.stringify(status).includes("JournalForked"))
            )
            // the log of the restored one says who has more than it
            const failed = told.find((line) => line.startsWith("A call of EventsBySlices failed"))
            assert.match(
              failed ?? "",
              /^A call of EventsBySlices failed for replica "us" at \S+ on the stream 'notes'/
            )
            yield* Effect.provideContext(Projection.rewind(there.projections[0]!, "beginning"), there.context)
            const groups = ProjectionManagement.deadLetterGroups("RES_notes_us_eu")
            yield* Wait.until(
              "the entity to be held up",
              Effect.map(
                Effect.provideContext(groups, there.context),
                (groups) => groups.some(({ fingerprint }) => fingerprint.includes("HistoryForked"))
              )
            )
            yield* there.has("1", "2", "3")
            // 'new-4' has not come, as the entity is held up
            const [{ differences, events, states, underWay }] = (yield* there.verify) as [ReplicaVerification.Report]
            assert.deepStrictEqual([events, states, underWay], [1, 0, 1])
            assert.deepStrictEqual(differences, [
              { _tag: "OtherEvents", id: "a", origin: "eu", count: 2, numbers: [2, 3] }
            ])
          }))
        }))
        const there = yield* running("us", fileOf("us"), us, { ap })
        const anew = yield* running("ap", fileOf("ap"), ap, { us })
        yield* anew.has("1", "2", "3")
        yield* anew.add("4")
        yield* there.has("1", "2", "3", "4")
      }).pipe(Effect.scoped, quietly),
    180_000
  )
})

describe("events from before an entity type was replicated", () => {
  it.live("are passed over by the streams, which say so once", () =>
    Effect.gen(function*() {
      const notes = makeNotes("notes")
      const said: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (logLevel === "Warn") said.push(String(message))
      })
      const { replicas, settled } = yield* Effect.provide(
        Regions.start(notes, { eu: MemoryStorage.layer, us: MemoryStorage.layer }),
        Logger.layer([logger])
      )
      const [, us] = replicas
      for (const id of ["old-1", "old-2"]) {
        yield* Effect.provideContext(
          Journal.append(notes.entityType, { id, events: [new Added({ text: id })] }),
          us!.context
        )
      }
      const entities = Array.from({ length: 20 }, (_, i) => `n-${i}`)
      for (const id of entities) yield* us!.notes(id).Add({ text: "new" })
      yield* settled(entities, () => 1)
      const [warning, ...more] = said.filter((text) => text.includes("notes|old-"))
      assert.include(warning, "not of replica 'us'")
      assert.deepStrictEqual(more, [])
    }).pipe(Effect.scoped))
})

/** In eu the address of us is that of ap. */
const misled = (from: string, to: string): string => from === "eu" && to === "us" ? "ap" : to

describe("an address beyond this machine", () => {
  it.effect("is refused without TLS when the region starts, if it is that of another one", () =>
    Effect.gen(function*() {
      const notes = makeNotes("notes")
      const starting = (replicas: Replication.ConsumerOptions["replicas"]) =>
        Layer.build(
          Replication.consumer(notes, { replicas }).pipe(
            Layer.provide(ReplicatedEventSourced.layer(notes)),
            Layer.provide([Replica.layer("eu"), MemoryStorage.layer])
          )
        )
      const eu = { address: "eu.example.com:8101" }
      const error = yield* Effect.flip(starting({ eu, us: { address: "us.example.com:8101" } }))
      assert.deepStrictEqual([error._tag, error.address], ["InsecureTransport", "us.example.com:8101"])
      yield* starting({ eu })
    }).pipe(Effect.scoped, quietly))
})

describe("a wrong address", () => {
  it.live("has nothing stored, and does no harm once it is corrected", () =>
    Effect.gen(function*() {
      const notes = makeNotes("notes")
      const { replicas, settled, swap } = yield* Regions.start(notes, memory(), { answers: misled })
      const [eu, us, ap] = replicas
      // what ap has of them is a placeholder to eu, which comes before any event of ap's own
      for (const id of ["a", "b", "c"]) yield* us!.notes(id).Add({ text: "one" })
      for (const id of ["a", "b", "c"]) {
        yield* Wait.until("it at ap", Effect.map(ap!.events(id), ({ length }) => length === 1))
      }
      const status = Effect.provideContext(ProjectionStatus.status("RES_notes_eu_us"), eu!.context)
      yield* Wait.until(
        "each worker to say which replica answers",
        Effect.map(status, (status) => JSON.stringify(status).split("WrongReplica").length > 2)
      )
      yield* swap("eu", "us", "us")
      yield* settled(["a", "b", "c"], () => 1)
    }).pipe(Effect.scoped, quietly))
})

describe("a replica that starts", () => {
  it.live("is waited for with one line in the log, however many workers wait", () => {
    const told: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => {
      if (logLevel !== "Warn") return
      // what is waited between two tries tells how often it was tried, until it is the most that is waited
      const [waits, ms] = /again in (\d+) ms/.exec(String(message)) ?? []
      if (Number(ms) > 7_700) return
      told.push(
        waits === undefined
          ? String(message)
          : String(message).replace(waits, `try ${Math.floor(Math.log2(Number(ms) / 150))}`)
      )
    })
    return Effect.gen(function*() {
      const notes = makeNotes("notes")
      const port = yield* freePort
      const eu = yield* Layer.build(Layer.fresh(
        Replication.layer(notes, { replicas: { us: { address: `localhost:${port}` } }, consumers: 8 }).pipe(
          Layer.provideMerge(ReplicatedEventSourced.layer(notes)),
          Layer.provideMerge([
            Replica.layer("eu"),
            GrpcServer.layer({ port: 0 }),
            MemoryStorage.layer,
            ProjectionRegistry.layer
          ])
        )
      ))
      const isSaid = (what: string) => () => told.some((line) => line.includes(what))
      yield* Wait.until("it to be waited for", isSaid("Waits until the producer"), { atMost: "60 seconds" })
      const server = yield* Layer.build(Layer.fresh(GrpcServer.layer({ port })))
      const states = Effect.provideContext(ProjectionStatus.status("RES_notes_eu_us"), eu)
      yield* Wait.until(
        "each worker to be answered",
        Effect.map(states, (workers) => workers.every((worker) => JSON.stringify(worker).includes("StreamNotOffered"))),
        { atMost: "60 seconds" }
      )
      yield* Effect.provideContext(
        Layer.build(Layer.fresh(
          Replication.producer(notes).pipe(
            Layer.provideMerge(ReplicatedEventSourced.layer(notes)),
            Layer.provideMerge([Replica.layer("us"), MemoryStorage.layer, ProjectionRegistry.layer])
          )
        )),
        server
      )
      yield* Wait.until(
        "all to run",
        Effect.map(states, (workers) => workers.every(({ state }) => state === "Running")),
        { atMost: "60 seconds" }
      )
      // which is said again every half a minute
      const waits = told.filter((line) => line.startsWith("Waits until"))
      const tries = told.filter((line) => !waits.includes(line))
      assert.isBelow(waits.length, 8)
      assert.isAbove(tries.length, 1)
      assert.deepStrictEqual(tries, [...new Set(tries)])
    }).pipe(Effect.scoped, Effect.provide(Logger.layer([logger])))
  }, 240_000)
})

/** What is logged meanwhile of replicas that are not given a stream. */
const refusals = () => {
  const told: Array<string> = []
  const logger = Logger.make(({ message }) => {
    if (String(message).includes("is not given the stream")) told.push(String(message))
  })
  return { told, layer: Logger.layer([logger]) }
}

/** Until each worker of a projection says why it is given nothing. */
const refused = (replica: string, projection: string, code: string) =>
  Wait.until(
    `each worker of ${projection} to say why it is given nothing`,
    Effect.map(ProjectionStatus.status(projection), (workers) =>
      workers.length > 0 && workers.every(({ failure, state }) => {
        const said = JSON.stringify(failure?.cause)
        return state !== "Running" && said !== undefined && said.includes("ReplicaRefused") && said.includes(code) &&
          said.includes(`'${replica}'`)
      })),
    { atMost: "60 seconds" }
  )

const orderOf = (id: string) => id === "ap" ? "causal" as const : "origin" as const

describe("replicas of different orders", () => {
  it.live("are not given each other's events, and both sides say why", () => {
    const { layer, told } = refusals()
    return Effect.gen(function*() {
      const notes = makeNotes("notes")
      const { replicas } = yield* Regions.start(notes, memory(), { orderOf })
      const [eu, us, ap] = replicas
      yield* eu!.notes("a").Add({ text: "one" })
      for (const [replica, other] of [[eu!, "ap"], [us!, "ap"], [ap!, "eu"], [ap!, "us"]] as const) {
        yield* Effect.provideContext(
          refused(other, `RES_notes_${replica.id}_${other}`, "OtherOrder"),
          replica.context
        )
      }
      yield* Wait.until("it at one of the same order", Effect.map(us!.events("a"), ({ length }) => length === 1))
      assert.deepStrictEqual(yield* ap!.events("a"), [])
      // however many workers ask, and however often
      assert.lengthOf(told, 4)
      assert.include(
        told.find((line) => line.startsWith(`Replica "us"`)),
        "is not given the stream 'notes': 'ap' stores events in the order 'causal', and 'us' in the order 'origin'"
      )
    }).pipe(Effect.scoped, Effect.provide(layer))
  }, 120_000)
})

describe("a replica that runs twice", () => {
  it.live.each(["read before", "read by nobody"] as const)(
    "is given nothing with its other journal, at once, and both sides say why (%s)",
    (known) => {
      const { layer, told } = refusals()
      return Effect.gen(function*() {
        const notes = makeNotes("notes")
        const { ports, replicas } = yield* Regions.start(notes, memory())
        const [eu, us] = replicas
        if (known === "read before") {
          yield* us!.notes("a").Add({ text: "one" })
          yield* Wait.until("it at eu", Effect.map(eu!.events("a"), ({ length }) => length === 1))
        }
        yield* Wait.until(
          "us to be given events",
          Effect.map(
            Effect.provideContext(ProjectionStatus.status("RES_notes_us_eu"), us!.context),
            (workers) => workers.length > 0 && workers.every(({ state }) => state === "Running")
          )
        )
        const twin = yield* Layer.build(Layer.fresh(
          Replication.layer(notes, { replicas: { eu: { address: `localhost:${ports.get("eu")}` } } }).pipe(
            Layer.provideMerge(ReplicatedEventSourced.layer(notes)),
            Layer.provideMerge([
              Replica.layer("us"),
              GrpcServer.layer({ port: 0 }),
              Layer.fresh(MemoryStorage.layer),
              ProjectionRegistry.layer
            ])
          )
        ))
        yield* Effect.provideContext(refused("eu", "RES_notes_us_eu", "OtherJournal"), twin)
        yield* eu!.notes("b").Add({ text: "two" })
        yield* Wait.until("it where it was", Effect.map(us!.events("b"), ({ length }) => length === 1))
        assert.lengthOf(told, 1)
        assert.match(
          told[0]!,
          /^Replica "us" at .*: 'eu' knows the journal '.*' as that of 'us', and this one has '.*runs twice/
        )
      }).pipe(Effect.scoped, Effect.provide(layer))
    },
    120_000
  )
})

describe("a replica that is not known", () => {
  it.live("is told of once in the log of each that it consumes", () =>
    Effect.gen(function*() {
      const notes = makeNotes("notes")
      const told: Array<string> = []
      const logger = Logger.layer([Logger.make(({ message }) => told.push(String(message)))])
      yield* Effect.gen(function*() {
        const { ports, replicas } = yield* Regions.start(notes, memory())
        yield* replicas[0]!.notes("a").Add({ text: "one" })
        const address = `localhost:${ports.get("eu")}`
        for (const id of ["sa", "sa", "af", "us"]) yield* offered(address, { id, others: ["eu"] }, 1)
      }).pipe(Effect.scoped, Effect.provide(logger))
      const strangers = told.filter((line) => line.includes("none of the replicas"))
      assert.strictEqual(strangers.length, 2)
      assert.match(strangers[0]!, /^Replica "sa" at .* consumes the stream 'notes', and is none .* 'eu', 'us', 'ap'\./)
      assert.match(strangers[1]!, /^Replica "af"/)
    }), 120_000)
})

describe("a replica that another one does not know", () => {
  it.live("says so once in its own log", () =>
    Effect.gen(function*() {
      const notes = makeNotes("notes")
      const there = yield* Layer.build(Layer.fresh(
        Replication.producer({ ...notes, replicas: ["eu", "ap"] }).pipe(
          Layer.provideMerge([Replica.layer("eu"), GrpcServer.layer({ port: 0 }), MemoryStorage.layer])
        )
      ))
      const { port } = Context.get(there, GrpcServer.GrpcServer)
      const told: Array<string> = []
      const logger = Logger.layer([Logger.make(({ message }) => told.push(String(message)))])
      const us = yield* Layer.build(Layer.fresh(
        Replication.consumer(notes, { replicas: { eu: { address: `localhost:${port}` } } }).pipe(
          Layer.provideMerge(ReplicatedEventSourced.layer(notes)),
          Layer.provideMerge([Replica.layer("us"), MemoryStorage.layer, ProjectionRegistry.layer]),
          Layer.provide(logger)
        )
      ))
      yield* Wait.until(
        "all to run",
        Effect.map(
          Effect.provideContext(ProjectionStatus.status("RES_notes_us_eu"), us),
          (workers) => workers.length === 4 && workers.every(({ state }) => state === "Running")
        )
      )
      assert.deepStrictEqual(told.filter((line) => line.includes("does not know")), [
        `Replica 'eu' at localhost:${port} gives this one, 'us', the stream 'notes', and does not know it. What is written here does not come there: ` +
        "name 'us' among the replicas of the entity type there as well, and consume it"
      ])
    }).pipe(Effect.scoped, Effect.provide(Logger.layer([]))))
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
