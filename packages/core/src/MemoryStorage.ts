/**
 * Storage in the memory of the process, for tests and for trying things out. It keeps every promise of the others but one:
 * nothing survives the process.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import { WebCrypto } from "effect/crypto/WebCrypto"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ConsumerFilter } from "./ConsumerFilter.ts"
import { DurableStateStore } from "./DurableStateStore.ts"
import { HeartbeatStore } from "./HeartbeatStore.ts"
import { makeMemoryConsumerFilter } from "./internal/memory/consumerFilter.ts"
import { makeMemoryDatabase, MemoryTable } from "./internal/memory/database.ts"
import { makeMemoryDurableStateStore } from "./internal/memory/durableStateStore.ts"
import { makeMemoryHeartbeatStore } from "./internal/memory/heartbeatStore.ts"
import { makeMemoryJournal } from "./internal/memory/journal.ts"
import { makeMemoryOffsetStore, makeOffsetTables } from "./internal/memory/offsetStore.ts"
import { type Letters, makeMemoryProjectionManagement } from "./internal/memory/projectionManagement.ts"
import { makeMemorySnapshotStore } from "./internal/memory/snapshotStore.ts"
import { Journal } from "./Journal.ts"
import { OffsetStore } from "./OffsetStore.ts"
import { ProjectionManagement } from "./ProjectionManagement.ts"
import { SnapshotStore } from "./SnapshotStore.ts"

/**
 * New, empty stores, which share their transactions.
 *
 * **Gotchas**
 *
 * A transaction holds the one lock of the storage until it ends.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<
  Journal | OffsetStore | ProjectionManagement | ConsumerFilter | HeartbeatStore | SnapshotStore | DurableStateStore
> = Layer.effectContext(
  Effect.gen(function*() {
    const crypto = yield* WebCrypto
    const database = makeMemoryDatabase()
    yield* Effect.addFinalizer(() => database.close)
    const letters: Letters = new MemoryTable()
    const journal = makeMemoryJournal(database, letters, crypto.randomUUID())
    const offsets = makeOffsetTables()
    const management = makeMemoryProjectionManagement(database, offsets, letters)
    return Context.make(Journal, journal).pipe(
      Context.add(OffsetStore, makeMemoryOffsetStore(database, offsets)),
      Context.add(ProjectionManagement, management),
      Context.add(ConsumerFilter, makeMemoryConsumerFilter(database, offsets, management)),
      Context.add(HeartbeatStore, makeMemoryHeartbeatStore(database, offsets)),
      Context.add(SnapshotStore, makeMemorySnapshotStore(database)),
      Context.add(DurableStateStore, makeMemoryDurableStateStore(database, journal))
    )
  })
)
