/** `npm run test:replicas -- [--events 100000] [--entities 2000] [--lasts 5] [--within 600]`: three regions in a storm, and what came of it. Times are in seconds. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import { readArgs, wholeNumbers } from "../kit/readArgs.ts"
import { run } from "./Storm.ts"

const { values } = readArgs("test:replicas", {
  options: {
    events: { type: "string", default: "100000" },
    entities: { type: "string", default: "2000" },
    lasts: { type: "string", default: "5" },
    within: { type: "string", default: "600" }
  }
})

const whole = wholeNumbers(values)

const { problems, ...outcome } = await Effect.runPromise(
  run({
    events: whole("events"),
    entities: whole("entities"),
    lasts: whole("lasts"),
    within: Duration.seconds(whole("within")),
    log: console.log
  }).pipe(Effect.provideService(References.MinimumLogLevel, "None"))
)
for (const problem of problems.slice(0, 20)) console.log(`  ${problem}`)
console.log(Object.entries(outcome).map(([name, value]) => `${name}=${value}`).join(" "))
process.exit(problems.length + outcome.lost + outcome.doubled === 0 ? 0 : 1)
