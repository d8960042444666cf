/** Other people's systems beside ours: in the same run, on the same server. */
import * as Effect from "effect/Effect"
import { once } from "./baseline/postgres.ts"
import { compare, type Line, type Naming, type Sample, type Setting } from "./Bench.ts"
import type { Target } from "./Target.ts"

/** The address of a new database on the target's server, which goes when the server goes. */
export const database = ({ url }: Target): Effect.Effect<string, unknown> =>
  Effect.tryPromise(async () => {
    const name = `f${crypto.randomUUID().slice(0, 8)}`
    await once(url, `CREATE DATABASE ${name}`)
    return new URL(`/${name}`, url).href
  })

/** `times` says how many times better ours is. */
export const versus = <E, R, E2, R2>(
  setting: Setting,
  system: "emmett" | "akka-jvm",
  naming: Naming,
  ours: Effect.Effect<Sample, E, R>,
  theirs: Effect.Effect<Sample, E2, R2>
): Effect.Effect<Line, E | E2, R | R2> =>
  Effect.map(compare(setting, naming, ours, theirs), (line) => ({
    ...line,
    system,
    ...(line.ratio === null
      ? {}
      : {
        times: Number((line.better === "lower" ? 1 / line.ratio : line.ratio).toPrecision(4)),
        lostBaseline: line["lostBaseline"] ?? 0,
        doubledBaseline: line["doubledBaseline"] ?? 0
      })
  }))
