import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { OffsetStore } from "../OffsetStore.ts"
import { offsetKey, type Projection } from "../Projection.ts"
import { type DeadLetter, type DeadLetterId, ProjectionManagement } from "../ProjectionManagement.ts"
import { compile } from "./compile.ts"
import { isFaultOfEvent } from "./failures.ts"

const pageSize = 100

/** @internal Handles what a projection has put aside, and says how many that were, and how many failed again. */
export const handleDeadLetters = (
  projection: Projection<any, any>
): Effect.Effect<{ readonly handled: number; readonly failed: number }, unknown, any> =>
  Effect.gen(function*() {
    const store = yield* OffsetStore
    const management = yield* ProjectionManagement
    const { delivery, handler, source } = projection
    const key = offsetKey(projection)
    const decode = compile<any, any, any>(source)

    const handle = (letter: DeadLetter): Effect.Effect<void, unknown, any> =>
      Effect.gen(function*() {
        const { envelope } = letter
        if (envelope.payload === undefined) return yield* Effect.fail("the source did not have the event any more")
        const [element] = yield* decode([envelope])
        const discard = management.discard(key, envelope)
        if (element?._tag === "Poison") return yield* Effect.failCause(element.cause)
        if (element?._tag !== "Envelope") return yield* discard
        const handled: Effect.Effect<void, unknown, any> = Effect.andThen(
          Effect.suspend(() => typeof handler === "function" ? handler(element) : handler.handle([element])),
          discard
        )
        yield* delivery._tag === "ExactlyOnce" ? store.transact(key, "", [], handled) : handled
      })

    let handled = 0
    let failed = 0
    let after: DeadLetterId | undefined
    while (true) {
      const page: ReadonlyArray<DeadLetter> = yield* management.deadLetters(key, after, pageSize)
      for (const letter of page) {
        const exit: Exit.Exit<void, unknown> = yield* Effect.exit(handle(letter))
        if (Exit.isSuccess(exit)) {
          handled++
          continue
        }
        if (!isFaultOfEvent(exit.cause) || Exit.hasInterrupts(exit)) return yield* Effect.failCause(exit.cause)
        failed++
        yield* management.putAside({ ...letter, error: Cause.pretty(exit.cause) })
      }
      const last = page.at(-1)
      if (last === undefined) return { handled, failed }
      after = last.envelope
    }
  })
