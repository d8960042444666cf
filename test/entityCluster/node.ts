/**
 * A process of a cluster: entities run in it, and it calls those of all. It says what has come of each call, and how many entities it has, a line of JSON each, and ends when it is asked to.
 *
 * usage: node WHERE NAME TAKEOVER OPTIONS
 */
import * as EntityCluster from "@sluice/cluster/EntityCluster"
import { Journal } from "@sluice/core/Journal"
import * as EventSourced from "@sluice/entity/EventSourced"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import type { Identity } from "../kit/Certificates.ts"
import { stopped } from "../kit/process.ts"
import { open } from "../status/open.ts"
import { calls } from "./calls.ts"
import { Ledger } from "./Ledger.ts"

/** What is broken on purpose, among others. */
export interface NodeOptions {
  /** How many calls this process makes at a time. */
  readonly callers: number
  readonly entities: number
  /** How it knows the others. */
  readonly tls?: { readonly authority: string } & Identity
  /** The journal does not compare numbers. */
  readonly isUnfenced?: boolean
  /** The process believes to have for ever what it has had once. */
  readonly isUnguarded?: boolean
}

const [where, name, takeover, optionsText] = process.argv.slice(2)
const options: NodeOptions = JSON.parse(optionsText!)

const say = (line: unknown) => void process.stdout.write(`${JSON.stringify(line)}\n`)

const Storage = Layer.effect(
  Journal,
  Effect.map(Journal, (journal) =>
    options.isUnfenced === true
      ? { ...journal, append: (request) => journal.append({ ...request, expected: "any" }) }
      : journal)
).pipe(Layer.provideMerge(open(JSON.parse(where!))))

/** What the process really has. */
let hasReally: EntityCluster.Host["Service"]["has"] = () => false

const Process = Layer.effect(
  EntityCluster.Host,
  Effect.map(EntityCluster.Host, (host) => {
    hasReally = host.has
    if (options.isUnguarded !== true) return host
    const had = new Set<string>()
    return {
      ...host,
      has: (entityType, id) => {
        if (host.has(entityType, id)) had.add(id)
        return had.has(id)
      }
    }
  })
).pipe(Layer.provideMerge(EntityCluster.layerProcess({
  takeover: takeover as Duration.Input,
  tls: options.tls && { ...options.tls, key: Redacted.make(options.tls.key) }
})))

/** Says how many of the entities are here, when that has changed. */
const tellShare = Effect.gen(function*() {
  const ids = Array.from({ length: 1_024 }, (_, i) => `share-${i}`)
  let last = -1
  for (;;) {
    const here = ids.filter((id) => hasReally("ledger", id)).length
    if (here !== last) say({ share: last = here })
    yield* Effect.sleep("100 millis")
  }
})

const running = Effect.gen(function*() {
  const client = yield* EventSourced.client(Ledger)
  const calling = calls({ client, name: name!, entities: options.entities, tell: say, pause: 20 })
  yield* Effect.all([tellShare, ...Array.from({ length: options.callers }, () => calling)], {
    concurrency: "unbounded",
    discard: true
  }).pipe(Effect.raceFirst(stopped))
}).pipe(
  Effect.provide(EntityCluster.layer(Ledger).pipe(Layer.provideMerge(Process), Layer.provideMerge(Storage)))
)

process.stdin.resume()
process.stdin.on("end", () => process.exit(0))
Effect.runPromise(Effect.provide(running, Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)]))).then(
  () => process.exit(0),
  (error) => {
    console.error(error)
    process.exit(1)
  }
)
