/**
 * Runs both services, kills them, starts them again, and tells whether anything was lost, doubled or reordered.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Cause, Console, Effect, Exit, Layer, Schedule, Schema } from "effect"
import { CliConfig, CliError, Command, Flag, GlobalFlag } from "effect/cli"
import * as Path from "node:path"
import * as DataFolder from "./DataFolder.ts"
import * as Display from "./Display.ts"
import { messageOf } from "./Parent.ts"
import * as Scenario from "./Scenario.ts"
import * as Verification from "./Verification.ts"

class DatabasesDiffer extends Schema.TaggedError<DatabasesDiffer>()("DatabasesDiffer", { folder: Schema.String }) {
  override get message(): string {
    return `The two databases do not agree. Please report it, with what is in ${this.folder}`
  }
}

const integer = (name: string, min: number, max: number) =>
  Flag.Int(name).pipe(Flag.filter((n) => n >= min && n <= max, () => `an integer from ${min} to ${max}`))

const flags = {
  duration: integer("duration", 5, 3600).pipe(
    Flag.withMetavar("seconds"),
    Flag.withDescription("For how long people shop, 25 by default"),
    Flag.withDefault(25)
  ),
  rate: integer("rate", 1, 20_000).pipe(
    Flag.withMetavar("events"),
    Flag.withDescription("How many events a second they cause, 300 by default"),
    Flag.withDefault(300)
  ),
  port: integer("port", 1, 65_535).pipe(
    Flag.withDescription("Where the cart service listens, 8101 by default"),
    Flag.withDefault(8101)
  ),
  dir: Flag.String("dir").pipe(
    Flag.withMetavar("folder"),
    Flag.withDescription("Where databases and logs are kept, and found again; by default a temporary folder"),
    // npm runs scripts in the folder of their package, and tells where it was called
    Flag.map((dir) => Path.resolve(process.env["INIT_CWD"] ?? "", dir)),
    Flag.optional
  )
}

const number = (n: number) => n.toLocaleString("en-US")

const run = Effect.fn("main")(function*({ dir, ...options }: Command.Command.Config.Infer<typeof flags>) {
  const folder = yield* DataFolder.acquire(dir)
  const display = yield* Display.Display
  yield* display.say(`databases and logs are in ${folder.path}`)
  const report = yield* Effect.scoped(Scenario.run(options, folder))
  const internal = report.events - report.appended
  yield* display.say(`${number(report.events)} events in the journal, ${number(internal)} of them internal`)
  if (report.differences.length === 0) {
    yield* display.say(`the quantities of all ${report.products} products are the same in both databases`)
  }
  for (const { appended, projected, sku } of report.differences) {
    yield* display.say(`wrong: ${appended} ${sku} in the carts, but ${projected} in the analytics database`)
  }
  if (report.foreign > 0) yield* display.say(`wrong: ${report.foreign} events were handled that are not public`)
  yield* Console.log(Verification.format(report))
  if (!Verification.isRight(report)) return yield* new DatabasesDiffer({ folder: folder.path })
})

/** npm's shell passes no SIGTERM on. Where npm has started this process, it ends with that shell. */
const orphaned = Effect.suspend(() => {
  const parent = process.ppid
  return process.env["npm_lifecycle_event"] === undefined
    ? Effect.never
    : Effect.andThen(
      Effect.repeat(Effect.sync(() => process.ppid), {
        until: (_) => _ !== parent,
        schedule: Schedule.spaced("250 millis")
      }),
      Effect.interrupt
    )
})

/** The edge: one line for what is foreseen, and all that is known of what is not. */
const explain = (cause: Cause.Cause<unknown>): Effect.Effect<void> => {
  if (Cause.hasInterruptsOnly(cause)) return Console.error("Stopped before the end; both services are stopped as well.")
  if (Cause.hasDies(cause)) return Console.error(Cause.pretty(cause))
  const error = Cause.squash(cause)
  // the command line has explained itself, and nobody reads on
  if (error instanceof CliError.ShowHelp || error instanceof Display.OutputClosed) return Effect.void
  return Console.error(messageOf(cause))
}

Command.make("npm start --", flags, run).pipe(
  Command.withDescription(
    "Two services share the events of shopping carts; both are killed while people shop, and started again, and one changes its filter. " +
      "At the end both databases are compared."
  ),
  Command.run({ version: "0.1.0" }),
  Effect.scoped,
  Effect.raceFirst(orphaned),
  Effect.provide(
    Layer.mergeAll(NodeServices.layer, Display.layer, CliConfig.layer({ builtIns: [GlobalFlag.Help] }))
  ),
  Effect.onExit((exit) => Exit.isFailure(exit) ? explain(exit.cause) : Effect.void),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
