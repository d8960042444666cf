/**
 * The process that started a service: the service reports to it on stdout, a line of JSON each, and dies with it.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Cause, Console, Context, Effect, Layer, Logger, Schema, Stdio, Stream } from "effect"

/** What a service says. */
export const Report = Schema.TaggedUnion({
  Ready: {},
  Failed: { message: Schema.String }
})
export type Report = typeof Report.Type

const ReportLine = Schema.fromJsonString(Report)
export const decodeReport = Schema.decodeOption(ReportLine)
const encodeReport = Schema.encodeSync(ReportLine)

export class Parent extends Context.Service<Parent, {
  readonly report: (report: Report) => Effect.Effect<void>
}>()("examples/Parent") {}

/** The error itself, in one line. */
export const messageOf = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  return (error instanceof Error ? error.message : String(error)).split("\n", 1)[0]!
}

const report = (report: Report) => Console.log(encodeReport(report))

/** Runs a service as this process. When stdin ends, the parent is gone, however it died, and the service ends as well. */
export const run = <E>(service: Effect.Effect<never, E, Parent>): void =>
  Effect.gen(function*() {
    const { stdin } = yield* Stdio.Stdio
    yield* Effect.raceFirst(service, Stream.runDrain(stdin)).pipe(Effect.provideService(Parent, { report }))
  }).pipe(
    Effect.tapCause((cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.void
        : Effect.andThen(report({ _tag: "Failed", message: messageOf(cause) }), Effect.logError(cause))
    ),
    // stdout is for reports
    Effect.provide(Layer.mergeAll(NodeServices.layer, Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)]))),
    NodeRuntime.runMain({ disableErrorReporting: true })
  )

/** Runs a service that a layer is. */
export const launch = <E>(service: Layer.Layer<never, E>): void =>
  run(Effect.gen(function*() {
    const { report } = yield* Parent
    return yield* Effect.andThen(report({ _tag: "Ready" }), Effect.never).pipe(Effect.provide(service))
  }))
