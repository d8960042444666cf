/**
 * What the simulator runs: versions of a projection, each in processes of its own, which are built beside the one that is live, take its place, are cancelled,
 * scaled and rewound, while events come, and while processes are killed at every step.
 */
import * as EntityType from "@sluice/core/EntityType"
import type * as Envelope from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import type * as Offset from "@sluice/core/Offset"
import * as Placement from "@sluice/core/Placement"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionVersion from "@sluice/core/ProjectionVersion"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Auditor from "@sluice/testing/Auditor"
import * as FaultPlan from "@sluice/testing/FaultPlan"
import * as SimulatedDatabase from "@sluice/testing/SimulatedDatabase"
import * as Simulation from "@sluice/testing/Simulation"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import { allTaken, once } from "./endings.ts"
import { makeLeases } from "./placement.ts"
import { Note } from "./sources.ts"
import { upTo } from "./upTo.ts"

const Task = EntityType.make("task", { codec: EventCodec.string })

const version = Schema.Literals([1, 2, 2, 3])

/** Where a process of a version is killed: in the middle of handling, of what leads readers to it, and before and after it drops another one. */
const Crash = Schema.Struct({
  version,
  at: Schema.Literals(["building", "switching", "switching", "dropping", "dropped"]),
  /** At the nth time. */
  nth: Schema.Literals([1, 1, 2, 5]),
  lasts: upTo(3000)
})

type CrashPoint = typeof Crash.Type.at

/** What somebody does to a version that is complete by all that was seen, just before it takes its place, or while it does. Either comes first, as the database has it. */
const Rival = Schema.Struct({
  version,
  does: Schema.Literals(["cancel", "pause", "rewind"]),
  when: Schema.Literals(["before", "before", "meanwhile"]),
  /** At the nth time. */
  nth: Schema.Literals([1, 1, 2])
})

/** What a person does, so many milliseconds after what was done before. */
const Step = Schema.Union([
  ...Array.from({ length: 5 }, () =>
    Schema.TaggedStruct("Append", {
      after: upTo(300),
      source: upTo(1),
      entity: upTo(5),
      events: upTo(3),
      kind: Schema.Literals(["", "", "", "poison"])
    })),
  Schema.TaggedStruct("Cancel", { after: upTo(2000), version: Schema.Literals([1, 2, 2, 3, "all"]) }),
  Schema.TaggedStruct("Scale", { after: upTo(800), version, to: Schema.Literals([1, 2, 3, 7, "asInCode"]) }),
  /** Each worker goes to another process. */
  Schema.TaggedStruct("Move", { after: upTo(800) }),
  Schema.TaggedStruct("Pause", { after: upTo(800), version, lasts: upTo(3000) }),
  Schema.TaggedStruct("Rewind", {
    after: upTo(800),
    version,
    source: upTo(1),
    ago: Schema.Literals(["all", 200, 1000])
  }),
  Schema.TaggedStruct("Rewind", {
    after: upTo(800),
    version,
    source: upTo(1),
    ago: Schema.Literals(["all", 200, 1000])
  }),
  /** What was poison is not any more. */
  Schema.TaggedStruct("Repair", { after: upTo(800) }),
  /** Has the handler handle what was put aside. */
  Schema.TaggedStruct("Redeliver", { after: upTo(800), version })
])

export type Step = typeof Step.Type

export interface Versions {
  readonly faults: FaultPlan.FaultPlan
  readonly crashes: ReadonlyArray<typeof Crash.Type>
  readonly people: ReadonlyArray<ReadonlyArray<Step>>
  /** When each version comes, in milliseconds after the one before, in how many processes, and how many milliseconds later those are gone, if ever. */
  readonly deployments: ReadonlyArray<typeof Deployment.Type>
  readonly sources: number
  readonly workers: number
  readonly delivery: "ExactlyOnce" | "AtLeastOnce"
  readonly recovery: "stop" | "putAside"
  /** How many events behind a version takes the place of the one before. */
  readonly lag: number
  /** For how many milliseconds one that is retired is kept. */
  readonly dropAfter: number
  /** How often each version fails to lead readers to it. */
  readonly failures: number
  readonly isStrict: boolean
  /** How long the handler takes at most, in milliseconds. */
  readonly slowness: number
  readonly isLossy: boolean
  readonly latency: number
  readonly rivals: ReadonlyArray<typeof Rival.Type>
}

const Deployment = Schema.Struct({
  after: Schema.Literals([0, 300, 2000, 4000]),
  processes: Schema.Literals([1, 1, 2]),
  stays: Schema.Literals(["forever", "forever", 3000])
})

export const versions: Arbitrary.Arbitrary<Versions> = Arbitrary.map(
  Arbitrary.all({
    faults: Arbitrary.array(Arbitrary.schema(FaultPlan.Fault), { maxLength: 4 }),
    crashes: Arbitrary.array(Arbitrary.schema(Crash), { maxLength: 3 }),
    people: Arbitrary.array(Arbitrary.array(Arbitrary.schema(Step), { maxLength: 16 }), { minLength: 1, maxLength: 2 }),
    deployments: Arbitrary.array(Arbitrary.schema(Deployment), { minLength: 2, maxLength: 3 }),
    sources: Arbitrary.schema(Schema.Literals([1, 1, 2])),
    workers: Arbitrary.schema(Schema.Literals([1, 2, 4])),
    delivery: Arbitrary.schema(Schema.Literals(["ExactlyOnce", "ExactlyOnce", "AtLeastOnce"])),
    recovery: Arbitrary.schema(Schema.Literals(["stop", "putAside"])),
    lag: Arbitrary.schema(Schema.Literals([0, 0, 2])),
    dropAfter: Arbitrary.schema(Schema.Literals([0, 2000])),
    failures: Arbitrary.schema(Schema.Literals([0, 0, 1, 3])),
    isStrict: Arbitrary.schema(Schema.Literals([true, true, false])),
    slowness: Arbitrary.schema(Schema.Literals([0, 20, 200])),
    isLossy: Arbitrary.schema(Schema.Boolean),
    latency: Arbitrary.schema(Schema.Literals([0, 2, 30])),
    rivals: Arbitrary.array(Arbitrary.schema(Rival), { maxLength: 2 })
  }),
  // how long ago a version was retired is so by the clock of the database
  (input): Versions => ({ ...input, faults: input.faults.filter(({ _tag }) => _tag !== "DatabaseClock") })
)

const of = "notes"

const nameOf = (version: number): string => ProjectionVersion.nameOf({ of, version })

const recoveries = {
  stop: RecoveryStrategy.retryAndFail({ retries: 2, delay: "500 millis" }),
  putAside: RecoveryStrategy.retryAndDeadLetter({ retries: 1, delay: "100 millis" })
}

/** Some are in one slice. */
const ids = ["ant", "nha", "bee", "cow", "dog", "fox"]

/** How long it may take after the last fault until all is as it is to be. */
const patience = "3 minutes"

/** How soon a version that comes when nothing else happens takes the place of the one before, and that is dropped, in milliseconds. */
const promptness = 20_000

/** The journal, which is read with what `noted` is told of where it ends whenever it is asked for all of that. */
const sourceOf = (
  type: EntityType.EntityType<string>,
  noted: (key: string, heads: Offset.Offsets) => void
): Source.Source<string, any, any> => {
  const { provider } = Source.journal(type)
  return Source.make({
    ...provider,
    onReplaced: "rewind",
    heads: (range) =>
      Effect.tap(provider.heads(range), (heads) =>
        Effect.sync(() => {
          // workers ask for the heads of their own slices
          if (range === SliceRange.full) noted(provider.key, heads)
        }))
  })
}

const rowOf = (
  version: number,
  { persistenceId, sequenceNumber }: Pick<Envelope.Place, "persistenceId" | "sequenceNumber">
) => `${version} ${persistenceId} ${sequenceNumber}`

export const run = (input: Versions): Effect.Effect<void, unknown, Simulation.Simulation> =>
  Effect.gen(function*() {
    const { delivery, deployments, dropAfter, faults, isLossy, isStrict, lag, latency, people, recovery, slowness } =
      input
    const database = yield* SimulatedDatabase.make("database", { lossy: isLossy, latency })
    const auditor = yield* Auditor.make({ journal: database })
    /** What versions have written of events, and which version readers are led to. */
    const rows = SimulatedDatabase.table<Envelope.Place>(database)
    const pointer = SimulatedDatabase.table<number>(database)
    /** The processes of a version know of no other one. */
    const leases = yield* Effect.forEach([...deployments, "last"], () => makeLeases(isStrict))
    const { elapsed } = yield* Simulation.Simulation
    let isRepaired = false
    let handled = 0
    const acting = yield* Queue.unbounded<typeof Rival.Type>()
    const failures = new Map<number, number>()

    const crashes = input.crashes.map((crash) => ({ ...crash, left: crash.nth }))
    const processes: Array<{ readonly version: number; readonly process: Simulation.Process }> = []
    const dead: Array<{ readonly process: Simulation.Process; readonly until: number }> = []
    /** Ends the process of whoever comes there, if it is to be. */
    const dieAt = (i: number, version: number, at: CrashPoint): Effect.Effect<void> =>
      Effect.flatMap(elapsed, (now) => {
        const due = crashes.find((crash) => crash.version === version && crash.at === at && --crash.left === 0)
        if (due === undefined) return Effect.void
        const { process } = processes[i]!
        dead.push({ process, until: now + due.lasts })
        return Effect.andThen(process.kill, Effect.never)
      })
    const rivals = input.rivals.map((rival) => ({ ...rival, left: rival.nth }))
    /** Has those act who do so now, and takes long enough for that. */
    const meetRivals = (version: number, when: "before" | "meanwhile"): Effect.Effect<void> =>
      Effect.suspend(() => {
        const due = rivals.filter((rival) => rival.version === version && rival.when === when && --rival.left === 0)
        for (const rival of due) Queue.offerUnsafe(acting, rival)
        return due.length === 0 ? Effect.void : Effect.sleep(20 + 10 * latency)
      })
    const withRivals = (
      management: ProjectionManagement.ProjectionManagement["Service"]
    ): ProjectionManagement.ProjectionManagement["Service"] => ({
      ...management,
      complete: (id, isComplete, switching, issue) =>
        Effect.andThen(meetRivals(id.version, "before"), management.complete(id, isComplete, switching, issue))
    })
    const revive = Effect.flatMap(elapsed, (now) =>
      Effect.forEach(dead.filter(({ until }) => until <= now), (one) => {
        dead.splice(dead.indexOf(one), 1)
        return one.process.start
      }, { discard: true }))
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(20), revive)))

    /** The version as the process has it. */
    const make = (version: number, i: number): Projection.Projection<unknown, any> => {
      const asked = new Map<string, Array<Offset.Offsets>>()
      const noted = (key: string, heads: Offset.Offsets) => {
        const all = asked.get(key) ?? []
        asked.set(key, all)
        all.push(heads)
      }
      const write = (envelope: Envelope.Envelope<string>) =>
        Effect.gen(function*() {
          if (!isRepaired && envelope.event.includes("poison")) return yield* Effect.fail("poison")
          if (slowness > 0) yield* Effect.sleep(++handled * 7 % slowness)
          yield* rows.set(rowOf(version, envelope), envelope)
          yield* dieAt(i, version, "building")
        })
      /** What is there while nobody else is, as the version is about to be live. */
      const isComplete = Effect.gen(function*() {
        const name = nameOf(version)
        for (const key of keysOf(version)) {
          const letters = yield* database.inspect(
            ProjectionManagement.ProjectionManagement.use((_) => _.listLetters(key, undefined, 1))
          )
          if (letters.length > 0) {
            return yield* Simulation.violate("a version with dead letters takes no place", JSON.stringify(letters))
          }
        }
        if (yield* database.inspect(ProjectionManagement.isPaused(name))) {
          return yield* Simulation.violate("a version that is paused takes no place", name)
        }
        const missing = (yield* auditor.unhandled(name)).filter(({ persistenceId, position, slice }) => {
          // where a look has failed, one before the last two counts
          const heads = asked.get(`journal:${persistenceId.split("|")[0]}`)?.at(-3)
          return position! <= (heads?.get(slice)?.position ?? 0)
        })
        if (missing.length > lag) {
          const [first] = missing
          const text = `'${name}' lacks ${missing.length}, such as event ${first!.sequenceNumber} of '${
            first!.persistenceId
          }'`
          return yield* Simulation.violate("a version that is complete takes the place", text)
        }
      })
      const lead = Effect.gen(function*() {
        yield* isComplete
        const before = yield* pointer.get("live")
        if (before !== undefined && before >= version) {
          return yield* Simulation.violate("readers go on to later versions", `from ${before} to ${version}`)
        }
        yield* pointer.set("live", version)
        yield* meetRivals(version, "meanwhile")
        yield* dieAt(i, version, "switching")
        const failed = failures.get(version) ?? 0
        failures.set(version, failed + 1)
        if (failed < input.failures) return yield* Effect.fail("no such view")
      })
      const drop = Effect.fnUntraced(function*(old: number) {
        yield* Effect.orDie(mayBeDropped(old))
        yield* dieAt(i, version, "dropping")
        for (const [key] of yield* rows.rows) if (key.startsWith(`${old} `)) yield* rows.set(key, undefined)
        yield* dieAt(i, version, "dropped")
      })
      const deliver = delivery === "ExactlyOnce"
        ? Projection.exactlyOnce(of, write)
        : Projection.atLeastOnce(of, write, { saveAfter: 3, saveWithin: "200 millis" })
      const sources = [Note, Task].slice(0, input.sources).map((type) => sourceOf(type, noted))
      return auditor.projection(
        Source.mergeAll(sources as [typeof sources[0]]).pipe(
          deliver as (sources: Source.Sources<string, any, any>) => Projection.Projection<any, any>,
          Projection.workers(input.workers),
          Projection.recovery(recoveries[recovery]),
          Projection.version(version, { switch: lead, drop, lag, dropAfter })
        )
      )
    }
    const keysOf = (version: number) =>
      [Note, Task].slice(0, input.sources).map(({ name }) => ({
        projection: nameOf(version),
        source: Journal.sourceKey(name)
      }))

    const stored = database.inspect(
      Effect.orDie(ProjectionManagement.ProjectionManagement.use(({ versions }) => versions(of)))
    )
    const historyOf = (version: number) =>
      database.inspect(Effect.orDie(
        ProjectionManagement.ProjectionManagement.use(({ history }) => history(nameOf(version), undefined, 1000))
      ))
    /** When the simulation has begun, by the clock of the database, which the processes' own need not agree with. */
    const begun = (yield* database.inspect(Journal.Journal.use(({ now }) => now))) - (yield* elapsed) * 1000
    /** A version is dropped once it was retired for long enough. */
    const mayBeDropped = Effect.fnUntraced(function*(old: number) {
      const found = (yield* stored).find(({ version }) => version === old)
      if (found?.phase === "Dropped") return
      if (found?.phase !== "Retired") {
        return yield* Simulation.violate("what is dropped is retired", `version ${old} is ${found?.phase}`)
      }
      const commands = yield* historyOf(old)
      const retired = commands.find(({ command }) => command === "Switch" || command === "Cancel")
      const millis = (begun + (yield* elapsed) * 1000 - retired!.at) / 1000
      if (millis < dropAfter) {
        return yield* Simulation.violate(
          "what is retired is kept for a while",
          `version ${old} is dropped after ${millis} ms`
        )
      }
    })

    /** What a reader sees at one moment. */
    const read = Effect.gen(function*() {
      const found = yield* ProjectionManagement.ProjectionManagement.use(({ versions }) => versions(of))
      const live = found.filter(({ phase }) => phase === "Live").map(({ version }) => version)
      const led = (yield* pointer.rows).get("live")
      if (live.length > 1 || live[0] !== led) {
        return yield* Simulation.violate(
          "readers are led to the version that is live",
          `to ${led}, and ${live.join()} is`
        )
      }
      const all = new Set((yield* rows.rows).keys())
      for (const { phase, projection, version } of found) {
        if (!ProjectionVersion.isAtWork(phase) || delivery !== "ExactlyOnce") continue
        const expected = new Set((yield* auditor.handled(projection)).map((place) => rowOf(version, place)))
        const own = [...all].filter((row) => row.startsWith(`${version} `))
        const wrong = [...own, ...expected].filter((row) => !expected.has(row) || !all.has(row))
        if (wrong.length > 0) {
          return yield* Simulation.violate(
            "a version is whole at any moment",
            `${projection}, ${phase}: ${wrong.slice(0, 5).join(", ")}`
          )
        }
      }
    })
    const reading = Effect.orDie(database.inspect(Journal.transaction(read)))
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(70), reading)))

    const serve = (version: number, i: number) =>
      Effect.gen(function*() {
        const { alive, placement } = yield* leases[version - 1]!.join(i)
        return yield* Effect.provideService(
          Effect.all([alive, Layer.launch(Projection.layer(make(version, i)))], { concurrency: "unbounded" }),
          Placement.Placement,
          placement
        )
      })
    const until = (time: number) => Effect.flatMap(elapsed, (now) => Effect.sleep(Math.max(0, time - now)))
    const deploy = (version: number, from: number, to: number) =>
      Effect.gen(function*() {
        const i = processes.length
        const program = Effect.gen(function*() {
          yield* until(from)
          const serving = serve(version, i)
          yield* to === Infinity ? serving : Effect.raceFirst(serving, until(to))
        })
        const process = yield* Simulation.process(
          `version-${version}-${i}`,
          program.pipe(
            Effect.updateService(ProjectionManagement.ProjectionManagement, withRivals),
            Effect.provide(database.layer)
          )
        )
        processes.push({ version, process })
      })
    // those that a person commands before they come
    const known = deployments.map((_, i) => make(i + 1, 0))
    let from = 0
    for (const [at, { after, processes, stays }] of deployments.entries()) {
      from += at === 0 ? 0 : after
      const isLast = at === deployments.length - 1
      const to = isLast || stays === "forever" ? Infinity : from + stays
      for (let n = 0; n < processes; n++) yield* deploy(at + 1, from, to)
    }

    const append = (source: number, entity: number, events: ReadonlyArray<string>) =>
      Journal.append([Note, Task][source % input.sources]!, {
        id: ids[entity % ids.length]!,
        events: events as [string, ...Array<string>]
      })
    const rewind = (version: number, source: number, ago: "all" | number) =>
      Effect.gen(function*() {
        const now = yield* Journal.Journal.use(({ now }) => now)
        const since = ago === "all" ? 0 : now - ago * 1000
        const key = keysOf(version)[source % input.sources]!
        const type = key.source.slice(Journal.sourceKey("").length)
        // written outside of any transaction, it may be there still, or again
        const undo = Effect.flatMap(rows.rows, (all) =>
          Effect.forEach(all, ([row, { persistenceId, timestamp }]) =>
            row.startsWith(`${version} `) && persistenceId.startsWith(`${type}|`) && timestamp >= since
              ? rows.set(row, undefined)
              : Effect.void, { discard: true }))
        yield* Projection.rewind(
          known[version - 1]!,
          ago === "all" ? "beginning" : { since: Timestamp.make(since) },
          { undo, source: key.source }
        )
      })
    const take = (step: Step, text: string): Effect.Effect<unknown, unknown, any> => {
      switch (step._tag) {
        case "Append":
          return append(
            step.source,
            step.entity,
            Array.from({ length: step.events + 1 }, (_, i) => `${text}-${i}${step.kind}`)
          )
        case "Cancel":
          return ProjectionManagement.cancelRebuild(step.version === "all" ? of : nameOf(step.version))
        case "Scale":
          return ProjectionManagement.scale(nameOf(step.version), step.to)
        case "Move":
          return Effect.forEach(leases, ({ move }) => move, { discard: true })
        case "Pause":
          return Effect.gen(function*() {
            yield* ProjectionManagement.pause(nameOf(step.version))
            yield* Effect.sleep(step.lasts)
            yield* ProjectionManagement.resume(nameOf(step.version))
          })
        case "Rewind":
          return step.version > known.length ? Effect.void : rewind(step.version, step.source, step.ago)
        case "Repair":
          return Effect.sync(() => isRepaired = true)
        case "Redeliver": {
          const projection = known[step.version - 1]
          return projection === undefined ? Effect.void : Projection.handleDeadLetters(projection)
        }
      }
    }
    const left = people.map((steps) => [...steps])
    const taking = (i: number) =>
      Effect.gen(function*() {
        for (let step = left[i]!.shift(); step !== undefined; step = left[i]!.shift()) {
          yield* Effect.sleep(step.after)
          yield* Effect.ignore(take(step, `${i}-${left[i]!.length}`))
        }
      })
    const persons: Array<Simulation.Process> = []
    for (const i of people.keys()) {
      persons.push(yield* Simulation.process(`person-${i}`, Effect.provide(taking(i), database.layer)))
    }

    const rivalling = Effect.gen(function*() {
      const { does, version } = yield* Queue.take(acting)
      const act = does === "cancel"
        ? take({ _tag: "Cancel", after: 0, version }, "")
        : does === "pause"
        ? take({ _tag: "Pause", after: 0, version, lasts: 1000 }, "")
        : take({ _tag: "Rewind", after: 0, version, source: 0, ago: "all" }, "")
      yield* Effect.ignore(act)
    })
    yield* Simulation.process("rival", Effect.provide(Effect.forever(rivalling), database.layer))

    yield* FaultPlan.run(faults, {
      processes: [...processes.map(({ process }) => process), ...persons],
      databases: [database]
    })
    yield* Simulation.note("no more faults")
    yield* allTaken("people go on", left, patience)
    // a step may have been begun, and a version be yet to come
    yield* Effect.sleep("12 seconds")
    crashes.splice(0)
    rivals.splice(0)
    yield* Effect.repeat(Effect.sleep("100 millis"), { while: () => dead.length > 0 })
    yield* Simulation.note("all is repaired")
    isRepaired = true
    const handleLetters = Effect.gen(function*() {
      for (const projection of known) {
        yield* Effect.ignore(ProjectionManagement.resume(projection.name))
        yield* Effect.ignore(Projection.handleDeadLetters(projection))
      }
    })
    yield* once(database, "redelivery", handleLetters)

    const wasCancelled = (version: number) =>
      Effect.map(historyOf(version), (commands) => commands.some(({ command }) => command === "Cancel"))
    /** What the versions are not as they are to be. */
    const problem = Effect.gen(function*() {
      const found = yield* stored
      const runs = new Set<number>()
      for (const { process, version } of processes) if (yield* process.isRunning) runs.add(version)
      const live = found.find(({ phase }) => phase === "Live")?.version
      for (const version of runs) {
        const phase = found.find((one) => one.version === version)?.phase
        const isCancelled = phase !== undefined && (yield* wasCancelled(version))
        // a later one may have come before it
        const neverBegins = phase === "Dropped" && found.some((later) => later.version > version)
        if (
          version > (live ?? 0) && !isCancelled && !neverBegins
        ) return `version ${version} is ${phase}, and ${live} live`
      }
      for (const { phase, version } of found) {
        const isCancelled = yield* wasCancelled(version)
        if (isCancelled && phase === "Live") {
          return yield* Simulation.violate("what is cancelled is gone", `version ${version} is live`)
        }
        const isOver = isCancelled || version < (live ?? 0)
        // somebody has to be there who drops it
        const canBeDropped = runs.has(version) || live !== undefined && runs.has(live)
        if (isOver && canBeDropped && phase !== "Dropped") {
          return `version ${version} is ${phase}, and ${live} live`
        }
      }
      return undefined
    })
    const comesTrue = (millis: number) =>
      Effect.gen(function*() {
        const until = (yield* elapsed) + millis
        for (let wrong = yield* problem; wrong !== undefined; wrong = yield* problem) {
          if ((yield* elapsed) > until) return yield* Simulation.violate("versions become as they are to be", wrong)
          yield* Effect.sleep("500 millis")
        }
      })
    yield* comesTrue(180_000)
    /** Of those that are dropped nothing is there. */
    const isGone = Effect.gen(function*() {
      for (const { phase, projection, version } of yield* stored) {
        if (phase !== "Dropped") continue
        const listed = yield* database.inspect(ProjectionManagement.list)
        if (listed.some((key) => key.projection === projection)) {
          return yield* Simulation.violate("what is dropped is gone", `'${projection}' is listed`)
        }
        const row = (yield* rows.rows).keys().find((row) => row.startsWith(`${version} `))
        if (row !== undefined && delivery === "ExactlyOnce") {
          return yield* Simulation.violate("what is dropped is gone", row)
        }
      }
    })
    yield* isGone

    yield* Simulation.note("a last version, and nothing else")
    const last = deployments.length + 1
    yield* deploy(last, 0, Infinity)
    const writing = Effect.forEach(
      Array.from({ length: 60 }, (_, i) => i),
      (i) => Effect.andThen(append(i % 2, i, [`quiet-${i}`]), Effect.sleep("250 millis")),
      { discard: true }
    )
    yield* once(database, "last person", writing)
    const isLive = Effect.map(stored, (found) => found.at(-1)?.version === last && found.at(-1)?.phase === "Live")
    if (slowness < 200 && !(yield* isLive)) {
      return yield* Simulation.violate("a version takes its place while events come", JSON.stringify(yield* stored))
    }
    yield* comesTrue(promptness + dropAfter)
    if (!(yield* isLive)) return yield* Simulation.violate("a version takes its place", JSON.stringify(yield* stored))
    yield* isGone
    // one that never began is known to the auditor as well
    const declaring = ProjectionManagement.ProjectionManagement.use(({ declare }) =>
      Effect.forEach(known, (_, i) => declare({ of, version: i + 1 }), { discard: true })
    )
    yield* once(database, "declaring", declaring)
    yield* auditor.settled({ within: promptness })
    yield* reading
    yield* Effect.forEach(processes, ({ process }) => process.stop, { discard: true })
  }).pipe(Effect.scoped)
