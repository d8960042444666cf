/** `npm run test:interop`: the real Akka Projection gRPC against our producer, our projections and our replicas. */
import * as Effect from "effect/Effect"
import { readArgs, wholeNumbers } from "../kit/readArgs.ts"
import { refuse } from "../kit/refuse.ts"
import type { Result } from "./jvm/Comparison.ts"
import * as Crdts from "./jvm/Crdts.ts"
import * as FromAkka from "./jvm/FromAkka.ts"
import * as Interop from "./jvm/Interop.ts"
import * as Peer from "./jvm/Peer.ts"
import * as Replicas from "./jvm/Replicas.ts"

const { values } = readArgs("test:interop", {
  options: {
    /** `to-akka`, `from-akka`, `crdts` or `replicas`; all by default. */
    only: { type: "string" },
    /** Which of the ways to consume from Akka are run, `--form string --guarantee exactly-once --storage sqlite` say; all by default. */
    form: { type: "string" },
    guarantee: { type: "string" },
    storage: { type: "string" },
    kills: { type: "string", default: "10" },
    /** How often each side is killed where Akka produces, for each of the four ways to consume. */
    "from-akka-kills": { type: "string", default: "2" },
    /** How often each replica is killed. */
    "replica-kills": { type: "string", default: "1" },
    entities: { type: "string", default: "1000" },
    backlog: { type: "string", default: "3000" },
    rate: { type: "string", default: "200" }
  }
})

const directions = ["to-akka", "from-akka", "crdts", "replicas"]
if (values.only !== undefined && !directions.includes(values.only)) {
  refuse(`--only is one of ${directions.join(", ")}, not '${values.only}'`)
}

/** The ways to consume from Akka. */
const ways = [
  { form: "string", guarantee: "exactly-once", storage: "sqlite" },
  { form: "protobuf", guarantee: "exactly-once", storage: "postgres" },
  { form: "protobuf", guarantee: "at-least-once", storage: "sqlite" },
  { form: "string", guarantee: "at-least-once", storage: "postgres" }
] as const

const asked = (["form", "guarantee", "storage"] as const).filter((name) => values[name] !== undefined)
const chosen = ways.filter((way) => asked.every((name) => way[name] === values[name]))
if (chosen.length === 0) {
  refuse(
    `There is no such way to consume from Akka. There are ${ways.map((_) => Object.values(_).join(" ")).join(", ")}`
  )
}
if (asked.length > 0 && values.only !== undefined && values.only !== "from-akka") {
  refuse(`--${asked[0]} is about consuming from Akka, and --only ${values.only} does not`)
}
const only = asked.length > 0 ? "from-akka" : values.only

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

const whole = wholeNumbers(values)
const kills = whole("kills", 0)
const fromAkkaKills = whole("from-akka-kills", 0)
const replicaKills = whole("replica-kills", 0)
const backlog = whole("backlog", 0)
const common = { entities: whole("entities"), rate: whole("rate"), log: console.log }
let isRight = true
if (only === undefined || only === "crdts") isRight = Crdts.run(console.log) === 0
if (only === undefined || only === "to-akka") {
  const result = await Effect.runPromise(
    Interop.run({ ...common, kills, backlog })
  )
  isRight = report("to Akka", result, false) && isRight
}
if (only === undefined || only === "from-akka") {
  for (const { form, guarantee, storage } of chosen) {
    const options = { ...common, form, guarantee, storage, kills: fromAkkaKills }
    const result = await Effect.runPromise(FromAkka.run(options))
    const title = `from Akka, ${form}, ${guarantee}, ${storage}`
    isRight = report(title, result, guarantee === "at-least-once") && isRight
  }
}
if (only === undefined || only === "replicas") {
  // few entities, so that all replicas write to each at the same time
  const result = await Effect.runPromise(
    Replicas.run({ kills: replicaKills, entities: 30, rate: 50, log: console.log })
  )
  const counts = Object.entries({ ...result, here: result.here.join("/") })
  console.log(`replicas: ${counts.map(([name, value]) => `${name}=${value}`).join(" ")}`)
  isRight = result.written > 0 && result.lost + result.doubled + result.diverged === 0 && isRight
}
process.exit(isRight ? 0 : 1)
