import { assert, describe, it } from "@effect/vitest"
import * as EntityCluster from "@sluice/cluster/EntityCluster"
import * as EventFilter from "@sluice/core/EventFilter"
import * as Activations from "@sluice/entity/Activations"
import * as PlainEntities from "@sluice/entity/PlainEntities"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import { makeNotes } from "../../packages/replication/test/kit/Notes.ts"
import { replicatedTests, type Way } from "../../packages/replication/test/kit/replicatedTests.ts"
import { deletionTests } from "../replication/deletion.ts"
import * as Regions from "../replication/regions.ts"
import { statusTests } from "../replication/status.ts"
import { verificationTests } from "../replication/verification.ts"
import { adapters } from "./databases.ts"

/** Commands, and the events of other replicas, come from a process that does not run the entities. */
const fromElsewhere = ((entity: any) =>
  Layer.merge(
    Layer.provide(EntityCluster.layerClient(entity), EntityCluster.layerCaller()),
    Layer.effectDiscard(Layer.build(Layer.provide(EntityCluster.layer(entity), EntityCluster.layerProcess())))
  )) as Way

for (const { dialect, name, place } of adapters) {
  const storage = Layer.unwrap(Effect.map(place, ({ layer }) => layer()))
  replicatedTests(`plain, in ${name}`, storage, PlainEntities.layer)
  replicatedTests(`in one process, in ${name}`, storage, (entity) => Activations.layer(entity))
  if (dialect === "postgres") replicatedTests(`from another process, in ${name}`, storage, fromElsewhere)
}

for (const { name, place } of adapters) {
  const three = Effect.map(Effect.all([place, place, place]), ([eu, us, ap]) => ({
    eu: eu.layer(),
    us: us.layer(),
    ap: ap.layer()
  }))
  deletionTests(`in ${name}`, three)
  statusTests(`in ${name}`, three)
  verificationTests(`in ${name}`, three)
}

describe("three replicas on three databases", () => {
  it.live.each(["origin", "causal"] as const)(
    "have the same events in the end, with a cut and a filter between (%s)",
    (order) =>
      Effect.gen(function*() {
        const notes = makeNotes("notes", { snapshotEvery: 5 })
        const places = yield* Effect.forEach(adapters.slice(0, 3), ({ place }) => place)
        const [eu, us, ap] = places.map(({ layer }) => layer())
        const { cut, heal, replicas, settled } = yield* Regions.start(notes, { eu: eu!, us: us!, ap: ap! }, { order })
        const entities = Array.from({ length: 8 }, (_, i) => `n-${i}`)
        const write = (text: string) =>
          Effect.forEach(
            replicas.flatMap((replica) => entities.map((id) => replica.notes(id).Add({ text }))),
            (add) => add,
            { concurrency: 8 }
          )
        yield* write("before")
        yield* settled(entities, () => 3)
        yield* cut("eu", "us")
        yield* replicas[1]!.take(EventFilter.excludeEntityIds("n-0", "n-1"))
        yield* write("cut")
        yield* replicas[2]!.rewind
        yield* heal("eu", "us")
        yield* write("after")
        yield* settled(entities.slice(2), () => 9)
        for (const id of ["n-0", "n-1"]) assert.strictEqual((yield* replicas[1]!.events(id)).length, 5)
        yield* replicas[1]!.take(EventFilter.without(EventFilter.excludeEntityIds("n-0", "n-1")), "now")
        yield* settled(entities, () => 9)
        for (const id of entities) {
          const [first, ...others] = yield* Effect.forEach(replicas, ({ events }) => events(id))
          assert.strictEqual(new Set(first).size, 9)
          for (const events of others) assert.deepStrictEqual(events.toSorted(), first!.toSorted())
          const states = yield* Effect.forEach(replicas, (replica) => replica.notes(id).Get())
          for (const { notes } of states) assert.deepStrictEqual(notes.toSorted(), states[0]!.notes.toSorted())
          for (const { times } of states) {
            assert.deepStrictEqual(
              times.toSorted((a, b) => a - b),
              states[0]!.times.toSorted((a, b) => a - b)
            )
          }
        }
      }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None")),
    300_000
  )
})
