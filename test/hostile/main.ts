/**
 * `npm run test:hostile -- [--server postgres|mariadb|mysql] [--seconds 20] [--only NAME]`: each scenario on a server of its own, and a line of what
 * came of it. `--seconds` is how long a scenario's processes work in each of its parts.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as References from "effect/References"
import { readArgs } from "../kit/readArgs.ts"
import { refuse } from "../kit/refuse.ts"
import { moreEvents, type Outcome } from "./Scenario.ts"
import * as scenarios from "./scenarios.ts"
import * as Server from "./Server.ts"

const { values } = readArgs("test:hostile", {
  options: {
    server: { type: "string" },
    only: { type: "string", default: "" },
    seconds: { type: "string", default: "10" }
  }
})

const seconds = Number(values.seconds)
if (!(seconds >= 0)) refuse(`--seconds takes a number, not '${values.seconds}'`)
const meant = scenarios.long.filter(({ name }) => name.includes(values.only))
if (meant.length === 0) {
  refuse(`--only is a part of one of ${scenarios.long.map(({ name }) => name).join("; ")}, not '${values.only}'`)
}
const chosen = Server.names.filter((name) => (values.server ?? name) === name)
if (chosen.length === 0) refuse(`--server is one of ${Server.names.join(", ")}, not '${values.server}'`)

const line = (fields: Readonly<Record<string, string | number>>): string =>
  Object.entries(fields).map(([name, value]) => `${name}=${typeof value === "string" ? JSON.stringify(value) : value}`)
    .join(" ")

const run = Effect.fnUntraced(function*(name: Server.Name) {
  let failures = 0
  for (const scenario of meant) {
    const start = performance.now()
    const exit = yield* Effect.exit(Effect.scoped(Effect.gen(function*() {
      const server = yield* Server.start(name)
      return yield* scenario.run({
        server,
        while: (crew, events = 300) => Effect.andThen(moreEvents(crew, events), Effect.sleep(`${seconds} seconds`))
      })
    })))
    const outcome: Pick<Outcome, "failed" | "problems"> & Partial<Outcome> = Exit.isSuccess(exit)
      ? exit.value
      : { failed: {}, problems: [Cause.pretty(exit.cause)] }
    const { firstMisread: _, ...counts } = outcome.tally ?? { firstMisread: "" }
    console.log(line({
      server: name,
      scenario: scenario.name,
      seconds: Math.round((performance.now() - start) / 1000),
      ...counts,
      ...outcome.failed,
      problems: outcome.problems.length
    }))
    for (const problem of outcome.problems) console.log(`  ${problem}`)
    if (outcome.problems.length > 0) failures++
  }
  return failures
})

const failures = await Effect.runPromise(
  Effect.forEach(chosen, run).pipe(Effect.provideService(References.MinimumLogLevel, "None"))
)
process.exit(failures.every((n) => n === 0) ? 0 : 1)
