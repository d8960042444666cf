import { assert, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Decision from "@sluice/entity/Decision"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import { bytesOf, bytesOfCommand } from "../src/internal/commandBytes.ts"

it("a command takes the bytes of its texts and binary data, wherever they are, and of each once", () => {
  const text = "x".repeat(1_000)
  const shared = { text }
  const circular: { self?: object; readonly text: string } = { text }
  circular.self = circular
  class Computed {
    readonly text = text
    get all(): string {
      throw new Error("BUG: it was computed")
    }
  }
  for (
    const [payload, size] of [
      [undefined, 0],
      [1, 0],
      [text, 1_000],
      [{ a: { b: [text, text] } }, 2_000],
      [new Map([[text, new Set([text])]]), 2_000],
      [new Uint8Array(1_000), 1_000],
      [new ArrayBuffer(1_000), 1_000],
      [[shared, shared], 1_000],
      [circular, 1_000],
      [new Computed(), 1_000]
    ] as const
  ) assert.closeTo(bytesOf(payload), size + 150, 110)
  assert.isAbove(bytesOf(Array.from({ length: 1_000 }, (_, n) => n)), 10_000)
  const command = { tag: "Put", payload: text, commandId: undefined }
  assert.strictEqual(bytesOfCommand(command), bytesOf(text))
  assert.closeTo(bytesOfCommand({ ...command, bytes: 50_000 }), 50_000, 200)
})

it.effect("commands of entities that run the plain way have a bound for their bytes as well", () => {
  const goOn = Latch.makeUnsafe()
  const Blob = EventSourced.make(EntityType.make("blob", { event: Schema.TaggedStruct("Put", {}) }), {
    state: Schema.Int,
    initial: 0,
    commands: [Rpc.make("Check", { payload: { data: Schema.Uint8Array }, success: Schema.Int })],
    decide: { Check: ({ payload }) => Effect.as(goOn.await, Decision.reply(payload.data.length)) },
    evolve: (count) => count + 1
  })
  const mebi = 1024 * 1024
  return Effect.gen(function*() {
    const blobs = yield* EventSourced.client(Blob)
    const check = (id: string, size: number) => blobs(id).Check({ data: new Uint8Array(size) })
    const first = yield* Effect.forkChild(check("a", 200 * mebi), { startImmediately: true })
    const error = yield* Effect.flip(check("b", 100 * mebi))
    assert.deepInclude(error, { _tag: "Overloaded", full: "memory", limit: 256 * mebi, isUnknown: false })
    yield* goOn.open
    assert.strictEqual(yield* Fiber.join(first), 200 * mebi)
    assert.strictEqual(yield* check("b", 300 * mebi), 300 * mebi)
  }).pipe(Effect.provide(EventSourced.layerPlain(Blob).pipe(Layer.provide(MemoryStorage.layer))))
})
