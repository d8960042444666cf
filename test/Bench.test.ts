import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"
import type { Line } from "./bench/Bench.ts"
import { benches } from "./bench/benches.ts"
import { compareCounts } from "./bench/load.ts"
import { page } from "./bench/Page.ts"
import { node } from "./kit/command.ts"
import { nodeArgs } from "./kit/Service.ts"

const main = fileURLToPath(new URL("bench/main.ts", import.meta.url))

const report = fileURLToPath(new URL("bench/report.ts", import.meta.url))
const hostile = fileURLToPath(new URL("hostile/main.ts", import.meta.url))
const chaos = fileURLToPath(new URL("chaos/main.ts", import.meta.url))
const replicas = fileURLToPath(new URL("replication/main.ts", import.meta.url))

it.live.each(
  [
    [main, ["--adapter", "oracle"], "not 'oracle'"],
    [main, ["append-1", "apend-32"], "'apend-32'"],
    [main, ["--quickly"], "usage: npm run bench"],
    [main, ["--runs", "1.5"], "whole number"],
    [main, ["vs-akka-append", "--adapter", "sqlite"], "on none of sqlite"],
    [report, [], "usage"],
    [report, ["/nowhere"], "nothing is written"],
    [report, [main], "nothing is written"],
    [hostile, ["--server", "oracle"], "not 'oracle'"],
    [hostile, ["--only", "nothing"], "not 'nothing'"],
    [hostile, ["--nothing"], "usage: npm run test:hostile"],
    [chaos, ["--entities", "abc"], "--entities takes a whole number from 1 on, not 'abc'"],
    [replicas, ["--events", "1e5"], "not '1e5'"],
    [replicas, ["--lasts", "0"], "not '0'"]
  ] as const
)(
  "refuses what it does not know, instead of measuring nothing: %s %s",
  ([file, args, problem]) =>
    Effect.gen(function*() {
      const { message } = yield* Effect.flip(node(".", ...nodeArgs(file, ...args)))
      assert.include(message, problem)
    }),
  120_000
)

it.live("says how it is called, and which benchmarks there are", () =>
  Effect.gen(function*() {
    const said = yield* node(".", ...nodeArgs(main, "--help"))
    for (const { name } of benches) assert.include(said, `  ${name}`)
    for (const option of ["--quick", "--adapter", "--runs", "--seconds", "--scale", "--alone"]) {
      assert.include(said, option)
    }
  }), 120_000)

it("what a read model lacks is lost, and what it has too much or of what nobody has written is doubled", () => {
  const expected = new Map([["a", 3], ["b", 2], ["c", 1]])
  const counts = [{ id: "a", n: 1 }, { id: "c", n: 2 }, { id: "d", n: 5 }]
  assert.deepStrictEqual(compareCounts(expected, counts), { lost: 4, doubled: 6 })
})

// how fast it is depends on the machine, and that everything is counted does not
it.live("measures, and neither loses nor doubles", () =>
  Effect.gen(function*() {
    const printed = yield* node(".", ...nodeArgs(main, "--tiny", "--adapter", "sqlite"))
    const lines: ReadonlyArray<Line> = printed.trimEnd().split("\n").map((line) => JSON.parse(line))
    for (const { adapters, name, onlyByName } of benches) {
      if (onlyByName || !adapters.includes("sqlite")) continue
      assert.isTrue(lines.some(({ bench }) => bench.startsWith(name)), name)
    }
    // what is counted in /proc is, where that is there
    const counted = lines.filter(({ cpuRatio }) => Number.isFinite(cpuRatio))
    if (existsSync("/proc/self/stat")) assert.isAbove(counted.length, 0)
    for (const line of lines) {
      assert.isTrue(Number.isFinite(line.value), line.bench)
      assert.deepStrictEqual({ lost: line.lost, doubled: line.doubled }, { lost: 0, doubled: 0 }, line.bench)
    }
    const { markdown, plot } = page(lines, { day: "today", machine: "here" })
    for (const { bench, ratio } of lines) {
      assert.include(markdown, `| \`${bench}\` | SQLite |`)
      if (bench === "append-32") assert.include(plot, `>${ratio!.toFixed(2)}</text>`)
    }
  }), 1_800_000)
