import { assert, it } from "@effect/vitest"
import { Client, configOf } from "../src/internal/client.ts"

type How = Partial<Pick<Client, "beginsWith" | "commitsBefore">>

/** A client that is not connected. */
const makeClient = () => new Client(configOf({}, "test", { known: undefined }))

/** Runs a statement, which the function answers. */
const run = async (client: Client, how: How, answer: (query: any) => void): Promise<unknown> => {
  const answered: Promise<unknown> = Object.assign(client, how).query("UPDATE", [1])
  answer((client as any)._queryQueue.pop())
  return answered.catch((error) => error)
}

/** For how long a client waits for the answer to a statement, in milliseconds. */
const limitOf = async (how: How): Promise<number> => {
  let limit = 0
  await run(makeClient(), how, (query) => {
    limit = query.query_timeout
    query.callback(new Error("nobody has answered"))
  })
  return limit
}

it("nobody waits longer for a commit with which another transaction begins than for one alone", async () => {
  assert.strictEqual(await limitOf({}), 35_000)
  assert.strictEqual(await limitOf({ beginsWith: "BEGIN" }), 35_000)
  assert.strictEqual(await limitOf({ beginsWith: "BEGIN", commitsBefore: true }), 10_000)
})

it("what does not fit in a session any more is not left there, though it has failed behind a commit that holds", async () => {
  const client = makeClient()
  for (let i = 0; i < 3; i++) await run(client, {}, (query) => query.callback(null, {}))
  assert.isFalse(client.isChanged)
  const error = await run(client, { beginsWith: "BEGIN", commitsBefore: true }, (query) => {
    assert.isString(query.name)
    query.handleCommandComplete({ text: "COMMIT" })
    query.callback(Object.assign(new Error("no such statement"), { code: "26000", severity: "ERROR" }))
  })
  assert.propertyVal(error, "code", "ECONNABORTED")
  assert.strictEqual(client.endedAs, "COMMIT")
  assert.isTrue(client.isChanged)
})
