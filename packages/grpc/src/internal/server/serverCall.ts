import * as Grpc from "@grpc/grpc-js"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { IncomingCall, Method, Status as CallStatus } from "../../Call.ts"
import { frame } from "../../Call.ts"
import { bufferOf } from "../wire/bufferOf.ts"
import { whereFailed } from "../wire/failedAt.ts"
import { nameOf } from "../wire/methods.ts"
import { fromCause, Status, statusTrailer, toDetails } from "../wire/status.ts"
import type { Run } from "./Run.ts"
import type { Share } from "./SendBudget.ts"

/** @internal A method whose handler runs until it ends or the other side goes away. The call ends as the handler did. */
export const streaming = (
  path: string,
  run: Run,
  handler: (call: IncomingCall) => Effect.Effect<void, unknown>
): Method => ({
  path,
  serve: (call) => {
    const fiber = run(
      Effect.onExit(handler(call), (exit) =>
        Effect.suspend(() => {
          call.end(Exit.isSuccess(exit) ? ok : statusOf(exit.cause))
          return Exit.isSuccess(exit) || isForeseen(exit.cause)
            ? Effect.void
            : Effect.logWarning(`A call of ${nameOf(path)} failed${whereFailed(exit.cause, call.peer)}`, exit.cause)
        })).pipe(Effect.exit, Effect.asVoid)
    )
    call.onCancelled(() => fiber.interruptUnsafe())
  }
})

/** @internal A method with one answer. */
export const unary = (
  path: string,
  run: Run,
  handler: (request: Buffer, call: IncomingCall) => Effect.Effect<Buffer, unknown>
): Method =>
  streaming(
    path,
    run,
    (call) =>
      Effect.flatMap(
        Effect.flatMap(requestOf(call), (request) => handler(request, call)),
        (answer) => Effect.sync(() => call.write(frame(answer), () => {}))
      )
  )

/** @internal The one message of a client that sends no other. It is listened for at once. */
export const requestOf = (call: IncomingCall): Effect.Effect<Buffer, Status> => {
  const request = Deferred.makeUnsafe<Buffer, Status>()
  const refuse = (problem: string) =>
    Deferred.doneUnsafe(request, Effect.fail(new Status(Grpc.status.UNIMPLEMENTED, problem)))
  let received: Buffer | undefined
  call.receive(
    (message) => {
      if (received !== undefined) refuse("a second message, where the method takes one")
      received = bufferOf(message)
    },
    () => {
      if (received === undefined) refuse("no message, where the method takes one")
      else Deferred.doneUnsafe(request, Effect.succeed(received))
    }
  )
  return Deferred.await(request)
}

const ok: CallStatus = { code: Grpc.status.OK, details: "OK", trailers: {} }

const statusOf = (cause: Cause.Cause<unknown>): CallStatus => {
  const { code, details, trailers } = fromCause(cause)
  return { code, details: toDetails(details), trailers: { ...trailers, [statusTrailer]: String(code) } }
}

/** What was not foreseen is for the log of this side. */
const isForeseen = (cause: Cause.Cause<unknown>): boolean =>
  Cause.hasInterruptsOnly(cause) ||
  cause.reasons.some((reason) => Cause.isFailReason(reason) && reason.error instanceof Status)

/**
 * For how long the other side has the chance to read how a call has ended. One that reads slowly makes room in large steps, and what is
 * kept for it meanwhile is little.
 */
const farewell = Duration.seconds(20)

/** Resets a call, after a moment, whose other side does not read: it would not read its status either, and what was written stays. */
const resetLater = (call: IncomingCall, { clock, run }: Pick<Share, "clock" | "run">): Effect.Effect<unknown> =>
  Effect.sync(() => run(Effect.andThen(clock.sleep(farewell), Effect.sync(() => call.reset()))))

/** @internal Sends a stream, for as long as there is memory for it. */
export const within = <E>(
  call: IncomingCall,
  share: Pick<Share, "clock" | "refused" | "run">,
  sending: Effect.Effect<void, E>
): Effect.Effect<void, E | Status> =>
  Effect.raceFirst(sending, Effect.tapError(share.refused, () => resetLater(call, share)))
