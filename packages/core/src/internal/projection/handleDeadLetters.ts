import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as Struct from "effect/Struct"
import type { Element, EncodedEnvelope, Envelope } from "../../Envelope.ts"
import { compile as compileFilter, type EventFilter, toText } from "../../EventFilter.ts"
import { type Basis, Fenced, type Move, type OffsetKey, OffsetStore } from "../../OffsetStore.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import { bySource, offsetKey, type Projection, type SourceProjection } from "../../ProjectionDefinition.ts"
import {
  checkAtWork,
  type ClaimedLetter,
  claimTime,
  type DeadLetter,
  type DeadLetterId,
  deletedError,
  type HandledLetters,
  type LetterSelection,
  type ListedLetter,
  ProjectionManagement,
  UnknownProjection
} from "../../ProjectionManagement.ts"
import * as SequenceNumber from "../../SequenceNumber.ts"
import * as Slice from "../../Slice.ts"
import * as SliceRange from "../../SliceRange.ts"
import { StorageError } from "../../StorageError.ts"
import type { Timestamp } from "../../Timestamp.ts"
import { compile } from "../pipeline/compile.ts"
import { errorOf, isFaultOfEvent } from "./failures.ts"
import { fetch, inTime, isHiddenAlone } from "./fetch.ts"
import { fingerprint } from "./fingerprint.ts"
import { newestFilter } from "./followFilter.ts"
import { scopedInTime } from "./scopedInTime.ts"
import { knownFor } from "./SharedLooks.ts"
import { type Handle, startHandler } from "./startHandler.ts"
import { unlessSilent } from "./unlessSilent.ts"

const pageSize = 100

/** How often an event is looked at again whose slice has moved on meanwhile. */
const maxLooks = 20

/** How often a letter is handled in a transaction that the storage refuses, such as for a deadlock. */
const maxRefusals = 5

const isBusy = (cause: Cause.Cause<unknown>): boolean => {
  const error = errorOf(cause)
  return error instanceof StorageError && error.reason === "Busy"
}

/**
 * What became of a letter: it is `gone` where somebody else has handled it, or thrown it away; `behind` where it has to wait, for somebody who is handling it
 * or an earlier one of its entity; and `lost` where it has failed, and is not handed over again.
 */
type Outcome = keyof HandledLetters | "gone" | "behind" | "lost"

/** Whether it stays, and those of its entity have to wait that come after it. */
const stays = (outcome: Outcome): boolean => outcome === "failed" || outcome === "excluded" || outcome === "behind"

/** What letters are handled with. */
interface Redelivery {
  readonly projection: SourceProjection<any, any>
  /** The projection's handler, which has started. */
  readonly handle: Handle
  readonly key: OffsetKey
  readonly store: OffsetStore["Service"]
  readonly management: ProjectionManagement["Service"]
  /** For how long it claims a letter, in milliseconds. */
  readonly claimFor: number
  readonly filter: Effect.Effect<EventFilter | undefined, StorageError>
  /** Decodes an event, and has it pass the stages of the source. */
  readonly decode: (envelopes: readonly [EncodedEnvelope]) => Effect.Effect<ReadonlyArray<Element<any>>, unknown, any>
}

type Handled<A> = Effect.Effect<A, unknown, any>

/**
 * @internal
 * Handles what a projection has put aside, or some of it, of each source by itself, and says what became of it. The letters of an entity are handled in the
 * order of their sequence numbers, up to one that stays.
 */
export const handleDeadLetters = (
  projection: Projection<any, any>,
  which: LetterSelection = {},
  claimFor: number = claimTime
): Handled<HandledLetters> =>
  Effect.flatMap(
    Effect.forEach(bySource(projection), (one) => Effect.exit(handleLettersOf(one, which, claimFor)), {
      concurrency: "unbounded"
    }),
    (exits) => {
      const sum = { handled: 0, failed: 0, obsolete: 0, excluded: 0 }
      for (const exit of exits) {
        if (Exit.isFailure(exit)) return Effect.failCause(exit.cause)
        for (const outcome of Struct.keys(sum)) sum[outcome] += exit.value[outcome]
      }
      return Effect.succeed(sum)
    }
  )

const handleLettersOf = (
  projection: SourceProjection<any, any>,
  which: LetterSelection,
  claimFor: number
): Handled<HandledLetters> =>
  Effect.gen(function*() {
    const key = offsetKey(projection)
    const management = yield* ProjectionManagement
    const counts: Record<Outcome, number> = {
      handled: 0,
      failed: 0,
      obsolete: 0,
      excluded: 0,
      gone: 0,
      behind: 0,
      lost: 0
    }
    const choice = new Choice(which, (letter) => isInSequence(projection, letter))
    let self: Redelivery | undefined
    let after = which.persistenceId === undefined ? undefined : beforeAll(which.persistenceId as PersistenceId)
    while (true) {
      const page: ReadonlyArray<ListedLetter> = yield* management.listLetters(key, after, pageSize)
      let last = page[0]
      if (last === undefined || choice.isOver(last)) {
        const { excluded, failed, handled, lost, obsolete } = counts
        return { handled, failed: failed + lost, obsolete, excluded }
      }
      self ??= {
        projection,
        handle: yield* startHandler(projection, SliceRange.full),
        key,
        store: yield* OffsetStore,
        management,
        claimFor,
        filter: yield* newestFilter(projection),
        decode: compile<any, any>(projection.source.provider.codec, projection.source.stages)
      }
      for (const [i, letter] of page.entries()) {
        last = letter
        if (!choice.has(letter)) continue
        const outcome = yield* handle(self, letter)
        counts[outcome]++
        if (stays(outcome)) choice.leave(letter)
        // what was queued behind it meanwhile comes before other entities: nothing else would have it handled
        const isLast = page[i + 1] !== undefined && page[i + 1]!.persistenceId !== letter.persistenceId
        if (isLast && !stays(outcome) && (yield* hasMore(management, key, letter))) break
      }
      after = choice.isLeft(last) ? afterAll(last.persistenceId) : last
    }
  }).pipe(scopedInTime, Effect.annotateLogs({ ...offsetKey(projection) }))

/**
 * Whether a letter waits for those of its entity that come before it. Of states none does, as a later one supersedes the earlier ones. Of a source that
 * finds out what it shows when it is opened, those that are queued tell: none of a state is.
 */
const isInSequence = (
  { source: { provider } }: SourceProjection<any, any>,
  { isQueued }: Pick<ListedLetter, "isQueued">
): boolean => provider.supersedes !== true || isQueued

/** Whether an entity has letters after one. */
const hasMore = (
  management: ProjectionManagement["Service"],
  key: OffsetKey,
  letter: DeadLetterId
): Effect.Effect<boolean, StorageError> =>
  Effect.map(management.listLetters(key, letter, 1), ([next]) => next?.persistenceId === letter.persistenceId)

/** Before the letters of an entity, and after them. */
const beforeAll = (persistenceId: PersistenceId): DeadLetterId => ({
  persistenceId,
  sequenceNumber: 0 as SequenceNumber.SequenceNumber
})
const afterAll = (persistenceId: PersistenceId): DeadLetterId => ({
  persistenceId,
  sequenceNumber: Number.MAX_SAFE_INTEGER as SequenceNumber.SequenceNumber
})

/** Which letters are to be handled, as they come in the order of their entities and sequence numbers. */
class Choice {
  readonly #which: LetterSelection
  readonly #waits: (letter: ListedLetter) => boolean
  #entity: PersistenceId | undefined
  /** Whether one of the entity stays. */
  #isLeft = false

  constructor(which: LetterSelection, waits: (letter: ListedLetter) => boolean) {
    this.#which = which
    this.#waits = waits
  }

  /**
   * With a fingerprint, those of entities of which the first has it, up to one that has failed in another way: what waits behind one that is
   * handled is due.
   */
  has(letter: ListedLetter): boolean {
    const { fingerprint, persistenceId } = this.#which
    const isFirst = letter.persistenceId !== this.#entity
    if (isFirst) {
      this.#entity = letter.persistenceId
      this.#isLeft = false
    }
    const isOther = letter.isQueued ? isFirst : letter.fingerprint !== fingerprint
    const isMeant = (persistenceId === undefined || letter.persistenceId === persistenceId) &&
      (fingerprint === undefined || !isOther)
    if (!isMeant) this.#isLeft = true
    return isMeant && !this.isLeft(letter)
  }

  /** Whether nothing is left, from this letter on. */
  isOver({ persistenceId }: ListedLetter): boolean {
    return this.#which.persistenceId !== undefined && persistenceId !== this.#which.persistenceId
  }

  /** The letter stays, and so do those of its entity after it. */
  leave({ persistenceId }: ListedLetter): void {
    this.#entity = persistenceId
    this.#isLeft = true
  }

  isLeft(letter: ListedLetter): boolean {
    return this.#isLeft && letter.persistenceId === this.#entity && this.#waits(letter)
  }
}

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
    // a version that is retired later has another revision
    yield* checkAtWork(management, key.projection)
    const stored = yield* fetch(source.provider, letter)
    const discard = Effect.flatMap(
      standing(self, letter),
      (standing) =>
        standing !== "next" ? Effect.succeed(standing) : Effect.map(
          management.discard(key, letter),
          (discarded): Outcome => discarded === undefined ? "gone" : "obsolete"
        )
    )
    if (stored._tag === "None") return (yield* isHidden(self, letter)) ? "excluded" : yield* discard
    if (stored.value.payload === undefined) {
      if (letter.isDeleted) return yield* discard
      if (yield* isHiddenAlone(source.provider, letter)) return "excluded"
      // it may have been hidden until now
      const again = yield* fetch(source.provider, letter)
      if (again._tag === "None" || again.value.payload === undefined) return yield* discard
      return looks === maxLooks ? "failed" : yield* handle(self, letter, looks + 1)
    }
    const [element] = yield* self.decode([stored.value])
    if (element?._tag === "Poison") return yield* failed(self, letter, element.cause)
    if (element?._tag !== "Envelope") return yield* discard
    if (delivery._tag === "AtLeastOnce") return yield* atLeastOnce(self, letter, stored.value, element)
    // a change of the filter after this fences the transaction
    if (!(yield* isIncluded(self, stored.value))) return "excluded"
    const to = offsets.get(slice)
    const moves = !isInSequence(self.projection, letter) && to !== undefined ? [{ slice, from: to, to }] : []
    const basis = { journal, revision }
    const handling = delivery._tag === "ExactlyOnce"
      ? claimFor(self, letter, call(self, element), basis, moves)
      : atMostOnce(self, letter, stored.value, element, basis, moves)
    const exit = yield* Effect.exit(handling)
    if (Exit.isSuccess(exit)) return exit.value
    if (delivery._tag === "AtMostOnce" && !(errorOf(exit.cause) instanceof Fenced)) {
      return yield* Effect.failCause(exit.cause)
    }
    // nothing of the transaction was stored, and whoever had a lock has it no more
    if (delivery._tag === "ExactlyOnce" && isBusy(exit.cause) && looks < maxRefusals) {
      yield* Effect.sleep(10 * 2 ** looks * (yield* Random.next))
      return yield* handle(self, letter, looks + 1)
    }
    if (!(errorOf(exit.cause) instanceof Fenced)) return yield* failed(self, letter, exit.cause)
    return looks === maxLooks ? "failed" : yield* handle(self, letter, looks + 1)
  }
)

/**
 * Whether a source that does not show an event may show it later, as whoever offers it may hide an entity for a while. One that shows something after the
 * event has it no more. Of what is deleted, nothing is to be shown any more.
 */
const isHidden = (
  { projection: { source: { provider } } }: Redelivery,
  letter: ListedLetter
): Handled<boolean> =>
  provider.filter === undefined || letter.isDeleted
    ? Effect.succeed(false)
    : Effect.map(
      fetch(provider, letter, SequenceNumber.make(Number.MAX_SAFE_INTEGER)),
      (later) => later._tag === "None"
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
      // the event has come from there already
      const passes = compileFilter(filter, { topicPrefix: provider.topicPrefix?.() })
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

/** Whether a letter comes next of its entity. */
const standing = (
  { key, management, projection }: Redelivery,
  { isQueued, persistenceId, sequenceNumber }: ListedLetter
): Effect.Effect<"next" | "behind" | "gone", StorageError> =>
  Effect.map(management.listLetters(key, beforeAll(persistenceId), 1), ([first]) => {
    if (first?.persistenceId !== persistenceId || first.sequenceNumber > sequenceNumber) return "gone"
    const isNext = first.sequenceNumber === sequenceNumber
    return isNext || !isInSequence(projection, { isQueued: isQueued || first.isQueued }) ? "next" : "behind"
  })

/** Claims a letter that comes next of its entity. */
const claimNext: (
  self: Redelivery,
  letter: ListedLetter
) => Effect.Effect<ClaimedLetter | "behind" | "gone", StorageError> = Effect.fnUntraced(function*(self, letter) {
  const before = yield* standing(self, letter)
  if (before !== "next") return before
  const claimed = yield* self.management.claim(self.key, letter, self.claimFor)
  if (claimed !== undefined) return claimed
  return (yield* standing(self, letter)) !== "gone" ? "behind" : "gone"
})

const call = ({ handle }: Redelivery, event: Envelope<any>): Handled<void> => Effect.suspend(() => handle([event]))

/** Says that the letter has failed again, if that is the fault of its event. */
const failed = (
  { key, management }: Redelivery,
  letter: DeadLetterId,
  cause: Cause.Cause<unknown>,
  claimedAt?: Timestamp
): Handled<Outcome> =>
  isFaultOfEvent(cause) && !Cause.hasInterrupts(cause)
    ? Effect.as(
      management.release(key, letter, claimedAt, { error: Cause.pretty(cause), fingerprint: fingerprint(cause) }),
      "failed"
    )
    : Effect.failCause(cause)

/** Claims the letter by throwing it away, which counts once the effect is done. Whoever would queue behind it waits, and then finds out whether it was the last. */
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
      const now = yield* standing(self, listed)
      if (now !== "next") return now
      const letter = yield* management.discard(key, listed)
      if (letter === undefined) return "gone"
      if (wasDeleted(listed, letter)) return "obsolete"
      yield* handling
      return "handled"
    })
  )
}

/**
 * Claims the letter once and for all: if whoever has it ends, nobody hands it over again. It stays for as long as it is handled, so that later events of its entity
 * wait for it. Where the filter excludes it since, the claim is released before anybody has it.
 */
const atMostOnce = (
  self: Redelivery,
  listed: ListedLetter,
  stored: EncodedEnvelope,
  event: Envelope<any>,
  basis: Basis,
  moves: ReadonlyArray<Move>
): Handled<Outcome> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*(): Effect.fn.Return<Outcome, unknown, any> {
      const { key, management, store } = self
      const letter = yield* unlessSilent(store, store.transact(key, basis, moves, claimNext(self, listed)))
      if (typeof letter === "string") return letter
      const claim = { at: letter.claimedAt }
      const discard = Effect.suspend(() => unlessSilent(store, management.discard(key, listed, claim.at)))
      const place = `event ${listed.sequenceNumber} of '${listed.persistenceId}'`
      if (wasDeleted(listed, letter)) {
        yield* discard
        return "obsolete"
      }
      if (letter.wasAbandoned) {
        yield* Effect.logWarning(`Loses ${place}, as it was handed over by a process that has ended since`)
        yield* discard
        return "lost"
      }
      // nobody has it yet, so it stays
      const may = yield* renewing(self, listed, claim, restore(isIncluded(self, stored)))
      if (Exit.isFailure(may) || !may.value) {
        yield* unlessSilent(store, management.release(key, listed, claim.at, undefined))
        return Exit.isFailure(may) ? yield* Effect.failCause(may.cause) : "excluded"
      }
      const exit = yield* renewing(self, listed, claim, restore(call(self, event)))
      yield* discard
      if (Exit.isSuccess(exit)) return "handled"
      yield* Effect.logWarning(`Loses ${place}, which the handler has failed on again`, exit.cause)
      // where something else is at fault, the letters after it stay
      return isFaultOfEvent(exit.cause) && !Cause.hasInterrupts(exit.cause)
        ? "lost"
        : yield* Effect.failCause(exit.cause)
    })
  )

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
      const letter = yield* unlessSilent(store, claimNext(self, listed))
      if (typeof letter === "string") return letter
      const claim = { at: letter.claimedAt }
      const isDeleted = wasDeleted(listed, letter)
      if (!isDeleted) {
        const exit = yield* renewing(self, listed, claim, restore(callUpToDate(self, stored, event)))
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

/** Runs the effect, and renews the claim meanwhile. */
const renewing = <A>(
  self: Redelivery,
  letter: DeadLetterId,
  claim: { at: Timestamp },
  effect: Handled<A>
): Effect.Effect<Exit.Exit<A, unknown>, never, any> =>
  Effect.gen(function*() {
    // a child would be waited for
    const renewing = yield* Effect.forkDetach(renew(self, letter, claim))
    const exit = yield* Effect.exit(effect)
    yield* unlessSilent(self.store, Fiber.interrupt(renewing))
    return exit
  })

/** Renews the claim again and again, as the handler may take longer than one holds. */
const renew = (
  { claimFor, key, management }: Redelivery,
  letter: DeadLetterId,
  claim: { at: Timestamp }
): Effect.Effect<never> =>
  Effect.sleep(claimFor / 3).pipe(
    // whole, or nobody would know which claim is ours
    Effect.andThen(Effect.uninterruptible(Effect.map(
      Effect.suspend(() => management.renew(key, letter, claim.at, claimFor)),
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
const wasDeleted = ({ isDeleted }: ListedLetter, { error }: DeadLetter): boolean => !isDeleted && error === deletedError
