import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as DurableState from "@sluice/entity/DurableState"
import * as DurableStateTest from "@sluice/testing/DurableStateTest"

DurableStateTest.suite("plain, in memory", MemoryStorage.layer, DurableState.layerPlain)
DurableStateTest.suiteInTransaction("plain, in memory", MemoryStorage.layer, DurableState.layerPlain)
DurableStateTest.suite("in one process, in memory", MemoryStorage.layer, DurableState.layer)
