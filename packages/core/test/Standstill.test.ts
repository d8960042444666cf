import { assert, describe, it } from "@effect/vitest"
import * as Offset from "@sluice/core/Offset"
import type { WorkerReading } from "@sluice/core/ProjectionRegistry"
import * as Slice from "@sluice/core/Slice"
import type { WorkerState } from "@sluice/core/WorkerStatus"
import { Standstill } from "../src/internal/projection/Standstill.ts"
import { aStatus } from "./projectionKit.ts"

const offsets = (...all: ReadonlyArray<readonly [slice: number, position: number]>): Offset.Offsets =>
  new Map(all.map(([slice, position]) => [Slice.make(slice), Offset.make(position, position * 10)]))

let moves = 0

const status = (
  state: WorkerState,
  stored: Offset.Offsets = Offset.none,
  { handled = 0, pastLag = 0 } = {}
): Pick<WorkerReading, "moves" | "status"> => ({
  moves: moves++,
  status: aStatus({ state, handled, pastLag, offsets: stored })
})

describe("where a worker does not get on", () => {
  it("is a slice whose offset stays though its source has more, however others get on", () => {
    const standstill = new Standstill()
    standstill.look(status("Running", offsets([1, 5], [2, 7])), offsets([1, 5], [2, 7], [3, 0]), 100)
    assert.isUndefined(standstill.stuck)
    standstill.look(status("Running", offsets([1, 5], [2, 7])), offsets([1, 6], [2, 9], [10, 4]), 200)
    standstill.look(status("Running", offsets([1, 5], [2, 8])), offsets([1, 7], [2, 10]), 300)
    assert.deepStrictEqual(standstill.stuck, { slice: Slice.make(1), since: 200 })
    standstill.look(status("Running", offsets([1, 11], [2, 8])), offsets([1, 11], [2, 10]), 400)
    assert.deepStrictEqual(standstill.stuck, { slice: Slice.make(2), since: 300 })
    standstill.look(status("Running", offsets([1, 11], [2, 10])), offsets([1, 11], [2, 10]), 500)
    assert.isUndefined(standstill.stuck)
  })

  it("is no slice whose events are later than those that the worker handles, until it is past them", () => {
    const standstill = new Standstill()
    const heads = offsets([1, 50], [2, 60])
    for (const position of [10, 20, 30, 40]) {
      standstill.look(status("CatchingUp", offsets([1, position])), heads, position * 10)
      assert.strictEqual(standstill.stuck!.since, position * 10)
    }
    // nothing moves
    standstill.look(status("CatchingUp", offsets([1, 40])), heads, 500)
    assert.deepStrictEqual(standstill.stuck, { slice: Slice.make(2), since: 400 })
    standstill.look(status("CatchingUp", offsets([1, 61])), offsets([1, 99], [2, 99]), 600)
    standstill.look(status("CatchingUp", offsets([1, 70])), offsets([1, 99], [2, 99]), 700)
    assert.deepStrictEqual(standstill.stuck, { slice: Slice.make(2), since: 400 })
  })

  it("is the past that a worker is to look through, while it handles nothing, and looks no further", () => {
    const standstill = new Standstill()
    const heads = offsets([1, 5])
    const looks = [{ pastLag: 9 }, { pastLag: 8 }, { pastLag: 8, handled: 1 }, { pastLag: 8, handled: 1 }]
    looks.forEach((past, i) => standstill.look(status("Running", heads, past), heads, 100 * i))
    assert.deepStrictEqual(standstill.stuck, { slice: undefined, since: 200 })
    standstill.look(status("Running", heads, { handled: 2 }), heads, 400)
    assert.isUndefined(standstill.stuck)
  })

  it("is still known while the source does not say what it has", () => {
    const standstill = new Standstill()
    standstill.look(status("Running", offsets([1, 5])), offsets([1, 6]), 100)
    standstill.look(status("Running", offsets([1, 5])), undefined, 200)
    assert.deepStrictEqual(standstill.stuck, { slice: Slice.make(1), since: 100 })
    standstill.look(status("Running", offsets([1, 6])), undefined, 300)
    assert.isUndefined(standstill.stuck)
  })

  it("is the worker that has not begun, or fails again and again", () => {
    const standstill = new Standstill()
    const states = ["Starting", "Restarting", "Starting", "Disrupted"] as const
    states.forEach((state, i) => standstill.look(status(state, offsets([1, 5])), undefined, 100 * i))
    assert.deepStrictEqual(standstill.stuck, { slice: undefined, since: 0 })
    standstill.look(status("CatchingUp", offsets([1, 5])), offsets([1, 9]), 400)
    assert.deepStrictEqual(standstill.stuck, { slice: Slice.make(1), since: 400 })
  })

  it("is nothing while it is paused, retired, fenced, stopped, or has ended", () => {
    for (const state of ["Paused", "Retired", "Fenced", "Stopped", "Ended"] as const) {
      const standstill = new Standstill()
      standstill.look(status("Running", offsets([1, 5])), offsets([1, 9]), 100)
      standstill.look(status(state, offsets([1, 5])), offsets([1, 9]), 200)
      assert.isUndefined(standstill.stuck, state)
    }
  })

  it("is no slice of a source without positions, which leaves events out unsaid", () => {
    const standstill = new Standstill()
    const heads = new Map([[Slice.make(1), Offset.make(0, 900)]])
    standstill.look(status("Running", offsets([1, 5])), heads, 100)
    assert.isUndefined(standstill.stuck)
  })
})
