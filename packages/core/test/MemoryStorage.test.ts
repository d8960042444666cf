import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as JournalTest from "@sluice/testing/JournalTest"
import * as OffsetStoreTest from "@sluice/testing/OffsetStoreTest"
import * as ProjectionTest from "@sluice/testing/ProjectionTest"

JournalTest.suite("MemoryStorage", MemoryStorage.layer)
OffsetStoreTest.suite("MemoryStorage", MemoryStorage.layer)
ProjectionTest.suite("MemoryStorage", MemoryStorage.layer)
