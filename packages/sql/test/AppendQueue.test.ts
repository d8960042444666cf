import { assert, describe, it } from "@effect/vitest"
import type { AppendRequest } from "@sluice/core/Journal"
import * as Schema from "effect/Schema"
import { AppendQueue, type Limits } from "../src/internal/append/AppendQueue.ts"
import { request } from "./kit/Requests.ts"

const wide: Limits = { maxEvents: 200, maxBytes: 1024, joins: () => true }

interface Waiting {
  readonly name: string
  readonly request: AppendRequest
}

const queueOf = (limits: Partial<Limits>, waiting: ReadonlyArray<Waiting>): AppendQueue<Waiting> => {
  const queue = new AppendQueue<Waiting>({ ...wide, ...limits })
  waiting.forEach((_) => queue.add(_))
  return queue
}

/** All batches, by the names of what is in them. */
const batchesOf = (queue: AppendQueue<Waiting>): ReadonlyArray<string> => {
  const batches: Array<string> = []
  while (!queue.isEmpty) batches.push(queue.takeBatch().map(({ name }) => name).join(" "))
  return batches
}

const waiting = (name: string, options?: Parameters<typeof request>[1]): Waiting => ({
  name,
  // the entity is what the name begins with
  request: request(name[0]!, options)
})

describe("a batch", () => {
  it("has all that wait, in the order in which they came", () => {
    assert.deepStrictEqual(batchesOf(queueOf({}, [waiting("a1"), waiting("b1"), waiting("a2")])), ["a1 b1 a2"])
  })

  it("has appends of one entity type; the others are left in their order", () => {
    const other = { entityType: "cart" }
    assert.deepStrictEqual(
      batchesOf(queueOf({}, [waiting("a1"), waiting("b1", other), waiting("a2"), waiting("b2", other)])),
      ["a1 a2", "b1 b2"]
    )
  })

  it("is full with so many events", () => {
    const events = { events: 2 }
    assert.deepStrictEqual(
      batchesOf(
        queueOf({ maxEvents: 3 }, [waiting("a1", events), waiting("b1", events), waiting("c1"), waiting("d1")])
      ),
      ["a1 b1", "c1 d1"]
    )
  })

  it("is full with so many bytes, and an append that is larger goes alone", () => {
    assert.deepStrictEqual(
      batchesOf(
        queueOf({ maxBytes: 100 }, [
          waiting("a1", { bytes: 500 }),
          waiting("b1", { bytes: 60 }),
          waiting("c1", {
            bytes: 60
          }),
          waiting("d1")
        ])
      ),
      ["a1", "b1 c1", "d1"]
    )
  })

  it("leaves an append that does not join one of its entity, and what follows of that entity", () => {
    assert.deepStrictEqual(
      batchesOf(
        queueOf({ joins: (_, later) => later.events.length > 1 }, [
          waiting("a1"),
          waiting("a2"),
          waiting("b1"),
          waiting("a3", { events: 2 })
        ])
      ),
      ["a1 b1", "a2 a3"]
    )
  })

  it("has nothing of whoever has gone", () => {
    const gone = waiting("b1")
    const queue = queueOf({}, [waiting("a1"), gone, waiting("c1")])
    queue.remove(gone)
    queue.remove(gone)
    assert.deepStrictEqual(batchesOf(queue), ["a1 c1"])
  })

  it("is empty where nothing waits", () => {
    const queue = queueOf({}, [waiting("a1")])
    assert.strictEqual(queue.takeAll().length, 1)
    assert.isTrue(queue.isEmpty)
    assert.deepStrictEqual(queue.takeBatch(), [])
  })
})

const between = (least: number, most: number) => Schema.Int.check(Schema.isBetween({ minimum: least, maximum: most }))

describe("whatever waits", () => {
  const appends = Schema.Array(Schema.Struct({
    entity: between(0, 4),
    entityType: between(0, 1),
    events: between(1, 4),
    bytes: between(0, 60),
    joins: Schema.Boolean
  }))

  it.prop(
    "each append is in one batch, in the order of its entity, and no batch is larger than it may be",
    [appends, between(1, 6), between(1, 150)],
    ([specs, maxEvents, maxBytes]) => {
      const alone = new Set<AppendRequest>()
      const all = specs.map(({ bytes, entity, entityType, events, joins }, i): Waiting => {
        const made = request(`e-${entity}`, { entityType: `type${entityType}`, events, bytes })
        if (!joins) alone.add(made)
        return { name: String(i), request: made }
      })
      const joins = (_: AppendRequest, later: AppendRequest) => !alone.has(later)
      const queue = queueOf({ maxEvents, maxBytes, joins }, all)
      const taken: Array<Waiting> = []
      let left = all
      while (!queue.isEmpty) {
        const batch = queue.takeBatch()
        assert.strictEqual(batch[0], left[0], "the first that waits goes first")
        assert.strictEqual(new Set(batch.map((_) => _.request.entityType)).size, 1)
        // what comes last may exceed the limits, and nothing else
        const before = batch.slice(0, -1).flatMap((_) => _.request.events)
        assert.isTrue(batch.length === 1 || before.length < maxEvents)
        assert.isTrue(
          batch.length === 1 || before.reduce((sum, { payload }) => sum + payload.bytes.length, 0) < maxBytes
        )
        const entities = new Set<string>()
        for (const { request } of batch) {
          if (entities.has(request.persistenceId)) assert.isFalse(alone.has(request), "it joins nothing")
          entities.add(request.persistenceId)
        }
        taken.push(...batch)
        left = left.filter((_) => !batch.includes(_))
      }
      assert.deepStrictEqual(left, [])
      for (const entity of new Set(all.map((_) => _.request.persistenceId))) {
        const namesOf = (these: ReadonlyArray<Waiting>) =>
          these.filter((_) => _.request.persistenceId === entity).map((_) => _.name)
        assert.deepStrictEqual(namesOf(taken), namesOf(all))
      }
    },
    { arbitrary: { runs: 1000 } }
  )

  it("is taken, and those who stop waiting are let go of, at the same cost however many wait", () => {
    const all = Array.from({ length: 100_000 }, (_, i) => waiting(`a${i}`))
    const queue = queueOf({}, all)
    const start = performance.now()
    for (const one of all.slice(0, -1).toReversed()) queue.remove(one)
    // to look for each of them would take ten seconds
    assert.isBelow(performance.now() - start, 5_000)
    assert.deepStrictEqual([queue.events, batchesOf(queue)], [1, ["a99999"]])
  })
})
