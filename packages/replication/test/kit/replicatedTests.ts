import { assert, describe, layer } from "@effect/vitest"
import type { EncodedEnvelope, Metadata } from "@sluice/core/Envelope"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as PersistenceId from "@sluice/core/PersistenceId"
import type { ReplicationMetadata } from "@sluice/core/ReplicationMetadata"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as SnapshotStore from "@sluice/core/SnapshotStore"
import * as Timestamp from "@sluice/core/Timestamp"
import type { Entity } from "@sluice/entity/Entity"
import { type Runner, Runs } from "@sluice/entity/EntityClient"
import * as PlainEntities from "@sluice/entity/PlainEntities"
import * as Replica from "@sluice/replication/Replica"
import * as ReplicatedEventSourced from "@sluice/replication/ReplicatedEventSourced"
import { ForeignJournal } from "@sluice/replication/ReplicationError"
import * as Wait from "@sluice/testing/Wait"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import { Added, makeNotes, type Notes, type Seen } from "./Notes.ts"

/** A way to run replicated entities. */
export type Way = <Name extends string, R>(entity: Entity<Name, any, R>) => Layer.Layer<Runs<Name>, never, R>

let names = 0
/** Storages may outlive a run. */
const freshName = () => `notes-${names++}-${Math.random().toString(36).slice(2)}`

/** An event of another replica. */
const arriving = (
  origin: string,
  number: number,
  text: string,
  options: {
    readonly version?: Readonly<Record<string, number>>
    readonly time?: number
    readonly metadata?: Metadata
  } = {}
): ReplicatedEventSourced.Arriving<Added> => {
  const replication: ReplicationMetadata = {
    origin,
    originSequenceNumber: SequenceNumber.make(number),
    version: new Map(
      Object.entries({ [origin]: number, ...options.version }).map(([id, n]) => [id, SequenceNumber.make(n)])
    ),
    concurrent: false,
    ...(options.time !== undefined && { time: Timestamp.make(options.time) })
  }
  return { event: new Added({ text }), replication, metadata: options.metadata ?? {} }
}

/** What the journal of a replica has. */
const stored = (notes: Notes, id: string) =>
  Effect.map(Stream.runCollect(Journal.read(notes.entityType, id)), (events) => Array.from(events))

/** What replicated entities promise in every way to run them, and on every storage. */
export const replicatedTests = (
  name: string,
  storage: Layer.Layer<Journal.Journal | SnapshotStore.SnapshotStore, unknown>,
  way: Way
): void => {
  /** Runs the notes as one replica does, for as long as the scope. */
  const running = Effect.fnUntraced(function*(notes: Notes, replica: string) {
    const context = yield* Layer.build(Layer.provide(way(notes), Replica.layer(replica)))
    const client = yield* Effect.provideContext(ReplicatedEventSourced.client(notes), context)
    const receive = yield* Effect.provideContext(ReplicatedEventSourced.receive(notes), context)
    const runner = Context.get(context, Runs(notes.name))
    let sent = 0
    let bytes: number | undefined
    const counting: Runner = {
      send: (id, command) => {
        sent++
        bytes = command.bytes
        return runner.send(id, command)
      }
    }
    const receiveAll = yield* Effect.provideService(
      ReplicatedEventSourced.receiveAll(notes),
      Runs(notes.name),
      counting
    )
    return {
      client,
      receive,
      receiveAll,
      /** How many commands those have led to that were received together. */
      sent: () => sent,
      /** What the last of them says that it takes in memory. */
      bytes: () => bytes
    }
  })

  describe(`${name}: replicated entities`, { timeout: 180_000 }, () => {
    layer(Layer.merge(storage, Layer.succeed(References.MinimumLogLevel, "None")), {
      excludeTestServices: true,
      timeout: "180 seconds"
    })("on one storage", (it) => {
      it.effect("write events of their own that say what they had seen", () =>
        Effect.gen(function*() {
          const notes = makeNotes(freshName())
          const { client, receive } = yield* running(notes, "eu")
          assert.strictEqual(yield* client("a").Add({ text: "one" }), 1)
          yield* receive("a", arriving("us", 5, "two", { version: { eu: 1 } }))
          assert.strictEqual(yield* client("a").Add({ text: "three" }), 3)
          const events = yield* stored(notes, "a|eu")
          assert.deepStrictEqual(
            events.map(({ persistenceId, replication }) => {
              const { origin, originSequenceNumber, version, concurrent } = replication!
              return [persistenceId, origin, originSequenceNumber, Object.fromEntries(version), concurrent]
            }),
            [
              [`${notes.name}|a|eu`, "eu", 1, { eu: 1 }, false],
              [`${notes.name}|a|eu`, "us", 5, { eu: 1, us: 5 }, false],
              [`${notes.name}|a|eu`, "eu", 3, { eu: 3, us: 5 }, false]
            ] as any
          )
        }))

      it.effect("do not start on the journal of another replica, and do on one from before", () =>
        Effect.gen(function*() {
          const notes = makeNotes(freshName())
          yield* Effect.scoped(Effect.flatMap(running(notes, "eu"), ({ client }) => client("a").Add({ text: "one" })))
          const { client } = yield* running(notes, "eu")
          yield* client("a").Add({ text: "two" })
          const foreign = (notes: Notes) =>
            Effect.map(Effect.exit(Effect.scoped(running(notes, "us"))), (exit) => {
              const defect = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
              return defect instanceof ForeignJournal ? defect.message : undefined
            })
          assert.include(
            yield* foreign(notes),
            `replica 'us', and its database is of another one, as it has '${notes.name}|a|eu'`
          )
          yield* Journal.prune(notes.entityType, {
            evenReplicated: true,
            before: Timestamp.make((yield* Journal.Journal.use(({ now }) => now)) + 1)
          })
          assert.include(yield* foreign(notes), `${notes.name}|a|eu`)
          const plain = makeNotes(freshName())
          yield* Journal.append(plain.entityType, { id: "c-1", events: [new Added({ text: "before" })] })
          assert.isUndefined(yield* foreign(plain))
        }))

      it.effect("store an event of another replica once, however often it comes", () =>
        Effect.gen(function*() {
          const notes = makeNotes(freshName())
          const { client, receive } = yield* running(notes, "eu")
          const outcomes = yield* Effect.forEach(
            [arriving("us", 1, "a"), arriving("us", 3, "b"), arriving("us", 1, "a"), arriving("ap", 1, "c")],
            (event) => receive("a", event)
          )
          assert.deepStrictEqual(outcomes, ["Stored", "Stored", "Duplicate", "Stored"])
          const again = yield* running(notes, "eu")
          assert.strictEqual(yield* again.receive("a", arriving("us", 3, "b")), "Duplicate")
          assert.strictEqual(yield* again.receive("a", arriving("us", 4, "d")), "Stored")
          // what is active elsewhere notices what was written meanwhile
          assert.strictEqual(yield* receive("a", arriving("ap", 2, "e")), "Stored")
          assert.strictEqual(yield* receive("a", arriving("us", 4, "d")), "Duplicate")
          assert.deepStrictEqual((yield* client("a").Get()).notes, [
            "us#1 a",
            "us#3 b",
            "ap#1 c",
            "us#4 d",
            "ap#2 e"
          ])
        }))

      it.effect("store an event once that comes many times at once", () =>
        Effect.gen(function*() {
          const notes = makeNotes(freshName())
          const { client, receive } = yield* running(notes, "eu")
          const outcomes = yield* Effect.forEach(
            Array.from({ length: 8 }, () => arriving("us", 1, "a")),
            (event) => receive("a", event),
            { concurrency: "unbounded" }
          )
          assert.strictEqual(outcomes.filter((outcome) => outcome === "Stored").length, 1)
          assert.deepStrictEqual((yield* client("a").Get()).notes, ["us#1 a"])
        }))

      it.effect("tell of events that were concurrent, now and after a recovery, with the same times", () =>
        Effect.gen(function*() {
          const seen: Seen = { after: [], recovering: [] }
          const notes = makeNotes(freshName(), { seen })
          const state = yield* Effect.scoped(Effect.gen(function*() {
            const { client, receive } = yield* running(notes, "eu")
            yield* client("a").Add({ text: "mine" })
            yield* receive("a", arriving("us", 1, "theirs", { time: 7 }))
            yield* receive("a", arriving("us", 2, "knows mine", { version: { eu: 1 }, time: 8 }))
            return yield* client("a").Get()
          }))
          assert.deepStrictEqual(state.concurrent, ["us#1 theirs"])
          assert.deepStrictEqual(state.times.slice(1), [7, 8])
          seen.recovering.length = 0
          const again = yield* running(notes, "eu")
          assert.deepStrictEqual(yield* again.client("a").Get(), state)
          assert.deepStrictEqual(seen.recovering, [true, true, true])
          yield* again.client("a").Add({ text: "later" })
          assert.strictEqual(seen.recovering.at(-1), false)
          const { times } = yield* again.client("a").Get()
          assert.isAbove(times.at(-1)!, Math.max(...times.slice(0, -1)))
        }))

      it.effect("run effects after persisting where the event was decided, and nowhere else", () =>
        Effect.gen(function*() {
          const seen: Seen = { after: [], recovering: [] }
          const notes = makeNotes(freshName(), { seen })
          const elsewhere = PlainEntities.layer(notes).pipe(
            Layer.provideMerge([Replica.layer("us"), Layer.fresh(MemoryStorage.layer)])
          )
          const [event] = yield* Effect.gen(function*() {
            const us = yield* ReplicatedEventSourced.client(notes)
            yield* us("a").Add({ text: "one" })
            return yield* stored(notes, "a|us")
          }).pipe(Effect.provide(elsewhere))
          const eu = yield* running(notes, "eu")
          yield* eu.receive("a", event as any)
          assert.deepStrictEqual((yield* eu.client("a").Get()).notes, ["us#1 one"])
          assert.deepStrictEqual(seen.after, ["us one"])
        }))

      it.effect("keep what was said of an event, but for what is a service's own", () =>
        Effect.gen(function*() {
          const notes = makeNotes(freshName())
          const { receive } = yield* running(notes, "eu")
          yield* receive("a", arriving("us", 1, "a", { metadata: { user: "ada", "sluice.command": "forged" } }))
          const [event] = yield* stored(notes, "a|eu")
          assert.deepStrictEqual({ ...event!.metadata }, { user: "ada" })
        }))

      it.effect("store an event as its origin has written it, with what is not read here", () =>
        Effect.gen(function*() {
          const notes = makeNotes(freshName())
          const { client, receiveAll } = yield* running(notes, "eu")
          const written = `{"colour":"red","text":"later","_tag":"Added"}`
          const payload = { manifest: "json.sluice/Added", bytes: new TextEncoder().encode(written) }
          yield* receiveAll("a", [{ ...arriving("us", 1, "later"), payload }, arriving("us", 2, "plain")])
          const events = yield* Stream.runCollect(Journal.readEncoded(PersistenceId.parse(`${notes.name}|a|eu`)))
          assert.deepStrictEqual(
            Array.from(events, ({ payload }) => [payload!.manifest, new TextDecoder().decode(payload!.bytes)]),
            [["json.sluice/Added", written], ["json.sluice/Added", `{"_tag":"Added","text":"plain"}`]]
          )
          assert.deepStrictEqual((yield* client("a").Get()).notes, ["us#1 later", "us#2 plain"])
        }))

      it.effect("keep no more of the message that an event has come with than the event", () =>
        Effect.gen(function*() {
          const notes = makeNotes(freshName())
          const { receiveAll } = yield* running(notes, "eu")
          const published: Array<EncodedEnvelope> = []
          yield* Journal.Journal.use(({ committed }) =>
            committed(notes.name, (events) => void published.push(...events))
          )
          const one = arriving("us", 1, "small")
          const { bytes, manifest } = notes.entityType.codec.encodeUnsafe(one.event)
          const message = Buffer.alloc(100_000)
          message.set(bytes, 50_000)
          const payload = { manifest, bytes: message.subarray(50_000, 50_000 + bytes.length) }
          yield* receiveAll("a", [{ ...one, payload }])
          yield* Wait.until("the event to be published", Effect.sync(() => published.length === 1))
          assert.deepStrictEqual(new Uint8Array(published[0]!.payload!.bytes), bytes)
          assert.notStrictEqual(published[0]!.payload!.bytes.buffer, message.buffer)
        }))

      it.effect("refuse an event of a replica that was never configured, by its name", () =>
        Effect.gen(function*() {
          const notes = makeNotes(freshName())
          const { client, receive } = yield* running(notes, "eu")
          const error = yield* Effect.flip(receive("a", arriving("mars", 1, "a")))
          assert.strictEqual(error._tag, "UnknownReplica")
          assert.include(error.message, "'mars'")
          assert.deepStrictEqual((yield* client("a").Get()).notes, [])
        }))

      it.effect("refuse an event of the end of all times, after which they could write nothing", () =>
        Effect.gen(function*() {
          const notes = makeNotes(freshName())
          const { client, receive } = yield* running(notes, "eu")
          const error = yield* Effect.flip(receive("a", arriving("us", 1, "a", { time: Number.MAX_SAFE_INTEGER })))
          assert.strictEqual(error._tag, "InvalidArrival")
          assert.strictEqual(yield* receive("a", arriving("us", 1, "b")), "Stored")
          yield* client("a").Add({ text: "c" })
          assert.lengthOf((yield* client("a").Get()).notes, 2)
        }))

      it.effect("refuse an event that has seen what was lost here", () =>
        Effect.gen(function*() {
          const notes = makeNotes(freshName())
          const { client, receive } = yield* running(notes, "eu")
          yield* client("a").Add({ text: "one" })
          const error = yield* Effect.flip(receive("a", arriving("us", 1, "a", { version: { eu: 2 } })))
          assert.strictEqual(error._tag, "EventsLost")
          // what another process has written is not lost
          const other = yield* running(notes, "eu")
          yield* other.client("a").Add({ text: "two" })
          assert.strictEqual(yield* receive("a", arriving("us", 1, "a", { version: { eu: 2 } })), "Stored")
        }))

      it.effect("refuse an event where the one that came before it was lost here, until that has come again", () =>
        Effect.gen(function*() {
          const notes = makeNotes(freshName())
          const { client, receiveAll } = yield* running(notes, "eu")
          yield* receiveAll("a", [arriving("us", 1, "1")])
          const next = { ...arriving("us", 5, "5"), previous: 3 }
          const error = yield* Effect.flip(receiveAll("a", [next]))
          assert(error._tag === "ArrivalsLost")
          assert.deepStrictEqual([error.previous, error.last], [3, 1])
          assert.deepStrictEqual(
            yield* receiveAll("a", [arriving("us", 3, "3"), next, { ...next, previous: 1 }]),
            ["Stored", "Stored", "Duplicate"]
          )
          assert.deepStrictEqual((yield* client("a").Get()).notes, ["us#1 1", "us#3 3", "us#5 5"])
        }))

      it.effect("refuse an event whose number its origin has given again, now and after a recovery", () =>
        Effect.gen(function*() {
          const notes = makeNotes(freshName())
          const { receive } = yield* running(notes, "eu")
          yield* receive("a", arriving("us", 3, "lost", { time: 30 }))
          const again = yield* running(notes, "eu")
          for (const replica of [{ receive }, again, again]) {
            assert.strictEqual(yield* replica.receive("a", arriving("us", 3, "lost", { time: 30 })), "Duplicate")
            const error = yield* Effect.flip(replica.receive("a", arriving("us", 2, "new", { time: 40 })))
            assert.strictEqual(error._tag, "HistoryForked")
            assert.include(error.message, "begin anew under another id")
          }
          assert.strictEqual((yield* stored(notes, "a|eu")).length, 1)
        }))

      it.effect("do not use a snapshot that says nothing of other replicas' events", () =>
        Effect.gen(function*() {
          const notes = makeNotes(freshName(), { snapshotEvery: 1_000 })
          const anew = <A, E, R>(f: (eu: Effect.Success<ReturnType<typeof running>>) => Effect.Effect<A, E, R>) =>
            Effect.scoped(Effect.flatMap(running(notes, "eu"), f))
          yield* anew(({ client, receive }) =>
            Effect.gen(function*() {
              for (const number of [1, 2]) yield* receive("a", arriving("us", number, String(number), { time: number }))
              yield* SnapshotStore.save(notes.stateType, {
                id: "a|eu",
                sequenceNumber: SequenceNumber.make(2),
                state: yield* client("a").Get()
              })
            })
          )
          const again = yield* anew(({ client, receive }) =>
            Effect.all([client("a").Version(), receive("a", arriving("us", 2, "2", { time: 2 }))])
          )
          assert.deepStrictEqual(again, [{ us: 2 }, "Duplicate"])
          yield* Journal.deleteEvents(notes.entityType, "a|eu", { evenReplicated: true })
          const error = yield* anew(({ receive }) => Effect.flip(receive("a", arriving("us", 2, "2", { time: 2 }))))
          assert.strictEqual(error._tag, "RecoveryFailed")
          assert.include(error.message, "event 1 was deleted")
        }))

      it.effect("do not begin anew where they have events from before they were replicated, and go on once those were copied", () =>
        Effect.gen(function*() {
          const notes = makeNotes(freshName())
          const events = ["1", "2"].map((text) => new Added({ text }))
          yield* Journal.append(notes.entityType, { id: "a", events })
          const errors = yield* Effect.scoped(
            Effect.flatMap(
              running(notes, "eu"),
              ({ client, receive }) =>
                Effect.all([Effect.flip(client("a").Get()), Effect.flip(receive("a", arriving("us", 1, "3")))])
            )
          )
          for (const error of errors) {
            assert.strictEqual(error._tag, "RecoveryFailed")
            assert.include(error.message, `'${notes.name}|a|eu'`)
          }
          yield* Journal.append(notes.entityType, { id: "a|eu", expected: "none", events })
          const { client } = yield* running(notes, "eu")
          assert.deepStrictEqual((yield* client("b").Get()).notes, [])
          assert.deepStrictEqual((yield* client("a").Get()).notes, ["eu#1 1", "eu#2 2"])
          // what was deleted is of nobody
          yield* Journal.append(notes.entityType, { id: "c", events })
          yield* Journal.deleteEvents(notes.entityType, "c")
          assert.deepStrictEqual((yield* client("c").Get()).notes, [])
        }))

      it.effect("know from a snapshot what they had seen", () =>
        Effect.gen(function*() {
          const notes = makeNotes(freshName(), { snapshotEvery: 3 })
          const { client, receive } = yield* running(notes, "eu")
          yield* client("a").Add({ text: "one" })
          yield* receive("a", arriving("us", 4, "two", { time: 4 }))
          yield* receive("a", arriving("ap", 9, "three", { version: { us: 6 }, time: 4e15 }))
          const isThere = SnapshotStore.SnapshotStore.use((store) => store.list(`${notes.name}|a|eu` as any))
          yield* Wait.until("the snapshot", Effect.map(isThere, (numbers) => numbers.length === 1))
          yield* Journal.deleteEvents(notes.entityType, "a|eu", { evenReplicated: true })
          const again = yield* running(notes, "eu")
          assert.deepStrictEqual(yield* again.client("a").Version(), { eu: 1, us: 6, ap: 9 })
          assert.strictEqual(yield* again.receive("a", arriving("us", 4, "two")), "Duplicate")
          assert.strictEqual(yield* again.receive("a", arriving("ap", 9, "three")), "Duplicate")
          assert.strictEqual(yield* again.receive("a", arriving("us", 6, "four", { time: 5 })), "Stored")
          yield* again.client("a").Add({ text: "five" })
          assert.strictEqual((yield* again.client("a").Get()).times.at(-1), 4e15 + 1)
        }))

      it.effect("take events from before they were replicated for their own", () =>
        Effect.gen(function*() {
          const notes = makeNotes(freshName())
          yield* Journal.append(notes.entityType, { id: "a|eu", events: ["1", "2"].map((text) => new Added({ text })) })
          const { client, receive } = yield* running(notes, "eu")
          assert.deepStrictEqual(yield* client("a").Version(), { eu: 2 })
          assert.strictEqual(yield* receive("a", arriving("us", 1, "3", { version: { eu: 2 } })), "Stored")
          assert.deepStrictEqual((yield* client("a").Get()).notes, ["eu#1 1", "eu#2 2", "us#1 3"])
        }))

      it.effect("wait for what is done before an event is stored, and do not store it where that fails", () =>
        Effect.gen(function*() {
          const goOn = Latch.makeUnsafe()
          let isBroken = true
          const seen: Array<string> = []
          const notes = makeNotes(freshName(), {
            intercept: ({ event, origin, originSequenceNumber, sequenceNumber, state }) => {
              seen.push(
                `${origin}#${originSequenceNumber} ${event.text} as ${sequenceNumber} after ${state.notes.length}`
              )
              return isBroken ? Effect.fail(new Error("not yet")) : goOn.await
            }
          })
          const { client, receive } = yield* running(notes, "eu")
          const error = yield* Effect.flip(receive("a", arriving("us", 3, "a")))
          assert.strictEqual(error._tag, "Intercepted")
          assert.include(error.message, "not yet")
          isBroken = false
          const waits = yield* Effect.forkChild(receive("a", arriving("us", 3, "a")), { startImmediately: true })
          yield* Wait.until("intercept", Effect.sync(() => seen.length === 2))
          assert.deepStrictEqual((yield* stored(notes, "a|eu")).length, 0)
          yield* goOn.open
          assert.strictEqual(yield* Fiber.join(waits), "Stored")
          assert.strictEqual(yield* receive("a", arriving("us", 3, "a")), "Duplicate")
          assert.deepStrictEqual(seen, Array.from({ length: 2 }, () => "us#3 a as 1 after 0"))
          assert.deepStrictEqual((yield* client("a").Get()).notes, ["us#3 a"])
        }))

      it.effect("store what comes together at once, and each event once", () =>
        Effect.gen(function*() {
          const notes = makeNotes(freshName())
          const { client, receiveAll, sent } = yield* running(notes, "eu")
          yield* client("a").Add({ text: "mine" })
          const together = [
            arriving("us", 3, "a", { time: 3, metadata: { user: "ada", "sluice.command": "forged" } }),
            arriving("us", 4, "b", { version: { eu: 1 }, time: 4 }),
            arriving("us", 4, "b", { version: { eu: 1 }, time: 4 }),
            arriving("eu", 1, "mine"),
            arriving("ap", 7, "c", { version: { us: 4, eu: 1 }, time: 4e15 }),
            arriving("us", 9, "d")
          ]
          assert.deepStrictEqual(
            yield* receiveAll("a", together),
            ["Stored", "Stored", "Duplicate", "Own", "Stored", "Stored"]
          )
          assert.strictEqual(sent(), 1)
          const events = yield* stored(notes, "a|eu")
          assert.deepStrictEqual(
            events.map(({ event, metadata, replication }, i) => [
              event.text,
              // a command from another process has an id, which is kept with what it has decided
              i === 0 ? {} : metadata,
              replication!.origin,
              replication!.originSequenceNumber,
              replication!.concurrent
            ]),
            [
              ["mine", {}, "eu", 1, false],
              ["a", { user: "ada" }, "us", 3, true],
              ["b", {}, "us", 4, false],
              ["c", {}, "ap", 7, false],
              ["d", {}, "us", 9, true]
            ] as any
          )
          // as one does not say when it was, it is later than those before it
          assert.strictEqual(events[4]!.replication!.time, 4e15 + 1)
          const { client: plain, receiveAll: again } = yield* running(notes, "eu")
          assert.deepStrictEqual(
            (yield* again("a", together)).filter((outcome) => outcome === "Stored"),
            []
          )
          assert.deepStrictEqual(yield* plain("a").Get(), yield* client("a").Get())
          assert.deepStrictEqual(yield* plain("a").Version(), { eu: 1, us: 9, ap: 7 })
          assert.deepStrictEqual(yield* again("a", []), [])
        }))

      it.effect("take what comes together for as much memory as its events and their metadata need", () =>
        Effect.gen(function*() {
          const notes = makeNotes(freshName())
          const { bytes, receiveAll } = yield* running(notes, "eu")
          const large = (n: number) => {
            const one = arriving("us", n, "x".repeat(10_000), { metadata: { user: "y".repeat(10_000) } })
            return { ...one, payload: notes.entityType.codec.encodeUnsafe(one.event) }
          }
          yield* receiveAll("a", [large(1), large(2)])
          assert.isAtLeast(bytes()!, 60_000)
          assert.isAtMost(bytes()!, 70_000)
          yield* receiveAll("a", [arriving("us", 3, "without what was written")])
          assert.isUndefined(bytes())
        }))

      it.effect("count for what comes together also what each event has seen", () =>
        Effect.gen(function*() {
          const notes = makeNotes(freshName())
          const { bytes, receiveAll } = yield* running(notes, "eu")
          const seen = Object.fromEntries(Array.from({ length: 900 }, (_, n) => [`region-${n}`, n + 1]))
          const one = arriving("us", 1, "of many regions", { version: seen })
          yield* receiveAll("a", [{ ...one, payload: notes.entityType.codec.encodeUnsafe(one.event) }])
          assert.isAtLeast(bytes()!, 13_500)
        }))

      it.effect("store of what comes together as many events at once as a decision may have", () =>
        Effect.gen(function*() {
          const notes = makeNotes(freshName(), { maxEvents: 2 })
          const { receiveAll, sent } = yield* running(notes, "eu")
          const five = [1, 2, 3, 4, 5].map((n) => arriving("us", n, String(n)))
          assert.deepStrictEqual(yield* receiveAll("a", five), five.map(() => "Stored"))
          assert.strictEqual(sent(), 3)
          assert.deepStrictEqual((yield* stored(notes, "a|eu")).map(({ event }) => event.text), [
            "1",
            "2",
            "3",
            "4",
            "5"
          ])
        }))

      it.effect("store what comes before an event that they cannot take, and nothing after it", () =>
        Effect.gen(function*() {
          const notes = makeNotes(freshName(), {
            onEvolve: ({ text }) => {
              if (text === "poison") throw new Error("evolve cannot")
            }
          })
          const { receive, receiveAll, sent } = yield* running(notes, "eu")
          const texts = Effect.map(stored(notes, "a|eu"), (events) => events.map(({ event }) => event.text))
          const unknown = [arriving("us", 1, "a"), arriving("mars", 1, "b"), arriving("us", 2, "c")]
          const error = yield* Effect.flip(receiveAll("a", unknown))
          assert.deepStrictEqual([error._tag, (error as any).originSequenceNumber], ["UnknownReplica", 1])
          assert.deepStrictEqual(yield* texts, ["a"])
          const lost = [arriving("us", 2, "c"), arriving("us", 3, "d", { version: { eu: 3 } })]
          assert.strictEqual((yield* Effect.flip(receiveAll("a", lost)))._tag, "EventsLost")
          assert.deepStrictEqual(yield* texts, ["a", "c"])
          const poison = [
            arriving("us", 4, "e"),
            arriving("us", 5, "f"),
            arriving("us", 6, "poison"),
            arriving("us", 7, "g")
          ]
          assert.strictEqual((yield* Effect.flip(receiveAll("a", poison)))._tag, "DecisionFailed")
          assert.deepStrictEqual(yield* texts, ["a", "c", "e", "f"])
          assert.strictEqual(yield* receive("a", arriving("us", 7, "g")), "Stored")
          const before = sent()
          const many = Array.from({ length: 64 }, (_, i) => arriving("us", 8 + i, i === 49 ? "poison" : `${i}`))
          assert.strictEqual((yield* Effect.flip(receiveAll("b", many)))._tag, "DecisionFailed")
          assert.strictEqual((yield* stored(notes, "b|eu")).length, 49)
          assert.isAtMost(sent() - before, 14, "it is looked for in halves")
          // and so are those of it that come again
          assert.strictEqual((yield* Effect.flip(receiveAll("b", many)))._tag, "DecisionFailed")
          assert.isAtMost(sent() - before, 28)
          assert.strictEqual((yield* stored(notes, "b|eu")).length, 49)
        }))

      it.effect("have each event of those that come together looked at when those before it are stored", () =>
        Effect.gen(function*() {
          const seen: Array<string> = []
          const notes = makeNotes(freshName(), {
            intercept: ({ originSequenceNumber, sequenceNumber, state }) =>
              Effect.suspend(() => {
                seen.push(`us#${originSequenceNumber} as ${sequenceNumber} after ${state.notes.length}`)
                return originSequenceNumber === 4 ? Effect.fail(new Error("not yet")) : Effect.void
              })
          })
          const { receiveAll, sent } = yield* running(notes, "eu")
          const some = [1, 1, 2, 3, 4, 5].map((n) => arriving("us", n, String(n)))
          const error = yield* Effect.flip(receiveAll("a", some))
          assert.deepStrictEqual([error._tag, (error as any).originSequenceNumber], ["Intercepted", 4])
          assert.deepStrictEqual(seen, [
            "us#1 as 1 after 0",
            "us#2 as 2 after 1",
            "us#3 as 3 after 2",
            "us#4 as 4 after 3"
          ])
          assert.isAtMost(sent(), 5)
          const others = [arriving("us", 3, "3"), arriving("us", 5, "5")]
          assert.deepStrictEqual(yield* receiveAll("a", others), ["Duplicate", "Stored"])
          assert.strictEqual((yield* stored(notes, "a|eu")).length, 4)
        }))

      it.effect("are those of no other replica", () =>
        Effect.gen(function*() {
          const notes = makeNotes(freshName())
          const exit = yield* Effect.exit(running(notes, "mars"))
          assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
          const { client } = yield* running(notes, "eu")
          const long = "x".repeat(255 - notes.name.length - 3)
          assert.strictEqual((yield* Effect.flip(client(long).Get()))._tag, "InvalidCommand")
          assert.deepStrictEqual((yield* client(long.slice(1)).Get()).notes, [])
        }))
    })
  })
}
