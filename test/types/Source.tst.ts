import * as EntityType from "@sluice/core/EntityType"
import type { Envelope } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventFilter from "@sluice/core/EventFilter"
import * as EventStream from "@sluice/core/EventStream"
import type { Journal, JournalForked, JournalReplaced, OffsetBelowFloor } from "@sluice/core/Journal"
import type { Snapshot, SnapshotStore } from "@sluice/core/SnapshotStore"
import * as Source from "@sluice/core/Source"
import * as StateType from "@sluice/core/StateType"
import type { StorageError } from "@sluice/core/StorageError"
import { Transaction } from "@sluice/core/Transaction"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as EventProducer from "@sluice/grpc/EventProducer"
import type { DuplicateStream } from "@sluice/grpc/GrpcError"
import type { GrpcServer } from "@sluice/grpc/GrpcServer"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as SubscriptionRef from "effect/SubscriptionRef"
import { describe, expect, test } from "tstyche"

class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String, quantity: Schema.Int }) {}
class CheckedOut extends Schema.TaggedClass<CheckedOut>()("CheckedOut", { at: Schema.DateTimeUtc }) {}
class CouponTried extends Schema.TaggedClass<CouponTried>()("CouponTried", { code: Schema.String }) {}
class Prices extends Context.Service<Prices, { readonly of: (sku: string) => Effect.Effect<number, "unknown"> }>()(
  "test/Prices"
) {}

const Cart = EntityType.make("cart", { event: Schema.Union([ItemAdded, CheckedOut, CouponTried]) })
const journal = Source.journal(Cart)

type JournalErrors = StorageError | JournalForked | JournalReplaced | OffsetBelowFloor | EventCodec.EventDecodeError

test("an entity type has the events of its schema, or of its codec", () => {
  expect(Cart).type.toBe<EntityType.EntityType<ItemAdded | CheckedOut | CouponTried, "cart">>()
  expect(EntityType.make("note", { codec: EventCodec.string })).type.toBe<EntityType.EntityType<string, "note">>()
  expect(EventStream.make("carts", { event: ItemAdded })).type.toBe<EventStream.EventStream<ItemAdded>>()
  expect<EventCodec.Event<EventCodec.EventCodec<ItemAdded>>>().type.toBe<ItemAdded>()
})

test("a codec of fewer events is not one of more, nor the other way round", () => {
  expect<EventCodec.EventCodec<ItemAdded>>().type.not.toBeAssignableTo<EventCodec.EventCodec<ItemAdded | CheckedOut>>()
  expect<EventCodec.EventCodec<ItemAdded | CheckedOut>>().type.not.toBeAssignableTo<EventCodec.EventCodec<ItemAdded>>()
})

describe("a journal as a source", () => {
  test("has its events, its errors, and needs a journal", () => {
    expect(journal).type.toBe<Source.Source<ItemAdded | CheckedOut | CouponTried, JournalErrors, Journal>>()
  })

  test("opens as a stream of envelopes", () => {
    expect(Source.toStream(journal)).type.toBe<
      Stream.Stream<Envelope<ItemAdded | CheckedOut | CouponTried>, JournalErrors, Journal>
    >()
  })
})

describe("a journal that begins at snapshots", () => {
  const State = StateType.make("cart", { state: Schema.Struct({ items: Schema.Int }) })

  test("has the events of the journal, and those that are made of snapshots", () => {
    const source = Source.fromSnapshots(Cart, State, ({ state }) => state.items)
    expect(source).type.toBe<
      Source.Source<ItemAdded | CheckedOut | CouponTried | number, JournalErrors, Journal | SnapshotStore>
    >()
  })

  test("is not made by a function that may forget a snapshot", () => {
    expect(Source.fromSnapshots).type.not.toBeCallableWith(
      Cart,
      State,
      ({ state }: Snapshot<{ readonly items: number }>) => state.items > 0 ? state.items : undefined
    )
  })
})

describe("EventConsumer.filter", () => {
  const Words = EventStream.make("words", { codec: EventCodec.string })
  const remote = EventConsumer.source(Words, { address: "localhost:8101" })

  test("keeps the type of the events", () => {
    expect(remote.pipe(EventConsumer.filter(EventFilter.passAll))).type.toBe<typeof remote>()
  })

  test("is refused behind a stage, and of a journal", () => {
    // @ts-expect-error EventConsumer.filter comes directly after EventConsumer.source
    remote.pipe(Source.map(({ event }) => event), EventConsumer.filter(EventFilter.passAll))
    // @ts-expect-error EventConsumer.filter comes directly after EventConsumer.source
    journal.pipe(EventConsumer.filter(EventFilter.passAll))
  })
})

describe("Source.map", () => {
  test("changes the type of the events", () => {
    expect(journal.pipe(Source.map(({ event }) => event._tag))).type.toBe<
      Source.Source<"ItemAdded" | "CheckedOut" | "CouponTried", JournalErrors, Journal>
    >()
  })

  test("refuses a function that returns nothing", () => {
    // @ts-expect-error is not assignable to type '"Source.map must not return undefined: to drop an event, use Source.filterMap"'
    journal.pipe(Source.map(() => undefined))
    // @ts-expect-error is not assignable to type '"Source.map must not return undefined: to drop an event, use Source.filterMap"'
    journal.pipe(Source.map(() => {}))
  })

  test("takes null, which says something", () => {
    expect(journal.pipe(Source.map(() => null))).type.toBe<Source.Source<null, JournalErrors, Journal>>()
  })
})

describe("Source.filterMap", () => {
  test("asks for an Option, and has the events in it", () => {
    const filtered = journal.pipe(
      Source.filterMap(({ event }) => event._tag === "CouponTried" ? Option.none() : Option.some(event))
    )
    expect(filtered).type.toBe<Source.Source<ItemAdded | CheckedOut, JournalErrors, Journal>>()
    // @ts-expect-error is not assignable to
    journal.pipe(Source.filterMap(({ event }) => event._tag === "CouponTried" ? undefined : event))
  })
})

class ItemBought extends Schema.TaggedClass<ItemBought>()("ItemBought", { sku: Schema.String }) {}
class CartClosed extends Schema.TaggedClass<CartClosed>()("CartClosed", { at: Schema.DateTimeUtc }) {}
class NoPrice extends Schema.TaggedError<NoPrice>()("NoPrice", { sku: Schema.String }) {}
class Closed extends Schema.TaggedError<Closed>()("Closed", { at: Schema.DateTimeUtc }) {}

const decide = ({ event }: Envelope<ItemAdded | CheckedOut | CouponTried>) => {
  switch (event._tag) {
    case "ItemAdded":
      return event.quantity > 9
        ? Effect.fail(new NoPrice({ sku: event.sku }))
        : Effect.succeed(new ItemBought({ sku: event.sku }))
    case "CheckedOut":
      return Effect.as(Prices, new CartClosed({ at: event.at }))
    case "CouponTried":
      return Effect.fail(new Closed({ at: DateTime.nowUnsafe() }))
  }
}

describe("a stage that makes several classes of events, or of errors, has their union", () => {
  const published = journal.pipe(
    Source.filterMap(({ event }) => {
      switch (event._tag) {
        case "ItemAdded":
          return Option.some(new ItemBought({ sku: event.sku }))
        case "CheckedOut":
          return Option.some(new CartClosed({ at: event.at }))
        case "CouponTried":
          return Option.none()
      }
    })
  )

  test("filterMap", () => {
    expect(published).type.toBe<Source.Source<ItemBought | CartClosed, JournalErrors, Journal>>()
    const Public = EventStream.make("carts", { event: Schema.Union([ItemBought, CartClosed]) })
    expect(EventProducer.layer).type.toBeCallableWith(Public, published)
    const Fewer = EventStream.make("carts", { event: ItemBought })
    expect(EventProducer.layer).type.not.toBeCallableWith(Fewer, published)
  })

  test("filterMap that forgets a case does not compile", () => {
    // @ts-expect-error is not assignable to
    journal.pipe(Source.filterMap(({ event }) => {
      switch (event._tag) {
        case "ItemAdded":
          return Option.some(new ItemBought({ sku: event.sku }))
        case "CheckedOut":
          return Option.none()
      }
    }))
  })

  test("map", () => {
    const mapped = journal.pipe(Source.map(({ event }) => {
      switch (event._tag) {
        case "ItemAdded":
          return new ItemBought({ sku: event.sku })
        case "CheckedOut":
          return new CartClosed({ at: event.at })
        case "CouponTried":
          return event
      }
    }))
    expect(mapped).type.toBe<Source.Source<ItemBought | CartClosed | CouponTried, JournalErrors, Journal>>()
  })

  test("mapEffect, tap", () => {
    expect(journal.pipe(Source.mapEffect(decide))).type.toBe<
      Source.Source<ItemBought | CartClosed, JournalErrors | NoPrice | Closed, Journal | Prices>
    >()
    expect(journal.pipe(Source.tap(decide))).type.toBe<
      Source.Source<ItemAdded | CheckedOut | CouponTried, JournalErrors | NoPrice | Closed, Journal | Prices>
    >()
  })
})

test("a stage that writes in a transaction does not compile, as it runs before one", () => {
  const insert: Effect.Effect<void, StorageError, Transaction> = Effect.asVoid(Transaction)
  // @ts-expect-error A stage of a source has no Transaction: write in the handler of Projection.exactlyOnce
  journal.pipe(Source.tap(() => insert))
  // @ts-expect-error A stage of a source has no Transaction: write in the handler of Projection.exactlyOnce
  journal.pipe(Source.mapEffect(({ event }) => Effect.as(insert, event)))
})

describe("Source.filter", () => {
  test("keeps the type of the events", () => {
    expect(journal.pipe(Source.filter(({ event }) => event._tag !== "CouponTried" || event.code !== ""))).type.toBe<
      Source.Source<ItemAdded | CheckedOut | CouponTried, JournalErrors, Journal>
    >()
  })

  test("narrows it with a guard", () => {
    const guarded = journal.pipe(
      Source.filter((envelope: Envelope<ItemAdded | CheckedOut | CouponTried>): envelope is Envelope<ItemAdded> =>
        envelope.event._tag === "ItemAdded"
      )
    )
    expect(guarded).type.toBe<Source.Source<ItemAdded, JournalErrors, Journal>>()
  })
})

describe("stages that are effects", () => {
  const priced = journal.pipe(
    Source.filterMap(({ event }) => event._tag === "ItemAdded" ? Option.some(event) : Option.none()),
    Source.mapEffect(({ event }) => Effect.flatMap(Prices, (prices) => prices.of(event.sku)))
  )

  test("add their errors and what they need", () => {
    expect(priced).type.toBe<Source.Source<number, JournalErrors | "unknown", Journal | Prices>>()
    expect(journal.pipe(Source.tap(() => Effect.andThen(Prices, Effect.fail("tapped" as const))))).type.toBe<
      Source.Source<ItemAdded | CheckedOut | CouponTried, JournalErrors | "tapped", Journal | Prices>
    >()
  })

  test("are needed by its stream as well", () => {
    expect(Source.toStream(priced)).type.toBe<
      Stream.Stream<Envelope<number>, JournalErrors | "unknown", Journal | Prices>
    >()
  })

  test("are given what the stages before make of an event", () => {
    priced.pipe(Source.tap((envelope) => {
      expect(envelope).type.toBe<Envelope<number>>()
      return Effect.void
    }))
  })
})

describe("several sources", () => {
  class Paid extends Schema.TaggedClass<Paid>()("Paid", { amount: Schema.Int }) {}
  const PaidEvents = EventStream.make("paid", { event: Paid })
  const paid = EventConsumer.source(PaidEvents, { address: "localhost:8101" })
  const priced = journal.pipe(
    Source.filterMap(({ event }) => event._tag === "ItemAdded" ? Option.some(event) : Option.none()),
    Source.mapEffect(({ event }) => Effect.flatMap(Prices, (prices) => prices.of(event.sku)))
  )
  const merged = Source.mergeAll([priced, paid])

  test("have the events, errors and needs of all of them", () => {
    expect(merged).type.toBe<
      Source.Sources<number | Paid, JournalErrors | "unknown" | EventConsumer.ConsumerError, Journal | Prices>
    >()
    expect(Source.mergeAll([merged, journal])).type.toBe<
      Source.Sources<
        number | Paid | ItemAdded | CheckedOut | CouponTried,
        JournalErrors | "unknown" | EventConsumer.ConsumerError,
        Journal | Prices
      >
    >()
    const producers = ["eu", "us"].map((name) => EventConsumer.source(PaidEvents, { address: `${name}:8101`, name }))
    expect(Source.mergeAll(producers)).type.toBe<Source.Sources<Paid, EventConsumer.ConsumerError>>()
    expect<Source.Event<typeof merged>>().type.toBe<number | Paid>()
  })

  test("open as one stream, which begins at their beginnings", () => {
    expect(Source.toStream(merged)).type.toBe<
      Stream.Stream<
        Envelope<number | Paid>,
        JournalErrors | "unknown" | EventConsumer.ConsumerError,
        Journal | Prices
      >
    >()
    expect(merged.pipe(Source.toStream, Stream.map(({ event }) => event))).type.toBe<
      Stream.Stream<number | Paid, JournalErrors | "unknown" | EventConsumer.ConsumerError, Journal | Prices>
    >()
  })

  test("are no source for a producer, a stage or a filter, which are of one", () => {
    expect(EventProducer.layer).type.not.toBeCallableWith(PaidEvents, Source.mergeAll([paid]))
    // @ts-expect-error is missing the following properties
    merged.pipe(Source.map(() => 1))
    // @ts-expect-error EventConsumer.filter comes directly after EventConsumer.source
    merged.pipe(EventConsumer.filter(EventFilter.passAll))
  })
})

test("a source of fewer events, errors and needs is one of more", () => {
  expect<Source.Source<ItemAdded>>().type.toBeAssignableTo<Source.Source<ItemAdded | CheckedOut, "error", Journal>>()
  expect<Source.Source<ItemAdded | CheckedOut>>().type.not.toBeAssignableTo<Source.Source<ItemAdded>>()
  expect<Source.Source<ItemAdded, never, Journal>>().type.not.toBeAssignableTo<Source.Source<ItemAdded>>()
})

test("Source.map refuses a function that forgets a case", () => {
  // @ts-expect-error is not assignable to
  journal.pipe(Source.map(({ event }) => event._tag === "ItemAdded" ? event : undefined))
  // @ts-expect-error is not assignable to
  journal.pipe(Source.map(({ event }) => {
    switch (event._tag) {
      case "ItemAdded":
        return event
    }
  }))
})

describe("what each caller may see", () => {
  const CartEvents = EventStream.make("carts", { event: Schema.Union([ItemAdded, CheckedOut, CouponTried]) })

  test("is a filter, or changes, or is a function of the caller", () => {
    const offer = EventProducer.layer(CartEvents, journal, { select: EventFilter.passAll })
    expect(offer).type.toBe<Layer.Layer<never, DuplicateStream, Journal | GrpcServer>>()
    expect<{ readonly select: SubscriptionRef.SubscriptionRef<EventFilter.EventFilter> }>().type.toBeAssignableTo<
      EventProducer.Options
    >()
    const each = EventProducer.layer(CartEvents, journal, {
      select: ({ headers }) => ({ metadata, tags }) =>
        tags.includes("public") || metadata["tenant"] === headers["tenant"]
    })
    expect(each).type.toBe<Layer.Layer<never, DuplicateStream, Journal | GrpcServer>>()
  })

  test("needs what its effect needs", () => {
    const offer = EventProducer.layer(CartEvents, journal, {
      select: () => Effect.map(Prices, () => EventFilter.passAll)
    })
    expect(offer).type.toBe<Layer.Layer<never, DuplicateStream, Journal | GrpcServer | Prices>>()
  })

  test("is no effect for each event, and no text", () => {
    expect(EventProducer.layer).type.not.toBeCallableWith(CartEvents, journal, {
      select: () => () => Effect.succeed(true)
    })
    expect(EventProducer.layer).type.not.toBeCallableWith(CartEvents, journal, { select: () => async () => true })
    expect(EventProducer.layer).type.not.toBeCallableWith(CartEvents, journal, { select: "large" })
  })
})
