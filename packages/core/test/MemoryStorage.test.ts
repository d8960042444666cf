import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as StorageTest from "@sluice/testing/StorageTest"

StorageTest.suite("MemoryStorage", MemoryStorage.layer)
