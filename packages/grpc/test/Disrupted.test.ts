import { assert, describe, it } from "@effect/vitest"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import { StorageError } from "@sluice/core/StorageError"
import { ProducerDisrupted } from "@sluice/grpc/GrpcError"
import * as Wait from "@sluice/testing/Wait"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import { remote } from "./kit/Consumer.ts"
import * as Producer from "./kit/Producer.ts"
import { append, carts, logging, serve } from "./kit/Producer.ts"

/** The journal of a producer whose database can fall silent. What is sent to it meanwhile is answered later, or fails. */
const silenced = Effect.gen(function*() {
  const journal = yield* Journal.Journal
  const latch = Latch.makeUnsafe(true)
  let failure: StorageError | undefined
  const answered = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | StorageError, R> =>
    Effect.andThen(
      latch.await,
      Effect.suspend((): Effect.Effect<A, E | StorageError, R> => failure === undefined ? effect : Effect.fail(failure))
    )
  return {
    /** It answers nothing. */
    fallSilent: Effect.sync(() => latch.closeUnsafe()),
    /** It answers what has waited, and goes on. */
    answer: Effect.sync(() => latch.openUnsafe()),
    /** What has waited fails, as all that comes after it, until somebody says otherwise. */
    fail: (error: StorageError | undefined) =>
      Effect.sync(() => {
        failure = error
        latch.openUnsafe()
      }),
    layer: Layer.succeed(Journal.Journal, {
      ...journal,
      heads: (...args) => answered(journal.heads(...args)),
      reader: (...args) =>
        Effect.map(answered(journal.reader(...args)), (reader) => ({
          ...reader,
          next: (limit) => answered(reader.next(limit))
        }))
    })
  }
})

const worker = Effect.map(ProjectionStatus.status("p"), ([worker]) => worker!)

const until = (state: string, what: string) =>
  Wait.until(
    `the worker to be ${state} ${what}`,
    Effect.map(worker, (worker) =>
      worker.state === state &&
      (worker.failure === undefined ? "" : Cause.pretty(worker.failure.cause)).includes(what)),
    { atMost: "60 seconds" }
  )

const test = (name: string, body: Effect.Effect<void, unknown, any>) =>
  it.live(name, () => body.pipe(Effect.scoped, Effect.provide([MemoryStorage.layer, Producer.quiet])) as any)

const projecting = Effect.gen(function*() {
  const database = yield* silenced
  const port = yield* serve(Layer.provide(carts, database.layer))
  yield* append("a", ["1"])
  const handled: Array<string> = []
  const { layer, lines } = logging()
  const projection = remote(port).pipe(
    Projection.atLeastOnce("p", ({ event }) => Effect.sync(() => void handled.push(event)))
  )
  // its own storage is another
  yield* Layer.build(Projection.layer(projection)).pipe(Effect.provide([layer, MemoryStorage.layer]))
  yield* ProjectionStatus.caughtUp("p")
  return { database, handled, lines }
})

describe("a producer whose database falls silent", () => {
  test(
    "tells its consumers, whose workers say where the trouble is until it answers again; the stream stays open",
    Effect.gen(function*() {
      const { database, handled, lines } = yield* projecting
      for (let n = 2; n <= 3; n++) {
        yield* database.fallSilent
        yield* append("a", [`${n}`])
        yield* until("Disrupted", "the producer's database is busy or cannot be reached")
        const { failure } = yield* worker
        const error = Cause.squash(failure!.cause)
        assert.instanceOf(error, ProducerDisrupted)
        assert.match(
          error.message,
          /^The producer of 'cart' at '127.0.0.1:\d+' is connected, but .*not at the network; events come when it can read again$/
        )
        yield* database.answer
        yield* until("Running", "")
        yield* Wait.until("the event", () => handled.length === n)
      }
      assert.deepStrictEqual(handled, ["1", "2", "3"])
      assert.deepStrictEqual(lines, [])
    })
  )

  test(
    "and is lost then: workers stay disrupted, and read on once it is back",
    Effect.gen(function*() {
      const { database, handled } = yield* projecting
      yield* database.fallSilent
      yield* append("a", ["2"])
      yield* until("Disrupted", "is connected, but cannot read its events")
      yield* database.fail(new StorageError({ operation: "read", reason: "Unavailable", cause: new Error("gone") }))
      yield* until("Disrupted", "ended with UNAVAILABLE: the producer's database is busy or cannot be reached")
      yield* database.fail(undefined)
      yield* until("Running", "")
      yield* Wait.until("the event", () => handled.length === 2)
    })
  )
})
