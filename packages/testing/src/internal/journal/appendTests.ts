import { assert, describe } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as Slice from "@sluice/core/Slice"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { freshId } from "../ids.ts"
import type { It } from "../kit.ts"
import {
  append,
  assertComplete,
  assertInvalid,
  eventsOf,
  fresh,
  idsOfSlice,
  impossible,
  newEvent,
  number,
  readAll,
  request,
  textOf,
  texts
} from "../kit.ts"

/** The numbers from one to another, both included. */
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)

/** Appends, and fails unless that is a conflict. */
const conflict = (
  type: EntityType.EntityType<string>,
  id: string,
  expected: Exclude<Journal.ExpectedSequenceNumber, "any">,
  actual: number
) =>
  Effect.gen(function*() {
    const error = yield* Effect.flip(append(type, id, ["never"], expected))
    assert.instanceOf(error, Journal.SequenceConflict)
    assert.deepInclude(error, {
      persistenceId: EntityType.persistenceId(type, id),
      expected,
      actual: number(actual)
    })
    assert.include(error.message, id)
  })

/** Sends an append whose outcome is unknown again. */
const again = (request: Journal.AppendRequest) =>
  Effect.flatMap(Journal.Journal, (journal) => journal.append({ ...request, recheck: true }))

/** @internal */
export const appendTests = (it: It<Journal.Journal>): void => {
  describe("appending", () => {
    it.effect("numbers the events of an entity from 1, and reads them back in order", () =>
      Effect.gen(function*() {
        const type = fresh("append")
        const first = yield* append(type, "a", ["x", "y", "z"])
        const second = yield* append(type, "a", ["u", "v"])
        assert.deepStrictEqual(yield* eventsOf(type, "a"), ["x", "y", "z", "u", "v"])
        assert.deepStrictEqual(yield* eventsOf(type, "b"), [])
        const persistenceId = EntityType.persistenceId(type, "a")
        for (const [written, sequenceNumber, count] of [[first, 3, 3], [second, 5, 2]] as const) {
          assert.deepInclude(written, {
            persistenceId,
            slice: Slice.ofPersistenceId(persistenceId),
            sequenceNumber: number(sequenceNumber),
            count
          })
        }
        const stored = yield* Stream.runCollect(Journal.readEncoded(persistenceId))
        assert.strictEqual(stored[4]!.position, second.position)
        assert.strictEqual(stored[4]!.timestamp, second.timestamp)
        assertComplete(stored)
      }))

    it.effect("reads an entity from one number to another, however many events it has", () =>
      Effect.gen(function*() {
        const journal = yield* Journal.Journal
        const type = fresh("append")
        const written = yield* append(type, "long", texts(1203))
        assert.strictEqual(written.sequenceNumber, 1203)
        yield* append(type, "other", texts(3))
        const read = (from?: number, to?: number) =>
          Effect.map(
            Stream.runCollect(Journal.read(type, "long", {
              from: from === undefined ? undefined : number(from),
              to: to === undefined ? undefined : number(to)
            })),
            (envelopes) => envelopes.map(({ sequenceNumber }) => sequenceNumber as number)
          )
        assert.deepStrictEqual(yield* read(), range(1, 1203))
        assert.deepStrictEqual(yield* read(2), range(2, 1203))
        assert.deepStrictEqual(yield* read(499, 1002), range(499, 1002))
        assert.deepStrictEqual(yield* read(undefined, 500), range(1, 500))
        assert.deepStrictEqual(yield* read(501, 501), [501])
        assert.deepStrictEqual(yield* read(7, 6), [])
        assert.deepStrictEqual(yield* read(1204), [])
        const persistenceId = EntityType.persistenceId(type, "long")
        const page = yield* journal.entity(persistenceId, number(5), number(Number.MAX_SAFE_INTEGER), 7)
        assert.deepStrictEqual(page.map(({ sequenceNumber }) => sequenceNumber as number), range(5, 11))
      }))

    it.effect("gives every log dense positions from 1, in the order of the commits", () =>
      Effect.gen(function*() {
        const one = fresh("append")
        const two = fresh("append")
        const logs = [[one, 17, 3], [one, 1023, 2], [two, 17, 3], [two, 0, 2]] as const
        const now = Clock.Clock.defaultValue().currentTimeMillisUnsafe() * 1000
        const heads = new Map<string, { position: number; timestamp: number }>()
        for (let round = 1; round <= 3; round++) {
          for (const [type, slice, entities] of logs) {
            for (const id of idsOfSlice(type, slice, entities)) {
              const written = yield* append(type, id, texts(round))
              const log = `${type.name} ${slice}`
              const head = heads.get(log) ?? { position: 0, timestamp: 0 }
              assert.strictEqual<number>(written.slice, slice)
              assert.strictEqual(written.position, head.position + round)
              assert.isAtLeast(written.timestamp, head.timestamp + round)
              heads.set(log, written)
            }
          }
        }
        for (const type of [one, two]) {
          const events = yield* readAll(type)
          assertComplete(events)
          for (const { timestamp } of events) {
            assert.isAtMost(Math.abs(timestamp - now), 60_000_000, "timestamps are microseconds, and close to now")
          }
        }
      }))

    it.effect("gives the events of one append consecutive positions and timestamps", () =>
      Effect.gen(function*() {
        const type = fresh("append")
        const [a, b] = idsOfSlice(type, 5, 2) as [string, string]
        yield* append(type, a, ["first"])
        const written = yield* append(type, b, texts(5))
        const stored = yield* Stream.runCollect(Journal.readEncoded(written.persistenceId))
        stored.forEach(({ position, timestamp }, i) => {
          assert.strictEqual(position, written.position - 4 + i)
          assert.strictEqual(timestamp, written.timestamp - 4 + i)
        })
      }))

    describe("expects of an entity", () => {
      it.effect("none: that it has no event yet", () =>
        Effect.gen(function*() {
          const type = fresh("append")
          yield* append(type, "a", ["x", "y"], "none")
          yield* conflict(type, "a", "none", 2)
          assert.deepStrictEqual(yield* eventsOf(type, "a"), ["x", "y"])
        }))

      it.effect("exists: that it has some", () =>
        Effect.gen(function*() {
          const type = fresh("append")
          yield* conflict(type, "a", "exists", 0)
          yield* append(type, "a", ["x"])
          yield* append(type, "a", ["y"], "exists")
          assert.deepStrictEqual(yield* eventsOf(type, "a"), ["x", "y"])
        }))

      it.effect("a number: that it is the last event's", () =>
        Effect.gen(function*() {
          const type = fresh("append")
          yield* conflict(type, "a", number(1), 0)
          yield* append(type, "a", ["x"], number(0))
          yield* conflict(type, "a", number(0), 1)
          yield* append(type, "a", ["y", "z"], number(1))
          yield* conflict(type, "a", number(2), 3)
          yield* conflict(type, "a", number(4), 3)
          yield* conflict(type, "a", number(8), 3)
          yield* conflict(type, "a", number(0), 3)
          yield* append(type, "a", ["end"], number(3))
          assert.deepStrictEqual(yield* eventsOf(type, "a"), ["x", "y", "z", "end"])
        }))

      it.effect("any: nothing", () =>
        Effect.gen(function*() {
          const type = fresh("append")
          yield* append(type, "a", ["x"], "any")
          yield* append(type, "a", ["y"], "any")
          yield* append(type, "a", ["z"])
          assert.deepStrictEqual(yield* eventsOf(type, "a"), ["x", "y", "z"])
        }))
    })

    it.effect("leaves no hole where a conflict was", () =>
      Effect.gen(function*() {
        const type = fresh("append")
        const [a, b] = idsOfSlice(type, 300, 2) as [string, string]
        yield* append(type, a, ["x"])
        yield* Effect.flip(append(type, a, ["never", "never"], "none"))
        yield* Effect.flip(append(type, b, ["never"], "exists"))
        const written = yield* append(type, b, ["y"])
        assert.strictEqual(written.position, 2)
        const events = yield* readAll(type)
        assert.strictEqual(events.length, 2)
        assertComplete(events)
      }))

    it.effect("does not fail an append for the conflict of another at the same time", () =>
      Effect.gen(function*() {
        const type = fresh("append")
        const ids = idsOfSlice(type, 77, 4)
        for (const id of ids) yield* append(type, id, ["first"])
        const exits = yield* Effect.forEach(
          Array.from({ length: 60 }, (_, i) => i),
          (i) => Effect.exit(append(type, ids[i % 4]!, [`e${i}`], i % 3 === 0 ? "none" : "any")),
          { concurrency: "unbounded" }
        )
        exits.forEach((exit, i) => assert.strictEqual(Exit.isSuccess(exit), i % 3 !== 0))
        const events = yield* readAll(type)
        assert.strictEqual(events.length, 44)
        assertComplete(events)
      }))

    for (const [what, entities, writers, events] of [["few", 3, 40, 4], ["many", 150, 150, 2]] as const) {
      it.effect(`loses nothing of many appends at once to ${what} entities`, () =>
        Effect.gen(function*() {
          const type = fresh("append")
          const written = yield* Effect.forEach(
            Array.from({ length: writers }, (_, i) => i),
            (writer) =>
              Effect.forEach(
                Array.from({ length: events }, (_, i) => i),
                (i) => append(type, `${writer % entities}`, [`${writer} ${i}a`, `${writer} ${i}b`])
              ),
            { concurrency: "unbounded" }
          )
          const places = new Set(written.flat().map(({ position, slice }) => `${slice} ${position}`))
          assert.strictEqual(places.size, writers * events)
          const stored = yield* readAll(type)
          assert.strictEqual(stored.length, 2 * writers * events)
          assertComplete(stored)
          for (let entity = 0; entity < entities; entity++) {
            // what one fiber wrote one after the other is in that order, and its pairs are together
            const found = yield* eventsOf(type, `${entity}`)
            for (let writer = entity; writer < writers; writer += entities) {
              const own = found.filter((text) => text.startsWith(`${writer} `))
              assert.deepStrictEqual(
                own,
                Array.from({ length: events }, (_, i) => [`${writer} ${i}a`, `${writer} ${i}b`]).flat()
              )
            }
            for (let i = 0; i < found.length; i += 2) {
              assert.strictEqual(found[i]!.slice(0, -1), found[i + 1]!.slice(0, -1))
            }
          }
        }))
    }

    it.effect("that is interrupted is written whole or not at all, and holds up nobody", () =>
      Effect.gen(function*() {
        const type = fresh("append")
        const ids = idsOfSlice(type, 600, 5)
        const exits = yield* Effect.forEach(
          Array.from({ length: 40 }, (_, i) => i),
          (i) =>
            Effect.gen(function*() {
              const fiber = yield* Effect.forkChild(append(type, ids[i % 5]!, [`${i} a`, `${i} b`]))
              for (let turn = 0; turn < i % 4; turn++) yield* Effect.yieldNow
              if (i % 2 === 0) yield* Fiber.interrupt(fiber)
              return yield* Fiber.await(fiber)
            }),
          { concurrency: "unbounded" }
        )
        yield* append(type, ids[0]!, ["end"])
        const stored = yield* readAll(type)
        assertComplete(stored)
        const found = stored.map(textOf)
        exits.forEach((exit, i) => {
          assert.strictEqual(found.includes(`${i} a`), found.includes(`${i} b`))
          if (Exit.isSuccess(exit)) assert.include(found, `${i} a`)
          else assert.isTrue(i % 2 === 0, "only an interrupted append fails")
        })
      }))

    it.effect("lets exactly one of racing writers win", () =>
      Effect.gen(function*() {
        const type = fresh("append")
        yield* append(type, "a", ["first"])
        const results = yield* Effect.forEach(
          Array.from({ length: 25 }, (_, i) => i),
          (i) => Effect.result(append(type, "a", [`${i}`], number(1))),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(results.filter(Result.isSuccess).length, 1)
        for (const result of results) {
          if (Result.isFailure(result)) {
            assert.instanceOf(result.failure, Journal.SequenceConflict)
            assert.deepInclude(result.failure, { expected: number(1), actual: number(2) })
          }
        }
        assert.strictEqual((yield* eventsOf(type, "a")).length, 2)
      }))

    it.effect("lets every writer through that reads again after a conflict", () =>
      Effect.gen(function*() {
        const type = fresh("append")
        const increment: Effect.Effect<unknown, unknown, Journal.Journal> = Effect.gen(function*() {
          const events = yield* eventsOf(type, "counter")
          yield* append(type, "counter", [`${events.length + 1}`], number(events.length)).pipe(
            Effect.catchTag("SequenceConflict", () => increment)
          )
        })
        yield* Effect.forEach(Array.from({ length: 12 }), () => increment, { concurrency: "unbounded" })
        assert.deepStrictEqual(yield* eventsOf(type, "counter"), Array.from({ length: 12 }, (_, i) => `${i + 1}`))
      }))

    it.effect("an append of no events appends nothing", () =>
      Effect.gen(function*() {
        const type = fresh("append")
        const decided: ReadonlyArray<string> = []
        assert.isUndefined(yield* Journal.append(type, { id: "a", events: decided }))
        yield* append(type, "a", ["1"])
        assert.isUndefined(yield* Journal.append(type, { id: "a", events: decided, expected: "none" }))
        assert.isUndefined(yield* Journal.transaction(Journal.append(type, { id: "a", events: [] })))
        assertInvalid(yield* Effect.flip(Journal.append(type, { id: "", events: decided })))
        assertInvalid(yield* Effect.flip(Journal.append(type, { id: "a", events: decided, expected: -1 })))
        assert.deepStrictEqual(yield* eventsOf(type, "a"), ["1"])
      }))

    describe("refuses", () => {
      it.effect("a request without events", () =>
        Effect.gen(function*() {
          const journal = yield* Journal.Journal
          const error = yield* Effect.flip(journal.append(request(fresh("append"), "a", [] as any)))
          assertInvalid(error)
          assert.strictEqual(error.input, "events")
        }))

      it.effect("numbers that are none, and tags that are no array, and deletes nothing for them", () =>
        Effect.gen(function*() {
          const type = fresh("append")
          yield* append(type, "a", ["1", "2"])
          for (const wrong of [NaN, Infinity, -1, 1.5, 2 ** 53, "1", null] as ReadonlyArray<any>) {
            assertInvalid(yield* Effect.flip(append(type, "a", ["3"], wrong)))
            assertInvalid(yield* Effect.flip(Journal.deleteEvents(type, "a", { to: wrong })))
            for (const bounds of [{ from: wrong }, { to: wrong }]) {
              assertInvalid(yield* Effect.flip(Stream.runCollect(Journal.read(type, "a", bounds))))
            }
            assertInvalid(yield* Effect.flip(Journal.prune(type, { before: wrong })))
          }
          for (const tags of ["t", null, () => undefined] as ReadonlyArray<any>) {
            assertInvalid(yield* Effect.flip(Journal.append(type, { id: "a", events: ["3"], tags })))
          }
          assert.deepStrictEqual(yield* eventsOf(type, "a"), ["1", "2"])
        }))

      it.effect("an event id that is no UUID, whatever is in it", () =>
        Effect.gen(function*() {
          const journal = yield* Journal.Journal
          const type = fresh("append")
          const wrong = [
            "",
            "1",
            "x'; DROP TABLE sluice_journal; -- ",
            `${freshId()}'`,
            freshId().toUpperCase(),
            freshId().replaceAll("-", ""),
            "-".repeat(36),
            `${freshId()}\n`
          ]
          for (const id of wrong) {
            for (const recheck of [false, true]) {
              const refused = { ...request(type, "a", [newEvent("never"), newEvent("never", { id })]), recheck }
              const error = yield* Effect.flip(journal.append(refused))
              assertInvalid(error)
              assert.strictEqual(error.input, "event id")
              yield* Effect.flip(Journal.transaction(journal.append(refused)))
            }
          }
          assert.deepStrictEqual(yield* readAll(type), [])
        }))

      it.effect("an entity that cannot be, or is of another type", () =>
        Effect.gen(function*() {
          const journal = yield* Journal.Journal
          const type = fresh("append")
          for (const id of ["", "x".repeat(300), ...impossible, undefined as any, 7 as any]) {
            const error = yield* Effect.flip(append(type, id, ["never"]))
            assertInvalid(error)
            assert.strictEqual(error.input, "entity id")
            assert.isBelow(error.message.length, 300)
            assertInvalid(yield* Effect.flip(Stream.runCollect(Journal.read(type, id))))
            assertInvalid(yield* Effect.flip(Journal.deleteEvents(type, id)))
          }
          const stranger = { ...request(type, "a", [newEvent("never")]), entityType: fresh("append").name }
          assertInvalid(yield* Effect.flip(journal.append(stranger)))
          const forged = { ...request(type, "a", [newEvent("never")]), persistenceId: `${type.name}|a\0` as any }
          assertInvalid(yield* Effect.flip(journal.append(forged)))
          assert.deepStrictEqual(yield* readAll(type), [])
        }))

      it.effect("an expectation that is none", () =>
        Effect.gen(function*() {
          const type = fresh("append")
          for (const expected of [-1, -2, 0.5, NaN, 2 ** 53, "never" as any]) {
            const error = yield* Effect.flip(append(type, "a", ["never"], expected))
            assertInvalid(error)
            assert.strictEqual(error.input, "expected")
          }
          assert.deepStrictEqual(yield* readAll(type), [])
        }))

      it.effect("metadata that is Sluice's own, such as the command that an event is of", () =>
        Effect.gen(function*() {
          const type = fresh("append")
          const events = ["never", "never"] as const
          const own = { "sluice.command": "[\"one\",\"Add\",\"\",1]" }
          for (
            const metadata of [own, { user: "ada", ...own }, { "sluice.": "" }, () =>
              own, (_: string, i: number) =>
              i === 0 ? {} : own]
          ) {
            const error = yield* Effect.flip(Journal.append(type, { id: "a", events, metadata }))
            assertInvalid(error)
            assert.strictEqual(error.input, "metadata")
            assert.include(error.message, "begins with \"sluice.\", which is Sluice's own")
          }
          assert.deepStrictEqual(yield* readAll(type), [])
          yield* Journal.append(type, { id: "a", events, metadata: { sluice: "a", "Sluice.b": "c" } })
          assert.lengthOf(yield* readAll(type), 2)
        }))

      it.effect("tags, metadata and manifests that could not be kept", () =>
        Effect.gen(function*() {
          const journal = yield* Journal.Journal
          const type = fresh("append")
          for (const text of impossible) {
            for (
              const wrong of [
                { tags: ["a", text] },
                { metadata: { [text]: "a" } },
                { metadata: { a: text } },
                { payload: { manifest: text, bytes: new Uint8Array() } }
              ]
            ) {
              const events = [newEvent("never"), newEvent("never", wrong)] as const
              const error = yield* Effect.flip(journal.append(request(type, "a", events)))
              assertInvalid(error)
              assert.strictEqual(error.input, "payload" in wrong ? "manifest" : Object.keys(wrong)[0])
            }
          }
          // which may be logged, as what is in them may not
          for (const wrong of [{ tags: ["a", "secret\0"] }, { metadata: { token: "secret\0" } }]) {
            const error = yield* Effect.flip(journal.append(request(type, "a", [newEvent("never", wrong)])))
            assertInvalid(error)
            assert.notInclude(error.message, "secret")
            assert.match(
              error.message,
              /^Invalid (`tags`: the one at index 1|`metadata`: what is at "token") contains U\+0000$/
            )
          }
          const manifest = "x".repeat(1001)
          const long = newEvent("", { payload: { manifest, bytes: new Uint8Array() } })
          assertInvalid(yield* Effect.flip(journal.append(request(type, "a", [long]))))
          assert.deepStrictEqual(yield* readAll(type), [])
        }))

      it.effect("an event that no tags can be computed of, by that name", () =>
        Effect.gen(function*() {
          const type = fresh("append")
          const cause = new TypeError("undefined is not a function")
          const error = yield* Effect.flip(Journal.append(type, {
            id: "a",
            events: ["never"],
            tags: () => {
              throw cause
            }
          }))
          assertInvalid(error)
          assert.deepInclude(error, { input: "tags", cause })
        }))
    })

    describe("again, as the outcome was unknown,", () => {
      for (const expected of ["any", "none", "exists", number(2)] as const) {
        it.effect(`answers as the first time (expected: ${expected})`, () =>
          Effect.gen(function*() {
            const journal = yield* Journal.Journal
            const type = fresh("append")
            if (expected !== "none") yield* append(type, "a", ["x", "y"])
            const first = request(type, "a", [newEvent("1"), newEvent("2"), newEvent("3")], expected)
            const written = yield* journal.append(first)
            assert.deepStrictEqual(yield* again(first), written)
            // others were written since, to the entity and to its log
            yield* append(type, "a", ["z"])
            yield* append(type, idsOfSlice(type, written.slice, 1)[0]!, ["neighbour"])
            assert.deepStrictEqual(yield* again(first), written)
            assert.deepStrictEqual(yield* again(first), written)
            const before = expected === "none" ? [] : ["x", "y"]
            assert.deepStrictEqual(yield* eventsOf(type, "a"), [...before, "1", "2", "3", "z"])
            assertComplete(yield* readAll(type))
          }))
      }

      it.effect("writes what was not written the first time", () =>
        Effect.gen(function*() {
          const type = fresh("append")
          yield* append(type, "a", ["x"])
          const any = yield* again(request(type, "a", [newEvent("y")]))
          assert.strictEqual(any.sequenceNumber, 2)
          const exact = yield* again(request(type, "a", [newEvent("z")], number(2)))
          assert.strictEqual(exact.sequenceNumber, 3)
          const none = yield* again(request(type, "b", [newEvent("1")], "none"))
          assert.strictEqual(none.sequenceNumber, 1)
          assert.deepStrictEqual(yield* eventsOf(type, "a"), ["x", "y", "z"])
        }))

      it.effect("fails when it was not written, and another has taken its place", () =>
        Effect.gen(function*() {
          const type = fresh("append")
          yield* append(type, "a", ["x", "other"])
          const error = yield* Effect.flip(again(request(type, "a", [newEvent("y")], number(1))))
          assert.instanceOf(error, Journal.SequenceConflict)
          assert.strictEqual(error.actual, 2)
          assert.deepStrictEqual(yield* eventsOf(type, "a"), ["x", "other"])
        }))

      it.effect("writes once, however often it is sent at the same time", () =>
        Effect.gen(function*() {
          const type = fresh("append")
          yield* append(type, "a", ["x"])
          const sent = request(type, "a", [newEvent("1"), newEvent("2")])
          const answers = yield* Effect.forEach(Array.from({ length: 10 }), () => again(sent), {
            concurrency: "unbounded"
          })
          for (const answer of answers) assert.deepStrictEqual(answer, answers[0]!)
          assert.deepStrictEqual(yield* eventsOf(type, "a"), ["x", "1", "2"])
        }))
    })

    describe("a large event", () => {
      const Blob = EventCodec.make<number>({
        name: "blob",
        encode: (size) => ({ manifest: "test/blob", bytes: new Uint8Array(size) }),
        decode: ({ bytes }) => bytes.length
      })
      const blobs = () => EntityType.make(fresh("append").name, { codec: Blob })
      const overhead = "test/blob".length

      it.effect("is stored up to the limit", () =>
        Effect.gen(function*() {
          const { maxEventBytes } = yield* Journal.Journal
          const type = blobs()
          const largest = maxEventBytes - overhead
          // together more than a server may take at a time
          const sizes: [number, ...Array<number>] = [largest, 1, largest, largest, largest]
          yield* Journal.append(type, { id: "a", events: sizes })
          const stored = yield* Stream.runCollect(Journal.read(type, "a"))
          assert.deepStrictEqual(stored.map(({ event }) => event), sizes)
          const read = yield* readAll(type)
          assert.deepStrictEqual(read.map(({ payload }) => payload!.bytes.length), sizes)
        }))

      it.effect("is refused above it, before anything is stored", () =>
        Effect.gen(function*() {
          const { maxEventBytes } = yield* Journal.Journal
          const type = blobs()
          const error = yield* Effect.flip(
            Journal.append(type, { id: "a", events: [1, maxEventBytes - overhead + 1, 1] })
          )
          assert.instanceOf(error, Journal.EventTooLarge)
          assert.deepInclude(error, {
            persistenceId: EntityType.persistenceId(type, "a"),
            bytes: maxEventBytes + 1,
            limit: maxEventBytes
          })
          assert.include(error.message, `${maxEventBytes + 1}`)
          assert.include(error.message, `limit of ${maxEventBytes}`)
          assert.strictEqual((yield* Journal.append(type, { id: "a", events: [1] })).position, 1)
        }))

      it.effect("counts its tags and metadata", () =>
        Effect.gen(function*() {
          const { maxEventBytes } = yield* Journal.Journal
          const type = blobs()
          const events = [maxEventBytes - overhead] as const
          const tagged = yield* Effect.flip(Journal.append(type, { id: "a", events, tags: ["tag"] }))
          assert.instanceOf(tagged, Journal.EventTooLarge)
          const described = yield* Effect.flip(Journal.append(type, { id: "a", events, metadata: { key: "value" } }))
          assert.instanceOf(described, Journal.EventTooLarge)
        }))
    })

    const Command = Schema.Struct({
      entity: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 })),
      events: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 3 })),
      expected: Schema.Literals(["any", "none", "exists", "last", "before", "after"]),
      transaction: Schema.Literals(["none", "commit", "rollback"])
    })

    it.effect.prop(
      "does what a list per entity does, whatever is appended",
      [Schema.Array(Command).check(Schema.isMaxLength(25))],
      ([commands]) =>
        Effect.gen(function*() {
          const type = fresh("append")
          const model = new Map<number, Array<string>>()
          for (const [i, { entity, events, expected, transaction }] of commands.entries()) {
            const known = model.get(entity) ?? []
            const last = known.length
            const expectation = expected === "last"
              ? number(last)
              : expected === "before"
              ? number(Math.max(0, last - 1))
              : expected === "after"
              ? number(last + 1)
              : expected
            const accepted = expected === "any" || expected === "last" ||
              (expected === "none" && last === 0) || (expected === "exists" && last > 0) ||
              (expected === "before" && last === 0)
            const written = texts(events, `${i}-`)
            const appended = append(type, `${entity}`, written, expectation)
            const exit = yield* Effect.exit(
              transaction === "none"
                ? appended
                : Journal.transaction(
                  transaction === "commit" ? appended : Effect.andThen(appended, Effect.fail("back"))
                )
            )
            assert.strictEqual(Exit.isSuccess(exit), accepted && transaction !== "rollback")
            if (Exit.isSuccess(exit)) {
              model.set(entity, [...known, ...written])
              assert.strictEqual(exit.value.sequenceNumber, last + events)
            }
          }
          for (const [entity, expected] of model) {
            assert.deepStrictEqual(yield* eventsOf(type, `${entity}`), expected)
          }
          const stored = yield* readAll(type)
          assertComplete(stored)
          assert.strictEqual(stored.length, [...model.values()].flat().length)
        }),
      { arbitrary: { runs: 20 } }
    )
  })
}
