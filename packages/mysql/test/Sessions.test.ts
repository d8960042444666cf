import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { CompiledQuery } from "kysely"
import { vi } from "vitest"
import type { Session } from "../src/internal/connection.ts"
import type { Pool } from "../src/internal/pool.ts"
import { makeSessions } from "../src/internal/sessions.ts"

it("whoever waits for a connection of the pool leaves its queue when nobody wants it any more", async () => {
  let waiting = 0
  const pool = {
    lend: Effect.acquireUseRelease(
      Effect.sync(() => waiting++),
      () => Effect.never,
      () => Effect.sync(() => waiting--)
    )
  } as Partial<Pool> as Pool
  const controller = new AbortController()
  const acquired = makeSessions(pool).acquire(controller.signal)
  assert.strictEqual(waiting, 1)
  controller.abort()
  await acquired.then(() => assert.fail("there is none"), () => {})
  assert.strictEqual(waiting, 0)
})

/** A session whose server answers to each statement, and says how the transaction is then, or fails, or does not answer until the connection is closed. */
const sessionOf = async (
  answers: Record<string, "open" | "none" | "silence" | Error>,
  { hasSpare = true, isChanged = false } = {}
) => {
  const sent: Array<string> = []
  let waiting: ((error: Error) => void) | undefined
  const stream = {
    destroyed: false,
    destroy: (error: Error) => {
      stream.destroyed = true
      waiting?.(error)
    }
  }
  const session = {
    isChanged,
    status: undefined as "open" | "none" | undefined,
    connection: {
      stream,
      query: (sql: string, _: unknown, answered: (error: Error | null, result?: unknown) => void) => {
        sent.push(sql)
        const answer = answers[sql]
        session.status = answer === "open" || answer === "none" ? answer : undefined
        if (answer === "silence") waiting = answered
        else if (answer instanceof Error) answered(answer)
        else answered(null, { affectedRows: 1, insertId: 0 })
      }
    }
  }
  const pool = { lend: Effect.succeed(session as unknown as Session), hasSpare: () => hasSpare } as Partial<
    Pool
  > as Pool
  return {
    closed: () => stream.destroyed,
    sent,
    session: await makeSessions(pool).acquire(new AbortController().signal)
  }
}
const first = CompiledQuery.raw("UPDATE", [1])

it("the first query of a transaction that begins with a commit comes after it", async () => {
  const { sent, session } = await sessionOf({ "COMMIT AND CHAIN": "open", UPDATE: "open" })
  const { begun, command } = await session.commitAndBegin!("START TRANSACTION", first)
  assert.deepStrictEqual([command, begun?.numAffectedRows], ["COMMIT", 1n])
  assert.deepStrictEqual(sent, ["COMMIT AND CHAIN", "UPDATE"])
})

it("it does not run where the commit fails, or no transaction has begun with it", async () => {
  const refused = await sessionOf({ "COMMIT AND CHAIN": new Error("refused") })
  await refused.session.commitAndBegin!("START TRANSACTION", first).then(() => assert.fail("it has failed"), () => {})
  assert.deepStrictEqual(refused.sent, ["COMMIT AND CHAIN"])
  const alone = await sessionOf({ "COMMIT AND CHAIN": "none" })
  assert.isUndefined((await alone.session.commitAndBegin!("START TRANSACTION", first)).begun)
  assert.deepStrictEqual(alone.sent, ["COMMIT AND CHAIN"])
})

it("it is committed though that query fails", async () => {
  const { session } = await sessionOf({ "COMMIT AND CHAIN": "open", UPDATE: new Error("locked") })
  assert.deepStrictEqual(await session.commitAndBegin!("START TRANSACTION", first), {
    command: "COMMIT",
    begun: undefined
  })
})

it("it is committed though that query is not answered, and nobody waits longer for it than for a commit", async () => {
  const { closed, sent, session } = await sessionOf({ "COMMIT AND CHAIN": "open", UPDATE: "silence" })
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
  try {
    const answered = session.commitAndBegin!("START TRANSACTION", first)
    await vi.waitFor(() => assert.deepStrictEqual(sent, ["COMMIT AND CHAIN", "UPDATE"]))
    vi.advanceTimersByTime(10_000)
    assert.deepStrictEqual(await answered, { command: "COMMIT", begun: undefined })
    assert.isTrue(closed())
  } finally {
    vi.useRealTimers()
  }
})

const isDueWith = async (how: object) => (await sessionOf({}, how)).session.isDue!()

it("a connection is due between two transactions where it is not as it was, or none is left for others", async () => {
  assert.isFalse(await isDueWith({}))
  assert.isTrue(await isDueWith({ hasSpare: false }))
  assert.isTrue(await isDueWith({ isChanged: true }))
})
