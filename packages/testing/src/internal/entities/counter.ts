import type { DurableStateStore } from "@sluice/core/DurableStateStore"
import * as EntityType from "@sluice/core/EntityType"
import * as Journal from "@sluice/core/Journal"
import * as StateType from "@sluice/core/StateType"
import * as Decision from "@sluice/entity/Decision"
import * as DurableState from "@sluice/entity/DurableState"
import * as EntityClient from "@sluice/entity/EntityClient"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { DurableStateWay } from "../../EntityWay.ts"
import { freshNameOf } from "../ids.ts"

/** @internal */
export const State = Schema.Struct({ count: Schema.Int, note: Schema.String })
/** @internal */
export type State = typeof State.Type

/** @internal What a counter became, and by which command; none where it was removed. */
export class Became extends Schema.TaggedClass<Became>()("Became", {
  before: Schema.Int,
  after: Schema.optional(Schema.Int),
  by: Schema.String
}) {}

/** @internal */
export class TooLow extends Schema.TaggedError<TooLow>()("TooLow", { count: Schema.Int }) {}

/** @internal What a counter may be told to do wrong. */
export const Fault = Schema.Literals([
  "throws",
  "dies",
  "hangs",
  "hangs and cannot be interrupted",
  "gives no decision",
  "has an event",
  "changes twice",
  "has a state of another type",
  "has a state that is too large",
  "has tags that throw",
  "has tags that cannot be stored",
  "has a reply of another type",
  "changes nothing, and has a reply of another type",
  "is rejected with what is not declared",
  "has a change event that throws",
  "has a change event of another type",
  "has a change event that is too large"
])

/** @internal Runs after persisting. */
export class AfterPersisting extends Context.Reference<
  (state: State, receipt: unknown) => Effect.Effect<void, unknown>
>("@sluice/testing/AfterChange", { defaultValue: () => () => Effect.void }) {}

/** @internal */
export const Commands = [
  Rpc.make("Add", { payload: { amount: Schema.Int }, success: Schema.Int, error: TooLow }),
  Rpc.make("AddSlowly", { payload: { amount: Schema.Int }, success: Schema.Int }),
  Rpc.make("Count", { success: Schema.Int }),
  Rpc.make("Touch"),
  Rpc.make("Remove", { success: Schema.Int }),
  Rpc.make("Misbehave", { payload: Fault, success: Schema.Int })
] as const

const large = "x".repeat(5_000_000)

const misbehave = (fault: typeof Fault.Type, state: State): unknown => {
  switch (fault) {
    case "throws":
      throw new Error("thrown")
    case "dies":
      return Effect.die("dead")
    case "hangs":
      return Effect.never
    case "hangs and cannot be interrupted":
      return Effect.uninterruptible(Effect.never)
    case "gives no decision":
      return 17
    case "has an event":
      return Decision.persist([new Became({ before: 1, by: "" })], 1)
    case "changes twice":
      return Decision.persist([{ _tag: "Updated", state }, { _tag: "Removed" }], 1)
    case "has a reply of another type":
      return Decision.update({ ...state, note: fault }, "many")
    case "changes nothing, and has a reply of another type":
      return Decision.reply("many")
    case "is rejected with what is not declared":
      return Decision.fail("no")
    case "has a state of another type":
      return Decision.update({ count: 0.5, note: "" }, 1)
    case "has a state that is too large":
      return Decision.update({ ...state, note: large }, 1)
    default:
      return Decision.update({ ...state, note: fault }, 1)
  }
}

/** @internal What a test wants otherwise. */
export interface CounterOptions {
  readonly name?: string
  readonly decideWithin?: Duration.Input
  readonly remembered?: number
  readonly state?: Schema.Codec<State, any>
  readonly initial?: State | ((id: string) => State)
}

/** @internal A durable state of its own for a test. */
export const makeCounter = (options: CounterOptions = {}) => {
  const { initial = { count: 0, note: "" }, name = freshNameOf("counter"), state = State, ...rest } = options
  return DurableState.make(StateType.make(name, { state }), {
    initial,
    commands: Commands,
    decide: {
      Add: ({ payload: { amount }, state }) => {
        const count = state.count + amount
        return count < 0
          ? Decision.fail(new TooLow({ count: state.count }))
          : Decision.update({ ...state, count }, count)
      },
      AddSlowly: ({ payload: { amount }, state }) =>
        Effect.as(Effect.yieldNow, Decision.update({ ...state, count: state.count + amount }, state.count + amount)),
      Count: ({ state }) => Decision.reply(state.count),
      Touch: ({ state }) => Effect.map(AfterPersisting, (after) => Decision.andThen(Decision.update(state), after)),
      Remove: ({ state }) => Decision.remove(state.count),
      Misbehave: ({ payload, state }) =>
        misbehave(payload, state) as Decision.Persist<Decision.Change<State>, State, number>
    },
    tags: ({ count, note }) => {
      if (note === "has tags that throw") throw new Error("thrown")
      return note === "has tags that cannot be stored" ? ["a\0b"] : count >= 10 ? ["large"] : []
    },
    changeEvent: [
      EntityType.make(name, { event: Became }),
      ({ after, before, command: { tag } }) => {
        const note = Option.getOrUndefined(after)?.note
        if (note === "has a change event that throws") throw new Error("thrown")
        // as a program may that ignores types
        if (note === "has a change event of another type") return { _tag: "Stolen" } as unknown as Became
        if (note === "has a change event that is too large") return new Became({ before: 0, by: large })
        if (tag === "Touch") return undefined
        return new Became({ before: before.count, after: Option.getOrUndefined(after)?.count, by: tag })
      }
    ],
    ...rest
  })
}

/** @internal */
export type Counter = ReturnType<typeof makeCounter>

/** @internal A client of counters that run in the given way until the scope ends. */
export const runningIn = (
  way: DurableStateWay
) =>
(counter: Counter): Effect.Effect<
  EntityClient.EntityClient<(typeof Commands)[number]>,
  never,
  Journal.Journal | DurableStateStore | Scope.Scope
> =>
  Effect.flatMap(
    Layer.build(Layer.fresh(way(counter))),
    (context) => Effect.provideContext(DurableState.client(counter), context)
  )

/** @internal The runner behind a client, which takes anything. */
export const runnerIn = (way: DurableStateWay) => (counter: Counter) =>
  Effect.map(Layer.build(Layer.fresh(way(counter))), (context) => Context.get(context, EntityClient.Runs(counter.name)))

/** @internal The change events of a counter. */
export const eventsIn = ({ changeEvents }: Counter, id: string) =>
  Effect.map(
    Stream.runCollect(Journal.read(changeEvents!, id)),
    (envelopes) => envelopes.map(({ event: { after, before, by } }) => [before, after, by])
  )
