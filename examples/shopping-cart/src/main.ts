/**
 * Runs both services, kills them, starts them again, and tells whether anything was lost, doubled or reordered.
 */
import { Console, Effect, Schema } from "effect"
import { type Command, Flag } from "effect/cli"
import * as Path from "node:path"
import * as CommandLine from "../../kit/src/CommandLine.ts"
import * as DataFolder from "../../kit/src/DataFolder.ts"
import * as Display from "../../kit/src/Display.ts"
import * as Commands from "./Commands.ts"
import * as Scenario from "./Scenario.ts"
import * as Verification from "./Verification.ts"

class DatabasesDiffer extends Schema.TaggedError<DatabasesDiffer>()("DatabasesDiffer", { folder: Schema.String }) {
  override get message(): string {
    return `The two databases do not agree. Please report it, with what is in ${this.folder}`
  }
}

const flags = {
  duration: CommandLine.duration(25),
  rate: CommandLine.rate(300),
  port: CommandLine.integer("port", 1, 65_535).pipe(
    Flag.withDescription("Where the cart service offers its events, 8101 by default"),
    Flag.withDefault(8101)
  ),
  httpPort: CommandLine.integer("http-port", 1, 65_535).pipe(
    Flag.withDescription("Where people shop, 8100 by default"),
    Flag.withDefault(8100)
  ),
  dir: Flag.String("dir").pipe(
    Flag.withMetavar("folder"),
    Flag.withDescription("Where databases and logs are kept, and found again; by default a temporary folder"),
    // npm runs scripts in the folder of their package, and tells where it was called
    Flag.map((dir) => Path.resolve(process.env["INIT_CWD"] ?? "", dir)),
    Flag.optional
  )
}

const run = Effect.fn("main")(function*({ dir, ...options }: Command.Command.Config.Infer<typeof flags>) {
  const folder = yield* DataFolder.acquire("shopping-cart", dir)
  const display = yield* Display.Display
  yield* display.say(`databases and logs are in ${folder.path}`)
  const report = yield* Effect.scoped(Scenario.run(options, folder))
  const internal = report.events - report.appended
  yield* display.say(
    `${Display.number(report.events)} events in the journal, ${Display.number(internal)} of them internal`
  )
  if (report.differences.length === 0) {
    yield* display.say(`the quantities of all ${report.products} products are the same in both databases`)
  }
  for (const { appended, projected, sku } of report.differences) {
    yield* display.say(`wrong: ${appended} ${sku} in the carts, but ${projected} in the analytics database`)
  }
  if (report.foreign > 0) yield* display.say(`wrong: ${report.foreign} events were handled that are not public`)
  const { commands, repeated } = report
  yield* display.say(
    `${Display.number(commands.acknowledged)} commands were acknowledged, ${
      Display.number(repeated)
    } of them after a repetition, ` +
      (Commands.isRight(commands) ? "and each was applied once" : "which is wrong:")
  )
  if (!Commands.isRight(commands)) {
    yield* display.say(`${commands.lost} of them are not in the journal, and ${commands.doubled} were applied again`)
  }
  const { doubled, lost } = report
  yield* Console.log(
    `commands=${commands.acknowledged} repeated=${repeated} ` +
      Verification.format({ ...report, lost: lost + commands.lost, doubled: doubled + commands.doubled })
  )
  if (!(Verification.isRight(report) && Commands.isRight(commands))) {
    return yield* new DatabasesDiffer({ folder: folder.path })
  }
})

CommandLine.run("npm start --", {
  description:
    "Two services share the events of shopping carts; both are killed while people shop, and started again, and one changes its filter. " +
    "At the end both databases are compared.",
  flags,
  program: run
})
