import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Offset from "@sluice/core/Offset"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as EventProducer from "@sluice/grpc/EventProducer"
import type { ReplicaProgress } from "@sluice/grpc/ReplicaProgress"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { read, received, remote } from "./kit/Consumer.ts"
import * as FakeProducer from "./kit/FakeProducer.ts"
import { append, Cart, CartEvents, carts, logging, quiet, serve } from "./kit/Producer.ts"

const replica = { id: "münchen", replicas: ["münchen", "us"] }
const replicated = EventProducer.layer(CartEvents, Source.journal(Cart), { replica })

/** How far it has stored another one. */
const ask = (port: number, of: string) => EventConsumer.replicaProgress("cart", { address: `127.0.0.1:${port}` }, of)

/** Each call that a consumer makes, but for the stream. */
const calls = (port: number, producerReplica: string) => {
  const { provider } = remote(port, { producerReplica })
  const id = EntityType.persistenceId(Cart, "a")
  const one = SequenceNumber.make(1)
  return {
    heads: provider.heads(SliceRange.full),
    before: provider.before(SliceRange.full, Timestamp.make(Number.MAX_SAFE_INTEGER)),
    written: provider.written!(id, one),
    entity: Stream.runCollect(provider.entity(id, one, one))
  }
}

describe("what a replica says of how far it is", () => {
  for (
    const [name, filter, isRead] of [
      ["is read with its filter", { excludeTags: ["test"] }, true],
      // it may exclude
      ["is refused where its filter has a criterion of a later release", {
        excludeTags: ["test"],
        excludeTopics: ["home/#"]
      }, false]
    ] as const
  ) {
    it.live(name, () =>
      Effect.gen(function*() {
        const address = yield* FakeProducer.make({
          latestEventTimestamp: () => ({ sluiceStored: { filter: JSON.stringify(filter) } })
        })
        const asked = EventConsumer.replicaProgress("cart", { address }, "us")
        if (isRead) assert.deepStrictEqual((yield* asked)?.filter?.excludeTags, ["test"])
        else {
          const { message } = yield* Effect.flip(asked)
          assert.match(message, /by a filter with what this release does not know/)
        }
      }).pipe(Effect.scoped, Effect.provide(quiet)))
  }
})

describe("a consumer that expects a replica", () => {
  it.live("is refused by another one, whatever it calls, and says which answers", () =>
    Effect.gen(function*() {
      const port = yield* serve(replicated)
      yield* append("a", ["1"])
      for (const [name, call] of Object.entries(calls(port, "us"))) {
        const error = yield* Effect.flip<unknown, any, never>(call as any)
        assert.strictEqual(error._tag, "WrongReplica", name)
        assert.strictEqual(
          error.message,
          `'127.0.0.1:${port}' offers the stream 'cart' as replica 'münchen', and is to be 'us': give the address of 'us'`
        )
      }
      const { layer, lines } = logging()
      const reading = yield* Effect.provide(read(remote(port, { producerReplica: "us" })), layer)
      yield* Wait.until("the reason in the log", () => lines.some((line) => line.includes("as replica 'münchen'")))
      assert.deepStrictEqual(reading.envelopes, [])
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(MemoryStorage.layer, quiet))))

  it.live("calls that one, and a producer that does not say which it is", () =>
    Effect.gen(function*() {
      yield* append("a", ["1"])
      for (const producer of [replicated, carts]) {
        const port = yield* serve(producer)
        for (const call of Object.values(calls(port, "münchen"))) yield* call as Effect.Effect<unknown, unknown>
        yield* received(yield* read(remote(port, { producerReplica: "münchen" })), 1)
      }
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(MemoryStorage.layer, quiet))))
})

describe("a replica that is asked how far it has stored another one", () => {
  const stored: ReplicaProgress = {
    journal: "j-1/events/cart",
    offsets: new Map([[Slice.make(7), Offset.make(3, 5)]]),
    incomplete: new Set([Slice.make(7)]),
    waiting: 2,
    state: "Paused",
    others: ["us"]
  }

  it.live("says so of those that it knows, and asks its database for nothing else", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const progress = (of: string) => Effect.sync(() => (asked.push(of), stored))
      const port = yield* serve(
        EventProducer.layer(CartEvents, Source.journal(Cart), { replica: { ...replica, progress } })
      )
      assert.deepStrictEqual(yield* ask(port, "us"), stored)
      for (const strange of ["mars", "us\0", "x".repeat(100_000)]) {
        const { message } = yield* Effect.flip(ask(port, strange))
        assert.include(message, "is none of the replicas that 'münchen' knows: 'münchen', 'us'. Name it among")
        assert.isBelow(message.length, 1_000)
      }
      assert.deepStrictEqual(asked, ["us"])
      // one that does not tell
      assert.isUndefined(yield* ask(yield* serve(replicated), "us"))
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(MemoryStorage.layer, quiet))))
})
