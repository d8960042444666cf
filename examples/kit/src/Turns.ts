/**
 * Whose turn it is to shop, at a steady rate.
 */
import { type Cause, Clock, Effect, Queue, Schedule } from "effect"

/** As many turns a second as the rate says. What cannot be taken within a second is lost, not made up for. */
export const make = Effect.fnUntraced(function*(rate: number) {
  const turns = yield* Queue.dropping<void, Cause.Done>(rate)
  return {
    /** Ends with `Done` where nobody begins anything any more. */
    take: Queue.take(turns),
    /** Gives them, and never ends. */
    give: Effect.gen(function*() {
      const start = yield* Clock.currentTimeMillis
      let given = 0
      const give = Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const due = Math.floor((now - start) * rate / 1000) - given
        given += due
        return Queue.offerAll(turns, Array.from({ length: due }, () => {}))
      })
      return yield* Effect.andThen(Effect.repeat(give, Schedule.spaced("10 millis")), Effect.never)
    }),
    end: Effect.andThen(Queue.clear(turns), Queue.end(turns))
  }
})
