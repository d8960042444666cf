import { assert, describe, it } from "@effect/vitest"
import * as Journal from "@sluice/core/Journal"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as SliceRange from "@sluice/core/SliceRange"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { type Delivery, groupSize, Note, parallelism, saveAfter } from "./deliveries/contract.ts"
import * as Service from "./kit/Service.ts"

const consumer = fileURLToPath(new URL("./deliveries/consumer.ts", import.meta.url))

const entities = 40
const eventsOfEach = 15
const all = entities * eventsOfEach
const kills = 3
const workers = 3

interface Line {
  readonly what: string
  readonly id: string
  readonly n: number
}

const readLog = (file: string): ReadonlyArray<Line> =>
  !Fs.existsSync(file) ? [] : Fs.readFileSync(file, "utf8").split("\n").slice(0, -1).map((line) => {
    const [what, id, n] = line.split(" ")
    return { what: what!, id: id!, n: Number(n) }
  })

/** Runs a projection in a process that is killed again and again, each time losing so many events of a worker, and returns what its handler did. */
const killed = (delivery: Delivery, lost: number) =>
  Effect.gen(function*() {
    const folder = yield* Service.temporaryFolder
    const filename = Path.join(folder, "notes.db")
    const log = Path.join(folder, "log")
    const storage = yield* Layer.build(SqliteStorage.layer({ filename }))
    const texts = Array.from({ length: eventsOfEach }, (_, i) => `${i}`) as [string, ...Array<string>]
    for (let i = 0; i < entities; i++) {
      yield* Effect.provide(Journal.append(Note, { id: `${i}`, events: texts }), storage)
    }
    const service = yield* Service.start({
      command: process.execPath,
      args: () => Service.nodeArgs(consumer, filename, log, delivery, `${workers}`)
    })
    const begun = () => readLog(log).filter(({ what }) => what === "begins").length
    for (let i = 1; i <= kills; i++) {
      const before = begun()
      const enough = Math.min(before + all / (kills + 2), all - 50)
      yield* Wait.until(`${enough} events`, () => begun() >= enough, { atMost: "2 minutes" })
      yield* service.kill
    }
    const key = { projection: "notes", source: Journal.sourceKey(Note.name) }
    const isDone = Effect.gen(function*() {
      const heads = yield* (yield* Journal.Journal).heads(Note.name, SliceRange.full)
      const { offsets } = yield* (yield* OffsetStore).load(key, SliceRange.full)
      return [...heads].every(([slice, { position }]) => offsets.get(slice)?.position === position)
    })
    yield* Wait.until("all to be stored", Effect.provide(isDone, storage), { atMost: "2 minutes" })
    // at most once, the last calls may be under way
    const isEnded = () => ends(readLog(log)).length >= all - kills * workers * lost
    yield* Wait.until("the last calls to end", isEnded, { atMost: "1 minute" })
    return readLog(log)
  }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None"))

const ends = (lines: ReadonlyArray<Line>) => lines.filter(({ what }) => what === "ends")
const textsOf = (lines: ReadonlyArray<Line>) => lines.map(({ id, n }) => `${id} ${n}`)

describe("a process that is killed", () => {
  for (
    const [delivery, size] of [["at most once", 1], ["at most once, in groups", groupSize]] as const
  ) {
    it.live(`loses what its handler had, and is given nothing twice, ${delivery}`, () =>
      Effect.gen(function*() {
        const lines = yield* killed(delivery, size)
        const begun = textsOf(lines.filter(({ what }) => what === "begins"))
        assert.strictEqual(new Set(begun).size, begun.length)
        const last = new Map<string, number>()
        for (const { id, n, what } of lines) {
          if (what !== "begins") continue
          assert.isAbove(n, last.get(id) ?? 0)
          last.set(id, n)
        }
      }), 600_000)
  }

  it.live(
    "loses nothing, keeps the order, and repeats what was not stored, at least once, at the same time, with a life",
    () =>
      Effect.gen(function*() {
        const lines = yield* killed("at least once, at the same time", 0)
        const ended = new Map<string, number>()
        for (const { id, n, what } of lines) {
          const last = ended.get(id) ?? 0
          if (what === "begins") assert.isAtMost(n, last + 1, `${id} ${n} begins after those before it have ended`)
          else ended.set(id, Math.max(last, n))
        }
        assert.deepStrictEqual([...ended.values()], Array.from({ length: entities }, () => eventsOfEach))
        assert.isAtMost(ends(lines).length, all + kills * workers * (2 * saveAfter + 16 * parallelism))
      }),
    600_000
  )
})
