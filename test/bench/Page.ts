/** What a run of benchmarks has found, as a page and a plot: pure, from the lines that were printed. */
import type { Line } from "./Bench.ts"
import type { Adapter } from "./Target.ts"

export interface Run {
  readonly day: string
  readonly machine: string
}

const names: Readonly<Record<Adapter, string>> = {
  sqlite: "SQLite",
  postgres: "PostgreSQL",
  mariadb: "MariaDB",
  mysql: "MySQL"
}
const colours: Readonly<Record<Adapter, string>> = {
  sqlite: "#0072b2",
  postgres: "#009e73",
  mariadb: "#d55e00",
  mysql: "#cc79a7"
}

const figure = (value: number): string =>
  Math.abs(value) >= 1_000 ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(3)))

const ratio = (value: unknown): string | undefined => typeof value === "number" ? value.toFixed(2) : undefined

/** Whether it is a rate, and not a time or a size. */
const isBetterHigher = ({ better }: Line) => better === "higher"

const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string =>
  [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n")

const rowsOf = (lines: ReadonlyArray<Line>) =>
  lines.map((line) => [
    `\`${line.bench}\``,
    names[line.adapter],
    `${figure(line.value)} ${line.unit}`,
    line.baseline === null ? "" : figure(line.baseline),
    ratio(line.ratio) ?? "",
    ratio(line["cpuRatio"]) ?? "",
    `${line.lost} / ${line.doubled}`
  ])

const head = ["benchmark", "database", "with Sluice", "by hand", "ratio", "of processor time", "lost / doubled"]

const escaped = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")

/** One row a benchmark, and in it a bar a database: how much of what is done by hand. */
const plotOf = (lines: ReadonlyArray<Line>): string => {
  const shown = lines.filter((line) => line.ratio !== null && line["system"] === undefined && isBetterHigher(line))
  const benches = [...new Set(shown.map(({ bench }) => bench))]
  const [left, width, bar, gap] = [190, 420, 9, 10]
  const scale = width / 1.2
  const parts: Array<string> = []
  let y = 34
  for (const bench of benches) {
    const bars = shown.filter((line) => line.bench === bench)
    parts.push(
      `<text x="${left - 8}" y="${y + bars.length * bar / 2 + 4}" text-anchor="end">${escaped(bench)}</text>`
    )
    for (const { adapter, ratio } of bars) {
      const long = Math.min(1.2, ratio!) * scale
      parts.push(
        `<rect x="${left}" y="${y}" width="${long.toFixed(1)}" height="${bar - 2}" fill="${colours[adapter]}"/>`,
        `<text x="${(left + long + 4).toFixed(1)}" y="${y + bar - 2}" font-size="8">${ratio!.toFixed(2)}</text>`
      )
      y += bar
    }
    y += gap
  }
  const legend = Object.entries(names).map(([adapter, name], i) =>
    `<rect x="${left + i * 95}" y="8" width="9" height="9" fill="${colours[adapter as Adapter]}"/><text x="${
      left + i * 95 + 13
    }" y="16">${name}</text>`
  )
  const grid = [0.25, 0.5, 0.75, 1].map((at) => {
    const x = (left + at * scale).toFixed(1)
    return `<line x1="${x}" x2="${x}" y1="28" y2="${y}" stroke="#8884"/><text x="${x}" y="${
      y + 12
    }" text-anchor="middle">${at}</text>`
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${left + width + 40} ${
      y + 20
    }" font-family="sans-serif" font-size="10" fill="#555">`,
    "<title>How much is done of what is done by hand in the same time</title>",
    ...legend,
    ...grid,
    ...parts,
    "</svg>",
    ""
  ].join("\n")
}

export const page = (all: ReadonlyArray<Line>, { day, machine }: Run): { markdown: string; plot: string } => {
  const lines = [...new Map(all.map((line) => [`${line.bench} ${line.adapter}`, line])).values()]
  const ours = lines.filter((line) => line["system"] === undefined)
  const rates = ours.filter(isBetterHigher)
  const times = ours.filter((line) => !isBetterHigher(line))
  const foreign = lines.filter((line) => line["system"] !== undefined)
  const sections = [
    "# Benchmarks",
    `What \`npm run bench\` printed on ${day}, written by \`npm run bench:report\`: ${machine}. [Performance](performance.md) says what is measured, and against what.`,
    "![How much is done of what is done by hand in the same time](benchmarks.svg)",
    "## What is done in a time",
    "A ratio below 1 is less than by hand; that of processor time compares what a processor does in a second, which others on the machine do not change.",
    table(head, rowsOf(rates)),
    "## What it takes",
    "A ratio above 1 is more than by hand.",
    table(head, rowsOf(times)),
    ...(foreign.length === 0
      ? []
      : [
        "## Other systems",
        table(
          ["benchmark", "database", "with Sluice", "the other", "times", "lost / doubled"],
          foreign.map((line) => [
            `\`${line.bench}\``,
            names[line.adapter],
            `${figure(line.value)} ${line.unit}`,
            line.baseline === null ? "" : figure(line.baseline),
            ratio(line["times"]) ?? "",
            `${line.lost} / ${line.doubled}`
          ])
        )
      ])
  ]
  return { markdown: `${sections.join("\n\n")}\n`, plot: plotOf(lines) }
}
