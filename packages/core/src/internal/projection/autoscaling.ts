/**
 * How many workers a projection is to have, by how far it is behind. Nothing here waits or reads a clock.
 *
 * It goes up when the lag takes too long to be gone, by as much as it seems to need; and down by half, after it has been quiet for long. What a worker can do was seen
 * when there were too few of them: it does not go down to a number that is too small by that, so that a constant load ends in one number.
 */
import type { AutomaticWorkers } from "../../ProjectionDefinition.ts"

/** What is seen of a projection, at a monotonic time in seconds. */
export interface Observation {
  readonly at: number
  /** How many workers it has. */
  readonly workers: number
  /** How many events it is behind; undefined if that is not known. */
  readonly events: number | undefined
  /** For how many seconds it is behind; undefined if that is not known. */
  readonly seconds: number | undefined
  /** How many events its workers handle in a second together. */
  readonly rate: number
}

/** What is remembered of those before. */
export interface Scaling {
  /** When the number changed last, or it was begun to look. */
  readonly since: number
  readonly before: Observation | undefined
  /** How much the lag grows in a second, smoothed; undefined if that is not known. */
  readonly growth: number | undefined
  /** Since when it has been too slow, and since when quiet. */
  readonly slowSince: number | undefined
  readonly quietSince: number | undefined
  /** How many events a second a worker has handled when there were too few of them, and when that was seen last. */
  readonly capacity: { readonly each: number; readonly at: number } | undefined
}

/** The number to go to, and why. */
export interface Decision {
  readonly workers: number
  readonly reason: string
}

/** For so many seconds it is too slow before the number goes up. */
export const slowFor = 10
/** For so many seconds after a change the number does not go up, as the new workers have yet to show what they do. */
export const settleFor = 30
/** For so many seconds it is quiet, and the number unchanged, before it goes down. */
export const quietFor = 300
/** For so many seconds it is remembered what a worker can do. */
export const rememberFor = 6 * 60 * 60
/** For so many seconds a lag that has not changed counts as not asked for since, as many sources are asked in turn. After that it is one that stays. */
const sameFor = 180
/** The number grows by this factor at most. */
const maxGrowth = 4
/** Growth is smoothed over so many seconds. */
const memory = 10
/** Down only where fewer workers would be busy for at most so much of their time. */
const margin = 0.7

/** @internal What is remembered before anything was seen. */
export const begin = (at: number): Scaling => ({
  since: at,
  before: undefined,
  growth: undefined,
  slowSince: undefined,
  quietSince: undefined,
  capacity: undefined
})

/**
 * @internal
 * What is remembered after an observation, and the number to go to, if it is another one. Where nothing is seen, it waits anew; and of a lag that is not newer than
 * the one before it learns nothing.
 */
export const decide = (
  bounds: AutomaticWorkers,
  before: Scaling,
  seen: Observation
): readonly [Scaling, Decision | undefined] => {
  const { at, events, rate, seconds, workers } = seen
  if (before.before !== undefined && isSame(before.before, seen)) return [before, undefined]
  const goesOn = before.before === undefined || before.before.workers === workers
  const scaling = observe(bounds, goesOn ? before : { ...begin(at), capacity: before.capacity }, seen)
  const { capacity, growth, quietSince, since, slowSince } = scaling
  if (slowSince !== undefined && at - slowSince >= slowFor && at - since >= settleFor && workers < bounds.max) {
    // so many events come in a second, if the lag is known in events
    const load = events === undefined ? rate : rate + (growth ?? 0)
    const needed = events === undefined ? 2 * workers : workers * (load + events / bounds.catchUpWithin) / rate
    const target = clamp(bounds, workers * 2, Math.min(powerFrom(needed), workers * maxGrowth))
    return to({ ...scaling, capacity: { each: rate / workers, at } }, seen, target, whyUp(bounds, scaling, seen))
  }
  const half = Math.max(bounds.min, workers / 2)
  const isQuiet = quietSince !== undefined && at - quietSince >= quietFor && at - since >= quietFor
  const known = capacity !== undefined && at - capacity.at < rememberFor ? capacity.each : Infinity
  if (isQuiet && half < workers && rate <= half * known * margin) {
    const lag = seconds === 0 || events === 0 ? "caught up" : `at most ${text(workOf(seen))} s of work behind`
    return to(scaling, seen, half, `${lag} for ${text(at - quietSince)} s, with ${text(rate)} events a second`)
  }
  return [scaling, undefined]
}

/** Whether the lag is the one that was seen before. None is always news. */
const isSame = (before: Observation, { at, events, seconds, workers }: Observation): boolean => {
  const lag = events ?? seconds
  return workers === before.workers && lag !== undefined && lag > 0 && events === before.events &&
    (events !== undefined || seconds === before.seconds) && at - before.at < sameFor
}

const to = (scaling: Scaling, seen: Observation, workers: number, reason: string): readonly [Scaling, Decision] => [
  { ...begin(seen.at), capacity: scaling.capacity },
  { workers, reason }
]

/** For how many seconds it would work on what there is, if nothing came. */
const workOf = ({ events, rate, seconds }: Observation): number | undefined =>
  events === undefined ? seconds : events === 0 ? 0 : rate === 0 ? Infinity : events / rate

/** In how many seconds the lag is gone, as it falls now. */
const etaOf = ({ events, seconds }: Observation, growth: number): number => {
  const lag = events ?? seconds ?? 0
  return lag === 0 ? 0 : growth < 0 ? lag / -growth : Infinity
}

const observe = ({ catchUpWithin }: AutomaticWorkers, scaling: Scaling, seen: Observation): Scaling => {
  const { before } = scaling
  const { at } = seen
  const lag = seen.events ?? seen.seconds
  const lagBefore = seen.events === undefined ? before?.seconds : before?.events
  if (lag === undefined) {
    return { ...scaling, before: seen, growth: undefined, slowSince: undefined, quietSince: undefined }
  }
  const passed = before === undefined ? 0 : at - before.at
  const growth = lagBefore === undefined || passed <= 0
    ? scaling.growth
    : smoothed(scaling.growth, (lag - lagBefore) / passed, passed)
  const work = workOf(seen)!
  // who handles nothing is not helped by more
  const isSlow = growth !== undefined && seen.rate > 0 && work > catchUpWithin / 4 &&
    etaOf(seen, growth) > catchUpWithin
  const isQuiet = work <= catchUpWithin / 8
  return {
    ...scaling,
    before: seen,
    growth,
    slowSince: isSlow ? scaling.slowSince ?? at : undefined,
    quietSince: isQuiet ? scaling.quietSince ?? at : undefined
  }
}

const smoothed = (before: number | undefined, now: number, passed: number): number =>
  before === undefined ? now : now + (before - now) * Math.exp(-passed / memory)

/** The power of two from a number on. */
const powerFrom = (n: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, n)))

const clamp = ({ max }: AutomaticWorkers, least: number, workers: number): number =>
  Math.min(max, Math.max(least, workers))

const text = (n: number | undefined): string => String(Math.round((n ?? 0) * 10) / 10)

const whyUp = ({ catchUpWithin }: AutomaticWorkers, { growth }: Scaling, seen: Observation): string => {
  const eta = etaOf(seen, growth ?? 0)
  const lag = seen.events === undefined ? `${text(seen.seconds)} s` : `${seen.events} events`
  const trend = eta === Infinity ? "which does not fall" : `which takes ${text(eta)} s more`
  return `${lag} behind, ${trend}, with ${text(seen.rate)} events a second: it is to catch up within ${
    text(catchUpWithin)
  } s`
}
