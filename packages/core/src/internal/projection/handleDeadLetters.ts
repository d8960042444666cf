import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as Struct from "effect/Struct"
import { toText } from "../../ConsumerFilter.ts"
import type { Element, EncodedEnvelope, Envelope } from "../../Envelope.ts"
import { compile as compileFilter, type EventFilter } from "../../EventFilter.ts"
import { type Basis, Fenced, type Move, type OffsetKey, OffsetStore } from "../../OffsetStore.ts"
import { bySource, offsetKey, type Projection, type SourceProjection } from "../../ProjectionDefinition.ts"
import {
  claimTime,
  type DeadLetter,
  type DeadLetterId,
  type HandledLetters,
  type ListedLetter,
  ProjectionManagement,
  UnknownProjection
} from "../../ProjectionManagement.ts"
import * as SequenceNumber from "../../SequenceNumber.ts"
import * as Slice from "../../Slice.ts"
import * as SliceRange from "../../SliceRange.ts"
import type { StorageError } from "../../StorageError.ts"
import type { Timestamp } from "../../Timestamp.ts"
import { compile } from "../pipeline/compile.ts"
import { errorOf, isFaultOfEvent } from "./failures.ts"
import { fetch, inTime } from "./fetch.ts"
import { newestFilter } from "./followFilter.ts"
import { scopedInTime } from "./scopedInTime.ts"
import { knownFor } from "./SharedLooks.ts"
import { type Handle, startHandler } from "./startHandler.ts"
import { unlessSilent } from "./unlessSilent.ts"

const pageSize = 100

/** How often an event is looked at again whose slice has moved on meanwhile. */
const maxLooks = 20

/** What became of a letter: it is `gone` where somebody else has handled it, or thrown it away, or is handling it. */
type Outcome = keyof HandledLetters | "gone"

/** What letters are handled with. */
interface Redelivery {
  readonly projection: SourceProjection<any, any>
  /** The projection's handler, which has started. */
  readonly handle: Handle
  readonly key: OffsetKey
  readonly store: OffsetStore["Service"]
  readonly management: ProjectionManagement["Service"]
  readonly filter: Effect.Effect<EventFilter | undefined, StorageError>
  /** Decodes an event, and has it pass the stages of the source. */
  readonly decode: (envelopes: readonly [EncodedEnvelope]) => Effect.Effect<ReadonlyArray<Element<any>>, unknown, any>
}

type Handled<A> = Effect.Effect<A, unknown, any>

/** @internal Handles what a projection has put aside, of each source by itself, and says what became of it. */
export const handleDeadLetters = (projection: Projection<any, any>): Handled<HandledLetters> =>
  Effect.flatMap(
    Effect.forEach(bySource(projection), (one) => Effect.exit(handleLettersOf(one)), { concurrency: "unbounded" }),
    (exits) => {
      const sum = { handled: 0, failed: 0, obsolete: 0, excluded: 0 }
      for (const exit of exits) {
        if (Exit.isFailure(exit)) return Effect.failCause(exit.cause)
        for (const outcome of Struct.keys(sum)) sum[outcome] += exit.value[outcome]
      }
      return Effect.succeed(sum)
    }
  )

const handleLettersOf = (projection: SourceProjection<any, any>): Handled<HandledLetters> =>
  Effect.gen(function*() {
    const key = offsetKey(projection)
    const management = yield* ProjectionManagement
    const counts: Record<Outcome, number> = { handled: 0, failed: 0, obsolete: 0, excluded: 0, gone: 0 }
    let self: Redelivery | undefined
    let after: DeadLetterId | undefined
    while (true) {
      const page: ReadonlyArray<ListedLetter> = yield* management.listLetters(key, after, pageSize)
      const last = page.at(-1)
      if (last === undefined) {
        const { excluded, failed, handled, obsolete } = counts
        return { handled, failed, obsolete, excluded }
      }
      self ??= {
        projection,
        handle: yield* startHandler(projection, SliceRange.full),
        key,
        store: yield* OffsetStore,
        management,
        filter: yield* newestFilter(projection),
        decode: compile<any, any>(projection.source.provider.codec, projection.source.stages)
      }
      for (const letter of page) counts[yield* handle(self, letter)]++
      after = last
    }
  }).pipe(scopedInTime, Effect.annotateLogs({ ...offsetKey(projection) }))

/**
 * Looks where the projection is, then whether the source still has the event, and handles it. Where a later state would supersede it,
 * none may have been handled in between: its slice must not have moved.
 */
const handle: (self: Redelivery, letter: ListedLetter, looks?: number) => Handled<Outcome> = Effect.fnUntraced(
  function*(self, letter, looks = 1) {
    const { key, management, projection: { delivery, source }, store } = self
    const slice = Slice.ofPersistenceId(letter.persistenceId)
    const { journal = "", offsets, revision } = yield* store.load(key, SliceRange.make(slice, slice))
    if (revision === undefined) return yield* new UnknownProjection(key)
    const stored = yield* fetch(source.provider, letter)
    const discard = Effect.map(
      management.discard(key, letter),
      (discarded): Outcome => discarded === undefined ? "gone" : "obsolete"
    )
    if (stored._tag === "None" || stored.value.payload === undefined) return yield* discard
    const [element] = yield* self.decode([stored.value])
    if (element?._tag === "Poison") return yield* failed(self, letter, element.cause)
    if (element?._tag !== "Envelope") return yield* discard
    if (delivery._tag === "AtLeastOnce") return yield* atLeastOnce(self, letter, stored.value, element)
    // a change of the filter after this fences the transaction
    if (!(yield* isIncluded(self, stored.value))) return "excluded"
    const to = offsets.get(slice)
    const moves = source.provider.supersedes === true && to !== undefined ? [{ slice, from: to, to }] : []
    const isWithin = delivery._tag === "ExactlyOnce"
    const handling = isWithin ? call(self, element) : Effect.void
    const exit = yield* Effect.exit(claimFor(self, letter, handling, { journal, revision }, moves))
    if (Exit.isSuccess(exit)) {
      return isWithin || exit.value !== "handled" ? exit.value : yield* atMostOnce(self, letter, element)
    }
    if (!(errorOf(exit.cause) instanceof Fenced)) return yield* failed(self, letter, exit.cause)
    return looks === maxLooks ? "failed" : yield* handle(self, letter, looks + 1)
  }
)

/**
 * Whether the newest filter includes an event: it passes, or it comes before one of its entity that does. What that was known by is not
 * older than what a worker hands events over by.
 */
const isIncluded: (self: Redelivery, event: EncodedEnvelope, by?: string) => Handled<boolean> = Effect.fnUntraced(
  function*(self, event, by) {
    const begun = yield* Clock.monotonicTimeNanos
    const filter = yield* self.filter
    if (filter === undefined) return true
    const text = toText(filter)
    const isKnown = text === by
    if (isKnown && (yield* Clock.monotonicTimeNanos) - begun < BigInt(knownFor) * 1_000_000n) return true
    if (!isKnown) {
      const { provider } = self.projection.source
      const { persistenceId, sequenceNumber } = event
      const passes = compileFilter(filter)
      const later = provider.entity(
        persistenceId,
        SequenceNumber.make(sequenceNumber + 1),
        SequenceNumber.make(Number.MAX_SAFE_INTEGER)
      )
      const isLeftOut = !passes(event) &&
        (yield* Stream.runHead(Stream.filter(inTime(provider, later), passes)))._tag === "None"
      if (isLeftOut) return false
    }
    return yield* isIncluded(self, event, text)
  }
)

const call = ({ handle }: Redelivery, event: Envelope<any>): Handled<void> => Effect.suspend(() => handle([event]))

/** Says that the letter has failed again, if that is the fault of its event. */
const failed = (
  { key, management }: Redelivery,
  letter: DeadLetterId,
  cause: Cause.Cause<unknown>,
  claimedAt?: Timestamp
): Handled<Outcome> =>
  isFaultOfEvent(cause) && !Cause.hasInterrupts(cause)
    ? Effect.as(management.release(key, letter, claimedAt, Cause.pretty(cause)), "failed")
    : Effect.failCause(cause)

/** Claims the letter by throwing it away, which counts once the effect is done. */
const claimFor = (
  self: Redelivery,
  listed: ListedLetter,
  handling: Handled<void>,
  basis: Basis,
  moves: ReadonlyArray<Move>
): Handled<Outcome> => {
  const { key, management, store } = self
  return store.transact(
    key,
    basis,
    moves,
    Effect.gen(function*() {
      const letter = yield* management.discard(key, listed)
      if (letter === undefined) return "gone"
      if (wasDeleted(listed, letter)) return "obsolete"
      yield* handling
      return "handled"
    })
  )
}

/** The letter is gone, and the event does not come again. */
const atMostOnce = (self: Redelivery, { persistenceId, sequenceNumber }: DeadLetterId, event: Envelope<any>) =>
  Effect.matchCauseEffect(call(self, event), {
    onSuccess: () => Effect.succeed<Outcome>("handled"),
    onFailure: (cause) =>
      Effect.andThen(
        Effect.logWarning(
          `Loses event ${sequenceNumber} of '${persistenceId}', which the handler has failed on again`,
          cause
        ),
        // where something else is at fault, the letters after it stay
        isFaultOfEvent(cause) ? Effect.succeed<Outcome>("failed") : Effect.failCause(cause)
      )
  })

/** Claims the letter for as long as it is handled, and throws it away afterwards. */
const atLeastOnce = (
  self: Redelivery,
  listed: ListedLetter,
  stored: EncodedEnvelope,
  event: Envelope<any>
): Handled<Outcome> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const { key, management, store } = self
      const letter = yield* unlessSilent(store, management.claim(key, listed))
      if (letter === undefined) return "gone"
      const claim = { at: letter.claimedAt }
      const isDeleted = wasDeleted(listed, letter)
      if (!isDeleted) {
        // a child would be waited for
        const renewing = yield* Effect.forkDetach(renew(self, listed, claim))
        const exit = yield* Effect.exit(restore(callUpToDate(self, stored, event)))
        yield* unlessSilent(store, Fiber.interrupt(renewing))
        if (Exit.isFailure(exit)) {
          return yield* Effect.onError(
            unlessSilent(store, failed(self, listed, exit.cause, claim.at)),
            () => Effect.ignore(unlessSilent(store, management.release(key, listed, claim.at, undefined)))
          )
        }
        if (!exit.value) {
          yield* unlessSilent(store, management.release(key, listed, claim.at, undefined))
          return "excluded"
        }
      }
      yield* unlessSilent(store, management.discard(key, listed, claim.at))
      return isDeleted ? "obsolete" : "handled"
    })
  )

/** Renews the claim again and again, as the handler may take longer than one holds. */
const renew = (
  { key, management }: Redelivery,
  letter: DeadLetterId,
  claim: { at: Timestamp }
): Effect.Effect<never> =>
  Effect.sleep(claimTime / 3).pipe(
    // whole, or nobody would know which claim is ours
    Effect.andThen(Effect.uninterruptible(Effect.map(
      Effect.suspend(() => management.renew(key, letter, claim.at)),
      (renewed) => claim.at = renewed ?? claim.at
    ))),
    Effect.ignore,
    Effect.forever
  )

/**
 * Hands the event to the handler unless the filter excludes it, and says whether it did. Then it does so with later states of its entity: one may
 * be handled meanwhile, and the latest must be the last.
 */
const callUpToDate: (self: Redelivery, stored: EncodedEnvelope, event: Envelope<any>) => Handled<boolean> = Effect
  .fnUntraced(
    function*(self, stored, event) {
      const { provider } = self.projection.source
      if (!(yield* isIncluded(self, stored))) return false
      yield* call(self, event)
      if (provider.supersedes !== true) return true
      // it is still there, unless it is a state that another has taken the place of
      if ((yield* fetch(provider, event))._tag === "Some") return true
      const newest = yield* fetch(provider, event, SequenceNumber.make(Number.MAX_SAFE_INTEGER))
      if (newest._tag === "None" || newest.value.sequenceNumber === event.sequenceNumber) return true
      const [element] = yield* self.decode([newest.value])
      if (element?._tag === "Envelope") yield* callUpToDate(self, newest.value, element)
      return true
    }
  )

/** Whether its event was deleted since it was listed. */
const wasDeleted = ({ hasPayload }: ListedLetter, { envelope }: DeadLetter): boolean =>
  hasPayload && envelope.payload === undefined
