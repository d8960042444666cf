/**
 * What the person at the terminal sees: what happened, and how things stand. Where stdout is no terminal, it is plain lines.
 */
import { Context, Deferred, type Duration, Effect, Layer, Schema } from "effect"
import type { State } from "./Supervisor.ts"

/** How things stand. */
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

/** Nobody reads stdout any more. */
export class OutputClosed extends Schema.TaggedError<OutputClosed>()("OutputClosed", {}) {}

export class Display extends Context.Service<Display, {
  /** How often to show how things stand. */
  readonly interval: Duration.Input
  /** Something happened. */
  readonly say: (text: string) => Effect.Effect<void>
  readonly show: (status: Status) => Effect.Effect<void>
  /** Fails when nobody reads stdout any more. */
  readonly closed: Effect.Effect<never, OutputClosed>
}>()("shopping-cart/Display") {}

const number = (n: number, width = 0): string => Math.round(n).toLocaleString("en-US").padStart(width)
const seconds = (n: number): string => `${n.toFixed(1).padStart(6)} s`
const percent = (status: Status): number =>
  status.catchingUp === undefined ? 100 : Math.floor(100 * status.catchingUp.done / status.catchingUp.total)

// plain lines

const plainColumns = (time: string, cart: string, analytics: string, lag: string): string =>
  `${time.padStart(8)}  ${cart.padEnd(32)}${analytics.padEnd(32)}${lag.padStart(8)}`

const plainHeader = plainColumns("", "cart service    appended", "analytics       processed", "lag")

const plainService = ({ state }: State, events: number, perSecond: number): string =>
  `${state.padEnd(8)}${number(events, 10)}${number(perSecond, 8)}/s`

const plainLine = (time: string, _: Status): string =>
  plainColumns(
    time,
    plainService(_.cart, _.appended, _.appendedPerSecond),
    plainService(_.analytics, _.processed, _.processedPerSecond),
    number(_.lag)
  ) + (_.catchingUp === undefined ? "" : `  catching up: ${percent(_)} %`)

// a terminal

const bar = (share: number, width: number): string => {
  const full = Math.round(Math.min(1, Math.max(0, share)) * width)
  return "█".repeat(full) + "░".repeat(width - full)
}

const sparks = "▁▂▃▄▅▆▇█"
const sparkline = (values: ReadonlyArray<number>): string => {
  const most = Math.max(1, ...values)
  return values.map((value) => sparks[Math.ceil((sparks.length - 1) * value / most)]).join("")
}

const paint = (code: number) => (text: string): string => process.env["NO_COLOR"] ? text : `\x1b[${code}m${text}\x1b[0m`
const bold = paint(1)
const dim = paint(2)
const red = paint(31)
const green = paint(32)
const yellow = paint(33)

const stateOf = ({ pid, state }: State): string => {
  switch (state) {
    case "running":
      return `${green("● running")}  ${dim(`pid ${pid}`.padEnd(12))}`
    case "killed":
      return `${red("✗ killed")}                `
    default:
      return `${yellow(`○ ${state}`.padEnd(10))}              `
  }
}

const panel = (_: Status, lags: ReadonlyArray<number>): ReadonlyArray<string> => [
  "",
  `  ${bold("shopping cart")}      ${bar(_.elapsed / _.duration, 30)}  ${
    Math.min(_.elapsed, _.duration).toFixed(1)
  } of ${_.duration} s`,
  "",
  `  cart service       ${stateOf(_.cart)} appended  ${number(_.appended, 9)}  ${number(_.appendedPerSecond, 7)}/s`,
  `  analytics service  ${stateOf(_.analytics)} processed ${number(_.processed, 9)}  ${
    number(_.processedPerSecond, 7)
  }/s`,
  `  lag                ${(_.lag > 0 ? yellow : green)(`${number(_.lag)} events`.padEnd(14))} ${dim(sparkline(lags))}`,
  _.catchingUp === undefined
    ? ""
    : `  catching up        ${bar(percent(_) / 100, 30)}  ${percent(_)} % of ${number(_.catchingUp.total)} events`
]

/** A line that wraps would spoil the counting of lines. */
const draw = (lines: ReadonlyArray<string>) => lines.map((line) => `\x1b[?7l${line}\x1b[?7h\n`).join("")

const history = 48

const make = Effect.gen(function*() {
  const { stdout } = process
  const closed = yield* Deferred.make<never, OutputClosed>()
  // for good: what is still to be written then meets the same end
  stdout.on("error", () => Deferred.doneUnsafe(closed, Effect.fail(new OutputClosed())))
  const write = (text: string) => Effect.sync(() => void stdout.write(text))
  const start = performance.now()
  const now = () => seconds((performance.now() - start) / 1000)

  if (!stdout.isTTY) {
    let lines = 0
    return Display.of({
      interval: "1000 millis",
      say: (text) => write(`${now()}  > ${text}\n`),
      show: (status) => write(`${lines++ % 10 === 0 ? `${plainHeader}\n` : ""}${plainLine(now(), status)}\n`),
      closed: Deferred.await(closed)
    })
  }

  const lags: Array<number> = []
  let shown: ReadonlyArray<string> = []
  /** Moves the cursor to where the panel begins, and clears it. */
  const erase = () => shown.length === 0 ? "" : `\x1b[${shown.length}A\x1b[J`
  yield* Effect.acquireRelease(write("\x1b[?25l"), () => write("\x1b[?25h"))
  return Display.of({
    interval: "200 millis",
    say: (text) => Effect.suspend(() => write(`${erase()}${dim(now())}  ${text}\n${draw(shown)}`)),
    show: (status) =>
      Effect.suspend(() => {
        lags.push(status.lag)
        if (lags.length > history) lags.shift()
        const before = erase()
        shown = panel(status, lags)
        return write(before + draw(shown))
      }),
    closed: Deferred.await(closed)
  })
})

export const layer: Layer.Layer<Display> = Layer.effect(Display, make)
