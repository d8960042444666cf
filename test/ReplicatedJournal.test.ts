import { assert, it } from "@effect/vitest"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Position from "@sluice/core/Position"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as SnapshotStore from "@sluice/core/SnapshotStore"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import type { ReplicaProgress } from "@sluice/grpc/ReplicaProgress"
import * as Replica from "@sluice/replication/Replica"
import * as ReplicatedJournal from "@sluice/replication/ReplicatedJournal"
import * as Replication from "@sluice/replication/Replication"
import * as Wait from "@sluice/testing/Wait"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import { Added, makeNotes } from "../packages/replication/test/kit/Notes.ts"
import * as JumpingClock from "./kit/JumpingClock.ts"
import { deletionTests } from "./replication/deletion.ts"
import * as Regions from "./replication/regions.ts"

type Region = Effect.Success<ReturnType<typeof Regions.start>>["replicas"][number]

deletionTests(
  "in memory",
  Effect.succeed({ eu: MemoryStorage.layer, us: MemoryStorage.layer, ap: MemoryStorage.layer })
)

it.effect("what comes while replicas are asked stays, however old it is", () =>
  Effect.gen(function*() {
    const notes = makeNotes("notes")
    const journal = yield* Journal.Journal
    const append = (text: string) =>
      Journal.append(notes.entityType, { id: "a|eu", events: [new Added({ text }), new Added({ text })] })
    yield* append("before")
    // it includes what comes meanwhile as well
    yield* SnapshotStore.save(notes.stateType, {
      id: "a|eu",
      sequenceNumber: 4,
      state: { notes: [], concurrent: [], times: [] }
    })
    const meanwhile = {
      ...journal,
      before: (...args: Parameters<typeof journal.before>) =>
        Effect.tap(
          journal.before(...args),
          () => Effect.orDie(Effect.provideService(append("meanwhile"), Journal.Journal, journal))
        )
    }
    const removed = yield* ReplicatedJournal.prune(notes, {
      replicas: {},
      gone: ["us", "ap"],
      before: Timestamp.make((yield* journal.now) + 3_600_000_000)
    }).pipe(Effect.provideService(Journal.Journal, meanwhile))
    assert.strictEqual(removed, 2)
  }).pipe(Effect.provide(Layer.merge(Replica.layer("eu"), MemoryStorage.layer))))

it.live(
  "what has come of a deleted entity comes again once a region is removed, and holds up no deletion",
  () =>
    Effect.gen(function*() {
      const notes = makeNotes("notes")
      const storage = Effect.map(Layer.build(Layer.fresh(MemoryStorage.layer)), Layer.succeedContext)
      const storages = yield* Effect.all({ eu: storage, us: storage, ap: storage })
      const deleting = ({ context, options }: Region, id: string) =>
        ReplicatedJournal.deleteEvents(notes, id, {
          ...options,
          gone: options.replicas["ap"] ? [] : ["ap"],
          within: "90 seconds"
        })
          .pipe(Effect.provideContext(context))
      yield* Effect.scoped(Effect.gen(function*() {
        const { replicas, settled } = yield* Regions.start(notes, storages, { isPlain: true })
        for (const { notes } of replicas) for (const id of ["a", "b"]) yield* notes(id).Add({ text: "x" })
        yield* settled(["a", "b"], () => 3)
        for (const id of ["a", "b"]) yield* deleting(replicas[0]!, id)
      }))
      const { replicas } = yield* Regions.start(notes, { eu: storages.eu, us: storages.us }, { isPlain: true })
      const [eu, us] = replicas as [Region, Region]
      yield* deleting(us, "a")
      // what has not come before waits
      yield* us.notes("b").Add({ text: "late" })
      const ref = { projection: "RES_notes_eu_us", source: "stream:notes:us+ap" }
      const groups = ProjectionManagement.deadLetterGroups(ref).pipe(Effect.provideContext(eu.context))
      yield* Wait.until(
        "it to wait",
        Effect.map(groups, (groups) => groups.some(({ fingerprint }) => fingerprint.includes("RecoveryFailed")))
      )
      const { failed, queued } = yield* ProjectionManagement.deadLetterCounts(ref).pipe(
        Effect.provideContext(eu.context)
      )
      assert.deepStrictEqual([failed, queued], [1, 0])
      assert.strictEqual((yield* us.events("b")).length, 4)
      // it has read two sources by now
      const discarded = (projection: Parameters<typeof ProjectionManagement.discardLetters>[0]) =>
        ProjectionManagement.discardLetters(projection, { persistenceId: "notes|b|us" }).pipe(
          Effect.provideContext(eu.context)
        )
      assert.strictEqual((yield* Effect.flip(discarded(ref.projection)))._tag, "AmbiguousProjection")
      assert.strictEqual(yield* discarded(ref), 1)
      yield* deleting(us, "b")
    }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None")),
  180_000
)

it.effect("what is not an id, a number or a replica is refused, before anybody is asked", () =>
  Effect.gen(function*() {
    const notes = makeNotes("notes")
    const options = { replicas: {} }
    const errors = yield* Effect.all([
      Effect.flip(ReplicatedJournal.deleteEvents(notes, "a".repeat(300), options)),
      Effect.flip(ReplicatedJournal.deleteEvents(notes, "a", { ...options, to: 0.5 })),
      Effect.flip(ReplicatedJournal.prune(notes, { ...options, before: NaN as any }))
    ])
    assert.deepStrictEqual(errors.map(({ _tag }) => _tag), ["InvalidInput", "InvalidInput", "InvalidInput"])
    yield* Journal.append(notes.entityType, { id: "a|eu", events: [new Added({ text: "x" })] })
    const exit = yield* Effect.exit(ReplicatedJournal.deleteEvents(notes, "a", { ...options, gone: ["mars"] }))
    assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
    // without an address nobody is known to have it
    const error = yield* Effect.flip(ReplicatedJournal.deleteEvents(notes, "a", options))
    assert(error._tag === "NotEverywhere")
    assert.deepStrictEqual(error.replicas.map(({ replica }) => replica), ["us", "ap"])
    yield* ReplicatedJournal.deleteEvents(notes, "nobody", options)
  }).pipe(Effect.provide(Layer.merge(Replica.layer("eu"), MemoryStorage.layer))))

it.live(
  "others are waited for no longer than was said where the clock is set back meanwhile",
  () =>
    Effect.gen(function*() {
      const notes = makeNotes("notes")
      const clock = yield* JumpingClock.make
      yield* Journal.append(notes.entityType, { id: "a|eu", events: [new Added({ text: "x" })] })
      // without an address nobody is known to have it
      const deleting = ReplicatedJournal.deleteEvents(notes, "a", { replicas: {}, within: "1 second" })
      const settingBack = Effect.forever(Effect.andThen(Effect.sync(() => clock.jump(-60_000)), Effect.sleep(50)))
      const error = yield* Effect.flip(deleting).pipe(
        Effect.raceFirst(settingBack),
        clock.provide,
        Effect.timeout("60 seconds")
      )
      assert.strictEqual(error._tag, "NotEverywhere")
    }).pipe(Effect.provide(Layer.merge(Replica.layer("eu"), MemoryStorage.layer))),
  120_000
)

it.live("nothing is deleted where it is not known of which journal another replica says how far it is", () =>
  Effect.gen(function*() {
    const notes = makeNotes("notes")
    const written = yield* Journal.append(notes.entityType, { id: "a|eu", events: [new Added({ text: "x" })] })
    const { identity } = yield* Journal.Journal
    const replicas = ["eu", "us"]
    const saying = (journal: string | undefined) =>
      Effect.gen(function*() {
        const progress: ReplicaProgress = {
          journal,
          offsets: new Map([[written.slice, { position: Position.make(9), timestamp: written.timestamp }]]),
          incomplete: new Set(),
          waiting: 0,
          state: "Running",
          others: replicas
        }
        const producer = EventProducer.layer(Replication.stream(notes), Source.journal(notes.entityType), {
          replica: { id: "us", replicas, progress: () => Effect.succeed(progress) }
        })
        const { port } = Context.get(
          yield* Layer.build(Layer.fresh(Layer.provideMerge(producer, GrpcServer.layer({ port: 0 })))),
          GrpcServer.GrpcServer
        )
        const options = { replicas: { us: { address: `localhost:${port}` } }, gone: ["ap"] }
        return yield* Effect.result(ReplicatedJournal.deleteEvents(notes, "a", options))
      })
    for (const journal of [undefined, "another"]) {
      const deleted = yield* saying(journal)
      assert(deleted._tag === "Failure" && deleted.failure._tag === "NotEverywhere")
      assert.include(deleted.failure.message, "'us' cannot tell (it has read another journal")
    }
    assert.strictEqual((yield* saying(identity))._tag, "Success")
  }).pipe(Effect.scoped, Effect.provide(Layer.merge(Replica.layer("eu"), MemoryStorage.layer))))
