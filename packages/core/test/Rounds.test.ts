import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import { type Look, Rounds } from "../src/internal/projection/Rounds.ts"
import { after, withRandom } from "./projectionKit.ts"

const every = 1_000

const round = Effect.gen(function*() {
  for (let i = 0; i < 10; i++) yield* after(every / 10)
})

/** Counts how often it looks. */
const counting = () => {
  const looks: Array<number> = []
  const look: Look = (at) => {
    looks.push(at)
    return undefined
  }
  return { look, looks }
}

const join = (rounds: Rounds, look: Look) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    yield* Scope.provide(rounds.join(look), scope)
    return Scope.close(scope, Exit.void)
  })

describe("rounds", () => {
  it.effect("have each look once in a round until it leaves, by one timer, which ends with the last of them", () =>
    Effect.gen(function*() {
      const rounds = new Rounds(every)
      const [one, two] = [counting(), counting()]
      const leave = yield* join(rounds, one.look)
      const leaveLast = yield* join(rounds, two.look)
      for (let i = 0; i < 3; i++) yield* round
      assert.lengthOf(one.looks, 3)
      assert.lengthOf(two.looks, 3)
      // it may be the one that has started the timer
      yield* leave
      yield* round
      assert.lengthOf(one.looks, 3)
      assert.lengthOf(two.looks, 4)
      yield* leaveLast
      yield* round
      assert.lengthOf(two.looks, 4)
      // a timer that had not ended would have it look twice as often
      yield* Effect.scoped(Effect.gen(function*() {
        yield* rounds.join(one.look)
        for (let i = 0; i < 3; i++) yield* round
      }))
      assert.lengthOf(one.looks, 6)
    }))

  it.effect("have none look while that is still done which it has said, and end that when it leaves", () =>
    Effect.gen(function*() {
      const rounds = new Rounds(every)
      const done = yield* Deferred.make<void>()
      let [looks, ended] = [0, 0]
      const leave = yield* join(rounds, () => {
        looks++
        return Effect.ensuring(looks === 1 ? Deferred.await(done) : Effect.never, Effect.sync(() => void ended++))
      })
      for (let i = 0; i < 3; i++) yield* round
      assert.deepStrictEqual([looks, ended], [1, 0])
      yield* Deferred.succeed(done, undefined)
      yield* round
      yield* round
      assert.deepStrictEqual([looks, ended], [2, 1])
      yield* leave
      assert.deepStrictEqual([looks, ended], [2, 2])
    }))

  it.effect("go on where a look throws, with the others, and say whose it is", () =>
    Effect.gen(function*() {
      const rounds = new Rounds(every)
      const errors: Array<unknown> = []
      const logger = Logger.make(({ fiber, message }) => {
        errors.push([message, fiber.getRef(References.CurrentLogAnnotations)])
      })
      const { look, looks } = counting()
      const joining = Effect.gen(function*() {
        yield* rounds.join(() => undefined).pipe(Effect.annotateLogs({ projection: "first" }))
        yield* rounds.join(() => {
          throw new Error("broken")
        }).pipe(Effect.annotateLogs({ projection: "second" }))
        yield* rounds.join(look).pipe(Effect.annotateLogs({ projection: "third" }))
      })
      // all in one part
      yield* joining.pipe(withRandom(0), Effect.provide(Logger.layer([logger])))
      for (let i = 0; i < 3; i++) yield* round
      assert.lengthOf(looks, 3)
      assert.lengthOf(errors, 3)
      assert.deepStrictEqual(errors[0], [["Could not look at a projection"], { projection: "second" }])
    }).pipe(Effect.scoped))
})
