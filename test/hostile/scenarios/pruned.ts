import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import { Thing } from "../contract.ts"
import { load, type Scenario } from "../Scenario.ts"
import * as Server from "../Server.ts"
import * as Target from "../Target.ts"

const entities = 8

/** Two services append and read on, while two more delete what all tails have read: readers that are behind are told so. */
export const pruned = (times: number): Scenario => ({
  name: "a prefix deleted while both append",
  run: (environment) =>
    Effect.gen(function*() {
      const { server } = environment
      const space = "h_pruned"
      const target: Target.Target = { adapter: server.adapter, url: server.url(), space }
      const one = Target.on(yield* Target.open(target))
      const other = Target.on(yield* Target.open(target))
      const problems: Array<string> = []
      let before = Timestamp.make(0)
      /** Up to which number the events of an entity were emptied. */
      const emptied = new Map<string, number>()

      const open = (start: Offset.Offsets) =>
        one(Journal.Journal.use((journal) => journal.reader(Thing.name, SliceRange.full, start)))
      /** Reads to the end, or until it is told that what comes next was deleted. */
      const readOn = Effect.fnUntraced(function*(reader: Journal.JournalReader, start: Offset.Offsets) {
        const positions = new Map(Array.from(start, ([slice, { position }]) => [slice, position as number]))
        while (true) {
          const page = yield* reader.next(20)
          if (page.length === 0) return
          for (const { position, slice } of page) {
            const last = positions.get(slice) ?? 0
            if (position !== last + 1) problems.push(`a reader finds ${position} of slice ${slice} after ${last}`)
            positions.set(slice, position!)
          }
        }
      })
      const isTold = <A, E, R>(reader: string, read: Effect.Effect<A, E, R>) =>
        Effect.map(Effect.result(read), (result) => {
          if (result._tag === "Failure" && result.failure instanceof Journal.OffsetBelowFloor) return
          problems.push(`${reader} is not told that events were deleted: ${String(result)}`)
        })

      const outcome = yield* load(environment, {
        space,
        workers: 2,
        appenders: 16,
        entities,
        mix: { append: 10, expect: 1, commit: 1, rollback: 1 },
        hold: 5,
        during: (crew) =>
          Effect.gen(function*() {
            for (let i = 0; i < times; i++) {
              yield* environment.while(crew, 300)
              const rows = yield* Server.rows(server, space)
              const heads = [...new Map(rows.map((row) => [Slice.ofPersistenceId(row[0]), row])).values()]
              yield* Wait.until(
                "the tails",
                () => crew.crashes.length > 0 || crew.haveSeen(heads),
                { atMost: "2 minutes" }
              )
              // in no log is there anything older that a tail has not read
              before = Timestamp.make(Math.min(...heads.map((row) => row[3])))
              const [id, number] = rows.findLast(([id]) => id === `${Thing.name}|t-${i % entities}`)!
              emptied.set(id, number)

              const start = yield* one(Journal.Journal.use((_) => _.floors(Thing.name, SliceRange.full)))
              const idle = yield* open(start)
              const slow = yield* open(start)
              const prune = Journal.prune(Thing, { before })
              const [removed] = yield* Effect.all([
                one(prune),
                other(prune),
                other(Journal.deleteEvents(Thing, `t-${i % entities}`, { to: SequenceNumber.make(number) })),
                // whether it is told depends on who is faster
                Effect.catchTag(readOn(slow, start), "OffsetBelowFloor", () => Effect.void)
              ], { concurrency: "unbounded" })
              if (removed === 0) problems.push("nothing was deleted")
              yield* isTold("a reader that was behind", readOn(idle, start))
              yield* isTold("a reader that begins below the floors", open(start))
              yield* isTold("a reader that begins at the beginning", open(Offset.none))
            }
            yield* environment.while(crew, 300)
          })
      })

      for (const [slice, { timestamp }] of yield* Server.floors(server, space)) {
        if (timestamp >= before) problems.push(`slice ${slice} was deleted up to ${timestamp}, and not to ${before}`)
      }
      for (const [id, number, , , content] of yield* Server.rows(server, space)) {
        const isEmptied = number <= (emptied.get(id) ?? 0)
        if (isEmptied !== (content === "")) {
          problems.push(`event ${number} of '${id}' is ${isEmptied ? "not " : ""}empty`)
        }
      }
      return { ...outcome, problems: [...outcome.problems, ...problems] }
    })
})
