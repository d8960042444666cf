import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import type { Envelope } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Handler from "@sluice/core/Handler"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import * as Faults from "@sluice/testing/Faults"
import * as Idempotence from "@sluice/testing/Idempotence"
import type { TestSource } from "@sluice/testing/TestSource"
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { isFull } from "../src/internal/isFull.ts"

class Added
  extends Schema.TaggedClass<Added>()("Added", { n: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 })) })
{}
const Sum = EntityType.make("sum", { event: Added })
const Effects = EntityType.make("effects", { codec: EventCodec.string })

type Stores = Projection.Stores | Journal.Journal

/** What a handler writes: sums by entity, and how far each is, which survive a crash as rows of a database do. */
class Rows {
  readonly sums = new Map<string, number>()
  readonly handled = new Map<string, number>()
  readonly mails: Array<string> = []
}

const check = <S>(
  projection: (source: TestSource<Added>, rows: Rows) => Projection.Projection<unknown, Stores>,
  state: (rows: Rows) => Effect.Effect<S, unknown, Stores>,
  runs?: number
) =>
  Idempotence.check(Sum, {
    event: Arbitrary.schema(Added),
    storage: MemoryStorage.layer,
    seed: 1,
    runs,
    subject: (source) =>
      Effect.sync(() => {
        const rows = new Rows()
        return { projection: () => projection(source, rows), state: state(rows) }
      })
  })

const atLeastOnce = (handle: (envelope: Envelope<Added>, rows: Rows) => Effect.Effect<void>, runs?: number) =>
  check(
    (source, rows) => source.pipe(Projection.atLeastOnce("sums", (envelope) => handle(envelope, rows))),
    (rows) => Effect.sync(() => Object.fromEntries(rows.sums)),
    runs
  )

const isNew = ({ persistenceId, sequenceNumber }: Envelope<Added>, { handled }: Rows) =>
  sequenceNumber > (handled.get(persistenceId) ?? 0)

const add = ({ event: { n }, persistenceId }: Envelope<Added>, { sums }: Rows) =>
  Effect.sync(() => void sums.set(persistenceId, (sums.get(persistenceId) ?? 0) + n))

const mark = ({ persistenceId, sequenceNumber }: Envelope<Added>, { handled }: Rows) =>
  Effect.sync(() => void handled.set(persistenceId, sequenceNumber))

const record = ({ event }: Envelope<Added>) => Journal.append(Effects, { id: "all", events: [`${event.n}`] })
const recorded = Stream.runCollect(Stream.map(Journal.read(Effects, "all"), ({ event }) => event))

const flow = (handle: (envelope: Envelope<Added>, rows: Rows) => Effect.Effect<void>, runs?: number) =>
  check(
    (source, rows) =>
      source.pipe(Projection.flow("sums", (envelopes: Stream.Stream<Envelope<Added>>) =>
        Stream.tap(envelopes, (envelope) =>
          handle(envelope, rows)))),
    (rows) =>
      Effect.sync(() => Object.fromEntries(rows.sums)),
    runs
  )

/** Nothing is found in the others either. */
const some = isFull ? 25 : 10

describe("a handler that stands repetitions", () => {
  it.effect("is at least once, and adds and marks in one step", () =>
    atLeastOnce((envelope, rows) =>
      Effect.sync(() => {
        if (!isNew(envelope, rows)) return
        Effect.runSync(add(envelope, rows))
        Effect.runSync(mark(envelope, rows))
      }), some))

  it.effect("is a flow that adds and marks in one step", () =>
    flow((envelope, rows) =>
      Effect.sync(() => {
        if (!isNew(envelope, rows)) return
        Effect.runSync(add(envelope, rows))
        Effect.runSync(mark(envelope, rows))
      }), some))

  it.effect("is exactly once, and writes in its transaction", () =>
    check((source) => source.pipe(Projection.exactlyOnce("sums", record)), () => recorded, some))

  it.effect("is exactly once, in groups", () =>
    check(
      (source) =>
        source.pipe(Projection.exactlyOnce(
          "sums",
          Handler.grouped(
            { size: 3, within: "10 millis" },
            (group: ReadonlyArray<Envelope<Added>>) => Effect.forEach(group, record, { discard: true })
          )
        )),
      () => recorded,
      some
    ))
})

/** Has many steps, as one of a database has. */
const statement = (last: Effect.Effect<void>) => Effect.andThen(Effect.repeat(Effect.void, { times: 100 }), last)

/** The fault that is found, once it is as simple as can be. */
const found = (checked: Effect.Effect<void, Idempotence.NotIdempotent>) =>
  Effect.map(Effect.flip(checked), ({ actual, expected, faults, message, publications }) => {
    assert.isAtMost(publications.length, 2, message)
    assert.strictEqual(faults.length, 1, message)
    assert.notDeepEqual(actual, expected)
    assert.include(message, Faults.describe({ faults }))
    return faults[0]!
  })

describe("a handler that does not", () => {
  it.effect("counts what is repeated", () => found(atLeastOnce(add)))

  it.effect("is a flow that counts what is repeated", () =>
    Effect.map(found(flow(add)), (fault) => assert.deepInclude(fault, { _tag: "Crash", at: "afterHandler" })))

  it.effect("marks before it adds, and is killed between the two", () =>
    Effect.map(
      found(atLeastOnce((envelope, rows) =>
        isNew(envelope, rows) ? Effect.andThen(mark(envelope, rows), add(envelope, rows)) : Effect.void
      )),
      (fault) =>
        assert.deepInclude(fault, { _tag: "Crash", at: "inHandler" })
    ))

  it.effect("adds before it marks, and is killed between the two", () =>
    Effect.map(
      found(atLeastOnce((envelope, rows) =>
        isNew(envelope, rows) ? Effect.andThen(add(envelope, rows), mark(envelope, rows)) : Effect.void
      )),
      (fault) =>
        assert.deepInclude(fault, { _tag: "Crash", at: "inHandler" })
    ))

  it.effect("adds before it marks, and has many steps before, between and after the two", () =>
    Effect.map(
      found(atLeastOnce((envelope, rows) => {
        return Effect.andThen(
          statement(Effect.void),
          Effect.suspend(() =>
            isNew(envelope, rows)
              ? Effect.andThen(statement(add(envelope, rows)), statement(mark(envelope, rows)))
              : Effect.void
          )
        )
      })),
      (fault) => assert.deepInclude(fault, { _tag: "Crash", at: "inHandler" })
    ))

  it.effect("is exactly once, and sends mails beside its transaction", () =>
    found(check(
      (source, { mails }) =>
        source.pipe(Projection.exactlyOnce("sums", (envelope) =>
          Effect.andThen(
            Effect.sync(() => mails.push(`${envelope.event.n}`)),
            record(envelope)
          ))),
      ({ mails }) => Effect.sync(() => mails)
    )))

  it.effect("keeps what it knows in the memory of its worker", () =>
    found(
      check(
        (source, { sums }) =>
          source.pipe(Projection.exactlyOnce(
            "sums",
            Handler.scoped(() =>
              Effect.sync(() => {
                let sum = 0
                return (envelope: Envelope<Added>) =>
                  Effect.andThen(record(envelope), Effect.sync(() => void sums.set("all", sum += envelope.event.n)))
              })
            )
          )),
        ({ sums }) => Effect.sync(() => sums.get("all"))
      )
    ))

  it.effect("keeps what it has seen in its closure, which a crash loses", () =>
    Effect.map(
      found(check(
        (source, rows) => {
          const seen = new Rows()
          return source.pipe(Projection.atLeastOnce("sums", (envelope) =>
            Effect.sync(() => {
              if (!isNew(envelope, seen)) return
              Effect.runSync(mark(envelope, seen))
              Effect.runSync(add(envelope, rows))
            })))
        },
        ({ sums }) => Effect.sync(() => Object.fromEntries(sums))
      )),
      (fault) => assert.strictEqual(fault._tag, "Crash")
    ))

  it.effect("keeps a total in its closure, which a crash after a stored offset loses", () =>
    Effect.map(
      Effect.flip(check(
        (source, { sums }) => {
          const seen = new Rows()
          return source.pipe(Projection.atLeastOnce("sums", (envelope) =>
            Effect.sync(() => {
              if (!isNew(envelope, seen)) return
              Effect.runSync(mark(envelope, seen))
              Effect.runSync(add(envelope, seen))
              sums.set(envelope.persistenceId, seen.sums.get(envelope.persistenceId)!)
            })))
        },
        ({ sums }) => Effect.sync(() => Object.fromEntries(sums))
      )),
      ({ faults, message, saveAfter }) => {
        assert.strictEqual(faults[0]?._tag, "Crash")
        assert.isDefined(saveAfter)
        assert.include(message, `'sums' with saveAfter ${saveAfter} crashes`)
      }
    ))

  it.effect("does not come to its end", () =>
    Effect.map(
      Effect.flip(check(
        (source, { mails }) =>
          source.pipe(Projection.atLeastOnce("sums", ({ persistenceId, sequenceNumber }) => {
            const key = `${persistenceId} ${sequenceNumber}`
            if (mails.includes(key)) return Effect.fail("unique constraint")
            return Effect.sync(() => void mails.push(key))
          })),
        ({ mails }) => Effect.sync(() => mails.length)
      )),
      ({ actual }) => assert.match(String(actual), /unique constraint|yet to handle/)
    ))
})

it.effect("refuses at most once, where events are lost", () =>
  Effect.map(
    Effect.exit(check((source) => source.pipe(Projection.atMostOnce("sums", () => Effect.void)), () => Effect.void)),
    (exit) => assert.match(String(exit), /nothing can be compared/)
  ))

it.effect("does not take a trial that cannot be made for a result", () =>
  Effect.gen(function*() {
    let trials = 0
    const exit = yield* Effect.exit(Idempotence.check(Sum, {
      event: Arbitrary.schema(Added),
      storage: MemoryStorage.layer,
      seed: 1,
      runs: 1,
      subject: (source) =>
        ++trials % 2 === 0
          ? Effect.fail("no table")
          : Effect.succeed({
            projection: () => source.pipe(Projection.atLeastOnce("sums", () => Effect.void)),
            state: Effect.void
          })
    }))
    assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
    assert.match(String(exit), /no table/)
  }))
