import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import type { Envelope } from "@sluice/core/Envelope"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Placement from "@sluice/core/Placement"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { after, Note, settle, start, write } from "./projectionKit.ts"

interface Held {
  readonly process: string
  readonly range: SliceRange.SliceRange
  overdue: string | undefined
}

/** Processes that lease slices from each other, and have the workers that they are told. */
const makeProcesses = () => {
  const held = new Set<Held>()
  const answers = new Map<string, Queue.Queue<ReadonlySet<number>>>()
  const placementOf = (process: string): Placement.Placement => ({
    assigned: (_, workers) =>
      Stream.unwrap(Effect.map(Queue.unbounded<ReadonlySet<number>>(), (queue) => {
        answers.set(`${process} ${workers}`, queue)
        return Stream.fromQueue(queue)
      })),
    lease: (_, range) =>
      Effect.gen(function*() {
        const mine: Held = { process, range, overdue: undefined }
        yield* Effect.acquireRelease(Effect.sync(() => held.add(mine)), () => Effect.sync(() => held.delete(mine)))
        // of those that have asked before
        const others = () =>
          [...held].slice(0, [...held].indexOf(mine)).filter((other) =>
            other.process !== process && SliceRange.overlaps(other.range, range)
          )
        while (others().some(({ overdue }) => overdue === undefined)) yield* Effect.sleep("10 millis")
        return {
          overdue: others().map(({ overdue }) => overdue!),
          giveUp: (inHand) => Effect.sync(() => void (mine.overdue = inHand))
        }
      })
  })
  const answer = (process: string, workers: number, ...assigned: ReadonlyArray<number>) =>
    Effect.andThen(Queue.offer(answers.get(`${process} ${workers}`)!, new Set(assigned)), settle)
  const starting = <E, R>(
    process: string,
    projection: Projection.Projection<E, R>,
    ...assigned: ReadonlyArray<number>
  ) =>
    Effect.gen(function*() {
      yield* Effect.forkScoped(start(projection))
      yield* settle
      yield* answer(process, projection.workers, ...assigned)
    }).pipe(Effect.provideService(Placement.Placement, placementOf(process)))
  const there = ProjectionRegistry.make()
  const inAnotherProcess = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.provideService(effect, ProjectionRegistry.ProjectionRegistry, there)
  return { answer, held, inAnotherProcess, starting }
}

const [first, second] = SliceRange.split(2)
const idIn = (range: SliceRange.SliceRange) => {
  const ids = Array.from({ length: 1000 }, (_, i) => `${i}`)
  return ids.find((id) => SliceRange.contains(range, Slice.ofPersistenceId(EntityType.persistenceId(Note, id))))!
}
const a = idIn(first!)
const b = idIn(second!)

/** What the workers log, above information. */
const withLog = <A, E, R>(use: (said: ReadonlyArray<string>) => Effect.Effect<A, E, R>) => {
  const said: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    if (logLevel === "Warn" || logLevel === "Error") said.push(`${logLevel} ${String(message)}`)
  })
  return use(said).pipe(
    Effect.provide([Layer.fresh(MemoryStorage.layer), ProjectionRegistry.layer, Logger.layer([logger])])
  )
}

const deliveries = {
  "at most once": (handle: (envelope: Envelope<string>) => Effect.Effect<void>) =>
    Source.journal(Note).pipe(Projection.atMostOnce("notes", handle)),
  "at least once": (handle: (envelope: Envelope<string>) => Effect.Effect<void>) =>
    Source.journal(Note).pipe(Projection.atLeastOnce("notes", handle))
}

/** A handler that takes so long for "slow", and says what it does. */
const slowHandler = (millis: number, isInterruptible: boolean) => {
  const seen: Array<string> = []
  const handle = ({ event }: Envelope<string>) =>
    event !== "slow"
      ? Effect.sync(() => void seen.push(event))
      : Effect.sync(() => void seen.push("slow begins")).pipe(
        Effect.andThen(Effect.sleep(millis)),
        Effect.andThen(Effect.sync(() => void seen.push("slow ends"))),
        isInterruptible ? (handling) => handling : Effect.uninterruptible
      )
  return { handle, seen }
}

describe("slices that another process takes over", () => {
  for (const [name, deliver] of Object.entries(deliveries)) {
    for (const how of ["are assigned to it", "are divided anew"]) {
      it.effect(`${how} wait for the call in hand, and others do not, ${name}`, () =>
        withLog(() =>
          Effect.gen(function*() {
            const { handle, seen } = slowHandler(5_000, false)
            const projection = Projection.workers(2)(deliver(handle))
            const { answer, inAnotherProcess, starting } = makeProcesses()
            yield* starting("here", projection, 0, 1)
            yield* inAnotherProcess(starting("there", projection))
            yield* write(a, "slow")
            yield* settle
            assert.deepStrictEqual(seen, ["slow begins"])
            if (how === "are divided anew") {
              yield* ProjectionManagement.scale("notes", 4)
              yield* settle
              yield* answer("there", 4, 0, 1, 2, 3)
              yield* answer("here", 4)
            } else {
              yield* answer("there", 2, 0, 1)
              yield* answer("here", 2)
            }
            yield* write(a, "next")
            yield* write(b, "other")
            yield* after(20)
            assert.deepStrictEqual(seen, ["slow begins", "other"])
            yield* after(4_900)
            assert.deepStrictEqual(seen, ["slow begins", "other"])
            yield* after(1_000)
            assert.deepStrictEqual(seen, ["slow begins", "other", "slow ends", "next"])
          })
        ))
    }
  }
})

describe("what a worker still has in hand when its slices are another's", () => {
  for (const where of ["here", "there"]) {
    const scenario = (isInterruptible: boolean) =>
      Effect.gen(function*() {
        const { handle, seen } = slowHandler(60_000, isInterruptible)
        const projection = Source.journal(Note).pipe(Projection.atMostOnce("notes", handle), Projection.workers(2))
        const { answer, held, inAnotherProcess, starting } = makeProcesses()
        yield* starting("here", projection, 0, 1)
        yield* inAnotherProcess(starting("there", projection))
        yield* write(a, "slow")
        yield* settle
        yield* ProjectionManagement.scale("notes", 1)
        yield* settle
        yield* answer("there", 1, ...(where === "there" ? [0] : []))
        yield* answer("here", 1, ...(where === "here" ? [0] : []))
        yield* write(a, "next")
        const status = where === "here" ? ProjectionStatus.status("notes") : inAnotherProcess(
          ProjectionStatus.status("notes")
        )
        return { held, notice: Effect.map(status, ([worker]) => worker!.notice), seen }
      })

    it.effect(`is interrupted after 20 seconds, and the next worker, ${where}, begins with that`, () =>
      withLog((said) =>
        Effect.gen(function*() {
          const { notice, seen } = yield* scenario(true)
          yield* after(19_900)
          assert.deepStrictEqual(seen, ["slow begins"])
          yield* after(200)
          assert.deepStrictEqual(seen, ["slow begins", "next"])
          assert.isUndefined(yield* notice)
          assert.isTrue(said.some((text) => /^Warn Interrupts what it has in hand.*event 1 of 'note\|/.test(text)))
          yield* after(60_000)
          assert.isFalse(said.some((text) => text.startsWith("Error")))
        })
      ))

    it.effect(`is waited for no longer than 30 seconds by the next worker, ${where}, whose status says so`, () =>
      withLog((said) =>
        Effect.gen(function*() {
          const { held, notice, seen } = yield* scenario(false)
          yield* after(29_900)
          assert.deepStrictEqual(seen, ["slow begins"])
          yield* after(200)
          assert.deepStrictEqual(seen, ["slow begins", "next"])
          assert.match((yield* notice)!, /did not end in time: .*event 1 of 'note\|/)
          assert.isTrue(said.some((text) => /^Error Has not ended within 30000 ms.*event 1 of 'note\|/.test(text)))
          yield* after(30_000)
          assert.deepStrictEqual(seen, ["slow begins", "next", "slow ends"])
          assert.lengthOf([...held], 1)
        })
      ))
  }
})
