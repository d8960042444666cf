import { assert, describe, it } from "@effect/vitest"
import { ConsumerFilter } from "@sluice/core/ConsumerFilter"
import { DurableStateStore } from "@sluice/core/DurableStateStore"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import { OffsetStore } from "@sluice/core/OffsetStore"
import { ProjectionManagement } from "@sluice/core/ProjectionManagement"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as SliceRange from "@sluice/core/SliceRange"
import { SnapshotStore } from "@sluice/core/SnapshotStore"
import * as StorageTest from "@sluice/testing/StorageTest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"

StorageTest.suite("MemoryStorage", MemoryStorage.layer)

const Note = EntityType.make("note", { codec: EventCodec.string })
const id = EntityType.persistenceId(Note, "a")
const append = Journal.append(Note, { id: "a", events: ["1"] })
const key = { projection: "p", source: "journal:note" }

const isClosed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(
    Effect.flip(effect),
    (error) => assert.deepInclude(error as object, { _tag: "StorageError", reason: "Closed" })
  )

/** Storage that can be closed. */
const open = Effect.gen(function*() {
  const scope = yield* Scope.make()
  const storage = yield* Scope.provide(Layer.build(Layer.fresh(MemoryStorage.layer)), scope)
  return { storage, close: Scope.close(scope, Exit.void) }
})

describe("storage in memory that is closed", () => {
  it.effect("fails as others do, whatever is asked of it", () =>
    Effect.gen(function*() {
      const { close, storage } = yield* open
      yield* Effect.provide(append, storage)
      const journal = Context.get(storage, Journal.Journal)
      const states = Context.get(storage, DurableStateStore)
      const [events, changes] = [
        yield* journal.reader("note", SliceRange.full, new Map()),
        yield* states.reader("note", SliceRange.full, new Map())
      ]
      yield* close
      yield* isClosed(Effect.provide(append, storage))
      yield* isClosed(Effect.provide(Journal.transaction(Effect.void), storage))
      yield* isClosed(journal.entity(id, SequenceNumber.make(1), SequenceNumber.make(9), 9))
      yield* isClosed(journal.entityTypes(9))
      yield* isClosed(journal.heads("note", SliceRange.full))
      yield* isClosed(journal.reader("note", SliceRange.full, new Map()))
      yield* isClosed(events.next(9))
      yield* isClosed(states.get(id))
      yield* isClosed(states.entityTypes(9))
      yield* isClosed(states.reader("note", SliceRange.full, new Map()))
      yield* isClosed(changes.next(9))
      yield* isClosed(Context.get(storage, OffsetStore).load(key, SliceRange.full))
      yield* isClosed(Context.get(storage, ProjectionManagement).register(key))
      yield* isClosed(Context.get(storage, ProjectionManagement).list)
      yield* isClosed(Context.get(storage, ConsumerFilter).find("stream:carts"))
      yield* isClosed(Context.get(storage, SnapshotStore).newest([id]))
    }))

  it.effect("does not write what was not committed before", () =>
    Effect.gen(function*() {
      const { close, storage } = yield* open
      const journal = Context.get(storage, Journal.Journal)
      const [begun, goOn] = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
      const committed: Array<number> = []
      const writing = yield* Effect.forkScoped(
        Effect.gen(function*() {
          yield* append
          yield* Deferred.succeed(begun, undefined)
          yield* Deferred.await(goOn)
        }).pipe(
          Journal.transaction,
          Effect.tap(() => Effect.sync(() => committed.push(1))),
          Effect.provide(storage)
        )
      )
      yield* Deferred.await(begun)
      const waiting = yield* Effect.forkScoped(Effect.provide(append, storage), { startImmediately: true })
      yield* close
      yield* Deferred.succeed(goOn, undefined)
      yield* isClosed(Fiber.join(writing))
      yield* isClosed(Fiber.join(waiting))
      assert.deepStrictEqual(committed, [])
      yield* isClosed(journal.heads("note", SliceRange.full))
    }))
})
