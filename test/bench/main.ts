/**
 * `npm run bench -- [NAME…] [--quick] [--adapter sqlite|postgres|mariadb|mysql] [--runs 5] [--seconds 2] [--scale 1] [--alone]`: a line of JSON on standard
 * output for each benchmark and database, with what was lost and doubled as it was counted. Only ratios say something: they are of
 * runs that took turns on the same machine and server. A name stands for all that begin with it; foreign systems are left out of a
 * quick run without names. How many processors each side took, and what one does in a second (cpuRatio), is of all processes that were started here, databases included. Without the
 * baseline, `--alone`, and with node's `--cpu-prof` a profile shows where our own time goes.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import { readArgs } from "../kit/readArgs.ts"
import { refuse } from "../kit/refuse.ts"
import { type Bench, type Line, type Size, sizes } from "./Bench.ts"
import { benches } from "./benches.ts"
import { type Adapter, adapters, start } from "./Target.ts"

/** What a name of a benchmark is followed by. */
const noteOf = ({ adapters: own, notQuick, onlyByName }: Bench): string =>
  [
    ...(own.length === adapters.length ? [] : [own.join(", ")]),
    ...(onlyByName ? ["only when it is named in full"] : notQuick ? ["in a quick run only when it is named"] : [])
  ].join("; ")

const help =
  `A line of JSON on standard output for each benchmark and database; docs/performance.md says what it means. A name stands for all that begin with it.

  --quick         3 short runs with a tenth of the events, instead of 5
  --adapter NAME  ${adapters.join(", ")}; may be given several times
  --runs, --seconds, --scale
                  how many runs (${sizes.full.runs}; ${sizes.quick.runs} in a quick one), how long each is (${sizes.full.seconds}; ${sizes.quick.seconds}), and which part of the events it has (${sizes.full.scale}; ${sizes.quick.scale})
  --alone         without the baseline, for a profile
  --tiny          to see that everything works; its figures say nothing

${benches.map((bench) => `  ${bench.name.padEnd(26)}${noteOf(bench)}`.trimEnd()).join("\n")}`

const { positionals, values } = readArgs("bench", {
  allowPositionals: true,
  options: {
    quick: { type: "boolean", default: false },
    alone: { type: "boolean", default: false },
    tiny: { type: "boolean", default: false },
    adapter: { type: "string", multiple: true, default: [...adapters] },
    runs: { type: "string" },
    seconds: { type: "string" },
    scale: { type: "string" }
  }
}, help)

for (const adapter of values.adapter) {
  if (!adapters.some((known) => known === adapter)) {
    refuse(`--adapter is one of ${adapters.join(", ")}, not '${adapter}'`)
  }
}

const more = (name: "runs" | "seconds" | "scale", preset: number): number => {
  const value = Number(values[name] ?? preset)
  return value > 0 && (name !== "runs" || Number.isInteger(value))
    ? value
    : refuse(`--${name} takes a ${name === "runs" ? "whole " : ""}number above 0, not '${values[name]}'`)
}

const preset = values.tiny ? sizes.tiny : values.quick ? sizes.quick : sizes.full
const size: Size = {
  runs: more("runs", preset.runs),
  seconds: more("seconds", preset.seconds),
  scale: more("scale", preset.scale),
  alone: values.alone
}
const isQuick = values.tiny || values.quick
const isMeant = (positional: string, { name, onlyByName }: Bench): boolean =>
  onlyByName ? name === positional : name.startsWith(positional)
for (const positional of positionals) {
  if (!benches.some((bench) => isMeant(positional, bench))) {
    refuse(`there is no '${positional}' among ${benches.map(({ name }) => name).join(", ")}`)
  }
}
const chosen = benches.filter((bench) =>
  positionals.length === 0
    ? !bench.onlyByName && !(bench.notQuick && isQuick)
    : positionals.some((_) => isMeant(_, bench))
)
if (!chosen.some((bench) => bench.adapters.some((adapter) => values.adapter.includes(adapter)))) {
  refuse(`${chosen.map(({ name }) => name).join(", ")}: on none of ${values.adapter.join(", ")}`)
}

for (const bench of chosen) {
  if (bench.adapters.some((adapter) => values.adapter.includes(adapter))) continue
  console.error(`${bench.name} is left out: it is on ${bench.adapters.join(", ")} alone`)
}

/** More would be felt. */
const mayBeBusy = 0.2

const print = (line: Line): void => {
  process.stdout.write(`${JSON.stringify(line)}\n`)
  const { adapter, bench, coresOfOthers } = line
  if (typeof coresOfOthers === "number" && coresOfOthers > mayBeBusy) {
    console.error(
      `${bench} on ${adapter}: others took ${coresOfOthers} of the processors. Only what a processor does in a second says something (cpuRatio)`
    )
  }
}

const measure = Effect.gen(function*() {
  let failures = 0
  const started = new Map<Adapter, Effect.Success<ReturnType<typeof start>> | undefined>()
  /** One that cannot be started is left out, and counts as a failure once. */
  const placeOn = Effect.fnUntraced(function*(adapter: Adapter) {
    if (!started.has(adapter)) {
      const place = yield* Effect.catch(start(adapter), ({ message }) =>
        Effect.sync(() => {
          failures++
          console.error(`${adapter} is left out: ${message}`)
          return undefined
        }))
      started.set(adapter, place)
    }
    return started.get(adapter)
  })
  for (const bench of chosen) {
    for (const adapter of bench.adapters.filter((_) => values.adapter.includes(_))) {
      const place = yield* placeOn(adapter)
      if (place === undefined) continue
      // on standard error, as some take minutes until they have anything to say
      console.error(`${bench.name} on ${adapter} …`)
      const exit = yield* Effect.exit(Effect.scoped(bench.run({ size, adapter, place })))
      if (Exit.isSuccess(exit)) {
        exit.value.forEach(print)
        failures += exit.value.filter(({ doubled, lost }) => doubled + lost > 0).length
      } else {
        failures++
        console.error(`${bench.name} on ${adapter}: ${Cause.pretty(exit.cause)}`)
      }
    }
  }
  return failures
})

const failures = await Effect.runPromise(
  measure.pipe(
    Effect.scoped,
    Effect.provideService(References.MinimumLogLevel, "Warn"),
    // standard output is for the lines alone
    Effect.provide(Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)]))
  )
)
process.exit(failures === 0 ? 0 : 1)
