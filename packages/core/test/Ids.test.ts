import { assert, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import { WebCrypto } from "effect/crypto/WebCrypto"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

it.effect("the ids of journals and events come from the context, so that a test can know them", () => {
  let made = 0
  const crypto = {
    ...globalThis.crypto,
    randomUUID: () => `00000000-0000-4000-8000-${String(++made).padStart(12, "0")}` as const
  } as typeof globalThis.crypto
  return Effect.gen(function*() {
    const journal = yield* Journal.Journal
    assert.strictEqual(journal.identity, "00000000-0000-4000-8000-000000000001")
    const sent: Array<string> = []
    const observed: Journal.Journal["Service"] = {
      ...journal,
      append: (request) => {
        sent.push(...request.events.map(({ id }) => id))
        return journal.append(request)
      }
    }
    const Note = EntityType.make("note", { codec: EventCodec.string })
    yield* Effect.provideService(
      Journal.append(Note, { id: "n-1", events: ["a", "b"] }),
      Journal.Journal,
      observed
    )
    assert.deepStrictEqual(sent, ["00000000-0000-4000-8000-000000000002", "00000000-0000-4000-8000-000000000003"])
  }).pipe(Effect.provide(Layer.fresh(MemoryStorage.layer)), Effect.provideService(WebCrypto, crypto))
})
