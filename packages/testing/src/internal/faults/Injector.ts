import type { EncodedElement, Envelope, Place } from "@sluice/core/Envelope"
import { isSkipped } from "@sluice/core/Envelope"
import { type Done, isFlow } from "@sluice/core/Flow"
import type { Move, OffsetStore } from "@sluice/core/OffsetStore"
import type { Projection } from "@sluice/core/Projection"
import * as Source from "@sluice/core/Source"
import { StorageError } from "@sluice/core/StorageError"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type Fault, type Faults, InjectedFault } from "../../Faults.ts"
import { aroundHandler } from "../aroundHandler.ts"
import { afterSteps } from "./afterSteps.ts"
import { reordering } from "./reorder.ts"

/** A process that runs the projection, until it is killed. */
export interface Process {
  readonly isDead: () => boolean
  /** Kills it, and never ends. */
  readonly die: Effect.Effect<never>
}

/** What goes wrong at an event. */
type AtEvent = Extract<Fault, { readonly event: number }>
type Of<T extends AtEvent["_tag"]> = Extract<AtEvent, { readonly _tag: T }>

/** Something to be done once the offset of an event is stored. */
interface Pending {
  readonly place: Place
  readonly fault: Of<"Crash" | "FailAfterCommit">
}

const lost = (what: string) =>
  new StorageError({
    operation: "transact",
    reason: "Unavailable",
    cause: new Error(`A test has asked for it: ${what}`)
  })

/**
 * @internal
 * Lets go wrong what the faults say, in a projection that runs in one process after the other. It numbers the events: those that handlers are given, and those
 * that the source shows.
 */
export class Injector {
  /** How often each fault may yet happen. */
  readonly #left = new Map<Fault, number>()
  readonly #given = new Map<string, number>()
  readonly #shown = new Map<string, number>()
  readonly #pending = new Set<Pending>()
  /** The slices of what was read. */
  readonly #slices = new Set<number>()
  readonly #faults: ReadonlyArray<Fault>
  readonly #reorder: ReadonlyArray<ReturnType<typeof reordering>>

  constructor({ faults }: Faults) {
    this.#faults = faults
    for (const fault of faults) this.#left.set(fault, timesOf(fault))
    this.#reorder = faults.flatMap((fault) => fault._tag === "Reorder" ? [reordering(fault.seed)] : [])
  }

  /** How many events the handler was given. */
  get given(): number {
    return this.#given.size
  }

  /** The faults that have not happened once. Events of one slice have no other order. */
  get unmet(): ReadonlyArray<Fault> {
    const pending = new Set(Array.from(this.#pending, ({ fault }): Fault => fault))
    return this.#faults.filter((fault) =>
      fault._tag === "Reorder"
        ? this.#slices.size < 2
        : this.#left.get(fault) === timesOf(fault) || pending.has(fault)
    )
  }

  /** The test is over, and what is stored at its end kills nobody. */
  disarm(): void {
    this.#pending.clear()
  }

  /** The projection as the process runs it. */
  projection<E, R>(self: Projection<E, R>, process: Process): Projection<E, R> {
    const { delivery, handler, name, sources } = self
    const isAtLeastOnce = delivery._tag === "AtLeastOnce"
    if (isFlow(handler)) {
      for (const fault of this.#left.keys()) {
        const isOfHandler = fault._tag === "Fail" || fault._tag === "FailAfterCommit" || fault._tag === "Duplicate" ||
          fault._tag === "Crash" && (fault.at === "beforeHandler" || fault.at === "inHandler")
        if (isOfHandler) {
          throw new RangeError(
            `The flow of projection '${name}' has no calls that could fail or be repeated: let it fail, or crash`
          )
        }
      }
    }
    const made: Projection<E, R> = Object.create(Object.getPrototypeOf(self))
    return Object.assign(made, self, {
      sources: sources.map((source) => this.#source(source, !isAtLeastOnce)),
      handler: isFlow(handler)
        ? {
          ...handler,
          run: (envelopes: Stream.Stream<Envelope<any>>) =>
            Stream.tap(
              handler.run(Stream.tap(envelopes, this.#flows)),
              (done) => this.#crash([done], "afterHandler") ? process.die : Effect.void
            )
        }
        : aroundHandler(handler, (envelopes, call) => this.#handle(delivery._tag, process, envelopes, call))
    })
  }

  /** The store of its offsets, as the process has it. */
  store(store: OffsetStore["Service"], process: Process): OffsetStore["Service"] {
    return {
      ...store,
      transact: (key, basis, moves, effect, ahead) =>
        Effect.suspend(() =>
          process.isDead()
            ? Effect.fail(lost("the process was killed"))
            : Effect.tap(store.transact(key, basis, moves, effect, ahead), () => this.#stored(process, moves))
        )
    }
  }

  #stored(process: Process, moves: ReadonlyArray<Move>): Effect.Effect<void, StorageError> {
    for (const pending of this.#pending) {
      const { fault, place: { position, slice } } = pending
      const isStored = moves.some((move) => move.slice === slice && move.to.position >= (position ?? 0))
      if (!isStored) continue
      this.#pending.delete(pending)
      return fault._tag === "Crash"
        ? process.die
        : Effect.fail(lost("the answer of a commit was lost"))
    }
    return Effect.void
  }

  #crash(events: ReadonlyArray<Done>, at: Of<"Crash">["at"]): Of<"Crash"> | undefined {
    return this.#due(events, "Crash", (fault) => fault.at === at)
  }

  #flows = (envelope: Envelope<any>): Effect.Effect<void> =>
    Effect.sync(() => {
      numberOf(this.#given, envelope)
      const crash = this.#crash([envelope], "afterCommit")
      if (crash !== undefined) this.#pending.add({ place: envelope, fault: crash })
    })

  /** Numbers the events that are new, and takes the next fault of the kind that one of them is to have. */
  #due<T extends AtEvent["_tag"]>(
    places: ReadonlyArray<Done>,
    tag: T,
    isMeant: (fault: Of<T>) => boolean,
    numbers = this.#given
  ): Of<T> | undefined {
    const isOf = (fault: Fault): fault is Of<T> => fault._tag === tag
    for (const [fault, left] of this.#left) {
      if (left === 0 || !isOf(fault) || !isMeant(fault)) continue
      const { event } = fault as AtEvent
      if (!places.some((place) => numberOf(numbers, place) === event)) continue
      this.#left.set(fault, left - 1)
      return fault
    }
    return undefined
  }

  #handle = (
    delivery: Projection<any, any>["delivery"]["_tag"],
    process: Process,
    envelopes: ReadonlyArray<Envelope<any>>,
    call: Effect.Effect<void, any, any>
  ): Effect.Effect<void, any, any> =>
    Effect.gen({ self: this }, function*() {
      // what is left of a process that was killed has no effect
      if (process.isDead()) return yield* Effect.never
      for (const place of envelopes) numberOf(this.#given, place)
      if (this.#crash(envelopes, "beforeHandler")) return yield* process.die
      const failure = this.#due(envelopes, "Fail", () => true)
      if (failure !== undefined) return yield* new InjectedFault({ fault: failure })
      const within = this.#crash(envelopes, "inHandler")
      if (within !== undefined) {
        yield* afterSteps(call, within.step)
        return yield* process.die
      }
      yield* call
      if (delivery === "AtLeastOnce" && this.#due(envelopes, "Duplicate", () => true)) yield* call
      if (this.#crash(envelopes, "afterHandler")) return yield* process.die
      const unanswered = this.#due(envelopes, "FailAfterCommit", () => true)
      const stored = this.#crash(envelopes, "afterCommit")
      if (delivery === "AtMostOnce" && stored !== undefined) return yield* process.die
      const last = envelopes.at(-1)!
      if (stored !== undefined) this.#pending.add({ place: last, fault: stored })
      if (unanswered === undefined) return
      if (delivery !== "ExactlyOnce") return yield* new InjectedFault({ fault: unanswered })
      this.#pending.add({ place: last, fault: unanswered })
    })

  #source(source: Source.Source<any, any, any>, showsTwice: boolean): Source.Source<any, any, any> {
    const { open } = source.provider
    const shown = (elements: ReadonlyArray<EncodedElement>): ReadonlyArray<EncodedElement> => {
      const all = elements.flatMap((element): ReadonlyArray<EncodedElement> => {
        if (isSkipped(element)) return [element]
        numberOf(this.#shown, element)
        this.#slices.add(element.slice)
        if (this.#due([element], "Drop", () => true, this.#shown)) return []
        const isTwice = showsTwice && this.#due([element], "Duplicate", () => true, this.#shown) !== undefined
        return isTwice ? [element, element] : [element]
      })
      let reordered: ReadonlyArray<EncodedElement> = all
      for (const reorder of this.#reorder) reordered = reorder(reordered)
      return reordered
    }
    const provider: typeof source.provider = {
      ...source.provider,
      open: (range, start) =>
        Effect.map(open(range, start), (feed) => ({
          ...feed,
          envelopes: Stream.flattenIterable(Stream.map(Stream.chunks(feed.envelopes), shown))
        }))
    }
    return Object.assign(Source.make(provider), { stages: source.stages })
  }
}

const timesOf = (fault: Fault): number => fault._tag === "Fail" ? fault.times : 1

/** @internal Which event it is, of those that were seen so far, and it is the next one if it is new. */
export const numberOf = (numbers: Map<string, number>, { persistenceId, sequenceNumber }: Done): number => {
  const key = `${sequenceNumber} ${persistenceId}`
  let number = numbers.get(key)
  if (number === undefined) numbers.set(key, number = numbers.size + 1)
  return number
}
