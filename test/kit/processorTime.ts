/** How much processor time processes have had. What else the machine does has little part in that. */
import * as Fs from "node:fs"

/** The processes of Linux, by that which has started them. */
const children = (): Map<number, Array<number>> => {
  const found = new Map<number, Array<number>>()
  for (const name of Fs.readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue
    const stat = readOrNothing(`/proc/${name}/stat`)
    // the name of a program, which may contain anything, is before the last bracket
    const parent = Number(stat.slice(stat.lastIndexOf(")") + 1).trim().split(" ")[1])
    const siblings = found.get(parent)
    if (siblings === undefined) found.set(parent, [Number(name)])
    else siblings.push(Number(name))
  }
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
  if (process.platform !== "linux") return 0
  const all = children()
  const pids = [...all.get(process.pid) ?? []]
  let nanos = 0
  // it grows meanwhile
  for (const pid of pids) {
    pids.push(...all.get(pid) ?? [])
    for (const thread of threadsOf(pid)) {
      nanos += Number(readOrNothing(`/proc/${pid}/task/${thread}/schedstat`).split(" ")[0])
    }
  }
  return nanos / 1e6
}

/** Milliseconds that this process has had. */
export const ofThis = (): number => {
  const { system, user } = process.cpuUsage()
  return (system + user) / 1e3
}
