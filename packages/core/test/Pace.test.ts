import { assert, describe, it } from "@effect/vitest"
import { Pace } from "../src/internal/projection/Pace.ts"

/** A worker that handles so many events in each second, and is so many behind after each. */
const paced = (seconds: ReadonlyArray<readonly [handles: number, lag: number | undefined]>) => {
  const pace = new Pace()
  let handled = 0
  pace.handles(handled, 100)
  seconds.forEach(([handles, lag], i) => {
    handled += handles
    pace.handles(handled, 101 + i)
    pace.lags(lag, 101 + i)
  })
  return pace
}

const times = <A>(n: number, of: (i: number) => A) => Array.from({ length: n }, (_, i) => of(i))

describe("the pace of a worker", () => {
  it("is the events of a second", () => {
    assert.approximately(paced(times(60, () => [50, 0])).rate, 50, 0.5)
  })

  it("is smoothed, and 0 soon after the last event", () => {
    const bumpy = paced(times(61, (i) => [i % 2 === 0 ? 0 : 100, 0]))
    assert.approximately(bumpy.rate, 50, 5)
    const { rate } = paced([...times(60, () => [1000, 0] as const), ...times(120, () => [0, 0] as const)])
    assert.strictEqual(rate, 0)
  })

  it("is not known at first", () => {
    const { eta, rate } = new Pace()
    assert.deepStrictEqual({ eta, rate }, { eta: undefined, rate: 0 })
    assert.isUndefined(paced([[10, 100]]).eta)
  })

  it("says when the worker will have caught up, if its lag falls", () => {
    assert.strictEqual(paced(times(11, (i) => [30, 1000 - 20 * i])).eta, 40_000)
    assert.isUndefined(paced(times(11, (i) => [30, 1000 + 20 * i])).eta)
    assert.isUndefined(paced(times(11, () => [0, 1000])).eta)
    assert.strictEqual(paced(times(11, (i) => [30, Math.max(0, 100 - 20 * i)])).eta, 0)
  })

  it("does not say when a lag that stands still will be gone, however long ago it has fallen", () => {
    const falls = times(11, (i) => [30, 1000 - 20 * i] as const)
    for (const seconds of [200, 400, 8_000]) {
      assert.isUndefined(paced([...falls, ...times(seconds, () => [0, 800] as const)]).eta)
    }
    assert.isAtMost(paced([...falls, ...times(60, () => [0, 800] as const)]).eta!, 30 * 86_400_000)
  })

  it("is forgotten where the lag is not known for a while", () => {
    assert.isUndefined(paced([[10, 100], [10, 90], [10, undefined]]).eta)
    assert.isUndefined(paced([[10, 100], [10, 90], [10, undefined], [10, 70]]).eta)
    assert.strictEqual(paced([[10, 100], [10, 90], [10, undefined], [10, 70], [10, 60]]).eta, 6_000)
  })

  it("does not divide by no time", () => {
    const pace = new Pace()
    for (const handled of [1, 2, 3]) pace.handles(handled, 7)
    for (const lag of [3, 2, 1]) pace.lags(lag, 7)
    assert.deepStrictEqual([pace.rate, pace.eta], [0, undefined])
  })
})
