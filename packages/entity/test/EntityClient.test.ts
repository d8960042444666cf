import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Decision from "@sluice/entity/Decision"
import * as EntityError from "@sluice/entity/EntityError"
import * as EntityMetrics from "@sluice/entity/EntityMetrics"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"

class Added extends Schema.TaggedClass<Added>()("Added", { amount: Schema.Int }) {}
class TooMuch extends Schema.TaggedError<TooMuch>()("TooMuch", {}) {}

const CounterType = EntityType.make("counter", { event: Added })
const definition = {
  state: Schema.Int,
  initial: 0,
  commands: [
    Rpc.make("Add", { payload: { amount: Schema.Int }, success: Schema.Int, error: TooMuch }),
    Rpc.make("Break")
  ],
  decide: {
    Add: ({ payload }: { readonly payload: { readonly amount: number } }) =>
      payload.amount > 9 ? Decision.fail(new TooMuch()) : Decision.persist([new Added(payload)], (sum: number) => sum),
    Break: () => Effect.die("broken")
  },
  evolve: (sum: number, { amount }: Added) => sum + amount
}
const Counter = EventSourced.make(CounterType, definition)

const running = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  effect.pipe(
    Effect.provide(EventSourced.layerPlain(Counter).pipe(Layer.provideMerge(Layer.fresh(MemoryStorage.layer)))),
    Effect.provideService(Metric.MetricRegistry, new Map())
  )

/** How many commands have ended so. */
const count = (command: string, outcome: string) =>
  Effect.map(
    Metric.value(
      Metric.withAttributes(EntityMetrics.entityCommands, { entity_type: "counter", command, outcome })
    ),
    ({ count }) => count
  )

describe("a client", () => {
  it.effect("counts commands by their outcomes, and measures them", () =>
    running(Effect.gen(function*() {
      const { Add, Break } = (yield* EventSourced.client(Counter))("c-1")
      yield* Add({ amount: 1 })
      yield* Add({ amount: 2 })
      yield* Effect.flip(Add({ amount: 10 }))
      yield* Effect.flip(Add({ amount: 0.5 }))
      yield* Effect.flip(Break())
      assert.strictEqual(yield* count("Add", "replied"), 2)
      assert.strictEqual(yield* count("Add", "rejected"), 1)
      assert.strictEqual(yield* count("Add", "InvalidCommand"), 1)
      assert.strictEqual(yield* count("Break", "DecisionFailed"), 1)
      const seconds = yield* Metric.value(
        Metric.withAttributes(EntityMetrics.entityCommand, {
          entity_type: "counter",
          command: "Add",
          outcome: "replied"
        })
      )
      assert.strictEqual(seconds.count, 2)
    })))

  it.effect("has a span for each command, which its events name", () =>
    Effect.gen(function*() {
      const spans: Array<Tracer.NativeSpan> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      const named = (name: string) => spans.find((span) => span.name === name)!
      yield* running(Effect.gen(function*() {
        const counters = yield* EventSourced.client(Counter)
        yield* counters("c-1").Add({ amount: 1 }, { commandId: "one" }).pipe(
          Effect.withSpan("request"),
          Effect.provideService(Tracer.Tracer, tracer)
        )
        const command = named("sluice.command")
        assert.deepStrictEqual(Object.fromEntries(command.attributes), {
          entityType: "counter",
          id: "c-1",
          command: "Add",
          commandId: "one"
        })
        assert.strictEqual((command.parent as { readonly value?: Tracer.Span }).value, named("request"))
        const [event] = yield* Stream.runCollect(Journal.read(CounterType, "c-1"))
        assert.include(event!.metadata["traceparent"]!, command.traceId)
      }))
    }))

  it("is refused where the definition makes no sense", () => {
    const make = (change: object) => () => EventSourced.make(CounterType, { ...definition, ...change } as never)
    const Add = definition.commands[0]!
    assert.throws(make({ commands: [Add, Add] }), "Two commands of 'counter' are named 'Add'")
    assert.throws(make({ decide: {} }), "'decide' of 'counter' has no function for the command 'Add'")
    assert.throws(make({ commands: [Add] }), "'decide' of 'counter' has a function for 'Break', which is no command")
    const streaming = Rpc.make("Add", { success: Schema.Int, stream: true })
    assert.throws(make({ commands: [streaming, definition.commands[1]] }), "replies with a stream")
    assert.throws(make({ maxEvents: 0.5 }), "`maxEvents` is 0.5: an integer from 0")
  })
})

describe("errors of entities", () => {
  const of = { entityType: "cart", id: "c-1" }
  const errors: ReadonlyArray<readonly [EntityError.EntityError, string]> = [
    [new EntityError.RecoveryFailed({ ...of, problem: "event 3 was deleted" }), "cannot be recovered: event 3"],
    // as it is made where there is none
    [
      new EntityError.RecoveryFailed({ ...of, problem: "it is odd", cause: undefined }),
      "cannot be recovered: it is odd"
    ],
    [new EntityError.JournalUnavailable({ ...of, isUnknown: true, cause: new Error("gone") }), "same command id: gone"],
    [new EntityError.JournalUnavailable({ ...of, isUnknown: false, cause: new Error("gone") }), "was not executed"],
    [new EntityError.EntityConflict({ ...of, attempts: 3 }), "in each of 3 attempts"],
    [new EntityError.Overloaded({ ...of, full: "mailbox", limit: 7 }), "7 commands wait"],
    [new EntityError.Overloaded({ ...of, full: "activations", limit: 7 }), "7 entities are active"],
    [new EntityError.Overloaded({ ...of, full: "memory", limit: 7 }), "the 7 bytes"],
    [new EntityError.Overloaded({ ...of, full: "time", limit: 7 }), "has not come to it within 7 ms"],
    [new EntityError.Overloaded({ ...of, full: "process", limit: 7 }), "it takes 7 at a time"],
    [new EntityError.InvalidCommand({ ...of, command: "Add", problem: "no" }), `Invalid command "Add"`],
    [new EntityError.DecisionFailed({ ...of, command: "Add", problem: "it hangs" }), "could not decide"],
    [new EntityError.InvalidDecision({ ...of, command: "Add", problem: "too large" }), "is not valid"],
    [new EntityError.EntityUnreachable({ ...of, isUnknown: false, problem: "the process ends" }), "not begun"]
  ]

  it.each(errors)("say what has happened, and travel: %s", (error, text) => {
    assert.include(error.message, text)
    const json = Schema.toCodecJson(EntityError.EntityError)
    const there = Schema.decodeUnknownSync(json)(JSON.parse(JSON.stringify(Schema.encodeSync(json)(error))))
    assert.strictEqual(there._tag, error._tag)
    assert.strictEqual(there.message, error.message)
    assert.strictEqual(there.isUnknown, error.isUnknown)
    assert.strictEqual(there.isRetryable, error.isRetryable)
  })
})
