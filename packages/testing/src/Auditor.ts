/**
 * Watches the services of a simulation, and ends it when they do what they must not.
 *
 * @since 0.1.0
 */
import { type ChangeReader, DurableStateStore } from "@sluice/core/DurableStateStore"
import { type EncodedElement, type EncodedEnvelope, type Envelope, isSkipped, type Place } from "@sluice/core/Envelope"
import { type Flow, isFlow } from "@sluice/core/Flow"
import type { Handler } from "@sluice/core/Handler"
import { Journal, type JournalReader } from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import { type OffsetKey, OffsetStore, type StoredOffsets } from "@sluice/core/OffsetStore"
import * as PersistenceId from "@sluice/core/PersistenceId"
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
  /**
   * `ProjectionStatus.everywhere`, which must not show a worker as anything but `Unknown` once its process has given no sign of life for three
   * intervals, nor in another state than the process has said last, nor with too small a lag. Processes say how they are doing if they have a
   * `HeartbeatStore.Heartbeat` with a finite interval. It is only asked of what cannot be late: where the time of day of the database is not set back.
   */
  readonly everywhere: (projection: string) => ReturnType<typeof ProjectionStatus.everywhere>
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
  /** The events that a watched projection has gone past as `ProjectionManagement.skip` has told it, and that no rewind has brought back since. */
  readonly skipped: (projection: string) => Effect.Effect<ReadonlyArray<Place>>
  /**
   * Whether a watched projection was rewound, or cleared, after the filter of its stream was changed last. What that change was to bring at once, and has
   * not brought by then, comes with the next event of its entity.
   */
  readonly rewoundSinceFilter: (projection: string) => Effect.Effect<boolean>
  /**
   * Waits until every watched projection has handled all there is, and its offsets say so. To be called when there are no faults any more, and
   * nobody appends. Of versions only those are meant that still run. A worker that has stopped, and is not told to go on, ends the simulation with the reason that it has stopped for. So does that no
   * projection is watched.
   */
  readonly settled: (options: { readonly within: Duration.Input }) => Effect.Effect<void, never, Simulation>
}

/** Whether an event is one of those that the receipt is of. */
const isOf = ({ count, persistenceId, sequenceNumber }: Receipt) => (event: Place): boolean =>
  event.persistenceId === persistenceId && event.sequenceNumber <= sequenceNumber &&
  event.sequenceNumber > sequenceNumber - count

/** A projection as far as it reads one of its sources. */
interface Part {
  /** What the audit calls it. */
  readonly id: string
  readonly key: OffsetKey
  /** The key of the journal, or of the states, that its events are from. */
  readonly origin: string
}

/** Who has opened the source of a part. */
interface Opened {
  readonly part: Part
  readonly range: SliceRange.SliceRange
  readonly worker: object
}

const entityTypeOf = (origin: string): string => origin.slice(origin.indexOf(":") + 1)

const nameOfEvent = ({ persistenceId, sequenceNumber }: Pick<Place, "persistenceId" | "sequenceNumber">): string =>
  `${persistenceId} ${sequenceNumber}`

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
 * | offsets tell of what is handled | at least once, and of a flow whatever the order in which it is done |
 * | a worker goes forward | from where it has begun, whatever the delivery |
 * | exactly once, events are handled in order | as the transactions of the handlers say |
 * | at most once, what is lost was in hand at the end of a worker | none is handed over twice, and one call of the handler is lost at most |
 * | the events of a slice follow each other | a handler is not given one while it has another, whatever the parallelism |
 * | nothing is passed over | of the same log, or of the entity where a source selects entities; whatever the delivery |
 * | what is skipped was to be, and is not handled | and nothing else: what a rewind withdraws is not skipped; of what is handled at least once it may be |
 * | what is to be skipped is not forgotten | but for a rewind |
 * | a version that is retired rests | from the commit by which another takes its place, or it is cancelled |
 * | what is put aside has failed, and is kept | as often as the recovery strategy says, and until it is handled |
 * | offsets go forward | but for a rewind |
 * | what is left behind stays there | by a change of a filter that does not bring it, or a rewind that leads past it |
 * | a fenced worker does nothing | until it has begun anew |
 * | caught up means handled, reached means handled, lag is not understated | |
 * | what is said of workers is true | none is shown as alive whose process has not been for three intervals |
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
    /** By the projection's name, in each of its sources. */
    const watched = new Map<string, ReadonlyArray<Part>>()
    const parts = () => [...watched.values()].flat()
    /** Those that are not of a version that does not run any more. */
    const atWork = () => parts().filter(({ id }) => !audit.isRetired(id))
    /** The part of a projection that an event belongs to. */
    const partOf = (projection: string, { persistenceId }: Pick<Place, "persistenceId">): Part => {
      const all = watched.get(projection)!
      return all.length === 1
        ? all[0]!
        : all.find(({ origin }) => entityTypeOf(origin) === PersistenceId.entityType(persistenceId))!
    }
    /** What the stages of a source that is offered have dropped. */
    const dropped = new WeakMap<Source.Source<any, any, any>, Positions>()

    const violate = (invariant: string, message: string): void => {
      engine.note("auditor", () => `'${invariant}' does not hold: ${message}`)
      engine.fail({ _tag: "Violation", invariant, message })
    }
    const open = (origin: string): Effect.Effect<ReadonlyArray<EncodedEnvelope>> => {
      const entityType = entityTypeOf(origin)
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
    const audit = new Audit(violate, pull, () => engine.now)
    journalDatabase.observers.add((observation) => audit.observe(observation))
    if (offsetsDatabase !== journalDatabase) {
      offsetsDatabase.observers.add((observation) => audit.observe(observation))
    }

    const storedOf = ({ key }: Part): StoredOffsets => Effect.runSync(Effect.orDie(offsets.load(key, SliceRange.full)))

    const partWith = ({ projection, source }: OffsetKey) =>
      watched.get(projection)?.find(({ key }) => key.source === source)

    offsetsDatabase.observers.add((observation) => {
      // the transaction is about to be committed, and nobody else sees yet what it has changed
      if (observation._tag === "Rewound") {
        const part = partWith(observation.key)
        if (part !== undefined) audit.rewound(part.id, storedOf(part), observation.offsets)
      }
      if (observation._tag === "Skipped" && observation.revision === undefined) {
        const part = partWith(observation.key)
        if (part !== undefined) audit.forgetsSkip(part.id, storedOf(part), observation.event)
      }
      if (observation._tag !== "Refiltered") return
      for (const part of parts()) {
        const stored = storedOf(part)
        if (part.key.source !== observation.source || stored.revision === undefined) continue
        audit.refiltered(part.id, stored)
        if (observation.history === "none") audit.givesUp(part.id, stored, observation)
      }
    })

    const headsOf = ({ origin }: Part): ReadonlyMap<Slice, number> => {
      const truth = audit.truth(origin)
      return new Map(Array.from(truth.slices, (slice) => [slice, truth.head(slice)]))
    }

    const record = (projection: string, envelopes: ReadonlyArray<Envelope<unknown>>): Effect.Effect<void> =>
      Effect.map(Effect.all([place, currentWorker, CurrentTransaction]), ([{ runner }, worker, transaction]) => {
        for (const envelope of envelopes) {
          const part = partOf(projection, envelope)
          engine.note(runner.name, () => `'${projection}' handles ${describe(envelope)}`)
          audit.handles(part.id, worker, envelope)
          const handled = (revision: number | undefined) =>
            audit.handled(part.id, worker, revision, envelope, () => storedOf(part).revision)
          if (transaction === undefined) handled(undefined)
          else transaction.onCommit.push(() => handled(transaction.revision))
        }
      })

    /** Only says something of what was not rewound meanwhile, in the slices of workers that were there all the time. */
    const compared = <A, E, R>(
      projection: string,
      effect: Effect.Effect<A, E, R>,
      compare: (heads: ReadonlyMap<Part, ReadonlyMap<Slice, number>>, result: A) => void
    ): Effect.Effect<A, E, R> =>
      Effect.flatMap(ProjectionRegistry, (registry) => {
        const all = watched.get(projection)!
        const heads = new Map(all.map((part) => [part, headsOf(part)]))
        const rewinds = () => all.reduce((sum, { id }) => sum + audit.rewinds(id), 0)
        const rewindsBefore = rewinds()
        const before = registry.workers(projection)
        return Effect.map(effect, (result) => {
          if (rewinds() !== rewindsBefore) return result
          const remaining = registry.workers(projection).filter((worker) => before.includes(worker))
          const isTheirs = ({ key }: Part, slice: Slice) =>
            remaining.some((worker) => worker.key.source === key.source && SliceRange.contains(worker.range, slice))
          const theirs = Array.from(
            heads,
            ([part, heads]) => [part, new Map([...heads].filter(([slice]) => isTheirs(part, slice)))] as const
          )
          compare(new Map(theirs), result)
          return result
        })
      })

    const behind = (): string | undefined => {
      if (watched.size === 0) return "no projection is watched: run those that 'Auditor.projection' returns"
      for (const part of atWork()) {
        const { offsets, revision } = storedOf(part)
        const missing = audit.missing(part.id, revision)
        if (missing.length > 0) {
          return `'${part.id}' has yet to handle ${missing.length}, such as ${describe(missing[0]!)}`
        }
        for (const [slice, head] of headsOf(part)) {
          const position = offsets.get(slice)?.position ?? 0
          if (position !== head) return `'${part.id}' is stored at ${position} of slice ${slice}, which has ${head}`
        }
      }
      return undefined
    }

    /** Since when a worker has been stopped, by why it has. */
    const stopped = new Map<object, number>()

    /** Why a watched worker does not go on, once it has had the time for a command to reach it. */
    const stoppedAs = (): string | undefined => {
      for (const projection of new Set(atWork().map(({ key }) => key.projection))) {
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
      for (const { id, key } of atWork()) {
        const there = new Set(
          Effect.runSync(Effect.orDie(management.listLetters(key, undefined, 10_000)))
            .map(({ persistenceId, sequenceNumber }) => `${persistenceId} ${sequenceNumber}`)
        )
        for (const place of audit.letters(id)) {
          const isThere = there.has(`${place.persistenceId} ${place.sequenceNumber}`)
          if (!isThere) return `'${id}' has put aside ${describe(place)}, and does not have it any more`
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
          const part = partOf(projection, envelopes[0]!)
          audit.begins(part.id, worker, envelopes, () => storedOf(part).revision)
          return Effect.onExit(
            watchCall(envelopes, call),
            () => Effect.sync(() => audit.ends(part.id, worker, envelopes))
          )
        })
      const watchCall = (envelopes: ReadonlyArray<Envelope<A>>, call: Effect.Effect<void, E, R>) =>
        call.pipe(
          Effect.tapCause((cause) =>
            Effect.sync(() => {
              // in a group nobody knows which
              if (envelopes.length > 1 || Cause.hasInterruptsOnly(cause)) return
              audit.fails(partOf(projection, envelopes[0]!).id, envelopes[0]!, false)
            })
          ),
          Effect.andThen(record(projection, envelopes))
        )
      return aroundHandler(handler, (envelopes, call) => watch(envelopes, call))
    }

    /** Who reads each part in each process, the last one last. */
    const opened = new WeakMap<object, Array<Opened>>()

    /** A stream has a scope of its own: the worker is the one that has opened the source of what it is given last. */
    const watchFlow = (projection: string, flow: Flow): Flow => {
      const own = (envelope: Place) =>
        Effect.map(place, ({ runner }) => {
          const part = partOf(projection, envelope)
          const reader = opened.get(runner)?.findLast((one) =>
            one.part === part && SliceRange.contains(one.range, envelope.slice)
          )
          return { part, runner, worker: reader?.worker ?? runner, newest: () => storedOf(part).revision }
        })
      return {
        ...flow,
        run: (envelopes) => {
          const given = new Map<string, Envelope<unknown>>()
          return flow.run(Stream.tap(envelopes, (envelope) =>
            Effect.map(own(envelope), ({ newest, part, worker }) => {
              given.set(nameOfEvent(envelope), envelope)
              audit.gives(part.id, worker, envelope, newest)
            }))).pipe(Stream.tap((done) => {
              const envelope = given.get(nameOfEvent(done))
              return envelope === undefined
                ? Effect.void
                : Effect.map(own(envelope), ({ newest, part, runner, worker }) => {
                  engine.note(runner.name, () => `'${projection}' is done with ${describe(envelope)}`)
                  audit.handled(part.id, worker, undefined, envelope, newest)
                })
            }))
        }
      }
    }

    const watchPart = (
      part: Part,
      source: Source.Source<any, any, any>
    ): Source.Source<any, any, any> => {
      const { id } = part
      const { codec, entity, open } = source.provider
      /** Where what is decoded has come from. */
      const places = new WeakMap<object, Place>()
      const see = <Element extends EncodedElement>(element: Element): Element => {
        if (isSkipped(element)) audit.skips(id, element)
        else if (element.payload !== undefined) places.set(element.payload, element)
        return element
      }
      const provider: typeof source.provider = {
        ...source.provider,
        open: (range, start) =>
          Effect.gen(function*() {
            const { runner } = yield* place
            const worker = yield* currentWorker
            const feed = yield* open(range, start)
            const readers = opened.get(runner) ?? []
            opened.set(runner, readers)
            readers.push({ part, range, worker })
            return { ...feed, envelopes: Stream.map(feed.envelopes, see) }
          }),
        entity: (persistenceId, from, to) => Stream.map(entity(persistenceId, from, to), see),
        codec: {
          ...codec,
          decodeUnsafe: (payload) => {
            try {
              return codec.decodeUnsafe(payload)
            } catch (error) {
              const place = places.get(payload)
              if (place !== undefined) audit.fails(id, place, true)
              throw error
            }
          }
        }
      }
      const stages = watchStages(source.stages, {
        dropped: (envelope) => audit.drops(id, envelope),
        failed: (envelope, isPermanent) => audit.fails(id, envelope, isPermanent)
      })
      return Object.assign(Source.make(provider), { stages })
    }

    const watchProjection: Auditor["projection"] = (self, options) => {
      const { delivery, handler, name, recovery, sources } = self
      const origin = options?.origin
      const isMerged = sources.length > 1
      if (isMerged && origin !== undefined) {
        throw new RangeError(`Projection '${name}' has several sources, of which an origin cannot be given`)
      }
      const all = sources.map((source): Part => {
        const { key } = source.provider
        return {
          id: isMerged ? `${name} of ${key}` : name,
          key: { projection: name, source: key },
          origin: (origin ?? source).provider.key
        }
      })
      if (new Set(all.map(({ origin }) => entityTypeOf(origin))).size < all.length) {
        throw new RangeError(`Projection '${name}' has several sources with the same type, which cannot be watched`)
      }
      if (!watched.has(name)) watched.set(name, all)
      for (const { id, key, origin: from } of all) {
        audit.watch({
          projection: id,
          key,
          origin: from,
          delivery: delivery._tag,
          isParallel: isFlow(handler) || delivery._tag === "AtLeastOnce" && delivery.parallelism > 1,
          isFlow: isFlow(handler),
          recovery,
          isLeftOut: (slice, position) => origin !== undefined && dropped.get(origin)?.has(slice, position) === true
        })
      }
      const made: typeof self = Object.create(Object.getPrototypeOf(self))
      return Object.assign(made, self, {
        handler: isFlow(handler) ? watchFlow(name, handler) : watchHandler(name, handler),
        sources: sources.map((source, i) => watchPart(watched.get(name)![i]!, source))
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
        compared(projection, ProjectionStatus.caughtUp(projection), (all) => {
          for (const [part, heads] of all) {
            const missing = audit.missing(part.id, storedOf(part).revision, heads)[0]
            if (missing === undefined) continue
            violate("caught up means handled", `'${part.id}' says so, and has yet to handle ${describe(missing)}`)
          }
        }),
      everywhere: (projection) =>
        Effect.suspend(() => {
          const asked = engine.now
          const rewinds = () => watched.get(projection)!.reduce((sum, { id }) => sum + audit.rewinds(id), 0)
          const before = rewinds()
          return Effect.tap(ProjectionStatus.everywhere(projection), (workers) =>
            Effect.sync(() => {
              for (const part of watched.get(projection)!) {
                const offsets = before === rewinds() ? storedOf(part).offsets : undefined
                for (const worker of workers) {
                  if (worker.state === "Unknown" || worker.source !== part.key.source) continue
                  const problem = audit.isOverstated(part.id, worker, { asked, offsets })
                  if (problem !== undefined) violate("what is said of workers is true", problem)
                }
              }
            }))
        }),
      lag: (projection) =>
        compared(projection, ProjectionStatus.lag(projection), (all, lag) => {
          let least = 0
          for (const [part, heads] of all) {
            const { offsets } = storedOf(part)
            for (const [slice, head] of heads) {
              const offset = offsets.get(slice) ?? Offset.beginning
              if (offset.position > 0 || offset.timestamp === 0) least += head - offset.position
              else {
                const events = audit.truth(part.origin).between(slice, 0, head)
                least += events.filter(({ timestamp }) => timestamp >= offset.timestamp).length
              }
            }
          }
          if (lag < least) violate("lag is not understated", `'${projection}' is ${least} behind, and says ${lag}`)
        }),
      reached: (projection, receipt, options) =>
        Effect.suspend(() => {
          const part = partOf(projection, receipt)
          const rewinds = audit.rewinds(part.id)
          return Effect.tap(ProjectionStatus.reached(projection, receipt, options), ({ leftOut }) =>
            Effect.sync(() => {
              if (audit.rewinds(part.id) !== rewinds) return
              const { revision } = storedOf(part)
              const left = leftOut.length > 0
                ? audit.missing(part.id, revision)
                : audit.unhandled(part.id, revision)
              // at most once, the offset says it before the handler is called
              const early = left.find((event) => isOf(receipt)(event) && !audit.isInHand(part.id, event))
              if (early === undefined) return
              violate("reached means handled", `'${projection}' has reached ${describe(early)}, and not handled it`)
            }))
        }),
      unhandled: (projection) =>
        Effect.sync(() =>
          watched.get(projection)!.flatMap((part) => audit.unhandled(part.id, storedOf(part).revision))
        ),
      handled: (projection) =>
        Effect.sync(() =>
          watched.get(projection)!.flatMap((part) => audit.handledBy(part.id, storedOf(part).revision))
        ),
      skipped: (projection) =>
        Effect.sync(() =>
          watched.get(projection)!.flatMap((part) => audit.skippedBy(part.id, storedOf(part).revision))
        ),
      rewoundSinceFilter: (projection) =>
        Effect.sync(() => watched.get(projection)!.some(({ id }) => audit.rewoundSinceFilter(id))),
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
