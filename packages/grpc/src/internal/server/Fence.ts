import * as Grpc from "@grpc/grpc-js"
import type { EncodedElement, EncodedEnvelope, Place } from "@sluice/core/Envelope"
import { isSkipped, skipped } from "@sluice/core/Envelope"
import * as EventFilter from "@sluice/core/EventFilter"
import type { Selection } from "@sluice/core/Selection"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type { Caller } from "../../Caller.ts"
import { CallTransport } from "../../CallTransport.ts"
import { CallRefused, VisibilityFailed } from "../../GrpcError.ts"
import type { Changing, Visible } from "../../Visibility.ts"
import { Status } from "../wire/status.ts"
import type { OfferedStream } from "./OfferedStream.ts"

/** What is not `true`, such as a promise, has let nothing pass. */
type Passes = (event: Place) => unknown

/** A stream may have many calls at a time, and a call for each gap: what costs something is compiled once. */
const compiled = new WeakMap<
  EventFilter.EventFilter,
  { readonly topicPrefix: string | undefined; readonly passes: Passes }
>()

const compile = (filter: EventFilter.EventFilter, topicPrefix: string | undefined): Passes => {
  const known = compiled.get(filter)
  if (known !== undefined && known.topicPrefix === topicPrefix) return known.passes
  const passes = EventFilter.compile(filter, { topicPrefix })
  compiled.set(filter, { topicPrefix, passes })
  return passes
}

/** @internal Reads what is visible now. */
export const readerOf = (visible: Visible | Changing): () => Visible => {
  if (!SubscriptionRef.isSubscriptionRef(visible)) return () => visible as Visible
  const ref = visible as SubscriptionRef.SubscriptionRef<Visible>
  return () => SubscriptionRef.getUnsafe(ref)
}

/** @internal What is wrong with what is to be visible, if anything is. */
export const visibleProblem = (visible: unknown): string | undefined => {
  if (typeof visible === "function") return undefined
  if (!(visible instanceof EventFilter.EventFilter)) return "is neither an EventFilter nor a predicate on events"
  const replayed = visible.includeEntityIds.find(({ from }) => from > 0)
  return replayed && `includes ${JSON.stringify(replayed.entityId)} from ${replayed.from}: include the id alone`
}

/**
 * @internal
 * What the caller of a call may see, now. It stands before all that the call does with events, whatever is asked for. Pure but for what it remembers.
 */
export class Fence implements Selection {
  readonly #streamId: string
  readonly #topicPrefix: string | undefined
  readonly #read: () => Visible
  #current: Visible = EventFilter.passAll
  #passes: Passes = () => true
  /** What the events on their way were selected by. */
  #selectedBy: Visible = EventFilter.passAll

  constructor({ id, topicPrefix }: Pick<OfferedStream, "id" | "topicPrefix">, read: () => Visible) {
    this.#streamId = id
    this.#topicPrefix = topicPrefix
    this.#read = read
  }

  get isOpen(): boolean {
    this.#select()
    return this.#current === EventFilter.passAll
  }

  readonly isSelected = (event: Place): boolean => {
    this.#select()
    return this.#passesNow(event)
  }

  /** Whether an event that was selected must not be sent any more, as what may be seen has changed since. */
  hides(event: Place): boolean {
    this.#update()
    return this.#current !== this.#selectedBy && !this.#passesNow(event)
  }

  /** An element that was selected, or what is sent in its place, which is nothing where it has no position to go past. */
  readonly now = (element: EncodedElement): EncodedElement | undefined => {
    if (isSkipped(element) || !this.hides(element)) return element
    const { position, slice, timestamp } = element
    return position === undefined ? undefined : skipped(slice, position, position, timestamp, true)
  }

  #select(): void {
    this.#update()
    this.#selectedBy = this.#current
  }

  #update(): void {
    const visible = this.#read()
    if (visible === this.#current) return
    const problem = visibleProblem(visible)
    if (problem !== undefined) {
      throw new VisibilityFailed({ streamId: this.#streamId, event: undefined, cause: new RangeError(problem) })
    }
    this.#passes = typeof visible === "function" ? visible : compile(visible, this.#topicPrefix)
    this.#current = visible
  }

  #passesNow(event: Place): boolean {
    try {
      return this.#passes(event) === true
    } catch (cause) {
      const { persistenceId, sequenceNumber } = event
      throw new VisibilityFailed({ streamId: this.#streamId, event: { persistenceId, sequenceNumber }, cause })
    }
  }
}

/** @internal An event has to pass both to be selected: what the caller may see is asked first. */
export const within = (fence: Fence, filter: Selection): Selection => ({
  get isOpen() {
    return fence.isOpen && filter.isOpen
  },
  isSelected: (event: EncodedEnvelope, isReplayed: boolean) =>
    fence.isSelected(event) && filter.isSelected(event, isReplayed)
})

/** For how long, in milliseconds, it may take to find out what a caller may see. */
const patience = 10_000

const unknown = new Status(
  Grpc.status.UNAVAILABLE,
  "what this caller may see cannot be found out now; the producer's log says more"
)

const codes = { UNAUTHENTICATED: Grpc.status.UNAUTHENTICATED, PERMISSION_DENIED: Grpc.status.PERMISSION_DENIED }

/** @internal What the caller of a call may see, or why it is refused. Undefined where everybody may see everything. */
export const fenceOf = (
  { id, select, topicPrefix }: Pick<OfferedStream, "id" | "select" | "topicPrefix">,
  caller: Caller
): Effect.Effect<Fence | undefined, Status> => {
  if (select === undefined) return Effect.undefined
  const failed = (cause: Cause.Cause<unknown>): Effect.Effect<never, Status> => {
    const refused = cause.reasons.find(Cause.isFailReason)?.error
    return refused instanceof CallRefused
      ? Effect.fail(new Status(codes[refused.code], refused.reason))
      : Cause.hasInterruptsOnly(cause)
      ? Effect.interrupt
      : Effect.andThen(
        Effect.logWarning(
          `What a caller at ${caller.address} may see of the stream '${id}' could not be found out`,
          cause
        ),
        Effect.fail(unknown)
      )
  }
  const tooLate = Effect.flatMap(CallTransport, ({ clock }) =>
    Effect.andThen(
      clock.sleep(Duration.millis(patience)),
      Effect.suspend(() => {
        const cause = `the effect has not ended after ${patience / 1000} seconds`
        return Effect.fail(new VisibilityFailed({ streamId: id, event: undefined, cause }))
      })
    ))
  return Effect.raceFirst(select(caller), tooLate).pipe(
    Effect.map((visible) => new Fence({ id, topicPrefix }, readerOf(visible))),
    // one that is none is refused before anything else
    Effect.tap((fence) => Effect.sync(() => fence.isOpen)),
    Effect.catchCause(failed)
  )
}
