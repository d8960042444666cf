/**
 * A source, or several, whose every event is handled, and an offset that says how far.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { pipeArguments } from "effect/Pipeable"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { ConsumerFilter } from "./ConsumerFilter.ts"
import { type DeliveryGuarantee, describe as describeDelivery } from "./DeliveryGuarantee.ts"
import type { Envelope } from "./Envelope.ts"
import { type Done, type Flow, make as makeFlow } from "./Flow.ts"
import { type Handler, isGrouped } from "./Handler.ts"
import type { HeartbeatStore } from "./HeartbeatStore.ts"
import { checkName, checkProjectionName } from "./internal/checkName.ts"
import { handleDeadLetters as handle } from "./internal/projection/handleDeadLetters.ts"
import { rewind as rewindAs } from "./internal/projection/rewind.ts"
import * as Running from "./internal/projection/running.ts"
import { checkBounds } from "./internal/projection/scaleByLag.ts"
import type { InvalidInput } from "./InvalidInput.ts"
import type { OffsetsDeleted, OffsetStore } from "./OffsetStore.ts"
import { type Projection, TypeId } from "./ProjectionDefinition.ts"
import {
  type AmbiguousProjection,
  claimTime,
  type CommandOptions,
  type HandledLetters,
  type LetterSelection,
  type ProjectionManagement,
  type SinceInFuture,
  type Target,
  type TooManyRewinds,
  type UnknownProjection
} from "./ProjectionManagement.ts"
import { nameOf as nameOfVersion, type ProjectionVersion } from "./ProjectionVersion.ts"
import * as RecoveryStrategy from "./RecoveryStrategy.ts"
import * as SliceRange from "./SliceRange.ts"
import type { Sources, SourceTimeout } from "./Source.ts"
import { describe as describeSources } from "./Source.ts"
import type { StorageError } from "./StorageError.ts"
import * as Timestamp from "./Timestamp.ts"
import type { Outside, Transaction } from "./Transaction.ts"

export type { DeliveryGuarantee } from "./DeliveryGuarantee.ts"
export { offsetKey, offsetKeys, type Projection } from "./ProjectionDefinition.ts"
export type { HandledLetters } from "./ProjectionManagement.ts"

/**
 * Stores the offsets of a projection, the commands to it, the filter of its source, and how its workers are doing. A storage provides them.
 *
 * @category models
 * @since 0.1.0
 */
export type Stores = OffsetStore | ProjectionManagement | ConsumerFilter | HeartbeatStore

const Proto = {
  [TypeId]: { _E: (e: never) => e, _R: (r: never) => r },
  pipe() {
    return pipeArguments(this, arguments)
  }
}

const make = (fields: Omit<Projection<any, any>, "pipe" | typeof TypeId>): Projection<any, any> =>
  Object.assign(Object.create(Proto), fields)

const describeAs = (
  name: string,
  { sources }: Sources<any, any, any>,
  handler: Projection<any, any>["handler"],
  delivery: DeliveryGuarantee
): Projection<any, any> => {
  checkProjectionName(name)
  // such as `stream:` and a name
  for (const { provider } of sources) checkName("key of a source", provider.key, 300)
  return make({
    name,
    sources,
    handler,
    delivery,
    workers: 1,
    version: undefined,
    automatic: undefined,
    recovery: RecoveryStrategy.retryAndFail({ retries: 5, delay: "1 second" }),
    beginsAt: undefined
  })
}

/**
 * Handles every event once: the offset moves in the same transaction as what the handler writes through
 * `Transaction`, so that both happen or neither. A plain handler has a transaction per event; `Handler.grouped` one per group.
 *
 * **Gotchas**
 *
 * Only what is written through `Transaction` happens once. Anything else the handler does may be repeated after a crash.
 *
 * @category constructors
 * @since 0.1.0
 */
export const exactlyOnce = <A, F extends Effect.Effect<void, any, any>>(name: string, handler: Handler<A, F>) =>
<E, R>(
  source: Sources<A, E, R>
): Projection<E | Effect.Error<F>, R | Exclude<Effect.Services<F>, Transaction> | Stores> =>
  describeAs(name, source, handler, { _tag: "ExactlyOnce" })

/**
 * Handles every event, some of them again after a crash: those since the offset was last stored, which it is after
 * `saveAfter` envelopes (100) or `saveWithin` (500 milliseconds). A handler that writes through `Transaction` does not compile.
 *
 * **Details**
 *
 * With `parallelism`, each worker has up to so many events handled at a time, of different slices; those of one slice, and so those of one entity,
 * still follow each other. In each slice the offset is stored up to the first event that is not handled. Up to 16 times as many events, and 4 MiB,
 * are in hand.
 *
 * What `confirm` does is done in the transaction that stores the offset, which is not stored where it fails: the worker begins again from the one before. It looks whether what the handler has written is still there,
 * where a failover to a replica of the database may lose commits.
 *
 * With `Handler.grouped` so many groups are handled at a time, each of one slice, of what has come by then: it waits for no more, so that `within` has to be 0. In hand are as many events as these groups may have, if that is more.
 *
 * @category constructors
 * @since 0.1.0
 */
export const atLeastOnce = <A, F extends Effect.Effect<void, any, any>>(
  name: string,
  handler: Handler<A, OutsideAtLeastOnce<F>>,
  options?: SaveOptions & {
    readonly parallelism?: number | undefined
    readonly confirm?: Effect.Effect<void, Effect.Error<F> | StorageError, Effect.Services<F>> | undefined
  }
) =>
<E, R>(source: Sources<A, E, R>): Projection<E | Effect.Error<F>, R | Effect.Services<F> | Stores> => {
  const parallelism = positive("parallelism", options?.parallelism ?? 1)
  if (parallelism > 1 && isGrouped(handler) && Duration.toMillis(handler.within) > 0) {
    throw new RangeError(
      `parallelism is ${parallelism}, and so groups are of what has come: they wait for no more, and \`within\` is 0`
    )
  }
  const { confirm } = options ?? {}
  return describeAs(name, source, handler, {
    ...atLeastOnceAs(options),
    parallelism,
    ...(confirm !== undefined && { confirm })
  })
}

const atLeastOnceAs = (options: SaveOptions | undefined) => ({
  _tag: "AtLeastOnce" as const,
  saveAfter: positive("saveAfter", options?.saveAfter ?? 100),
  saveWithin: Duration.fromInputUnsafe(options?.saveWithin ?? "500 millis"),
  parallelism: 1
})

type OutsideAtLeastOnce<F> = Outside<
  F,
  "An at-least-once handler has no Transaction: use Projection.exactlyOnce, or write with Database"
>

/** As `Outside`, for a stream. */
type WithoutTransaction<S extends Stream.Stream<any, any, any>, Advice extends string> = [Transaction] extends [
  Stream.Services<S>
] ? 0 extends 1 & Stream.Services<S> ? S : Advice
  : S

interface SaveOptions {
  readonly saveAfter?: number | undefined
  readonly saveWithin?: Duration.Input | undefined
}

const positive = (what: string, n: number): number => {
  if (!Number.isSafeInteger(n) || n < 1) throw new RangeError(`${what} is ${n}: an integer from 1`)
  return n
}

/**
 * Hands the events to a stream of your own, at least once. What the stream emits says which of them are done, in any order: the envelope itself, or
 * anything else that has its persistence id and sequence number. In each slice the offset is stored up to the first event that is not done. A stream that
 * needs `Transaction` does not compile.
 *
 * **When to use**
 *
 * For what a handler cannot do: calls at the same time for events of one slice, batches that are cut by time and size, merging, throttling.
 *
 * **Details**
 *
 * Each worker runs the stream once for as long as it reads on from one place, and ends the envelopes when it is to end, which flushes what waits
 * for more. Up to `inHand` events (256) and 4 MiB are given to it, or ready for it. Offsets are stored as {@link atLeastOnce} does. A stream
 * that fails, or ends by itself, begins again from the stored offsets, after a while that grows.
 *
 * The {@link recovery} strategy concerns what fails before, such as an event that cannot be decoded. With dead letters the stream is not given the
 * later events of its entity, until {@link handleDeadLetters} has run the stream for each letter by itself.
 *
 * **Gotchas**
 *
 * Emit what you leave out as well: an event that is not emitted would hold the offset for ever. After `deadline` (1 minute) as the oldest in the
 * stream it is found out: the worker fails with `FlowOverdue`, which names it, and begins again. Have the stream end with its envelopes: after a
 * command it is waited for, for `deadline` at most. The events of an entity come in order, and it is up to the stream whether they are handled so:
 * `Stream.mapEffect` with a `concurrency` has several of them under way.
 *
 * **Example** (Batches for another service)
 *
 * ```ts
 * import { EntityType, EventCodec, Journal, MemoryStorage, Projection, ProjectionStatus, Source } from "@sluice/core"
 * import { Effect, Layer, Stream } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const sent: Array<string> = []
 * const send = (texts: ReadonlyArray<string>) => Effect.sync(() => void sent.push(texts.join("+")))
 * const Search = Source.journal(Note).pipe(
 *   Projection.flow("search", (envelopes) =>
 *     envelopes.pipe(
 *       Stream.groupedWithin(100, "50 millis"),
 *       Stream.mapEffect((group) => Effect.as(send(group.map(({ event }) => event)), group), { concurrency: 4 }),
 *       Stream.flattenIterable
 *     ))
 * )
 *
 * const program = Effect.gen(function*() {
 *   yield* Journal.append(Note, { id: "n-1", events: ["a", "b", "c"] })
 *   yield* Layer.build(Projection.layer(Search))
 *   yield* ProjectionStatus.caughtUp("search")
 *   return sent.join("+")
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(MemoryStorage.layer))) // => "a+b+c"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const flow = <A, S extends Stream.Stream<Done, any, any>>(
  name: string,
  run: (
    envelopes: Stream.Stream<Envelope<A>>
  ) => WithoutTransaction<S, "A flow has no Transaction: use Projection.exactlyOnce, or write with Database">,
  options?: SaveOptions & {
    readonly inHand?: number | undefined
    readonly deadline?: Duration.Input | undefined
  }
) =>
<E, R>(
  source: Sources<A, E, R>
): Projection<E | Stream.Error<S>, R | Exclude<Stream.Services<S>, Scope.Scope> | Stores> =>
  describeAs(
    name,
    source,
    makeFlow({
      run: run as Flow["run"],
      inHand: positive("inHand", options?.inHand ?? 256),
      deadline: Duration.fromInputUnsafe(options?.deadline ?? "1 minute")
    }),
    atLeastOnceAs(options)
  )

/**
 * Hands every event to the handler once, or not at all: the offset is stored first. A crash, or an interruption of the handler, loses the
 * event that it had, or the group, and no others. For what is better missed than repeated.
 *
 * **Details**
 *
 * An event is never tried again once the handler has it. If that fails, the event counts as skipped, and a warning in the log names it. The
 * {@link recovery} strategy says what becomes of events that fail before, because they cannot be decoded or a stage fails on them.
 * `ProjectionStatus.caughtUp` waits until the handler is done; a receipt is reached as soon as the offset is stored. A handler that writes
 * through `Transaction` does not compile.
 *
 * **Example** (A notice that must not come twice)
 *
 * ```ts
 * import { EntityType, EventCodec, Journal, MemoryStorage, Projection, ProjectionStatus, Source } from "@sluice/core"
 * import { Effect, Layer } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const sent: Array<string> = []
 * const Notices = Source.journal(Note).pipe(
 *   Projection.atMostOnce("notices", ({ event }) => Effect.sync(() => void sent.push(event)))
 * )
 *
 * const program = Effect.gen(function*() {
 *   yield* Journal.append(Note, { id: "n-1", events: ["a", "b"] })
 *   yield* Layer.build(Projection.layer(Notices))
 *   yield* ProjectionStatus.caughtUp("notices")
 *   return sent
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(MemoryStorage.layer))) // => ["a", "b"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const atMostOnce = <A, F extends Effect.Effect<void, any, any>>(
  name: string,
  handler: Handler<
    A,
    Outside<F, "An at-most-once handler has no Transaction: use Projection.exactlyOnce, or write with Database">
  >
) =>
<E, R>(source: Sources<A, E, R>): Projection<E | Effect.Error<F>, R | Effect.Services<F> | Stores> =>
  describeAs(name, source, handler, { _tag: "AtMostOnce" })

/**
 * Divides the slices among `n` workers, 1 to 1024, which {@link layer} and {@link run} have work at the same time. Events of one entity stay in order. It
 * may differ from run to run: no event is lost or repeated for it. Of several sources, each has `n` workers of its own.
 * Once `ProjectionManagement.scale` has commanded a number of workers, that one holds.
 *
 * With bounds, powers of two, the number follows the lag: it begins with `min`, goes up soon where the lag would take longer than `catchUpWithin`, a minute by
 * default, to be gone, and down by half after it has been quiet for 5 minutes. `ProjectionManagement.scaling` says how many there are, and why.
 *
 * **Example** (As many as the lag asks for)
 *
 * ```ts
 * import { EntityType, EventCodec, Projection, Source } from "@sluice/core"
 * import { Effect } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const Notes = Source.journal(Note).pipe(
 *   Projection.exactlyOnce("notes", () => Effect.void),
 *   Projection.workers({ min: 1, max: 16, catchUpWithin: "30 seconds" })
 * )
 * Projection.describe(Notes) // => "journal of note | exactly once 'notes' × 1 to 16"
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const workers = (
  n: number | { readonly min: number; readonly max: number; readonly catchUpWithin?: Duration.Input | undefined }
) =>
<E, R>(self: Projection<E, R>): Projection<E, R> => {
  if (typeof n === "number") {
    SliceRange.split(n)
    return make({ ...self, workers: n, automatic: undefined })
  }
  const { catchUpWithin = "1 minute", max, min } = n
  const automatic = { min, max, catchUpWithin: Duration.toSeconds(Duration.fromInputUnsafe(catchUpWithin)) }
  checkBounds(automatic)
  return make({ ...self, workers: min, automatic })
}

/**
 * Has the projection begin at the first events of each slice that are not older than a time, instead of at the beginning of its sources: `since` is in microseconds, by the
 * clock of the database that the events are written to. Workers ask the source where that is.
 *
 * **When to use**
 *
 * For a projection that needs nothing of before, such as one that sends mail from the day on which it is deployed. Give a fixed time, so that all processes, and all that
 * run later, mean the same.
 *
 * **Details**
 *
 * The projection's beginning is there: a rewind to the `beginning` or to an earlier time leads there, and so do `ProjectionManagement.clear`, a new version, and a journal
 * that was replaced. Only a rewind to offsets leads to what is older. In slices of which something was handled, a later time than before passes over nothing, and an earlier one brings nothing
 * back: rewind the projection for that. Workers fail with `SinceInFuture`, and try again, until the time has come.
 *
 * **Example** (Nothing of before a time)
 *
 * ```ts
 * import { EntityType, EventCodec, Journal, MemoryStorage, Projection, ProjectionStatus, Source } from "@sluice/core"
 * import { Effect, Layer } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 *
 * const program = Effect.gen(function*() {
 *   yield* Journal.append(Note, { id: "n-1", events: ["one"] })
 *   const { timestamp: since } = yield* Journal.append(Note, { id: "n-1", events: ["two"] })
 *   const handled: Array<string> = []
 *   const Recent = Source.journal(Note).pipe(
 *     Projection.exactlyOnce("recent", ({ event }) => Effect.sync(() => void handled.push(event))),
 *     Projection.beginAt({ since })
 *   )
 *   yield* Layer.build(Projection.layer(Recent))
 *   yield* ProjectionStatus.caughtUp("recent")
 *   return handled
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(MemoryStorage.layer))) // => ["two"]
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const beginAt =
  ({ since }: { readonly since: Timestamp.Timestamp }) => <E, R>(self: Projection<E, R>): Projection<E, R> =>
    make({ ...self, beginsAt: Timestamp.make(since) })

/**
 * What to do about an event that the handler fails on; by default five retries, a second apart, then to stop.
 *
 * @category combinators
 * @since 0.1.0
 */
export const recovery =
  (strategy: RecoveryStrategy.RecoveryStrategy) => <E, R>(self: Projection<E, R>): Projection<E, R> =>
    make({ ...self, recovery: strategy })

/**
 * Says which version of its projection this is, from 1. A version after the live one is built beside that, from the beginning of its sources. Once it has
 * come within `lag` events (0) of where they were half a second ago, it takes the place of the one before: in one transaction, with what `switch` writes through `Transaction`, so that
 * readers see a complete version at any moment. The workers of the one before then rest, in all processes. After `dropAfter` (10 seconds) it is dropped.
 *
 * **When to use**
 *
 * To have a projection begin anew, with another handler or other tables, while its readers go on.
 *
 * **Details**
 *
 * Versions are projections with names of their own, such as `popularity@2`, offsets, dead letters and commands: see `ProjectionVersion.nameOf`. The
 * first one has the name without a number, so that a projection without versions is its own first. Each writes to tables of its own, which readers reach by a
 * view, or by a name, that `switch` changes. `drop` is told which version is to be dropped: one that another has replaced, or whose building was cancelled
 * (`ProjectionManagement.cancelRebuild`). It may run more than once. How far a version is says `ProjectionStatus.versions`. A version that is paused, or has
 * dead letters, waits with the switch until it is resumed, or they are handled or discarded.
 *
 * **Gotchas**
 *
 * MySQL and MariaDB end a transaction when a table or view is changed: let `switch` change a row there that says which version readers are to
 * read. A version that was dropped never runs again; its successor has the next number.
 *
 * **Example** (A new version beside the old one)
 *
 * ```ts
 * import { EntityType, EventCodec, Journal, MemoryStorage, Projection, ProjectionStatus, Source } from "@sluice/core"
 * import { Effect, Layer, Schedule } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const lengths = new Map([[1, 0], [2, 0]])
 * let live = 1
 * const Lengths = (version: number) =>
 *   Source.journal(Note).pipe(
 *     Projection.exactlyOnce("lengths", ({ event }) =>
 *       Effect.sync(() => lengths.set(version, lengths.get(version)! + event.length))),
 *     Projection.version(version, {
 *       switch: Effect.sync(() => (live = version)),
 *       drop: (version) => Effect.sync(() => lengths.delete(version)),
 *       dropAfter: 0
 *     })
 *   )
 *
 * const phases = Effect.map(ProjectionStatus.versions("lengths"), (versions) => versions.map(({ phase }) => phase).join())
 * const until = (expected: string) =>
 *   Effect.repeat(phases, { until: (phases) => phases === expected, schedule: Schedule.spaced("10 millis") })
 * const program = Effect.gen(function*() {
 *   yield* Journal.append(Note, { id: "n-1", events: ["one", "three"] })
 *   yield* Layer.build(Projection.layer(Lengths(1)))
 *   yield* until("Live")
 *   yield* Layer.build(Projection.layer(Lengths(2)))
 *   yield* until("Dropped,Live")
 *   return [live, lengths.get(1), lengths.get(2)]
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(MemoryStorage.layer))) // => [2, undefined, 8]
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const version =
  <E2, R2, F extends Effect.Effect<unknown, any, any> = Effect.Effect<void>>(number: number, options: {
    readonly switch: Effect.Effect<unknown, E2, R2>
    readonly drop?:
      | ((version: number) => Outside<F, "What drops a version is in no transaction: write with Database">)
      | undefined
    readonly lag?: number | undefined
    readonly dropAfter?: Duration.Input | undefined
  }) =>
  <E, R>(self: Projection<E, R>): Projection<E, R | Exclude<R2, Transaction> | Effect.Services<F>> => {
    const { drop = () => Effect.void, dropAfter = "10 seconds", lag = 0 } = options
    if (!Number.isSafeInteger(lag) || lag < 0) throw new RangeError(`lag is ${lag}: an integer from 0`)
    const id = { of: self.version?.of ?? self.name, version: positive("version", number) }
    const name = nameOfVersion(id)
    checkName("name for a version of a projection", name)
    return make({
      ...self,
      name,
      version: {
        ...id,
        switch: options.switch,
        drop: drop as ProjectionVersion["drop"],
        lag,
        dropAfter: Duration.fromInputUnsafe(dropAfter)
      }
    })
  }

/**
 * The projection in one line, as logs and consoles show it.
 *
 * @category getters
 * @since 0.1.0
 */
export const describe = (self: Projection<any, any>): string =>
  `${describeSources(self)} | ${describeDelivery(self.delivery)} '${self.name}' × ${
    self.automatic === undefined ? self.workers : `${self.automatic.min} to ${self.automatic.max}`
  }`

/**
 * Runs the projection for as long as the layer lives, and logs where it begins. A worker that stops does so alone; `ProjectionStatus.status`
 * and the log say why. It goes on when the projection is resumed (`ProjectionManagement.resume`). Dies with
 * `ProjectionAlreadyRuns` if the process runs one of the same name, and with `VersionNameTaken` if it is a version whose name another projection has.
 *
 * **Details**
 *
 * It has as many workers as `ProjectionManagement.scale` has commanded, and else as {@link workers} says; which of them run in this process is up to
 * `Placement`, by default all. When that changes, workers whose slices stay as they are go on. The others end what their handlers have in hand and store
 * their offsets, and then new ones begin.
 *
 * @category running
 * @since 0.1.0
 */
export const layer = <E, R>(self: Projection<E, R>): Layer.Layer<never, never, R> =>
  Layer.effectDiscard(Running.startPlaced(self))

/**
 * Runs the projection until a worker stops, and fails as that did.
 *
 * @category running
 * @since 0.1.0
 */
export const run = <E, R>(self: Projection<E, R>): Effect.Effect<never, E, R> => Running.runPlaced(self)

/**
 * Sets where a projection goes on, also while it runs, here or elsewhere, and undoes what its handler has written: in one transaction, while
 * nobody handles anything. So what an exactly-once handler has written is exact afterwards as well. Where it is to go on by time, the
 * source says which events those are. Dead letters of events that come again are thrown away. It concerns all of its sources, or the one of which
 * `source` is the key. Offsets are of one source: for a projection of several they fail with `AmbiguousProjection` without it.
 *
 * **Details**
 *
 * `undo` writes as a handler does, through `Transaction`; what it writes elsewhere may be repeated, as a transaction that the database refuses is
 * tried again. An at-least-once handler may be in the middle of an event meanwhile, whose effect then is not undone.
 *
 * **Example** (Everything again, after the handler was repaired)
 *
 * ```ts
 * import { EntityType, EventCodec, Projection, ProjectionStatus, Source } from "@sluice/core"
 * import { Database, Tables } from "@sluice/sql"
 * import { SqliteStorage } from "@sluice/sqlite"
 * import { Journal } from "@sluice/core"
 * import { Effect, Layer } from "effect"
 * import { sql } from "kysely"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const tables = Tables.make<{ note: { length: number } }>()
 * const Lengths = Source.journal(Note).pipe(
 *   Projection.exactlyOnce("lengths", ({ event: { length } }) => Tables.run(tables.insertInto("note").values({ length })))
 * )
 *
 * const program = Effect.gen(function*() {
 *   const { run } = yield* Database.Database
 *   yield* run(sql`CREATE TABLE note (length INTEGER)`)
 *   yield* Journal.append(Note, { id: "n-1", events: ["one", "three"] })
 *   yield* Layer.build(Projection.layer(Lengths))
 *   yield* ProjectionStatus.caughtUp("lengths")
 *   yield* Projection.rewind(Lengths, "beginning", { undo: Tables.run(tables.deleteFrom("note")) })
 *   yield* ProjectionStatus.caughtUp("lengths")
 *   return yield* run(tables.selectFrom("note").selectAll())
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(SqliteStorage.layer({ filename: ":memory:" }))))
 * // => [{ length: 3 }, { length: 5 }]
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const rewind = <E, R, E2 = never, R2 = never>(
  self: Projection<E, R>,
  to: Target,
  options?: CommandOptions & {
    readonly source?: string | undefined
    readonly undo?: Effect.Effect<unknown, E2, R2> | undefined
  }
): Effect.Effect<
  void,
  E | E2 | UnknownProjection | AmbiguousProjection | SinceInFuture | TooManyRewinds | InvalidInput | StorageError,
  R | Exclude<R2, Transaction>
> => rewindAs(self, to, options ?? {}) as Effect.Effect<void, any, any>

/**
 * Handles the events that the projection has put aside, with those that wait behind them, in the order of their entities and sequence numbers, as it
 * handles others: exactly once, if that is how it does. Those that fail again stay, and so do those that the newest filter of the stream excludes; then
 * the later ones of the entity wait on. Each is asked for at its source first. Once the last letter of an entity is handled, its next event is handled
 * directly. It may run beside the projection itself, and several times at once, here and elsewhere: each letter is then handled by one of them, after those
 * that come before it. The letters of several sources are handled at the same time, and those of one that does not answer hold up no others.
 *
 * **Details**
 *
 * With `persistenceId` it handles those of an entity. With `fingerprint` it handles the entities whose first letter has that one, up to a
 * letter that has failed in another way. A {@link flow} is run for each letter: it is given that event alone, and then its envelopes end. A letter
 * that it does not emit has failed, with `FlowEnded` or, after its deadline, `FlowOverdue`.
 *
 * Unless the projection is exactly-once, a letter is claimed for as long as it is handled. If the process dies meanwhile, or is not told that it has claimed it, nobody handles the
 * letter for `claimFor`: 5 minutes, or less, from 1 second on. A claim is renewed three times as often.
 *
 * **Gotchas**
 *
 * A process that does not get to renew a claim for `claimFor`, as it or its database stands still, may see another one handle the letter at the same time. A short claim is for
 * handlers that may be called twice. An at-most-once projection loses a letter whose claim has run out.
 *
 * **Example** (After the handler was repaired)
 *
 * ```ts
 * import { EntityType, EventCodec, Journal, MemoryStorage, Projection, ProjectionStatus, RecoveryStrategy, Source } from "@sluice/core"
 * import { Effect, Layer } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * let isBroken = true
 * const Notes = Source.journal(Note).pipe(
 *   Projection.exactlyOnce("notes", () => isBroken ? Effect.fail("broken") : Effect.void),
 *   Projection.recovery(RecoveryStrategy.deadLetter)
 * )
 *
 * const program = Effect.gen(function*() {
 *   yield* Journal.append(Note, { id: "n-1", events: ["a"] })
 *   yield* Layer.build(Projection.layer(Notes))
 *   yield* ProjectionStatus.caughtUp("notes")
 *   isBroken = false
 *   return yield* Projection.handleDeadLetters(Notes)
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(MemoryStorage.layer)))
 * // => { handled: 1, failed: 0, obsolete: 0, excluded: 0 }
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const handleDeadLetters = <E, R>(
  self: Projection<E, R>,
  which?: LetterSelection & { readonly claimFor?: Duration.Input | undefined }
): Effect.Effect<HandledLetters, E | SourceTimeout | UnknownProjection | OffsetsDeleted | StorageError, R> =>
  handle(self, which, checkClaim(which?.claimFor)) as Effect.Effect<HandledLetters, any, any>

const shortestClaim = 1_000

const checkClaim = (claimFor: Duration.Input = claimTime): number => {
  const millis = Duration.toMillis(Duration.fromInputUnsafe(claimFor))
  if (millis >= shortestClaim && millis <= claimTime) return millis
  throw new RangeError(`claimFor is ${millis} ms: from ${shortestClaim} ms to ${claimTime} ms`)
}
