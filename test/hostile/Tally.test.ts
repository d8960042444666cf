import { assert, it as test } from "@effect/vitest"
import * as Slice from "@sluice/core/Slice"
import type { Event } from "./contract.ts"
import type * as Server from "./Server.ts"
import * as Tally from "./Tally.ts"

const slice = Slice.ofPersistenceId("thing|a")
const row = (n: number, content: string): Event => ["thing|a", n, n, 100 + n, content]
const rows = [row(1, "x 0 0"), row(2, "x 0 1"), row(3, "x 1 0")]
const [first, second, third] = rows as [Event, Event, Event]

const problems = (left: ReadonlyArray<Event>, ledger: Partial<Tally.Ledger>, floors: Server.Floors = new Map()) =>
  Tally.describe({
    ...Tally.count(left, floors, { acknowledged: [], refused: [], tails: [], ...ledger }),
    firstMisread: ""
  })
const tail = (...seen: ReadonlyArray<Event>): Partial<Tally.Ledger> => ({ tails: [{ seen, isComplete: true }] })

test("the tally counts what is wrong, and nothing else", () => {
  assert.deepStrictEqual(problems(rows, { acknowledged: [[first, second], [third]], ...tail(...rows) }), [])
  assert.deepStrictEqual(problems([first, second], { acknowledged: [[third]] }), ["1 lost"])
  assert.deepStrictEqual(problems([first, row(2, first[4])], {}), ["1 doubled"])
  assert.deepStrictEqual(problems(rows, { acknowledged: [[third], [first]] }), ["1 reordered"])
  assert.deepStrictEqual(problems(rows, { acknowledged: [[row(4, third[4])]] }), ["1 misplaced"])
  assert.deepStrictEqual(problems(rows, { refused: [second[4]] }), ["1 ghosts"])
  assert.deepStrictEqual(problems([first, ["thing|a", 2, 3, 103, "x 0 1"]], {}), ["1 holes"])
  assert.deepStrictEqual(problems([first, ["thing|a", 2, 2, 101, "x 0 1"]], {}), ["1 backwards"])
  assert.deepStrictEqual(problems(rows, tail(first, second)), ["1 unseen"])
  assert.deepStrictEqual(problems(rows, tail(first, third, second)), ["2 misread"])
})

test("the tally knows what was deleted from those who have seen it", () => {
  const floors: Server.Floors = new Map([[slice, { position: 2, timestamp: 102 }]])
  const acknowledged = [[first, second], [third]]
  assert.deepStrictEqual(problems([third], { acknowledged, ...tail(...rows) }, floors), [])
  assert.deepStrictEqual(problems([row(1, ""), second, third], { acknowledged, ...tail(...rows) }), [])
  assert.deepStrictEqual(problems([third], tail(...rows)), ["2 holes", "2 misread"])
  assert.deepStrictEqual(problems([first], tail(...rows), new Map([[slice, { position: 3, timestamp: 103 }]])), [
    "1 vanished"
  ])
  const late = { seen: [third], start: floors, isComplete: true }
  assert.deepStrictEqual(problems([third], { tails: [...tail(...rows).tails!, late] }, floors), [])
  assert.deepStrictEqual(problems([third], { tails: [...tail(...rows).tails!, { ...late, seen: [] }] }, floors), [
    "1 unseen"
  ])
})
