import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Effect from "effect/Effect"
import { statusTests } from "./replication/status.ts"

statusTests(
  "in memory",
  Effect.succeed({ eu: MemoryStorage.layer, us: MemoryStorage.layer, ap: MemoryStorage.layer })
)
