import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import type { Envelope } from "@sluice/core/Envelope"
import * as Handler from "@sluice/core/Handler"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import type { OffsetStore } from "@sluice/core/OffsetStore"
import * as Placement from "@sluice/core/Placement"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as ProjectionWorker from "@sluice/core/ProjectionWorker"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { after, Note, settle, start, storedPositions, test, write } from "./projectionKit.ts"

type Answer = readonly [workers: number, ...assigned: ReadonlyArray<number>]

/** A placement that says what it is told to. */
const makePlacement = () => {
  const asked: Array<number> = []
  const ended: Array<number> = []
  const answers = new Map<number, Queue.Queue<ReadonlySet<number>>>()
  const placement: Placement.Placement = {
    assigned: (_, workers) =>
      Stream.unwrap(Effect.gen(function*() {
        asked.push(workers)
        const queue = yield* Queue.unbounded<ReadonlySet<number>>()
        answers.set(workers, queue)
        return Stream.ensuring(Stream.fromQueue(queue), Effect.sync(() => ended.push(workers)))
      }))
  }
  const answer = (...[workers, ...assigned]: Answer) =>
    Effect.andThen(Queue.offer(answers.get(workers)!, new Set(assigned)), settle)
  const starting = <E, R>(projection: Projection.Projection<E, R>, ...first: Answer) =>
    Effect.gen(function*() {
      yield* Effect.forkScoped(start(projection))
      yield* settle
      yield* answer(...first)
    }).pipe(Effect.provideService(Placement.Placement, placement))
  return { answer, asked, ended, placement, starting }
}

/** A placement of two workers that notes when it is asked for its next set, and what is stored then. */
const makeAsked = Effect.gen(function*() {
  const sets = yield* Queue.unbounded<ReadonlySet<number>>()
  const context = yield* Effect.context<OffsetStore>()
  const asked: Array<ReadonlyArray<number>> = []
  const ask = Effect.andThen(
    Effect.tap(storedPositions("notes"), (positions) => Effect.sync(() => asked.push(positions))),
    Queue.take(sets)
  )
  const answer = (...assigned: ReadonlyArray<number>) => Effect.andThen(Queue.offer(sets, new Set(assigned)), settle)
  const placement: Placement.Placement = {
    assigned: (_, workers) =>
      workers === 2
        ? Stream.orDie(Stream.provideContext(Stream.fromEffectRepeat(ask), context))
        : Stream.concat(Stream.succeed(new Set([0])), Stream.never)
  }
  return { answer, asked, placement }
})

/** A projection of two workers, with one that has an event in hand until it may go on, and the other. */
const makeWaiting = () => {
  const goOn = Latch.makeUnsafe()
  const handled: Array<string> = []
  const handle = ({ event }: Envelope<string>) =>
    Effect.andThen(goOn.await, Effect.sync(() => void handled.push(event)))
  const projection = Source.journal(Note).pipe(
    Projection.atLeastOnce("notes", handle, { saveWithin: "1 hour" }),
    Projection.workers(2)
  )
  const slice = Slice.ofPersistenceId(EntityType.persistenceId(Note, "a"))
  const waiting = SliceRange.split(2).findIndex((range) => SliceRange.contains(range, slice))
  return { goOn, handled, other: 1 - waiting, projection, waiting }
}

/** A projection that says which of its workers begin and end. */
const makeLives = () => {
  const lives: Array<string> = []
  const projection = Source.journal(Note).pipe(
    Projection.exactlyOnce(
      "notes",
      Handler.scoped((range) =>
        Effect.as(
          Effect.acquireRelease(
            Effect.sync(() => lives.push(`${SliceRange.format(range)} begins`)),
            () => Effect.sync(() => lives.push(`${SliceRange.format(range)} ends`))
          ),
          () => Effect.void
        )
      )
    ),
    Projection.workers(4)
  )
  const since = () => lives.splice(0)
  return { projection, since }
}

const ranges = Effect.map(
  ProjectionStatus.status("notes"),
  (workers) => workers.map(({ range }) => SliceRange.format(range))
)

describe("Placement", () => {
  it.effect("has all workers in this process by default, and for good", () =>
    Effect.gen(function*() {
      const { assigned } = yield* Placement.Placement
      const seen: Array<ReadonlySet<number>> = []
      const fiber = yield* Effect.forkChild(
        Stream.runForEach(assigned("lengths", 3), (workers) => Effect.sync(() => seen.push(workers))),
        { startImmediately: true }
      )
      yield* Effect.yieldNow
      assert.deepStrictEqual(seen, [new Set([0, 1, 2])])
      assert.isUndefined(fiber.pollUnsafe())
    }))

  test(
    "has workers begin and end, and leaves alone those that stay",
    Effect.gen(function*() {
      const { answer, starting } = makePlacement()
      const { projection, since } = makeLives()
      yield* starting(projection, 4, 0, 1)
      assert.deepStrictEqual(since(), ["0-255 begins", "256-511 begins"])
      assert.deepStrictEqual(yield* ranges, ["0-255", "256-511"])
      yield* answer(4, 1, 2, 7)
      assert.deepStrictEqual(since().toSorted(), ["0-255 ends", "512-767 begins"])
      assert.deepStrictEqual(yield* ranges, ["256-511", "512-767"])
      yield* answer(4)
      assert.deepStrictEqual(since().toSorted(), ["256-511 ends", "512-767 ends"])
      assert.deepStrictEqual(yield* ranges, [])
      yield* answer(4, 3)
      assert.deepStrictEqual(since(), ["768-1023 begins"])
    })
  )

  test(
    "is asked for its next set, or for another number, once the last set is taken up, also while a worker has something in hand",
    Effect.gen(function*() {
      const { answer, asked, placement } = yield* makeAsked
      const { goOn, handled, other, projection, waiting } = makeWaiting()
      yield* Effect.forkScoped(Effect.provideService(start(projection), Placement.Placement, placement))
      yield* settle
      yield* answer(0, 1)
      yield* write("a", "one")
      yield* settle
      yield* answer(other)
      assert.lengthOf(asked, 3)
      yield* answer(waiting)
      assert.deepStrictEqual(yield* ranges, [SliceRange.format(SliceRange.split(2)[waiting]!)])
      yield* answer(other)
      yield* ProjectionManagement.scale("notes", 1)
      yield* settle
      assert.deepStrictEqual(yield* ranges, ["0-1023"])
      assert.deepStrictEqual(handled, [])
      yield* goOn.open
      yield* settle
      assert.deepStrictEqual(handled, ["one"])
    })
  )

  test(
    "is asked for a new number of workers before the old ones end, which follow it until it has answered",
    Effect.gen(function*() {
      const { answer, asked, ended, starting } = makePlacement()
      const { projection, since } = makeLives()
      yield* starting(projection, 4, 0, 1)
      since()
      yield* ProjectionManagement.scale("notes", 2)
      yield* settle
      assert.deepStrictEqual([asked, ended], [[4, 2], []])
      assert.deepStrictEqual(since(), [])
      yield* answer(4, 1)
      assert.deepStrictEqual(since(), ["0-255 ends"])
      // another command comes before there is an answer
      yield* ProjectionManagement.scale("notes", 1)
      yield* settle
      assert.deepStrictEqual([asked, ended], [[4, 2, 1], [2]])
      yield* answer(1, 0)
      assert.deepStrictEqual(since(), ["256-511 ends", "0-1023 begins"])
      assert.deepStrictEqual(ended, [2, 4])
      assert.deepStrictEqual(yield* ranges, ["0-1023"])
    })
  )

  test(
    "that takes its time leaves the process without workers until it has answered",
    Effect.gen(function*() {
      const { answer, placement } = makePlacement()
      const { projection, since } = makeLives()
      yield* Effect.forkScoped(Effect.provideService(start(projection), Placement.Placement, placement))
      yield* after(10_000)
      assert.deepStrictEqual([yield* ranges, since()], [[], []])
      yield* answer(4, 2)
      assert.deepStrictEqual([yield* ranges, since()], [["512-767"], ["512-767 begins"]])
    })
  )

  test(
    "that has not answered yet tells nobody that a process has handled its share",
    Effect.gen(function*() {
      const { answer, placement } = makePlacement()
      const { projection } = makeLives()
      yield* write("a", "one")
      yield* Effect.forkScoped(Effect.provideService(start(projection), Placement.Placement, placement))
      yield* after(10_000)
      assert.strictEqual((yield* Effect.flip(ProjectionStatus.lag("notes")))._tag, "ProjectionNotRunning")
      const waiting = yield* Effect.forkChild(ProjectionStatus.caughtUp("notes"))
      yield* after(60_000)
      assert.isUndefined(waiting.pollUnsafe())
      yield* answer(4)
      assert.strictEqual(yield* ProjectionStatus.lag("notes"), 0)
      yield* Fiber.join(waiting)
    })
  )

  test(
    "is waited for by whoever waits until a projection has caught up, until it has answered or the projection ends",
    Effect.gen(function*() {
      const { answer, placement } = makePlacement()
      const { projection } = makeLives()
      yield* write("a", "one")
      const scope = yield* Effect.scope
      const running = yield* Effect.forkIn(
        Projection.run(projection).pipe(Effect.provideService(Placement.Placement, placement)),
        scope
      )
      yield* settle
      const early = yield* Effect.forkChild(ProjectionStatus.caughtUp("notes"))
      yield* after(10_000)
      const late = yield* Effect.forkChild(Effect.flip(ProjectionStatus.caughtUp("notes")))
      yield* settle
      assert.deepStrictEqual([early.pollUnsafe(), late.pollUnsafe()], [undefined, undefined])
      yield* answer(4, 0, 1, 2, 3)
      yield* Fiber.join(early)
      assert.strictEqual(yield* ProjectionStatus.lag("notes"), 0)
      yield* Fiber.interrupt(late)
      yield* Fiber.interrupt(running)

      yield* Effect.scoped(Effect.gen(function*() {
        yield* Effect.forkScoped(
          Effect.provideService(start(projection), Placement.Placement, makePlacement().placement)
        )
        yield* after(10_000)
        const ending = yield* Effect.forkIn(Effect.flip(ProjectionStatus.caughtUp("notes")), scope)
        yield* settle
        return ending
      })).pipe(
        Effect.flatMap(Fiber.join),
        Effect.map((error) => assert.instanceOf(error, ProjectionStatus.ProjectionNotRunning))
      )
    })
  )

  test(
    "is followed again and again where its answer cannot be",
    Effect.gen(function*() {
      const { answer, placement } = makePlacement()
      const { projection, since } = makeLives()
      yield* Effect.forkScoped(Effect.provideService(start(projection), Placement.Placement, placement))
      yield* after(10_000)
      // somebody runs a worker by hand meanwhile
      const other = yield* Scope.make()
      const [range] = SliceRange.split(4)
      yield* ProjectionWorker.start(ProjectionWorker.make(projection, range!)).pipe(Scope.provide(other))
      yield* settle
      since()
      yield* answer(4, 0, 1)
      const waiting = yield* Effect.forkChild(ProjectionStatus.caughtUp("notes"))
      yield* after(5_000)
      assert.deepStrictEqual([since(), waiting.pollUnsafe()], [[], undefined])
      yield* Scope.close(other, Exit.void)
      yield* after(30_000)
      assert.deepStrictEqual(since(), ["0-255 ends", "0-255 begins", "256-511 begins"])
      yield* Fiber.join(waiting)
      assert.deepStrictEqual(yield* ranges, ["0-255", "256-511"])
    })
  )

  it.effect("that gives a process no workers is told of at the start, and the process has handled its share", () =>
    Effect.gen(function*() {
      const logged: Array<string> = []
      const logger = Logger.make(({ message }) => void logged.push(String(message)))
      const { answer, starting } = makePlacement()
      const { projection } = makeLives()
      yield* write("a", "1")
      yield* Effect.gen(function*() {
        yield* starting(projection, 4)
        yield* ProjectionStatus.caughtUp("notes")
        assert.deepStrictEqual([yield* ranges, yield* ProjectionStatus.lag("notes")], [[], 0])
        yield* answer(4, 0, 1, 2, 3)
        const waiting = yield* Effect.forkChild(ProjectionStatus.caughtUp("notes"))
        // to another process while somebody waits for it here
        yield* answer(4)
        yield* Fiber.join(waiting)
      }).pipe(Effect.scoped, Effect.provide(Logger.layer([logger])))
      assert.include(logged, "Runs projection 'notes': journal of note, exactly once, 4 workers, none of them here")
      assert.include(logged, "Projection 'notes' has 4 workers now, none of them here")
      assert.instanceOf(yield* Effect.flip(ProjectionStatus.lag("notes")), ProjectionStatus.ProjectionNotRunning)
    }).pipe(Effect.provide(Layer.merge(Layer.fresh(MemoryStorage.layer), ProjectionRegistry.layer))))

  it.effect("that takes its time is told of, and what it has the process run is once it has answered", () =>
    Effect.gen(function*() {
      const logged: Array<string> = []
      const logger = Logger.make(({ message }) => void logged.push(String(message)))
      const { answer, placement } = makePlacement()
      const { projection } = makeLives()
      yield* Effect.gen(function*() {
        yield* Effect.forkScoped(Effect.provideService(start(projection), Placement.Placement, placement))
        yield* after(10_000)
        assert.deepStrictEqual(logged, [
          "Still waits to start: the placement has not said yet which of its workers run here"
        ])
        yield* answer(4, 1)
        assert.deepStrictEqual(logged.slice(1), [
          "Runs projection 'notes': journal of note, exactly once, 4 workers, 1 of them here, of slices 256-511, from the beginning"
        ])
      }).pipe(Effect.provide(Logger.layer([logger])))
    }).pipe(Effect.provide(Layer.merge(Layer.fresh(MemoryStorage.layer), ProjectionRegistry.layer))))

  it.effect("that ends or dies is told of, and asked again, while workers go on", () =>
    Effect.gen(function*() {
      const { projection, since } = makeLives()
      const logged: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (logLevel === "Error") logged.push(String(message))
      })
      let asked = 0
      const placement: Placement.Placement = {
        assigned: () =>
          Stream.suspend(() => {
            asked++
            const all = Stream.succeed(new Set([0]))
            return asked === 1 ? all : Stream.concat(all, asked === 2 ? Stream.die("a bug") : Stream.never)
          })
      }
      yield* start(projection).pipe(
        Effect.provideService(Placement.Placement, placement),
        Effect.provide(Logger.layer([logger]))
      )
      yield* after(60_000)
      assert.deepStrictEqual([asked, logged.length], [3, 2])
      assert.include(logged[0], "placement")
      assert.deepStrictEqual(since(), ["0-255 begins"])
      assert.deepStrictEqual(yield* ranges, ["0-255"])
    }).pipe(Effect.provide(Layer.merge(Layer.fresh(MemoryStorage.layer), ProjectionRegistry.layer))))

  it.effect("that fails now and then, and answers in between, is asked again as soon after the last failure as after the first", () =>
    Effect.gen(function*() {
      let asked = 0
      const placement: Placement.Placement = {
        assigned: () =>
          Stream.suspend(() => {
            asked++
            const all = Stream.concat(
              Stream.succeed(new Set([0])),
              Stream.drain(Stream.fromEffect(Effect.sleep(10_000)))
            )
            // three failures in a row, and one every ten seconds thereafter
            return asked <= 3 ? Stream.die("a bug") : Stream.concat(all, Stream.die("a bug"))
          })
      }
      // it begins with the first answer
      yield* Effect.forkScoped(Effect.provideService(start(makeLives().projection), Placement.Placement, placement))
      yield* settle
      yield* after(200 + 400 + 800)
      assert.strictEqual(asked, 4)
      for (let times = 5; times < 12; times++) {
        yield* after(10_000)
        assert.strictEqual(asked, times - 1)
        yield* after(200)
        assert.strictEqual(asked, times)
      }
    }).pipe(
      Effect.provide(Layer.merge(Layer.fresh(MemoryStorage.layer), ProjectionRegistry.layer)),
      Effect.provide(Logger.layer([]))
    ))
})

/** Lets two processes share a storage: each has workers of its own. */
const inAnotherProcess = <A, E, R>(effect: Effect.Effect<A, E, R | Scope.Scope>) =>
  Effect.provideService(effect, ProjectionRegistry.ProjectionRegistry, ProjectionRegistry.make())

describe("a worker that is fenced", () => {
  it.effect("by one that has yet to learn that its slices are others' waits for a moment, and says nothing", () =>
    Effect.gen(function*() {
      const warnings: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (logLevel !== "Info" && logLevel !== "Debug") warnings.push(String(message))
      })
      const handled: Array<string> = []
      const of = (where: string) =>
        Source.journal(Note).pipe(
          Projection.exactlyOnce("notes", ({ event }) => Effect.sync(() => void handled.push(`${event} ${where}`))),
          Projection.workers(2)
        )
      const [here, there] = [makePlacement(), makePlacement()]
      yield* Effect.gen(function*() {
        yield* here.starting(of("here"), 2, 0, 1)
        yield* inAnotherProcess(there.starting(of("there"), 2))
        yield* write("a", "1")
        yield* settle
        // the other one has them already, and this one does not know that it has not
        yield* there.answer(2, 0, 1)
        for (const event of ["2", "3", "4"]) {
          yield* write("a", event)
          yield* after(100)
        }
        yield* here.answer(2)
        yield* write("a", "5")
        yield* after(1000)
      }).pipe(Effect.provide(Logger.layer([logger])))
      assert.deepStrictEqual(handled.map((text) => text[0]), ["1", "2", "3", "4", "5"])
      assert.deepStrictEqual([handled[0], handled[4]], ["1 here", "5 there"])
      assert.deepStrictEqual(warnings.filter((text) => text.includes("seems to run twice")), [])
    }).pipe(Effect.provide(Layer.merge(Layer.fresh(MemoryStorage.layer), ProjectionRegistry.layer))))
})
