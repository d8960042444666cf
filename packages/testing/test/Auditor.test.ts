import { assert, describe, it } from "@effect/vitest"
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import * as DurableStateStore from "@sluice/core/DurableStateStore"
import * as EntityType from "@sluice/core/EntityType"
import * as Envelope from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventFilter from "@sluice/core/EventFilter"
import * as Handler from "@sluice/core/Handler"
import * as HeartbeatStore from "@sluice/core/HeartbeatStore"
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import * as OffsetStore from "@sluice/core/OffsetStore"
import * as Position from "@sluice/core/Position"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as StateType from "@sluice/core/StateType"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Auditor from "@sluice/testing/Auditor"
import * as SimulatedDatabase from "@sluice/testing/SimulatedDatabase"
import * as Simulation from "@sluice/testing/Simulation"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Audit } from "../src/internal/simulation/Audit.ts"

const Note = EntityType.make("note", { codec: EventCodec.string })

const stored = (revision: number, offsets: Offset.Offsets) => ({
  revision,
  offsets,
  journal: "j",
  completeUpTo: new Map(),
  rewinds: new Map()
})

/** What does not hold where a storage is changed, or undefined. */
const violated = (
  change: <S>(storage: Context.Context<S>) => Context.Context<S>,
  delivery: "exactlyOnce" | "atLeastOnce" | "atMostOnce" = "exactlyOnce"
): string | undefined => {
  const { exit } = Simulation.run(
    Effect.gen(function*() {
      const database = yield* SimulatedDatabase.make("database")
      const auditor = yield* Auditor.make({ journal: database })
      const Notes = auditor.projection(
        Source.journal(Note).pipe(
          delivery === "exactlyOnce"
            ? Projection.exactlyOnce("notes", () => Effect.void)
            : delivery === "atLeastOnce"
            ? Projection.atLeastOnce("notes", () => Effect.void)
            : Projection.atMostOnce("notes", () => Effect.void)
        )
      )
      const changed: Layer.Layer<SimulatedDatabase.Storage, never, Simulation.Simulation> = Layer.effectContext(
        Effect.map(Layer.build(database.layer), (storage) => change(storage))
      )
      yield* Simulation.process("service", Layer.provideMerge(Projection.layer(Notes), changed))
      const writer = yield* Simulation.process(
        "writer",
        Effect.provide(Journal.append(Note, { id: "n", events: ["a", "b", "c"] }), changed)
      )
      yield* writer.ended
      yield* auditor.settled({ within: "1 minute" })
    }),
    { seed: 7 }
  )
  if (Exit.isSuccess(exit)) return undefined
  const error = Cause.squash(exit.cause)
  return error instanceof Simulation.SimulationFailed ? error.what : String(error)
}

const replace =
  <I, S extends object>(service: Context.Key<I, S>, f: (service: S) => Partial<S>) =>
  <R>(storage: Context.Context<R>): Context.Context<R> => {
    const found = Context.getUnsafe(storage as unknown as Context.Context<I>, service)
    return Context.add(storage, service, { ...found, ...f(found) })
  }

/** A handler that always dies. */
const runStopping = () =>
  Simulation.run(
    Effect.gen(function*() {
      const database = yield* SimulatedDatabase.make("database")
      const auditor = yield* Auditor.make({ journal: database })
      const Notes = auditor.projection(
        Source.journal(Note).pipe(
          Projection.exactlyOnce("notes", () => Effect.die(new Error("MY BUG"))),
          Projection.recovery(RecoveryStrategy.fail)
        )
      )
      yield* Simulation.process("service", Layer.provideMerge(Projection.layer(Notes), database.layer))
      const append = Journal.append(Note, { id: "n", events: ["a"] })
      const writer = yield* Simulation.process("writer", Effect.provide(append, database.layer))
      yield* writer.ended
      yield* auditor.settled({ within: "1 hour" })
    }),
    { seed: 7, trace: true }
  )

const Task = EntityType.make("task", { codec: EventCodec.string })

const outcomeOf = <A>({ exit }: Simulation.Outcome<A, unknown>): A | string | undefined => {
  if (Exit.isSuccess(exit)) return exit.value
  const error = Cause.squash(exit.cause)
  return error instanceof Simulation.SimulationFailed ? error.what : String(error)
}

/** A flow of two sources, which takes so long for an event. */
const auditedFlow = (
  change: (storage: Context.Context<SimulatedDatabase.Storage>) => Context.Context<SimulatedDatabase.Storage>,
  takes: (sequenceNumber: number) => number
) =>
  outcomeOf(Simulation.run(
    Effect.gen(function*() {
      const database = yield* SimulatedDatabase.make("database")
      const auditor = yield* Auditor.make({ journal: database })
      const Both = auditor.projection(
        Source.mergeAll([Source.journal(Note), Source.journal(Task)]).pipe(
          Projection.flow(
            "both",
            (envelopes) =>
              Stream.mapEffect(
                envelopes,
                (envelope) => Effect.delay(Effect.succeed(envelope), takes(envelope.sequenceNumber)),
                { concurrency: 2, unordered: true }
              ),
            { saveAfter: 1 }
          )
        )
      )
      const writing = Effect.andThen(
        Journal.append(Note, { id: "n", events: ["a", "b"] }),
        Journal.append(Task, { id: "t", events: ["a", "b", "c"] })
      )
      yield* (yield* Simulation.process("writer", Effect.provide(writing, database.layer))).ended
      const changed = Layer.effectContext(Effect.map(Layer.build(database.layer), change))
      yield* Simulation.process("service", Layer.provideMerge(Projection.layer(Both), changed))
      yield* auditor.settled({ within: "1 minute" })
    }),
    { seed: 7 }
  ))

const lastFirst = (sequenceNumber: number): number => 1000 / sequenceNumber

/** How the worker of a process is shown while that lives, and 4 seconds after it was killed. */
const auditedDead = (
  change: (storage: Context.Context<SimulatedDatabase.Storage>) => Context.Context<SimulatedDatabase.Storage>
) =>
  outcomeOf(Simulation.run(
    Effect.gen(function*() {
      const database = yield* SimulatedDatabase.make("database")
      const auditor = yield* Auditor.make({ journal: database })
      const Notes = auditor.projection(Source.journal(Note).pipe(Projection.exactlyOnce("notes", () => Effect.void)))
      const Beating = Layer.succeed(HeartbeatStore.Heartbeat, HeartbeatStore.heartbeat({ interval: "1 second" }))
      const service = yield* Simulation.process(
        "service",
        Projection.layer(Notes).pipe(Layer.provide(Beating), Layer.provide(database.layer))
      )
      const changed = Layer.effectContext(Effect.map(Layer.build(database.layer), change))
      const state = Effect.map(
        Effect.provide(Effect.orDie(auditor.everywhere("notes")), changed),
        (workers) => workers[0]!.state
      )
      yield* Effect.sleep("3 seconds")
      const alive = yield* state
      yield* service.kill
      yield* Effect.sleep("4 seconds")
      return [alive, yield* state]
    }),
    { seed: 7 }
  ))

/** What was skipped of three events of which a person has the second skipped, by a storage that is changed. */
const auditedSkip = (change: (management: ProjectionManagement.ProjectionManagement["Service"]) => object) =>
  outcomeOf(Simulation.run(
    Effect.gen(function*() {
      const database = yield* SimulatedDatabase.make("database")
      const auditor = yield* Auditor.make({ journal: database })
      const Notes = auditor.projection(
        Source.journal(Note).pipe(
          Projection.exactlyOnce("notes", ({ event }) => event === "b" ? Effect.fail("broken") : Effect.void),
          Projection.recovery(RecoveryStrategy.retryAndFail({ retries: 1000, delay: "100 millis" }))
        )
      )
      const changed: Layer.Layer<SimulatedDatabase.Storage, never, Simulation.Simulation> = Layer.effectContext(
        Effect.map(
          Layer.build(database.layer),
          replace(ProjectionManagement.ProjectionManagement, change)
        )
      )
      yield* Simulation.process("service", Layer.provideMerge(Projection.layer(Notes), changed))
      const person = Effect.gen(function*() {
        yield* Journal.append(Note, { id: "n", events: ["a", "b", "c"] })
        yield* Effect.sleep("1 second")
        yield* ProjectionManagement.skip("notes", { persistenceId: "note|n", sequenceNumber: 2 })
      })
      const { ended } = yield* Simulation.process("person", Effect.provide(person, database.layer))
      yield* ended
      yield* auditor.settled({ within: "1 minute" })
      return (yield* auditor.skipped("notes")).map(({ sequenceNumber }) => sequenceNumber).join()
    }),
    { seed: 7 }
  ))

/** Two versions, of which the later one is live, and, if it does not rest, a worker of the other one. */
const auditedVersions = (rests: boolean) =>
  outcomeOf(Simulation.run(
    Effect.gen(function*() {
      const database = yield* SimulatedDatabase.make("database")
      const auditor = yield* Auditor.make({ journal: database })
      const notes = (version: number) =>
        auditor.projection(
          Source.journal(Note).pipe(
            Projection.exactlyOnce("notes", () => Effect.void),
            Projection.version(version, { switch: Effect.void, dropAfter: "1 hour" })
          )
        )
      const [one, two] = [notes(1), notes(2)]
      const both = Layer.mergeAll(Projection.layer(one), Projection.layer(two))
      yield* Simulation.process("service", Layer.provideMerge(both, database.layer))
      yield* Effect.sleep("5 seconds")
      const append = Journal.append(Note, { id: "n", events: ["a"] })
      const { ended } = yield* Simulation.process("writer", Effect.provide(append, database.layer))
      yield* ended
      yield* auditor.settled({ within: "1 minute" })
      if (rests) return
      // a worker of the old version that nobody fences
      const key = Projection.offsetKey(one)
      const { revision } = yield* database.inspect(OffsetStore.OffsetStore.use((_) => _.load(key, SliceRange.full)))
      const move = OffsetStore.OffsetStore.use((_) =>
        _.transact(key, { journal: "j", revision: revision! }, [], Effect.void)
      )
      const worker = yield* Simulation.process("worker", Effect.provide(Effect.orDie(move), database.layer))
      yield* worker.ended
    }),
    { seed: 7 }
  ))

describe("the auditor", () => {
  it("has nothing to say of what is right", () => {
    assert.isUndefined(violated((storage) => storage))
    assert.isUndefined(violated((storage) => storage, "atLeastOnce"))
    assert.isUndefined(violated((storage) => storage, "atMostOnce"))
  })

  it("notices an append that is acknowledged, and elsewhere", () => {
    assert.strictEqual(
      violated(replace(Journal.Journal, (journal) => ({
        append: (request) => Effect.flatMap(journal.append(request), () => journal.append(request))
      }))),
      "an append is written once"
    )
  })

  it("notices events that are passed over", () => {
    const withoutSecond = replace(Journal.Journal, (journal) => ({
      reader: (entityType, range, start, options) =>
        Effect.map(journal.reader(entityType, range, start, options), ({ next, pass }) => ({
          pass,
          next: (limit) =>
            Effect.map(next(limit), (page) =>
              // as if they had been deleted
              page.map((event) => event.sequenceNumber === 2 ? { ...event, payload: undefined } : event))
        }))
    }))
    assert.strictEqual(violated(withoutSecond), "nothing is passed over")
    assert.strictEqual(violated(withoutSecond, "atLeastOnce"), "nothing is passed over")
    assert.strictEqual(violated(withoutSecond, "atMostOnce"), "nothing is passed over")
  })

  it("notices offsets that are not stored", () => {
    assert.strictEqual(
      violated(replace(OffsetStore.OffsetStore, ({ transact }) => ({
        transact: (key, basis, _, effect) => transact(key, basis, [], effect)
      }))),
      "all catch up"
    )
  })

  it("notices an event that is not in the journal", () => {
    assert.strictEqual(
      violated(replace(Journal.Journal, (journal) => ({
        reader: (entityType, range, start, options) =>
          Effect.map(journal.reader(entityType, range, start, options), ({ next, pass }) => ({
            pass,
            next: (limit) =>
              Effect.map(
                next(limit),
                (page) =>
                  page.map((event) => ({
                    ...event,
                    persistenceId: `${event.persistenceId}x` as typeof event.persistenceId
                  }))
              )
          }))
      }))),
      "what is handled is in the journal"
    )
  })

  it("knows what was handled, what comes again after a rewind, and what one has jumped over", () => {
    const { exit } = Simulation.run(
      Effect.gen(function*() {
        const database = yield* SimulatedDatabase.make("database")
        const auditor = yield* Auditor.make({ journal: database })
        const once = <E>(effect: Effect.Effect<unknown, E, SimulatedDatabase.Storage>) =>
          Effect.flatMap(
            Simulation.process("person", Effect.provide(Effect.orDie(effect), database.layer)),
            ({ ended }) => ended
          )
        const Notes = auditor.projection(
          Source.journal(Note).pipe(Projection.exactlyOnce("notes", () => Effect.void))
        )
        const service = yield* Simulation.process(
          "service",
          Layer.provideMerge(Projection.layer(Notes), database.layer)
        )
        yield* once(Journal.append(Note, { id: "n", events: ["a", "b", "c"] }))
        yield* auditor.settled({ within: "1 minute" })
        yield* service.kill
        const [first, second] = yield* auditor.handled("notes")
        const seen: Array<ReadonlyArray<number>> = []
        for (const { position, slice, timestamp } of [first!, second!]) {
          const offsets = new Map([[slice, Offset.make(position!, timestamp)]])
          yield* once(ProjectionManagement.rewind("notes", { journal: undefined, offsets }))
          for (const places of [yield* auditor.handled("notes"), yield* auditor.unhandled("notes")]) {
            seen.push(places.map(({ sequenceNumber }) => sequenceNumber))
          }
        }
        return seen
      }),
      { seed: 7 }
    )
    assert.deepStrictEqual(exit, Exit.succeed([[1], [2, 3], [1], [3]]))
  })

  it("knows whether a projection was rewound since the filter of its stream was changed", () => {
    const { exit } = Simulation.run(
      Effect.gen(function*() {
        const database = yield* SimulatedDatabase.make("database")
        const auditor = yield* Auditor.make({ journal: database })
        const { provider } = Source.journal(Note)
        const Notes = auditor.projection(
          Source.make({ ...provider, key: "stream:notes", filter: EventFilter.passAll }).pipe(
            Projection.exactlyOnce("notes", () => Effect.void)
          ),
          { origin: Source.journal(Note) }
        )
        yield* Simulation.process("service", Layer.provideMerge(Projection.layer(Notes), database.layer))
        const appended = Journal.append(Note, { id: "n", events: ["a"] })
        yield* (yield* Simulation.process("writer", Effect.provide(Effect.orDie(appended), database.layer))).ended
        yield* auditor.settled({ within: "1 minute" })
        const changed = Effect.orDie(ConsumerFilter.update(Notes, EventFilter.excludeTags("large"), { by: "ada" }))
        const rewound = Effect.orDie(ProjectionManagement.rewind("notes", "beginning"))
        const seen = [yield* auditor.rewoundSinceFilter("notes")]
        for (const command of [rewound, changed, rewound]) {
          const person = yield* Simulation.process("person", Effect.provide(Effect.asVoid(command), database.layer))
          yield* person.ended
          seen.push(yield* auditor.rewoundSinceFilter("notes"))
        }
        return seen
      }),
      { seed: 7 }
    )
    assert.deepStrictEqual(exit, Exit.succeed([false, true, false, true]))
  })

  it("knows what was jumped over for a worker that stands on what was stored before the next rewind", () => {
    const persistenceId = EntityType.persistenceId(Note, "a")
    const slice = Slice.ofPersistenceId(persistenceId)
    const [first, second] = [1, 2].map((n) =>
      Envelope.encoded({
        persistenceId,
        sequenceNumber: SequenceNumber.make(n),
        slice,
        position: Position.make(n),
        timestamp: Timestamp.make(n)
      }, EventCodec.string.encodeUnsafe("text"))
    )
    const violated: Array<string> = []
    const left = [first!, second!]
    const audit = new Audit((name) => void violated.push(name), () => left.splice(0), () => 0)
    const key = { projection: "notes", source: "journal:note" }
    audit.watch({
      projection: "notes",
      key,
      origin: key.source,
      delivery: "AtLeastOnce",
      isParallel: false,
      isFlow: false,
      recovery: { poison: "stop", retries: 0 },
      isLeftOut: () => false
    })
    const offsets = new Map([[slice, Offset.make(1, 1)]])
    audit.rewound("notes", stored(0, Offset.none), offsets)
    const worker = {}
    audit.observe({ _tag: "Loaded", key, stored: stored(1, offsets), worker })
    // about to be committed
    audit.rewound("notes", stored(1, offsets), Offset.none)
    const event = { ...second!, event: "text" } as unknown as Envelope.Envelope<unknown>
    audit.handles("notes", worker, event)
    audit.handled("notes", worker, 1, event, () => 1)
    assert.deepStrictEqual(violated, [])
    // what begins after that has it yet to handle
    audit.observe({ _tag: "Loaded", key, stored: stored(2, Offset.none), worker })
    audit.handles("notes", worker, event)
    audit.handled("notes", worker, 2, event, () => 2)
    assert.include(violated, "nothing is passed over")
  })

  it("says why a worker has stopped, as does the trace", () => {
    const { elapsed, exit, trace } = runStopping()
    const error = Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : ""
    assert.match(error, /'all catch up'.*projection 'notes' for the slices 0-1023 has stopped at event 1.*MY BUG/s)
    assert.isBelow(elapsed, 60_000)
    const logged = trace.filter((line) => /Error:|Warn:/.test(line)).join("\n")
    assert.match(logged, /MY BUG/)
    assert.match(logged, /projection=notes/)
    assert.deepStrictEqual(runStopping().trace, trace)
  })

  it("has nothing to say of what stages drop and recovery strategies leave out, group by group or one by one", () => {
    for (const recovery of [RecoveryStrategy.skip, RecoveryStrategy.retryAndDeadLetter({ retries: 2, delay: 10 })]) {
      for (const delivery of ["exactlyOnce", "atLeastOnce"] as const) {
        for (const size of [1, 3]) {
          assert.deepStrictEqual(audited({ recovery, delivery, size }), ["b", "d", "h"])
        }
      }
    }
  })

  it("still has something to say of what else is lost", () => {
    const options = { recovery: RecoveryStrategy.skip, delivery: "atLeastOnce", size: 1, isOneEntity: true } as const
    assert.strictEqual(audited(options, without("d")), "offsets tell of what is handled")
    assert.strictEqual(audited({ ...options, delivery: "exactlyOnce" }, without("d")), "nothing is passed over")
  })

  it("notices an event that is skipped though it has not failed as often as it must", () => {
    const recovery = RecoveryStrategy.retryAndSkip({ retries: 1, delay: 10 })
    const options = { recovery, delivery: "atLeastOnce", size: 1, isOneEntity: true } as const
    assert.strictEqual(audited(options, (storage) => storage, RecoveryStrategy.skip), "nothing is passed over")
  })

  it("notices an event that is put aside though it has not failed, and a letter that is gone", () => {
    const options = { recovery: RecoveryStrategy.deadLetter, delivery: "exactlyOnce", size: 1 } as const
    const recovery = RecoveryStrategy.retryAndDeadLetter({ retries: 3, delay: 10 })
    assert.strictEqual(
      audited({ ...options, recovery }, (storage) => storage, RecoveryStrategy.deadLetter),
      "what is put aside has failed"
    )
    const forgetful = replace(ProjectionManagement.ProjectionManagement, (management) => ({
      putAside: (letter) => management.putAside({ ...letter, key: { ...letter.key, source: "journal:other" } })
    }))
    assert.strictEqual(audited(options, forgetful), "what is put aside is kept")
  })

  it("knows what was skipped as somebody has said, and notices what is so that nobody has spoken of", () => {
    assert.strictEqual(auditedSkip(() => ({})), "2")
    const first = { persistenceId: "note|n", sequenceNumber: 1, by: "", reason: "" }
    assert.strictEqual(
      auditedSkip(({ endSkip, skips }) => ({
        // the handler is not asked for the first one
        skips: (...options: Parameters<typeof skips>) => Effect.map(skips(...options), (some) => [...some, first]),
        endSkip: (...options: Parameters<typeof endSkip>) => Effect.as(endSkip(...options), true)
      })),
      "nothing is passed over"
    )
  })

  it("waits for none of the versions that are retired, which rest", () => {
    assert.isUndefined(auditedVersions(true))
    assert.strictEqual(auditedVersions(false), "a version that is retired rests")
  })

  it("knows what was put aside when it is handled at last, exactly once", () => {
    for (const delivery of ["exactlyOnce", "atLeastOnce"] as const) {
      const handled = ["b", "d", "h", "!c", "!g"]
      assert.deepStrictEqual(
        audited({ recovery: RecoveryStrategy.deadLetter, delivery, size: 1, again: true }),
        handled
      )
    }
  })

  it("knows that events of an entity wait for what was put aside of it, until that is handled", () => {
    for (const delivery of ["exactlyOnce", "atLeastOnce"] as const) {
      const options = { recovery: RecoveryStrategy.deadLetter, delivery, size: 1, isOneEntity: true }
      assert.deepStrictEqual(audited(options), ["b"])
      // the next one cannot be decoded
      assert.deepStrictEqual(audited({ ...options, again: true }), ["b", "!c", "d"])
    }
  })

  it("watches each source of a projection that has several, and a flow, which is done in any order", () => {
    assert.isUndefined(auditedFlow((storage) => storage, lastFirst))
    const withoutSecondTask = replace(Journal.Journal, (journal) => ({
      reader: (entityType, range, start, options) =>
        Effect.map(journal.reader(entityType, range, start, options), ({ next, pass }) => ({
          pass,
          next: (limit) =>
            Effect.map(
              next(limit),
              (page) =>
                page.map((event) =>
                  entityType === "task" && event.sequenceNumber === 2 ? { ...event, payload: undefined } : event
                )
            )
        }))
    }))
    assert.strictEqual(auditedFlow(withoutSecondTask, lastFirst), "nothing is passed over")
    const ahead = replace(OffsetStore.OffsetStore, ({ transact }) => ({
      transact: (key, basis, moves, effect) =>
        transact(key, basis, moves.map((move) => ({ ...move, to: Offset.make(2, move.to.timestamp) })), effect)
    }))
    assert.strictEqual(auditedFlow(ahead, (sequenceNumber) => sequenceNumber * 300), "offsets tell of what is handled")
  })

  it("notices workers of a dead process that are shown as alive", () => {
    const unending = replace(HeartbeatStore.HeartbeatStore, ({ reports }) => ({
      reports: (projections) =>
        Effect.map(reports(projections), (all) => all.map((report) => ({ ...report, at: report.now })))
    }))
    assert.deepStrictEqual(auditedDead((storage) => storage), ["Running", "Unknown"])
    assert.strictEqual(auditedDead(unending), "what is said of workers is true")
  })

  it("fails where nothing is watched", () => {
    const { exit } = Simulation.run(
      Effect.gen(function*() {
        const auditor = yield* Auditor.make({ journal: yield* SimulatedDatabase.make("database") })
        yield* auditor.settled({ within: "1 minute" })
      }),
      { seed: 7 }
    )
    assert.match(String(Exit.isFailure(exit) && Cause.squash(exit.cause)), /'all catch up': no projection is watched/)
  })

  it("knows of states that only the last one is to be handled", () => {
    assert.strictEqual(auditedStates((storage) => storage), undefined)
    const withoutLast = replace(DurableStateStore.DurableStateStore, (states) => ({
      reader: (entityType, range, start, options) =>
        Effect.map(states.reader(entityType, range, start, options), (reader) => ({
          ...reader,
          next: (limit) =>
            Effect.map(reader.next(limit), (page) => page.filter(({ sequenceNumber }) => sequenceNumber !== 4))
        }))
    }))
    assert.strictEqual(auditedStates(withoutLast), "all catch up")
  })
})

const violatedOf = (exit: Exit.Exit<unknown, unknown>): string => {
  const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
  return error instanceof Simulation.SimulationFailed ? error.what ?? error.message : String(error)
}

/** A storage that shows an event as if it had been deleted. */
const without = (text: string) =>
  replace(Journal.Journal, (journal) => ({
    reader: (entityType, range, start, options) =>
      Effect.map(journal.reader(entityType, range, start, options), ({ next, pass }) => ({
        pass,
        next: (limit) =>
          Effect.map(next(limit), (page) =>
            page.map((event) =>
              event.payload !== undefined && EventCodec.string.decodeUnsafe(event.payload) === text
                ? Envelope.encoded(event, undefined)
                : event
            ))
      }))
  }))

/** A codec that does not read everything. */
const Picky = EntityType.make("note", {
  codec: EventCodec.make({
    name: "picky",
    encode: EventCodec.string.encodeUnsafe,
    decode: (payload) => {
      const text = EventCodec.string.decodeUnsafe(payload)
      if (text === "e") throw new Error("unreadable")
      return text
    }
  })
})

/**
 * Appends "a" to "h", of which the stages drop two, one cannot be read, one fails in a stage, and two fail in the handler. Says what is handled, or
 * what does not hold.
 */
const audited = (
  { again, delivery, isOneEntity = false, recovery, size }: {
    readonly recovery: RecoveryStrategy.RecoveryStrategy
    readonly delivery: "exactlyOnce" | "atLeastOnce"
    readonly size: number
    /** Whether the handler is repaired at last, and given what was put aside. */
    readonly again?: boolean
    /** Whether the events are of one entity, and not each of another. */
    readonly isOneEntity?: boolean
  },
  change: <S>(storage: Context.Context<S>) => Context.Context<S> = (storage) => storage,
  /** What the projection does in fact. */
  does = recovery
): ReadonlyArray<string> | string => {
  const { exit } = Simulation.run(
    Effect.gen(function*() {
      const database = yield* SimulatedDatabase.make("database")
      const auditor = yield* Auditor.make({ journal: database })
      const handled: Array<string> = []
      let isBroken = true
      const handleAll = (envelopes: ReadonlyArray<Envelope.Envelope<string>>) =>
        Effect.suspend(() => {
          const events = envelopes.map(({ event }) => event)
          if (isBroken && events.some((event) => event.startsWith("!"))) return Effect.fail("broken")
          handled.push(...events)
          return Effect.void
        })
      const handler = size === 1
        ? (envelope: Envelope.Envelope<string>) => handleAll([envelope])
        : Handler.grouped({ size, within: 50 }, handleAll)
      const watched = auditor.projection(
        Source.journal(Picky).pipe(
          Source.filter(({ event }) => event !== "a"),
          Source.tap(({ event }) => event === "?" ? Effect.fail("a stage fails") : Effect.void),
          Source.filterMap(({ event }) => event === "f" ? Option.none() : Option.some(event)),
          delivery === "exactlyOnce"
            ? Projection.exactlyOnce("notes", handler)
            : Projection.atLeastOnce("notes", handler),
          Projection.recovery(recovery)
        )
      )
      const changed: Layer.Layer<SimulatedDatabase.Storage, never, Simulation.Simulation> = Layer.effectContext(
        Effect.map(Layer.build(database.layer), (storage) => change(storage))
      )
      yield* Simulation.process(
        "service",
        Layer.provideMerge(Projection.layer(Projection.recovery(does)(watched)), changed)
      )
      const writer = yield* Simulation.process(
        "writer",
        Effect.provide(
          Effect.forEach(
            ["a", "b", "!c", "d", "e", "f", "?", "!g", "h"],
            (event, i) => Journal.append(Picky, { id: isOneEntity ? "n" : `n-${i}`, events: [event] })
          ),
          database.layer
        )
      )
      yield* writer.ended
      yield* auditor.settled({ within: "1 minute" })
      if (again === true) {
        isBroken = false
        const redelivery = yield* Simulation.process(
          "redelivery",
          Effect.provide(Projection.handleDeadLetters(watched), changed)
        )
        yield* redelivery.ended
        yield* auditor.settled({ within: "1 minute" })
      }
      return handled
    }),
    { seed: 7 }
  )
  return Exit.isSuccess(exit) ? exit.value : violatedOf(exit)
}

/** What does not hold of a projection of states, where a storage is changed. */
const auditedStates = (change: <S>(storage: Context.Context<S>) => Context.Context<S>): string | undefined => {
  const Profile = StateType.make("profile", { state: Schema.String })
  const { exit } = Simulation.run(
    Effect.gen(function*() {
      const database = yield* SimulatedDatabase.make("database")
      const auditor = yield* Auditor.make({ journal: database })
      const Profiles = auditor.projection(
        Source.durableState(Profile).pipe(Projection.exactlyOnce("profiles", () => Effect.sleep(20)))
      )
      const changed: Layer.Layer<SimulatedDatabase.Storage, never, Simulation.Simulation> = Layer.effectContext(
        Effect.map(Layer.build(database.layer), (storage) => change(storage))
      )
      yield* Simulation.process("service", Layer.provideMerge(Projection.layer(Profiles), changed))
      const writing = Effect.gen(function*() {
        for (const id of ["ada", "grace"]) {
          let revision = yield* DurableStateStore.upsert(Profile, { id, expected: 0, state: "1" })
          for (const state of ["2", "3"]) {
            revision = yield* DurableStateStore.upsert(Profile, { id, expected: revision, state })
          }
          yield* DurableStateStore.delete(Profile, { id, expected: revision })
        }
      })
      const writer = yield* Simulation.process("writer", Effect.provide(writing, database.layer))
      yield* writer.ended
      yield* auditor.settled({ within: "1 minute" })
    }),
    { seed: 7 }
  )
  return Exit.isSuccess(exit) ? undefined : violatedOf(exit)
}
