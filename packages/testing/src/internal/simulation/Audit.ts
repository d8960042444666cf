import type { EncodedEnvelope, Envelope } from "@sluice/core/Envelope"
import type { AppendRequest } from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import type { StoredOffsets } from "@sluice/core/OffsetStore"
import type { Payload } from "@sluice/core/Payload"
import type { Slice } from "@sluice/core/Slice"
import type { Observation } from "./Observation.ts"
import { describe, Truth } from "./Truth.ts"
import type { Violate } from "./Violate.ts"

/** What a worker has done since it has begun. */
interface Worker {
  readonly stored: StoredOffsets
  readonly last: Map<Slice, number>
  isFenced: boolean
}

/** @internal A projection whose handler is watched. */
export interface Watched {
  readonly projection: string
  readonly entityType: string
  readonly isHandled: (event: EncodedEnvelope) => boolean
}

interface Projection extends Watched {
  /** By their fibers. */
  readonly workers: Map<number, Worker>
  /** What was handled by those who stand on a revision, slice by slice, and is not undone. */
  readonly handled: Map<number, Map<Slice, Set<number>>>
  /** Where the offsets are that were moved last on a revision. */
  readonly moved: Map<string, Offset.Offset>
  /** Where it was rewound to last, and how often it was. */
  base: Offset.Offsets
  rewinds: number
}

/**
 * @internal
 * Compares what processes do with what is in the journal. Everything that must hold has a name, and whoever is given it is told of what does not.
 */
export class Audit {
  readonly #violate: Violate
  /** Reads what is new in the journal of an entity type. */
  readonly #pull: (entityType: string) => ReadonlyArray<EncodedEnvelope>
  readonly #truths = new Map<string, Truth>()
  readonly #sent = new Map<
    Payload | undefined,
    { readonly request: AppendRequest; found: EncodedEnvelope | undefined }
  >()
  readonly #refused: Array<AppendRequest> = []
  readonly #undone: Array<AppendRequest> = []
  readonly #projections = new Map<string, Projection>()

  constructor(violate: Violate, pull: (entityType: string) => ReadonlyArray<EncodedEnvelope>) {
    this.#violate = violate
    this.#pull = pull
  }

  get projections(): Iterable<Watched> {
    return this.#projections.values()
  }

  watch(watched: Watched): void {
    if (this.#projections.has(watched.projection)) return
    this.#projections.set(watched.projection, {
      ...watched,
      workers: new Map(),
      handled: new Map(),
      moved: new Map(),
      base: Offset.none,
      rewinds: 0
    })
  }

  /** The journal as it is now. */
  truth(entityType: string): Truth {
    let truth = this.#truths.get(entityType)
    if (truth === undefined) this.#truths.set(entityType, truth = new Truth(this.#sent, this.#violate))
    truth.take(this.#pull(entityType))
    return truth
  }

  rewinds(projection: string): number {
    return this.#projections.get(projection)?.rewinds ?? 0
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
      case "Loaded":
        this.#projections.get(observation.key.projection)?.workers.set(observation.fiber, {
          stored: observation.stored,
          last: new Map(),
          isFenced: false
        })
        return
      case "Moves":
        if (this.#workerOf(observation)?.isFenced === true) {
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
      case "Rewound": {
        const projection = this.#projections.get(observation.key.projection)
        if (projection === undefined) return
        projection.rewinds++
        projection.base = observation.offsets
        return
      }
    }
  }

  /** A worker's handler is done with an event. What it has done may be undone, unless there is no transaction. */
  handles(name: string, fiber: number, envelope: Envelope<unknown>): void {
    const projection = this.#projections.get(name)!
    const { position, slice } = envelope
    if (position === undefined) return
    const text = `'${name}' handles ${describe(envelope)}`
    const event = this.truth(projection.entityType).log(slice)[position - 1]
    if (
      event?.persistenceId !== envelope.persistenceId || event.sequenceNumber !== envelope.sequenceNumber ||
      event.timestamp !== envelope.timestamp
    ) {
      this.#violate("what is handled is in the journal", `${text}, which is not there`)
    }
    const worker = projection.workers.get(fiber)
    if (worker === undefined) return
    if (worker.isFenced) this.#violate("a fenced worker does nothing", text)
    const last = worker.last.get(slice) ?? worker.stored.offsets.get(slice)?.position ?? 0
    if (position <= last) this.#violate("a worker goes forward", `${text}, and was at ${last}`)
    worker.last.set(slice, position)
  }

  /** The event counts as handled from now on. */
  handled(name: string, fiber: number, revision: number | undefined, envelope: Envelope<unknown>): void {
    const projection = this.#projections.get(name)!
    const { position, slice } = envelope
    if (position === undefined) return
    const isExactlyOnce = revision !== undefined
    const of = revision ?? projection.workers.get(fiber)?.stored.revision
    if (of === undefined) return
    const handled = this.#handledOf(projection, of, slice)
    const text = `'${name}' handles ${describe(envelope)}`
    if (isExactlyOnce && handled.has(position)) this.#violate("exactly once", `${text} again`)
    if (isExactlyOnce) {
      const later = [...handled].find((other) => other > position)
      if (later !== undefined) this.#violate("events are handled in order", `${text} after ${later}`)
      const missing = this.#missing(projection, of, slice, position - 1)[0]
      if (missing !== undefined) this.#violate("nothing is passed over", `${text}, and not ${describe(missing)}`)
    }
    handled.add(position)
  }

  /** The events up to the heads that a projection has yet to handle, standing on a revision. */
  missing(
    name: string,
    revision: number | undefined,
    heads?: ReadonlyMap<Slice, number>
  ): ReadonlyArray<EncodedEnvelope> {
    const projection = this.#projections.get(name)!
    const truth = this.truth(projection.entityType)
    return [...truth.slices].flatMap((slice) =>
      this.#missing(projection, revision, slice, heads === undefined ? truth.log(slice).length : heads.get(slice) ?? 0)
    )
  }

  /** What can only be said at the end. */
  conclude(): void {
    for (const entityType of this.#truths.keys()) this.truth(entityType)
    this.#notThere("a conflict appends nothing", this.#refused)
    this.#notThere("what is undone is not there", this.#undone)
  }

  #notThere(invariant: string, requests: ReadonlyArray<AppendRequest>): void {
    for (const { events, persistenceId } of requests) {
      const found = this.#sent.get(events[0].payload)?.found
      if (found !== undefined) this.#violate(invariant, `'${persistenceId}' has ${describe(found)}`)
    }
  }

  #missing(
    projection: Projection,
    revision: number | undefined,
    slice: Slice,
    to: number
  ): ReadonlyArray<EncodedEnvelope> {
    const base = projection.base.get(slice) ?? Offset.beginning
    const handled = revision === undefined ? undefined : projection.handled.get(revision)?.get(slice)
    return this.#truths.get(projection.entityType)!.log(slice).slice(base.position, to).filter((event) =>
      event.payload !== undefined && (base.position > 0 || event.timestamp >= base.timestamp) &&
      handled?.has(event.position!) !== true && projection.isHandled(event)
    )
  }

  #handledOf(projection: Projection, revision: number, slice: Slice): Set<number> {
    let slices = projection.handled.get(revision)
    if (slices === undefined) projection.handled.set(revision, slices = new Map())
    let handled = slices.get(slice)
    if (handled === undefined) slices.set(slice, handled = new Set())
    return handled
  }

  #workerOf({ fiber, key }: Observation & { readonly _tag: "Moves" | "Fenced" }): Worker | undefined {
    return this.#projections.get(key.projection)?.workers.get(fiber)
  }

  #acknowledged({ request, written }: Observation & { readonly _tag: "Acknowledged" }): void {
    const event = this.truth(request.entityType).log(written.slice)[written.position - 1]
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

  #moved({ basis, key, moves }: Observation & { readonly _tag: "Moved" }): void {
    const projection = this.#projections.get(key.projection)
    if (projection === undefined) return
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
}
