/** What the simulator runs: processes that have the same entities, in memory or not, people who send commands, and what goes wrong meanwhile. */
import type * as EntityError from "@sluice/entity/EntityError"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as FaultPlan from "@sluice/testing/FaultPlan"
import * as SimulatedDatabase from "@sluice/testing/SimulatedDatabase"
import * as Simulation from "@sluice/testing/Simulation"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Ledgers, Refused } from "../entities/Ledgers.ts"
import { type Asked, Oracle } from "../entities/Oracle.ts"
import { allTaken } from "./endings.ts"
import { upTo } from "./upTo.ts"

/** Some get more commands than others. */
const entity = Schema.Literals([0, 0, 0, 1, 1, 2, 3])

const Add = Schema.TaggedStruct("Add", {
  after: Schema.Literals([0, 0, 5, 100, 700]),
  entity,
  amount: upTo(15),
  hasId: Schema.Literals([true, true, false]),
  /** Whether it is sent twice at once. */
  isDoubled: Schema.Boolean,
  /** For how long it is waited for the answer, in milliseconds. */
  patience: Schema.Literals([1, 50, 60_000, 60_000])
})

/** What a person does, so many milliseconds after what was done before. */
const Step = Schema.Union([
  Add,
  Add,
  Add,
  Add,
  Schema.TaggedStruct("Read", { after: upTo(300), entity }),
  /** Sends a command again that has an id. */
  Schema.TaggedStruct("Again", { after: upTo(300), which: upTo(20) })
])

export type Step = typeof Step.Type

export interface Workload {
  readonly faults: FaultPlan.FaultPlan
  /** How each process runs the entities, and what the people of it do. */
  readonly processes: ReadonlyArray<{
    readonly way: "active" | "plain"
    readonly people: ReadonlyArray<ReadonlyArray<Step>>
  }>
  readonly idleAfter: number
  readonly maxActive: number
  readonly mailbox: number
  readonly isLossy: boolean
  readonly latency: number
}

export const workloads: Arbitrary.Arbitrary<Workload> = Arbitrary.all({
  faults: FaultPlan.arbitrary,
  processes: Arbitrary.array(
    Arbitrary.all({
      way: Arbitrary.schema(Schema.Literals(["active", "active", "plain"])),
      people: Arbitrary.array(Arbitrary.array(Arbitrary.schema(Step), { maxLength: 20 }), {
        minLength: 1,
        maxLength: 3
      })
    }),
    { minLength: 1, maxLength: 3 }
  ),
  idleAfter: Arbitrary.schema(Schema.Literals([200, 60_000, 60_000])),
  maxActive: Arbitrary.schema(Schema.Literals([2, 100])),
  mailbox: Arbitrary.schema(Schema.Literals([1, 100])),
  isLossy: Arbitrary.schema(Schema.Boolean),
  latency: Arbitrary.schema(Schema.Literals([0, 2, 30]))
})

const ids = ["ant", "bee", "cow", "dog"]
const idOf = (entity: number): string => ids[entity % ids.length]!

/** How long it may take after the last fault until all is answered. */
const patience = "3 minutes"

/** A command whose answer is not known, and that may be sent again. */
type Open = Pick<Asked, "id" | "token" | "amount" | "commandId">

/** What the oracle expects while others write, and things go wrong. */
const expected = new Set<EntityError.EntityError["_tag"]>([
  "EntityConflict",
  "JournalUnavailable",
  "Overloaded",
  "EntityUnreachable"
])

export const run = (workload: Workload): Effect.Effect<void, unknown, Simulation.Simulation> =>
  Effect.gen(function*() {
    const { faults, idleAfter, isLossy, latency, mailbox, maxActive } = workload
    const database = yield* SimulatedDatabase.make("database", { lossy: isLossy, latency })
    const oracle = new Oracle()
    for (const id of ids) oracle.asked({ id })
    /** Those with an id that are not known to be executed. */
    const open = new Map<string, Open>()
    /** All with an id. */
    const named: Array<Open> = []
    let isQuiet = false

    const send = Effect.fnUntraced(function*(command: Open, within: number) {
      const ledgers = yield* EventSourced.client(Ledgers)
      const { amount, commandId, id, token } = command
      const exit = yield* Effect.result(
        Effect.timeoutOption(ledgers(id).Add({ token, amount }, { commandId }), within)
      )
      if (exit._tag === "Success") {
        if (exit.success._tag === "None") return
        oracle.answered(command, { _tag: "Replied", reply: exit.success.value })
        open.delete(token)
        return
      }
      const error = exit.failure
      if (error instanceof Refused) {
        oracle.answered(command, { _tag: "Refused" })
        open.delete(token)
      } else if (isQuiet || !expected.has(error._tag)) {
        const claim = isQuiet ? "what is sent while nothing goes wrong succeeds" : "errors are those that may be"
        return yield* Simulation.violate(claim, `${error._tag}: ${error.message}`)
      }
    })

    let sent = 0
    const take = Effect.fnUntraced(function*(step: Step) {
      switch (step._tag) {
        case "Add": {
          const token = `t${sent++}`
          const { amount, entity, hasId, isDoubled, patience } = step
          const command: Open = { id: idOf(entity), token, amount, commandId: hasId ? `command ${token}` : undefined }
          if (hasId) {
            open.set(token, command)
            named.push(command)
          }
          const both = hasId && isDoubled ? [command, command] : [command]
          return yield* Effect.forEach(both, (_) => send(_, patience), { concurrency: "unbounded", discard: true })
        }
        case "Read": {
          const id = idOf(step.entity)
          const ledgers = yield* EventSourced.client(Ledgers)
          return yield* Effect.ignore(Effect.map(ledgers(id).Read(), (state) => oracle.seen(id, state)))
        }
        case "Again": {
          const command = named[step.which % Math.max(1, named.length)]
          return command === undefined ? undefined : yield* send(command, 60_000)
        }
      }
    })

    /** Takes each step once, whatever becomes of the process. */
    const left = workload.processes.map(({ people }) => people.map((steps) => [...steps]))
    const taking = (steps: Array<Step>) =>
      Effect.gen(function*() {
        for (;;) {
          const step = steps.shift()
          yield* step === undefined ? Effect.sleep(100) : Effect.andThen(Effect.sleep(step.after), take(step))
        }
      })
    const processes: Array<Simulation.Process> = []
    for (const [i, { way }] of workload.processes.entries()) {
      const entities = way === "active"
        ? EventSourced.layer(Ledgers, { idleAfter, maxActive, mailbox })
        : EventSourced.layerPlain(Ledgers)
      const program = Effect.all(left[i]!.map(taking), { concurrency: "unbounded", discard: true })
      processes.push(
        yield* Simulation.process(
          `${way}-${i}`,
          Effect.provide(program, Layer.provide(Layer.fresh(entities), database.layer))
        )
      )
    }
    yield* FaultPlan.run(faults, { processes, databases: [database] })
    yield* Simulation.note("no more faults")
    yield* allTaken("people go on", left.flat(), patience)
    // a step may have been begun, and a command may wait for the database
    yield* Effect.sleep("2 minutes")
    yield* Simulation.note("all is quiet, and what is open is sent again, by each process in turn, twice")
    isQuiet = true
    // what a process has in memory after the first round is not what others have written since
    for (const [first] of [...left, ...left]) {
      for (const entity of [0, 1, 2, 3] as const) {
        first!.push({ _tag: "Add", after: 0, entity, amount: 1, hasId: true, isDoubled: false, patience: 60_000 })
      }
      for (const command of open.values()) {
        first!.push({ _tag: "Again", after: 0, which: named.indexOf(command) })
      }
      yield* allTaken("people go on", left.flat(), patience)
      yield* Effect.sleep("10 seconds")
    }
    if (open.size > 0) {
      return yield* Simulation.violate("each command is answered at last", JSON.stringify([...open.values()]))
    }
    const [wrong] = yield* Effect.orDie(database.inspect(oracle.verdict))
    if (wrong !== undefined) {
      return yield* Simulation.violate("each command is executed once, and replied what it led to", wrong)
    }
    yield* Effect.forEach(processes, ({ stop }) => stop, { discard: true })
  }).pipe(Effect.scoped)
