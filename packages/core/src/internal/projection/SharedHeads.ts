import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { Journal, sourceKey as journalKey } from "../../Journal.ts"
import type { Offsets } from "../../Offset.ts"
import * as SliceRange from "../../SliceRange.ts"
import * as Source from "../../Source.ts"

/** For how long a source may take for an answer, in milliseconds: until then, all who ask wait for the one that is under way. */
const patience = 60_000

/** Those who ask, and what they are told. */
interface Question {
  range: SliceRange.SliceRange
  readonly answer: Deferred.Deferred<Offsets, unknown>
}

/**
 * @internal
 * Asks a source for its heads. All who ask while it has yet to answer others are told the answer to the next question, which is one for all: many workers begin
 * at once, and a database looks at each slice to answer.
 */
export class SharedHeads {
  #next: Question | undefined
  #isAsking = false

  /** The heads in the range, as they are after this begins. */
  ask<R>(
    heads: (range: SliceRange.SliceRange) => Effect.Effect<Offsets, unknown, R>,
    range: SliceRange.SliceRange
  ): Effect.Effect<Offsets, unknown, R> {
    // once somebody is to ask, they do
    return Effect.uninterruptibleMask((restore) => {
      const question = this.#next ??= { range, answer: Deferred.makeUnsafe() }
      question.range = SliceRange.make(Math.min(question.range.min, range.min), Math.max(question.range.max, range.max))
      const told = restore(Effect.map(
        Deferred.await(question.answer),
        (all) => new Map([...all].filter(([slice]) => SliceRange.contains(range, slice)))
      ))
      if (this.#isAsking) return told
      this.#isAsking = true
      // it is of none of those who ask, as any of them may leave before the others
      return Effect.andThen(Effect.forkDetach(this.#asking(heads), { startImmediately: true }), told)
    })
  }

  #asking<R>(
    heads: (range: SliceRange.SliceRange) => Effect.Effect<Offsets, unknown, R>
  ): Effect.Effect<void, never, R> {
    return Effect.suspend(() => {
      const question = this.#next
      this.#next = undefined
      this.#isAsking = question !== undefined
      if (question === undefined) return Effect.void
      return Effect.exit(heads(question.range)).pipe(
        Effect.flatMap((exit) => Deferred.done(question.answer, exit)),
        Effect.andThen(this.#asking(heads))
      )
    })
  }
}

const known = new WeakMap<object, Map<string, SharedHeads>>()

/** @internal What tells the same heads to all who ask for those of the source: a journal does so whoever names its entity type. */
export const headsOf = ({ provider }: Source.Source<any, any, any>, context: Context.Context<any>): object =>
  provider.key.startsWith(journalKey("")) ? Context.getOrUndefined(context, Journal) ?? provider : provider

/** @internal The heads of a source in the range, as they are after this begins. */
export const headsIn = (
  source: Source.Source<any, any, any>,
  range: SliceRange.SliceRange
): Effect.Effect<Offsets, unknown, any> =>
  Effect.contextWith((context: Context.Context<any>) => {
    const of = headsOf(source, context)
    let sources = known.get(of)
    if (sources === undefined) known.set(of, sources = new Map())
    let found = sources.get(source.provider.key)
    if (found === undefined) sources.set(source.provider.key, found = new SharedHeads())
    const { provider } = source
    const heads = (range: SliceRange.SliceRange) =>
      Effect.timeoutOrElse(Effect.suspend(() => provider.heads(range)), {
        duration: patience,
        orElse: () => Effect.fail(new Source.SourceTimeout({ source: provider.key, waited: patience }))
      })
    return found.ask(heads, range)
  })
