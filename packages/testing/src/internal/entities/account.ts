import * as EntityType from "@sluice/core/EntityType"
import type { EventCodec } from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import type { SnapshotStore } from "@sluice/core/SnapshotStore"
import * as Decision from "@sluice/entity/Decision"
import * as EntityClient from "@sluice/entity/EntityClient"
import * as EventSourced from "@sluice/entity/EventSourced"
import type { SnapshotPolicy } from "@sluice/entity/SnapshotPolicy"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { EntityWay } from "../../EntityWay.ts"
import { freshNameOf } from "../ids.ts"

/** @internal */
export class Deposited extends Schema.TaggedClass<Deposited>()("Deposited", { amount: Schema.Int }) {}
/** @internal */
export class Withdrawn extends Schema.TaggedClass<Withdrawn>()("Withdrawn", { amount: Schema.Int }) {}

/** @internal */
export class Insufficient extends Schema.TaggedError<Insufficient>()("Insufficient", { balance: Schema.Int }) {}

/** @internal The balance, and how many events there were. */
export const State = Schema.Struct({ balance: Schema.Int, count: Schema.Int })
type State = typeof State.Type

/** @internal What an account may be told to do wrong. */
export const Fault = Schema.Literals([
  "throws",
  "throws in an effect",
  "dies",
  "interrupts itself",
  "hangs",
  "hangs and cannot be interrupted",
  "gives no decision",
  "gives no array of events",
  "has too many events",
  "has an event of another type",
  "has tags that cannot be stored",
  "has a reply that throws",
  "has a reply of another type",
  "reads a reply of another type",
  "is rejected with what is not declared",
  "fails with what is not declared",
  "has an event that evolve throws at",
  "has an event that tags throws at"
])

/** @internal Runs in place of what an account does after persisting. */
export class AfterPersisting extends Context.Reference<
  (state: State, receipt: unknown) => Effect.Effect<void, unknown>
>("@sluice/testing/AfterPersisting", { defaultValue: () => () => Effect.void }) {}

/** An amount that `evolve`, or `tags`, throws at. */
const unlucky = { evolve: 666, tags: 667 }

/** @internal The reply to `Deposit`: the balance. */
export const Commands = [
  Rpc.make("Deposit", { payload: { amount: Schema.Int }, success: Schema.Int }),
  Rpc.make("Withdraw", { payload: { amount: Schema.Int }, success: Schema.Int, error: Insufficient }),
  // two events
  Rpc.make("Exchange", { payload: { amount: Schema.Int }, success: Schema.Struct({ balance: Schema.Int }) }),
  Rpc.make("Touch"),
  Rpc.make("Balance", { success: Schema.Int }),
  Rpc.make("Misbehave", { payload: Fault, success: Schema.Int })
] as const

/** @internal What a test wants otherwise. */
export interface AccountOptions {
  readonly name?: string
  readonly snapshots?: SnapshotPolicy<State>
  readonly state?: Schema.Codec<State, any> | EventCodec<State>
  readonly evolve?: (state: State, event: Deposited | Withdrawn) => State
  readonly decideWithin?: Duration.Input
  readonly recoverWithin?: Duration.Input
  readonly recoverAtMost?: number
  readonly remembered?: number
  readonly deposit?: Effect.Effect<void>
}

const misbehave = (fault: typeof Fault.Type): unknown => {
  switch (fault) {
    case "throws":
      throw new Error("thrown")
    case "throws in an effect":
      return Effect.sync(() => {
        throw new Error("thrown")
      })
    case "dies":
      return Effect.die("dead")
    case "interrupts itself":
      return Effect.interrupt
    case "hangs":
      return Effect.never
    case "hangs and cannot be interrupted":
      return Effect.uninterruptible(Effect.never)
    case "gives no decision":
      return 17
    case "gives no array of events":
      return Decision.persist("none" as any, 1)
    case "has too many events":
      return Decision.persist(Array.from({ length: 10_000 }, () => new Deposited({ amount: 1 })), 1)
    case "has an event of another type":
      return Decision.persist([new Deposited({ amount: 1 }), { _tag: "Stolen" }], 1)
    case "has tags that cannot be stored":
      return Decision.persist([new Deposited({ amount: 1 }), new Deposited({ amount: -0 })], 1)
    case "has a reply that throws":
      return Decision.persist([new Deposited({ amount: 1 })], () => {
        throw new Error("thrown")
      })
    case "has a reply of another type":
      return Decision.persist([new Deposited({ amount: 1 })], "many")
    case "reads a reply of another type":
      return Decision.reply("many")
    case "is rejected with what is not declared":
      return Decision.fail("no")
    case "fails with what is not declared":
      return Effect.fail("no")
    case "has an event that evolve throws at":
      return Decision.persist([new Deposited({ amount: unlucky.evolve })], 1)
    case "has an event that tags throws at":
      return Decision.persist([new Deposited({ amount: unlucky.tags })], 1)
  }
}

/** @internal An entity type of its own for a test. */
export const makeAccount = (options: AccountOptions = {}) => {
  const { deposit = Effect.void, evolve, name = freshNameOf("account"), state = State, ...rest } = options
  const type = EntityType.make(name, { event: Schema.Union([Deposited, Withdrawn]) })
  return EventSourced.make(type, {
    initial: { balance: 0, count: 0 },
    state,
    commands: Commands,
    decide: {
      Deposit: ({ payload }) =>
        Effect.as(
          deposit,
          Decision.persist([new Deposited(payload)], (state: State) => state.balance)
        ),
      Withdraw: ({ payload: { amount }, state }) =>
        amount > state.balance
          ? Decision.fail(new Insufficient({ balance: state.balance }))
          : Decision.persist([new Withdrawn({ amount })], (state) => state.balance),
      Exchange: ({ payload: { amount } }) =>
        Decision.persist(
          [new Deposited({ amount }), new Withdrawn({ amount })],
          ({ balance }: State) => ({ balance })
        ),
      Touch: () =>
        Effect.map(
          AfterPersisting,
          (after) => Decision.andThen(Decision.persist([new Deposited({ amount: 1 })]), after)
        ),
      Balance: ({ state }) => Decision.reply(state.balance),
      Misbehave: ({ payload }) => misbehave(payload) as Decision.Decision<Deposited, State, number, never>
    },
    evolve: evolve ?? ((state, { _tag, amount }) => {
      if (amount === unlucky.evolve) throw new Error("666")
      return { balance: state.balance + (_tag === "Deposited" ? amount : -amount), count: state.count + 1 }
    }),
    tags: ({ balance }, { amount }) => {
      if (amount === unlucky.tags) throw new Error("667")
      if (Object.is(amount, -0)) return ["a\0b"]
      return balance >= 100 ? ["rich"] : []
    },
    ...rest
  })
}

/** @internal */
export type Account = ReturnType<typeof makeAccount>

/** @internal A client of accounts that run in the given way until the scope ends. */
export const runningIn = (
  way: EntityWay
) =>
(account: Account): Effect.Effect<
  EntityClient.EntityClient<(typeof Commands)[number]>,
  never,
  Journal.Journal | SnapshotStore | Scope.Scope
> =>
  Effect.flatMap(
    Layer.build(Layer.fresh(way(account))),
    (context) => Effect.provideContext(EventSourced.client(account), context)
  )

/** @internal The runner behind a client, which takes anything. */
export const runnerIn = (way: EntityWay) => (account: Account) =>
  Effect.map(Layer.build(Layer.fresh(way(account))), (context) => Context.get(context, EntityClient.Runs(account.name)))

/** @internal The events of an account, which are numbered from 1 without gaps. */
export const eventsIn = ({ entityType }: Account, id: string) =>
  Effect.map(Stream.runCollect(Journal.read(entityType, id)), (envelopes) => {
    envelopes.forEach(({ sequenceNumber }, i) => {
      if (sequenceNumber !== i + 1) throw new Error(`event ${sequenceNumber} follows event ${i}`)
    })
    return envelopes
  })

/** @internal The amounts of the events of an account, those of withdrawals negative. */
export const amountsIn = (account: Account, id: string) =>
  Effect.map(
    eventsIn(account, id),
    (envelopes) => envelopes.map(({ event: { _tag, amount } }) => _tag === "Deposited" ? amount : -amount)
  )
