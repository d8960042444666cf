/**
 * Runs three regions, cuts the links between them, kills one of them, and tells whether all of them have the same in the end.
 */
import { freePort } from "@sluice/testing/FreePort"
import { Console, Effect, Option, Schema } from "effect"
import { type Command, Flag } from "effect/cli"
import * as CommandLine from "../../kit/src/CommandLine.ts"
import * as DataFolder from "../../kit/src/DataFolder.ts"
import * as Display from "../../kit/src/Display.ts"
import * as Scenario from "./Scenario.ts"
import * as Verification from "./Verification.ts"

class RegionsDiffer extends Schema.TaggedError<RegionsDiffer>()("RegionsDiffer", { folder: Schema.String }) {
  override get message(): string {
    return `The regions do not have the same. Please report it, with what is in ${this.folder}`
  }
}

const flags = {
  duration: CommandLine.duration(25),
  rate: CommandLine.rate(100),
  port: CommandLine.integer("port", 0, 65_533).pipe(
    Flag.withDescription(
      "Where people shop in eu, 8100 by default; in us and ap it is at the next two. With 0, at three that are free"
    ),
    Flag.withDefault(8100)
  )
}

const each = (port: (i: number) => Effect.Effect<number>) => Effect.all({ eu: port(0), us: port(1), ap: port(2) })

const run = Effect.fn("main")(function*({ port, ...options }: Command.Command.Config.Infer<typeof flags>) {
  const folder = yield* DataFolder.acquire("regions", Option.none())
  const { say } = yield* Display.Display
  yield* say(`databases and logs are in ${folder.path}`)
  const httpPorts = yield* each((i) => port === 0 ? freePort : Effect.succeed(port + i))
  const ports = yield* each(() => freePort)
  const report = yield* Effect.scoped(Scenario.run({ ...options, httpPorts, ports }, folder))
  yield* say(
    `${Display.number(report.events - report.kept)} events are in all three regions, and ${
      Display.number(report.kept)
    } of German carts in eu alone`
  )
  if (report.leaked > 0) yield* say(`wrong: ${report.leaked} events of German carts are elsewhere`)
  const { commands, diverged, doubled, events, healed, kept, leaked, lost } = report
  yield* Console.log(
    `commands=${commands} events=${events} kept=${kept} leaked=${leaked} healed=${healed}ms ` +
      `diverged=${diverged} lost=${lost} doubled=${doubled}`
  )
  if (!Verification.isRight(report)) return yield* new RegionsDiffer({ folder: folder.path })
})

CommandLine.run("npm run start:regions --", {
  description:
    "Three regions write the same carts. The links between them are cut, and one is killed while people shop; at the end all of them are compared.",
  flags,
  program: run
})
