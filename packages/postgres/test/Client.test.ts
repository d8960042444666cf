import { assert, it } from "@effect/vitest"
import { Client, configOf } from "../src/internal/client.ts"

/** For how long a client waits for the answer to a statement, in milliseconds. */
const limitOf = async (how: Partial<Pick<Client, "beginsWith" | "commitsBefore">>): Promise<number> => {
  const client = Object.assign(new Client(configOf({}, "test", { known: undefined })), how)
  const answered: Promise<unknown> = client.query("UPDATE", [1])
  const [sent] = (client as any)._queryQueue
  sent.callback(new Error("nobody has answered"))
  await answered.then(() => assert.fail("nobody has answered"), () => {})
  return sent.query_timeout
}

it("nobody waits longer for a commit with which another transaction begins than for one alone", async () => {
  assert.strictEqual(await limitOf({}), 35_000)
  assert.strictEqual(await limitOf({ beginsWith: "BEGIN" }), 35_000)
  assert.strictEqual(await limitOf({ beginsWith: "BEGIN", commitsBefore: true }), 10_000)
})
