import { assert, describe, it } from "@effect/vitest"
import * as DurableStateStore from "@sluice/core/DurableStateStore"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventStream from "@sluice/core/EventStream"
import * as Journal from "@sluice/core/Journal"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as StateType from "@sluice/core/StateType"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import * as Wait from "@sluice/testing/Wait"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as RawClient from "../../packages/grpc/test/kit/RawClient.ts"
import { adapters, type Place } from "./databases.ts"

const Note = EntityType.make("note", { codec: EventCodec.string })
const Notes = EventStream.make("notes", { codec: Note.codec })
const Profile = StateType.make("profile", { codec: EventCodec.string })
const Profiles = EventStream.make("profiles", { codec: Profile.codec })

const count = 1000
const hour = 3_600_000_000

/** A thousand events, entity by entity, so that some slices are old and others young. */
const write = Effect.gen(function*() {
  for (let i = 0; i < count / 5; i++) yield* Journal.append(Note, { id: `n${i}`, events: ["1", "2", "3", "4", "5"] })
})

/** Spreads what was written over an hour, in the same order. */
const age = (place: Place, tables: readonly [string, ...Array<string>]) =>
  Effect.promise(async () => {
    const [{ first, last }] = await place.execute(
      `SELECT min(timestamp) AS first, max(timestamp) AS last FROM ${place.table(tables[0])}`
    ) as any
    const factor = Math.ceil(hour / (last - first))
    for (const table of tables) {
      // by way of negative ones, or two events could have the same one for a moment
      await place.execute(
        `UPDATE ${
          place.table(table)
        } SET timestamp = -(${last} - (${last} - timestamp) * ${factor}) WHERE timestamp > 0`
      )
      await place.execute(`UPDATE ${place.table(table)} SET timestamp = -timestamp WHERE timestamp < 0`)
    }
  })

/** Consumes as Akka does, with one timestamp for its range and what it has seen of that time, cut after every `cut` new events. */
const consume = (
  port: number,
  streamId: string,
  { max, min }: SliceRange.SliceRange,
  cut: number,
  expected: number
) =>
  Effect.gen(function*() {
    const got = new Map<string, number>()
    let timestamp = 0
    let seen = new Map<string, number>()
    while (got.size < expected) {
      const target = Math.min(expected, got.size + cut)
      yield* Effect.scoped(Effect.gen(function*() {
        const call = yield* RawClient.eventsBySlices(yield* RawClient.client(port))
        const offset = {
          timestamp: { seconds: BigInt(Math.floor(timestamp / 1_000_000)), nanos: timestamp % 1_000_000 * 1000 },
          seen: Array.from(seen, ([persistenceId, seqNr]) => ({ persistenceId, seqNr: BigInt(seqNr) }))
        }
        call.send({
          case: "init",
          value: { streamId, sliceMin: min, sliceMax: max, offset: timestamp === 0 ? [] : [offset] }
        })
        let at = 0
        yield* Wait.until(`${target} of ${expected} events`, () => {
          assert.isUndefined(call.status)
          for (; at < call.messages.length && got.size < target; at++) {
            const { offset: [offset], persistenceId, seqNr } = RawClient.placeOf(call.messages[at]!)
            const { nanos, seconds } = offset!.timestamp!
            const time = Number(seconds) * 1_000_000 + nanos / 1000
            if (got.has(`${persistenceId} ${seqNr}`)) continue
            got.set(`${persistenceId} ${seqNr}`, time)
            if (time > timestamp) seen = new Map()
            if (time >= timestamp) seen.set(persistenceId, Number(seqNr))
            timestamp = Math.max(timestamp, time)
          }
          return got.size >= target
        })
      }))
    }
    return got.size
  })

describe.each(adapters)("consumers that keep one timestamp, of $name", ({ dialect, place }) => {
  it.live(
    "miss none of an hour's changes of durable states though they are cut again and again",
    () =>
      Effect.gen(function*() {
        const where = yield* place
        yield* Effect.provide(
          Effect.forEach(
            Array.from({ length: count }, (_, i) => `${i}`),
            (id) => DurableStateStore.upsert(Profile, { id, expected: 0, state: id }),
            { discard: true }
          ),
          where.layer()
        )
        yield* age(where, ["sluice_state", "sluice_state_head"])
        const source = Source.durableState(Profile).pipe(Source.map(({ event }) => Option.getOrElse(event, () => "")))
        const context = yield* EventProducer.layer(Profiles, source).pipe(
          Layer.provideMerge(Layer.mergeAll(GrpcServer.layer({ port: 0 }), where.layer())),
          Layer.build
        )
        const { port } = Context.get(context, GrpcServer.GrpcServer)
        for (const cut of [300, 77]) {
          assert.strictEqual(yield* consume(port, Profiles.id, SliceRange.full, cut, count), count)
        }
      }).pipe(Effect.scoped),
    60_000
  )

  it.live.each(["old", "new"])(
    "miss nothing (%s journal) though they are cut again and again",
    (kind) =>
      Effect.gen(function*() {
        const where = yield* place
        yield* Effect.provide(write, where.layer())
        if (kind === "old") {
          yield* age(where, ["sluice_journal", ...(dialect === "mysql" ? ["sluice_head"] : [])])
        }
        const producer = EventProducer.layer(Notes, Source.journal(Note)).pipe(
          Layer.provideMerge(Layer.mergeAll(GrpcServer.layer({ port: 0 }), where.layer()))
        )
        const context = yield* Layer.build(producer)
        const { port } = Context.get(context, GrpcServer.GrpcServer)
        const heads = yield* Context.get(context, Journal.Journal).heads("note", SliceRange.full)
        for (const cut of [300, 77]) {
          for (const ranges of [[SliceRange.full], SliceRange.split(4)]) {
            let all = 0
            for (const range of ranges) {
              let expected = 0
              for (const [slice, { position }] of heads) {
                if (SliceRange.contains(range, slice)) expected += position
              }
              all += yield* consume(port, Notes.id, range, cut, expected)
            }
            assert.strictEqual(all, count)
          }
        }
      }).pipe(Effect.scoped),
    60_000
  )
})
