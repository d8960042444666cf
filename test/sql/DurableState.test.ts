import * as DurableState from "@sluice/entity/DurableState"
import * as DurableStateTest from "@sluice/testing/DurableStateTest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { adapters } from "./databases.ts"

for (const { name, place } of adapters) {
  const storage = Layer.unwrap(Effect.map(place, ({ layer }) => layer()))
  DurableStateTest.suite(`plain, in ${name}`, storage, DurableState.layerPlain)
  DurableStateTest.suite(`in one process, in ${name}`, storage, DurableState.layer)
  DurableStateTest.suiteInTransaction(`plain, in ${name}`, storage, DurableState.layerPlain)
}
