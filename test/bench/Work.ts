/** How much processors work while something is measured: this process and all that it has started, databases among them, and everything else on the machine. */
import * as Effect from "effect/Effect"
import * as ProcessorTime from "../kit/processorTime.ts"

/** How many processors have worked, on average. */
export interface Cores {
  readonly own: number
  readonly others: number | undefined
}

/** Of what was counted: how long it took, and seconds of processors. */
let seconds = 0
let own = 0
let machine: number | undefined
let depth = 0

/** What counts while it runs: not what is prepared, or compared, before and after. */
export const counted = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const isOutermost = depth++ === 0
    const before = isOutermost ? ProcessorTime.ofAll() : undefined
    const machineBefore = isOutermost ? ProcessorTime.ofMachine() : undefined
    const at = performance.now()
    return Effect.onExit(effect, () =>
      Effect.sync(() => {
        depth--
        const after = before === undefined ? undefined : ProcessorTime.ofAll()
        if (before === undefined || after === undefined) return
        seconds += (performance.now() - at) / 1000
        own += after - before
        const machineAfter = ProcessorTime.ofMachine()
        if (machineBefore !== undefined && machineAfter !== undefined) {
          machine = (machine ?? 0) + machineAfter - machineBefore
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
    return Effect.map(effect, (result) =>
      [
        result,
        seconds === 0 ? undefined : {
          own: own / seconds,
          others: machine === undefined ? undefined : Math.max(0, (machine - own) / seconds)
        }
      ] as const)
  })
