/**
 * Asks over HTTP until there is an answer.
 */
import { Effect, Schedule } from "effect"
import { HttpClientError } from "effect/http"

/** Whether a repetition may be answered: nobody is there, or has the time, or the answer was lost. */
const isWorthRepeating = (error: { readonly _tag: string }): boolean => {
  switch (error._tag) {
    case "TimeoutError":
      return true
    case "HttpClientError":
      return HttpClientError.isHttpClientError(error) && error.reason._tag !== "StatusCodeError"
    default:
      return "isRetryable" in error && error.isRetryable === true
  }
}

/** The request is told how often it was made before. */
export const untilAnswered = <A, E extends { readonly _tag: string }>(
  request: (attempt: number) => Effect.Effect<A, E>
) => {
  let attempts = 0
  return Effect.timeout(Effect.suspend(() => request(attempts++)), "5 seconds").pipe(
    Effect.retry({ while: isWorthRepeating, schedule: Schedule.jittered(Schedule.spaced("200 millis")) })
  )
}
