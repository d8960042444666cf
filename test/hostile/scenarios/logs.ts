import * as Slice from "@sluice/core/Slice"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Assert from "node:assert/strict"
import { Thing } from "../contract.ts"
import * as Disturbance from "../Disturbance.ts"
import type { Scenario } from "../Scenario.ts"
import * as Witness from "../Witness.ts"

/** Entities of so many slices, one of each. */
const idsOfSlices = (count: number): ReadonlyArray<string> => {
  const ids = new Map<Slice.Slice, string>()
  for (let i = 0; ids.size < count; i++) ids.set(Slice.ofPersistenceId(`${Thing.name}|t-${i}`), `t-${i}`)
  return [...ids.values()]
}

/** A transaction that stays open delays the appends to its own logs, and no others, also while there are some that wait for them. */
export const held = (logs: number): Scenario => ({
  name: `a transaction held open on ${logs} logs`,
  run: (environment) =>
    Effect.gen(function*() {
      const { server } = environment
      const witness = Witness.make(environment, `h_held_${logs}`)
      const holder = yield* witness.open()
      // nobody gives up waiting meanwhile
      const other = yield* witness.open({ settings: { lockTimeout: 60_000 } })
      const ids = idsOfSlices(logs + 200)
      const holding = ids.slice(0, logs)
      const free = ids.slice(logs)

      const begun = yield* Latch.make(false)
      const end = yield* Latch.make(false)
      const transaction = yield* Effect.forkScoped(holder.transaction((append) =>
        Effect.forEach(holding, (id) => append(id)).pipe(Effect.andThen(begun.open), Effect.andThen(end.await))
      ))
      yield* begun.await
      const late = yield* Effect.forEach(holding, (id) =>
        Effect.forkScoped(other.append(id)))
      yield* Wait.until(
        "appends to wait for the held logs",
        Effect.map(Disturbance.waiting(server), (n) => n >= Math.min(logs, 4))
      )
      yield* Effect.forEach(free, (id) => other.append(id), { concurrency: "unbounded" }).pipe(
        Effect.timeoutOrElse({
          duration: "10 seconds",
          orElse: () => Effect.die(new Error("appends to other logs are delayed"))
        })
      )
      Assert.ok(late.every((fiber) => fiber.pollUnsafe() === undefined), "the held logs are held")
      yield* end.open
      yield* Fiber.join(transaction)
      yield* Effect.forEach(late, Fiber.join)
      return yield* witness.outcome
    })
})
