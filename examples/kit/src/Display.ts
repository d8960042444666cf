/**
 * What the person at the terminal sees: what happened, and how things stand. Where stdout is no terminal, it is plain lines.
 */
import { Context, Deferred, type Duration, Effect, Layer, Schema } from "effect"
import type { State } from "./Supervisor.ts"

/** How things stand. */
export interface Picture {
  /** In one line, and what stands above such lines. */
  readonly line: string
  readonly header: string
  /** In several lines, for a terminal. */
  readonly panel: ReadonlyArray<string>
}

/** Nobody reads stdout any more. */
export class OutputClosed extends Schema.TaggedError<OutputClosed>()("OutputClosed", {}) {}

export class Display extends Context.Service<Display, {
  /** How often to show how things stand. */
  readonly interval: Duration.Input
  /** Something happened. */
  readonly say: (text: string) => Effect.Effect<void>
  readonly show: (picture: Picture) => Effect.Effect<void>
  /** Fails when nobody reads stdout any more. */
  readonly closed: Effect.Effect<never, OutputClosed>
}>()("examples/Display") {}

// what pictures are made of

export const number = (n: number, width = 0): string => Math.round(n).toLocaleString("en-US").padStart(width)

export const bar = (share: number, width: number): string => {
  const full = Math.round(Math.min(1, Math.max(0, share)) * width)
  return "█".repeat(full) + "░".repeat(width - full)
}

const sparks = "▁▂▃▄▅▆▇█"
export const sparkline = (values: ReadonlyArray<number>): string => {
  const most = Math.max(1, ...values)
  return values.map((value) => sparks[Math.ceil((sparks.length - 1) * value / most)]).join("")
}

const paint = (code: number) => (text: string): string => process.env["NO_COLOR"] ? text : `\x1b[${code}m${text}\x1b[0m`
export const bold = paint(1)
export const dim = paint(2)
export const red = paint(31)
export const green = paint(32)
export const yellow = paint(33)

/** How a process is, in as much room whatever its state is. */
export const processState = ({ pid, state }: State): string => {
  switch (state) {
    case "running":
      return `${green("● running")}  ${dim(`pid ${pid}`.padEnd(12))}`
    case "killed":
      return red("✗ killed".padEnd(23))
    default:
      return yellow(`○ ${state}`.padEnd(23))
  }
}

// how they are shown

const time = (n: number): string => `${n.toFixed(1).padStart(6)} s`

/** A line that wraps would spoil the counting of lines. */
const draw = (lines: ReadonlyArray<string>) => lines.map((line) => `\x1b[?7l${line}\x1b[?7h\n`).join("")

const make = Effect.gen(function*() {
  const { stdout } = process
  const closed = yield* Deferred.make<never, OutputClosed>()
  // for good: what is still to be written then meets the same end
  stdout.on("error", () => Deferred.doneUnsafe(closed, Effect.fail(new OutputClosed())))
  const write = (text: string) => Effect.sync(() => void stdout.write(text))
  const start = performance.now()
  const now = () => time((performance.now() - start) / 1000)

  if (!stdout.isTTY) {
    let lines = 0
    return Display.of({
      interval: "1000 millis",
      say: (text) => write(`${now()}  > ${text}\n`),
      show: ({ header, line }) =>
        write(`${lines++ % 10 === 0 ? `${" ".repeat(10)}${header}\n` : ""}${now()}  ${line}\n`),
      closed: Deferred.await(closed)
    })
  }

  let shown: ReadonlyArray<string> = []
  /** Moves the cursor to where the panel begins, and clears it. */
  const erase = () => shown.length === 0 ? "" : `\x1b[${shown.length}A\x1b[J`
  yield* Effect.acquireRelease(write("\x1b[?25l"), () => write("\x1b[?25h"))
  return Display.of({
    interval: "200 millis",
    say: (text) => Effect.suspend(() => write(`${erase()}${dim(now())}  ${text}\n${draw(shown)}`)),
    show: ({ panel }) =>
      Effect.suspend(() => {
        const before = erase()
        shown = panel
        return write(before + draw(shown))
      }),
    closed: Deferred.await(closed)
  })
})

export const layer: Layer.Layer<Display> = Layer.effect(Display, make)
