import type * as Scheduler from "effect/Scheduler"

/** Has a fiber give way once, after so many operations, until the test lets it go on. */
export const givingWayAfter = (operations: number) => {
  let done = 0
  const tasks: Array<() => void> = []
  const scheduler: Scheduler.Scheduler = {
    executionMode: "async",
    shouldYield: () => done++ === operations,
    makeDispatcher: () => ({ scheduleTask: (task) => tasks.push(task), flush: () => {} })
  }
  const goOn = () => {
    for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) task()
  }
  return { scheduler, tasks, goOn }
}
