import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Effect from "effect/Effect"
import { verificationTests } from "./replication/verification.ts"

verificationTests(
  "in memory",
  Effect.succeed({ eu: MemoryStorage.layer, us: MemoryStorage.layer, ap: MemoryStorage.layer })
)
