import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { Envelope } from "../../Envelope.ts"
import { type Basis, Fenced, type Move, OffsetStore } from "../../OffsetStore.ts"
import { offsetKey, type Projection } from "../../ProjectionDefinition.ts"
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
import type { Timestamp } from "../../Timestamp.ts"
import { compile } from "../pipeline/compile.ts"
import { fetch } from "../reading/fetch.ts"
import { errorOf, isFaultOfEvent } from "./failures.ts"

const pageSize = 100

/** How often an event is looked at again whose slice has moved on meanwhile. */
const maxLooks = 20

/** Somebody else has handled the letter, or thrown it away, or is handling it. */
type Outcome = keyof HandledLetters | "gone"

/** @internal Handles what a projection has put aside, and says what became of it. */
export const handleDeadLetters = (
  projection: Projection<any, any>
): Effect.Effect<HandledLetters, unknown, any> =>
  Effect.gen(function*() {
    const store = yield* OffsetStore
    const management = yield* ProjectionManagement
    const { delivery, handler, source } = projection
    const key = offsetKey(projection)
    const decode = compile<any, any>(source.provider.codec, source.stages)

    const call = (event: Envelope<any>): Effect.Effect<void, unknown, any> =>
      Effect.suspend(() => typeof handler === "function" ? handler(event) : handler.handle([event]))

    /** Says that the letter has failed again, if that is the fault of its event. */
    const failed = (
      id: DeadLetterId,
      cause: Cause.Cause<unknown>,
      claimedAt?: Timestamp
    ): Effect.Effect<Outcome, unknown, any> =>
      isFaultOfEvent(cause) && !Cause.hasInterrupts(cause)
        ? Effect.as(management.release(key, id, claimedAt, Cause.pretty(cause)), "failed")
        : Effect.failCause(cause)

    /** Claims the letter by throwing it away, which counts once the handler is done. */
    const exactlyOnce = (
      listed: ListedLetter,
      event: Envelope<any>,
      basis: Basis,
      moves: ReadonlyArray<Move>
    ): Effect.Effect<Outcome, unknown, any> =>
      store.transact(
        key,
        basis,
        moves,
        Effect.gen(function*() {
          const letter = yield* management.discard(key, listed)
          if (letter === undefined) return "gone"
          if (wasDeleted(listed, letter)) return "obsolete"
          yield* call(event)
          return "handled"
        })
      )

    /** A later state may be handled meanwhile, and must be the last. */
    const callUpToDate = (event: Envelope<any>): Effect.Effect<void, unknown, any> =>
      Effect.gen(function*() {
        yield* call(event)
        if (source.provider.supersedes !== true) return
        const newest = yield* fetch(source.provider, event, SequenceNumber.make(Number.MAX_SAFE_INTEGER))
        if (newest._tag === "None" || newest.value.sequenceNumber === event.sequenceNumber) return
        const [element] = yield* decode([newest.value])
        if (element?._tag === "Envelope") yield* callUpToDate(element)
      })

    const atLeastOnce = (listed: ListedLetter, event: Envelope<any>): Effect.Effect<Outcome, unknown, any> =>
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function*() {
          const letter = yield* management.claim(key, listed)
          if (letter === undefined) return "gone"
          let { claimedAt } = letter
          const isDeleted = wasDeleted(listed, letter)
          if (!isDeleted) {
            // the handler may take longer than a claim holds
            const renewing = yield* Effect.sleep(claimTime / 3).pipe(
              // whole, or nobody would know which claim is ours
              Effect.andThen(Effect.uninterruptible(Effect.map(
                Effect.suspend(() => management.renew(key, listed, claimedAt)),
                (renewed) => claimedAt = renewed ?? claimedAt
              ))),
              Effect.ignore,
              Effect.forever,
              Effect.forkChild
            )
            const exit = yield* Effect.exit(restore(callUpToDate(event)))
            yield* Fiber.interrupt(renewing)
            if (Exit.isFailure(exit)) {
              return yield* Effect.onError(
                failed(listed, exit.cause, claimedAt),
                () => Effect.ignore(management.release(key, listed, claimedAt, undefined))
              )
            }
          }
          yield* management.discard(key, listed, claimedAt)
          return isDeleted ? "obsolete" : "handled"
        })
      )

    /**
     * Looks where the projection is, then whether the source still has the event, and handles it. Where a later state would supersede it,
     * none may have been handled in between: its slice must not have moved.
     */
    const handle = (letter: ListedLetter, looks = 1): Effect.Effect<Outcome, unknown, any> =>
      Effect.gen(function*() {
        const slice = Slice.ofPersistenceId(letter.persistenceId)
        const { journal = "", offsets, revision } = yield* store.load(key, SliceRange.make(slice, slice))
        if (revision === undefined) return yield* new UnknownProjection(key)
        const stored = yield* fetch(source.provider, letter)
        const discard = Effect.map(
          management.discard(key, letter),
          (discarded): Outcome => discarded === undefined ? "gone" : "obsolete"
        )
        if (stored._tag === "None" || stored.value.payload === undefined) return yield* discard
        const [element] = yield* decode([stored.value])
        if (element?._tag === "Poison") return yield* failed(letter, element.cause)
        if (element?._tag !== "Envelope") return yield* discard
        if (delivery._tag !== "ExactlyOnce") return yield* atLeastOnce(letter, element)
        const to = offsets.get(slice)
        const moves = source.provider.supersedes === true && to !== undefined ? [{ slice, from: to, to }] : []
        const exit = yield* Effect.exit(exactlyOnce(letter, element, { journal, revision }, moves))
        if (Exit.isSuccess(exit)) return exit.value
        if (!(errorOf(exit.cause) instanceof Fenced)) return yield* failed(letter, exit.cause)
        return looks === maxLooks ? "failed" : yield* handle(letter, looks + 1)
      })

    const counts: Record<Outcome, number> = { handled: 0, failed: 0, obsolete: 0, gone: 0 }
    let after: DeadLetterId | undefined
    while (true) {
      const page: ReadonlyArray<ListedLetter> = yield* management.listLetters(key, after, pageSize)
      for (const letter of page) counts[yield* handle(letter)]++
      const last = page.at(-1)
      if (last === undefined) {
        const { failed, handled, obsolete } = counts
        return { handled, failed, obsolete }
      }
      after = last
    }
  })

/** Whether its event was deleted since it was listed. */
const wasDeleted = ({ hasPayload }: ListedLetter, { envelope }: DeadLetter): boolean =>
  hasPayload && envelope.payload === undefined
