/** What is written in a storm, so that all know what has to be there after it. */
import type { Change } from "./Boards.ts"

export const replicas = ["eu", "us", "ap"]

/** The n-th command of a replica, each of which has one event. */
export const commandOf = (
  replica: string,
  n: number,
  entities: number
): { readonly id: string; readonly token: string; readonly change: Change } => {
  const kind = n % 4
  const member = `m${n % 7}`
  return {
    // each replica goes through the entities in an order of its own
    id: `b-${n * (replicas.indexOf(replica) * 2 + 1) % entities}`,
    token: `${replica}-${n}`,
    change: kind === 0
      ? { _tag: "Count", amount: n % 9 }
      : kind === 1
      ? { _tag: "Name", title: `${replica} ${n}` }
      : kind === 2
      ? { _tag: "Dismiss", member }
      : { _tag: "Admit", member }
  }
}
