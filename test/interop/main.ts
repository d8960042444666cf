/** `npm run test:interop`: the real Akka Projection gRPC against our producer. */
import * as Effect from "effect/Effect"
import { parseArgs } from "node:util"
import { run } from "./jvm/Interop.ts"
import * as Peer from "./jvm/Peer.ts"

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "10" },
    entities: { type: "string", default: "1000" },
    backlog: { type: "string", default: "3000" },
    rate: { type: "string", default: "200" }
  }
})

const missing = Peer.missing()
if (missing.length > 0) {
  console.log(`test:interop needs Java, Maven and PostgreSQL with psql: ${missing.join(" and ")} not found`)
  process.exit(2)
}

console.log("builds the JVM peer, where that was not done before")
Peer.build()
const { inRange, ...result } = await Effect.runPromise(run({
  kills: Number(values.kills),
  entities: Number(values.entities),
  backlog: Number(values.backlog),
  rate: Number(values.rate),
  log: console.log
}))
const counts = Object.entries(result).map(([name, value]) => `${name}=${value}`)
console.log(`${counts.join(" ")} ranges=${inRange.join("/")}`)
const isRight = result.lost + result.doubled + result.reordered + result.different === 0 && inRange.every((n) => n > 0)
process.exit(isRight ? 0 : 1)
