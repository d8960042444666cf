import type { DeliveryGuarantee } from "@sluice/core/DeliveryGuarantee"
import type { EncodedEnvelope, Envelope, Place, Skipped } from "@sluice/core/Envelope"
import { compile, type EventFilter, type Subject } from "@sluice/core/EventFilter"
import { type Beat, missedIntervals } from "@sluice/core/HeartbeatStore"
import { type AppendRequest, sourceKey } from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import type { OffsetKey, StoredOffsets } from "@sluice/core/OffsetStore"
import type { Payload } from "@sluice/core/Payload"
import type { DeadLetterId } from "@sluice/core/ProjectionManagement"
import type { RecoveryStrategy } from "@sluice/core/RecoveryStrategy"
import type { ReportedWorker } from "@sluice/core/ReportedWorker"
import { ofPersistenceId as sliceOf, type Slice } from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Timestamp from "@sluice/core/Timestamp"
import { epoch } from "./Engine.ts"
import type { Observation } from "./Observation.ts"
import { Positions } from "./Positions.ts"
import { describe, JournalTruth, type Sent, StatesTruth, type Truth } from "./Truth.ts"
import type { Violate } from "./Violate.ts"

/** What a worker has done since it has begun. */
interface Worker {
  readonly stored: StoredOffsets
  readonly last: Map<Slice, number>
  /** The events that its handler has, by their slices. */
  readonly busy: Map<Slice, Place>
  /** Of a worker that moves offsets first: what it has yet to hand over of that. */
  readonly due: Set<Place>
  /** Of a flow: what it was given, and is not done with. */
  readonly given: Set<string>
  isFenced: boolean
}

/** @internal A projection that is watched, as far as it reads one of its sources. */
export interface Watched {
  /** What it is called here: the projection's name, or, of several sources, that and the source. */
  readonly projection: string
  /** Under which its offsets are stored. */
  readonly key: OffsetKey
  /** The key of the journal, or of the states, that its events are from. */
  readonly origin: string
  readonly delivery: DeliveryGuarantee["_tag"]
  readonly isParallel: boolean
  /** Whether it is a stream in the place of a handler, which may be done with what it has in any order. */
  readonly isFlow: boolean
  readonly recovery: Pick<RecoveryStrategy, "poison" | "retries">
  /** Whether the service that its events are from has left out the one at that position. */
  readonly isLeftOut: (slice: Slice, position: number) => boolean
}

/** What became of events. */
interface Done {
  /** What was handled, and is not undone. */
  readonly handled: Positions
  /** What was put aside. */
  readonly aside: Positions
  /** What is not handed over, as the worker that was to do so has come to its end. */
  readonly lost: Positions
  /** What it has gone past, as it was told. */
  readonly skipped: Positions
}

/** What a change of the filter has given up. */
interface GivenUp {
  /** The revision before the change: an at-least-once worker that stands on it may still be at such an event. */
  readonly revision: number
  /** Everything before the offsets, until a rewind to before it. */
  readonly positions: Positions
  /** It is given up of the entities whose next event that is so of. Which one that is, only the worker knows. */
  readonly includes: (event: Subject) => boolean
}

/** What a process has said of its workers. */
interface Said {
  /** When it has given its last sign of life, in milliseconds, and when that was stored. */
  at: number
  storedAt: number
  interval: number
  readonly states: Map<string, string>
  /** What is about to be stored. */
  next: Beat | undefined
}

interface Projection extends Watched {
  readonly workers: Map<object, Worker>
  /** By those who stand on a revision. */
  readonly done: Map<number, Done>
  /** What does not come again after a rewind, or another filter, by the revision before that. */
  readonly kept: Map<number, Done>
  readonly letters: Map<string, Place>
  /** What it was told to go past, and has not come to yet. */
  readonly toSkip: Set<string>
  /** Whether it is a version that does not run any more. */
  isRetired: boolean
  /** What comes out of order where it is handled at all, as it was put aside. */
  readonly wasAside: Positions
  /** What the source, or one of its stages, has left out for good. */
  readonly leftOut: Positions
  /** What a rewind has jumped over: until a rewind to before it. */
  leftBehind: Positions
  /** The revision before that: an at-least-once worker that stands on it may still be at such an event. */
  leftBehindAt: number
  /** What was left behind until a rewind, by the revision before that: for workers that stand on it still, as long as they are at such an event. */
  readonly leftBehindBefore: Map<number, Positions>
  givenUp: ReadonlyArray<GivenUp>
  /** What the source has left out until its entity is replayed, and the slices that it has done so in. */
  deferred: Positions
  readonly perEntity: Set<Slice>
  /** How often an event has failed, in a stage or alone in the handler. */
  readonly failures: Map<string, { readonly place: Place; readonly times: number }>
  /** Where the offsets are that were moved last on a revision. */
  readonly moved: Map<string, Offset.Offset>
  /** How often it was rewound. */
  rewinds: number
  /** How often that was when the filter of its stream was changed last. */
  rewindsAtFilter: number
}

/** Whether an event comes after an offset, which may be a time. */
const isAhead = (offsets: Offset.Offsets, { position, slice, timestamp }: Place): boolean => {
  const offset = offsets.get(slice) ?? Offset.beginning
  return position! > offset.position && (offset.position > 0 || timestamp >= offset.timestamp)
}

const nameOf = ({ persistenceId, sequenceNumber }: DeadLetterId): string => `${persistenceId} ${sequenceNumber}`

const at = (slice: Slice, position: number): string => `${slice} ${position}`

const keyText = ({ projection, source }: OffsetKey): string => JSON.stringify([projection, source])

const statesPrefix = "state:"

/**
 * @internal
 * Compares what processes do with what is in the journal. Everything that must hold has a name, and whoever is given it is told of what does not.
 */
export class Audit {
  readonly #violate: Violate
  /** Reads what is new in a journal, or in states. */
  readonly #pull: (origin: string) => ReadonlyArray<EncodedEnvelope>
  readonly #truths = new Map<string, Truth>()
  readonly #sent = new Map<Payload | undefined, Sent>()
  readonly #refused: Array<AppendRequest> = []
  readonly #undone: Array<AppendRequest> = []
  readonly #projections = new Map<string, Projection>()
  readonly #byKey = new Map<string, Projection>()
  /** What processes have said of their workers, by their incarnations. */
  readonly #said = new Map<string, Said>()

  readonly #now: () => number

  /** `now` is in milliseconds since the simulation began. */
  constructor(violate: Violate, pull: (origin: string) => ReadonlyArray<EncodedEnvelope>, now: () => number) {
    this.#violate = violate
    this.#now = now
    this.#pull = pull
  }

  watch(watched: Watched): void {
    if (this.#projections.has(watched.projection)) return
    const projection: Projection = {
      ...watched,
      workers: new Map(),
      done: new Map(),
      kept: new Map(),
      letters: new Map(),
      toSkip: new Set(),
      isRetired: false,
      wasAside: new Positions(),
      leftOut: new Positions(),
      leftBehind: new Positions(),
      leftBehindAt: -1,
      leftBehindBefore: new Map(),
      givenUp: [],
      deferred: new Positions(),
      perEntity: new Set(),
      failures: new Map(),
      moved: new Map(),
      rewinds: 0,
      rewindsAtFilter: 0
    }
    this.#projections.set(watched.projection, projection)
    this.#byKey.set(keyText(watched.key), projection)
  }

  #of(key: OffsetKey): Projection | undefined {
    return this.#byKey.get(keyText(key)) ?? this.#projections.get(key.projection)
  }

  /** The journal, or the states, as they are now. */
  truth(origin: string): Truth {
    let truth = this.#truths.get(origin)
    if (truth === undefined) {
      truth = origin.startsWith(statesPrefix)
        ? new StatesTruth(this.#violate)
        : new JournalTruth(this.#sent, this.#violate)
      this.#truths.set(origin, truth)
    }
    truth.take(this.#pull(origin))
    return truth
  }

  /** Letters that should be there, as they were put aside and not thrown away. */
  letters(name: string): Iterable<Place> {
    return this.#projections.get(name)!.letters.values()
  }

  /** The source shows that it has left out a part of a log. */
  skips(name: string, { from, isDeferred, position, slice }: Skipped): void {
    const projection = this.#projections.get(name)!
    if (isDeferred) projection.perEntity.add(slice)
    const positions = isDeferred ? projection.deferred : projection.leftOut
    for (let left: number = from; left <= position; left++) positions.add(slice, left)
  }

  /** A stage drops an event. */
  drops(name: string, { position, slice }: Place): void {
    if (position !== undefined) this.#projections.get(name)!.leftOut.add(slice, position)
  }

  /** An event has failed, and nothing else with it: for good, or so that another try may help. */
  fails(name: string, place: Place, isPermanent: boolean): void {
    const { position, slice } = place
    if (position === undefined) return
    const { failures } = this.#projections.get(name)!
    const key = at(slice, position)
    failures.set(key, { place, times: isPermanent ? Infinity : (failures.get(key)?.times ?? 0) + 1 })
  }

  rewinds(projection: string): number {
    return this.#projections.get(projection)?.rewinds ?? 0
  }

  rewoundSinceFilter(name: string): boolean {
    const { rewinds, rewindsAtFilter } = this.#projections.get(name)!
    return rewinds > rewindsAtFilter
  }

  observe(observation: Observation): void {
    switch (observation._tag) {
      case "Sent":
        for (const { payload } of observation.request.events) {
          if (!this.#sent.has(payload)) this.#sent.set(payload, { request: observation.request, found: undefined })
        }
        return
      case "Refused":
        this.#refused.push(observation.request)
        return
      case "Undone":
        this.#undone.push(observation.request)
        return
      case "Acknowledged":
        return this.#acknowledged(observation)
      case "Loaded": {
        const projection = this.#of(observation.key)
        if (projection === undefined) return
        const { stored, worker } = observation
        for (const [other, { due, stored: { revision } }] of projection.workers) {
          if (other === worker || revision === undefined) continue
          // it may still hand it over, if it has not come to its end
          for (const { position, slice } of due) doneOf(projection, revision).lost.add(slice, position!)
        }
        projection.workers.set(worker, {
          stored,
          last: new Map(),
          busy: new Map(),
          due: new Set(),
          given: new Set(),
          isFenced: false
        })
        return
      }
      case "Moves":
        if (this.#workerOf(observation)?.isFenced === true && !this.#isParallel(observation)) {
          this.#violate("a fenced worker does nothing", `it moves offsets of '${observation.key.projection}'`)
        }
        return
      case "Moved":
        return this.#moved(observation)
      case "Fenced": {
        const worker = this.#workerOf(observation)
        if (worker !== undefined) worker.isFenced = true
        return
      }
      case "PutAside":
        return this.#putAside(observation)
      case "Discarded": {
        const { persistenceId, sequenceNumber } = observation.letter
        this.#of(observation.key)?.letters.delete(`${persistenceId} ${sequenceNumber}`)
        return
      }
      case "ToSkip":
        this.#of(observation.key)?.toSkip.add(nameOf(observation.event))
        return
      case "Skipped":
        return this.#skipped(observation)
      case "Retired":
        for (const projection of this.#projections.values()) {
          if (projection.key.projection === observation.projection) projection.isRetired = true
        }
        return
      case "Beats":
        return this.#beats(observation)
      case "Prunes": {
        const origin = sourceKey(observation.entityType)
        if (this.#truths.has(origin)) this.truth(origin)
        return
      }
    }
  }

  /** A worker's handler is given events. */
  begins(
    name: string,
    by: object,
    envelopes: ReadonlyArray<Envelope<unknown>>,
    newest: () => number | undefined
  ): void {
    const projection = this.#projections.get(name)!
    const worker = projection.workers.get(by)
    if (worker === undefined) return
    for (const envelope of envelopes) {
      const { position, slice } = envelope
      const other = worker.busy.get(slice)
      if (other !== undefined) {
        const text = `'${name}' is given ${describe(envelope)} while it handles ${describe(other)}`
        this.#violate("the events of a slice follow each other", text)
      }
      if (projection.delivery !== "AtMostOnce" || position === undefined) continue
      for (const place of worker.due) {
        if (place.slice === slice && place.position === position) worker.due.delete(place)
      }
      this.#handled(projection, worker.stored.revision, envelope, newest)
    }
    for (const envelope of envelopes) worker.busy.set(envelope.slice, envelope)
  }

  /** It has come to an end with them. */
  ends(name: string, by: object, envelopes: ReadonlyArray<Envelope<unknown>>): void {
    const worker = this.#projections.get(name)!.workers.get(by)
    for (const { slice } of envelopes) worker?.busy.delete(slice)
  }

  /** Whether an event is about to be handed over by who has moved the offset past it. */
  isInHand(name: string, { position, slice }: Place): boolean {
    return [...this.#projections.get(name)!.workers.values()].some(({ due }) =>
      [...due].some((place) => place.slice === slice && place.position === position)
    )
  }

  /** A worker's handler is done with an event. What it has done may be undone, unless there is no transaction. */
  handles(name: string, by: object, envelope: Envelope<unknown>): void {
    const projection = this.#projections.get(name)!
    const { position, slice } = envelope
    if (position === undefined) return
    const text = `'${name}' handles ${describe(envelope)}`
    if (!this.truth(projection.origin).has(envelope)) {
      this.#violate("what is handled is in the journal", `${text}, which is not there`)
    }
    const worker = projection.workers.get(by)
    // one that was put aside comes when it is asked for, and one that is replayed has been passed before
    const isOutOfOrder = projection.wasAside.has(slice, position) || projection.perEntity.has(slice) ||
      this.#mayWait(projection, envelope)
    if (worker === undefined || isOutOfOrder) return
    // of those that it handles at the same time, some may have begun before
    if (worker.isFenced && !projection.isParallel) this.#violate("a fenced worker does nothing", text)
    const last = worker.last.get(slice) ?? worker.stored.offsets.get(slice)?.position ?? 0
    if (position <= last) this.#violate("a worker goes forward", `${text}, and was at ${last}`)
    worker.last.set(slice, position)
  }

  /** A worker gives an event to its flow. */
  gives(name: string, by: object, envelope: Envelope<unknown>, newest: () => number | undefined): void {
    this.handles(name, by, envelope)
    const projection = this.#projections.get(name)!
    const { position, slice } = envelope
    const worker = projection.workers.get(by)
    const revision = worker?.stored.revision
    if (position === undefined || worker === undefined || revision === undefined) return
    if (!projection.wasAside.has(slice, position)) {
      const passed = this.#allMissingBefore(projection, revision, envelope, position)
        .find((event) => !worker.given.has(at(slice, event.position!)))
      if (passed !== undefined && revision === newest()) {
        this.#violate("nothing is passed over", `'${name}' is given ${describe(envelope)}, and not ${describe(passed)}`)
      }
    }
    worker.given.add(at(slice, position))
  }

  /** A projection goes on from where it was, on a revision after the stored one: what was handled is. */
  refiltered(name: string, { revision = 0 }: StoredOffsets): void {
    const projection = this.#projections.get(name)!
    projection.rewindsAtFilter = projection.rewinds
    this.#keep(projection, revision, () => true)
  }

  /** What is done on a revision stays so on the next one. What is claimed, and not yet handed over, does not come again: once its worker has ended it is lost. */
  #keep(projection: Projection, revision: number, isKept: (slice: Slice, position: number) => boolean): void {
    const kept = keep(doneOf(projection, revision), isKept)
    for (const { due } of projection.workers.values()) {
      for (const { position, slice } of due) if (isKept(slice, position!)) kept.lost.add(slice, position!)
    }
    projection.kept.set(revision, kept)
  }

  /**
   * A projection goes on from other offsets, on a revision after the stored one. What is ahead of them comes again. All that it has not come to yet
   * and is not ahead of them does not come any more. What else there is behind them stays as it was: handled, left out for now, or left behind.
   */
  rewound(name: string, { offsets, revision = 0 }: StoredOffsets, to: Offset.Offsets): void {
    const projection = this.#projections.get(name)!
    projection.rewinds++
    const truth = this.truth(projection.origin)
    const isBehind = (slice: Slice, position: number) => {
      const place = truth.at(slice, position)
      return place !== undefined && !isAhead(to, place)
    }
    this.#keep(projection, revision, isBehind)
    projection.deferred = projection.deferred.filter(isBehind)
    // a transaction that was not committed is tried again
    if (!projection.leftBehindBefore.has(revision)) projection.leftBehindBefore.set(revision, projection.leftBehind)
    projection.leftBehind = projection.leftBehind.filter(isBehind)
    projection.givenUp = projection.givenUp.map((one) => ({ ...one, positions: one.positions.filter(isBehind) }))
    this.#leaveBehind(projection, revision, (event) => isAhead(offsets, event) && !isAhead(to, event))
    projection.toSkip.clear()
    for (const [key, { place }] of projection.failures) if (isAhead(to, place)) projection.failures.delete(key)
    for (const [key, place] of projection.letters) if (isAhead(to, place)) projection.letters.delete(key)
  }

  /** What a projection has not handled up to its offsets is not to come any more, of the entities that the change of its filter has newly included. */
  givesUp(
    name: string,
    { offsets, revision = 0 }: StoredOffsets,
    change: { readonly before: EventFilter; readonly after: EventFilter }
  ): void {
    const projection = this.#projections.get(name)!
    const [before, after] = [compile(change.before), compile(change.after)]
    const positions = new Positions()
    const truth = this.truth(projection.origin)
    for (const slice of truth.slices) {
      for (const event of truth.between(slice, 0, truth.head(slice))) {
        if (!isAhead(offsets, event)) positions.add(slice, event.position!)
      }
    }
    const includes = (event: Subject) => after(event) && !before(event)
    projection.givenUp = [...projection.givenUp, { revision, positions, includes }]
  }

  /** The events that an event's entity has, by which a change has newly included it or not. */
  #ofEntity(
    projection: Projection,
    { persistenceId, slice }: Pick<Place, "persistenceId" | "slice">
  ): ReadonlyArray<EncodedEnvelope> {
    const truth = this.#truths.get(projection.origin)!
    return truth.between(slice, 0, truth.head(slice)).filter((event) => event.persistenceId === persistenceId)
  }

  /** Whether an event may never come, as it was given up. */
  #mayBeGivenUp(projection: Projection, event: Place): boolean {
    const changes = projection.givenUp.filter(({ positions }) => positions.has(event.slice, event.position!))
    return changes.length > 0 &&
      this.#ofEntity(projection, event).some((other) => changes.some(({ includes }) => includes(other)))
  }

  /** Whether an event must not come any more to a worker that stands on a revision, as it was given up whichever event of its entity has come next. */
  #isGivenUp(projection: Projection, of: number, event: Place): boolean {
    return projection.givenUp.some(({ includes, positions, revision }) =>
      of > revision && positions.has(event.slice, event.position!) &&
      this.#ofEntity(projection, event).every(includes)
    )
  }

  #leaveBehind(projection: Projection, revision: number, isMeant: (event: EncodedEnvelope) => boolean): void {
    projection.leftBehindAt = revision
    const truth = this.truth(projection.origin)
    for (const slice of truth.slices) {
      for (const event of truth.between(slice, 0, truth.head(slice))) {
        if (isMeant(event)) projection.leftBehind.add(slice, event.position!)
      }
    }
  }

  /** The event counts as handled from now on. `newest` is the revision that the projection is stored with. */
  handled(
    name: string,
    by: object,
    revision: number | undefined,
    envelope: Envelope<unknown>,
    newest: () => number | undefined
  ): void {
    const projection = this.#projections.get(name)!
    const worker = projection.workers.get(by)
    // that counts once it is handed over, unless it was put aside before
    if (projection.delivery === "AtMostOnce" && worker !== undefined) return
    this.#handled(projection, revision ?? worker?.stored.revision, envelope, newest)
  }

  #handled(
    projection: Projection,
    revision: number | undefined,
    envelope: Envelope<unknown>,
    newest: () => number | undefined
  ): void {
    const { delivery, projection: name } = projection
    const { position, slice } = envelope
    if (position === undefined || revision === undefined) return
    const { handled, lost, skipped } = doneOf(projection, revision)
    const text = `'${name}' handles ${describe(envelope)}`
    const isLeftBehind = revision > projection.leftBehindAt && projection.leftBehind.has(slice, position)
    if (isLeftBehind || this.#isGivenUp(projection, revision, envelope)) {
      this.#violate("what is left behind stays there", text)
    }
    if (delivery !== "AtLeastOnce" && handled.has(slice, position)) {
      this.#violate(delivery === "ExactlyOnce" ? "exactly once" : "at most once", `${text} again`)
    }
    if (delivery === "ExactlyOnce" && skipped.has(slice, position)) {
      this.#violate("what is skipped is not handled", text)
    }
    const aside = delivery === "ExactlyOnce" ? this.#letterBefore(projection, envelope) : undefined
    if (aside !== undefined) {
      this.#violate("events wait for what was put aside of their entity", `${text}, and not ${describe(aside)}`)
    }
    // it has been in hand while others went on
    const isLate = lost.has(slice, position)
    if (!projection.wasAside.has(slice, position) && !isLate) {
      if (delivery !== "AtLeastOnce") this.#inOrder(projection, revision, envelope, position)
      const before = projection.isFlow
        ? undefined
        : this.#allMissingBefore(projection, revision, envelope, position)[0]
      // a worker that is in no transaction need not know yet that the projection was rewound
      if (before !== undefined && revision === newest()) {
        this.#violate("nothing is passed over", `${text}, and not ${describe(before)}`)
      }
    }
    handled.add(slice, position)
  }

  /** Of its entity in any case, and of its log unless the source selects entities. */
  #inOrder(projection: Projection, revision: number, envelope: Envelope<unknown>, position: number): void {
    const { perEntity, projection: name } = projection
    const { persistenceId, slice } = envelope
    const truth = this.#truths.get(projection.origin)!
    const concerns = (event: EncodedEnvelope | undefined) =>
      !perEntity.has(slice) || event?.persistenceId === persistenceId
    const later = [...doneOf(projection, revision).handled.of(slice)].find((other) =>
      other > position && !projection.wasAside.has(slice, other) && concerns(truth.at(slice, other))
    )
    if (later === undefined) return
    this.#violate("events are handled in order", `'${name}' handles ${describe(envelope)} after ${later}`)
  }

  #allMissingBefore(
    projection: Projection,
    revision: number,
    { persistenceId, slice }: Envelope<unknown>,
    position: number
  ): ReadonlyArray<EncodedEnvelope> {
    const isDue = projection.perEntity.has(slice)
      ? (event: EncodedEnvelope) => event.persistenceId === persistenceId
      : (event: EncodedEnvelope) =>
        !projection.deferred.has(slice, event.position!) &&
        (event.persistenceId === persistenceId || !this.#mayWait(projection, event))
    return this.#unhandled(projection, revision, slice, position - 1).filter(isDue)
  }

  /** At least once, the free events of a group are handled beside those that the worker takes for parked, and those after them once it knows better. */
  #mayWait({ delivery, origin, wasAside }: Projection, { persistenceId, position, slice }: Place): boolean {
    if (delivery !== "AtLeastOnce") return false
    const truth = this.#truths.get(origin)!
    for (const before of wasAside.of(slice)) {
      if (before < position! && truth.at(slice, before)?.persistenceId === persistenceId) return true
    }
    return false
  }

  /** The events that a projection has handled, standing on a revision. */
  handledBy(name: string, revision: number | undefined): ReadonlyArray<EncodedEnvelope> {
    return this.#doneAs(name, revision, "handled")
  }

  /** The events up to the heads that a projection has yet to handle, standing on a revision, or that a filter leaves out for now. */
  unhandled(
    name: string,
    revision: number | undefined,
    heads?: ReadonlyMap<Slice, number>
  ): ReadonlyArray<EncodedEnvelope> {
    const projection = this.#projections.get(name)!
    const truth = this.truth(projection.origin)
    return [...truth.slices].flatMap((slice) =>
      this.#unhandled(projection, revision, slice, heads === undefined ? truth.head(slice) : heads.get(slice) ?? 0)
    )
  }

  /** Those of them that no filter leaves out. */
  missing(
    name: string,
    revision: number | undefined,
    heads?: ReadonlyMap<Slice, number>
  ): ReadonlyArray<EncodedEnvelope> {
    const { deferred } = this.#projections.get(name)!
    return this.unhandled(name, revision, heads).filter(({ position, slice }) => !deferred.has(slice, position!))
  }

  /** What can only be said at the end. */
  conclude(): void {
    for (const origin of this.#truths.keys()) this.truth(origin)
    this.#notThere("a conflict appends nothing", this.#refused)
    this.#notThere("what is undone is not there", this.#undone)
  }

  #notThere(invariant: string, requests: ReadonlyArray<AppendRequest>): void {
    for (const { events, persistenceId } of requests) {
      const found = this.#sent.get(events[0].payload)?.found
      if (found !== undefined) this.#violate(invariant, `'${persistenceId}' has ${describe(found)}`)
    }
  }

  #unhandled(
    projection: Projection,
    revision: number | undefined,
    slice: Slice,
    to: number
  ): ReadonlyArray<EncodedEnvelope> {
    const done = revision === undefined ? undefined : doneOf(projection, revision)
    return this.#truths.get(projection.origin)!.between(slice, 0, to).filter((event) =>
      done?.handled.has(slice, event.position!) !== true && done?.aside.has(slice, event.position!) !== true &&
      done?.lost.has(slice, event.position!) !== true && done?.skipped.has(slice, event.position!) !== true &&
      !this.#isLeftOut(projection, revision, slice, event.position!) &&
      !this.#mayBeGivenUp(projection, event)
    )
  }

  /** Whether an event is left out on purpose: it is not selected, or was skipped, as it had failed often enough for that. */
  #isLeftOut(projection: Projection, revision: number | undefined, slice: Slice, position: number): boolean {
    const wasLeftBehind = revision !== undefined &&
      projection.leftBehindBefore.get(revision)?.has(slice, position) === true
    return projection.leftOut.has(slice, position) || wasLeftBehind || projection.leftBehind.has(slice, position) ||
      projection.isLeftOut(slice, position) ||
      projection.recovery.poison === "skip" && this.#hasFailed(projection, slice, position)
  }

  #hasFailed({ failures, recovery }: Projection, slice: Slice, position: number): boolean {
    return (failures.get(at(slice, position))?.times ?? 0) > recovery.retries
  }

  #putAside({ event, isQueued, key, revision }: Observation & { readonly _tag: "PutAside" }): void {
    const projection = this.#of(key)
    const { persistenceId, position, sequenceNumber, slice } = event
    if (projection === undefined || position === undefined) return
    if (isQueued) {
      if (this.#letterBefore(projection, event) === undefined) {
        this.#violate("what is queued has something before it", `'${key.projection}' queues ${describe(event)}`)
      }
    } else if (!this.#hasFailed(projection, slice, position)) {
      this.#violate("what is put aside has failed", `'${key.projection}' puts aside ${describe(event)}`)
    }
    projection.letters.set(`${persistenceId} ${sequenceNumber}`, event)
    projection.wasAside.add(slice, position)
    if (revision !== undefined) doneOf(projection, revision).aside.add(slice, position)
    for (const { due } of projection.workers.values()) {
      for (const place of due) if (place.slice === slice && place.position === position) due.delete(place)
    }
  }

  /** A projection has gone past an event as it was told, or need not do so any more. */
  #skipped({ event, key, revision }: Observation & { readonly _tag: "Skipped" }): void {
    const projection = this.#of(key)
    if (projection === undefined) return
    const wasToSkip = projection.toSkip.delete(nameOf(event))
    if (revision === undefined) return
    if (!wasToSkip) {
      this.#violate("what is skipped was to be", `'${projection.projection}' skips ${nameOf(event)}`)
    }
    const place = this.#placeOf(projection, event)
    if (place === undefined) {
      this.#violate(
        "what is skipped was to be",
        `'${projection.projection}' skips ${nameOf(event)}, which is not there`
      )
      return
    }
    const { handled, skipped } = doneOf(projection, revision)
    if (
      projection.delivery === "ExactlyOnce" &&
      (handled.has(place.slice, place.position!) || skipped.has(place.slice, place.position!))
    ) {
      this.#violate(
        "what is skipped is not handled",
        `'${projection.projection}' skips ${describe(place)}, and was past it`
      )
    }
    skipped.add(place.slice, place.position!)
  }

  #placeOf(projection: Projection, { persistenceId, sequenceNumber }: DeadLetterId): EncodedEnvelope | undefined {
    this.truth(projection.origin)
    return this.#ofEntity(projection, { persistenceId, slice: sliceOf(persistenceId) })
      .find((other) => other.sequenceNumber === sequenceNumber)
  }

  /** A projection forgets that it was to go past an event, without doing so. It may only where it is past it, or there is no such event. */
  forgetsSkip(name: string, { offsets }: StoredOffsets, event: DeadLetterId): void {
    const projection = this.#projections.get(name)!
    const place = this.#placeOf(projection, event)
    if (place === undefined || !isAhead(offsets, place)) return
    this.#violate(
      "what is to be skipped is not forgotten",
      `'${name}' does not skip ${describe(place)}, and has yet to come to it`
    )
  }

  /** What a projection has gone past, standing on a revision, as it was told. */
  skippedBy(name: string, revision: number | undefined): ReadonlyArray<EncodedEnvelope> {
    return this.#doneAs(name, revision, "skipped")
  }

  #doneAs(name: string, revision: number | undefined, as: keyof Done): ReadonlyArray<EncodedEnvelope> {
    const projection = this.#projections.get(name)!
    const truth = this.truth(projection.origin)
    if (revision === undefined) return []
    const positions = doneOf(projection, revision)[as]
    return [...truth.slices].flatMap((slice) =>
      truth.between(slice, 0, truth.head(slice)).filter(({ position }) => positions.has(slice, position!))
    )
  }

  /** Whether a projection is a version that does not run any more. */
  isRetired(name: string): boolean {
    return this.#projections.get(name)!.isRetired
  }

  /** An earlier event of its entity that was put aside, and is not handled yet. A later state supersedes it. */
  #letterBefore(projection: Projection, { persistenceId, sequenceNumber }: Place): Place | undefined {
    if (projection.origin.startsWith(statesPrefix)) return undefined
    return projection.letters.values().find((letter) =>
      letter.persistenceId === persistenceId && letter.sequenceNumber < sequenceNumber
    )
  }

  /** Of events that are handled at the same time, some may be done after that, and their offsets are moved where nobody else is. */
  #isParallel({ key }: Observation & { readonly _tag: "Moves" }): boolean {
    return this.#of(key)?.isParallel === true
  }

  #workerOf({ key, worker }: Observation & { readonly _tag: "Moves" | "Moved" | "Fenced" }): Worker | undefined {
    return this.#of(key)?.workers.get(worker)
  }

  #beats({ at, beat, isStored }: Observation & { readonly _tag: "Beats" }): void {
    const { changed, gone, interval, owner } = beat
    let said = this.#said.get(owner.incarnation)
    if (said === undefined) {
      said = { at, storedAt: 0, interval, states: new Map(), next: undefined }
      this.#said.set(owner.incarnation, said)
    }
    said.storedAt = this.#now()
    said.next = isStored ? undefined : beat
    if (!isStored) return
    said.at = at
    for (const { key, min } of gone) said.states.delete(`${keyText(key)} ${min}`)
    for (const { key, range, state } of changed) said.states.set(`${keyText(key)} ${range.min}`, state)
  }

  /** What is wrong with how a worker is shown, which is not unknown. The offsets are those that are stored, unless it was rewound meanwhile. */
  isOverstated(
    name: string,
    { lag, owner, range, state }: ReportedWorker,
    { asked, offsets }: { readonly asked: number; readonly offsets: Offset.Offsets | undefined }
  ): string | undefined {
    const projection = this.#projections.get(name)!
    const said = this.#said.get(owner.incarnation)
    const text = `'${name}' in slices ${SliceRange.format(range)} is shown as ${state} by '${owner.name}'`
    if (said === undefined) return `${text}, which has said nothing`
    const silence = asked - said.storedAt
    if (silence > missedIntervals * said.interval + 1) return `${text}, of which nothing was heard for ${silence} ms`
    const last = said.states.get(`${keyText(projection.key)} ${range.min}`)
    if (last !== state && said.next === undefined && said.storedAt < asked) return `${text}, which has said ${last}`
    if (lag === undefined || offsets === undefined) return undefined
    // the source is asked before that, and may take its time
    const known = Timestamp.make(Math.floor((epoch + said.at - 5 * said.interval) * 1000))
    const truth = this.truth(projection.origin)
    let least = 0
    for (const slice of truth.slices) {
      if (!SliceRange.contains(range, slice)) continue
      const events = truth.between(slice, offsets.get(slice)?.position ?? 0, truth.head(slice))
      least += events.filter(({ timestamp }) => timestamp < known).length
    }
    return lag < least ? `${text} with a lag of ${lag}, and was ${least} behind for long` : undefined
  }

  #acknowledged({ request, written }: Observation & { readonly _tag: "Acknowledged" }): void {
    const event = this.truth(sourceKey(request.entityType)).at(written.slice, written.position)
    const payload = request.events.at(-1)!.payload
    const isThere = event !== undefined && event.persistenceId === request.persistenceId &&
      event.sequenceNumber === written.sequenceNumber && event.timestamp === written.timestamp &&
      (event.payload === payload || event.payload === undefined)
    if (!isThere) {
      this.#violate(
        "an acknowledged append is there",
        `'${request.persistenceId}' has no such event ${written.sequenceNumber} at ${written.position} of slice ${written.slice}`
      )
    }
    const { expected } = request
    if (typeof expected === "number" && written.sequenceNumber !== expected + request.events.length) {
      this.#violate(
        "an append has the sequence number that was expected",
        `after ${expected} of '${request.persistenceId}' comes ${written.sequenceNumber}`
      )
    }
  }

  #moved(observation: Observation & { readonly _tag: "Moved" }): void {
    const { basis, key, moves } = observation
    const projection = this.#of(key)
    if (projection === undefined) return
    if (projection.isRetired) {
      this.#violate("a version that is retired rests", `'${key.projection}' moves offsets`)
    }
    this.#findsTimes(projection, observation)
    if (projection.delivery === "AtMostOnce") this.#willHandOver(projection, observation)
    if (projection.delivery === "AtLeastOnce") this.#areDone(projection, observation)
    for (const { from = Offset.beginning, slice, to } of moves) {
      const at = `${basis.revision} ${slice}`
      const last = projection.moved.get(at) ?? from
      const isBack = to.position < last.position || from.position !== last.position || from.timestamp !== last.timestamp
      if (isBack) {
        this.#violate(
          "offsets go forward",
          `'${key.projection}' moves slice ${slice} from ${from.position} to ${to.position}, and was at ${last.position}`
        )
      }
      projection.moved.set(at, to)
    }
  }

  /**
   * A rewind to a time stores that, and a worker asks the source later where it stands. What was written in between with an older time, as the clock of the
   * database was set back, is left behind with what is older.
   */
  #findsTimes(projection: Projection, { basis, moves }: Observation & { readonly _tag: "Moved" }): void {
    this.truth(projection.origin)
    for (const { from, slice, to } of moves) {
      if (from === undefined || from.position > 0 || from.timestamp === 0) continue
      for (const { position, timestamp } of this.#unhandled(projection, basis.revision, slice, to.position)) {
        // what was passed over before, as it was not selected, may still come
        if (timestamp < from.timestamp && !projection.deferred.has(slice, position!)) {
          projection.leftBehind.add(slice, position!)
        }
      }
    }
  }

  /** At least once, offsets are moved past what is done, and nothing else. */
  #areDone(projection: Projection, { basis, key, moves }: Observation & { readonly _tag: "Moved" }): void {
    this.truth(projection.origin)
    for (const { slice, to } of moves) {
      const left = this.#unhandled(projection, basis.revision, slice, to.position)
        .find(({ position }) => !projection.deferred.has(slice, position!))
      if (left === undefined) continue
      const text = `'${key.projection}' moves slice ${slice} to ${to.position}, and has not handled ${describe(left)}`
      this.#violate("offsets tell of what is handled", text)
    }
  }

  /** A worker has moved offsets past what it is going to hand over. */
  #willHandOver(projection: Projection, observation: Observation & { readonly _tag: "Moved" }): void {
    const worker = this.#workerOf(observation)
    if (worker === undefined) return
    const text = `'${projection.projection}' moves on`
    for (const place of worker.due) {
      this.#violate(
        "what is lost was in hand at the end of a worker",
        `${text}, and has not handed over ${describe(place)}`
      )
    }
    this.truth(projection.origin)
    for (const { from = Offset.beginning, slice, to } of observation.moves) {
      for (const event of this.#unhandled(projection, observation.basis.revision, slice, to.position)) {
        const isPassed = isAhead(new Map([[slice, from]]), event) && !projection.deferred.has(slice, event.position!)
        if (isPassed) worker.due.add(event)
      }
    }
  }
}

const keep = ({ aside, handled, lost, skipped }: Done, isKept: (slice: Slice, position: number) => boolean): Done => ({
  handled: handled.filter(isKept),
  aside: aside.filter(isKept),
  lost: lost.filter(isKept),
  skipped: skipped.filter(isKept)
})

const doneOf = ({ done, kept }: Projection, revision: number): Done => {
  let own = done.get(revision)
  if (own !== undefined) return own
  const before = kept.get(Math.max(...[...kept.keys()].filter((other) => other < revision)))
  own = before === undefined
    ? { handled: new Positions(), aside: new Positions(), lost: new Positions(), skipped: new Positions() }
    : keep(before, () => true)
  done.set(revision, own)
  return own
}
