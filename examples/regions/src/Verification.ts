/**
 * Whether all regions have the same in the end: each command that was acknowledged once, wherever it belongs, and nothing else; and the same carts.
 */
import { Equal } from "effect"
import * as Cart from "./Cart.ts"
import type { Each, Stored } from "./Databases.ts"

/** What is known of a cart. */
export interface Known {
  readonly cart: string
  /** The commands that were acknowledged, by their events. */
  readonly acknowledged: ReadonlyArray<Stored>
  /** What each region has stored. */
  readonly events: Each<ReadonlyArray<Stored>>
  /** What people see in the regions where the cart is. */
  readonly contents: ReadonlyArray<Cart.Content>
}

export interface Report {
  /** The commands that were acknowledged. */
  readonly commands: number
  /** The events that were decided, and those of them that are kept in one region. */
  readonly events: number
  readonly kept: number
  /** Carts that are not the same in all regions. */
  readonly diverged: number
  /** Acknowledged, and missing in a region. */
  readonly lost: number
  /** Stored twice in a region, or by a command that was applied again. */
  readonly doubled: number
  /** In a region though it is kept in another one. */
  readonly leaked: number
}

export const isRight = ({ diverged, doubled, leaked, lost }: Report): boolean =>
  diverged + lost + doubled + leaked === 0

const nameOf = ({ origin, originSequenceNumber }: Stored): string => `${origin}#${originSequenceNumber}`

/** How many of the first are none of the second. */
const missing = (all: ReadonlySet<string>, some: ReadonlySet<string>): number =>
  [...all].filter((name) => !some.has(name)).length

export const compare = ({ acknowledged, cart, contents, events }: Known): Report => {
  const home = Cart.homeOf(cart)
  const right = new Set(acknowledged.map(nameOf))
  const decided = new Set<string>()
  let lost = 0
  let doubled = 0
  let leaked = 0
  for (const region of Cart.regions) {
    const stored = events[region].map(nameOf)
    const found = new Set(stored)
    if (home !== undefined && home !== region) leaked += stored.length
    else {
      doubled += stored.length - found.size
      lost += missing(right, found)
      for (const name of found) decided.add(name)
    }
  }
  // everybody has an answer in the end, so what was not acknowledged is what a command did again
  doubled += missing(decided, right)
  return {
    commands: acknowledged.length,
    events: decided.size,
    kept: home === undefined ? 0 : decided.size,
    diverged: contents.every((content) => Equal.equals(content, contents[0])) ? 0 : 1,
    lost,
    doubled,
    leaked
  }
}

export const sum = (reports: ReadonlyArray<Report>): Report => {
  const total = { commands: 0, events: 0, kept: 0, diverged: 0, lost: 0, doubled: 0, leaked: 0 }
  for (const report of reports) {
    for (const key of Object.keys(total) as Array<keyof Report>) total[key] += report[key]
  }
  return total
}
