import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as EventSourcedTest from "@sluice/testing/EventSourcedTest"

EventSourcedTest.suite("plain, in memory", MemoryStorage.layer, EventSourced.layerPlain)
EventSourcedTest.suiteInTransaction("plain, in memory", MemoryStorage.layer, EventSourced.layerPlain)
EventSourcedTest.suite("in one process, in memory", MemoryStorage.layer, (entity) => EventSourced.layer(entity))
