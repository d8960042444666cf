/**
 * A source for tests, whose events the test publishes.
 *
 * @since 0.1.0
 */
import * as EntityType from "@sluice/core/EntityType"
import type { Envelope, Metadata } from "@sluice/core/Envelope"
import type { EventDecodeError } from "@sluice/core/EventCodec"
import type { EventStream } from "@sluice/core/EventStream"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Source from "@sluice/core/Source"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/**
 * Events of one entity, in their order.
 *
 * @category models
 * @since 0.1.0
 */
export interface Publication<out A> {
  /** The id of the entity, without its type. */
  readonly id: string
  readonly events: NonEmptyReadonlyArray<A>
  /** Given to each of the events. */
  readonly tags?: ReadonlyArray<string> | undefined
  /** Given to each of the events. */
  readonly metadata?: Metadata | undefined
}

/**
 * A source whose events are those that the test publishes.
 *
 * @category models
 * @since 0.1.0
 */
export interface TestSource<in out A> extends Source.Source<A, Source.Error<ReturnType<typeof Source.journal>>> {
  /**
   * Adds events, one entity after the other, and returns them as readers are given them. Sequence numbers and positions follow those before, and the
   * timestamps are those of the clock. An event that its codec does not encode fails with `EventEncodeError`, and is not added.
   */
  readonly publish: (
    ...publications: ReadonlyArray<Publication<A>>
  ) => Effect.Effect<ReadonlyArray<Envelope<A>>, Journal.AppendError | EventDecodeError>
}

/**
 * A source with the events of an entity type or a stream, of which there are none yet. It keeps them for as long as the scope.
 *
 * **Details**
 *
 * It behaves as the journal of a service does: what is published is read at once by whoever has the source open, and by each who opens it later, from
 * where they are. The persistence ids begin with the name of the entity type; of a stream it is the id of the stream, unless `entityType` says another.
 *
 * **Example** (A pipeline on events of the test)
 *
 * ```ts
 * import { EventCodec, EventStream, Source } from "@sluice/core"
 * import { TestSource } from "@sluice/testing"
 * import { Effect, Stream } from "effect"
 *
 * const Notes = EventStream.make("notes", { codec: EventCodec.string })
 *
 * const program = Effect.gen(function*() {
 *   const notes = yield* TestSource.make(Notes)
 *   yield* notes.publish({ id: "n-1", events: ["a", "b"] }, { id: "n-2", events: ["c"], tags: ["short"] })
 *   return yield* Source.toStream(notes).pipe(
 *     Stream.take(3),
 *     Stream.map(({ persistenceId, sequenceNumber, event }) => `${persistenceId} ${sequenceNumber} ${event}`),
 *     Stream.runCollect,
 *     Effect.map((events) => events.toSorted())
 *   )
 * })
 * await Effect.runPromise(Effect.scoped(program)) // => ["notes|n-1 1 a", "notes|n-1 2 b", "notes|n-2 1 c"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  contract: EntityType.EntityType<A> | EventStream<A>,
  options?: { readonly entityType?: string | undefined }
): Effect.Effect<TestSource<A>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const name = "name" in contract ? contract.name : contract.id
    const entityType = EntityType.make(options?.entityType ?? name, contract)
    const journal = Context.get(yield* Layer.build(Layer.fresh(MemoryStorage.layer)), Journal.Journal)
    const provide = Effect.provideService(Journal.Journal, journal)
    const provider: Source.Provider<A, Source.Error<TestSource<A>>, Journal.Journal> =
      Source.journal(entityType).provider
    const { before, entity, heads, now, open } = provider
    const source = Source.make<A, Source.Error<TestSource<A>>, never>({
      key: `test:${name}`,
      description: `test source of ${name}`,
      entityType: entityType.name,
      codec: entityType.codec,
      open: (range, start) => provide(open(range, start)),
      entity: (persistenceId, from, to) =>
        Stream.provideService(entity(persistenceId, from, to), Journal.Journal, journal),
      heads: (range) => provide(heads(range)),
      before: (range, time) => provide(before(range, time)),
      now: provide(now)
    })
    const publishOne = ({ events, id, metadata, tags }: Publication<A>) =>
      Effect.flatMap(
        Journal.append(entityType, { id, events, metadata, tags }),
        ({ count, sequenceNumber: to }) => Stream.runCollect(Journal.read(entityType, id, { from: to - count + 1, to }))
      )
    return Object.assign(source, {
      publish: (...publications: ReadonlyArray<Publication<A>>) =>
        Effect.map(provide(Effect.forEach(publications, publishOne)), (published) => published.flat())
    })
  })
