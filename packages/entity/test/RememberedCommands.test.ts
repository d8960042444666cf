import { assert, describe, it } from "@effect/vitest"
import * as Position from "@sluice/core/Position"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Schema from "effect/Schema"
import { type RememberedCommand, RememberedCommands } from "../src/internal/rememberedCommands.ts"

const command = (commandId: string, reply: string, n = 1): RememberedCommand => ({
  commandId,
  tag: "Add",
  fingerprint: "f",
  reply,
  count: 1,
  sequenceNumber: SequenceNumber.make(n),
  position: Position.make(n),
  timestamp: Timestamp.make(n)
})

const sizeOf = ({ commandId, fingerprint, reply, tag }: RememberedCommand): number =>
  commandId.length + tag.length + fingerprint.length + reply.length + 100

const Script = Schema.Array(Schema.Struct({
  commandId: Schema.Literals(["a", "b", "c", "d", "e", "f"]),
  reply: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 300 }))
}))

describe("the commands that are remembered", () => {
  it.prop("are the newest ones that there is room for, and the last one always", [Script], ([script]) => {
    const limit = 3
    const maxSize = 600
    const remembered = new RememberedCommands(limit, maxSize)
    // a model: a list, from the oldest to the newest
    let model: ReadonlyArray<RememberedCommand> = []
    let forgottenAt = -Infinity
    script.forEach(({ commandId, reply }, i) => {
      const added = command(commandId, "x".repeat(reply), i + 1)
      remembered.add(added)
      model = [...model.filter((_) => _.commandId !== commandId), added]
      const size = () => model.reduce((sum, _) => sum + sizeOf(_), 0)
      while (model.length > limit || model.length > 1 && size() > maxSize) {
        forgottenAt = Math.max(forgottenAt, model[0]!.timestamp)
        model = model.slice(1)
      }
      assert.strictEqual(remembered.forgottenAt, forgottenAt)
      assert.strictEqual(remembered.count, model.length)
      assert.strictEqual(remembered.size, size())
      for (const id of ["a", "b", "c", "d", "e", "f"]) {
        assert.deepStrictEqual(remembered.get(id), model.find((_) => _.commandId === id))
      }
      // and so they are once they were stored
      const again = new RememberedCommands(limit, maxSize)
      again.decode(remembered.encode()!)
      for (const known of model) assert.deepStrictEqual(again.get(known.commandId), known)
      assert.strictEqual(again.size, remembered.size)
      assert.strictEqual(again.forgottenAt, forgottenAt)
    })
  })

  it("are not all where some may be forgotten, which is stored as well", () => {
    const remembered = new RememberedCommands(10, 1_000)
    remembered.forget(Timestamp.make(7))
    remembered.forget(Timestamp.make(5))
    const again = new RememberedCommands(10, 1_000)
    again.decode(remembered.encode()!)
    assert.deepStrictEqual([again.forgottenAt, again.count], [7, 0])
  })

  it("are none where none are to be", () => {
    const remembered = new RememberedCommands(0, 1_000)
    remembered.add(command("a", "1"))
    assert.isUndefined(remembered.get("a"))
    assert.isUndefined(remembered.encode())
    assert.strictEqual(remembered.forgottenAt, Infinity)
  })

  it.each([
    "",
    "{}",
    "[0.5]",
    "[1,1]",
    `[["a"]]`,
    `[["a","Add","f","1",1,1,1]]`,
    `[["a","Add","f",1,1,1,1,1]]`,
    `[["a","Add","f","1",1,1,1,0.5]]`
  ])("are not what is stored as %s", (text) => {
    assert.throws(() => new RememberedCommands(10, 1_000).decode(text))
  })
})
