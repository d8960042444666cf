import type * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import type { HeartbeatStore } from "../../HeartbeatStore.ts"
import type { Placement, RangeLease } from "../../Placement.ts"
import { offsetKey, type SourceProjection } from "../../ProjectionDefinition.ts"
import type { ProjectionRegistry, RegisteredWorker } from "../../ProjectionRegistry.ts"
import * as SliceRange from "../../SliceRange.ts"
import { announce, covered } from "./announce.ts"
import { interruptAfter, overdueAfter } from "./handover.ts"
import { reportOn } from "./Heartbeats.ts"
import { annotationsOf, type Driven, end, newCommand, registered, run, type Shared } from "./worker.ts"
import { WorkerMemory } from "./WorkerMemory.ts"
import { WorkerMonitor } from "./WorkerMonitor.ts"

/** How long a worker waits for others to leave until it says so. */
const patience = "5 seconds"

/** A worker of the set. */
interface Member {
  readonly driven: Driven
  readonly registered: RegisteredWorker
  /** Is opened once it has left, or is overdue. */
  readonly left: Latch.Latch
  fiber: Fiber.Fiber<void> | undefined
  lease: RangeLease | undefined
  /** What it still had in hand when it was overdue. */
  overdue: string | undefined
}

/** What is done about a worker that stops, before it begins again. */
type Stopped = (cause: Cause.Cause<unknown>, resumed: Effect.Effect<void>) => Effect.Effect<void, never, any>

/** @internal What a set works with. */
export interface Options extends Pick<Driven, "projection" | "sources" | "store" | "management" | "isHandover"> {
  readonly context: Context.Context<any>
  readonly registry: ProjectionRegistry
  /** For how long the set is. */
  readonly scope: Scope.Scope
  /** Keeps slices from workers of other processes. */
  readonly lease: Placement["lease"]
}

/**
 * @internal
 * The workers of a projection in one of its sources in this process, which may change while they run. Whoever asks the registry sees the new ones in place of the old ones
 * at one moment. A new one begins once those have left that have had its slices.
 */
export class WorkerSet {
  readonly #options: Options
  #members: ReadonlyArray<Member>
  /** Those that end what they have in hand. */
  readonly #leaving = new Set<Member>()
  readonly #monitors = new Set<WorkerMonitor>()
  #isReported = false
  #running: { readonly shared: Shared; readonly stopped: Stopped } | undefined

  constructor(options: Options, ranges: ReadonlyArray<SliceRange.SliceRange>) {
    this.#options = options
    this.#members = ranges.map((range) => this.#make(range))
  }

  get projection(): SourceProjection<any, any> {
    return this.#options.projection
  }

  /** As they are in the registry, once they have joined it. */
  get registered(): ReadonlyArray<RegisteredWorker> {
    return this.#members.map(({ registered }) => registered)
  }

  /** Nobody runs any of them any more. */
  end(): void {
    for (const { driven: { monitor } } of [...this.#members, ...this.#leaving]) monitor.happened({ _tag: "Ended" })
  }

  /** Has other processes know how they are doing, for as long as the scope. */
  readonly report: Effect.Effect<void, never, HeartbeatStore | Scope.Scope> = Effect.suspend(() => {
    this.#isReported = true
    return Effect.acquireRelease(
      reportOn(this.registered),
      () => Effect.suspend(() => reportOn([], this.registered))
    )
  })

  /** Runs them. */
  begin(shared: Shared, stopped: Stopped): Effect.Effect<void, never, any> {
    this.#running = { shared, stopped }
    return Effect.forEach(this.#members, (member) => this.#run(member), { discard: true })
  }

  /** Has the ranges worked on, and nothing else. Workers whose range is among them go on. */
  change(ranges: ReadonlyArray<SliceRange.SliceRange>): Effect.Effect<void, never, any> {
    return Effect.suspend(() => {
      const wanted = new Map(ranges.map((range) => [SliceRange.format(range), range]))
      const stay: Array<Member> = []
      const old: Array<Member> = []
      for (const member of this.#members) {
        const isWanted = wanted.delete(SliceRange.format(member.driven.range))
        const members = isWanted ? stay : old
        members.push(member)
      }
      const added = Array.from(wanted.values(), (range) => this.#make(range))
      const [before, after] = [old, added].map((members) => members.map(({ registered }) => registered))
      return Effect.uninterruptible(Effect.gen({ self: this }, function*() {
        yield* Effect.onError(
          this.#options.registry.replace(before!, after!),
          () => Effect.sync(() => added.forEach(({ driven: { monitor } }) => this.#monitors.delete(monitor)))
        )
        this.#members = [...stay, ...added].toSorted((a, b) => a.driven.range.min - b.driven.range.min)
        for (const member of old) yield* this.#dismiss(member)
        if (this.#isReported) yield* reportOn(after!, before)
        if (this.#running === undefined) return
        for (const member of added) yield* this.#run(member)
      }))
    })
  }

  #make(range: SliceRange.SliceRange): Member {
    const { context, isHandover, management, projection, sources, store } = this.#options
    const driven: Driven = {
      projection,
      sources,
      range,
      store,
      management,
      monitor: new WorkerMonitor(offsetKey(projection), range, context, this.#monitors),
      memory: new WorkerMemory(),
      leave: Latch.makeUnsafe(),
      isHandover,
      lastRead: undefined,
      interrupted: undefined
    }
    return {
      driven,
      registered: registered(driven, context),
      left: Latch.makeUnsafe(),
      fiber: undefined,
      lease: undefined,
      overdue: undefined
    }
  }

  #dismiss(member: Member): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#leaving.add(member)
      member.driven.leave.openUnsafe()
      if (this.#running === undefined) this.#leave(member)
      return this.#leaving.has(member)
        ? Effect.asVoid(Effect.forkIn(Effect.interruptible(this.#limit(member)), this.#options.scope))
        : Effect.void
    })
  }

  /** Has a worker that is to leave be waited for no longer than there is time. */
  #limit(member: Member): Effect.Effect<void> {
    const { driven, fiber } = member
    const { monitor } = driven
    const limited = Effect.gen({ self: this }, function*() {
      yield* Effect.sleep(interruptAfter)
      yield* Effect.logWarning(
        `Interrupts what it has in hand after ${interruptAfter} ms, as its slices are another worker's: ${monitor.inHand}`
      )
      if (fiber !== undefined) yield* Effect.forkIn(Fiber.interrupt(fiber), this.#options.scope)
      yield* Effect.sleep(overdueAfter - interruptAfter)
      member.overdue = monitor.inHand
      yield* Effect.logError(
        `Has not ended within ${overdueAfter} ms, and cannot be interrupted: ${monitor.inHand}. ` +
          "The next worker of its slices begins beside it, and may handle later events before that is done"
      )
      if (member.lease !== undefined) yield* member.lease.giveUp(monitor.inHand)
      this.#leave(member)
    })
    return Effect.annotateLogs(Effect.raceFirst(member.left.await, limited), annotationsOf(driven))
  }

  #leave(member: Member): void {
    const { driven: { monitor }, left } = member
    if (left.isOpen()) return
    this.#leaving.delete(member)
    this.#monitors.delete(monitor)
    monitor.happened({ _tag: "Ended" })
    left.openUnsafe()
  }

  #run(member: Member): Effect.Effect<void, never, any> {
    return Effect.suspend(() => {
      const { driven } = member
      const before = Array.from(this.#leaving).filter((other) => SliceRange.overlaps(other.driven.range, driven.range))
      const work = this.#awaitTurn(driven, before).pipe(
        Effect.andThen(Effect.sync(() => {
          driven.monitor.beganBeside(before.flatMap(({ overdue }) => overdue ?? []))
        })),
        Effect.andThen(this.#leased(member, this.#work(driven))),
        // at the end of the projection those that are not to leave stay until they leave the registry
        Effect.onExit(() => Effect.sync(() => driven.leave.isOpen() ? this.#leave(member) : undefined))
      )
      return Effect.map(
        Effect.forkIn(Effect.interruptible(work), this.#options.scope),
        (fiber) => void (member.fiber = fiber)
      )
    })
  }

  /** Works once no other process has any of its slices, unless the worker is to leave before. */
  #leased(member: Member, work: Effect.Effect<void, never, any>): Effect.Effect<void, never, any> {
    const { driven } = member
    const { lease } = this.#options
    if (lease === undefined) return work
    const tell = Effect.andThen(
      Effect.sync(() => driven.monitor.waitsForOthers(true)),
      Effect.logWarning("Still waits to start: a worker of another process has some of its slices")
    )
    return Effect.gen(function*() {
      // asked for once: each time is a lease of its own, for as long as the scope
      const leased = yield* Effect.raceAllFirst([
        lease(offsetKey(driven.projection), driven.range),
        driven.leave.await,
        Effect.andThen(Effect.delay(tell, patience), Effect.never)
      ])
      driven.monitor.waitsForOthers(false)
      if (leased === undefined) return
      member.lease = leased
      driven.monitor.beganBeside(leased.overdue)
      yield* work
    }).pipe(Effect.scoped, Effect.annotateLogs(annotationsOf(driven)))
  }

  /** Ends once others have left, or the worker is to leave itself: whoever has its slices next waits for those others as well. */
  #awaitTurn(driven: Driven, others: ReadonlyArray<Member>): Effect.Effect<void> {
    if (others.length === 0) return Effect.void
    const turn = Effect.raceFirst(
      Effect.forEach(others, ({ left }) => left.await, { discard: true }),
      driven.leave.await
    )
    const tell = Effect.suspend(() => {
      const ranges = others.filter((other) => this.#leaving.has(other)).map(({ driven: { range } }) => range)
      const whom = ranges.length === 1 ? "the worker" : "one of the workers"
      return Effect.logWarning(
        `Still waits to start: ${whom} before it, of slices ${covered(ranges)}, has not ended what was in hand`
      )
    })
    return Effect.timeoutOrElse(turn, { duration: patience, orElse: () => Effect.andThen(tell, turn) }).pipe(
      Effect.annotateLogs(annotationsOf(driven))
    )
  }

  /** Ends once the worker has left. */
  #work(driven: Driven): Effect.Effect<void, never, any> {
    const { shared, stopped } = this.#running!
    const resumed = newCommand(driven, shared.commands)
    return Effect.catchCause(run(driven, shared), (cause) => stopped(cause, resumed)).pipe(
      Effect.repeat({ until: () => driven.leave.isOpen() }),
      Effect.asVoid,
      Effect.onExit(() => end(driven))
    )
  }

  /** Says what runs, once its workers know where they begin, and of how many workers a placement has chosen them, if one has. */
  announce(placed?: number): Effect.Effect<void> {
    return Effect.suspend(() =>
      Effect.forEach(
        this.#members,
        ({ driven: { monitor } }) =>
          monitor.until(({ revision, state }) => revision !== undefined || state === "Paused" || state === "Retired"),
        { concurrency: "unbounded" }
      )
    ).pipe(
      Effect.flatMap((statuses) =>
        statuses.some(({ state }) => state === "Ended")
          ? Effect.void
          : announce(this.projection, statuses, placed)
      )
    )
  }
}
