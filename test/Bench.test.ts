import { assert, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import type { Line } from "./bench/Bench.ts"
import { benches } from "./bench/benches.ts"
import { nodeArgs } from "./kit/Service.ts"

const main = fileURLToPath(new URL("bench/main.ts", import.meta.url))

// how fast it is depends on the machine, and that everything is counted does not
it("measures, and neither loses nor doubles", async () => {
  const args = nodeArgs(main, "--tiny", "--adapter", "sqlite")
  const { stdout } = await promisify(execFile)(process.execPath, args)
  const lines: ReadonlyArray<Line> = stdout.trimEnd().split("\n").map((line) => JSON.parse(line))
  for (const { adapters, name, onlyByName } of benches) {
    if (onlyByName || !adapters.includes("sqlite")) continue
    assert.isTrue(lines.some(({ bench }) => bench.startsWith(name)), name)
  }
  for (const line of lines) {
    assert.isTrue(Number.isFinite(line.value), line.bench)
    assert.deepStrictEqual({ lost: line.lost, doubled: line.doubled }, { lost: 0, doubled: 0 }, line.bench)
  }
}, 120_000)
