import { assert, it } from "@effect/vitest"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"

const spin = (millis: number) => {
  const until = performance.now() + millis
  while (performance.now() < until);
}

it.effect("asks less often what takes longer to answer", () =>
  Effect.gen(function*() {
    const questions: Array<{ readonly from: number; readonly to: number }> = []
    yield* Wait.until("five answers", () => {
      const from = performance.now()
      spin(30)
      questions.push({ from, to: performance.now() })
      return questions.length === 5
    })
    for (const [i, { from, to }] of questions.slice(0, -1).entries()) {
      // timers may be a little early
      assert.isAtLeast(questions[i + 1]!.from - to, Math.min(2 * (to - from), 250) - 3)
    }
  }))
