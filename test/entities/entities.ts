/** Processes that run the same entities on one database, and are killed and stopped meanwhile. */
import { assert } from "@effect/vitest"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import { fileURLToPath } from "node:url"
import { respawned } from "../kit/Respawned.ts"
import { open, type Where } from "../status/open.ts"
import { refused } from "./Ledgers.ts"
import { type Answer, type Asked, Oracle } from "./Oracle.ts"

const runner = fileURLToPath(new URL("./runner.ts", import.meta.url))

/** How a process runs the entities. */
export type Way = "active" | "plain"

/** The same numbers each time. */
const random = (seed: number) => () => {
  seed = seed * 1_664_525 + 1_013_904_223 >>> 0
  return seed / 2 ** 32
}

const ids = Array.from({ length: 40 }, (_, i) => `l-${i}`)

/** What may happen to a command while others write, and processes are stopped. */
const expected = new Set(["EntityConflict", "JournalUnavailable", "Overloaded"])

const pause = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))

/** Has them run commands, kills and stops them meanwhile, and verifies that each was executed once, and what it was replied. */
export const entities = (where: Where, ways: ReadonlyArray<Way>, options: { readonly commands: number }) =>
  Effect.gen(function*() {
    const { commands } = options
    const oracle = new Oracle()
    const members = yield* Effect.forEach(
      ways,
      (way) => respawned<Omit<Asked, "n">, Answer>(runner, JSON.stringify(where), way)
    )
    yield* Wait.until("the processes to be ready", () => members.every(({ isReady }) => isReady))
    const next = random(commands)
    const pick = <A>(some: ReadonlyArray<A>): A => some[Math.floor(next() * some.length)]!
    let begun = 0
    let kills = 0
    const failures = new Map<string, number>()

    /** Asks until it is known whether it was executed, if a repetition is known as one. */
    const command = async (asked: Asked) => {
      for (;;) {
        const answer = await pick(members).ask(asked)
        if (answer !== undefined) {
          oracle.answered(asked, answer.answer)
          if (answer.answer._tag !== "Failed") {
            const isRefused = answer.answer._tag === "Refused"
            if (isRefused !== (asked.amount === refused)) oracle.wrong.push(`${asked.token}: ${JSON.stringify(answer)}`)
            return
          }
          const { error, isUnknown, message } = answer.answer
          failures.set(error, (failures.get(error) ?? 0) + 1)
          if (!expected.has(error)) oracle.wrong.push(message)
          if (!isUnknown) {
            await pause(20)
            continue
          }
        }
        if (asked.commandId === undefined) return
      }
    }

    /** Something goes wrong after each tenth of the commands. */
    const disturb = async (n: number) => {
      const victim = members[n % members.length]!
      if (n % 2 === 0) {
        kills++
        victim.signal("SIGKILL")
        return
      }
      victim.signal("SIGSTOP")
      await pause(1_500)
      victim.signal("SIGCONT")
    }

    const loop = async () => {
      while (begun < commands) {
        const n = begun++
        if (n % Math.ceil(commands / 10) === commands / 20) void disturb(Math.floor(n * 10 / commands))
        const commandId = n % 4 === 0 ? undefined : `command ${n}`
        const asked: Asked = { n, id: pick(ids), token: `t${n}`, amount: n % 20, commandId }
        oracle.asked(asked)
        // some are repeated at once
        await Promise.all(n % 10 === 1 ? [command(asked), command(asked)] : [command(asked)])
      }
    }
    yield* Wait.end("all commands", Effect.promise(() => Promise.all(Array.from({ length: 24 }, loop))), {
      atMost: "5 minutes"
    })
    assert.deepStrictEqual(yield* Effect.provide(oracle.verdict, open(where)), [])
    // most are replied; some without an id were lost
    assert.isAbove(oracle.replied, commands * 0.8)
    assert.isAtLeast(kills, 4)
    return { replied: oracle.replied, failures, kills }
  }).pipe(Effect.scoped)
