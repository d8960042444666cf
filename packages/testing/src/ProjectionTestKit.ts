/**
 * Runs a projection of your own in a test, on events that the test publishes, until an assertion holds.
 *
 * @since 0.1.0
 */
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as Projection from "@sluice/core/Projection"
import { ProjectionRegistry, type RegisteredWorker } from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Formatter from "effect/Formatter"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Faults from "./Faults.ts"
import { eventually } from "./internal/eventually.ts"
import { Injector, type Process } from "./internal/faults/Injector.ts"
import { OnUnmet } from "./internal/faults/OnUnmet.ts"
import type { TestSource } from "./TestSource.ts"

/**
 * A projection that runs in a test.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProjectionTestKit {
  /**
   * Runs the assertion again and again until it succeeds, and returns what it does. If it does not succeed within `timeout` (4 seconds, as a test of vitest
   * has 5), or all workers have stopped, it fails as the assertion did last, be it with an error or a defect, and the cause says what workers have failed with.
   *
   * **Details**
   *
   * Under a `TestClock` the time-out is real time. The time of the clock stands still for a tenth of a second; if the assertion does not hold by then, the
   * clock is moved on, ten times as fast as real time, so that retries, groups and offsets that wait for time come. Under any other clock, that
   * of a simulation included, the time is that of the clock.
   */
  readonly until: <A, E, R>(
    assertion: Effect.Effect<A, E, R>,
    options?: { readonly timeout?: Duration.Input | undefined }
  ) => Effect.Effect<A, E, R>
  /**
   * Waits, as `until` does, for all that its sources have to be handled, and its offsets to say so. To be called after the events are published. Fails with the last error of `ProjectionStatus.lag`, or
   * dies saying how many events are not handled, and what workers have failed with.
   */
  readonly caughtUp: (
    options?: { readonly timeout?: Duration.Input | undefined }
  ) => Effect.Effect<void, ProjectionStatus.LagError>
  /**
   * Kills the process of the projection and starts another one, on the same storage. What the handler has in hand is interrupted, and nothing more is
   * stored. Ends when the other one has begun; where the handler does something uninterruptibly, it waits for that first, moves a `TestClock` on as `until`
   * does, and dies after a minute.
   */
  readonly crash: Effect.Effect<void>
}

/**
 * The projection, with a test source in the place of its source, and all else as it is: stages, handler, delivery. One that has several sources is given
 * as many test sources, in the order in which they were merged.
 *
 * **When to use**
 *
 * For a projection that is a value with a source in it. Where the pipeline is a function of its source, give it the test source: what does
 * not fit then does not compile.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` if there are more or fewer test sources than sources, or if one of them is not of the codec of the source: make it with the
 * entity type or event stream that the source has. Sources of states, and those that begin at snapshots, have codecs of their own, and cannot be replaced.
 *
 * @category combinators
 * @since 0.1.0
 */
export const withSource =
  (...sources: ReadonlyArray<TestSource<any>>) =>
  <E, R>(self: Projection.Projection<E, R>): Projection.Projection<E, R> => {
    if (sources.length !== self.sources.length) {
      throw new RangeError(
        `Projection '${self.name}' has ${self.sources.length} sources, and ${sources.length} test sources to replace them`
      )
    }
    const replaced = self.sources.map(({ provider, stages }, i) => {
      const source = sources[i]!
      if (source.provider.codec !== provider.codec) {
        throw new RangeError(
          `The ${source.provider.description} is not of the codec of ${provider.description}, the source of projection '${self.name}': make it with the ` +
            "same entity type or event stream"
        )
      }
      return Object.assign(Source.make(source.provider), { stages })
    })
    const made: typeof self = Object.create(Object.getPrototypeOf(self))
    return Object.assign(made, self, { sources: replaced })
  }

/**
 * Runs a projection for as long as the scope, on the storage that is provided: `MemoryStorage.layer`, or that of any adapter.
 *
 * **Gotchas**
 *
 * Each of the `faults` has to happen: otherwise the end of the scope dies with `UnmetFaults`, which names those that have not.
 *
 * A projection that is a value keeps through a crash what its handler has in memory, unless that is made by `Handler.scoped`. A function that makes the
 * projection is called again after each crash, as a process would.
 *
 * **Example** (A projection of a remote stream, in one process)
 *
 * ```ts
 * import { EventStream, MemoryStorage, Projection } from "@sluice/core"
 * import { EventConsumer } from "@sluice/grpc"
 * import { ProjectionTestKit, TestSource } from "@sluice/testing"
 * import * as Assert from "node:assert"
 * import { Effect, Schema } from "effect"
 * import { TestClock } from "effect/testing"
 *
 * class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String }) {}
 * const CartEvents = EventStream.make("carts", { event: ItemAdded })
 * const seen: Array<string> = []
 * const Popularity = EventConsumer.source(CartEvents, { address: "carts.internal:8101", tls: {} }).pipe(
 *   Projection.exactlyOnce("popularity", ({ event }) => Effect.sync(() => void seen.push(event.sku)))
 * )
 *
 * const test = Effect.gen(function*() {
 *   const carts = yield* TestSource.make(CartEvents)
 *   const popularity = yield* ProjectionTestKit.start(Popularity.pipe(ProjectionTestKit.withSource(carts)))
 *   yield* carts.publish({ id: "c-1", events: [new ItemAdded({ sku: "tea" })] })
 *   yield* popularity.until(Effect.sync(() => Assert.deepStrictEqual(seen, ["tea"])))
 *   return seen
 * })
 * await Effect.runPromise(test.pipe(Effect.scoped, Effect.provide([MemoryStorage.layer, TestClock.layer()]))) // => ["tea"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const start = <E, R>(
  projection: Projection.Projection<E, R> | (() => Projection.Projection<E, R>),
  options?: { readonly faults?: Faults.Faults | undefined }
): Effect.Effect<ProjectionTestKit, never, R | OffsetStore | Scope.Scope> =>
  Effect.gen(function*() {
    const context = yield* Effect.context<R | OffsetStore>()
    const scope = yield* Effect.scope
    const injected = options?.faults ?? Faults.none
    const injector = new Injector(injected)
    const make = typeof projection === "function" ? projection : () => projection
    let running: Projection.Projection<E, R>
    const crashes = yield* Queue.unbounded<Deferred.Deferred<void>>()
    let broken: Cause.Cause<never> | undefined
    let current: { readonly scope: Scope.Closeable; readonly kill: () => void }

    const begin = Effect.gen(function*() {
      let isDead = false
      const process: Process = {
        isDead: () => isDead,
        die: Effect.suspend(() => {
          if (!isDead) Queue.offerUnsafe(crashes, Deferred.makeUnsafe<void>())
          isDead = true
          return Effect.interruptible(Effect.never)
        })
      }
      const own = yield* Scope.fork(scope)
      current = { scope: own, kill: () => void (isDead = true) }
      const store = injector.store(Context.get(context, OffsetStore), process)
      running = make()
      yield* Layer.build(Projection.layer(injector.projection(running, process))).pipe(
        Scope.provide(own),
        Effect.provideContext(Context.add(context, OffsetStore, store))
      )
    })
    const restart = Effect.gen(function*() {
      const crashed = yield* Queue.take(crashes)
      current.kill()
      const begun = yield* Effect.exit(Effect.andThen(Scope.close(current.scope, Exit.void), begin))
      if (Exit.isFailure(begun)) broken = begun.cause
      yield* Deferred.done(crashed, begun)
    })
    yield* begin
    yield* Effect.forkScoped(Effect.forever(restart))
    const onUnmet = yield* OnUnmet
    // a test that fails has its reason
    yield* Effect.addFinalizer((exit) => {
      const { given, unmet } = injector
      injector.disarm()
      return Exit.isFailure(exit) || unmet.length === 0
        ? Effect.void
        : onUnmet(new Faults.UnmetFaults({ projection: running.name, faults: unmet, given }))
    })

    const unending = Effect.suspend(() =>
      Effect.die(
        new Error(
          `The process of projection '${running.name}' has not ended a minute after it was killed: see what its handler does uninterruptibly`
        )
      )
    )
    const over = Effect.map(ProjectionRegistry, (registry) => {
      const workers = registry.workers(running.name)
      const [worker] = workers
      if (broken !== undefined) return broken
      if (worker === undefined || workers.some(({ status }) => status.state !== "Stopped")) return undefined
      const { failure, range } = worker.status
      return Cause.die(
        new ProjectionStatus.WorkerStopped({
          projection: running.name,
          range,
          event: failure?.event,
          cause: failure === undefined ? undefined : Cause.squash(failure.cause)
        })
      )
    })
    const troubles = Effect.map(
      ProjectionRegistry,
      (registry) => registry.workers(running.name).flatMap((worker) => troubleOf(worker) ?? [])
    )
    const wait = <A, E, R>(
      assertion: Effect.Effect<A, E, R>,
      options: { readonly timeout?: Duration.Input | undefined } | undefined,
      late: Effect.Effect<Cause.Cause<never>>
    ) => eventually(assertion, { timeout: options?.timeout ?? "4 seconds", over, late })
    const behind = (lag: number) =>
      Effect.flatMap(troubles, (errors) => {
        const why = errors.map(({ message }) => message).join("; ") || "no worker of it has failed"
        const asked = injected.faults.length === 0
          ? ""
          : `. The test has asked for faults: ${Faults.describe(injected)}`
        const events = lag === 1 ? "1 event" : `${lag} events`
        return Effect.die(
          new Error(`Projection '${running.name}' has yet to handle ${events}: ${why}${asked}`, {
            cause: errors[0]?.cause
          })
        )
      })
    return {
      until: (assertion, options) =>
        wait(assertion, options, Effect.map(troubles, (errors) => Cause.fromReasons(errors.map(Cause.makeDieReason)))),
      caughtUp: (options) =>
        wait(
          Effect.flatMap(
            ProjectionStatus.lag(running.name),
            (lag) => lag === 0 ? Effect.void : behind(lag)
          ),
          options,
          Effect.succeed(Cause.empty)
        ),
      crash: Effect.gen(function*() {
        const crashed = yield* Deferred.make<void>()
        current.kill()
        yield* Queue.offer(crashes, crashed)
        const begun = Effect.flatMap(Deferred.isDone(crashed), (isDone) => isDone ? Effect.void : unending)
        yield* eventually(begun, { timeout: "1 minute", over: noReason, late: Effect.succeed(Cause.empty) })
        yield* Deferred.await(crashed)
      })
    }
  })

const noReason = Effect.succeed(undefined)

/** How a worker is that has failed, or does nothing, and why. */
const troubleOf = ({ range, reading: { lastFailure }, status: { state } }: RegisteredWorker): Error | undefined => {
  const isAtWork = state === "Starting" || state === "CatchingUp" || state === "Running"
  if (lastFailure === undefined && isAtWork) return undefined
  const worker = `the worker of the slices ${SliceRange.format(range)} is ${state}`
  if (lastFailure === undefined) return new Error(worker)
  const { cause, event } = lastFailure.failure
  const at = event === undefined ? "" : ` at event ${event.sequenceNumber} of '${event.persistenceId}'`
  const why = Cause.squash(cause)
  const text = Predicate.hasProperty(why, "message") ? String(why.message) : Formatter.format(why)
  return new Error(`${worker}, and has failed last${at}: ${text}`, { cause: why })
}
