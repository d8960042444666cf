import { assert, describe, it } from "@effect/vitest"
import { EntityType, EventCodec, Journal, OffsetStore, Projection, RecoveryStrategy, Source } from "@sluice/core"
import { Auditor, SimulatedDatabase, Simulation } from "@sluice/testing"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"

const Note = EntityType.make("note", { codec: EventCodec.string })

/** What does not hold where a storage is changed, or undefined. */
const violated = (
  change: <S>(storage: Context.Context<S>) => Context.Context<S>,
  delivery: "exactlyOnce" | "atLeastOnce" = "exactlyOnce"
): string | undefined => {
  const { exit } = Simulation.run(
    Effect.gen(function*() {
      const database = yield* SimulatedDatabase.make("database")
      const auditor = yield* Auditor.make({ journal: database })
      const handler = auditor.handler({ projection: "notes", entityType: Note }, () => Effect.void)
      const Notes = delivery === "exactlyOnce"
        ? Source.journal(Note).pipe(Projection.exactlyOnce("notes", handler))
        : Source.journal(Note).pipe(Projection.atLeastOnce("notes", handler))
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
      const handler = auditor.handler({ projection: "notes", entityType: Note }, () => Effect.die(new Error("MY BUG")))
      const Notes = Source.journal(Note).pipe(
        Projection.exactlyOnce("notes", handler),
        Projection.recovery(RecoveryStrategy.fail)
      )
      yield* Simulation.process("service", Layer.provideMerge(Projection.layer(Notes), database.layer))
      const append = Journal.append(Note, { id: "n", events: ["a"] })
      const writer = yield* Simulation.process("writer", Effect.provide(append, database.layer))
      yield* writer.ended
      yield* auditor.settled({ within: "1 hour" })
    }),
    { seed: 7, trace: true }
  )

describe("the auditor", () => {
  it("has nothing to say of what is right", () => {
    assert.isUndefined(violated((storage) => storage))
    assert.isUndefined(violated((storage) => storage, "atLeastOnce"))
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
    assert.strictEqual(violated(withoutSecond, "atLeastOnce"), "all catch up")
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
})
