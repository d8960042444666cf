import * as EventSourced from "@sluice/entity/EventSourced"
import * as EventSourcedTest from "@sluice/testing/EventSourcedTest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { databases } from "./databases.ts"

for (const { name, place } of databases) {
  const storage = Layer.unwrap(Effect.map(place, ({ layer }) => layer()))
  EventSourcedTest.suite(`plain, in ${name}`, storage, EventSourced.layerPlain)
  EventSourcedTest.suiteInTransaction(`plain, in ${name}`, storage, EventSourced.layerPlain)
}
