/**
 * Given, when, then for handlers: hands events to a handler, with no projection around it.
 *
 * @since 0.1.0
 */
import type { EntityType } from "@sluice/core/EntityType"
import type { Envelope } from "@sluice/core/Envelope"
import type { EventStream } from "@sluice/core/EventStream"
import { type Handler, type HandlerTooSlow, isGrouped, type Scoped } from "@sluice/core/Handler"
import { OffsetStore } from "@sluice/core/OffsetStore"
import { ProjectionManagement } from "@sluice/core/ProjectionManagement"
import * as SliceRange from "@sluice/core/SliceRange"
import type { StorageError } from "@sluice/core/StorageError"
import type { Outside, Transaction } from "@sluice/core/Transaction"
import * as Arr from "effect/Array"
import { WebCrypto } from "effect/crypto/WebCrypto"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as TestSource from "./TestSource.ts"

/**
 * A handler in a test. Events that its codec does not encode are a defect, as is a failure on what is given.
 *
 * @category models
 * @since 0.1.0
 */
export interface HandlerTest<in out A, out E> {
  /** Has the handler handle what was before. Dies where the handler fails. */
  readonly given: (...publications: ReadonlyArray<TestSource.Publication<A>>) => Effect.Effect<void>
  /**
   * Has the handler handle what is tested, and returns what it was given. Fails as the handler does; of an exactly-once handler nothing is then written of the
   * event, or of its group.
   */
  readonly when: (
    ...publications: ReadonlyArray<TestSource.Publication<A>>
  ) => Effect.Effect<ReadonlyArray<Envelope<A>>, E>
  /**
   * Has the handler do once more what it did last, as it may after a crash: at least once, it handles the same events again. Exactly once, it does so in a
   * transaction that is undone. Whatever the handler leaves must be there once then.
   */
  readonly again: Effect.Effect<void, E>
  /** Ends the life of the handler and starts another, as a worker does after a failure: `Handler.scoped` closes its scope and starts anew. */
  readonly restart: Effect.Effect<void, E>
}

type Handled = Effect.Effect<void, any, any>

/** Handles some events. */
type Handle = (envelopes: ReadonlyArray<Envelope<any>>) => Handled

const startInput = <Input>(
  handle: ((input: Input) => Handled) | Scoped<Input, Handled>
): Effect.Effect<(input: Input) => Handled, any, any> =>
  typeof handle === "function" ? Effect.succeed(handle) : Effect.suspend(() => handle.start(SliceRange.full))

const start = (handler: Handler<any, Handled>): Effect.Effect<Handle, any, any> =>
  isGrouped(handler)
    ? startInput(handler.handle)
    : Effect.map(startInput(handler), (handle) => (envelopes) => handle(envelopes[0]!))

/** Runs a call of a handler: commits what it writes, or not. */
type Run = (call: Handled, commits: boolean) => Handled

const make = Effect.fnUntraced(function*(
  contract: EntityType<any> | EventStream<any>,
  handler: Handler<any, Handled>,
  run: Run
): Effect.fn.Return<HandlerTest<any, any>, any, any> {
  const context = yield* Effect.context<any>()
  const scope = yield* Effect.scope
  const source = yield* TestSource.make(contract)
  const size = isGrouped(handler) ? handler.size : 1
  const begin = Effect.gen(function*() {
    const life = yield* Scope.fork(scope)
    return { life, handle: yield* Scope.provide(start(handler), life) }
  })
  let { handle, life } = yield* begin
  let last: ReadonlyArray<Envelope<any>> = []
  const handOver = (envelopes: ReadonlyArray<Envelope<any>>, commits: boolean) =>
    Effect.provideContext(
      Effect.forEach(Arr.chunksOf(envelopes, size), (group) => run(Effect.suspend(() => handle(group)), commits), {
        discard: true
      }),
      context
    )
  const when: HandlerTest<any, any>["when"] = (...publications) =>
    Effect.gen(function*() {
      last = yield* Effect.orDie(source.publish(...publications))
      yield* handOver(last, true)
      return last
    })
  return {
    given: (...publications) => Effect.orDie(when(...publications)),
    when,
    again: Effect.suspend(() => handOver(last, false)),
    restart: Effect.gen(function*() {
      yield* Scope.close(life, Exit.void)
      const begun = yield* begin
      handle = begun.handle
      life = begun.life
    }).pipe(Effect.provideContext(context))
  }
})

/**
 * A handler as `Projection.atLeastOnce` and `atMostOnce` run it. Lives as long as the scope.
 *
 * **Example** (A mail that must not be sent twice)
 *
 * ```ts
 * import { type Envelope, EntityType, EventCodec } from "@sluice/core"
 * import { HandlerTest } from "@sluice/testing"
 * import { Effect } from "effect"
 *
 * const Order = EntityType.make("order", { codec: EventCodec.string })
 * const mails: Array<string> = []
 * const sent = new Set<string>()
 * const sendMail = ({ event, persistenceId }: Envelope.Envelope<string>) =>
 *   event === "cancelled" || sent.has(persistenceId) ? Effect.void : Effect.sync(() => {
 *     sent.add(persistenceId)
 *     mails.push(event)
 *   })
 *
 * const test = Effect.gen(function*() {
 *   const handler = yield* HandlerTest.atLeastOnce(Order, sendMail)
 *   yield* handler.given({ id: "o-1", events: ["cancelled"] })
 *   yield* handler.when({ id: "o-2", events: ["placed"] })
 *   yield* handler.again
 *   return mails
 * })
 * await Effect.runPromise(Effect.scoped(test)) // => ["placed"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const atLeastOnce = <A, F extends Effect.Effect<void, any, any>>(
  contract: EntityType<A> | EventStream<A>,
  handler: Handler<
    A,
    Outside<F, "An at-least-once handler has no Transaction: use HandlerTest.exactlyOnce, or write with Database">
  >
): Effect.Effect<HandlerTest<A, Effect.Error<F>>, Effect.Error<F>, Effect.Services<F> | Scope.Scope> =>
  make(contract, handler as Handler<any, any>, (call) => call)

/**
 * A handler as `Projection.exactlyOnce` runs it: in a transaction of the storage that is provided, for each event or group. Lives as long as the scope.
 *
 * **Example** (What a handler writes, and what it leaves when it fails)
 *
 * ```ts
 * import { type Envelope, EntityType } from "@sluice/core"
 * import { Database, Tables } from "@sluice/sql"
 * import { SqliteStorage } from "@sluice/sqlite"
 * import { HandlerTest } from "@sluice/testing"
 * import { Effect, Schema } from "effect"
 * import { sql } from "kysely"
 *
 * class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String, quantity: Schema.Int }) {}
 * const Cart = EntityType.make("cart", { event: ItemAdded })
 * const tables = Tables.make<{ item: { sku: string; quantity: number } }>()
 * const addItem = ({ event: { quantity, sku } }: Envelope.Envelope<ItemAdded>) =>
 *   Effect.gen(function*() {
 *     yield* Tables.run(tables.insertInto("item").values({ sku, quantity }))
 *     if (quantity > 100) return yield* Effect.fail("too many")
 *   })
 *
 * const test = Effect.gen(function*() {
 *   const { run } = yield* Database.Database
 *   yield* run(sql`CREATE TABLE item (sku TEXT, quantity INTEGER)`)
 *   const handler = yield* HandlerTest.exactlyOnce(Cart, addItem)
 *   yield* handler.when({ id: "c-1", events: [new ItemAdded({ sku: "tea", quantity: 2 })] })
 *   const error = yield* Effect.flip(handler.when({ id: "c-1", events: [new ItemAdded({ sku: "tea", quantity: 200 })] }))
 *   return { error, rows: yield* run(tables.selectFrom("item").selectAll()) }
 * })
 * await Effect.runPromise(test.pipe(Effect.scoped, Effect.provide(SqliteStorage.layer({ filename: ":memory:" }))))
 * // => { error: "too many", rows: [{ sku: "tea", quantity: 2 }] }
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const exactlyOnce = <A, F extends Effect.Effect<void, any, any>>(
  contract: EntityType<A> | EventStream<A>,
  handler: Handler<A, F>
): Effect.Effect<
  HandlerTest<A, Effect.Error<F> | HandlerTooSlow | StorageError>,
  Effect.Error<F> | StorageError,
  Exclude<Effect.Services<F>, Transaction> | OffsetStore | ProjectionManagement | Scope.Scope
> =>
  Effect.gen(function*() {
    const store = yield* OffsetStore
    const management = yield* ProjectionManagement
    const id = (yield* WebCrypto).randomUUID()
    const key = { projection: `handler test ${id}`, source: "test" }
    // the storage may be gone by then
    yield* Effect.acquireRelease(management.register(key), () => Effect.ignoreCause(management.clear(key)))
    const { revision } = yield* store.load(key, SliceRange.make(0, 0))
    const basis = { revision: revision!, journal: id }
    // no offset is moved
    return yield* make(contract, handler, (call, commits) =>
      commits
        ? store.transact(key, basis, [], call)
        : Effect.catchIf(
          store.transact(key, basis, [], Effect.andThen(call, Effect.fail(undone))),
          (error) => error === undone,
          () => Effect.void
        ))
  }) as Effect.Effect<any, any, any>

/** What a transaction fails with to be undone. */
const undone = { _tag: "Undone" } as const
