import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"

/** Ends when the parent asks for it, by a line on standard input. */
export const stopped: Effect.Effect<void> = Effect.callback((resume) => {
  process.stdin.once("data", () => resume(Effect.void))
})

/** Runs until the parent ends, in whatever way. */
export const endWithParent = <E>(program: Effect.Effect<never, E>): void => {
  process.stdin.resume()
  process.stdin.on("end", () => process.exit(0))
  Effect.runPromise(Effect.provide(program, Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)]))).catch(
    (error) => {
      console.error(error)
      process.exit(1)
    }
  )
}
