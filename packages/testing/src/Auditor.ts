/**
 * Watches the services of a simulation, and ends it when they do what they must not.
 *
 * @since 0.1.0
 */
import { type ChangeReader, DurableStateStore } from "@sluice/core/DurableStateStore"
import { type EncodedElement, type EncodedEnvelope, type Envelope, isSkipped, type Place } from "@sluice/core/Envelope"
import { isFlow } from "@sluice/core/Flow"
import type { Handler } from "@sluice/core/Handler"
import { Journal, type JournalReader } from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import { OffsetStore, type StoredOffsets } from "@sluice/core/OffsetStore"
import type { Projection } from "@sluice/core/Projection"
import { ProjectionManagement } from "@sluice/core/ProjectionManagement"
import { ProjectionRegistry } from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import type { Receipt } from "@sluice/core/Receipt"
import type { Slice } from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { aroundHandler } from "./internal/aroundHandler.ts"
import { Audit } from "./internal/simulation/Audit.ts"
import { internals } from "./internal/simulation/Database.ts"
import { Positions } from "./internal/simulation/Positions.ts"
import { currentWorker, place } from "./internal/simulation/runners.ts"
import { CurrentTransaction } from "./internal/simulation/Server.ts"
import { describe } from "./internal/simulation/Truth.ts"
import { watchStages } from "./internal/simulation/watchStages.ts"
import type { SimulatedDatabase } from "./SimulatedDatabase.ts"
import type { Simulation } from "./Simulation.ts"

/**
 * What watches.
 *
 * @category models
 * @since 0.1.0
 */
export interface Auditor {
  /**
   * The projection, watched. Run it in place of the other, in every process. Of what its stages drop, and of what its recovery strategy skips
   * or puts aside, it need not handle more than that strategy says.
   *
   * `origin` is the source that another service offers as the stream that this one reads. What that leaves out is known if it is watched
   * itself, see `source`. Without it the events are those of the journal, or the durable states, that the projection reads.
   */
  readonly projection: <E, R>(
    projection: Projection<E, R>,
    options?: { readonly origin?: Source.Source<any, any, any> | undefined }
  ) => Projection<E, R>
  /** A source that a service offers, watched. Offer it in place of the other; it is made once, outside of processes. */
  readonly source: <A, E, R>(source: Source.Source<A, E, R>) => Source.Source<A, E, R>
  /** `ProjectionStatus.caughtUp`, which must not end too soon. */
  readonly caughtUp: (
    projection: string
  ) => ReturnType<typeof ProjectionStatus.caughtUp>
  /** `ProjectionStatus.lag`, which must not be too little. */
  readonly lag: (projection: string) => ReturnType<typeof ProjectionStatus.lag>
  /** `ProjectionStatus.reached`, which must not end before the events of the receipt are handled, or left out as it says. */
  readonly reached: (
    projection: string,
    receipt: Receipt,
    options: { readonly timeout: Duration.Input }
  ) => ReturnType<typeof ProjectionStatus.reached>
  /**
   * The events that a watched projection has yet to handle, whether a filter leaves them out for now or not. What is not to come any more is not
   * among them: what a stage has dropped, what a rewind has jumped over, and what a change of the filter has left behind.
   */
  readonly unhandled: (projection: string) => Effect.Effect<ReadonlyArray<Place>>
  /**
   * The events that a watched projection has handled, and that no rewind has brought back since: what the tables of an exactly-once handler tell of, if
   * each rewind undoes what was written.
   */
  readonly handled: (projection: string) => Effect.Effect<ReadonlyArray<Place>>
  /**
   * Whether a watched projection was rewound, or cleared, after the filter of its stream was changed last. What that change was to bring at once, and has
   * not brought by then, comes with the next event of its entity.
   */
  readonly rewoundSinceFilter: (projection: string) => Effect.Effect<boolean>
  /**
   * Waits until every watched projection has handled all there is, and its offsets say so. To be called when there are no faults any more, and
   * nobody appends. A worker that has stopped, and is not told to go on, ends the simulation with the reason that it has stopped for. So does that no
   * projection is watched.
   */
  readonly settled: (options: { readonly within: Duration.Input }) => Effect.Effect<void, never, Simulation>
}

/** Whether an event is one of those that the receipt is of. */
const isOf = ({ count, persistenceId, sequenceNumber }: Receipt) => (event: Place): boolean =>
  event.persistenceId === persistenceId && event.sequenceNumber <= sequenceNumber &&
  event.sequenceNumber > sequenceNumber - count

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
 * | exactly once, events are handled in order | as the transactions of the handlers say |
 * | at most once, what is lost was in hand at the end of a worker | none is handed over twice, and one call of the handler is lost at most |
 * | the events of a slice follow each other | a handler is not given one while it has another, whatever the parallelism |
 * | nothing is passed over | of the same log, or of the entity where a source selects entities; whatever the delivery |
 * | what is put aside has failed, and is kept | as often as the recovery strategy says, and until it is handled |
 * | offsets go forward | but for a rewind |
 * | what is left behind stays there | by a change of a filter that does not bring it, or a rewind that leads past it |
 * | a fenced worker does nothing | until it has begun anew |
 * | caught up means handled, reached means handled, lag is not understated | |
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
    const management = Context.get(offsetsDatabase.storage, ProjectionManagement)
    const states = Context.get(journalDatabase.storage, DurableStateStore)
    const readers = new Map<string, Effect.Effect<ReadonlyArray<EncodedEnvelope>>>()
    const watched = new Map<string, { readonly key: string; readonly origin: string }>()
    /** What the stages of a source that is offered have dropped. */
    const dropped = new WeakMap<Source.Source<any, any, any>, Positions>()

    const violate = (invariant: string, message: string): void => {
      engine.note("auditor", () => `'${invariant}' does not hold: ${message}`)
      engine.fail({ _tag: "Violation", invariant, message })
    }
    const open = (origin: string): Effect.Effect<ReadonlyArray<EncodedEnvelope>> => {
      const entityType = origin.slice(origin.indexOf(":") + 1)
      const opening: Effect.Effect<Pick<ChangeReader, "next"> | JournalReader, unknown, Scope.Scope> =
        origin.startsWith("state:")
          ? states.reader(entityType, SliceRange.full, Offset.none)
          : journal.reader(entityType, SliceRange.full, Offset.none)
      const { next } = Effect.runSync(Scope.provide(Effect.orDie(opening), scope))
      return Effect.orDie(next(1000))
    }
    const pull = (origin: string): ReadonlyArray<EncodedEnvelope> => {
      let next = readers.get(origin)
      if (next === undefined) readers.set(origin, next = open(origin))
      const all: Array<EncodedEnvelope> = []
      // a page is as long as its bytes allow
      for (let page = Effect.runSync(next); page.length > 0; page = Effect.runSync(next)) all.push(...page)
      return all
    }
    const audit = new Audit(violate, pull)
    journalDatabase.observers.add((observation) => audit.observe(observation))
    if (offsetsDatabase !== journalDatabase) {
      offsetsDatabase.observers.add((observation) => audit.observe(observation))
    }

    const storedOf = (projection: string): StoredOffsets =>
      Effect.runSync(Effect.orDie(offsets.load({ projection, source: watched.get(projection)!.key }, SliceRange.full)))

    offsetsDatabase.observers.add((observation) => {
      // the transaction is about to be committed, and nobody else sees yet what it has changed
      if (observation._tag === "Rewound") {
        const { projection, source } = observation.key
        if (watched.get(projection)?.key === source) {
          audit.rewound(projection, storedOf(projection), observation.offsets)
        }
      }
      if (observation._tag !== "Refiltered") return
      for (const [projection, { key }] of watched) {
        const stored = storedOf(projection)
        if (key !== observation.source || stored.revision === undefined) continue
        audit.refiltered(projection, stored)
        if (observation.history === "none") audit.givesUp(projection, stored, observation)
      }
    })

    const headsOf = (projection: string): ReadonlyMap<Slice, number> => {
      const truth = audit.truth(watched.get(projection)!.origin)
      return new Map(Array.from(truth.slices, (slice) => [slice, truth.head(slice)]))
    }

    const record = (projection: string, envelopes: ReadonlyArray<Envelope<unknown>>): Effect.Effect<void> =>
      Effect.map(Effect.all([place, currentWorker, CurrentTransaction]), ([{ runner }, worker, transaction]) => {
        for (const envelope of envelopes) {
          engine.note(runner.name, () => `'${projection}' handles ${describe(envelope)}`)
          audit.handles(projection, worker, envelope)
          const handled = (revision: number | undefined) =>
            audit.handled(projection, worker, revision, envelope, () => storedOf(projection).revision)
          if (transaction === undefined) handled(undefined)
          else transaction.onCommit.push(() => handled(transaction.revision))
        }
      })

    /** Only says something of what was not rewound meanwhile, in the slices of workers that were there all the time. */
    const compared = <A, E, R>(
      projection: string,
      effect: Effect.Effect<A, E, R>,
      compare: (heads: ReadonlyMap<Slice, number>, result: A) => void
    ): Effect.Effect<A, E, R> =>
      Effect.flatMap(ProjectionRegistry, (registry) => {
        const heads = headsOf(projection)
        const rewinds = audit.rewinds(projection)
        const before = registry.workers(projection)
        return Effect.map(effect, (result) => {
          if (audit.rewinds(projection) !== rewinds) return result
          const remaining = registry.workers(projection).filter((worker) => before.includes(worker))
          const isTheirs = (slice: Slice) => remaining.some(({ range }) => SliceRange.contains(range, slice))
          compare(new Map([...heads].filter(([slice]) => isTheirs(slice))), result)
          return result
        })
      })

    const behind = (): string | undefined => {
      if (watched.size === 0) return "no projection is watched: run those that 'Auditor.projection' returns"
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

    /** Letters that are gone, though nobody has thrown them away. */
    const lostLetter = (): string | undefined => {
      for (const { projection } of audit.projections) {
        const key = { projection, source: watched.get(projection)!.key }
        const there = new Set(
          Effect.runSync(Effect.orDie(management.listLetters(key, undefined, 10_000)))
            .map(({ persistenceId, sequenceNumber }) => `${persistenceId} ${sequenceNumber}`)
        )
        for (const place of audit.letters(projection)) {
          const isThere = there.has(`${place.persistenceId} ${place.sequenceNumber}`)
          if (!isThere) return `'${projection}' has put aside ${describe(place)}, and does not have it any more`
        }
      }
      return undefined
    }

    const watchHandler = <A, E, R>(
      projection: string,
      handler: Handler<A, Effect.Effect<void, E, R>>
    ): typeof handler => {
      const watch = (envelopes: ReadonlyArray<Envelope<A>>, call: Effect.Effect<void, E, R>) =>
        Effect.flatMap(currentWorker, (worker) => {
          audit.begins(projection, worker, envelopes, () => storedOf(projection).revision)
          return Effect.onExit(
            watchCall(envelopes, call),
            () => Effect.sync(() => audit.ends(projection, worker, envelopes))
          )
        })
      const watchCall = (envelopes: ReadonlyArray<Envelope<A>>, call: Effect.Effect<void, E, R>) =>
        call.pipe(
          Effect.tapCause((cause) =>
            Effect.sync(() => {
              // in a group nobody knows which
              if (envelopes.length > 1 || Cause.hasInterruptsOnly(cause)) return
              audit.fails(projection, envelopes[0]!, false)
            })
          ),
          Effect.andThen(record(projection, envelopes))
        )
      return aroundHandler(handler, (envelopes, call) => watch(envelopes, call))
    }

    const watchProjection: Auditor["projection"] = (self, options) => {
      const { delivery, handler, name, recovery, sources: [source, ...others] } = self
      if (others.length > 0 || isFlow(handler)) {
        throw new RangeError(`Projection '${name}' has several sources, or a flow, which cannot be watched`)
      }
      const { codec, entity, key, open } = source.provider
      const origin = options?.origin
      watched.set(name, { key, origin: (origin ?? source).provider.key })
      audit.watch({
        projection: name,
        origin: (origin ?? source).provider.key,
        delivery: delivery._tag,
        isParallel: delivery._tag === "AtLeastOnce" && delivery.parallelism > 1,
        recovery,
        isLeftOut: (slice, position) => origin !== undefined && dropped.get(origin)?.has(slice, position) === true
      })
      /** Where what is decoded has come from. */
      const places = new WeakMap<object, Place>()
      const see = <Element extends EncodedElement>(element: Element): Element => {
        if (isSkipped(element)) audit.skips(name, element)
        else if (element.payload !== undefined) places.set(element.payload, element)
        return element
      }
      const provider: typeof source.provider = {
        ...source.provider,
        open: (range, start) =>
          Effect.map(open(range, start), (feed) => ({ ...feed, envelopes: Stream.map(feed.envelopes, see) })),
        entity: (persistenceId, from, to) => Stream.map(entity(persistenceId, from, to), see),
        codec: {
          ...codec,
          decodeUnsafe: (payload) => {
            try {
              return codec.decodeUnsafe(payload)
            } catch (error) {
              const place = places.get(payload)
              if (place !== undefined) audit.fails(name, place, true)
              throw error
            }
          }
        }
      }
      const stages = watchStages(source.stages, {
        dropped: (envelope) => audit.drops(name, envelope),
        failed: (envelope, isPermanent) => audit.fails(name, envelope, isPermanent)
      })
      const made: typeof self = Object.create(Object.getPrototypeOf(self))
      return Object.assign(made, self, {
        handler: watchHandler(name, handler),
        sources: [Object.assign(Source.make(provider), { stages })]
      })
    }

    const watchSource: Auditor["source"] = (self) => {
      const positions = new Positions()
      const stages = watchStages(self.stages, {
        dropped: ({ position, slice }) => position !== undefined && positions.add(slice, position),
        failed: () => {}
      })
      const made = Object.assign(Source.make(self.provider), { stages }) as typeof self
      dropped.set(made, positions)
      return made
    }

    return {
      projection: watchProjection,
      source: watchSource,
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
            if (offset.position > 0 || offset.timestamp === 0) least += head - offset.position
            else {
              const events = audit.truth(watched.get(projection)!.origin).between(slice, 0, head)
              least += events.filter(({ timestamp }) => timestamp >= offset.timestamp).length
            }
          }
          if (lag < least) violate("lag is not understated", `'${projection}' is ${least} behind, and says ${lag}`)
        }),
      reached: (projection, receipt, options) =>
        Effect.suspend(() => {
          const rewinds = audit.rewinds(projection)
          return Effect.tap(ProjectionStatus.reached(projection, receipt, options), ({ leftOut }) =>
            Effect.sync(() => {
              if (audit.rewinds(projection) !== rewinds) return
              const { revision } = storedOf(projection)
              const left = leftOut.length > 0
                ? audit.missing(projection, revision)
                : audit.unhandled(projection, revision)
              // at most once, the offset says it before the handler is called
              const early = left.find((event) => isOf(receipt)(event) && !audit.isInHand(projection, event))
              if (early === undefined) return
              violate("reached means handled", `'${projection}' has reached ${describe(early)}, and not handled it`)
            }))
        }),
      unhandled: (projection) => Effect.sync(() => audit.unhandled(projection, storedOf(projection).revision)),
      handled: (projection) => Effect.sync(() => audit.handledBy(projection, storedOf(projection).revision)),
      rewoundSinceFilter: (projection) => Effect.sync(() => audit.rewoundSinceFilter(projection)),
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
          const lost = lostLetter()
          if (lost !== undefined) return violate("what is put aside is kept", lost)
          audit.conclude()
        })
    }
  })
