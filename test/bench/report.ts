/**
 * `npm run bench:report -- LINES.jsonl`: writes `docs/benchmarks.md`, with a plot of the ratios as SVG, from what `npm run bench` has printed. Where a benchmark and a database come more
 * than once, the last line counts.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { cpus, totalmem, type } from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import type { Line } from "./Bench.ts"
import { page } from "./Page.ts"

const docs = fileURLToPath(new URL("../../docs/", import.meta.url))

const files = process.argv.slice(2)
if (files.length === 0) {
  console.error("usage: npm run bench:report -- LINES.jsonl…")
  process.exit(2)
}
const lines = files.flatMap((file): ReadonlyArray<Line> =>
  readFileSync(file, "utf8").split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line))
)
const [processor] = cpus()
const { markdown, plot } = page(lines, {
  day: new Date().toISOString().slice(0, 10),
  machine: `${type()}, ${cpus().length} cores of ${processor!.model.trim()}, ${
    Math.round(totalmem() / 2 ** 30)
  } GB of memory, Node ${process.versions.node}`
})
writeFileSync(Path.join(docs, "benchmarks.md"), markdown)
writeFileSync(Path.join(docs, "benchmarks.svg"), plot)
