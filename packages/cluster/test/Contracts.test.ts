/** What entities promise in every way to run them, they promise in a cluster. */
import * as EntityCluster from "@sluice/cluster/EntityCluster"
import type { Entity } from "@sluice/entity/Entity"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as DurableStateTest from "@sluice/testing/DurableStateTest"
import type { DurableStateWay, EntityWay } from "@sluice/testing/EntityWay"
import * as EventSourcedTest from "@sluice/testing/EventSourcedTest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

const inSqlite = SqliteStorage.layer({ filename: ":memory:" })

/**
 * A process that believes that all entities are its own: its leases are those of a cluster apart, and it writes where the others do. A process that was halted is
 * like that for a moment, and only the journal's numbers keep it from writing what is wrong.
 */
const astray = Layer.fresh(EntityCluster.layerProcess().pipe(Layer.provide(Layer.fresh(inSqlite))))

/** The types whose entities run in the process that the tests share. */
const running = new Set<string>()

/** Where a test runs a type several times, all but the first are in processes that have gone astray. */
const way = (entity: Entity<string, any, any>) =>
  Layer.unwrap(Effect.gen(function*() {
    const { name } = entity
    const layer = EntityCluster.layer(entity)
    if (running.has(name)) return Layer.provide(layer, astray)
    running.add(name)
    yield* Effect.addFinalizer(() => Effect.sync(() => running.delete(name)))
    return layer
  }))

const storage = EntityCluster.layerProcess().pipe(Layer.provideMerge(inSqlite))

// the storage has what they need beside the journal
EventSourcedTest.suite("in a process of a cluster, in SQLite", storage, way as unknown as EntityWay)
DurableStateTest.suite("in a process of a cluster, in SQLite", storage, way as unknown as DurableStateWay)
