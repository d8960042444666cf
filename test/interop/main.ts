/** `npm run test:interop`: the real Akka Projection gRPC against our producer and our projections. */
import * as Effect from "effect/Effect"
import { parseArgs } from "node:util"
import type { Result } from "./jvm/Comparison.ts"
import * as FromAkka from "./jvm/FromAkka.ts"
import * as Interop from "./jvm/Interop.ts"
import * as Peer from "./jvm/Peer.ts"

const { values } = parseArgs({
  options: {
    /** `to-akka` or `from-akka`; both by default. */
    only: { type: "string" },
    kills: { type: "string", default: "10" },
    /** How often each side is killed where Akka produces, for each of the four ways to consume. */
    "from-akka-kills": { type: "string", default: "2" },
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

const report = (title: string, { inRange, ...result }: Result, mayRepeat: boolean): boolean => {
  const counts = Object.entries(result).map(([name, value]) => `${name}=${value}`)
  console.log(`${title}: ${counts.join(" ")} ranges=${inRange.join("/")}`)
  const wrong = result.lost + result.reordered + result.different + (mayRepeat ? 0 : result.doubled)
  return wrong === 0 && inRange.every((n) => n > 0)
}

const common = { entities: Number(values.entities), rate: Number(values.rate), log: console.log }
let isRight = true
if (values.only !== "from-akka") {
  const result = await Effect.runPromise(
    Interop.run({ ...common, kills: Number(values.kills), backlog: Number(values.backlog) })
  )
  isRight = report("to Akka", result, false)
}
if (values.only !== "to-akka") {
  for (
    const [form, guarantee, storage] of [
      ["string", "exactly-once", "sqlite"],
      ["protobuf", "exactly-once", "postgres"],
      ["protobuf", "at-least-once", "sqlite"],
      ["string", "at-least-once", "postgres"]
    ] as const
  ) {
    const options = { ...common, form, guarantee, storage, kills: Number(values["from-akka-kills"]) }
    const result = await Effect.runPromise(FromAkka.run(options))
    const title = `from Akka, ${form}, ${guarantee}, ${storage}`
    isRight = report(title, result, guarantee === "at-least-once") && isRight
  }
}
process.exit(isRight ? 0 : 1)
