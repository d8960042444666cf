import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as StateType from "@sluice/core/StateType"
import * as Decision from "@sluice/entity/Decision"
import * as DurableState from "@sluice/entity/DurableState"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as EntityTest from "@sluice/testing/EntityTest"
import * as Arbitrary from "effect/Arbitrary"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { pathToFileURL } from "node:url"

class Added extends Schema.TaggedClass<Added>()("Added", { sku: Schema.String, quantity: Schema.Int }) {}
class CheckedOut extends Schema.TaggedClass<CheckedOut>()("CheckedOut", {}) {}
class IsCheckedOut extends Schema.TaggedError<IsCheckedOut>()("IsCheckedOut", { items: Schema.Int }) {}

const State = Schema.Struct({ items: Schema.Record(Schema.String, Schema.Int), isCheckedOut: Schema.Boolean })
type State = typeof State.Type

const count = ({ items }: Pick<State, "items">): number => Object.values(items).reduce((a, b) => a + b, 0)

const quantity = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 }))
const sku = Schema.Literals(["tea", "milk"])
const commands = [
  Rpc.make("Add", { payload: { sku, quantity }, success: Schema.Int, error: IsCheckedOut }),
  Rpc.make("CheckOut", { error: IsCheckedOut }),
  Rpc.make("Items", { success: Schema.Record(Schema.String, Schema.Int) })
] as const

const definition = {
  state: State as Schema.Codec<State, any>,
  initial: { items: {}, isCheckedOut: false } as State,
  commands,
  decide: {
    Add: ({ payload, state }) =>
      state.isCheckedOut
        ? Decision.fail(new IsCheckedOut({ items: count(state) }))
        : Decision.persist([new Added(payload)], count),
    CheckOut: ({ state }) =>
      state.isCheckedOut
        ? Decision.fail(new IsCheckedOut({ items: count(state) }))
        : Decision.persist([new CheckedOut()]),
    Items: ({ state }) => Decision.reply(state.items)
  } as EventSourced.Decide<(typeof commands)[number], Added | CheckedOut, State>,
  evolve: (state: State, event: Added | CheckedOut): State =>
    event._tag === "CheckedOut"
      ? { ...state, isCheckedOut: true }
      : { ...state, items: { ...state.items, [event.sku]: (state.items[event.sku] ?? 0) + event.quantity } },
  tags: (state: State) => count(state) >= 10 ? ["large"] : []
}

const CartType = EntityType.make("cart", { event: Schema.Union([Added, CheckedOut]) })
const cart = (wrong: Partial<typeof definition> = {}) => EventSourced.make(CartType, { ...definition, ...wrong })
const Cart = cart()

const tea = (quantity: number) => new Added({ sku: "tea", quantity })

const messageOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.exit(effect), (exit) => Exit.isSuccess(exit) ? "success" : String(exit.cause))

class Became extends Schema.TaggedClass<Became>()("Became", { name: Schema.optional(Schema.String) }) {}
const ProfileState = Schema.Struct({ name: Schema.String, renamed: Schema.Int })
const profileCommands = [
  Rpc.make("Rename", { payload: { name: Schema.String }, success: Schema.Int, error: Schema.Literal("empty") }),
  Rpc.make("Close")
] as const
const profileDecide: DurableState.Decide<(typeof profileCommands)[number], typeof ProfileState.Type> = {
  Rename: ({ payload: { name }, state: { renamed } }) =>
    name === "" ? Decision.fail("empty") : Decision.update({ name, renamed: renamed + 1 }, renamed + 1),
  Close: () => Decision.remove()
}
const profile = (
  wrong: { readonly decide?: typeof profileDecide; readonly state?: Schema.Codec<typeof ProfileState.Type, any> } = {}
) =>
  DurableState.make(StateType.make("profile", { state: wrong.state ?? ProfileState }), {
    initial: { name: "", renamed: 0 },
    commands: profileCommands,
    decide: wrong.decide ?? profileDecide,
    tags: ({ name }) => name === "" ? [] : ["named"],
    changeEvent: [
      EntityType.make("profile", { event: Became }),
      ({ after }) => new Became({ name: Option.getOrUndefined(after)?.name })
    ]
  })
const Profile = profile()

describe("given, when, then", () => {
  it.effect("compares events, state, tags and the reply", () =>
    EntityTest.given(Cart, [tea(2)])
      .when("Add", { sku: "milk", quantity: 8 })
      .expect({
        events: [new Added({ sku: "milk", quantity: 8 })],
        state: { items: { tea: 2, milk: 8 }, isCheckedOut: false },
        tags: ["large"],
        reply: 10
      }))

  it.effect("begins with nothing, and goes on with further commands", () =>
    EntityTest.given(Cart)
      .when("Add", { sku: "tea", quantity: 1 })
      .when("Add", { sku: "tea", quantity: 2 })
      .when("Items")
      .expect({ events: [], reply: { tea: 3 } }))

  it.effect("compares the error, after which nothing is persisted", () =>
    EntityTest.given(Cart, [tea(2), new CheckedOut()])
      .when("Add", { sku: "milk", quantity: 8 })
      .expect({ error: new IsCheckedOut({ items: 2 }) }))

  it.effect("repeats a command with its id", () =>
    EntityTest.given(Cart)
      .when("Add", { sku: "tea", quantity: 1 }, { commandId: "one" })
      .when("Add", { sku: "tea", quantity: 1 }, { commandId: "one" })
      .expect({ events: [], reply: 1, state: { items: { tea: 1 }, isCheckedOut: false } }))

  it.effect("shows what differs, and nothing else", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(
        EntityTest.given(Cart, [tea(2)]).when("Add", { sku: "milk", quantity: 1 }).expect({
          events: [new Added({ sku: "milk", quantity: 2 })],
          state: { isCheckedOut: false, items: { milk: 1, tea: 2 } },
          reply: 3
        })
      )
      assert.strictEqual(
        error.message,
        `Given cart '1' with 1 event, when Add {quantity: 1, sku: "milk"}: what follows is not what was expected (- expected, + actual)
 {
   events: [
     {
       _tag: "Added"
-      quantity: 2
+      quantity: 1
       sku: "milk"
     }
   ]
   reply: 3
   state: {
     isCheckedOut: false
     items: {
       milk: 1
       tea: 2
     }
   }
 }
`
      )
    }))

  it.effect("shows an error that was not expected, and a reply in place of one", () =>
    Effect.gen(function*() {
      const given = EntityTest.given(Cart, [new CheckedOut()])
      const rejected = yield* Effect.flip(given.when("Add", { sku: "tea", quantity: 1 }).expect({ reply: 1 }))
      assert.include(rejected.message, `-  reply: 1\n`)
      assert.include(rejected.message, `+  error: {\n+    _tag: "IsCheckedOut"\n+    items: 0\n+  }`)
      // also where nothing else is compared
      yield* Effect.flip(given.when("CheckOut").expect({}))
      const accepted = yield* Effect.flip(
        EntityTest.given(Cart).when("CheckOut").expect({ error: new IsCheckedOut({ items: 0 }) })
      )
      assert.include(accepted.message, `+  events: [\n+    {\n+      _tag: "CheckedOut"\n`)
    }))

  it.effect("names what fails beside the errors of the command", () =>
    Effect.gen(function*() {
      const broken = EntityTest.given(cart({
        decide: {
          ...definition.decide,
          CheckOut: () => {
            throw new Error("oh")
          }
        }
      })).when("CheckOut")
      yield* broken.expect({ failure: "DecisionFailed" })
      const { message } = yield* Effect.flip(broken.expect({ events: [new CheckedOut()] }))
      assert.match(message, /\+ {2}failure: ".*`decide` throws: oh"/)
    }))

  it.effect("gives what has followed", () =>
    Effect.gen(function*() {
      const { reply, state } = yield* EntityTest.given(Cart, [tea(1)]).when("Items").outcome
      assert.deepStrictEqual([reply, state], [{ tea: 1 }, { items: { tea: 1 }, isCheckedOut: false }])
      const { error } = yield* EntityTest.given(Cart, [new CheckedOut()]).when("CheckOut").outcome
      assert.instanceOf(error, IsCheckedOut)
    }))

  it.effect("provides what decisions need, and refuses what comes before and fails", () =>
    Effect.gen(function*() {
      class Limit extends Context.Service<Limit, number>()("test/Limit") {}
      const limited = EventSourced.make(CartType, {
        ...definition,
        commands: [commands[0]],
        decide: {
          Add: ({ payload }) =>
            Effect.flatMap(Limit, (limit) =>
              payload.quantity > limit
                ? Effect.fail(new IsCheckedOut({ items: limit }))
                : Effect.succeed(Decision.persist([new Added(payload)], count)))
        }
      })
      yield* EntityTest.given(limited, [], { id: "c-1" }).when("Add", { sku: "tea", quantity: 3 }).expect({
        error: new IsCheckedOut({ items: 2 })
      }).pipe(Effect.provideService(Limit, 2))
      const message = yield* messageOf(
        EntityTest.given(Cart, [new CheckedOut()]).when("CheckOut").when("Items").expect({ reply: {} })
      )
      assert.include(message, "A command before 'Items' was not accepted")
    }))

  it.effect("passes every value through its codec", () =>
    Effect.gen(function*() {
      const forgets = Schema.Struct({ items: State.fields.items }).pipe(
        Schema.decodeTo(
          Schema.toType(State),
          SchemaTransformation.transform({
            decode: ({ items }) => ({ items, isCheckedOut: false }),
            encode: ({ items }) => ({ items })
          })
        )
      )
      const message = yield* messageOf(
        EntityTest.given(cart({ state: forgets })).when("CheckOut").expect({})
      )
      assert.include(message, "the state does not come back from its codec as it was")
      assert.include(message, "-  isCheckedOut: true\n+  isCheckedOut: false")
      const wrongReply = cart({
        decide: { ...definition.decide, Add: ({ payload }) => Decision.persist([new Added(payload)], 0.5) }
      })
      assert.include(
        yield* messageOf(EntityTest.given(wrongReply).when("Add", { sku: "tea", quantity: 1 }).expect({ reply: 0.5 })),
        "the reply does not fit its schema"
      )
    }))

  it.effect("is the same for durable states", () =>
    Effect.gen(function*() {
      yield* EntityTest.given(Profile).when("Rename", { name: "Ada" }).expect({
        state: { name: "Ada", renamed: 1 },
        events: [new Became({ name: "Ada" })],
        tags: ["named"],
        reply: 1
      })
      const ada = EntityTest.given(Profile, { name: "Ada", renamed: 3 })
      yield* ada.when("Rename", { name: "Ada Lovelace" }).expect({ reply: 4 })
      yield* ada.when("Rename", { name: "" }).expect({ error: "empty", state: { name: "Ada", renamed: 3 } })
      yield* ada.when("Close").expect({ state: { name: "", renamed: 0 }, events: [new Became({})], tags: [] })
      const { message } = yield* Effect.flip(ada.when("Rename", { name: "A" }).expect({ reply: 3 }))
      assert.include(message, `Given profile '1' with the state {name: "Ada", renamed: 3}, when Rename {name: "A"}`)
    }))
})

interface CartModel {
  readonly tea: number
  readonly milk: number
  readonly isOut: boolean
}

const total = ({ milk, tea }: CartModel) => milk + tea
const model: EntityTest.Model<(typeof commands)[number], State, CartModel> = {
  initial: { tea: 0, milk: 0, isOut: false },
  commands: {
    Add: (model, { quantity, sku }) => {
      if (model.isOut) return { error: new IsCheckedOut({ items: total(model) }) }
      const next = { ...model, [sku]: model[sku] + quantity }
      return { model: next, reply: total(next) }
    },
    CheckOut: (model) =>
      model.isOut ? { error: new IsCheckedOut({ items: total(model) }) } : { model: { ...model, isOut: true } },
    Items: ({ milk, tea }) => ({ reply: { ...(tea > 0 ? { tea } : {}), ...(milk > 0 ? { milk } : {}) } })
  },
  state: ({ isOut, milk, tea }) => ({
    isCheckedOut: isOut,
    items: { ...(tea > 0 ? { tea } : {}), ...(milk > 0 ? { milk } : {}) }
  })
}

type AnyCart = typeof Cart
const found = (entity: AnyCart | (() => AnyCart), options?: EntityTest.SequenceOptions<any, State, any>) =>
  Effect.flip(EntityTest.sequences(entity, { seed: 1, ...options }))

/** Counts in a variable, which is lost with the process. */
const countingBeside = () => {
  let items = 0
  return cart({
    decide: {
      ...definition.decide,
      Add: ({ payload, state }) =>
        Effect.sync(() => {
          if (state.isCheckedOut) return Decision.fail(new IsCheckedOut({ items: count(state) }))
          items += payload.quantity
          return Decision.persist([new Added(payload)], items)
        })
    }
  })
}

/** Replies from a variable, which is empty after a restart. */
const caching = () => {
  const cache = new Map<string, State["items"]>()
  return cart({
    decide: {
      ...definition.decide,
      Add: ({ id, payload, state }) => {
        if (state.isCheckedOut) return Decision.fail(new IsCheckedOut({ items: count(state) }))
        return Decision.persist([new Added(payload)], (state) => {
          cache.set(id, state.items)
          return count(state)
        })
      },
      Items: ({ id }) => Decision.reply(cache.get(id) ?? {})
    }
  })
}

describe("sequences of commands", () => {
  it.effect("find nothing wrong with an entity that is right", () =>
    Effect.gen(function*() {
      yield* EntityTest.sequences(Cart, { model })
      yield* EntityTest.sequences(() => cart(), { model, runs: 20 })
      yield* EntityTest.sequences(Cart, {
        runs: 20,
        commands: { Add: Arbitrary.Constant({ sku: "tea", quantity: 1 }) }
      })
    }))

  it.effect("find state that is kept in a closure, and is lost with the process", () =>
    Effect.gen(function*() {
      const { message, steps } = yield* found(countingBeside, { model, entities: 1 })
      assert.deepStrictEqual(steps.map((step) => step.replace(/"(milk|tea)"/, "…")), [
        "'1' Add {quantity: 1, sku: …} → 1",
        "restart",
        "'1' Add {quantity: 1, sku: …} → 1"
      ])
      assert.include(message, "The answer is not that of the model (- model, + entity)")
      assert.include(message, "-  reply: 2\n+  reply: 1")
    }))

  it.effect("find state that is kept in a closure without a model, where it is decided purely", () =>
    Effect.gen(function*() {
      let items = 0
      const { problem, steps } = yield* found(cart({
        decide: {
          ...definition.decide,
          Add: ({ payload }) => Decision.persist([new Added(payload)], items += payload.quantity)
        }
      }))
      assert.lengthOf(steps, 1)
      assert.include(problem, "`decide` of 'Add' is not pure")
    }))

  it.effect("find a cache beside the state that is not filled after a restart", () =>
    Effect.gen(function*() {
      const { problem, steps } = yield* found(caching)
      assert.lengthOf(steps, 2)
      assert.include(problem, "`decide` of 'Items' is not pure")
    }))

  it.effect("find that evolve depends on the time, and on chance", () =>
    Effect.gen(function*() {
      for (const more of [() => Date.now(), () => new Date().getFullYear(), () => performance.now(), Math.random]) {
        const { problem, steps } = yield* found(cart({
          state: Schema.Struct({ ...State.fields, at: Schema.optional(Schema.Finite) }),
          evolve: (state, event) => ({ ...definition.evolve(state, event), at: more() }) as State
        }))
        assert.lengthOf(steps, 1)
        assert.include(problem, "`evolve` depends on something beside the state and the event")
      }
    }))

  it.effect("find that evolve depends on how often it was called", () =>
    Effect.gen(function*() {
      const seen = new Set<string>()
      const { problem } = yield* found(cart({
        evolve: (state, event) => {
          const key = JSON.stringify([state, event])
          if (seen.has(key)) return definition.evolve(state, event)
          seen.add(key)
          return { ...definition.evolve(state, event), isCheckedOut: true }
        }
      }))
      assert.include(problem, "`evolve` depends on something")
    }))

  it.effect("find a reply that does not follow from the state", () =>
    Effect.gen(function*() {
      const random = yield* found(cart({
        decide: {
          ...definition.decide,
          Add: ({ payload }) => Decision.persist([new Added(payload)], () => Math.floor(Math.random() * 1_000_000))
        }
      }))
      assert.include(random.problem, "is not pure")
      // of the state before
      const stale = yield* found(
        cart({
          decide: {
            ...definition.decide,
            Add: ({ payload, state }) =>
              state.isCheckedOut
                ? Decision.fail(new IsCheckedOut({ items: count(state) }))
                : Decision.persist([new Added(payload)], count(state))
          }
        }),
        { model }
      )
      assert.lengthOf(stale.steps, 1)
      assert.include(stale.problem, "-  reply: 1\n+  reply: 0")
    }))

  it.effect("find a snapshot that forgets a field", () =>
    Effect.gen(function*() {
      const forgets = Schema.Struct({ items: State.fields.items }).pipe(
        Schema.decodeTo(
          Schema.toType(State),
          SchemaTransformation.transform({
            decode: ({ items }) => ({ items, isCheckedOut: false }),
            encode: ({ items }) => ({ items })
          })
        )
      )
      const { problem, steps } = yield* found(cart({ state: forgets }))
      assert.deepStrictEqual(steps.map((step) => step.slice(4)), ["CheckOut"])
      assert.include(problem, "The state does not come back from its codec as it was")
    }))

  it.effect("find that a state is changed in place", () =>
    Effect.gen(function*() {
      const evolving = yield* found(cart({
        // it is changed as well
        initial: { items: {}, isCheckedOut: false },
        evolve: (state, event) => {
          if (event._tag === "CheckedOut") return { ...state, isCheckedOut: true }
          Object.assign(state.items, { [event.sku]: (state.items[event.sku] ?? 0) + event.quantity })
          return state
        }
      }))
      assert.lengthOf(evolving.steps, 1)
      assert.include(evolving.problem, "`decide` or `evolve` changes the state that it is given")
      const deciding = yield* found(cart({
        initial: { items: {}, isCheckedOut: false },
        decide: {
          ...definition.decide,
          Items: ({ state }) => {
            Object.assign(state, { isCheckedOut: true })
            return Decision.reply(state.items)
          }
        }
      }))
      assert.lengthOf(deciding.steps, 1)
      assert.include(deciding.problem, "`decide` or `evolve` changes the state that it is given")
    }))

  it.effect("find what the kernel refuses", () =>
    Effect.gen(function*() {
      const { message, steps } = yield* found(cart({
        evolve: (state, event) => {
          if (count(state) > 12) throw new Error("too many")
          return definition.evolve(state, event)
        }
      }))
      assert.isAtMost(steps.length, 5)
      assert.include(message, "`evolve` throws: too many")
      assert.include(message, "Again with seed 1")
    }))

  it.effect("find the same in durable states", () =>
    Effect.gen(function*() {
      const names: EntityTest.Model<(typeof profileCommands)[number], typeof ProfileState.Type, number> = {
        initial: 0,
        commands: {
          Rename: (renamed, { name }) => name === "" ? { error: "empty" } : { model: renamed + 1, reply: renamed + 1 },
          Close: () => ({ model: 0 })
        }
      }
      yield* EntityTest.sequences(Profile, { model: names })
      const make = () => {
        let renames = 0
        return profile({
          decide: {
            ...profileDecide,
            Rename: ({ payload: { name } }) =>
              Effect.sync(() =>
                name === "" ? Decision.fail("empty") : Decision.update({ name, renamed: ++renames }, renames)
              )
          }
        })
      }
      const { steps } = yield* Effect.flip(EntityTest.sequences(make, { model: names, entities: 1, seed: 1 }))
      assert.lengthOf(steps, 3)
      const forgets = Schema.Struct({ name: Schema.String }).pipe(
        Schema.decodeTo(
          Schema.toType(ProfileState),
          SchemaTransformation.transform({
            decode: ({ name }) => ({ name, renamed: 0 }),
            encode: ({ name }) => ({ name })
          })
        )
      )
      const { problem } = yield* Effect.flip(EntityTest.sequences(profile({ state: forgets }), { seed: 1 }))
      assert.include(problem, "The state does not come back from its codec as it was")
    }))
})

const inFolder = <A, E, R>(use: (folder: string) => Effect.Effect<A, E, R>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => Path.join(Fs.mkdtempSync(Path.join(Os.tmpdir(), "fixtures-")), "cart")),
    use,
    (folder) => Effect.sync(() => Fs.rmSync(Path.dirname(folder), { recursive: true }))
  )

describe("fixtures", () => {
  const events = [tea(2), new CheckedOut()]
  const states = [{ items: { tea: 2 }, isCheckedOut: true }]

  it.effect("are written on request, and read from then on", () =>
    inFolder((folder) =>
      Effect.gen(function*() {
        const missing = yield* Effect.flip(EntityTest.fixtures(Cart, folder, { events, states }))
        assert.lengthOf(missing.problems, 3)
        assert.include(missing.message, "is not recorded as it is stored now")
        assert.isFalse(Fs.existsSync(folder))
        yield* EntityTest.fixtures(Cart, folder, { events, states, write: true })
        const files = Fs.readdirSync(folder)
        assert.deepStrictEqual(files, ["event-Added-1.json", "event-CheckedOut-1.json", "state-cart-1.json"])
        yield* EntityTest.fixtures(Cart, pathToFileURL(`${folder}/`), { events, states })
        yield* EntityTest.fixtures(Cart, folder)
        assert.include(
          yield* messageOf(EntityTest.fixtures(Cart, `${folder}-other`)),
          "there are none in"
        )
      })
    ))

  it.effect("fail where a version does not decode any more, until it is said how to read it", () =>
    inFolder((folder) =>
      Effect.gen(function*() {
        yield* EntityTest.fixtures(Cart, folder, { events, states, write: true })
        const AddedV2 = Schema.TaggedStruct("Added", { sku: Schema.String, quantity: Schema.Int, price: Schema.Int })
        const evolved = (codec: EventCodec.EventCodec<typeof AddedV2.Type | CheckedOut>) =>
          EventSourced.make(EntityType.make("cart", { codec }), {
            state: State,
            initial: definition.initial,
            commands: [],
            decide: {},
            evolve: (state) => state
          })
        const schema = Schema.Union([AddedV2, CheckedOut])
        const problem = yield* Effect.flip(EntityTest.fixtures(evolved(EventCodec.json(schema)), folder))
        assert.lengthOf(problem.problems, 1)
        assert.match(problem.message, /event-Added-1\.json, event json\.sluice\/Added: it does not decode any more/)
        const AddedV1 = Schema.TaggedStruct("Added", { sku: Schema.String, quantity: Schema.Int }).pipe(
          Schema.decodeTo(
            Schema.toType(AddedV2),
            SchemaTransformation.transform({
              decode: (old) => ({ ...old, price: 0 }),
              encode: ({ _tag, quantity, sku }) => ({ _tag, quantity, sku })
            })
          )
        )
        const Upcast = evolved(EventCodec.json(schema, { versions: { Added: [AddedV1] } }))
        yield* EntityTest.fixtures(Upcast, folder)
        const now = { events: [{ _tag: "Added" as const, sku: "tea", quantity: 1, price: 5 }] }
        assert.include(
          (yield* Effect.flip(EntityTest.fixtures(Upcast, folder, now))).message,
          "json.sluice/Added#2 is not recorded"
        )
        yield* EntityTest.fixtures(Upcast, folder, { ...now, write: true })
        yield* EntityTest.fixtures(Upcast, folder, now)
        // the old one stays
        assert.include(Fs.readdirSync(folder), "event-Added-1.json")
        // and a state that another schema cannot read
        const other = EventSourced.make(CartType, {
          ...definition,
          state: Schema.Struct({ ...State.fields, owner: Schema.String }) as Schema.Codec<State, any>
        })
        assert.match(
          (yield* Effect.flip(EntityTest.fixtures(other, folder))).message,
          /state json\.sluice\/cart: it does not decode/
        )
      })
    ))

  it.effect("of several entity types may be in one folder", () =>
    inFolder((folder) =>
      Effect.gen(function*() {
        const profiles = { states: [{ name: "Ada", renamed: 1 }] }
        for (const write of [true, false]) {
          yield* EntityTest.fixtures(Cart, folder, { events, states, write })
          yield* EntityTest.fixtures(Profile, folder, { ...profiles, write })
        }
        const files = Fs.readdirSync(folder)
        assert.deepStrictEqual(
          files,
          ["event-Added-1.json", "event-CheckedOut-1.json", "state-cart-1.json", "state-profile-1.json"]
        )
        assert.deepInclude(JSON.parse(Fs.readFileSync(Path.join(folder, files[3]!), "utf8")), { entityType: "profile" })
      })
    ))

  it.effect("are not written where others cannot be read", () =>
    inFolder((folder) =>
      Effect.gen(function*() {
        Fs.mkdirSync(folder)
        Fs.writeFileSync(Path.join(folder, "gone.json"), JSON.stringify({ kind: "event", manifest: "gone", json: 1 }))
        const { problems } = yield* Effect.flip(EntityTest.fixtures(Cart, folder, { events, states, write: true }))
        assert.lengthOf(problems, 1)
        assert.deepStrictEqual(Fs.readdirSync(folder), ["gone.json"])
      })
    ))

  it.effect("may be a list, in JSON and in bytes", () =>
    Effect.gen(function*() {
      const Note = EventSourced.make(EntityType.make("note", { codec: EventCodec.string }), {
        state: Schema.Int,
        initial: 0,
        commands: [],
        decide: {},
        evolve: (n) => n + 1
      })
      const hello = {
        kind: "event",
        manifest: "ser.akka.io/20",
        base64: Buffer.from("hello").toString("base64")
      } as const
      yield* EntityTest.fixtures(Note, [hello, { kind: "state", manifest: "json.sluice/note", json: 3 }], {
        events: ["hello"],
        states: [3]
      })
      assert.include(
        yield* messageOf(EntityTest.fixtures(Note, [{ ...hello, manifest: "gone" }])),
        "fixture 1, event gone: it does not decode any more: the manifest is unknown here"
      )
      yield* EntityTest.fixtures(Profile, [
        { kind: "state", manifest: "json.sluice/profile", json: { name: "Ada", renamed: 1 } },
        { kind: "event", manifest: "json.sluice/Became", json: { _tag: "Became", name: "Ada" } }
      ])
    }))
})
