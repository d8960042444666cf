/** What the simulator runs: three replicas, each with a database of its own, which are all written, and what becomes of them and of the network between them. */
import * as Projection from "@sluice/core/Projection"
import * as Source from "@sluice/core/Source"
import type * as EntityError from "@sluice/entity/EntityError"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import * as Replica from "@sluice/replication/Replica"
import * as ReplicatedEventSourced from "@sluice/replication/ReplicatedEventSourced"
import * as Replication from "@sluice/replication/Replication"
import * as FaultPlan from "@sluice/testing/FaultPlan"
import * as SimulatedDatabase from "@sluice/testing/SimulatedDatabase"
import * as SimulatedNetwork from "@sluice/testing/SimulatedNetwork"
import * as Simulation from "@sluice/testing/Simulation"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { type Change, type Changed, makeBoards, sharedOf, type State, toldOf } from "../replication/Boards.ts"
import * as Histories from "../replication/histories.ts"
import { allTaken, once } from "./endings.ts"
import { upTo } from "./upTo.ts"

const replicas = ["eu", "us", "ap"] as const

type Id = (typeof replicas)[number]

/** Whom each consumes: all others, those beside it in a line, or the next one of a ring. The events of the others are relayed. */
const topologies = {
  all: { eu: ["us", "ap"], us: ["eu", "ap"], ap: ["eu", "us"] },
  line: { eu: ["us"], us: ["eu", "ap"], ap: ["us"] },
  ring: { eu: ["us"], us: ["ap"], ap: ["eu"] }
} satisfies Record<string, Record<Id, ReadonlyArray<Id>>>

type Topology = keyof typeof topologies

const ids = ["ant", "bee", "cow"]

/** Some get more commands than others. */
const entity = Schema.Literals([0, 0, 0, 1, 1, 2])

/** What a person does in a replica, so many milliseconds after what was done before. */
const Step = Schema.Union([
  ...[0, 1, 2, 3].map(() =>
    Schema.TaggedStruct("Change", {
      after: Schema.Literals([0, 0, 5, 100, 700]),
      entity,
      kind: Schema.Literals(["Count", "Invite", "Invite", "Dismiss", "Name"]),
      value: upTo(3),
      /** For how long it is waited for the answer, in milliseconds. */
      patience: Schema.Literals([1, 50, 60_000, 60_000])
    })
  ),
  /** Sends a command again whose answer is not known. */
  Schema.TaggedStruct("Again", { after: upTo(300), which: upTo(20) }),
  /** Has all come again that another one has. */
  Schema.TaggedStruct("Rewind", { after: upTo(3000), which: upTo(1) })
])

type Step = typeof Step.Type

/** What goes wrong between two replicas, so many milliseconds after the fault before, and for how many. */
const Fault = Schema.Struct({
  kind: Schema.Literals([
    "Cut",
    "CutOneWay",
    "Flap",
    "Slow",
    "SlowOneWay",
    "Sever",
    "SeverUnnoticed",
    "Isolate",
    "CutAll"
  ]),
  after: Schema.Literals([0, 200, 2000]),
  lasts: Schema.Literals([300, 3000, 10_000, 30_000]),
  from: upTo(2),
  to: upTo(1)
})

export type Fault = typeof Fault.Type

/** An entity of a replica that takes no events of others for a while. */
const Hold = Schema.Struct({ replica: upTo(2), entity: upTo(2), from: upTo(3000), lasts: upTo(20_000) })

export interface Workload {
  readonly people: ReadonlyArray<ReadonlyArray<Step>>
  readonly network: ReadonlyArray<Fault>
  readonly others: FaultPlan.FaultPlan
  readonly holds: ReadonlyArray<typeof Hold.Type>
  /** Whom they consume, one after the other: all are restarted in between. */
  readonly topologies: ReadonlyArray<{ readonly after: number; readonly topology: Topology }>
  /** How each replica runs its entities, and whether another process of it sends commands as well. */
  readonly ways: ReadonlyArray<{ readonly way: "active" | "plain"; readonly isTwo: boolean }>
  readonly snapshotEvery: number | undefined
  readonly idleAfter: number
  readonly mailbox: number
  readonly consumers: number
  readonly parallelUpdates: number
  readonly order: "origin" | "causal"
  readonly latency: number
  readonly isLossy: boolean
}

export const workloads: Arbitrary.Arbitrary<Workload> = Arbitrary.all({
  people: Arbitrary.array(Arbitrary.array(Arbitrary.schema(Step), { maxLength: 16 }), { minLength: 3, maxLength: 3 }),
  network: Arbitrary.array(Arbitrary.schema(Fault), { maxLength: 5 }),
  others: Arbitrary.array(Arbitrary.schema(FaultPlan.Fault), { maxLength: 6 }),
  holds: Arbitrary.array(Arbitrary.schema(Hold), { maxLength: 2 }),
  topologies: Arbitrary.array(
    Arbitrary.all({
      after: Arbitrary.schema(Schema.Literals([500, 2000, 5000])),
      topology: Arbitrary.schema(Schema.Literals(["all", "all", "line", "ring"]))
    }),
    { minLength: 1, maxLength: 3 }
  ),
  ways: Arbitrary.array(
    Arbitrary.all({
      way: Arbitrary.schema(Schema.Literals(["active", "active", "plain"])),
      isTwo: Arbitrary.schema(Schema.Literals([false, false, true]))
    }),
    { minLength: 3, maxLength: 3 }
  ),
  snapshotEvery: Arbitrary.schema(Schema.UndefinedOr(Schema.Literals([1, 3]))),
  idleAfter: Arbitrary.schema(Schema.Literals([200, 60_000])),
  mailbox: Arbitrary.schema(Schema.Literals([1, 100])),
  consumers: Arbitrary.schema(Schema.Literals([1, 1, 2])),
  parallelUpdates: Arbitrary.schema(Schema.Literals([1, 8])),
  order: Arbitrary.schema(Schema.Literals(["origin", "causal"])),
  latency: Arbitrary.schema(Schema.Literals([0, 2, 30])),
  isLossy: Arbitrary.schema(Schema.Boolean)
})

/**
 * How long it may take after the last fault until all replicas have all: an event that was put aside, and that somebody was giving to its entity again who was killed, or
 * does not know that the claim was stored, is given again after half a minute, by whoever looks as often.
 */
const patience = "3 minutes"

const slowly = { min: "100 millis", max: "5 seconds" } as const

const cutAll = Effect.forEach(replicas, (id, i) => SimulatedNetwork.cut(id, replicas[(i + 1) % 3]!), { discard: true })

/** Lets it happen, and ends it. */
const suffer = ({ from, kind, lasts, to }: Fault) => {
  const a = replicas[from]!
  const b = replicas[(from + 1 + to) % 3]!
  const other = replicas.find((id) => id !== a && id !== b)!
  const during = (
    begin: Effect.Effect<void, never, Simulation.Simulation>,
    between: Effect.Effect<void> = Effect.sleep(lasts)
  ) => begin.pipe(Effect.andThen(between), Effect.andThen(SimulatedNetwork.heal(a, b)))
  switch (kind) {
    case "Cut":
      return during(SimulatedNetwork.cut(a, b))
    case "CutOneWay":
      return during(SimulatedNetwork.cutOneWay(a, b))
    case "Flap":
      return Effect.repeat(
        Effect.andThen(during(SimulatedNetwork.cut(a, b), Effect.sleep(lasts / 20)), Effect.sleep(lasts / 20)),
        { times: 9 }
      )
    case "Slow":
      return during(SimulatedNetwork.slow(a, b, slowly))
    case "SlowOneWay":
      return during(SimulatedNetwork.slowOneWay(a, b, slowly))
    case "Sever":
      return SimulatedNetwork.sever(a, b)
    case "SeverUnnoticed":
      return SimulatedNetwork.sever(a, b, { noticedBy: [a] })
    case "Isolate":
      return Effect.andThen(
        during(Effect.andThen(SimulatedNetwork.cut(a, b), SimulatedNetwork.cut(a, other))),
        SimulatedNetwork.heal(a, other)
      )
    case "CutAll":
      return during(cutAll).pipe(
        Effect.andThen(SimulatedNetwork.heal(a, other)),
        Effect.andThen(SimulatedNetwork.heal(b, other))
      )
  }
}

/** A command that may be sent again, to the same replica. */
interface Open {
  readonly id: string
  readonly token: string
  readonly change: Change
}

/** What may be while others write, and things go wrong. */
const expected = new Set<EntityError.EntityError["_tag"]>([
  "EntityConflict",
  "JournalUnavailable",
  "Overloaded",
  "EntityUnreachable"
])

/** Events of others keep coming while nothing goes wrong. */
const isBusy = ({ _tag }: { readonly _tag: string }): boolean => _tag === "Overloaded" || _tag === "EntityConflict"

const remotesOf = (topology: Topology, self: Id) =>
  Object.fromEntries(
    topologies[topology][self].map((id) => [id, { address: `${id}:8101`, insecure: true } satisfies Replication.Remote])
  )

/** The boards as those name them that do not run them. */
const Boards = makeBoards({ replicas })

const changeOf = ({ kind, value }: Extract<Step, { readonly _tag: "Change" }>, token: string): Change => {
  switch (kind) {
    case "Count":
      return { _tag: "Count", amount: value - 1 }
    case "Invite":
    case "Dismiss":
      return { _tag: kind, member: `member ${value}` }
    case "Name":
      return { _tag: "Name", title: token }
  }
}

/** The command of an event, and what it counts. */
const textOf = ({ delta, token }: Changed): string =>
  `${token} ${delta._tag} ${delta._tag === "CounterUpdated" ? delta.amount : 0}`

const tokenOf = (text: string): string => text.split(" ")[0]!

/** What a replica is sent of another one that does not come to it on this way, if anything: all that it has read within some seconds. */
const uselessOf = (self: Id, remote: Id, others: ReadonlyArray<Id>) =>
  Effect.gen(function*() {
    const elsewhere = [self, ...others.filter((id) => id !== remote)] as ReadonlyArray<string>
    const useless: Array<string> = []
    const source = EventConsumer.source(Replication.stream(Boards), {
      address: `${remote}:8101`,
      insecure: true,
      replica: { id: self, others },
      producerReplica: remote
    })
    const feed = yield* Source.open(source)
    yield* Effect.timeoutOption(
      Stream.runForEach(feed.elements, (element) =>
        Effect.sync(() => {
          if (element._tag === "Envelope" && elsewhere.includes(element.replication!.origin)) {
            useless.push(Histories.nameOf(element.replication!))
          }
        })),
      "5 seconds"
    )
    return useless
  }).pipe(Effect.scoped)

export const run = (workload: Workload): Effect.Effect<void, unknown, Simulation.Simulation> =>
  Effect.gen(function*() {
    const { consumers, holds, idleAfter, isLossy, latency, mailbox, network, order, others, parallelUpdates } = workload
    const simulation = yield* Simulation.Simulation
    const databases = yield* Effect.forEach(
      replicas,
      (id) => SimulatedDatabase.make(`database of ${id}`, { lossy: isLossy, latency })
    )
    let topology: Topology = workload.topologies[0]!.topology
    let isQuiet = false
    /** In which replica the effect of a command has run. */
    const ranIn = new Map<string, Set<string>>()
    const violate = (claim: string, text: string) =>
      Effect.provideService(Simulation.violate(claim, text), Simulation.Simulation, simulation)

    const boardsOf = (self: Id, i: number) =>
      makeBoards({
        replicas,
        snapshotEvery: workload.snapshotEvery,
        intercept: (id) =>
          Effect.flatMap(simulation.elapsed, (now) =>
            !isQuiet &&
              holds.some(({ entity, from, lasts, replica }) =>
                replica === i && ids[entity] === id && now >= from && now < from + lasts
              )
              ? Effect.fail("held")
              : Effect.void),
        after: (replica, token) =>
          Effect.sync(() => void ranIn.set(token, (ranIn.get(token) ?? new Set()).add(`${replica} in ${self}`)))
      })

    interface Region {
      readonly id: Id
      readonly open: Map<string, Open>
      /** The entity of each command that was. */
      readonly acknowledged: Map<string, string>
      /** What each process of it is to do, taken once, whatever becomes of the process. */
      readonly left: ReadonlyArray<Array<Step>>
    }
    const regions = replicas.map((id, i): Region => {
      const steps = workload.people[i]!
      const left = workload.ways[i]!.isTwo
        ? [steps.filter((_, n) => n % 2 === 0), steps.filter((_, n) => n % 2 === 1)]
        : [[...steps]]
      return { id, open: new Map(), acknowledged: new Map(), left }
    })

    let sent = 0
    const send = Effect.fnUntraced(function*({ acknowledged, open }: Region, command: Open, within: number) {
      const boards = yield* ReplicatedEventSourced.client(Boards)
      const { change, id, token } = command
      const apply = boards(id).Apply({ token, change }, { commandId: token })
      const isCalm = isQuiet
      const sending = isCalm ? Effect.retry(apply, { while: isBusy, schedule: Schedule.spaced("1 second") }) : apply
      const exit = yield* Effect.result(Effect.timeoutOption(sending, within))
      if (exit._tag === "Success") {
        if (exit.success._tag === "None") return
        acknowledged.set(token, id)
        open.delete(token)
      } else if (isCalm || !expected.has(exit.failure._tag)) {
        const claim = isCalm ? "what is sent while nothing goes wrong succeeds" : "errors are those that may be"
        return yield* violate(claim, `${exit.failure._tag}: ${exit.failure.message}`)
      }
    })

    const take = Effect.fnUntraced(function*(region: Region, step: Step) {
      switch (step._tag) {
        case "Change": {
          const token = `${region.id}-${sent++}`
          const command: Open = { id: ids[step.entity]!, token, change: changeOf(step, token) }
          region.open.set(token, command)
          return yield* send(region, command, step.patience)
        }
        case "Again": {
          const commands = [...region.open.values()]
          const command = commands[step.which % Math.max(1, commands.length)]
          return command === undefined ? undefined : yield* send(region, command, 60_000)
        }
        case "Rewind": {
          const projections = Replication.projections(Boards, region.id, {
            replicas: remotesOf(topology, region.id),
            order,
            consumers
          })
          return yield* Effect.ignore(Projection.rewind(projections[step.which % projections.length]!, "beginning"))
        }
      }
    })

    const taking = (region: Region, steps: Array<Step>) =>
      Effect.gen(function*() {
        for (;;) {
          const step = steps.shift()
          yield* step === undefined
            ? Effect.sleep(500)
            : Effect.andThen(Effect.sleep(step.after), take(region, step))
        }
      })

    const processes: Array<Simulation.Process> = []
    for (const [i, region] of regions.entries()) {
      const { way } = workload.ways[i]!
      const boards = boardsOf(region.id, i)
      const running = () => {
        const entities = way === "active"
          ? ReplicatedEventSourced.layer(boards, { idleAfter, mailbox })
          : ReplicatedEventSourced.layerPlain(boards)
        return Layer.fresh(entities).pipe(
          Layer.provideMerge(Replica.layer(region.id)),
          Layer.provideMerge(databases[i]!.layer)
        )
      }
      const main = Effect.suspend(() =>
        Effect.provide(
          taking(region, region.left[0]!),
          Replication.layer(boards, { replicas: remotesOf(topology, region.id), order, consumers, parallelUpdates })
            .pipe(
              Layer.provide(GrpcServer.layer({ port: 8101 })),
              Layer.provideMerge(running()),
              Layer.provide(SimulatedNetwork.layer)
            )
        )
      )
      processes.push(yield* Simulation.process(region.id, main))
      const [, second] = region.left
      if (second !== undefined) {
        const beside = Effect.suspend(() => Effect.provide(taking(region, second), running()))
        processes.push(yield* Simulation.process(`${region.id}-beside`, beside))
      }
    }

    const faults = Effect.forEach(network, (fault) => Effect.andThen(Effect.sleep(fault.after), suffer(fault)), {
      discard: true
    })
    const changes = Effect.forEach(workload.topologies.slice(1), (next) =>
      Effect.gen(function*() {
        yield* Effect.sleep(next.after)
        topology = next.topology
        yield* Simulation.note(`from now on each consumes ${JSON.stringify(topologies[topology])}`)
        for (const { start, stop } of processes) yield* Effect.andThen(stop, start)
      }), { discard: true })
    yield* Effect.all([faults, changes, FaultPlan.run(others, { processes, databases })], {
      concurrency: "unbounded",
      discard: true
    })
    yield* Simulation.note("no more faults")
    yield* allTaken("people go on", regions.flatMap(({ left }) => left), patience)
    // a step may have been begun
    yield* Effect.sleep("10 seconds")
    yield* Simulation.note("all is quiet, and what is open is sent again, with one command more for each entity")
    isQuiet = true
    for (const region of regions) {
      const [steps] = region.left
      for (let i = 0; i < region.open.size; i++) steps!.push({ _tag: "Again", after: 0, which: 0 })
      for (const entity of [0, 1, 2] as const) {
        steps!.push({ _tag: "Change", after: 0, entity, kind: "Invite", value: 3, patience: 60_000 })
      }
    }
    yield* allTaken("people go on", regions.flatMap(({ left }) => left), patience)

    /** What each replica has of an entity. */
    const histories = (id: string) =>
      Effect.map(
        Effect.forEach(replicas, (replica, i) =>
          Effect.map(
            databases[i]!.inspect(Histories.read(Boards.entityType, replica, id, textOf)),
            (events) => [replica, events] as const
          )),
        (all): Histories.Histories => new Map(all)
      )
    const stateOf = (id: string, i: number) => {
      let state: State | undefined
      const show = Effect.gen(function*() {
        const boards = yield* ReplicatedEventSourced.client(Boards)
        state = yield* boards(id).Show()
      }).pipe(
        Effect.provide(ReplicatedEventSourced.layerPlain(boardsOf(replicas[i]!, i))),
        Effect.provide(Replica.layer(replicas[i]!))
      )
      return Effect.map(once(databases[i]!, `someone who looks at ${id} in ${replicas[i]}`, show), () => state!)
    }
    /** What is still to come of an entity, where nothing is wrong. */
    const missing = Effect.fnUntraced(function*(id: string) {
      const all = yield* Effect.orDie(histories(id))
      const [problem, ...more] = Histories.problems(all, order)
      if (problem !== undefined) {
        return yield* violate(
          "each replica has each event once, and what it knew",
          `${id}: ${problem}, and ${more.length} more`
        )
      }
      const tokens = new Set(Array.from(all.values()).flatMap((events) => events.map(({ text }) => tokenOf(text))))
      for (const { acknowledged } of regions) {
        for (const [token, of] of acknowledged) {
          if (of === id && !tokens.has(token)) {
            return yield* violate("what was acknowledged is kept", `${token} of ${id} is lost`)
          }
        }
      }
      return Histories.missing(all)
    })
    const lacking = Effect.map(Effect.forEach(ids, missing), (all) => all.flat())
    yield* lacking.pipe(
      Effect.repeat({ until: (found) => found.length === 0, schedule: Schedule.spaced("5 seconds") }),
      Effect.timeoutOrElse({
        duration: patience,
        orElse: () =>
          Effect.flatMap(
            lacking,
            ([first, ...more]) => violate("all replicas have all events", `${first}, and ${more.length} more`)
          )
      })
    )
    for (const id of ids) {
      const all = yield* Effect.orDie(histories(id))
      const states = yield* Effect.forEach(replicas, (_, i) => stateOf(id, i))
      const shared = states.map(sharedOf)
      const counted = states[0]?.sum.value
      if (new Set(shared).size > 1) {
        return yield* violate("all replicas have the same state", shared.join(" and "))
      }
      const texts = all.get(replicas[0])!.map(({ text }) => text)
      const sum = texts.reduce((sum, text) => sum + Number(text.split(" ")[2]), 0)
      if (Number(counted) !== sum) {
        return yield* violate("the state is that of the events", `${id} counts ${counted} and not ${sum}`)
      }
      if (new Set(texts).size < texts.length) {
        return yield* violate("each command is executed once", `of ${id} there are ${texts.toSorted().join(", ")}`)
      }
      for (const [i, replica] of replicas.entries()) {
        for (const { replication } of all.get(replica)!) {
          const name = Histories.nameOf(replication)
          const told = states[i]!.told[name]
          if (told !== toldOf(replication)) {
            return yield* violate(
              "an entity is told of an event what the journal has",
              `${name} of ${id} at ${replica} was ${told}, and is ${toldOf(replication)}`
            )
          }
        }
      }
    }
    for (const [token, where] of ranIn) {
      const home = token.split("-")[0]
      if (where.size > 1 || !where.has(`${home} in ${home}`)) {
        return yield* violate("effects run where the command was decided", `that of ${token}: ${[...where].join(", ")}`)
      }
    }
    for (const self of replicas) {
      const others = topologies[topology][self]
      for (const remote of others) {
        let useless: ReadonlyArray<string> = []
        const reader = Effect.provide(
          Effect.tap(uselessOf(self, remote, others), (found) => Effect.sync(() => useless = found)),
          SimulatedNetwork.layer
        )
        yield* (yield* Simulation.process(`someone who reads ${remote} as ${self}`, Effect.orDie(reader))).ended
        if (useless.length > 0) {
          return yield* violate(
            "a replica is sent what does not come to it on another way",
            `${remote} sends ${self} ${useless.join(", ")}`
          )
        }
      }
    }
    yield* Effect.forEach(processes, ({ stop }) => stop, { discard: true })
  }).pipe(Effect.scoped)
