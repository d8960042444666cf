/** `npm run test:chaos`: many kills, and what they did. */
import * as Effect from "effect/Effect"
import { readArgs } from "../kit/readArgs.ts"
import { run } from "./Chaos.ts"

const { values } = readArgs("test:chaos", {
  options: {
    "consumer-kills": { type: "string", default: "50" },
    "producer-kills": { type: "string", default: "20" },
    entities: { type: "string", default: "200" },
    rate: { type: "string", default: "400" }
  }
})

const result = await Effect.runPromise(run({
  consumerKills: Number(values["consumer-kills"]),
  producerKills: Number(values["producer-kills"]),
  entities: Number(values.entities),
  rate: Number(values.rate),
  log: console.log
}))
console.log(Object.entries(result).map(([name, value]) => `${name}=${value}`).join(" "))
process.exit(result.lost + result.doubled + result.reordered + result.forgotten === 0 && result.appended > 0 ? 0 : 1)
