/** A region of replicated carts, in a process of its own: it writes when it is told to, consumes the other one when it is told to, and knows when each event was applied. */
import * as EntityClient from "@sluice/entity/EntityClient"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import * as Replica from "@sluice/replication/Replica"
import * as ReplicatedEventSourced from "@sluice/replication/ReplicatedEventSourced"
import * as Replication from "@sluice/replication/Replication"
import { freePort } from "@sluice/testing/FreePort"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { cart, fields, type ItemAdded } from "../events.ts"
import { type LiveOptions, pace } from "../pace.ts"
import { argument, now, serve } from "../process.ts"
import { makeReplicatedCarts, type Region, regions } from "../replicatedCarts.ts"
import { storage, type Target } from "../Target.ts"

const { self, target } = argument<{ self: Region; target: Target }>()
const other = regions.find((id) => id !== self)!

/** When an event came to its entity, and when it was applied. */
export type Applied = readonly [n: number, came: number, at: number]

/** How many events of an entity are written at once to be healed. */
const each = 5

const program = Effect.gen(function*() {
  const port = yield* freePort
  const scope = yield* Effect.scope
  const server = yield* Layer.build(Layer.mergeAll(GrpcServer.layer({ port }), Replica.layer(self), storage(target)))
  const run = Effect.runPromise
  /** Of each run, by the name of its carts. */
  const runs = new Map<string, Effect.Success<ReturnType<typeof open>>>()

  const open = Effect.fnUntraced(function*(name: string) {
    const carts = makeReplicatedCarts(cart(name))
    const layer = Layer.provideMerge(Replication.producer(carts), ReplicatedEventSourced.layer(carts))
    const context = Context.merge(
      server,
      yield* Layer.buildWithScope(Layer.provide(layer, Layer.succeedContext(server)), scope)
    )
    const client = yield* Effect.provideContext(ReplicatedEventSourced.client(carts), context)
    /** When each event of the other region came to its entity, and when it was applied. */
    const applied: Array<Applied> = []
    const runner = Context.get(context, EntityClient.Runs(carts.name))
    const observed: EntityClient.Runner = {
      send: (id, command) =>
        Effect.suspend(() => {
          const came = now()
          return Effect.tap(runner.send(id, command), (answer) =>
            Effect.sync(() => {
              if (answer._tag !== "Replied" || !Array.isArray(answer.reply)) return
              const { arriving } = command.payload as {
                readonly arriving: ReadonlyArray<{ readonly event: ItemAdded }>
              }
              const at = now()
              answer.reply.forEach((outcome, i) => {
                if (outcome === "Stored") applied.push([arriving[i]!.event.n, came, at])
              })
            }))
        })
    }
    return { carts, client, applied, context: Context.add(context, EntityClient.Runs(carts.name), observed) }
  })

  serve({ port }, {
    /** With entities of which some are active. */
    open: async ({ active, name }: { name: string; active: ReadonlyArray<string> }) => {
      const opened = await run(open(name))
      runs.set(name, opened)
      await run(Effect.forEach(active, (id) => opened.client(id).Show(), { concurrency: 64, discard: true }))
    },
    /** At a rate, to one entity after the other, with numbers that go on from one: when each command was sent, and when it was answered. */
    live: async ({ from, ids, name, rate, seconds }: LiveOptions & { from: number; ids: ReadonlyArray<string> }) => {
      const { client } = runs.get(name)!
      const answered = await pace(rate, seconds, async (n) => {
        const sent = now()
        await run(client(ids[n % ids.length]!).Add(fields(from + n)))
        return [sent, now()] as const
      })
      return answered
    },
    /** As fast as it can. */
    fill: async ({ name, total }: { name: string; total: number }) => {
      const { client } = runs.get(name)!
      await run(Effect.forEach(
        Array.from({ length: Math.ceil(total / each) }, (_, i) => i),
        (i) => client(`c-${i % 2_000}`).AddAll({ from: i * each, count: Math.min(each, total - i * each) }),
        { concurrency: 256, discard: true }
      ))
    },
    /** Consumes the other region from now on; ends once so many of its events are applied, and says how many milliseconds that took. */
    heal: async ({ name, port, total }: { name: string; port: number; total: number }) => {
      const { applied, carts, context } = runs.get(name)!
      const replicas = { [other]: { address: `127.0.0.1:${port}` } }
      const start = now()
      await run(Scope.provide(
        Effect.provideContext(Layer.build(Replication.consumer(carts, { replicas })), context),
        scope
      ))
      while (applied.length < total && now() - start < 600_000) {
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
      return now() - start
    },
    /** How many events of the other region are applied. */
    count: async ({ name }: { name: string }) => runs.get(name)!.applied.length,
    applied: async ({ from = 0, name }: { from?: number; name: string }) => runs.get(name)!.applied.slice(from)
  })
  return yield* Effect.never
})

await Effect.runPromise(Effect.scoped(program))
