/**
 * Watches the services of a simulation, and ends it when they do what they must not.
 *
 * @since 0.1.0
 */
import type { EncodedEnvelope, Envelope } from "@sluice/core/Envelope"
import type { Handler } from "@sluice/core/Handler"
import { Journal, sourceKey } from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import { OffsetStore, type StoredOffsets } from "@sluice/core/OffsetStore"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import type { Slice } from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { Audit } from "./internal/simulation/Audit.ts"
import { internals } from "./internal/simulation/Database.ts"
import { place } from "./internal/simulation/runners.ts"
import { CurrentTransaction } from "./internal/simulation/Server.ts"
import { describe } from "./internal/simulation/Truth.ts"
import type { SimulatedDatabase } from "./SimulatedDatabase.ts"
import type { Simulation } from "./Simulation.ts"

/**
 * Which projection a handler is of.
 *
 * @category models
 * @since 0.1.0
 */
export interface Watched {
  readonly projection: string
  /** Whose events it handles. */
  readonly entityType: { readonly name: string }
  /** The key of its source, where that is not the entity type's journal. */
  readonly source?: string | undefined
  /** Which events reach the handler, where some do not. */
  readonly isHandled?: ((event: EncodedEnvelope) => boolean) | undefined
}

/**
 * What watches.
 *
 * @category models
 * @since 0.1.0
 */
export interface Auditor {
  /** The handler, watched. It belongs into the projection of that name, in every process that runs it. */
  readonly handler: <A, E, R>(watched: Watched, handler: Handler<A, E, R>) => Handler<A, E, R>
  /** `ProjectionStatus.caughtUp`, which must not end too soon. */
  readonly caughtUp: (
    projection: string
  ) => ReturnType<typeof ProjectionStatus.caughtUp>
  /** `ProjectionStatus.lag`, which must not be too little. */
  readonly lag: (projection: string) => ReturnType<typeof ProjectionStatus.lag>
  /**
   * Waits until every projection whose handler is watched has handled all there is, and its offsets say so. To be called when there are no faults any more,
   * and nobody appends. A worker that has stopped, and is not told to go on, ends the simulation with the reason that it has stopped for.
   */
  readonly settled: (options: { readonly within: Duration.Input }) => Effect.Effect<void, never, Simulation>
}

/** How soon a command reaches a worker that has stopped, in milliseconds. */
const forCommands = 3000

/**
 * Watches those who use the databases, of which one has the journal, and the same or another the offsets.
 *
 * **Details**
 *
 * | what must hold | |
 * |---|---|
 * | positions are dense, timestamps rise, sequence numbers are dense | in each log, and of each entity |
 * | an acknowledged append is there, an append is written once | |
 * | a conflict appends nothing, what is undone is not there | |
 * | an append has the sequence number that was expected | |
 * | what is handled is in the journal | so nothing is announced that is not committed |
 * | a worker goes forward | from where it has begun, whatever the delivery |
 * | exactly once, events are handled in order, nothing is passed over | as the transactions of the handlers say |
 * | offsets go forward | but for a rewind |
 * | a fenced worker does nothing | until it has begun anew |
 * | caught up means handled, lag is not understated | |
 * | all catch up | within the time that `settled` is given |
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (databases: {
  readonly journal: SimulatedDatabase
  readonly offsets?: SimulatedDatabase | undefined
}): Effect.Effect<Auditor, never, Simulation> =>
  Effect.map(place, ({ engine }) => {
    const journalDatabase = internals.get(databases.journal)!
    const offsetsDatabase = internals.get(databases.offsets ?? databases.journal)!
    const journal = Context.get(journalDatabase.storage, Journal)
    const offsets = Context.get(offsetsDatabase.storage, OffsetStore)
    const scope = Scope.makeUnsafe()
    const readers = new Map<string, Effect.Effect<ReadonlyArray<EncodedEnvelope>>>()
    const sources = new Map<string, { readonly key: string; readonly entityType: string }>()

    const violate = (invariant: string, message: string): void => {
      engine.note("auditor", () => `'${invariant}' does not hold: ${message}`)
      engine.fail({ _tag: "Violation", invariant, message })
    }
    const pull = (entityType: string): ReadonlyArray<EncodedEnvelope> => {
      let next = readers.get(entityType)
      if (next === undefined) {
        const reader = Effect.runSync(Scope.provide(
          Effect.orDie(journal.reader(entityType, SliceRange.full, Offset.none)),
          scope
        ))
        readers.set(entityType, next = Effect.orDie(reader.next(1000)))
      }
      return Effect.runSync(next)
    }
    const audit = new Audit(violate, pull)
    journalDatabase.observers.add((observation) => audit.observe(observation))
    if (offsetsDatabase !== journalDatabase) {
      offsetsDatabase.observers.add((observation) => audit.observe(observation))
    }

    const storedOf = (projection: string): StoredOffsets =>
      Effect.runSync(Effect.orDie(offsets.load({ projection, source: sources.get(projection)!.key }, SliceRange.full)))

    const headsOf = (projection: string): ReadonlyMap<Slice, number> => {
      const truth = audit.truth(sources.get(projection)!.entityType)
      return new Map(Array.from(truth.slices, (slice) => [slice, truth.log(slice).length]))
    }

    const record = (projection: string, envelopes: ReadonlyArray<Envelope<unknown>>): Effect.Effect<void> =>
      Effect.flatMap(place, ({ runner }) =>
        Effect.withFiber((fiber) => {
          const transaction = fiber.getRef(CurrentTransaction)
          for (const envelope of envelopes) {
            engine.note(runner.name, () => `'${projection}' handles ${describe(envelope)}`)
            audit.handles(projection, fiber.id, envelope)
            if (transaction === undefined) audit.handled(projection, fiber.id, undefined, envelope)
            else {
              transaction.onCommit.push(() => audit.handled(projection, fiber.id, transaction.revision, envelope))
            }
          }
          return Effect.void
        }))

    /** Only says something of what was not rewound meanwhile. */
    const compared = <A, E, R>(
      projection: string,
      effect: Effect.Effect<A, E, R>,
      compare: (heads: ReadonlyMap<Slice, number>, result: A) => void
    ): Effect.Effect<A, E, R> =>
      Effect.suspend(() => {
        const heads = headsOf(projection)
        const rewinds = audit.rewinds(projection)
        return Effect.map(effect, (result) => {
          if (audit.rewinds(projection) === rewinds) compare(heads, result)
          return result
        })
      })

    const behind = (): string | undefined => {
      for (const { projection } of audit.projections) {
        const { offsets, revision } = storedOf(projection)
        const missing = audit.missing(projection, revision)
        if (missing.length > 0) {
          return `'${projection}' has yet to handle ${missing.length}, such as ${describe(missing[0]!)}`
        }
        for (const [slice, head] of headsOf(projection)) {
          const position = offsets.get(slice)?.position ?? 0
          if (position !== head) return `'${projection}' is stored at ${position} of slice ${slice}, which has ${head}`
        }
      }
      return undefined
    }

    /** Since when a worker has been stopped, by why it has. */
    const stopped = new Map<object, number>()

    /** Why a watched worker does not go on, once it has had the time for a command to reach it. */
    const stoppedAs = (): string | undefined => {
      for (const { projection } of audit.projections) {
        for (const registry of engine.registries.values()) {
          for (const { status } of registry.workers(projection)) {
            const { failure, range, state } = status
            if (state !== "Stopped" || failure === undefined) continue
            const since = stopped.get(failure) ?? engine.now
            stopped.set(failure, since)
            if (engine.now - since < forCommands) continue
            const { event, cause } = failure
            return new ProjectionStatus.WorkerStopped({ projection, range, event, cause: Cause.squash(cause) }).message
          }
        }
      }
      return undefined
    }

    const handler = <A, E, R>(
      { entityType: { name }, isHandled = () => true, projection, source = sourceKey(name) }: Watched,
      handler: Handler<A, E, R>
    ): Handler<A, E, R> => {
      sources.set(projection, { key: source, entityType: name })
      audit.watch({ projection, entityType: name, isHandled })
      return typeof handler === "function"
        ? (envelope) => Effect.andThen(handler(envelope), record(projection, [envelope]))
        : {
          ...handler,
          handle: (envelopes) => Effect.andThen(handler.handle(envelopes), record(projection, envelopes))
        }
    }

    return {
      handler,
      caughtUp: (projection) =>
        compared(projection, ProjectionStatus.caughtUp(projection), (heads) => {
          const missing = audit.missing(projection, storedOf(projection).revision, heads)[0]
          if (missing === undefined) return
          violate("caught up means handled", `'${projection}' says so, and has yet to handle ${describe(missing)}`)
        }),
      lag: (projection) =>
        compared(projection, ProjectionStatus.lag(projection), (heads, lag) => {
          const { offsets } = storedOf(projection)
          let least = 0
          for (const [slice, head] of heads) {
            const offset = offsets.get(slice) ?? Offset.beginning
            const log = audit.truth(sources.get(projection)!.entityType).log(slice).slice(offset.position, head)
            least += log.filter(({ timestamp }) => offset.position > 0 || timestamp >= offset.timestamp).length
          }
          if (lag < least) violate("lag is not understated", `'${projection}' is ${least} behind, and says ${lag}`)
        }),
      settled: ({ within }) =>
        Effect.gen(function*() {
          const until = engine.now + Duration.toMillis(Duration.fromInputUnsafe(within))
          while (true) {
            const problem = behind()
            if (problem === undefined) break
            const why = stoppedAs()
            if (why !== undefined) return violate("all catch up", why)
            if (engine.now > until) return violate("all catch up", problem)
            yield* Effect.sleep("500 millis")
          }
          audit.conclude()
        })
    }
  })
