import { assert } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import { type EncodedElement, isSkipped, sizeOf } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as SliceRange from "@sluice/core/SliceRange"
import * as SnapshotStore from "@sluice/core/SnapshotStore"
import * as Source from "@sluice/core/Source"
import * as StateType from "@sluice/core/StateType"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { freshNameOf } from "../ids.ts"
import { append, idsIn, type It, number, texts } from "../kit.ts"

/** An entity type of its own for each test. The state after some events is their texts in a row. */
const fresh = () => {
  const name = freshNameOf("restored")
  const Type = EntityType.make(name, { codec: EventCodec.string })
  const State = StateType.make(name, { codec: EventCodec.string })
  const source = Source.fromSnapshots(Type, State, ({ state }) => ({ state }))
  return {
    Type,
    State,
    source,
    idOf: (id: string) => EntityType.persistenceId(Type, id),
    save: (id: string, sequenceNumber: number, state: string) =>
      SnapshotStore.save(State, { id, sequenceNumber, state }),
    delete: (id: string, to: number) => Journal.deleteEvents(Type, id, { to })
  }
}

type Fresh = ReturnType<typeof fresh>

const shown = (element: { readonly _tag: string; readonly event?: string | { readonly state: string } }): string =>
  element._tag !== "Envelope" ? "." : typeof element.event === "string" ? element.event : `=${element.event!.state}`

const textOf = (element: EncodedElement): string =>
  isSkipped(element) || element.payload === undefined ? "-" : new TextDecoder().decode(element.payload.bytes)

/** What a reader gets of each entity from the offsets on to the end, and where it is then. */
const readOn = ({ Type, source }: Fresh, start: Offset.Offsets = Offset.none, range = SliceRange.full) =>
  Effect.gen(function*() {
    const journal = yield* Journal.Journal
    const heads = yield* journal.heads(Type.name, range)
    const offsets = new Map(start)
    const seen = new Map<string, Array<string>>()
    const isAtEnd = () => [...heads].every(([slice, { position }]) => (offsets.get(slice)?.position ?? 0) >= position)
    if (isAtEnd()) return { seen, offsets }
    const { elements } = yield* Source.open(source, { range, start: { journal: undefined, offsets: start } })
    yield* Stream.runForEachWhile(elements, (element) =>
      Effect.sync(() => {
        assert.notStrictEqual(element._tag, "Skipped")
        if (element._tag === "Skipped") return true
        const { persistenceId, position, slice, timestamp } = element
        assert.strictEqual(position, (offsets.get(slice)?.position ?? 0) + 1, "positions are dense")
        offsets.set(slice, { position: position!, timestamp })
        const id = PersistenceId.entityId(persistenceId)
        seen.set(id, [...(seen.get(id) ?? []), shown(element)])
        return !isAtEnd()
      }))
    return { seen, offsets }
  }).pipe(Effect.scoped)

const entity = ({ idOf, source }: Fresh, id: string, from: number, to: number) =>
  Effect.map(
    Stream.runCollect(
      Source.entityEncoded(source.pipe(Source.map(shown)), EventCodec.string, idOf(id), number(from), number(to))
    ),
    (events) => events.map(({ payload }) => payload === undefined ? "." : EventCodec.string.decodeUnsafe(payload))
  )

/** What the first two elements are. */
const tagsOf = (source: Source.Source<unknown, unknown, Journal.Journal | SnapshotStore.SnapshotStore>) =>
  Effect.gen(function*() {
    const { elements } = yield* Source.open(source)
    const all = yield* Stream.runCollect(Stream.take(elements, 2))
    return all.map(({ _tag }) => _tag)
  }).pipe(Effect.scoped)

const below = (n: number) => Random.nextIntBetween(0, n - 1)

/** @internal */
export const fromSnapshotsTests = (it: It<Journal.Journal | SnapshotStore.SnapshotStore>): void => {
  it.effect("begin the history of an entity, in the place of the event that they are of", () =>
    Effect.gen(function*() {
      const type = fresh()
      yield* append(type.Type, "a", texts(5))
      yield* append(type.Type, "b", texts(3))
      yield* append(type.Type, "c", texts(2))
      yield* type.save("a", 3, "abc")
      yield* type.save("b", 3, "all")
      const { offsets, seen } = yield* readOn(type)
      assert.deepStrictEqual(Object.fromEntries(seen), {
        a: [".", ".", "=abc", "e4", "e5"],
        b: [".", ".", "=all"],
        c: ["e1", "e2"]
      })
      yield* append(type.Type, "a", ["f6"])
      yield* type.save("a", 6, "6")
      yield* append(type.Type, "a", ["f7"])
      assert.deepStrictEqual(Object.fromEntries((yield* readOn(type, offsets)).seen), { a: ["=6", "f7"] })
    }))

  it.effect("stand in the place of events that were deleted, also while a reader is open", () =>
    Effect.gen(function*() {
      const type = fresh()
      const scope = yield* Effect.scope
      yield* append(type.Type, "a", texts(3))
      yield* type.save("a", 3, "abc")
      yield* type.delete("a", 3)
      const { elements } = yield* Scope.provide(Source.open(type.source), scope)
      const pull = yield* Scope.provide(Stream.toPull(elements), scope)
      assert.deepStrictEqual((yield* pull).map(shown), [".", ".", "=abc"])
      // in one transaction, so that a reader that is open finds all of it
      yield* Journal.transaction(Effect.gen(function*() {
        yield* append(type.Type, "a", ["e4", "e5", "e6"])
        yield* type.save("a", 5, "12345")
        yield* type.delete("a", 5)
      }))
      const live: Array<string> = []
      while (live.length < 3) live.push(...(yield* pull).map(shown))
      // those that this process has appended may have been read before they were deleted
      assert.include([[".", "=12345", "e6"].join(), ["e4", "e5", "e6"].join()], live.join())
      assert.deepStrictEqual((yield* readOn(type)).seen.get("a"), [".", ".", ".", ".", "=12345", "e6"])
    }).pipe(Effect.scoped))

  it.effect("are encoded anew for a stream, and the bytes of events pass through as they are", () =>
    Effect.gen(function*() {
      const type = fresh()
      let decoded = 0
      const codec = EventCodec.make<string>({
        ...EventCodec.string,
        decode: (payload) => {
          decoded++
          return EventCodec.string.decodeUnsafe(payload)
        },
        encode: EventCodec.string.encodeUnsafe
      })
      const Type = EntityType.make(type.Type.name, { codec })
      const source = Source.fromSnapshots(Type, type.State, ({ state }) => `all of ${state}`)
      yield* append(type.Type, "a", texts(5))
      yield* type.save("a", 2, "ab")
      const { envelopes } = yield* Source.openEncoded(source, codec)
      const shown = yield* Stream.runCollect(Stream.take(envelopes, 5))
      const stored = yield* Stream.runCollect(Journal.readEncoded(type.idOf("a")))
      assert.deepStrictEqual(shown.map(textOf), ["-", "all of ab", ...stored.slice(2).map(textOf)])
      assert.strictEqual(decoded, 0)
    }).pipe(Effect.scoped))

  it.effect("come in pages that are bounded by their bytes, and all of them come", () =>
    Effect.gen(function*() {
      const type = fresh()
      const ids = Array.from({ length: 100 }, (_, i) => `e${i}`)
      const state = "x".repeat(200_000)
      for (const id of ids) {
        yield* append(type.Type, id, texts(2))
        yield* type.save(id, 2, state)
      }
      const start = { journal: undefined, offsets: Offset.none }
      const { envelopes } = yield* type.source.provider.open(SliceRange.full, start)
      const pull = yield* Stream.toPull(envelopes)
      let snapshots = 0
      while (snapshots < ids.length) {
        let bytes = 0
        for (const element of yield* pull) {
          if (isSkipped(element) || element.payload === undefined) continue
          bytes += sizeOf(element)
          snapshots++
        }
        assert.isAtMost(bytes, Journal.maxPageBytes + state.length)
      }
      const { seen } = yield* readOn(type)
      for (const id of ids) assert.deepStrictEqual(seen.get(id), [".", `=${state}`])
    }).pipe(Effect.scoped))

  it.effect("are seen alike by whoever asks for one entity, up to the number that it asks for", () =>
    Effect.gen(function*() {
      const type = fresh()
      yield* append(type.Type, "a", texts(6))
      yield* type.save("a", 2, "two")
      yield* type.save("a", 4, "four")
      assert.deepStrictEqual(yield* entity(type, "a", 1, 6), [".", ".", ".", "=four", "e5", "e6"])
      assert.deepStrictEqual(yield* entity(type, "a", 1, 4), [".", ".", ".", "=four"])
      assert.deepStrictEqual(yield* entity(type, "a", 1, 3), [".", "=two", "e3"])
      assert.deepStrictEqual(yield* entity(type, "a", 1, 1), ["e1"])
      assert.deepStrictEqual(yield* entity(type, "a", 3, 3), ["e3"])
      assert.deepStrictEqual(yield* entity(type, "a", 5, 6), ["e5", "e6"])
      yield* type.delete("a", 4)
      assert.deepStrictEqual(yield* entity(type, "a", 1, 6), [".", ".", ".", "=four", "e5", "e6"])
    }))

  it.effect("may be of a type of state with another name, and carry their own metadata", () =>
    Effect.gen(function*() {
      const { Type } = fresh()
      const State = StateType.make(`${Type.name}-2`, { codec: EventCodec.string })
      const ids = ["a", "b".repeat(PersistenceId.maxBytes - Type.name.length - 1)] as const
      for (const id of ids) {
        yield* Journal.append(Type, { id, events: ["1", "2"], tags: ["tag"], metadata: { from: "event" } })
      }
      yield* SnapshotStore.save(State, { id: "a", sequenceNumber: 2, state: "s", metadata: { from: "snapshot" } })
      const source = Source.fromSnapshots(Type, State, (snapshot) => `${snapshot.sequenceNumber}=${snapshot.state}`)
      const found = yield* Stream.runCollect(Stream.take(Source.toStream(source), 3))
      assert.sameDeepMembers(
        found.map(({ event, metadata, tags }) => [event, metadata.from, ...tags]),
        [["1", "event", "tag"], ["2", "event", "tag"], ["2=s", "snapshot", "tag"]]
      )
    }))

  it.effect("that were pruned together with their events leave the events after them", () =>
    Effect.gen(function*() {
      const type = fresh()
      yield* append(type.Type, "a", texts(3))
      yield* type.save("a", 2, "two")
      yield* type.save("a", 3, "three")
      const journal = yield* Journal.Journal
      const [[slice, head]] = [...yield* journal.heads(type.Type.name, SliceRange.full)] as any
      yield* journal.prune(type.Type.name, head.timestamp + 1)
      // an entity's newest event stays, and the snapshot that stands in its place
      const start = { journal: undefined, offsets: Offset.none, pastDeleted: true }
      const { elements } = yield* Source.open(type.source, { start, range: SliceRange.make(slice, slice) })
      const first = yield* Stream.runCollect(Stream.take(Stream.filter(elements, ({ _tag }) => _tag !== "Skipped"), 1))
      assert.deepStrictEqual(first.map((element) => shown(element as any)), ["=three"])
      assert.deepStrictEqual(yield* entity(type, "a", 1, 3), ["=three"])
      // the one that is left is of an event that is not there any more
      yield* SnapshotStore.delete(type.State, "a", { minSequenceNumber: 3 })
      assert.deepStrictEqual(yield* entity(type, "a", 1, 3), ["e3"])
    }).pipe(Effect.scoped))

  it.effect.each([1, 2, 3])(
    "bring every reader to the state that all events make, whatever is deleted meanwhile (%i)",
    (seed) =>
      Effect.gen(function*() {
        const type = fresh()
        const ids = idsIn(type.Type, SliceRange.full, 12)
        const events = new Map(ids.map((id) => [id, [] as Array<string>]))
        const snapshots = new Map<string, number>()
        const readers = Array.from(
          { length: 3 },
          () => ({ offsets: Offset.none, states: new Map<string, Array<string>>() })
        )
        const read = Effect.fnUntraced(function*(reader: (typeof readers)[number]) {
          const { offsets, seen } = yield* readOn(type, reader.offsets)
          reader.offsets = offsets
          for (const [id, shown] of seen) {
            let state = reader.states.get(id) ?? []
            for (const text of shown) {
              if (text.startsWith("=")) state = text.slice(1).split(",")
              else if (text !== ".") state = [...state, text]
            }
            reader.states.set(id, state)
          }
        })
        for (let step = 0; step < 150; step++) {
          const id = ids[yield* below(ids.length)]!
          const all = events.get(id)!
          const what = yield* below(10)
          if (what < 6) {
            const more = Array.from({ length: 1 + what % 3 }, (_, i) => `${all.length + i + 1}`)
            yield* append(type.Type, id, more as any)
            all.push(...more)
          } else if (what < 8 && all.length > 0) {
            const last = snapshots.get(id) ?? 1
            const number = last + (yield* below(all.length - last + 1))
            yield* type.save(id, number, all.slice(0, number).join())
            snapshots.set(id, number)
          } else if (what < 9 && snapshots.has(id)) {
            yield* type.delete(id, snapshots.get(id)!)
          } else {
            yield* read(readers[yield* below(readers.length)]!)
          }
        }
        for (const reader of readers) {
          yield* read(reader)
          for (const [id, all] of events) assert.deepStrictEqual(reader.states.get(id) ?? [], all, id)
        }
      }).pipe(Random.withSeed(seed))
  )

  it.effect("that cannot be decoded, or that the function throws at, are poison events", () =>
    Effect.gen(function*() {
      const type = fresh()
      yield* append(type.Type, "a", texts(2))
      yield* type.save("a", 2, "two")
      const throwing = Source.fromSnapshots(type.Type, type.State, (): string => {
        throw new Error("no such event")
      })
      assert.deepStrictEqual(yield* tagsOf(throwing), ["Placeholder", "Poison"])
      yield* SnapshotStore.SnapshotStore.use((store) =>
        store.save({
          persistenceId: type.idOf("a"),
          sequenceNumber: number(2),
          payload: { manifest: "unheard of", bytes: new Uint8Array([1]) },
          metadata: {}
        })
      )
      assert.deepStrictEqual(yield* tagsOf(type.source), ["Placeholder", "Poison"])
      const exit = yield* Effect.exit(Stream.runDrain(Source.toStream(type.source)))
      const text = String(Exit.isFailure(exit) ? exit.cause : "")
      assert.include(text, "unheard of")
      assert.include(text, "save a snapshot of this number or a later one, or rewind")
    }))

  it.effect.each(["no", "an older"])(
    "that are removed while a reader is between the events that it has left out and theirs are poison events (%s other)",
    (other) =>
      Effect.gen(function*() {
        const type = fresh()
        const last = 3_000
        const events = texts(last)
        for (let i = 0; i < last; i += 500) yield* append(type.Type, "a", events.slice(i, i + 500) as any)
        if (other === "an older") yield* type.save("a", 3, "abc")
        yield* type.save("a", last - 1, "all but one")
        const { elements } = yield* Source.open(type.source)
        const pull = yield* Stream.toPull(elements)
        const seen = [...yield* pull]
        yield* SnapshotStore.delete(type.State, "a", { minSequenceNumber: 4 })
        while (seen.length < last) seen.push(...yield* pull)
        const poison = seen[last - 2]!
        assert.deepStrictEqual(seen.map(({ _tag }) => _tag), [
          ...Array.from({ length: last - 2 }, () => "Placeholder" as const),
          "Poison",
          "Envelope"
        ])
        assert.match(
          String(poison._tag === "Poison" ? poison.cause : undefined),
          /was removed while the journal was read\. .* or rewind/
        )
        // the entity's events were all there
        assert.strictEqual((yield* readOn(type)).seen.get("a")!.at(-2), events.at(-2))
      }).pipe(Effect.scoped)
  )
}
