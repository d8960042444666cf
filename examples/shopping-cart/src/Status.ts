/**
 * How things stand with the two services, and how that looks.
 */
import * as Display from "../../kit/src/Display.ts"
import type { State } from "../../kit/src/Supervisor.ts"

export interface Status {
  /** For how many seconds people have shopped, and will. */
  readonly elapsed: number
  readonly duration: number
  readonly cart: State
  readonly analytics: State
  readonly appended: number
  readonly appendedPerSecond: number
  readonly processed: number
  readonly processedPerSecond: number
  /** How many events the analytics service has yet to process. */
  readonly lag: number
  /** Of the events that were there when the analytics service came back, how many it has processed since. */
  readonly catchingUp: { readonly done: number; readonly total: number } | undefined
}

const { bar, bold, dim, green, number, processState, sparkline, yellow } = Display

const percent = (status: Status): number =>
  status.catchingUp === undefined ? 100 : Math.floor(100 * status.catchingUp.done / status.catchingUp.total)

// in one line

const columns = (cart: string, analytics: string, lag: string): string =>
  `${cart.padEnd(32)}${analytics.padEnd(32)}${lag.padStart(8)}`

const header = columns("cart service    appended", "analytics       processed", "lag")

const service = ({ state }: State, events: number, perSecond: number): string =>
  `${state.padEnd(8)}${number(events, 10)}${number(perSecond, 8)}/s`

const line = (_: Status): string =>
  columns(
    service(_.cart, _.appended, _.appendedPerSecond),
    service(_.analytics, _.processed, _.processedPerSecond),
    number(_.lag)
  ) + (_.catchingUp === undefined ? "" : `  catching up: ${percent(_)} %`)

// in several

const panel = (_: Status, lags: ReadonlyArray<number>): ReadonlyArray<string> => [
  "",
  `  ${bold("shopping cart")}      ${bar(_.elapsed / _.duration, 30)}  ${
    Math.min(_.elapsed, _.duration).toFixed(1)
  } of ${_.duration} s`,
  "",
  `  cart service       ${processState(_.cart)} appended  ${number(_.appended, 9)}  ${
    number(_.appendedPerSecond, 7)
  }/s`,
  `  analytics service  ${processState(_.analytics)} processed ${number(_.processed, 9)}  ${
    number(_.processedPerSecond, 7)
  }/s`,
  `  lag                ${(_.lag > 0 ? yellow : green)(`${number(_.lag)} events`.padEnd(14))} ${dim(sparkline(lags))}`,
  _.catchingUp === undefined
    ? ""
    : `  catching up        ${bar(percent(_) / 100, 30)}  ${percent(_)} % of ${number(_.catchingUp.total)} events`
]

const history = 48

/** Draws one after the other, with the lags of those before. */
export const drawing = () => {
  const lags: Array<number> = []
  return (status: Status): Display.Picture => {
    lags.push(status.lag)
    if (lags.length > history) lags.shift()
    return { header, line: line(status), panel: panel(status, lags) }
  }
}
