/** Entities that count, in a store that is shared by all that run them: what a journal would be. */
import type { SequenceConflict } from "@sluice/core/JournalError"
import * as Behaviour from "@sluice/entity/Behaviour"
import type { Entity } from "@sluice/entity/Entity"
import * as Effect from "effect/Effect"
import { Rpc } from "effect/rpc"
import * as Schema from "effect/Schema"

/** One that is to be counted down below 0. */
export class TooFew extends Schema.TaggedError<TooFew>("test/TooFew")("TooFew", { count: Schema.Int }) {}

interface Event {
  readonly by: number
  readonly commandId: string | undefined
  readonly count: number
}

interface Held {
  readonly id: string
  readonly events: ReadonlyArray<Event>
}

/** What processes have in common, and what the test does to them. */
export class Store {
  readonly events = new Map<string, ReadonlyArray<Event>>()
  recovered = 0
  /** Runs before a decision is written. */
  before: (id: string) => Effect.Effect<void> = () => Effect.void

  count(id: string): number {
    return this.events.get(id)?.at(-1)?.count ?? 0
  }
}

const commands = [
  Rpc.make("Add", { payload: { by: Schema.Int }, success: Schema.Int, error: TooFew }),
  Rpc.make("Get", { success: Schema.BigInt }),
  // what cannot be sent
  Rpc.make("Echo", { payload: { size: Schema.Int }, success: Schema.String })
]

export const counter = (store: Store, name = "counter"): Entity<string, typeof commands[number], never> => {
  const behaviour: Behaviour.Behaviour<Held, number> = {
    name,
    inTransaction: Effect.succeed(false),
    state: ({ events }) => events.at(-1)?.count ?? 0,
    recover: (id) =>
      Effect.sync(() => {
        store.recovered++
        return { id, events: store.events.get(id) ?? [] }
      }),
    forgottenAt: () => -Infinity,
    rememberedBytes: () => 0,
    remembered: ({ events }, { commandId }) =>
      Effect.sync(() => {
        const event = events.find((event) => event.commandId !== undefined && event.commandId === commandId)
        return event && { _tag: "Replied", reply: event.count, receipt: undefined }
      }),
    decide: ({ events }, { payload, tag }) =>
      Effect.sync(() => tag === "Add" ? (events.at(-1)?.count ?? 0) + (payload as { by: number }).by : 0),
    persist: (held, { commandId, payload, tag }, count) =>
      Effect.suspend(() =>
        Effect.andThen(
          store.before(held.id),
          Effect.suspend((): Effect.Effect<any, any> => {
            const answered = (answer: Behaviour.Answer, next = held) =>
              Effect.succeed({ held: next, answer, after: undefined })
            if (tag === "Get") {
              return answered({ _tag: "Replied", reply: BigInt(held.events.at(-1)?.count ?? 0), receipt: undefined })
            }
            if (tag === "Echo") {
              return answered({
                _tag: "Replied",
                reply: "x".repeat((payload as { size: number }).size),
                receipt: undefined
              })
            }
            if (count < 0) return answered({ _tag: "Rejected", error: new TooFew({ count }) })
            if ((store.events.get(held.id) ?? []).length !== held.events.length) {
              return Effect.fail(new Behaviour.Stale({ cause: undefined as unknown as SequenceConflict }))
            }
            const events = [...held.events, { by: (payload as { by: number }).by, commandId, count }]
            store.events.set(held.id, events)
            return answered({ _tag: "Replied", reply: count, receipt: undefined }, { id: held.id, events })
          })
        )
      ),
    verify: () => Effect.void
  }
  return { name, commands, behaviour: Effect.succeed(behaviour) }
}
