/** The producer's side of a test. */
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventStream from "@sluice/core/EventStream"
import * as Journal from "@sluice/core/Journal"
import * as Slice from "@sluice/core/Slice"
import * as Source from "@sluice/core/Source"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import * as Wait from "@sluice/testing/Wait"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import type * as LogLevel from "effect/LogLevel"
import * as References from "effect/References"
import * as Scope from "effect/Scope"

export const Cart = EntityType.make("Cart", { codec: EventCodec.string })
export const CartEvents = EventStream.make("cart", { codec: EventCodec.string })

/** The journal of carts as it is. */
export const carts = EventProducer.layer(CartEvents, Source.journal(Cart))

export const sliceOf = (id: string): number => Slice.ofPersistenceId(EntityType.persistenceId(Cart, id))

export const append = (id: string, events: NonEmptyReadonlyArray<string>) => Journal.append(Cart, { id, events })

/** Appends as entities do, whose events have metadata that no program may give. */
export const appendAsEntity = (
  id: string,
  events: NonEmptyReadonlyArray<readonly [event: string, metadata: Readonly<Record<string, string>>]>,
  tags: ReadonlyArray<string> = []
) =>
  Effect.flatMap(Journal.Journal, (journal) =>
    journal.append({
      entityType: Cart.name,
      persistenceId: EntityType.persistenceId(Cart, id),
      expected: "any",
      events: Arr.map(events, ([event, metadata]) => ({
        id: crypto.randomUUID(),
        payload: Cart.codec.encodeUnsafe(event),
        tags,
        metadata
      })),
      recheck: false
    }))

/** Does so at a time of its own, as the memory's journal has the time of whoever appends. */
export const at = (millis: number) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Clock.clockWith((clock) =>
    Effect.provideService(
      effect,
      Clock.Clock,
      Object.assign(Object.create(clock), {
        currentTimeMillis: Effect.succeed(millis),
        currentTimeMillisUnsafe: () => millis
      })
    )
  )

/** Offers streams on a free port, which it returns, for as long as the scope. */
export const serve = <E, R>(streams: Layer.Layer<never, E, R>, options?: Partial<GrpcServer.Options>) =>
  Effect.map(
    Layer.build(Layer.provideMerge(streams, GrpcServer.layer({ port: 0, ...options }))),
    (context) => Context.get(context, GrpcServer.GrpcServer).port
  )

/** A server that can be stopped, and started again on the port that it had. */
export const restartable = <E, R>(streams: Layer.Layer<never, E, R>) =>
  Effect.gen(function*() {
    const outer = yield* Effect.scope
    let current = yield* Scope.fork(outer)
    const port = yield* Scope.provide(serve(streams), current)
    return {
      port,
      stop: Effect.suspend(() => Scope.close(current, Exit.void)),
      start: Effect.gen(function*() {
        current = yield* Scope.fork(outer)
        yield* Scope.provide(serve(streams, { port }), current)
      })
    }
  })

/** Ends a server whose deadlines never pass: it must not wait for one. */
export const closeAtOnce = (scope: Scope.Closeable): Effect.Effect<void> =>
  Clock.clockWith((clock) =>
    Wait.end(
      "the server to end",
      Effect.provideService(
        Scope.close(scope, Exit.void),
        Clock.Clock,
        Object.assign(Object.create(clock), { sleep: () => Effect.never })
      )
    )
  )

/** Says nothing on the console. */
export const quiet = Logger.layer([])

/** Keeps what is logged: warnings and worse, unless told otherwise. */
export const logging = (
  level: LogLevel.LogLevel = "Warn"
): { readonly lines: ReadonlyArray<string>; readonly layer: Layer.Layer<never> } => {
  const lines: Array<string> = []
  return {
    lines,
    layer: Layer.merge(
      Logger.layer([Logger.map(Logger.formatLogFmt, (line) => void lines.push(line))]),
      Layer.succeed(References.MinimumLogLevel, level)
    )
  }
}
