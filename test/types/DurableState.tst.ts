import type { DurableStateStore } from "@sluice/core/DurableStateStore"
import * as EntityType from "@sluice/core/EntityType"
import type { Journal } from "@sluice/core/Journal"
import * as StateType from "@sluice/core/StateType"
import * as Decision from "@sluice/entity/Decision"
import * as DurableState from "@sluice/entity/DurableState"
import type { EntityClient, Runs } from "@sluice/entity/EntityClient"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as EntityTest from "@sluice/testing/EntityTest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import { describe, expect, test } from "tstyche"

class Renamed extends Schema.TaggedClass<Renamed>()("Renamed", { name: Schema.String }) {}
class Other extends Schema.TaggedClass<Other>()("Other", {}) {}
class Names extends Context.Service<Names, { readonly isTaken: (name: string) => boolean }>()("test/Names") {}

const ProfileType = StateType.make("profile", { state: Schema.Struct({ name: Schema.String }) })
const Rename = Rpc.make("Rename", {
  payload: { name: Schema.String },
  success: Schema.Int,
  error: Schema.Literal("taken")
})
const Close = Rpc.make("Close")
const Events = EntityType.make("profile", { event: Renamed })

const Profile = DurableState.make(ProfileType, {
  initial: { name: "" },
  commands: [Rename, Close],
  decide: {
    Rename: Effect.fnUntraced(function*({ payload: { name } }) {
      return (yield* Names).isTaken(name) ? Decision.fail("taken" as const) : Decision.update({ name }, 1)
    }),
    Close: ({ revision, state }) => {
      expect(state).type.toBe<{ readonly name: string }>()
      expect(revision).type.toBe<number>()
      return Decision.remove()
    }
  },
  changeEvent: [Events, ({ before, command }) => {
    expect(before).type.toBe<{ readonly name: string }>()
    return command.tag === "Rename" ? new Renamed(command.payload) : undefined
  }]
})
type Commands = typeof Rename | typeof Close

test("a durable state has the types of all that it is made of", () => {
  expect(Profile).type.toBe<
    DurableState.DurableState<"profile", Commands, { readonly name: string }, Renamed, Names>
  >()
  expect(DurableState.client(Profile)).type.toBe<Effect.Effect<EntityClient<Commands>, never, Runs<"profile">>>()
  expect(DurableState.layerPlain(Profile)).type.toBe<
    Layer.Layer<Runs<"profile">, never, Names | Journal | DurableStateStore>
  >()
})

describe("a durable state", () => {
  const one = { initial: { name: "" }, commands: [Close] } as const

  test("has a state of its type", () => {
    // @ts-expect-error is not assignable to type
    DurableState.make(ProfileType, { ...one, decide: { Close: () => Decision.update({ nickname: "" }) } })
  })

  test("has no events", () => {
    // @ts-expect-error is not assignable to type
    DurableState.make(ProfileType, { ...one, decide: { Close: () => Decision.persist([new Other()]) } })
  })

  test("gives the reply that the command declares", () => {
    // @ts-expect-error is not assignable to type
    DurableState.make(ProfileType, { ...one, commands: [Rename], decide: { Rename: () => Decision.remove("gone") } })
  })

  test("has change events of the same entity, and of their type", () => {
    const decide = { Close: () => Decision.none }
    const others = EntityType.make("other", { event: Other })
    // @ts-expect-error is not assignable to type
    DurableState.make(ProfileType, { ...one, decide, changeEvent: [others, () => new Other()] })
    // @ts-expect-error is missing in type 'Other' but required in type 'Renamed'
    DurableState.make(ProfileType, { ...one, decide, changeEvent: [Events, () => new Other()] })
  })
})

test("an event sourced entity does not replace its state", () => {
  EventSourced.make(EntityType.make("cart", { event: Other }), {
    state: Schema.Int,
    initial: 0,
    commands: [Close],
    // @ts-expect-error is not assignable to type
    decide: { Close: () => Decision.update(1) },
    evolve: (n) => n
  })
})

describe("EntityTest", () => {
  const given = EntityTest.given(Profile, { name: "Ada" })

  test("takes the commands of the entity, with their payloads", () => {
    expect(given.when).type.toBeCallableWith("Rename", { name: "Ada" })
    expect(given.when).type.toBeCallableWith("Close")
    expect(given.when).type.toBeCallableWith("Close", undefined, { commandId: "one" })
    expect(given.when).type.not.toBeCallableWith("Rename")
    expect(given.when).type.not.toBeCallableWith("Rename", { name: 1 })
    expect(given.when).type.not.toBeCallableWith("Open")
  })

  test("expects what the last command may lead to, and needs what it needs", () => {
    const when = given.when("Close").when("Rename", { name: "Ada" })
    expect(when.expect({ reply: 1, state: { name: "Ada" }, events: [new Renamed({ name: "Ada" })] })).type.toBe<
      Effect.Effect<void, EntityTest.NotAsExpected, Names>
    >()
    expect(when.expect).type.toBeCallableWith({ error: "taken" as const })
    expect(when.expect).type.toBeCallableWith({ failure: "DecisionFailed" as const })
    expect(when.expect).type.not.toBeCallableWith({ error: "other" as const })
    expect(when.expect).type.not.toBeCallableWith({ reply: "one" })
    expect(when.expect).type.not.toBeCallableWith({ events: [new Other()] })
    expect(when.expect).type.not.toBeCallableWith({ state: {} })
  })

  test("is given what the entity has", () => {
    // @ts-expect-error No overload matches this call
    EntityTest.given(Profile, [new Renamed({ name: "Ada" })])
    // @ts-expect-error No overload matches this call
    EntityTest.given(Profile, { nickname: "" })
  })

  test("has a model of the commands that there are", () => {
    void EntityTest.sequences(Profile, {
      model: {
        initial: 0,
        commands: {
          Rename: (n, { name }) => {
            expect(n).type.toBe<number>()
            expect(name).type.toBe<string>()
            return { model: n + 1, reply: n }
          }
        }
      }
    })
    // @ts-expect-error 'Open' does not exist in type
    void EntityTest.sequences(Profile, { model: { initial: 0, commands: { Open: () => ({}) } } })
    // @ts-expect-error Type 'string' is not assignable to type 'number'
    void EntityTest.sequences(Profile, { model: { initial: 0, commands: { Rename: () => ({ reply: "one" }) } } })
  })
})
