import type * as Grpc from "@grpc/grpc-js"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { fromCause, Status } from "./status.ts"

/** @internal A JVM consumer accepts no larger message. */
export const maxMessageBytes = 4 * 1024 * 1024

/** @internal A call whose answers are a stream. */
export type StreamingCall = Grpc.ServerDuplexStream<Buffer, Buffer> | Grpc.ServerWritableStream<Buffer, Buffer>

/** @internal Runs the handler until it ends or the other side goes away, and ends the call as it did. */
export const respondStreaming = (
  method: string,
  call: StreamingCall,
  handler: Effect.Effect<void, unknown>,
  run: Run
): void => {
  // a call that fails says so when nobody may be listening any more
  call.on("error", () => {})
  respond(method, call, handler, run, (exit) => {
    if (call.cancelled) return
    if (Exit.isSuccess(exit)) call.end()
    else call.emit("error", statusObject(exit.cause))
  })
}

/** @internal */
export const respondUnary = (
  method: string,
  call: Grpc.ServerUnaryCall<Buffer, Buffer>,
  callback: Grpc.sendUnaryData<Buffer>,
  handler: Effect.Effect<Buffer, unknown>,
  run: Run
): void =>
  respond(method, call, handler, run, (exit) => {
    if (Exit.isSuccess(exit)) callback(null, exit.value)
    else callback(statusObject(exit.cause))
  })

/** @internal */
export type Run = (effect: Effect.Effect<void>) => Fiber.Fiber<void>

const statusObject = (cause: Cause.Cause<unknown>): Partial<Grpc.StatusObject> => {
  const { code, details, metadata } = fromCause(cause)
  return { code, details, ...(metadata && { metadata }) }
}

const respond = <A>(
  method: string,
  call: { readonly once: (event: "cancelled", f: () => void) => unknown },
  handler: Effect.Effect<A, unknown>,
  run: Run,
  end: (exit: Exit.Exit<A, unknown>) => void
): void => {
  const fiber = run(
    Effect.onExit(handler, (exit) =>
      Effect.suspend(() => {
        end(exit)
        return Exit.isSuccess(exit) || isForeseen(exit.cause)
          ? Effect.void
          : Effect.logWarning(`A call of ${method} failed`, exit.cause)
      })).pipe(Effect.exit, Effect.asVoid)
  )
  call.once("cancelled", () => fiber.interruptUnsafe())
}

/** What was not foreseen is for the log of this side. */
const isForeseen = (cause: Cause.Cause<unknown>): boolean =>
  Cause.hasInterruptsOnly(cause) ||
  cause.reasons.some((reason) => Cause.isFailReason(reason) && reason.error instanceof Status)

/** @internal Writes the messages, and waits where the other side does not keep up. */
export const writeAll = (call: StreamingCall, messages: ReadonlyArray<Buffer>): Effect.Effect<void> =>
  Effect.suspend(() => {
    let next = 0
    const go: Effect.Effect<void> = Effect.suspend(() => {
      while (next < messages.length) {
        if (!call.write(messages[next++]!)) return Effect.andThen(drained(call), go)
      }
      return Effect.void
    })
    return go
  })

const drained = (call: StreamingCall): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const done = () => resume(Effect.void)
    call.once("drain", done)
    return Effect.sync(() => call.off("drain", done))
  })
