import { assert, it } from "@effect/vitest"
import * as Handler from "@sluice/core/Handler"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Activations from "@sluice/entity/Activations"
import * as PlainEntities from "@sluice/entity/PlainEntities"
import * as Replica from "@sluice/replication/Replica"
import * as Replication from "@sluice/replication/Replication"
import * as Effect from "effect/Effect"
import { makeNotes } from "./kit/Notes.ts"
import { replicatedTests } from "./kit/replicatedTests.ts"

replicatedTests("plain, in memory", MemoryStorage.layer, PlainEntities.layer)
replicatedTests("in one process, in memory", MemoryStorage.layer, (entity) => Activations.layer(entity))

it("what comes by way of another replica is read on where the replicas are named in another order", () => {
  const notes = makeNotes("notes")
  const [key, other] = [["eu", "us", "ap", "sa"], ["sa", "ap", "us", "eu"]].map((replicas) => {
    const [projection] = Replication.projections({ ...notes, replicas }, "eu", {
      replicas: { us: { address: "localhost:8101" } }
    })
    return projection!.sources[0].provider.key
  })
  assert.strictEqual(key, "stream:notes:us+ap+sa")
  assert.strictEqual(other, key)
})

it("what a replica left out, as it came on another way, is read from the beginning once it does not come there any more", () => {
  const address = "localhost:8101"
  const keyOf = (remotes: ReadonlyArray<string>) => {
    const [projection] = Replication.projections({ ...makeNotes("notes"), replicas: ["eu", "us", "ap"] }, "eu", {
      replicas: Object.fromEntries(remotes.map((id) => [id, { address }]))
    })
    return projection!.sources[0].provider.key
  }
  // another key has other offsets
  assert.notStrictEqual(keyOf(["us"]), keyOf(["us", "ap"]))
})

/** How many events a stream gives to the entities at a time. */
const sizeOf = (options?: Parameters<typeof makeNotes>[1]) => {
  const replicas = { us: { address: "localhost:8101" } }
  const [projection] = Replication.projections(makeNotes("notes", options), "eu", { replicas })
  const { handler } = projection!
  return Handler.isGrouped(handler) ? handler.size : undefined
}

it("events that are looked at before are given one by one, so that a command to a stream waits for one of them and not for a group", () => {
  assert.strictEqual(sizeOf({ intercept: () => Effect.void }), 1)
  assert.strictEqual(sizeOf(), 200)
})

it("the id of a replica is a part of persistence ids", () => {
  for (const id of ["", "a|b", "\0", "\ud800", "é".repeat(33)]) assert.throws(() => Replica.layer(id), RangeError)
  assert.isDefined(Replica.layer("é".repeat(32)))
  assert.deepStrictEqual(makeNotes("notes").commands.map(({ _tag }) => _tag), ["Add", "Get", "Version"])
})
