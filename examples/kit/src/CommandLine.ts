/**
 * What all programs do at their edge: flags, the end, and a line for what went wrong.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Cause, Console, Effect, Exit, Layer, Schedule, type Scope } from "effect"
import { CliConfig, CliError, Command, Flag, GlobalFlag } from "effect/cli"
import * as Display from "./Display.ts"
import { messageOf } from "./Parent.ts"

export const integer = (name: string, min: number, max: number) =>
  Flag.Int(name).pipe(Flag.filter((n) => n >= min && n <= max, () => `an integer from ${min} to ${max}`))

export const duration = (seconds: number) =>
  integer("duration", 5, 3600).pipe(
    Flag.withMetavar("seconds"),
    Flag.withDescription(`For how long people shop, ${seconds} by default`),
    Flag.withDefault(seconds)
  )

export const rate = (commands: number) =>
  integer("rate", 1, 20_000).pipe(
    Flag.withMetavar("commands"),
    Flag.withDescription(`How many things they do a second, ${commands} by default`),
    Flag.withDefault(commands)
  )

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

/** One line for what is foreseen, and all that is known of what is not. */
const explain = (cause: Cause.Cause<unknown>): Effect.Effect<void> => {
  if (Cause.hasInterruptsOnly(cause)) return Console.error("Stopped before the end; the services are stopped as well.")
  if (Cause.hasDies(cause)) return Console.error(Cause.pretty(cause))
  const error = Cause.squash(cause)
  // the command line has explained itself, and nobody reads on
  if (error instanceof CliError.ShowHelp || error instanceof Display.OutputClosed) return Effect.void
  return Console.error(messageOf(cause))
}

export const run = <Flags extends Command.Command.Config, E>(
  name: string,
  options: {
    readonly description: string
    readonly flags: Flags
    readonly program: (
      flags: Command.Command.Config.Infer<Flags>
    ) => Effect.Effect<void, E, NodeServices.NodeServices | Display.Display | Scope.Scope>
  }
): void =>
  Command.make(name, options.flags, options.program).pipe(
    Command.withDescription(options.description),
    Command.run({ version: "0.1.0" }),
    Effect.scoped,
    Effect.raceFirst(orphaned),
    Effect.provide(
      Layer.mergeAll(NodeServices.layer, Display.layer, CliConfig.layer({ builtIns: [GlobalFlag.Help] }))
    ),
    Effect.onExit((exit) => Exit.isFailure(exit) ? explain(exit.cause) : Effect.void),
    NodeRuntime.runMain({ disableErrorReporting: true })
  )
