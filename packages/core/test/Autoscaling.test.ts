import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import {
  begin,
  decide,
  type Decision,
  type Observation,
  quietFor,
  type Scaling,
  settleFor
} from "../src/internal/projection/autoscaling.ts"

const bounds = { min: 1, max: 64, catchUpWithin: 60 }
const levels = 6
const every = 5

/** The decisions of a decider that looks every 5 seconds, at what the function says of the time, the number of workers, and the lag. */
const simulate = (
  seconds: number,
  see: (at: number, workers: number) => Pick<Observation, "events" | "seconds" | "rate">
) => {
  let scaling: Scaling = begin(0)
  let workers = bounds.min
  const decisions: Array<Decision & { readonly at: number; readonly from: number }> = []
  for (let at = every; at <= seconds; at += every) {
    const [next, decision] = decide(bounds, scaling, { at, workers, ...see(at, workers) })
    scaling = next
    if (decision === undefined) continue
    decisions.push({ at, from: workers, ...decision })
    workers = decision.workers
  }
  return { decisions, workers }
}

/** Workers that handle so many events a second each, of as many as come. */
const load = (arriving: (at: number) => number, each: number, backlog = 0) => {
  let events = backlog
  return (at: number, workers: number) => {
    const before = events
    events = Math.max(0, events + (arriving(at) - workers * each) * every)
    const rate = arriving(at) + (before - events) / every
    return { events: Math.round(events), seconds: events / Math.max(1, rate), rate }
  }
}

const numbers = (decisions: ReadonlyArray<Decision>) => decisions.map(({ workers }) => workers)

/** As it is known where the source is asked so many seconds apart. */
const known = (
  every: number,
  see: (at: number, workers: number) => Pick<Observation, "events" | "seconds" | "rate">
) => {
  let asked: Pick<Observation, "events" | "seconds" | "rate"> | undefined
  return (at: number, workers: number) => {
    const now = see(at, workers)
    if (asked === undefined || at % every === 0) asked = now
    return { ...asked, rate: now.rate }
  }
}

/** A burst, 2 seconds before the source is asked, of which 100 events are handled in a second. */
const burst = (at: number) => at < 358 ? 0 : Math.max(0, 2_000 - 100 * (at - 358))

describe("the number of workers that a lag asks for", () => {
  it("stays where events come as fast as they are handled", () => {
    assert.deepStrictEqual(simulate(4 * 3600, load(() => 80, 100)).decisions, [])
  })

  it("goes up within a minute where more come, to as many as it takes, and says why", () => {
    const { decisions } = simulate(600, load(() => 350, 100))
    assert.deepStrictEqual(numbers(decisions), [4])
    assert.isAtMost(decisions[0]!.at, 60)
    assert.match(decisions[0]!.reason, /events behind, which does not fall, with 100 events a second/)
  })

  it("goes up for what has piled up, and down again, step by step, once that is done", () => {
    const { decisions, workers } = simulate(4 * 3600, load(() => 10, 100, 200_000))
    assert.isAbove(Math.max(...numbers(decisions)), 8)
    assert.strictEqual(workers, 1)
    const down = decisions.filter(({ from, workers }) => workers < from)
    for (const { from, workers } of down) assert.strictEqual(workers, from / 2)
    for (let i = 1; i < down.length; i++) assert.isAtLeast(down[i]!.at - down[i - 1]!.at, quietFor)
    assert.match(down[0]!.reason, /^caught up for 300 s, with 10 events a second/)
  })

  it("stays where nothing is handled, or nothing is known, as more workers are no help", () => {
    assert.deepStrictEqual(simulate(3600, (at) => ({ events: at * 100, seconds: at, rate: 0 })).decisions, [])
    assert.deepStrictEqual(simulate(3600, () => ({ events: undefined, seconds: undefined, rate: 10 })).decisions, [])
  })

  for (const asked of [5, 40, 120]) {
    it(`stays where a burst falls soon, also where the source is asked every ${asked} seconds`, () => {
      const see = known(asked, (at) => ({ events: burst(at), seconds: undefined, rate: burst(at) > 0 ? 100 : 0 }))
      assert.deepStrictEqual(simulate(900, see).decisions, [])
    })

    it(`goes up where more come, also where the source is asked every ${asked} seconds`, () => {
      const { decisions, workers } = simulate(1800, known(asked, load(() => 350, 100)))
      assert.isAbove(decisions.length, 0)
      assert.isAtMost(decisions[0]!.at, 60 + 2 * asked)
      assert.isAtLeast(workers, 4)
    })
  }

  it("goes up where as much stays for long", () => {
    const { decisions } = simulate(900, () => ({ events: 10_000, seconds: undefined, rate: 100 }))
    assert.strictEqual(decisions[0]!.from, 1)
  })

  it("goes by the time where positions are not known", () => {
    const { decisions } = simulate(600, (at) => ({ events: undefined, seconds: at, rate: 10 }))
    assert.strictEqual(decisions[0]!.workers, 2)
    assert.match(decisions[0]!.reason, /s behind, which does not fall/)
  })

  const Lags = Schema.Array(Schema.Struct({
    events: Schema.UndefinedOr(Schema.Literals([0, 1, 500, 30_000, 10_000_000])),
    rate: Schema.Literals([0, 1, 400, 9_000])
  })).check(Schema.isMinLength(1), Schema.isMaxLength(40))

  it.prop("changes seldom, whatever the lag does, and is a power of two within the bounds", [Lags], ([lags]) => {
    const { decisions } = simulate(3600, (at) => ({ seconds: undefined, ...lags[(at / every) % lags.length]! }))
    let down = 0
    for (const [i, { at, from, workers }] of decisions.entries()) {
      assert.isTrue(workers >= bounds.min && workers <= bounds.max && Number.isInteger(Math.log2(workers)))
      const sinceLast = at - (decisions[i - 1]?.at ?? 0)
      if (workers > from) assert.isAtLeast(sinceLast, settleFor)
      else {
        assert.isAtLeast(sinceLast, quietFor)
        down++
      }
    }
    assert.isAtMost(down, 3600 / quietFor)
    assert.isAtMost(decisions.length - down, levels + down)
  })

  const Constant = Schema.Struct({
    arriving: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 10_000 })),
    each: Schema.Int.check(Schema.isBetween({ minimum: 50, maximum: 500 })),
    backlog: Schema.Literals([0, 1_000, 5_000_000])
  })

  it.prop(
    "ends in one number under a constant load, which is enough for it",
    [Constant],
    ([{ arriving, backlog, each }]) => {
      const { decisions, workers } = simulate(5 * 3600, load(() => arriving, each, backlog))
      assert.deepStrictEqual(decisions.filter(({ at }) => at > 3 * 3600), [])
      assert.isAtMost(decisions.length, 2 * levels + 4)
      if (workers < bounds.max) assert.isAtLeast(workers * each, arriving)
    }
  )
})
