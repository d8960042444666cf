import { assert, describe, it } from "@effect/vitest"
import { JournalForked, JournalReplaced } from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import type { WorkerFailure } from "@sluice/core/ProjectionStatus"
import * as Slice from "@sluice/core/Slice"
import * as Cause from "effect/Cause"
import * as Schema from "effect/Schema"
import {
  type Action,
  type Event,
  failureOf,
  initial,
  initialWait,
  type Lifecycle,
  maxFailureWait,
  maxFencedWait,
  type State,
  transition
} from "../src/internal/projection/lifecycle.ts"

const before: WorkerFailure = { cause: Cause.fail("before"), event: undefined }
const cause = Cause.fail("now")
const forked = new JournalForked({ entityType: "note", slice: Slice.make(1), offset: Offset.make(2, 2) })
const replaced = new JournalReplaced({ expected: "one", actual: "another", entityType: "note" })

const states = {
  Starting: { _tag: "Starting" },
  CatchingUp: { _tag: "CatchingUp" },
  Running: { _tag: "Running" },
  "Disrupted(Starting)": { _tag: "Disrupted", failure: before, from: { _tag: "Starting" } },
  "Disrupted(CatchingUp)": { _tag: "Disrupted", failure: before, from: { _tag: "CatchingUp" } },
  "Disrupted(Running)": { _tag: "Disrupted", failure: before, from: { _tag: "Running" } },
  Restarting: { _tag: "Restarting", failure: before },
  Fenced: { _tag: "Fenced", failure: before },
  Paused: { _tag: "Paused" },
  Retired: { _tag: "Retired" },
  Stopped: { _tag: "Stopped", failure: before },
  Ended: { _tag: "Ended" }
} as const satisfies Record<string, State>

const events = {
  started: { _tag: "Started" },
  "commanded to run": { _tag: "Commanded", paused: false },
  "commanded to pause": { _tag: "Commanded", paused: true },
  "commanded to rest": { _tag: "Commanded", paused: true, isRetired: true },
  interrupted: { _tag: "Interrupted" },
  opened: { _tag: "Opened" },
  progressed: { _tag: "Progressed" },
  "caught up": { _tag: "CaughtUp" },
  disrupted: { _tag: "Disrupted", cause },
  restored: { _tag: "Restored" },
  failing: { _tag: "Failing", failure: { cause, event: undefined }, isFenced: false },
  "failing, fenced": { _tag: "Failing", failure: { cause, event: undefined }, isFenced: true },
  failed: { _tag: "Failed", cause },
  fenced: { _tag: "Fenced", cause, lasted: 0 },
  "journal changed": { _tag: "JournalChanged", cause, change: forked },
  "fork reset": { _tag: "OffsetsReset", cause, change: forked, isDone: true },
  "fork not reset": { _tag: "OffsetsReset", cause, change: forked, isDone: false },
  "replacement reset": { _tag: "OffsetsReset", cause, change: replaced, isDone: true },
  "failed for good": { _tag: "FailedForGood", failure: { cause, event: undefined } },
  waited: { _tag: "Waited" },
  ended: { _tag: "Ended" }
} as const satisfies Record<string, Event>

type StateName = keyof typeof states
type EventName = keyof typeof events

/** After an event: the state, `same` where it stays, and what is done next, unless the worker goes on with what it does. */
interface Row {
  readonly event: EventName
  /** From every state, but for the exceptions. A worker that has stopped or ended is in its state for good, unless they say otherwise. */
  readonly to: string
  readonly but?: Partial<Record<StateName, string>>
}

const table: ReadonlyArray<Row> = [
  { event: "started", to: "Starting ReadCommand", but: { Stopped: "Starting ReadCommand" } },
  // a failure is to be seen until the source is open again
  { event: "commanded to run", to: "Starting Begin", but: { Restarting: "same Begin", Fenced: "same Begin" } },
  { event: "commanded to pause", to: "Paused AwaitCommand" },
  { event: "commanded to rest", to: "Retired AwaitCommand" },
  { event: "interrupted", to: "same ReadCommand" },
  { event: "opened", to: "CatchingUp" },
  { event: "progressed", to: "same" },
  {
    event: "caught up",
    to: "same",
    but: { CatchingUp: "Running", "Disrupted(CatchingUp)": "Disrupted(Running)" }
  },
  {
    event: "disrupted",
    to: "same",
    but: {
      Starting: "Disrupted(Starting)",
      CatchingUp: "Disrupted(CatchingUp)",
      Running: "Disrupted(Running)",
      "Disrupted(Starting)": "Disrupted(Starting)",
      "Disrupted(CatchingUp)": "Disrupted(CatchingUp)",
      "Disrupted(Running)": "Disrupted(Running)",
      Restarting: "Disrupted(Restarting)",
      Fenced: "Disrupted(Fenced)"
    }
  },
  {
    event: "restored",
    to: "same",
    but: {
      "Disrupted(Starting)": "Starting",
      "Disrupted(CatchingUp)": "CatchingUp",
      "Disrupted(Running)": "Running"
    }
  },
  { event: "failing", to: "Restarting" },
  { event: "failing, fenced", to: "Fenced" },
  { event: "failed", to: "Restarting Wait" },
  { event: "fenced", to: "Fenced Wait" },
  { event: "journal changed", to: "same ResetOffsets" },
  { event: "fork reset", to: "same ReadCommand" },
  { event: "fork not reset", to: "Restarting Wait" },
  { event: "replacement reset", to: "Restarting Wait" },
  { event: "failed for good", to: "Stopped Stop" },
  { event: "waited", to: "same ReadCommand" },
  { event: "ended", to: "Ended", but: { Stopped: "Ended" } }
]

const nameOf = (state: State): string => state._tag === "Disrupted" ? `Disrupted(${nameOf(state.from)})` : state._tag

const outcome = (from: State, [to, { _tag: action }]: readonly [Lifecycle, Action]): string =>
  (to.state === from ? "same" : nameOf(to.state)) + (action === "GoOn" ? "" : ` ${action}`)

const isOver = (name: StateName): boolean => name === "Stopped" || name === "Ended"

describe("a worker in every state", () => {
  for (const { but, event, to } of table) {
    it(`when it is ${event}`, () => {
      for (const [name, state] of Object.entries(states) as Array<[StateName, State]>) {
        const expected = but?.[name] ?? (isOver(name) ? "same" : to)
        assert.strictEqual(outcome(state, transition({ ...initial, state }, events[event])), expected, `from ${name}`)
      }
    })
  }

  it("is in the table for every event", () => {
    assert.deepStrictEqual(table.map(({ event }) => event).toSorted(), Object.keys(events).toSorted())
  })
})

/** Where a worker is after the events, and what it does next. */
const run = (...events: ReadonlyArray<Event>): readonly [Lifecycle, Action] => {
  let lifecycle = initial
  let action: Action = { _tag: "GoOn" }
  for (const event of events) [lifecycle, action] = transition(lifecycle, event)
  return [lifecycle, action]
}

const begun = [events.waited, events["commanded to run"]]

describe("a worker that fails", () => {
  it("waits twice as long every time in a row, up to half a minute, and counts its restarts", () => {
    const failures: Array<Event> = []
    for (const millis of [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]) {
      failures.push(...begun, events.failed)
      const [{ restarts, state }, action] = run(...failures)
      assert.deepStrictEqual(action, { _tag: "Wait", millis })
      assert.strictEqual(restarts, failures.length / 3)
      assert.deepStrictEqual(failureOf(state), { cause, event: undefined })
    }
  })

  it("waits for the shortest time again once it has stored something, and not when it has only run", () => {
    const failing = [...begun, events.failed, ...begun, events.failed]
    const wait = (...between: ReadonlyArray<Event>) => run(...failing, ...begun, ...between, events.failed)[1]
    assert.deepStrictEqual(wait(events.opened, events["caught up"]), { _tag: "Wait", millis: 800 })
    assert.deepStrictEqual(wait(events.opened, events.progressed), { _tag: "Wait", millis: 200 })
    // what it has stored ends the row, whatever it begins again for
    for (const reason of [events.interrupted, events.fenced, events["fork reset"]]) {
      assert.deepStrictEqual(wait(events.progressed, reason, ...begun), { _tag: "Wait", millis: 200 }, reason._tag)
      assert.deepStrictEqual(wait(reason, ...begun), { _tag: "Wait", millis: 800 }, reason._tag)
    }
    // and a failure after it is the first of the next
    assert.deepStrictEqual(wait(events.progressed, events.failed, ...begun), { _tag: "Wait", millis: 400 })
  })

  it("counts anew once it is started again", () => {
    const [{ restarts }, action] = run(
      events.failed,
      events.failed,
      events["failed for good"],
      events.started,
      events.failed
    )
    assert.deepStrictEqual(action, { _tag: "Wait", millis: initialWait })
    assert.strictEqual(restarts, 3)
  })
})

describe("a worker that is fenced", () => {
  it("waits twice as long every time in a row, up to five seconds, until it was alone for ten", () => {
    const fencings: Array<Event> = []
    for (const millis of [200, 400, 800, 1600, 3200, 5000, 5000]) {
      fencings.push(...begun, { _tag: "Fenced", cause, lasted: 10_000 })
      assert.deepStrictEqual(run(...fencings)[1], { _tag: "Wait", millis })
    }
    const [{ restarts }, action] = run(...fencings, ...begun, { _tag: "Fenced", cause, lasted: 10_001 })
    assert.deepStrictEqual(action, { _tag: "Wait", millis: initialWait })
    assert.strictEqual(restarts, 8)
  })

  it("while slices are handed over expects it, waits for less, and as long as ever where that goes on", () => {
    const fencings: Array<Event> = []
    for (const millis of [50, 100, 200, 400, 800, 1600, 3200, 5000]) {
      fencings.push(...begun, { _tag: "Fenced", cause, lasted: 100, isHandover: true })
      assert.deepStrictEqual(run(...fencings)[1], { _tag: "Wait", millis, isExpected: true })
    }
    const [, action] = run(...begun, { _tag: "Fenced", cause, lasted: 100, isHandover: false })
    assert.deepStrictEqual(action, { _tag: "Wait", millis: initialWait })
  })
})

describe("a worker that is disrupted", () => {
  it("shows the failure that was last, and afterwards what it was", () => {
    const latest: Event = { _tag: "Disrupted", cause: before.cause }
    const [cut] = run(events.started, ...begun, events.opened, events["caught up"], events.disrupted, latest)
    assert.deepStrictEqual(failureOf(cut.state), before)
    const [back] = transition(cut, events.restored)
    assert.deepStrictEqual(back.state, { _tag: "Running" })
    assert.isUndefined(failureOf(back.state))
  })
})

describe("whatever happens to a worker", () => {
  const names = Schema.Array(Schema.Literals(Object.keys(events) as [EventName, ...Array<EventName>]))

  it.prop("it is waited for within bounds, it stops until it is started, and it ends for good", [names], ([script]) => {
    let lifecycle = initial
    for (const name of script) {
      const from = lifecycle
      const [next, action] = transition(from, events[name])
      lifecycle = next
      assert.isAtLeast(next.restarts, from.restarts)
      if (action._tag === "Wait") {
        const max = next.state._tag === "Fenced" ? maxFencedWait : maxFailureWait
        assert.isTrue(action.millis >= initialWait && action.millis <= max)
        assert.strictEqual(next.restarts, from.restarts + 1)
      }
      // it waits in `Paused` or `Retired`, and stands in `Stopped`, if that is what it does next
      const rests = next.state._tag === "Paused" || next.state._tag === "Retired"
      assert.strictEqual(action._tag === "AwaitCommand", rests && next.state !== from.state)
      if (from.state._tag === "Stopped") assert.include(["Stopped", "Starting", "Ended"], next.state._tag)
      if (from.state._tag === "Ended") assert.strictEqual(next, from)
      if (next.state._tag === "Disrupted") assert.notStrictEqual<string>(next.state.from._tag, "Disrupted")
    }
  }, { arbitrary: { runs: 2000 } })
})
