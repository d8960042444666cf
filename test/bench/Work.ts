/** How much processors work while something is measured: this process and all that it has started, databases among them, and everything else on the machine. */
import * as Effect from "effect/Effect"
import { readdirSync, readFileSync } from "node:fs"
import { availableParallelism } from "node:os"

/** In what the kernel counts in, on all machines that are known. */
const ticksPerSecond = 100

interface Ticks {
  /** Of this process and all below it, those that have ended included. */
  readonly own: number
  /** Of all processors. Those of a machine that shows more than this process may use say nothing about it. */
  readonly machine: number | undefined
}

/** Undefined where there is no /proc. */
const read = (): Ticks | undefined => {
  try {
    const ticks = new Map<number, number>()
    const children = new Map<number, Array<number>>()
    for (const name of readdirSync("/proc")) {
      const pid = Number(name)
      if (!Number.isInteger(pid)) continue
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, "latin1")
        // the name of the program, in parentheses, may have anything in it
        const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
        ticks.set(pid, fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0))
        const parent = Number(fields[1])
        children.set(parent, [...(children.get(parent) ?? []), pid])
      } catch {
        // it has ended meanwhile
      }
    }
    const below = (pid: number): number =>
      (children.get(pid) ?? []).reduce((sum, child) => sum + below(child), ticks.get(pid) ?? 0)
    const [all, ...each] = readFileSync("/proc/stat", "latin1").split("\n").filter((line) => line.startsWith("cpu"))
    const [user, nice, system, , , irq, softirq, steal] = all!.trim().split(/\s+/).slice(1).map(Number)
    return {
      own: below(process.pid),
      machine: each.length > availableParallelism()
        ? undefined
        : user! + nice! + system! + irq! + softirq! + steal!
    }
  } catch {
    return undefined
  }
}

/** How many processors have worked, on average. */
export interface Cores {
  readonly own: number
  readonly others: number | undefined
}

let seconds = 0
let own = 0
let machine: number | undefined
let depth = 0

/** What counts while it runs: not what is prepared, or compared, before and after. */
export const counted = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const [before, at] = [depth++ === 0 ? read() : undefined, performance.now()]
    return Effect.onExit(effect, () =>
      Effect.sync(() => {
        depth--
        const after = before && read()
        if (before === undefined || after === undefined) return
        seconds += (performance.now() - at) / 1000
        own += after.own - before.own
        if (before.machine !== undefined && after.machine !== undefined) {
          machine = (machine ?? 0) + after.machine - before.machine
        }
      }))
  })

/** Gives, besides what the effect gives, what was counted in it; undefined where nothing was. */
export const during = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<readonly [A, Cores | undefined], E, R> =>
  Effect.suspend(() => {
    seconds = own = 0
    machine = undefined
    return Effect.map(effect, (result) => {
      if (seconds === 0) return [result, undefined] as const
      const cores = (ticks: number) => ticks / ticksPerSecond / seconds
      return [
        result,
        { own: cores(own), others: machine === undefined ? undefined : Math.max(0, cores(machine - own)) }
      ] as const
    })
  })
