import * as EntityType from "@sluice/core/EntityType"
import type { Envelope } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Handler from "@sluice/core/Handler"
import type { Journal, JournalForked, JournalReplaced, OffsetBelowFloor } from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import type { Fenced, OffsetsDeleted } from "@sluice/core/OffsetStore"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as Projection from "@sluice/core/Projection"
import type { SliceRange } from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import type { StorageError } from "@sluice/core/StorageError"
import { Transaction } from "@sluice/core/Transaction"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { describe, expect, test } from "tstyche"

class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String, quantity: Schema.Int }) {}
class CheckedOut extends Schema.TaggedClass<CheckedOut>()("CheckedOut", { at: Schema.DateTimeUtc }) {}
class CouponTried extends Schema.TaggedClass<CouponTried>()("CouponTried", { code: Schema.String }) {}
class Clockwork extends Context.Service<Clockwork, { readonly now: Effect.Effect<number> }>()("test/Clockwork") {}

const Cart = EntityType.make("cart", { event: Schema.Union([ItemAdded, CheckedOut]) })
const carts = Source.journal(Cart)

type JournalErrors = StorageError | JournalForked | JournalReplaced | OffsetBelowFloor | EventCodec.EventDecodeError

/** A write to a table of the service, as storage packages offer it. */
const insert: Effect.Effect<void, StorageError, Transaction> = Transaction.use((transaction) =>
  transaction.execute({ sql: "INSERT INTO product VALUES (1)", parameters: [] })
)

const popularity = carts.pipe(
  Projection.exactlyOnce(
    "cart-popularity",
    ({ event }) => event._tag === "ItemAdded" ? Effect.andThen(Clockwork, insert) : Effect.void
  ),
  Projection.workers(4)
)

describe("an exactly-once projection", () => {
  test("gives its handler the transaction to write in, and needs what else the handler needs", () => {
    expect(popularity).type.toBe<
      Projection.Projection<JournalErrors | StorageError, Journal | Clockwork | Projection.Stores>
    >()
    expect(Projection.layer(popularity)).type.toBe<Layer.Layer<never, never, Journal | Clockwork | Projection.Stores>>()
    expect(Projection.run(popularity)).type.toBe<
      Effect.Effect<never, JournalErrors, Journal | Clockwork | Projection.Stores>
    >()
  })

  test("gives it to a handler of groups as well", () => {
    const bulk = carts.pipe(
      Projection.exactlyOnce("bulk", Handler.grouped({ size: 500, within: "100 millis" }, () => insert))
    )
    expect(Projection.layer(bulk)).type.toBe<Layer.Layer<never, never, Journal | Projection.Stores>>()
  })

  test("gives it to a handler that writes for some events only", () => {
    const some = carts.pipe(
      Projection.exactlyOnce("x", ({ event }) => {
        switch (event._tag) {
          case "ItemAdded":
            return insert
          case "CheckedOut":
            return Effect.fail("late" as const)
        }
      })
    )
    expect(some).type.toBe<Projection.Projection<JournalErrors | "late", Journal | Projection.Stores>>()
  })

  test("has the errors of its handler", () => {
    const failing = carts.pipe(Projection.exactlyOnce("x", () => Effect.fail("mine" as const)))
    expect(Projection.run(failing)).type.toBe<
      Effect.Effect<never, JournalErrors | "mine", Journal | Projection.Stores>
    >()
  })
})

const write = () => Effect.andThen(Clockwork, insert)
const unknownNeeds = (): Effect.Effect<void, never, any> => Effect.void

describe("an at-least-once projection", () => {
  test("does not compile if its handler writes in a transaction", () => {
    // @ts-expect-error An at-least-once handler has no Transaction: use Projection.exactlyOnce, or write with Database
    carts.pipe(Projection.atLeastOnce("x", () => insert))
    carts.pipe(
      // @ts-expect-error An at-least-once handler has no Transaction: use Projection.exactlyOnce, or write with Database
      Projection.atLeastOnce("x", ({ event }) => {
        switch (event._tag) {
          case "ItemAdded":
            return insert
          case "CheckedOut":
            return Effect.void
        }
      })
    )
    carts.pipe(
      // @ts-expect-error An at-least-once handler has no Transaction: use Projection.exactlyOnce, or write with Database
      Projection.atLeastOnce("x", Handler.grouped({ size: 500, within: "100 millis" }, () => insert))
    )
    // @ts-expect-error An at-least-once handler has no Transaction: use Projection.exactlyOnce, or write with Database
    carts.pipe(Projection.atLeastOnce("x", write))
  })

  test("takes a handler whose needs are not known", () => {
    expect(carts.pipe(Projection.atLeastOnce("x", unknownNeeds))).type.toBe<Projection.Projection<JournalErrors, any>>()
  })

  test("needs what its handler needs", () => {
    const right = carts.pipe(Projection.atLeastOnce("x", () => Effect.asVoid(Clockwork), { saveAfter: 10 }))
    expect(Projection.layer(right)).type.toBe<Layer.Layer<never, never, Journal | Projection.Stores | Clockwork>>()
  })

  test("handles single events at the same time, and groups", () => {
    const times = { parallelism: 4, saveAfter: 10 }
    expect(
      carts.pipe(Projection.atLeastOnce("x", (envelope) => {
        expect(envelope).type.toBe<Envelope<ItemAdded | CheckedOut>>()
        return fails(envelope)
      }, { parallelism: 4 }))
    ).type.toBe<Projection.Projection<JournalErrors | NoStock | TooLate, Journal | Projection.Stores>>()
    expect(carts.pipe(Projection.atLeastOnce("x", Handler.scoped(() => Effect.succeed(fails)), times))).type.toBe<
      Projection.Projection<JournalErrors | NoStock | TooLate, Journal | Projection.Stores>
    >()
    carts.pipe(
      Projection.atLeastOnce("x", Handler.grouped({ size: 2, within: 1 }, () => Effect.void), { saveAfter: 10 })
    )
    carts.pipe(
      Projection.atLeastOnce("x", Handler.grouped({ size: 2, within: 0 }, () => Effect.void), { parallelism: 4 })
    )
    carts.pipe(
      // @ts-expect-error An at-least-once handler has no Transaction: use Projection.exactlyOnce, or write with Database
      Projection.atLeastOnce("x", () => insert, { parallelism: 4 })
    )
  })
})

describe("an at-most-once projection", () => {
  test("does not compile if its handler writes in a transaction", () => {
    // @ts-expect-error An at-most-once handler has no Transaction: use Projection.exactlyOnce, or write with Database
    carts.pipe(Projection.atMostOnce("x", () => insert))
    carts.pipe(
      // @ts-expect-error An at-most-once handler has no Transaction: use Projection.exactlyOnce, or write with Database
      Projection.atMostOnce("x", Handler.grouped({ size: 500, within: "100 millis" }, () => insert))
    )
  })

  test("needs what its handler needs, and has its errors", () => {
    expect(carts.pipe(Projection.atMostOnce("x", () => Effect.asVoid(Effect.flip(Clockwork))))).type.toBe<
      Projection.Projection<JournalErrors | Clockwork["Service"], Journal | Projection.Stores | Clockwork>
    >()
  })
})

const handleMore = (envelope: Envelope<ItemAdded | CheckedOut | CouponTried>) => Effect.log(envelope.event._tag)

class NoStock extends Schema.TaggedError<NoStock>()("NoStock", { sku: Schema.String }) {}
class TooLate extends Schema.TaggedError<TooLate>()("TooLate", { at: Schema.DateTimeUtc }) {}

const fails = ({ event }: Envelope<ItemAdded | CheckedOut>) => {
  switch (event._tag) {
    case "ItemAdded":
      return event.quantity > 1 ? Effect.fail(new NoStock({ sku: event.sku })) : Effect.void
    case "CheckedOut":
      return Effect.fail(new TooLate({ at: event.at }))
  }
}

describe("a flow", () => {
  test("is given the envelopes of its source, and has the errors and needs of its stream, but for its scope", () => {
    const flow = carts.pipe(
      Projection.flow("x", (envelopes) => {
        expect(envelopes).type.toBe<Stream.Stream<Envelope<ItemAdded | CheckedOut>>>()
        return Stream.mapEffect(envelopes, (envelope) =>
          Effect.gen(function*() {
            yield* Clockwork
            return envelope.sequenceNumber > 9 ? yield* Effect.fail("mine" as const) : envelope
          }))
      }, { deadline: "5 minutes", inHand: 10, saveAfter: 1 })
    )
    expect(flow).type.toBe<Projection.Projection<JournalErrors | "mine", Journal | Clockwork | Projection.Stores>>()
    const scoped = carts.pipe(
      Projection.flow("x", (envelopes) => Stream.unwrap(Effect.as(Effect.scope, envelopes)))
    )
    expect(scoped).type.toBe<Projection.Projection<JournalErrors, Journal | Projection.Stores>>()
  })

  test("emits what names an event", () => {
    carts.pipe(
      Projection.flow("x", Stream.map(({ persistenceId, sequenceNumber }) => ({ persistenceId, sequenceNumber })))
    )
    // @ts-expect-error is not assignable to
    carts.pipe(Projection.flow("x", Stream.map(({ event }) => event)))
  })

  test("does not compile if it writes in a transaction", () => {
    carts.pipe(
      // @ts-expect-error A flow has no Transaction: use Projection.exactlyOnce, or write with Database
      Projection.flow("x", (envelopes) => Stream.mapEffect(envelopes, (envelope) => Effect.as(insert, envelope)))
    )
  })
})

describe("a projection of several sources", () => {
  const Order = EntityType.make("order", { codec: EventCodec.string })
  const merged = Source.mergeAll([carts, Source.journal(Order).pipe(Source.tap(() => Effect.asVoid(Clockwork)))])
  type Needs = Journal | Clockwork | Projection.Stores

  test("is given the events of all of them, and has their errors and needs", () => {
    expect(merged.pipe(Projection.exactlyOnce("x", (envelope) => {
      expect(envelope).type.toBe<Envelope<ItemAdded | CheckedOut | string>>()
      return insert
    }))).type.toBe<Projection.Projection<JournalErrors, Needs>>()
    expect(merged.pipe(Projection.atLeastOnce("x", ({ event }) => {
      expect(event).type.toBe<ItemAdded | CheckedOut | string>()
      return Effect.fail("mine" as const)
    }, { parallelism: 4 }))).type.toBe<Projection.Projection<JournalErrors | "mine", Needs>>()
    expect(merged.pipe(Projection.atMostOnce("x", () => Effect.void))).type.toBe<
      Projection.Projection<JournalErrors, Needs>
    >()
  })

  test("does not compile with a handler of the events of some", () => {
    // @ts-expect-error is not assignable to
    merged.pipe(Projection.exactlyOnce("x", (envelope: Envelope<ItemAdded | CheckedOut>) => fails(envelope)))
  })
})

describe("a handler", () => {
  test("may fail in one way for one event and in another for another", () => {
    type Failing = Projection.Projection<JournalErrors | NoStock | TooLate, Journal | Projection.Stores>
    expect(carts.pipe(Projection.exactlyOnce("x", fails))).type.toBe<Failing>()
    expect(carts.pipe(Projection.atLeastOnce("x", fails))).type.toBe<Failing>()
    expect(carts.pipe(
      Projection.exactlyOnce("x", Handler.grouped({ size: 2, within: 1 }, ([first]) => fails(first!)))
    )).type.toBe<Failing>()
  })

  test("is given the events of its source", () => {
    carts.pipe(Projection.exactlyOnce("x", (envelope) => {
      expect(envelope).type.toBe<Envelope<ItemAdded | CheckedOut>>()
      return Effect.void
    }))
    carts.pipe(
      Source.map(({ event }) => event._tag),
      Projection.atLeastOnce("x", ({ event }) => {
        expect(event).type.toBe<"ItemAdded" | "CheckedOut">()
        return Effect.void
      })
    )
  })

  test("of groups is given the events of its source", () => {
    carts.pipe(Projection.exactlyOnce(
      "x",
      Handler.grouped({ size: 500, within: "100 millis" }, (envelopes) => {
        expect(envelopes).type.toBe<ReadonlyArray<Envelope<ItemAdded | CheckedOut>>>()
        return Effect.void
      })
    ))
  })

  test("with a life is given the events of its source, and has the errors and needs of its start", () => {
    const living = Handler.scoped((range) =>
      Effect.gen(function*() {
        expect(range).type.toBe<SliceRange>()
        yield* Effect.addFinalizer(() => Effect.void)
        yield* Clockwork
        if (range.min > 0) return yield* Effect.fail("not here" as const)
        return fails
      })
    )
    type Living = Projection.Projection<
      JournalErrors | NoStock | TooLate | "not here",
      Journal | Projection.Stores | Clockwork
    >
    expect(carts.pipe(Projection.atLeastOnce("x", living))).type.toBe<Living>()
    expect(carts.pipe(Projection.atMostOnce("x", living))).type.toBe<Living>()
    expect(carts.pipe(Projection.exactlyOnce("x", living))).type.toBe<Living>()
    expect(carts.pipe(
      Projection.exactlyOnce("x", Handler.scoped(() => Effect.succeed(() => insert)))
    )).type.toBe<Projection.Projection<JournalErrors, Journal | Projection.Stores>>()
    carts.pipe(Projection.exactlyOnce(
      "x",
      Handler.scoped(() =>
        Effect.succeed((envelope: Envelope<ItemAdded | CheckedOut>) => Effect.log(envelope.event._tag))
      )
    ))
    carts.pipe(Projection.exactlyOnce(
      "x",
      Handler.grouped(
        { size: 2, within: 1 },
        Handler.scoped(() =>
          Effect.succeed((envelopes: ReadonlyArray<Envelope<ItemAdded | CheckedOut>>) => Effect.log(envelopes.length))
        )
      )
    ))
  })

  test("with a life does not compile for other events, without a transaction that it needs, or if it starts in one", () => {
    carts.pipe(
      // @ts-expect-error is not assignable to
      Projection.exactlyOnce(
        "x",
        Handler.scoped(() => Effect.succeed((envelope: Envelope<CouponTried>) => Effect.log(envelope.event.code)))
      )
    )
    // @ts-expect-error An at-least-once handler has no Transaction: use Projection.exactlyOnce, or write with Database
    carts.pipe(Projection.atLeastOnce("x", Handler.scoped(() => Effect.succeed(() => insert))))
    // @ts-expect-error A handler starts outside of transactions
    Handler.scoped(() => Effect.as(insert, () => Effect.void))
  })

  test("of more events than the source has will do", () => {
    expect(carts.pipe(Projection.exactlyOnce("x", handleMore))).type.toBe<
      Projection.Projection<JournalErrors, Journal | Projection.Stores>
    >()
  })

  test("of another event type does not compile", () => {
    carts.pipe(
      // @ts-expect-error is not assignable to
      Projection.exactlyOnce("x", (envelope: Envelope<CouponTried>) => Effect.log(envelope.event.code))
    )
    carts.pipe(
      // @ts-expect-error is not assignable to
      Projection.atLeastOnce("x", (envelope: Envelope<ItemAdded>) => Effect.log(envelope.event.sku))
    )
    carts.pipe(
      // @ts-expect-error is not assignable to
      Projection.exactlyOnce(
        "x",
        Handler.grouped(
          { size: 2, within: 1 },
          (envelopes: ReadonlyArray<Envelope<CouponTried>>) => Effect.log(envelopes.length)
        )
      )
    )
  })

  test("is an effect: a promise does not compile", () => {
    // @ts-expect-error is not assignable to
    carts.pipe(Projection.exactlyOnce("x", () => Promise.resolve()))
  })
})

describe("a projection's layer", () => {
  const clockwork = Layer.succeed(Clockwork, { now: Effect.succeed(1) })

  test("is complete with a storage", () => {
    const complete = Projection.layer(popularity).pipe(Layer.provide([MemoryStorage.layer, clockwork]))
    expect(Layer.launch(complete)).type.toBe<Effect.Effect<never>>()
  })

  test("cannot be launched without one", () => {
    const incomplete = Projection.layer(popularity).pipe(Layer.provide(clockwork))
    expect(Layer.launch(incomplete)).type.toBe<Effect.Effect<never, never, Journal | Projection.Stores>>()
    expect(Effect.runFork).type.not.toBeCallableWith(Layer.launch(incomplete))
  })

  test("has no other errors than those that workers live with", () => {
    const failing = carts.pipe(Projection.exactlyOnce("x", () => Effect.fail("mine" as const)))
    expect(Projection.layer(failing)).type.toBe<Layer.Layer<never, never, Journal | Projection.Stores>>()
  })
})

test("only the offset store's transaction provides a Transaction", () => {
  const moved = OffsetStore.use((store) =>
    store.transact({ projection: "p", source: "s" }, { journal: "j", revision: 1 }, [], insert)
  )
  expect(moved).type.toBe<
    Effect.Effect<void, StorageError | Fenced | Handler.HandlerTooSlow | OffsetsDeleted, OffsetStore>
  >()
})

describe("a version of a projection", () => {
  test("switches in the transaction, and needs what else the switch and the drop need", () => {
    const versioned = carts.pipe(
      Projection.exactlyOnce("lengths", () => Effect.void),
      Projection.version(2, { switch: Effect.andThen(Clockwork, insert), drop: () => OffsetStore })
    )
    expect(Projection.layer(versioned)).type.toBe<Layer.Layer<never, never, Journal | Clockwork | Projection.Stores>>()
    const simple = carts.pipe(
      Projection.exactlyOnce("lengths", () => Effect.void),
      Projection.version(2, { switch: insert })
    )
    expect(Projection.layer(simple)).type.toBe<Layer.Layer<never, never, Journal | Projection.Stores>>()
  })

  test("is dropped outside of it", () => {
    expect(Projection.version).type.not.toBeCallableWith(2, { switch: insert, drop: () => insert })
  })
})
