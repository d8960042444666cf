/** What is said of replicas, and of a new one that is filled, on every storage. */
import { assert, describe, it } from "@effect/vitest"
import * as ReplicationStatus from "@sluice/replication/ReplicationStatus"
import * as Wait from "@sluice/testing/Wait"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import { makeNotes } from "../../packages/replication/test/kit/Notes.ts"
import * as Regions from "./regions.ts"

type Region = Effect.Success<ReturnType<typeof Regions.start>>["replicas"][number]

const both = ({ incoming, outgoing }: ReplicationStatus.PairStatus) =>
  ReplicationStatus.isInStep(incoming) && ReplicationStatus.isInStep(outgoing)

export const statusTests = (
  name: string,
  storages: Effect.Effect<Readonly<Record<"eu" | "us" | "ap", Regions.Storage>>, never, Scope.Scope>
): void => {
  describe(`${name}: the status of replicas`, { timeout: 180_000 }, () => {
    it.live("says how far each is behind the other, in both directions, and never that all is well where that is unknown", () =>
      Effect.gen(function*() {
        let isBroken = true
        const notes = makeNotes("notes", {
          intercept: ({ event }) => isBroken && event.text === "held" ? Effect.fail(new Error("not yet")) : Effect.void
        })
        const { cut, heal, replicas, settled } = yield* Regions.start(notes, yield* storages)
        const [eu, us] = replicas as [Region, Region, Region]
        const pairs = ({ context, options }: Region) =>
          Effect.provideContext(ReplicationStatus.status(notes, options), context)
        const pair = (region: Region, replica: string) =>
          Effect.map(pairs(region), (all) => all.find((pair) => pair.replica === replica)!)
        const until = (
          what: string,
          region: Region,
          replica: string,
          holds: (pair: ReplicationStatus.PairStatus) => boolean
        ) => Wait.until(what, Effect.map(pair(region, replica), holds), { atMost: "60 seconds" })

        for (const id of ["a", "b", "c"]) yield* eu.notes(id).Add({ text: "x" })
        yield* settled(["a", "b", "c"], () => 1)
        for (const region of replicas) for (const id of region.remotes) yield* until("all", region, id, both)
        const { incoming, outgoing, problem } = yield* pair(eu, "us")
        assert.isUndefined(problem)
        assert.deepStrictEqual([incoming.passed, incoming.lag, outgoing.passed], [3, 0, 3])
        assert.deepStrictEqual([Duration.toMillis(outgoing.timeLag!), Duration.toMillis(incoming.eta!)], [0, 0])

        // one that does not go on is behind, seen from both sides
        yield* us.pause("eu")
        for (const id of ["a", "b"]) yield* eu.notes(id).Add({ text: "new" })
        yield* until("us to be paused", eu, "us", ({ outgoing }) => outgoing.state === "Paused" && outgoing.lag === 2)
        const behind = yield* pair(eu, "us")
        assert.isAbove(Duration.toMillis(behind.outgoing.timeLag!), 0)
        assert.isFalse(ReplicationStatus.isInStep(behind.outgoing))
        const there = yield* pair(us, "eu")
        assert.deepStrictEqual([there.incoming.state, there.incoming.lag], ["Paused", 2])
        yield* us.resume("eu")
        yield* until("us to go on", eu, "us", both)

        // one that cannot be reached is unknown
        yield* cut("eu", "us")
        yield* until("us to be away", eu, "us", ({ problem }) => problem !== undefined)
        const away = yield* pair(eu, "us")
        assert.deepStrictEqual(away.outgoing, {
          lag: undefined,
          timeLag: undefined,
          passed: undefined,
          waiting: undefined,
          isComplete: undefined,
          state: "Unknown"
        })
        assert.isUndefined(away.incoming.lag)
        assert.strictEqual(away.incoming.passed, 3 + 2)
        assert.isFalse(ReplicationStatus.isInStep(away.incoming) || ReplicationStatus.isInStep(away.outgoing))
        yield* until("ap to be as before", eu, "ap", both)
        yield* heal("eu", "us")
        yield* until("us to be back", eu, "us", both)

        // what waits is said at both ends
        yield* us.notes("a").Add({ text: "held" })
        yield* until("it to wait at eu", us, "eu", ({ outgoing }) => outgoing.lag === 0 && outgoing.waiting === 1)
        const held = yield* pair(eu, "us")
        assert.deepStrictEqual([held.incoming.waiting, held.incoming.lag, held.incoming.isComplete], [1, 0, false])
        assert.isFalse(ReplicationStatus.isInStep(held.incoming))
        isBroken = false
      }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None")))

    it.live("tells when a new one has everything that the others had", () =>
      Effect.gen(function*() {
        let isBroken = true
        const notes = makeNotes("notes", {
          intercept: ({ event }) => isBroken && event.text === "held" ? Effect.fail(new Error("not yet")) : Effect.void
        })
        const { cut, heal, replicas } = yield* Regions.start(notes, yield* storages)
        const [eu, us, ap] = replicas as [Region, Region, Region]
        for (const from of ["eu", "ap"]) yield* us.pause(from)
        const ids = Array.from({ length: 20 }, (_, i) => `n-${i}`)
        yield* Effect.forEach(ids, (id) => eu.notes(id).Add({ text: id === "n-3" ? "held" : "x" }), {
          concurrency: 8
        })
        yield* ap.notes("n-0").Add({ text: "of ap" })
        yield* cut("us", "ap")
        const filling = yield* Effect.forkChild(
          Effect.provideContext(ReplicationStatus.filled(notes, us.options), us.context),
          { startImmediately: true }
        )
        const isFilled = () => filling.pollUnsafe() !== undefined
        const pair = (id: string) =>
          Effect.map(
            Effect.provideContext(ReplicationStatus.status(notes, us.options), us.context),
            (pairs) => pairs.find(({ replica }) => replica === id)!.incoming
          )
        // how far it is
        yield* Wait.until(
          "what there is",
          Effect.map(pair("eu"), ({ lag, passed }) => lag !== undefined && lag >= 20 && passed === 0),
          { atMost: "60 seconds" }
        )
        assert.isFalse(isFilled())
        yield* us.resume("eu")
        yield* Wait.until(
          "all of eu but one",
          Effect.map(pair("eu"), ({ lag, waiting }) => lag === 0 && waiting === 1),
          { atMost: "60 seconds" }
        )
        // it waits for the one that is away
        assert.isFalse(isFilled())
        yield* us.resume("ap")
        yield* heal("us", "ap")
        yield* Wait.until(
          "all of ap",
          Effect.map(us.events("n-0"), (events) => events.some((event) => event.startsWith("ap"))),
          { atMost: "60 seconds" }
        )
        // and for the event that its entity does not take
        yield* Effect.sleep("1 second")
        assert.isFalse(isFilled())
        isBroken = false
        yield* Fiber.join(filling)
        for (const id of ids) assert.isAbove((yield* us.events(id)).length, 0)
      }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None")))
  })
}
