import { assert, it as test, layer } from "@effect/vitest"
import { JournalForked } from "@sluice/core/Journal"
import * as Slice from "@sluice/core/Slice"
import { StorageError } from "@sluice/core/StorageError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import type { Event } from "./hostile/contract.ts"
import { type Environment, moreEvents } from "./hostile/Scenario.ts"
import * as scenarios from "./hostile/scenarios.ts"
import { unguarded, unlocked } from "./hostile/scenarios/mutants.ts"
import * as Server from "./hostile/Server.ts"
import * as Tally from "./hostile/Tally.ts"

class Hostile extends Context.Service<Hostile, Environment>()("sluice/test/Hostile") {}

/** A server for all scenarios, of which each lasts until its processes have appended some more events. */
const environment = (name: Server.Name) =>
  Layer.effect(
    Hostile,
    Effect.gen(function*() {
      const server = yield* Server.start(name)
      if (name === "postgres") {
        // a second by default, which most of the time would be spent with
        yield* server.run("ALTER SYSTEM SET deadlock_timeout = '50ms'", "SELECT pg_reload_conf()")
      }
      return Hostile.of({ server, while: (crew, events = 300) => moreEvents(crew, events) })
    })
  )

const run = (scenario: scenarios.Scenario) =>
  Effect.flatMap(Hostile, scenario.run).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None"))

for (const name of Server.names) {
  layer(environment(name), { excludeTestServices: true, timeout: "1 minute" })(name, (it) => {
    for (const scenario of scenarios.short) {
      it.effect(`loses, doubles and reorders nothing: ${scenario.name}`, () =>
        Effect.gen(function*() {
          const { problems, tally } = yield* run(scenario)
          assert.deepStrictEqual(problems, [])
          assert.isAbove(tally.appended, 0)
        }), 60_000)
    }

    for (const mutant of [unlocked, unguarded]) {
      it.effect(`is seen to fail: ${mutant.name}`, () =>
        Effect.gen(function*() {
          // that its journal cannot be read at the end is a way to fail, too
          const result = yield* Effect.result(run(mutant))
          assert.isTrue(
            result._tag === "Success"
              ? result.success.problems.length > 0
              : result.failure instanceof JournalForked ||
                result.failure instanceof StorageError && result.failure.reason === "Damaged",
            String(result)
          )
        }), 60_000)
    }
  })
}

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
