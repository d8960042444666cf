import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as Decision from "@sluice/entity/Decision"
import * as SnapshotPolicy from "@sluice/entity/SnapshotPolicy"
import * as Counter from "@sluice/replication/Counter"
import * as LwwRegister from "@sluice/replication/LwwRegister"
import * as OrSet from "@sluice/replication/OrSet"
import * as Replica from "@sluice/replication/Replica"
import * as ReplicatedEventSourced from "@sluice/replication/ReplicatedEventSourced"
import * as EntityTest from "@sluice/testing/EntityTest"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"

class TooLittle extends Schema.TaggedError<TooLittle>()("TooLittle", { balance: Schema.Int }) {}

const State = Schema.Struct({
  balance: Counter.schema,
  labels: OrSet.schema(Schema.String),
  owner: LwwRegister.schema(Schema.String)
})
type State = typeof State.Type
const amount = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 3 }))
const label = Schema.Literals(["vip", "new"])
const Changed = Schema.Union([Counter.delta, OrSet.delta(Schema.String), LwwRegister.delta(Schema.String)])

const Wallet = ReplicatedEventSourced.make(EntityType.make("wallet", { event: Changed }), {
  replicas: ["eu", "us", "ap"],
  state: State,
  initial: { balance: Counter.empty, labels: OrSet.empty, owner: LwwRegister.make("") },
  commands: [
    Rpc.make("Deposit", { payload: { amount }, success: Schema.Int }),
    Rpc.make("Spend", { payload: { amount }, success: Schema.Int, error: TooLittle }),
    Rpc.make("Add", { payload: { label } }),
    Rpc.make("Remove", { payload: { label } }),
    Rpc.make("Own", { payload: { owner: Schema.String } })
  ],
  decide: {
    Deposit: ({ payload }) =>
      Decision.persist([Counter.increment(payload.amount)], ({ balance }: State) => Number(balance.value)),
    Spend: ({ payload, state }) =>
      Number(state.balance.value) < payload.amount
        ? Decision.fail(new TooLittle({ balance: Number(state.balance.value) }))
        : Decision.persist([Counter.decrement(payload.amount)], ({ balance }: State) => Number(balance.value)),
    Add: ({ payload, replica, state }) => Decision.persist([OrSet.add(state.labels, replica, payload.label)]),
    Remove: ({ payload, replica, state }) => Decision.persist([OrSet.remove(state.labels, replica, payload.label)]),
    Own: ({ payload, replica, state, time }) =>
      Decision.persist([LwwRegister.write(state.owner, replica, time, payload.owner)])
  },
  evolve: (state, event) => {
    switch (event._tag) {
      case "CounterUpdated":
        return { ...state, balance: Counter.apply(state.balance, event) }
      case "LwwRegisterWritten":
        return { ...state, owner: LwwRegister.apply(state.owner, event) }
      default:
        return { ...state, labels: OrSet.apply(state.labels, event) }
    }
  },
  snapshots: SnapshotPolicy.every(3)
})

class Named extends Schema.TaggedClass<Named>()("Named", { name: label }) {}

const product = (
  replicas: ReadonlyArray<string>,
  evolve: (state: string, event: Named, place: ReplicatedEventSourced.Place) => string
) =>
  ReplicatedEventSourced.make(EntityType.make("product", { event: Named }), {
    replicas,
    state: Schema.String,
    initial: "",
    commands: [Rpc.make("Name", { payload: { name: label } })],
    decide: { Name: ({ payload }) => Decision.persist([new Named(payload)]) },
    evolve
  })

describe("a replicated entity", () => {
  it.effect("is given events, and tells what follows in its replica", () =>
    Effect.gen(function*() {
      const given = EntityTest.given(Wallet, [Counter.increment(5)], { id: "w-1" })
      yield* given.when("Spend", { amount: 3 }).expect({ events: [Counter.decrement(3)], reply: 2 })
      yield* given.when("Spend", { amount: 3 }).when("Spend", { amount: 3 }).expect({
        error: new TooLittle({ balance: 2 })
      })
      yield* given.when("Add", { label: "vip" }).expect({ events: [OrSet.add(OrSet.empty, "eu", "vip")] })
      const { message } = yield* Effect.flip(given.when("Deposit", { amount: 1 }).expect({ reply: 7 }))
      assert.include(message, "-  reply: 7\n+  reply: 6")
    }).pipe(Effect.provide(Replica.layer("eu"))))

  it.effect("is tried with sequences of commands in its replica", () =>
    EntityTest.sequences(Wallet, {
      model: {
        initial: 0,
        commands: {
          Deposit: (balance, { amount }) => ({ model: balance + amount, reply: balance + amount }),
          Spend: (balance, { amount }) =>
            balance < amount
              ? { error: new TooLittle({ balance }) }
              : { model: balance - amount, reply: balance - amount }
        }
      },
      runs: 30,
      seed: 1
    }).pipe(Effect.provide(Replica.layer("us"))), 120_000)

  it.effect(
    "finds in sequences what is folded otherwise at another time, by where an event comes from",
    () =>
      Effect.gen(function*() {
        const right = product(["eu"], (_, event, place) => `${place.origin}${place.originSequenceNumber}${event.name}`)
        yield* EntityTest.sequences(right, { runs: 20, seed: 1 })
        const wrong = product(["eu"], (_, event) => `${event.name} ${Date.now()}`)
        const { problem } = yield* Effect.flip(EntityTest.sequences(wrong, { seed: 1 }))
        assert.include(problem, "`evolve` depends on something beside the state and the event")
      }).pipe(Effect.provide(Replica.layer("eu"))),
    120_000
  )

  it.effect("converges, where it is of CRDTs", () => EntityTest.converges(Wallet, { runs: 50, seed: 1 }), 120_000)

  it.effect("does not converge where the last one that comes wins, as two events show", () =>
    Effect.gen(function*() {
      const { message, steps } = yield* Effect.flip(
        EntityTest.converges(product(["eu", "us"], (_, { name }) => name), { seed: 1 })
      )
      // two names, and that each comes to the other
      assert.lengthOf(steps, 4)
      assert.include(message, "'eu' and 'us' have the same events in another order, which lead to other states")
      assert.match(message, /Again with seed 1$/)
    }), 120_000)

  it.effect("is found to have an `evolve` that throws at an event of another replica", () =>
    Effect.gen(function*() {
      const throwing = product(["eu", "us"], (_, { name }, { origin, persistenceId }) => {
        if (!persistenceId.endsWith(origin)) throw new Error("not mine")
        return name
      })
      const { problem } = yield* Effect.flip(EntityTest.converges(throwing, { seed: 1 }))
      assert.match(problem, /^'(eu|us)' does not take an event of '(eu|us)'[^]*not mine/)
    }), 120_000)
})
