import { assert, describe, it as plainIt, layer } from "@effect/vitest"
import { status } from "@grpc/grpc-js"
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventFilter from "@sluice/core/EventFilter"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { toCriteria, withCriteria } from "../src/internal/wire/criteria.ts"
import { toTimestampMessage } from "../src/internal/wire/messages.ts"
import { remote } from "./kit/Consumer.ts"
import * as Producer from "./kit/Producer.ts"
import { Cart, CartEvents, carts, serve, sliceOf } from "./kit/Producer.ts"
import * as RawClient from "./kit/RawClient.ts"
import { newAnswers, type Request, shortly } from "./kit/RawClient.ts"
import { caughtUp, effectsOf, makeStorage, record, run } from "./kit/Recorder.ts"

const append = (id: string, text: string, ...tags: ReadonlyArray<string>) =>
  Journal.append(Cart, { id, events: [text], tags })

type Init = NonNullable<Extract<Request, { case: "init" }>["value"]>
type Criteria = NonNullable<Init["filter"]>

const init = (filter: Criteria, change: Partial<Init> = {}): Request => ({
  case: "init",
  value: { streamId: "cart", sliceMin: 0, sliceMax: 1023, filter, ...change } as Init
})

const criteriaOf = (filter: EventFilter.EventFilter): Criteria =>
  toCriteria(EventFilter.diff(EventFilter.passAll, filter))

const large = EventFilter.excludeAll.pipe(EventFilter.includeTags("large"))

/** Ids of so many entities of one slice. */
const inSlice = (n: number): ReadonlyArray<string> =>
  Array.from({ length: 1024 * n * 2 }, (_, i) => `c${i}`).filter((id) => sliceOf(id) === sliceOf("c0")).slice(0, n)

/** A plain consumer's call to a server of the carts. */
const call = (port: number, ...requests: ReadonlyArray<Request>) =>
  Effect.gen(function*() {
    const call = yield* RawClient.eventsBySlices(yield* RawClient.client(port))
    requests.forEach(call.send)
    return call
  })

const answersOf = (answers: RawClient.Answers, n: number) =>
  Effect.map(newAnswers(answers, n), (messages) => messages.map(shortly))

/** How a call ends. */
const refusal = (port: number, ...requests: ReadonlyArray<Request>) =>
  Effect.gen(function*() {
    const { code, details } = yield* RawClient.ended(yield* call(port, ...requests))
    return [code, details] as const
  })

describe("criteria", () => {
  plainIt("are all kinds of a filter's, and of a change's", () => {
    const filter = EventFilter.passAll.pipe(
      EventFilter.excludeTags("a", "b"),
      EventFilter.excludeEntityIds("c"),
      EventFilter.excludeMatching("d.*"),
      EventFilter.includeTags("e"),
      EventFilter.includeTopics("f/#"),
      EventFilter.includeEntityIds("g", { entityId: "h", from: 7 }),
      EventFilter.includeMatching("i", "j")
    )
    const sent = criteriaOf(filter) as Parameters<typeof withCriteria>[1]
    assert.isTrue(Equal.equals(withCriteria(EventFilter.passAll, sent), filter))
    const other = large.pipe(EventFilter.includeEntityIds("h"))
    const changes = toCriteria(EventFilter.diff(filter, other))
    assert.isTrue(Equal.equals(
      withCriteria(filter, changes),
      EventFilter.merge(filter, EventFilter.diff(filter, other))
    ))
  })
})

/** A producer, and two entities of one slice in its storage, of which a consumer's filter is changed. */
const twoOfASlice = Effect.gen(function*() {
  const [there, here] = yield* Effect.all([makeStorage, makeStorage])
  const port = yield* serve(Layer.provide(carts, Layer.succeedContext(there)))
  const [id, other] = inSlice(2) as [string, string]
  const write = (id: string, n: number) =>
    Effect.provide(Journal.append(Cart, { id, events: Array.from({ length: n }, () => "x") as [string] }), there)
  const updating =
    (projection: Projection.Projection<any, any>) =>
    (change: (filter: EventFilter.EventFilter) => EventFilter.EventFilter, history?: ConsumerFilter.HistoryPolicy) =>
      Effect.provide(ConsumerFilter.update(projection, change, { by: "ada", history }), here)
  return { here, id, other, port, updating, write }
})

/** As the source shows the events of an entity, but for a moment: only its last ones, while it is looked for which were handled. */
const hiding = (port: number, last: number) => {
  const { provider } = remote(port)
  let hidden = 0
  const source = Source.make({
    ...provider,
    entity: (persistenceId, from, to) => {
      if (to >= last) return provider.entity(persistenceId, from, to)
      hidden++
      return Stream.empty
    }
  })
  return { source, hidden: () => hidden }
}

layer(Producer.quiet, { excludeTestServices: true })("a plain consumer", (it) => {
  it.effect("is sent what passes the filter of its init, and nothing of the rest", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      yield* append("a", "1", "large")
      yield* append("b", "1", "small")
      const answers = yield* call(port, init(criteriaOf(large)))
      yield* append("c", "1", "small")
      yield* append("b", "2", "large")
      assert.deepStrictEqual(yield* answersOf(answers, 2), ["a 1 1", "b 2 2"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("names topics without the prefix that the producer has for them, as does what it may see", () =>
    Effect.gen(function*() {
      const select = EventFilter.excludeAll.pipe(EventFilter.includeTopics("home/#"))
      const offered = EventProducer.layer(CartEvents, Source.journal(Cart), { select, topicPrefix: "topic=" })
      const port = yield* serve(offered)
      const wanted = EventFilter.excludeAll.pipe(EventFilter.includeTopics("home/+", "garden"))
      yield* append("a", "1", "topic=home/kitchen")
      yield* append("b", "1", "t:home/kitchen")
      yield* append("c", "1", "topic=garden")
      const answers = yield* call(port, init(criteriaOf(wanted)))
      yield* append("b", "2", "t:home/kitchen")
      yield* append("d", "1", "topic=home/kitchen/temperature")
      yield* append("a", "2", "topic=home/cellar")
      assert.deepStrictEqual(yield* answersOf(answers, 2), ["a 1 1", "a 2 2"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("changes the filter while events flow", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      const answers = yield* call(port, init([]))
      yield* append("a", "1")
      yield* answersOf(answers, 1)
      answers.send({ case: "filter", value: { criteria: criteriaOf(large) } })
      // it is known that the change has arrived when something is asked for behind it, and answered
      answers.send({
        case: "replay",
        value: { persistenceIdOffset: [{ persistenceId: "Cart|a", seqNr: 1n }] }
      })
      yield* answersOf(answers, 2)
      yield* append("b", "1", "small")
      yield* append("c", "1", "large")
      assert.deepStrictEqual(yield* answersOf(answers, 3), ["a 1 1", "a 1 1", "c 1 1"])
      const removed = toCriteria(EventFilter.diff(large, EventFilter.passAll))
      answers.send({ case: "filter", value: { criteria: removed } })
      answers.send({
        case: "replay",
        value: { persistenceIdOffset: [{ persistenceId: "Cart|b", seqNr: 1n }] }
      })
      yield* answersOf(answers, 4)
      yield* append("b", "2", "small")
      assert.deepStrictEqual((yield* answersOf(answers, 5)).slice(3), ["b 1 1", "b 2 2"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("is sent the events of an entity again that it asks for, up to where they are filtered again", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      for (const n of ["1", "2", "3", "4"]) yield* append("a", n, n === "4" ? "large" : "small")
      const answers = yield* call(port, init(criteriaOf(large)))
      assert.deepStrictEqual(yield* answersOf(answers, 1), ["a 4 4"])
      const replay = (seqNr: bigint, filterAfterSeqNr = 0n) =>
        answers.send({
          case: "replay",
          value: {
            replayPersistenceIds: [{
              fromPersistenceIdOffset: { persistenceId: "Cart|a", seqNr },
              filterAfterSeqNr
            }],
            // what older producers would look at
            persistenceIdOffset: [{ persistenceId: "Cart|a", seqNr: 1n }]
          }
        })
      replay(2n)
      assert.deepStrictEqual((yield* answersOf(answers, 4)).slice(1), ["a 2 2", "a 3 3", "a 4 4"])
      replay(1n, 3n)
      assert.deepStrictEqual((yield* answersOf(answers, 7)).slice(4), ["a 1 1", "a 2 2", "a 4 4"])
      // an entity that is not there is replayed by nothing
      answers.send({
        case: "replay",
        value: { persistenceIdOffset: [{ persistenceId: "Cart|nobody", seqNr: 1n }] }
      })
      yield* append("b", "1", "large")
      assert.deepStrictEqual((yield* answersOf(answers, 8)).slice(7), ["b 1 1"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("is sent the earlier events of an entity that it includes from a number on", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      for (const n of ["1", "2", "3"]) yield* append("a", n)
      yield* append("b", "1", "large")
      const answers = yield* call(port, init(criteriaOf(large)))
      assert.deepStrictEqual(yield* answersOf(answers, 1), ["b 1 1"])
      const included = EventFilter.passAll.pipe(EventFilter.includeEntityIds({ entityId: "a", from: 2 }, "b"))
      answers.send({ case: "filter", value: { criteria: criteriaOf(included) } })
      assert.deepStrictEqual((yield* answersOf(answers, 3)).slice(1), ["a 2 2", "a 3 3"])
      yield* append("a", "4")
      yield* append("b", "2")
      assert.deepStrictEqual((yield* answersOf(answers, 5)).slice(3), ["a 4 4", "b 2 2"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  for (
    const [name, streams] of [
      ["of bytes that pass through", carts],
      [
        "of events that are changed",
        EventProducer.layer(CartEvents, Source.journal(Cart).pipe(Source.map(({ event }) => `${event}!`)))
      ]
    ] as const
  ) {
    it.effect(`is sent what it asks for whatever it has seen, in a stream ${name}`, () =>
      Effect.gen(function*() {
        const port = yield* serve(streams)
        let last = 0
        for (const n of ["1", "2", "3"]) last = (yield* append("a", n, "small")).timestamp
        const seen = { timestamp: toTimestampMessage(last as any), seen: [{ persistenceId: "Cart|a", seqNr: 3n }] }
        const slice = Producer.sliceOf("a")
        const events = ["a 2", "a 3"]
        for (const offset of [[seen], [{ ...seen, slice }]] as ReadonlyArray<NonNullable<Init["offset"]>>) {
          const answers = yield* call(port, init([], { offset }))
          answers.send({
            case: "replay",
            // what the JVM says for never
            value: {
              replayPersistenceIds: [
                { fromPersistenceIdOffset: { persistenceId: "Cart|a", seqNr: 2n }, filterAfterSeqNr: 2n ** 63n - 1n },
                { fromPersistenceIdOffset: { persistenceId: "Cart|a", seqNr: 0n } }
              ]
            }
          })
          const found = yield* answersOf(answers, 2)
          assert.deepStrictEqual(found.map((text) => text.replace(/ \d!?$/, "")), events)
          const included = yield* call(
            port,
            init(
              [{ message: { case: "includeEntityIds", value: { entityIdOffset: [{ entityId: "a", seqNr: 2n }] } } }],
              {
                offset
              }
            )
          )
          assert.deepStrictEqual((yield* answersOf(included, 2)).map((text) => text.replace(/ \d!?$/, "")), events)
        }
      }).pipe(Effect.provide(MemoryStorage.layer)))
  }

  it.effect("is refused the events of other types, which the producer does not offer", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      const Secret = EntityType.make("Secret", { codec: EventCodec.string })
      yield* append("a", "1")
      yield* Journal.append(Secret, { id: "s", events: ["the password"] })
      const persistenceIdOffset = [{ persistenceId: "Secret|s", seqNr: 1n }]
      const replayPersistenceIds = [{ fromPersistenceIdOffset: persistenceIdOffset[0]! }]
      for (const value of [{ persistenceIdOffset }, { replayPersistenceIds }]) {
        assert.deepStrictEqual(yield* refusal(port, init([]), { case: "replay", value }), [
          status.INVALID_ARGUMENT,
          "the stream 'cart' has no events of the entity type 'Secret'"
        ])
      }
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("may include thousands of entities from a number on", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      yield* append("e2999", "1")
      const entityIdOffset = Array.from({ length: 3_000 }, (_, i) => ({ entityId: `e${i}`, seqNr: 1n }))
      const answers = yield* call(
        port,
        init([...criteriaOf(EventFilter.excludeAll), {
          message: { case: "includeEntityIds", value: { entityIdOffset } }
        }])
      )
      // with the log, and as it was asked for
      assert.deepStrictEqual(yield* answersOf(answers, 2), ["e2999 1 1", "e2999 1 1"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("is refused criteria that are wrong, and told why", () =>
    Effect.gen(function*() {
      const port = yield* serve(carts)
      const expression: Criteria = [{ message: { case: "excludeMatchingEntityIds", value: { matching: ["("] } } }]
      const topic: Criteria = [{ message: { case: "includeTopics", value: { expression: ["a#"] } } }]
      const number: Criteria = [
        { message: { case: "includeEntityIds", value: { entityIdOffset: [{ entityId: "a", seqNr: -1n }] } } }
      ]
      const many: Criteria = Array.from(
        { length: 8_001 },
        (_, i) => ({ message: { case: "excludeTags", value: { tags: [`t${i}`] } } })
      )
      for (
        const [criteria, problem] of [
          [expression, "The regular expression \"(\" cannot be parsed: missing closing ): `(`"],
          [topic, "The topic \"a#\" has '#' elsewhere than as its last level"],
          [number, "-1 is no sequence number: a safe integer from 0"],
          [[{}], "a criterion that this producer does not know"],
          [many, "A filter of 8001 criteria has more than 8000"]
        ] as ReadonlyArray<readonly [Criteria, string]>
      ) {
        const expected = [status.INVALID_ARGUMENT, `filter: ${problem}`] as const
        assert.deepStrictEqual(yield* refusal(port, init(criteria)), expected)
        const changed = { case: "filter", value: { criteria } } as Request
        assert.deepStrictEqual(yield* refusal(port, init([]), changed), expected)
      }
      const replay = { case: "replay", value: { persistenceIdOffset: [{ persistenceId: "a", seqNr: 1n }] } } as Request
      assert.deepStrictEqual(yield* refusal(port, init([]), replay), [
        status.INVALID_ARGUMENT,
        "replay: \"a\" is no persistence id: 'entityType|entityId', neither of them empty"
      ])
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

layer(Producer.quiet, { excludeTestServices: true })("a projection of a filtered stream", (it) => {
  it.effect("handles entities that are selected, from their first event on, and its lag reaches 0", () =>
    Effect.gen(function*() {
      const [there, here] = yield* Effect.all([makeStorage, makeStorage])
      const shouting = EventProducer.layer(
        CartEvents,
        Source.journal(Cart).pipe(Source.map(({ event }) => event.toUpperCase()))
      )
      const producer = yield* Producer.restartable(Layer.provide(shouting, Layer.succeedContext(there)))
      const write = (id: string, text: string, ...tags: ReadonlyArray<string>) =>
        Effect.provide(append(id, text, ...tags), there)
      for (let i = 0; i < 50; i++) {
        yield* write(`small-${i}`, "a", "small")
        yield* write(`small-${i}`, "b", "small")
      }
      yield* write("grows", "a", "small")
      yield* write("grows", "b", "small")
      yield* write("large", "a", "large")
      const projection = remote(producer.port).pipe(
        EventConsumer.filter(large),
        Projection.exactlyOnce("filtered", record),
        Projection.workers(3)
      )
      yield* run(projection, here)
      yield* caughtUp("filtered")
      const found = (id: string) => Effect.provide(effectsOf(id), here)
      assert.deepStrictEqual(yield* found("large"), ["1 A"])
      assert.deepStrictEqual(yield* found("grows"), [])

      // its earlier events come first, once it is selected
      yield* write("grows", "c", "large")
      yield* caughtUp("filtered")
      assert.deepStrictEqual(yield* found("grows"), ["1 A", "2 B", "3 C"])
      // and those that were not selected in between
      yield* write("grows", "d", "small")
      yield* write("grows", "e", "small")
      yield* caughtUp("filtered")
      yield* producer.stop
      yield* producer.start
      yield* write("grows", "f", "large")
      yield* caughtUp("filtered")
      assert.deepStrictEqual(yield* found("grows"), ["1 A", "2 B", "3 C", "4 D", "5 E", "6 F"])
      for (let i = 0; i < 50; i++) assert.deepStrictEqual(yield* found(`small-${i}`), [])
    }))

  it.effect("says which events of an entity were deleted before it was selected", () =>
    Effect.gen(function*() {
      const { layer, lines } = Producer.logging()
      const [there, here] = yield* Effect.all([makeStorage, makeStorage])
      const port = yield* serve(Layer.provide(carts, Layer.succeedContext(there)))
      const write = (id: string, text: string, ...tags: ReadonlyArray<string>) =>
        Effect.provide(append(id, text, ...tags), there)
      for (const text of ["a", "b", "c", "d"]) yield* write("grows", text, "small")
      yield* run(remote(port).pipe(EventConsumer.filter(large), Projection.exactlyOnce("pruned", record)), here).pipe(
        Effect.provide(layer)
      )
      yield* caughtUp("pruned")
      const before = Timestamp.fromMillis(Date.now() + 1_000)
      assert.strictEqual(yield* Effect.provide(Journal.prune(Cart, { before }), there), 3)
      yield* write("grows", "e", "large")
      yield* caughtUp("pruned")
      assert.deepStrictEqual(yield* Effect.provide(effectsOf("grows"), here), ["4 d", "5 e"])
      assert.isTrue(
        lines.some((line) => line.includes("Events 1 to 3 of 'Cart|grows' were left out by a filter, and deleted")),
        lines.join("\n")
      )
    }))

  /** A projection whose source prunes all that it may of its carts, and what its log says of what is gone then. */
  const pruning = Effect.fnUntraced(function*(name: string, ...handled: ReadonlyArray<string>) {
    const { layer, lines } = Producer.logging()
    const [there, here] = yield* Effect.all([makeStorage, makeStorage])
    const port = yield* serve(Layer.provide(carts, Layer.succeedContext(there)))
    const [id, other] = inSlice(2) as [string, string]
    const projection = Projection.exactlyOnce(name, record)(remote(port))
    yield* Effect.provide(run(projection, here), layer)
    const update = (
      change: (filter: EventFilter.EventFilter) => EventFilter.EventFilter,
      history?: ConsumerFilter.HistoryPolicy
    ) => Effect.provide(ConsumerFilter.update(projection, change, { by: "ada", history }), here)
    const write = (text: string, ...tags: ReadonlyArray<string>) => Effect.provide(append(id, text, ...tags), there)
    for (const text of handled) yield* write(text)
    yield* caughtUp(name)
    // from here on numbers tell of each entity what was handled
    yield* update(EventFilter.excludeEntityIds(other))
    yield* Effect.provide(append(other, "a"), there)
    yield* caughtUp(name)
    return {
      id,
      update,
      write,
      prune: (before = Timestamp.fromMillis(Date.now() + 1_000)) =>
        Effect.provide(Journal.prune(Cart, { before }), there),
      here: <A, E>(effect: Effect.Effect<A, E, Projection.Stores>) => Effect.provide(effect, here),
      caughtUp: caughtUp(name),
      found: Effect.provide(effectsOf(id), here),
      said: () =>
        lines.flatMap((line) => {
          const [text] = /Events .*(?=\. Goes on)/.exec(line) ?? []
          return text?.replace(` of 'Cart|${id}'`, "").replace(/[\d-]+T[\d:.]+Z/, "then") ?? []
        })
    }
  })

  it.effect("says nothing of what a change has given up that was deleted since, and of what else was that it is gone", () =>
    Effect.gen(function*() {
      const name = "given-up"
      const { caughtUp, found, here, prune, said, update, write } = yield* pruning(name)
      yield* update(() => large)
      for (const text of ["a", "b", "c"]) yield* write(text, "small")
      yield* caughtUp
      yield* here(ProjectionManagement.pause(name))
      yield* update(EventFilter.includeTags("medium"), "none")
      yield* write("d", "medium")
      yield* prune()
      yield* here(ProjectionManagement.resume(name))
      yield* caughtUp
      assert.deepStrictEqual(yield* found, ["4 d"])
      assert.deepStrictEqual(said(), [])
      for (const text of ["e", "f", "g"]) yield* write(text, "small")
      yield* caughtUp
      yield* prune()
      yield* write("h", "medium")
      yield* caughtUp
      assert.deepStrictEqual(yield* found, ["4 d", "7 g", "8 h"])
      // the entity has come since, so that none of them was given up
      assert.deepStrictEqual(said(), [
        "Events 5 to 6 were left out by a filter, and deleted at the source before they were selected"
      ])
    }))

  it.effect("says nothing of what it had handled before anything was left out", () =>
    Effect.gen(function*() {
      const { caughtUp, found, id, prune, said, update, write } = yield* pruning("handled-before", "a", "b", "c")
      yield* update(EventFilter.excludeEntityIds(id))
      yield* write("d")
      yield* caughtUp
      yield* prune()
      yield* update(EventFilter.without(EventFilter.excludeEntityIds(id)))
      yield* write("e")
      yield* caughtUp
      assert.deepStrictEqual(yield* found, ["1 a", "2 b", "3 c", "4 d", "5 e"])
      assert.deepStrictEqual(said(), [])
    }))

  it.effect("says of events that were deleted together, with the one before the next, that some of them are gone", () =>
    Effect.gen(function*() {
      const name = "all-before"
      const { caughtUp, found, here, id, prune, said, update, write } = yield* pruning(name, "a")
      yield* update(EventFilter.excludeEntityIds(id))
      for (const text of ["b", "c"]) yield* write(text)
      yield* caughtUp
      yield* here(ProjectionManagement.pause(name))
      yield* update(EventFilter.without(EventFilter.excludeEntityIds(id)))
      yield* write("d")
      yield* prune()
      yield* here(ProjectionManagement.resume(name))
      yield* caughtUp
      assert.deepStrictEqual(yield* found, ["1 a", "4 d"])
      assert.deepStrictEqual(said(), [
        "Events 1 to 3 were left out by a filter, and deleted at the source before they were selected. " +
        "Those of them that were written before then are no loss: they had been handled, or given up"
      ])
    }))

  it.effect("names those events that are gone which it has not handled before a rewind", () =>
    Effect.gen(function*() {
      const name = "rewound-since"
      const { caughtUp, found, here, id, prune, said, update, write } = yield* pruning(name)
      for (const text of ["a", "b"]) yield* write(text)
      yield* caughtUp
      yield* update(EventFilter.excludeEntityIds(id))
      for (const text of ["c", "d"]) yield* write(text)
      yield* caughtUp
      const { timestamp } = yield* write("e")
      yield* caughtUp
      yield* here(ProjectionManagement.rewind(name, { since: timestamp }))
      yield* caughtUp
      yield* update(EventFilter.without(EventFilter.excludeEntityIds(id)))
      yield* prune(timestamp)
      yield* write("f")
      yield* caughtUp
      assert.deepStrictEqual(yield* found, ["1 a", "2 b", "5 e", "6 f"])
      assert.deepStrictEqual(said(), [
        "Events 3 to 4 were left out by a filter, and deleted at the source before they were selected"
      ])
    }))

  it.effect("says of events that were to come again after a rewind that they are gone", () =>
    Effect.gen(function*() {
      const name = "rewound-to-before"
      const { caughtUp, here, id, prune, said, update, write } = yield* pruning(name)
      yield* write("a")
      const { timestamp } = yield* write("b")
      for (const text of ["c", "d"]) yield* write(text)
      yield* caughtUp
      yield* update(EventFilter.excludeEntityIds(id))
      yield* here(ProjectionManagement.rewind(name, { since: timestamp }))
      yield* caughtUp
      yield* prune()
      yield* update(EventFilter.without(EventFilter.excludeEntityIds(id)))
      yield* write("e")
      yield* caughtUp
      assert.deepStrictEqual(said(), [
        "Events 1 to 3 were deleted at the source. " +
        "Those of them that were written from then on were to come again after a rewind, and do not"
      ])
    }))

  it.effect("handles large events of entities that it had read, though not all of them can wait at once", () =>
    Effect.gen(function*() {
      const [there, here] = yield* Effect.all([makeStorage, makeStorage])
      const port = yield* serve(Layer.provide(carts, Layer.succeedContext(there)))
      const [other, ...ids] = inSlice(8)
      const write = (id: string, text: string) => Effect.provide(append(id, text), there)
      for (const id of ids) yield* write(id, "first")
      const projection = remote(port).pipe(
        EventConsumer.filter(EventFilter.passAll.pipe(EventFilter.excludeEntityIds(other!))),
        Projection.exactlyOnce("large", record)
      )
      yield* run(projection, here)
      yield* caughtUp("large")
      yield* write(other!, "left out")
      yield* caughtUp("large")
      // each asks whether it is the next one, and they are more than 4 MiB
      const text = "x".repeat(900_000)
      const writing = Effect.forEach(ids, (id) => Journal.append(Cart, { id, events: [text] }))
      yield* Effect.provide(Journal.transaction(writing), there)
      yield* caughtUp("large")
      for (const id of ids) {
        const found = yield* Effect.provide(effectsOf(id), here)
        assert.deepStrictEqual(found.map((text) => text.slice(0, 7)), ["1 first", "2 xxxxx"])
      }
    }))

  it.effect("asks for what it has not read of an entity, and not for a long past that it has", () =>
    Effect.gen(function*() {
      const { here, id, other, port, updating, write } = yield* twoOfASlice
      let sent = 0
      const { provider } = remote(port)
      const source = Source.make({
        ...provider,
        entity: (...args) => Stream.tap(provider.entity(...args), () => Effect.sync(() => sent++))
      })
      const projection = Projection.exactlyOnce("long", record)(source)
      yield* run(projection, here)
      yield* write(id, 1_500)
      yield* caughtUp("long")
      const update = updating(projection)
      yield* update(EventFilter.excludeEntityIds(id))
      yield* write(id, 20)
      yield* write(other, 1_000)
      yield* caughtUp("long")
      assert.strictEqual(sent, 0)
      yield* update(() => EventFilter.passAll)
      yield* write(id, 1)
      yield* caughtUp("long")
      assert.strictEqual((yield* Effect.provide(effectsOf(id), here)).length, 1_521)
      // the 20, and a few to find out which they are
      assert.isAtLeast(sent, 20)
      assert.isAtMost(sent, 50)
    }))

  /** A projection that has handled 300 events of an entity, of a source that hides another one of it for a moment, and has passed over some. */
  const passingOver = Effect.fnUntraced(function*(name: string, hides: number) {
    const { here, id, other, port, updating, write } = yield* twoOfASlice
    const { hidden, source } = hiding(port, hides)
    const projection = Projection.exactlyOnce(name, record)(source)
    yield* run(projection, here)
    yield* write(id, 300)
    yield* caughtUp(name)
    const update = updating(projection)
    /** Passes over 20 events, as it is told to, and reads on. */
    const passOver = Effect.gen(function*() {
      yield* update(EventFilter.excludeEntityIds(id))
      yield* write(id, 20)
      yield* write(other, 1)
      yield* caughtUp(name)
    })
    yield* passOver
    /** Has it included again, with its next event. */
    const include = Effect.gen(function*() {
      yield* update(() => EventFilter.passAll)
      yield* write(id, 1)
      yield* caughtUp(name)
    })
    return { effects: Effect.provide(effectsOf(id), here), hidden, include, passOver, update }
  })

  it.effect("loses nothing of an entity that is hidden for a moment while it is asked for what was not read", () =>
    Effect.gen(function*() {
      const last = 321
      // after its predecessor, and before it itself is asked for
      const { effects, hidden, include } = yield* passingOver("hidden", last - 1)
      yield* include
      assert.strictEqual((yield* effects).length, last)
      assert.isAbove(hidden(), 0)
    }))

  it.effect("loses nothing of an entity that is hidden for a moment while it is looked for what a change has given up of it, and brings that not either", () =>
    Effect.gen(function*() {
      const { effects, hidden, include, passOver, update } = yield* passingOver("given-up", 340)
      yield* update(() => EventFilter.passAll, "none")
      yield* passOver
      yield* include
      const numbers = (yield* effects).map((text) => parseInt(text))
      assert.deepStrictEqual(numbers.slice(300), Array.from({ length: 21 }, (_, i) => 321 + i))
      assert.isAbove(hidden(), 0)
    }))

  it.effect("loses nothing after a rewind of an entity that is hidden for a moment while it is looked for what comes again", () =>
    Effect.gen(function*() {
      const { here, id, other, port, updating, write } = yield* twoOfASlice
      const { hidden, source } = hiding(port, 340)
      const projection = Projection.exactlyOnce("rewound", record)(source)
      yield* run(projection, here)
      // in the mode per entity from the beginning
      yield* write(other, 1)
      const update = updating(projection)
      yield* caughtUp("rewound")
      yield* update(EventFilter.excludeEntityIds(other))
      yield* write(other, 1)
      yield* write(id, 310)
      const { timestamp } = yield* write(id, 1)
      yield* write(id, 29)
      yield* caughtUp("rewound")
      yield* update(EventFilter.excludeEntityIds(id))
      yield* Effect.provide(ProjectionManagement.rewind("rewound", { since: timestamp }), here)
      yield* write(other, 1)
      yield* caughtUp("rewound")
      yield* update(() => EventFilter.passAll)
      yield* write(id, 1)
      yield* caughtUp("rewound")
      const numbers = (yield* Effect.provide(effectsOf(id), here)).map((text) => parseInt(text))
      assert.deepStrictEqual(numbers.slice(340), numbers.slice(310, 340).concat(341))
      assert.isAbove(hidden(), 0)
    }))

  it.effect("gives up the past of a topic by the prefix that its producer has for topics", () =>
    Effect.gen(function*() {
      const [there, here] = yield* Effect.all([makeStorage, makeStorage])
      const offered = EventProducer.layer(CartEvents, Source.journal(Cart), { topicPrefix: "thème=" })
      const port = yield* serve(Layer.provide(offered, Layer.succeedContext(there)))
      const write = (id: string, text: string, ...tags: ReadonlyArray<string>) =>
        Effect.provide(append(id, text, ...tags), there)
      yield* write("a", "before")
      yield* write("b", "before", "t:home/kitchen")
      const projection = remote(port).pipe(
        EventConsumer.filter(EventFilter.excludeAll),
        Projection.exactlyOnce("topics", record)
      )
      yield* run(projection, here)
      yield* caughtUp("topics")
      const include = EventFilter.includeTopics("home/#")
      yield* Effect.provide(ConsumerFilter.update(projection, include, { by: "ada", history: "none" }), here)
      yield* write("b", "of another kind", "t:home/kitchen")
      yield* write("a", "after", "thème=home/kitchen")
      yield* write("b", "after", "thème=home/kitchen")
      yield* caughtUp("topics")
      assert.deepStrictEqual(yield* Effect.provide(effectsOf("a"), here), ["2 after"])
      assert.deepStrictEqual(yield* Effect.provide(effectsOf("b"), here), ["2 of another kind", "3 after"])
    }))

  it.effect("has the filter that was given last, and says that there is one", () =>
    Effect.sync(() => {
      const filtered = remote(1).pipe(EventConsumer.filter(large), EventConsumer.filter(EventFilter.passAll))
      assert.strictEqual(Source.describe(filtered), "cart at 127.0.0.1:1")
      assert.throws(
        () => EventConsumer.filter(EventFilter.includeEntityIds({ entityId: "c-1", from: 2 })(large))(remote(1)),
        RangeError,
        "The filter of 'cart' includes \"c-1\" from 2: include the id alone"
      )
      assert.strictEqual(
        Source.describe(remote(1).pipe(EventConsumer.filter(large))),
        "cart at 127.0.0.1:1, filtered"
      )
    }))
})
