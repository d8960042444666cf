/**
 * `npm run bench:report -- LINES.jsonl`: writes `docs/benchmarks.md`, with a plot of the ratios as SVG, from what `npm run bench` has printed. Where a benchmark and a database come more
 * than once, the last line counts.
 */
import { readFileSync, statSync, writeFileSync } from "node:fs"
import { cpus, totalmem, type } from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { refuse } from "../kit/refuse.ts"
import type { Line } from "./Bench.ts"
import { page } from "./Page.ts"

const docs = fileURLToPath(new URL("../../docs/", import.meta.url))

const files = process.argv.slice(2)
if (files.length === 0) refuse("usage: npm run bench:report -- LINES.jsonl…")

/** A page of nothing, or of a part of it, would take the place of the last one. */
const refuseAll = (problem: string): never => refuse(`${problem}: nothing is written`)

const textOf = (file: string): string => {
  try {
    return readFileSync(file, "utf8")
  } catch (error) {
    return refuseAll((error as Error).message)
  }
}

const lineOf = (file: string, text: string): Line => {
  try {
    return JSON.parse(text)
  } catch {
    return refuseAll(`${file} has a line that is cut off: ${text.slice(0, 80)}`)
  }
}

const lines = files.flatMap((file) =>
  textOf(file).split("\n").filter((text) => text.startsWith("{")).map((text) => lineOf(file, text))
)
if (lines.length === 0) refuseAll(`${files.join(", ")} has no lines of benchmarks`)
/** When the last of them was printed. */
const printedAt = new Date(Math.max(...files.map((file) => statSync(file).mtimeMs)))
const [processor] = cpus()
const { markdown, plot } = page(lines, {
  day: printedAt.toISOString().slice(0, 10),
  machine: `${type()}, ${cpus().length} cores of ${processor!.model.trim()}, ${
    Math.round(totalmem() / 2 ** 30)
  } GB of memory, Node ${process.versions.node}`
})
writeFileSync(Path.join(docs, "benchmarks.md"), markdown)
writeFileSync(Path.join(docs, "benchmarks.svg"), plot)
