/**
 * A replica of the entity type `thing`, as the peer's `replica` is one. It goes on where it was killed, and answers the same lines on standard input.
 *
 * usage: replica FILE ID PORT OTHERS ENTITIES RATE, where OTHERS is `jvm=8101`, with commas
 */
import * as EntityType from "@sluice/core/EntityType"
import * as Journal from "@sluice/core/Journal"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import * as OrSet from "@sluice/replication/OrSet"
import * as Replica from "@sluice/replication/Replica"
import * as ReplicatedEventSourced from "@sluice/replication/ReplicatedEventSourced"
import * as Replication from "@sluice/replication/Replication"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import { createHash } from "node:crypto"
import { createInterface } from "node:readline"
import { endWithParent } from "../../kit/process.ts"
import { makeThings } from "./things.ts"

const [filename, self, port, others, entityCount, rate] = process.argv.slice(2)

const remotes = others!.split(",").map((other) => other.split("=") as [id: string, port: string])
const things = makeThings([self!, ...remotes.map(([id]) => id)].toSorted())
const entities = Array.from({ length: Number(entityCount) }, (_, entity) => entity)

// from the beginning, as the parent asks before anybody is ready
const early: Array<string> = []
let hear = (line: string): void => void early.push(line)
createInterface({ input: process.stdin }).on("line", (line) => hear(line))

const say = (line: string): void => void process.stdout.write(`${line}\n`)

const replica = Replication.layer(things, {
  replicas: Object.fromEntries(remotes.map(([id, port]) => [id, { address: `127.0.0.1:${port}` }]))
}).pipe(
  Layer.provideMerge(ReplicatedEventSourced.layer(things)),
  Layer.provideMerge([
    Replica.layer(self!),
    GrpcServer.layer({ port: Number(port) }),
    SqliteStorage.layer({ filename: filename! })
  ])
)

endWithParent(
  Effect.gen(function*() {
    const client = yield* ReplicatedEventSourced.client(things)
    const state = { isWriting: Number(rate) > 0 }

    const write = Effect.gen(function*() {
      // another text each time that it is started
      const n = Math.floor((yield* Clock.currentTimeMillis) / 100 % 10_000_000) * 100
      const permits = yield* Semaphore.make(32)
      for (let k = 0; state.isWriting; k++) {
        const entity = (k + n) % entities.length
        yield* Effect.sleep(1000 / Number(rate))
        yield* permits.take(1)
        yield* client(`thing-${entity}`).Write({ n: n + k }).pipe(
          Effect.tap((sequenceNumber) => Effect.sync(() => say(`wrote ${entity} ${sequenceNumber}`))),
          // nothing was promised
          Effect.catch((error) => Effect.logWarning(error)),
          Effect.ensuring(permits.release(1)),
          Effect.forkChild
        )
      }
      yield* permits.take(32)
    })

    const dump = Effect.gen(function*() {
      for (const entity of entities) {
        const id = `thing-${entity}`
        const persistenceId = EntityType.persistenceId(things.entityType, `${id}|${self}`)
        const events = yield* Stream.runCollect(Journal.readEncoded(persistenceId))
        for (const { payload, replication } of events) {
          const { origin, originSequenceNumber, version } = replication!
          const { bytes, manifest } = payload!
          const versions = Array.from(version, ([id, n]) => `${id}=${n}`).toSorted().join(",")
          const form = manifest.slice("ser.akka.io/".length)
          say(
            `event ${entity} ${origin} ${originSequenceNumber} ${form} ${
              Buffer.from(bytes).toString("hex")
            } ${versions}`
          )
        }
        const { count, set, texts } = yield* client(id).Get()
        const all = [...new Set([...texts, ...OrSet.values(set)])].toSorted().join("\n")
        say(`state ${entity} ${count} ${createHash("md5").update(all).digest("hex")}`)
      }
      say("dumped")
    })

    say("ready")
    const writing = yield* Effect.forkScoped(write)
    const run = Effect.runForkWith(yield* Effect.context<Journal.Journal>())
    hear = (line) => {
      if (line === "dump") run(dump)
      else if (line === "stop") {
        state.isWriting = false
        writing.addObserver(() => say("stopped"))
      }
    }
    early.forEach((line) => hear(line))
    return yield* Effect.never
  }).pipe(Effect.scoped, Effect.provide(replica), Effect.orDie)
)
