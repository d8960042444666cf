/** What a benchmark is, and how a run of ours is compared with the same by hand. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Adapter, Target } from "./Target.ts"
import * as Work from "./Work.ts"

/** How long and how often to measure. */
export interface Size {
  /** Rounds, each of one run of ours and one of the baseline; more that do not count come first, where there are several. */
  readonly runs: number
  /** Of a run that lasts for some time. */
  readonly seconds: number
  /** Of 100,000 events, in runs that go through a journal. */
  readonly scale: number
  /** Whether the baseline is left out, so that a profile shows us alone. */
  readonly alone?: boolean
}

export const sizes = {
  full: { runs: 5, seconds: 2, scale: 1 },
  quick: { runs: 3, seconds: 0.4, scale: 0.1 },
  tiny: { runs: 1, seconds: 0.1, scale: 0.003 }
} as const satisfies Record<string, Size>

export interface Setting {
  readonly size: Size
  readonly adapter: Adapter
  /** A new, empty place in a database, until the scope ends. */
  readonly place: Effect.Effect<Target, unknown, Scope.Scope>
}

export interface Bench {
  readonly name: string
  readonly adapters: ReadonlyArray<Adapter>
  /** It is long, and only runs when it is asked for by its name. */
  readonly onlyByName?: boolean
  /** It compares with a foreign system, which takes its time: a quick run has it only when it is asked for by its name. */
  readonly notQuick?: boolean
  readonly run: (setting: Setting) => Effect.Effect<ReadonlyArray<Line>, unknown, Scope.Scope>
}

/** What a run has found out: more of `extra` is shown as it is. */
export interface Sample {
  readonly value: number
  readonly lost: number
  readonly doubled: number
  readonly extra?: Readonly<Record<string, number>> | undefined
}

export interface Line {
  readonly bench: string
  readonly adapter: Adapter
  readonly value: number
  readonly unit: string
  readonly better: "higher" | "lower"
  /** Null where there is nothing to compare with. */
  readonly baseline: number | null
  /** The median of value / baseline of each round, as the machine may be another from round to round. */
  readonly ratio: number | null
  readonly lost: number
  readonly doubled: number
  readonly runs: number
  readonly [extra: string]: unknown
}

export interface Naming {
  readonly bench: string
  readonly unit: string
  readonly better?: "higher" | "lower"
  /** How many events a round has, where each comes by itself: rounds that are not measured come first until enough have passed. */
  readonly singleEvents?: number
}

/**
 * So many events come by themselves until all code that is run for them is compiled; until then they take twice the processor. A quick run does not wait for
 * as many as that.
 */
const compiledAfter = 10_000

/** Runs both in turn, first the one and then the other first. */
export const compare = Effect.fnUntraced(function*<E, R, E2, R2>(
  { adapter, size }: Setting,
  { bench, better = "higher", singleEvents = compiledAfter, unit }: Naming,
  ours: Effect.Effect<Sample, E, R>,
  byHand: Effect.Effect<Sample, E2, R2> | undefined
): Effect.fn.Return<Line, E | E2, R | R2> {
  const baseline = size.alone ? undefined : byHand
  const samples: Array<Measured> = []
  const others: Array<Measured> = []
  const warmUp = size.runs > 1 ? Math.ceil(Math.min(1, size.scale) * compiledAfter / singleEvents) : 0
  for (let round = 0; round < size.runs + warmUp; round++) {
    const sides = [
      Effect.map(Work.during(ours), ([sample, cores]) => void samples.push({ ...sample, cores })),
      ...(baseline === undefined
        ? []
        : [Effect.map(Work.during(baseline), ([sample, cores]) => void others.push({ ...sample, cores }))])
    ]
    for (const side of round % 2 === 0 ? sides : sides.toReversed()) yield* side
  }
  const lost = samples.reduce((sum, sample) => sum + sample.lost, 0)
  const doubled = samples.reduce((sum, sample) => sum + sample.doubled, 0)
  const counted = samples.slice(warmUp)
  const countedOthers = others.slice(warmUp)
  const ratios = countedOthers.map(({ value }, i) => counted[i]!.value / value)
  return {
    bench,
    adapter,
    value: round(median(counted.map((sample) => sample.value))),
    unit,
    better,
    baseline: baseline === undefined ? null : round(median(countedOthers.map((sample) => sample.value))),
    ratio: baseline === undefined ? null : round(median(ratios)),
    lost,
    doubled,
    runs: size.runs,
    ...medians(counted),
    ...Object.fromEntries(Object.entries(medians(countedOthers)).map(([name, value]) => [`${name}Baseline`, value])),
    ...(baseline === undefined ? {} : { ratios: ratios.map(round) }),
    ...processors(counted, countedOthers, better),
    ...(others.some((sample) => sample.lost + sample.doubled > 0)
      ? {
        lostBaseline: others.reduce((sum, sample) => sum + sample.lost, 0),
        doubledBaseline: others.reduce((sum, sample) => sum + sample.doubled, 0)
      }
      : {})
  }
})

/** A sample, and how many processors it took; undefined where that was not counted. */
interface Measured extends Sample {
  readonly cores: Work.Cores | undefined
}

/** How many processors each side took, and the ratio of what a processor does in a second, which says the same on a machine where others work. How many those took. */
const processors = (ours: ReadonlyArray<Measured>, others: ReadonlyArray<Measured>, better: "higher" | "lower") => {
  const own = (samples: ReadonlyArray<Measured>) => samples.flatMap(({ cores }) => cores === undefined ? [] : cores.own)
  const rates = (samples: ReadonlyArray<Measured>) =>
    samples.map(({ cores, value }) => cores === undefined ? Number.NaN : value / cores.own)
  const [a, b] = [rates(ours), rates(others)]
  const ratios = a.map((rate, i) => rate / (b[i] ?? Number.NaN)).filter(Number.isFinite)
  const busy = [...ours, ...others].flatMap(({ cores }) => cores?.others ?? [])
  return {
    ...(own(ours).length > 0 ? { cores: round(median(own(ours))) } : {}),
    ...(own(others).length > 0 ? { coresBaseline: round(median(own(others))) } : {}),
    ...(better === "higher" && ratios.length > 0 ? { cpuRatio: round(median(ratios)) } : {}),
    ...(busy.length > 0 ? { coresOfOthers: round(median(busy)) } : {})
  }
}

const medians = (samples: ReadonlyArray<Sample>): Record<string, number> =>
  Object.fromEntries(
    Object.keys(samples[0]?.extra ?? {}).map((name) => [
      name,
      round(median(samples.map((sample) => sample.extra![name]!)))
    ])
  )

export const median = (values: ReadonlyArray<number>): number => quantile(values, 0.5)

/** NaN of no values. */
export const quantile = (values: ReadonlyArray<number>, q: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN
}

const round = (value: number): number => Number(value.toPrecision(4))

/** Effects of the same kind one after the other in as many fibers, at least one in each, until the time is over. */
export const callers = <E, R>(n: number, seconds: number, call: () => Effect.Effect<unknown, E, R>) => {
  const loop = Effect.fnUntraced(function*(end: number): Effect.fn.Return<void, E, R> {
    do yield* call()
    while (performance.now() < end)
  })
  return Effect.suspend(() => {
    const start = performance.now()
    const each = loop(start + seconds * 1000)
    return Effect.map(
      Work.counted(Effect.all(Array.from({ length: n }, () => each), { concurrency: "unbounded", discard: true })),
      () => (performance.now() - start) / 1000
    )
  })
}

/** The same with promises. */
export const promised = (n: number, seconds: number, call: () => Promise<unknown>): Effect.Effect<number> =>
  Work.counted(Effect.promise(async () => {
    const start = performance.now()
    const end = start + seconds * 1000
    const loop = async () => {
      do await call()
      while (performance.now() < end)
    }
    await Promise.all(Array.from({ length: n }, loop))
    return (performance.now() - start) / 1000
  }))
