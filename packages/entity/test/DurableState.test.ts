import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as DurableState from "@sluice/entity/DurableState"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as DurableStateTest from "@sluice/testing/DurableStateTest"

for (
  const [name, storage] of [
    ["memory", MemoryStorage.layer],
    ["SQLite", SqliteStorage.layer({ filename: ":memory:" })]
  ] as const
) {
  DurableStateTest.suite(`plain, in ${name}`, storage, DurableState.layerPlain)
  DurableStateTest.suiteInTransaction(`plain, in ${name}`, storage, DurableState.layerPlain)
}
