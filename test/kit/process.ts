import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"

// from the beginning, as the parent may ask before anybody listens
const asked = new Promise<void>((resolve) => {
  process.stdin.once("data", () => resolve())
})

/** Ends when the parent asks for it, by a line on standard input. */
export const stopped: Effect.Effect<void> = Effect.promise(() => asked)

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
