/**
 * The process that started a service: the service reports to it on stdout, a line of JSON each, and dies with it.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Cause, Console, Context, Deferred, Effect, Layer, Logger, Schema, Stdio, Stream } from "effect"

/** What a service says. */
export const Report = Schema.TaggedUnion({
  Ready: {},
  /** Nothing will be appended any more. */
  Closed: {},
  Failed: { message: Schema.String }
})
export type Report = typeof Report.Type

const ReportLine = Schema.fromJsonString(Report)
export const decodeReport = Schema.decodeOption(ReportLine)
const encodeReport = Schema.encodeSync(ReportLine)

/** The line on stdin that asks the service to append nothing any more. */
export const closingTime = "closing time"

export class Parent extends Context.Service<Parent, {
  readonly report: (report: Report) => Effect.Effect<void>
  /** Ends when the parent asks for it. */
  readonly closingTime: Effect.Effect<void>
}>()("shopping-cart/Parent") {}

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
    const closing = yield* Deferred.make<void>()
    const listen = stdin.pipe(
      Stream.decodeText,
      Stream.splitLines,
      Stream.runForEach((line) => line === closingTime ? Deferred.succeed(closing, void 0) : Effect.void)
    )
    yield* Effect.raceFirst(service, listen).pipe(
      Effect.provideService(Parent, { report, closingTime: Deferred.await(closing) })
    )
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
