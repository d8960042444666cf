import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { InHand } from "../src/internal/calls/InHand.ts"
import { maxMessageBytes } from "../src/internal/calls/method.ts"

it.effect("whoever comes when others do not take the answers to what they have begun has room for a command", () =>
  Effect.gen(function*() {
    const inHand = new InHand()
    const others = ["a", "b", "c", "d", "e", "f"]
    let dropped = 0
    // all have begun many before the first answer comes, and none is ever taken
    for (let round = 0; round < 20; round++) {
      for (const peer of others) {
        const answer = inHand.answer(peer, maxMessageBytes / 2, Effect.never, Effect.sync(() => dropped++))
        yield* Effect.forkChild(answer, { startImmediately: true })
      }
    }
    assert.isAbove(dropped, 0)
    for (const peer of others) assert.isTrue(inHand.isFull(peer))
    const begun = inHand.command("new", 1, Effect.succeed(true), Effect.succeed(false))
    assert.isTrue(yield* begun)
    let isTaken = false
    yield* inHand.answer("new", maxMessageBytes, Effect.sync(() => void (isTaken = true)), Effect.void)
    assert.isTrue(isTaken)
  }))
