/**
 * How things stand with the regions, and how that looks.
 */
import * as Display from "../../kit/src/Display.ts"
import type { State } from "../../kit/src/Supervisor.ts"
import * as Cart from "./Cart.ts"
import type { Each } from "./Databases.ts"

export interface Status {
  /** For how many seconds people have shopped, and will. */
  readonly elapsed: number
  readonly duration: number
  readonly regions: Each<{
    readonly process: State
    /** How many events are in its journal. */
    readonly events: number
  }>
  /** How things are on the way from one region to another. */
  readonly links: ReadonlyArray<{
    readonly from: Cart.Region
    readonly to: Cart.Region
    readonly isCut: boolean
    readonly lag: number
  }>
}

const { bar, bold, green, number, processState, red, yellow } = Display

const nameOf = ({ from, to }: { readonly from: string; readonly to: string }): string => `${from}→${to}`

const headerOf = ({ links }: Status): string =>
  Cart.regions.map((region) => region.padEnd(18)).join("") + links.map((link) => nameOf(link).padStart(9)).join("")

const line = ({ links, regions }: Status): string =>
  Cart.regions.map((region) => {
    const { events, process } = regions[region]
    return `${process.state.padEnd(8)}${number(events, 8)}  `
  }).join("") + links.map(({ isCut, lag }) => `${isCut ? "✂" : " "}${number(lag)}`.padStart(9)).join("")

const panel = ({ duration, elapsed, links, regions }: Status): ReadonlyArray<string> => [
  "",
  `  ${bold("regions")}  ${bar(elapsed / duration, 30)}  ${Math.min(elapsed, duration).toFixed(1)} of ${duration} s`,
  "",
  ...Cart.regions.map((region) => {
    const { events, process } = regions[region]
    const behind = links.filter(({ to }) => to === region).map((link) => {
      const text = `${nameOf(link)} ${link.isCut ? "cut, " : ""}lag ${number(link.lag)}`.padEnd(24)
      return (link.isCut ? red : link.lag > 0 ? yellow : green)(text)
    })
    return `  ${region}  ${processState(process)} ${number(events, 8)} events   ${behind.join("")}`
  })
]

export const draw = (status: Status): Display.Picture => ({
  header: headerOf(status),
  line: line(status),
  panel: panel(status)
})
