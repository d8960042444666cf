/** How much processor time processes have had. What else the machine does has little part in that. */
import * as Fs from "node:fs"
import { availableParallelism } from "node:os"

/** In what the kernel counts in, on all machines that are known. */
const ticksPerSecond = 100

interface Process {
  readonly pid: number
  /** Hundredths of seconds that it has had, and those that it has started and that have ended. */
  readonly ticks: number
}

/** This process and all that it has started, and those in their turn; none where the system is not Linux. */
const tree = (): ReadonlyArray<Process> => {
  if (process.platform !== "linux") return []
  const children = new Map<number, Array<Process>>()
  const found: Array<Process> = []
  for (const name of Fs.readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue
    const stat = readOrNothing(`/proc/${name}/stat`)
    // the name of a program, which may contain anything, is before the last bracket
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    const one = { pid: Number(name), ticks: fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0) }
    const parent = Number(fields[1])
    const siblings = children.get(parent)
    if (siblings === undefined) children.set(parent, [one])
    else siblings.push(one)
    if (one.pid === process.pid) found.push(one)
  }
  // it grows meanwhile
  for (const { pid } of found) found.push(...children.get(pid) ?? [])
  return found
}

/** It may have ended meanwhile. */
const readOrNothing = (file: string): string => {
  try {
    return Fs.readFileSync(file, "utf8")
  } catch {
    return ""
  }
}

const threadsOf = (pid: number): ReadonlyArray<string> => {
  try {
    return Fs.readdirSync(`/proc/${pid}/task`)
  } catch {
    return []
  }
}

/**
 * Milliseconds that all processes have had together that this one has started, such as database servers, and those that they have; 0 where the system is not Linux. What has ended
 * meanwhile does not count.
 */
export const ofDescendants = (): number => {
  let nanos = 0
  for (const { pid } of tree()) {
    if (pid === process.pid) continue
    for (const thread of threadsOf(pid)) {
      nanos += Number(readOrNothing(`/proc/${pid}/task/${thread}/schedstat`).split(" ")[0])
    }
  }
  return nanos / 1e6
}

/**
 * Seconds that this process and all of these have had together, those that have ended meanwhile included, to a hundredth of a second each; undefined where the system is not Linux.
 */
export const ofAll = (): number | undefined => {
  const all = tree()
  return all.length === 0 ? undefined : all.reduce((sum, { ticks }) => sum + ticks, 0) / ticksPerSecond
}

/** Seconds that the processors of the machine have worked; undefined where that is not known, or it has more of them than this process may use, of which these say nothing. */
export const ofMachine = (): number | undefined => {
  const [all, ...each] = readOrNothing("/proc/stat").split("\n").filter((line) => line.startsWith("cpu"))
  if (all === undefined || each.length > availableParallelism()) return undefined
  const [user, nice, system, , , irq, softirq, steal] = all.trim().split(/\s+/).slice(1).map(Number)
  return (user! + nice! + system! + irq! + softirq! + steal!) / ticksPerSecond
}

/** Milliseconds that this process has had. */
export const ofThis = (): number => {
  const { system, user } = process.cpuUsage()
  return (system + user) / 1e3
}
