import { fromBinary } from "@bufbuild/protobuf"
import { assert, describe, it } from "@effect/vitest"
import { type IncomingCall, unframe } from "@sluice/grpc/Call"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { StreamOutSchema } from "../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import { CallWriter } from "../src/internal/server/CallWriter.ts"
import { batchPieces } from "../src/internal/wire/frames.ts"
import * as FakeSource from "./kit/FakeSource.ts"

const summary = (bytes: Uint8Array): string => {
  const { message } = fromBinary(StreamOutSchema, bytes)
  return message.case === "sluiceEcho"
    ? `echo ${message.value.number} ${message.value.disruption}`.trimEnd()
    : String(message.case)
}

/** A writer whose consumer takes what is written when the test says so. */
const writing = Effect.sync(() => {
  const written: Array<string> = []
  const untaken: Array<() => void> = []
  const call = {
    write: (frames: Uint8Array, taken: (bytes: number) => void) => {
      written.push(...unframe(frames).map(summary))
      untaken.push(() => taken(frames.length))
    }
  } as Partial<IncomingCall> as IncomingCall
  const writer = new CallWriter(call, { wrote: () => {} })
  return { writer, written, take: () => untaken.shift()!() }
})

describe("the writer of a call", () => {
  it.effect("echoes a beat at once; between two pieces if events wait for the consumer, and then only the last beat", () =>
    Effect.gen(function*() {
      const { take, writer, written } = yield* writing
      writer.echo(1n)
      assert.deepStrictEqual(written, ["echo 1"])
      take()
      const large = "x".repeat(40_000)
      const writes = batchPieces([FakeSource.event(1, large), FakeSource.event(2, large)])
      const fiber = yield* Effect.forkChild(writer.write(writes), { startImmediately: true })
      const before = written.length
      for (const beat of [2n, 3n, 4n]) writer.echo(beat)
      assert.strictEqual(written.length, before)
      while (fiber.pollUnsafe() === undefined) {
        take()
        yield* Effect.yieldNow
      }
      assert.deepStrictEqual(written.filter((message) => message.startsWith("echo")), ["echo 1", "echo 4"])
      assert.strictEqual(written[before], "echo 4")
    }))

  it.effect("tells at once what changes at what is read, to a consumer that has sent a beat", () =>
    Effect.gen(function*() {
      const { take, writer, written } = yield* writing
      writer.tell("database")
      assert.deepStrictEqual(written, [])
      writer.echo(1n)
      take()
      for (const disruption of ["database", "", "", "disk"]) {
        writer.tell(disruption)
        if (disruption === "") assert.strictEqual(written.at(-1), "echo 1")
      }
      // the first of them is on its way: of those that come meanwhile the last one counts
      assert.deepStrictEqual(written, ["echo 1 database", "echo 1"])
      take()
      assert.deepStrictEqual(written, ["echo 1 database", "echo 1", "echo 1 disk"])
    }))

  it.effect("need not be waited for after a small event; what comes next waits until that is on its way", () =>
    Effect.gen(function*() {
      const { take, writer, written } = yield* writing
      yield* writer.write(batchPieces([FakeSource.event(1, "a")]))
      assert.lengthOf(written, 1)
      const next = yield* Effect.forkChild(writer.write(batchPieces([FakeSource.event(2, "b")])), {
        startImmediately: true
      })
      yield* Effect.yieldNow
      assert.lengthOf(written, 1)
      take()
      yield* Fiber.join(next)
      assert.lengthOf(written, 2)
      take()
      const large = yield* Effect.forkChild(writer.write(batchPieces([FakeSource.event(3, "x".repeat(5_000))])), {
        startImmediately: true
      })
      yield* Effect.yieldNow
      assert.lengthOf(written, 3)
      assert.isUndefined(large.pollUnsafe())
      take()
      yield* Fiber.join(large)
    }))
})
