import { assert, it } from "@effect/vitest"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import type { Slice } from "@sluice/core/Slice"
import * as Source from "@sluice/core/Source"
import { StorageError } from "@sluice/core/StorageError"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import * as Replica from "@sluice/replication/Replica"
import * as ReplicatedEventSourced from "@sluice/replication/ReplicatedEventSourced"
import * as Replication from "@sluice/replication/Replication"
import * as ReplicationStatus from "@sluice/replication/ReplicationStatus"
import { freePort } from "@sluice/testing/FreePort"
import * as Wait from "@sluice/testing/Wait"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { Added, makeNotes } from "../packages/replication/test/kit/Notes.ts"
import { statusTests } from "./replication/status.ts"

statusTests(
  "in memory",
  Effect.succeed({ eu: MemoryStorage.layer, us: MemoryStorage.layer, ap: MemoryStorage.layer })
)

it.live("a direction is not in step while what was gone past is looked through for a filter", () =>
  Effect.gen(function*() {
    const notes = makeNotes("notes")
    const { identity } = yield* Journal.Journal
    const { position, slice, timestamp } = yield* Journal.append(notes.entityType, {
      id: "a|eu",
      events: [new Added({ text: "x" })]
    })
    let incomplete: ReadonlySet<Slice> = new Set([slice])
    const producer = EventProducer.layer(Replication.stream(notes), Source.journal(notes.entityType), {
      replica: {
        id: "us",
        replicas: notes.replicas,
        progress: () =>
          Effect.sync(() => ({
            journal: identity,
            offsets: new Map([[slice, { position, timestamp }]]),
            incomplete,
            waiting: 0,
            state: "Running",
            others: ["eu"]
          }))
      }
    })
    const { port } = Context.get(
      yield* Layer.build(Layer.fresh(Layer.provideMerge(producer, GrpcServer.layer({ port: 0 })))),
      GrpcServer.GrpcServer
    )
    const outgoing = ReplicationStatus.status(notes, { replicas: { us: { address: `localhost:${port}` } } }).pipe(
      Effect.map(([pair]) => pair!.outgoing)
    )
    const before = yield* outgoing
    assert.deepStrictEqual([before.lag, before.waiting, before.isComplete], [0, 0, false])
    assert.isFalse(ReplicationStatus.isInStep(before))
    incomplete = new Set()
    assert.isTrue(ReplicationStatus.isInStep(yield* outgoing))
  }).pipe(
    Effect.scoped,
    Effect.provide(Layer.merge(Replica.layer("eu"), MemoryStorage.layer)),
    Effect.provideService(References.MinimumLogLevel, "None")
  ))

it.live(
  "what was written is waited for by the name of the projection alone, where it was read by another way before",
  () =>
    Effect.gen(function*() {
      const notes = makeNotes("notes")
      const region = (id: string) =>
        Layer.build(Layer.fresh(
          Replication.producer(notes).pipe(
            Layer.provideMerge(ReplicatedEventSourced.layer(notes)),
            Layer.provideMerge([
              Replica.layer(id),
              GrpcServer.layer({ port: 0 }),
              MemoryStorage.layer,
              ProjectionRegistry.layer
            ])
          )
        ))
      const [eu, us] = [yield* region("eu"), yield* region("us")]
      const address = `localhost:${Context.get(eu, GrpcServer.GrpcServer).port}`
      const here = (yield* Effect.provideContext(ReplicatedEventSourced.client(notes), eu))("a")
      // nobody is at the other address: at first its events would come from there, and then by way of eu
      for (const replicas of [{ eu: { address }, ap: { address: "localhost:1" } }, { eu: { address } }]) {
        yield* Effect.gen(function*() {
          yield* Layer.build(Replication.consumer(notes, { replicas }))
          for (let i = 0; i < 2; i++) {
            const { receipt } = yield* here.Add.withReceipt({ text: "x" })
            yield* ProjectionStatus.reached("RES_notes_us_eu", receipt!, { timeout: "60 seconds" })
          }
        }).pipe(Effect.scoped, Effect.provideContext(us))
      }
      const { list } = yield* Effect.provideContext(ProjectionManagement.ProjectionManagement, us)
      const sources = (yield* list).filter(({ projection }) => projection === "RES_notes_us_eu")
      assert.deepStrictEqual(sources.map(({ source }) => source).toSorted(), ["stream:notes:eu", "stream:notes:eu+ap"])
    }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None")),
  150_000
)

it.live("a new replica is waited for while its own database is away, and one that the entity does not have is refused", () =>
  Effect.gen(function*() {
    const notes = makeNotes("notes")
    const there = Layer.fresh(Layer.provideMerge(
      Replication.producer(notes),
      [Replica.layer("us"), GrpcServer.layer({ port: 0 }), MemoryStorage.layer]
    ))
    const { port } = Context.get(yield* Layer.build(there), GrpcServer.GrpcServer)
    const management = yield* ProjectionManagement.ProjectionManagement
    let asked = 0
    const away = new StorageError({ operation: "read the progress", reason: "Unavailable", cause: "a test" })
    const filling = ReplicationStatus.filled(notes, { replicas: { us: { address: `localhost:${port}` } } })
    yield* Effect.provideService(filling, ProjectionManagement.ProjectionManagement, {
      ...management,
      progress: (...args) => Effect.suspend(() => ++asked < 3 ? Effect.fail(away) : management.progress(...args))
    })
    // it was asked again until it could tell
    assert.isAtLeast(asked, 3)
    const options = { replicas: { mars: { address: "localhost:1" } } }
    for (const asking of [ReplicationStatus.filled(notes, options), ReplicationStatus.status(notes, options)]) {
      const exit = yield* Effect.exit(asking)
      assert(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.include(Cause.pretty(exit.cause), "'mars' is none of the replicas")
    }
  }).pipe(
    Effect.scoped,
    Effect.provide(Layer.merge(Replica.layer("eu"), MemoryStorage.layer)),
    Effect.provideService(References.MinimumLogLevel, "None")
  ))

it.effect("a new replica waits until the others know it", () => {
  const told: Array<string> = []
  return Effect.gen(function*() {
    const notes = makeNotes("notes")
    const port = yield* freePort
    const storage = yield* Layer.build(Layer.fresh(MemoryStorage.layer))
    const us = (replicas: ReadonlyArray<string>) =>
      Layer.build(Layer.fresh(
        Replication.producer({ ...notes, replicas }).pipe(
          Layer.provide([Replica.layer("us"), GrpcServer.layer({ port }), Layer.succeedContext(storage)])
        )
      ))
    const filling = yield* Effect.forkChild(
      ReplicationStatus.filled(notes, { replicas: { us: { address: `localhost:${port}` } } })
    )
    yield* Effect.scoped(Effect.andThen(
      us(["us", "ap"]),
      Wait.until(
        "it to say so",
        Effect.map(
          TestClock.adjust("1 second"),
          () =>
            told.some((line) =>
              /waits until that one says that it knows 'eu': .*'eu' is none of the replicas/.test(line)
            )
        )
      )
    ))
    assert.isUndefined(filling.pollUnsafe())
    yield* us(notes.replicas)
    yield* Wait.until("it", Effect.map(TestClock.adjust("1 second"), () => filling.pollUnsafe() !== undefined))
  }).pipe(
    Effect.scoped,
    Effect.provide(Layer.merge(Replica.layer("eu"), MemoryStorage.layer)),
    Effect.provide(Logger.layer([Logger.make(({ message }) => told.push(String(message)))]))
  )
})

it.live("in what time all have come is not known of a replica that cannot be reached", () =>
  Effect.gen(function*() {
    const notes = makeNotes("notes")
    const scope = yield* Scope.make()
    const there = Layer.fresh(Layer.provideMerge(
      Replication.producer(notes),
      [Replica.layer("us"), GrpcServer.layer({ port: 0 }), MemoryStorage.layer]
    ))
    const { port } = Context.get(yield* Scope.provide(Layer.build(there), scope), GrpcServer.GrpcServer)
    const options = { replicas: { us: { address: `localhost:${port}` } } }
    const running = Layer.provideMerge(Replication.consumer(notes, options), ReplicatedEventSourced.layerPlain(notes))
    yield* Layer.build(running)
    const incoming = Effect.map(ReplicationStatus.status(notes, options), ([pair]) => pair!.incoming)
    let before = yield* incoming
    yield* Wait.until(
      "the workers to say how far they are",
      Effect.map(incoming, (incoming) => (before = incoming).state === "Running")
    )
    assert.deepStrictEqual([before.lag, before.eta], [0, Duration.zero])
    yield* Scope.close(scope, Exit.void)
    const after = yield* incoming
    assert.deepStrictEqual([after.lag, after.eta], [undefined, undefined])
  }).pipe(
    Effect.scoped,
    Effect.provide(Layer.merge(Replica.layer("eu"), MemoryStorage.layer)),
    Effect.provideService(References.MinimumLogLevel, "None")
  ), 120_000)
