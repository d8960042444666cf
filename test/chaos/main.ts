/** `npm run test:chaos`: many kills, and what they did. */
import * as Effect from "effect/Effect"
import { readArgs, wholeNumbers } from "../kit/readArgs.ts"
import { run } from "./Chaos.ts"

const { values } = readArgs("test:chaos", {
  options: {
    "consumer-kills": { type: "string", default: "50" },
    "producer-kills": { type: "string", default: "20" },
    entities: { type: "string", default: "200" },
    rate: { type: "string", default: "400" }
  }
})

const whole = wholeNumbers(values)

const result = await Effect.runPromise(run({
  consumerKills: whole("consumer-kills", 0),
  producerKills: whole("producer-kills", 0),
  entities: whole("entities"),
  rate: whole("rate"),
  log: console.log
}))
console.log(Object.entries(result).map(([name, value]) => `${name}=${value}`).join(" "))
process.exit(result.lost + result.doubled + result.reordered + result.forgotten === 0 && result.appended > 0 ? 0 : 1)
