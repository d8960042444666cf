import { create } from "@bufbuild/protobuf"
import * as Grpc from "@grpc/grpc-js"
import type { EventTooLarge } from "@sluice/core/Journal"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { constants } from "node:http2"
import { StreamOutSchema } from "../generated/akka/projection/grpc/event_producer_pb.ts"
import type { Pieces } from "../wire/frames.ts"
import { encode } from "../wire/methods.ts"
import { pack } from "../wire/packing.ts"
import { beatEvery, fromCause, Status, statusTrailer, toDetails } from "../wire/status.ts"
import type { Share } from "./SendBudget.ts"

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
  const trailers = metadata?.clone() ?? new Grpc.Metadata()
  trailers.set(statusTrailer, String(code))
  return { code, details: toDetails(details), metadata: trailers }
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

/** For how long, in milliseconds, the other side has the chance to read how a call has ended. */
const farewell = 1000

/**
 * Resets a call, after a moment, whose other side does not read: it would not read its status either, and what was written would stay
 * in memory. The library has no way to do so: this is a detail of it, which may change.
 */
const resetLater = (call: StreamingCall): void => {
  const { stream } = (call as unknown as { call?: { stream?: { close?: (code: number) => void } } }).call ?? {}
  setTimeout(() => stream?.close?.(constants.NGHTTP2_ENHANCE_YOUR_CALM), farewell).unref()
}

/** @internal Sends a stream, for as long as there is memory for it. */
export const within = <E>(
  call: StreamingCall,
  { refused }: Pick<Share, "refused">,
  sending: Effect.Effect<void, E>
): Effect.Effect<void, E | Status> =>
  Effect.raceFirst(sending, Effect.tapError(refused, () => Effect.sync(() => resetLater(call))))

/** @internal What writes to a call. */
export interface Writer {
  readonly write: (pieces: Pieces) => Effect.Effect<void, EventTooLarge>
  /** From now on says every few seconds that it is there, with an empty batch, when there is nothing else to say. */
  readonly beat: Effect.Effect<unknown, never, Scope.Scope>
}

/**
 * @internal
 * Writes pieces to a call, each when the one before is on its way: what waits for the other side is not made yet. Fails at an event
 * that is too large, after those before it.
 */
export const makeWriter = (call: StreamingCall, { wrote }: Pick<Share, "wrote">): Writer => {
  let writing = 0
  let timer: NodeJS.Timeout | undefined
  let wake: (() => void) | undefined
  const written = () => {
    wrote(--writing > 0)
    wake?.()
  }
  const idle: Effect.Effect<void> = Effect.callback((resume) => {
    wake = () => {
      if (writing === 0) resume(Effect.void)
    }
    wake()
  })
  const put = (piece: Buffer) => {
    if (writing++ === 0) wrote(true)
    call.write(piece, written)
  }
  const beat = () => {
    if (writing === 0) put(emptyBatch)
  }
  const write: Writer["write"] = (pieces) => {
    const go: Effect.Effect<void, EventTooLarge> = Effect.suspend(() => {
      if (writing > 0) return Effect.andThen(idle, go)
      const frames = pieces.next()
      if (frames === undefined) {
        const tooLarge = pieces.tooLarge()
        return tooLarge === undefined ? Effect.void : Effect.fail(tooLarge)
      }
      for (const piece of pack(frames)) {
        timer?.refresh()
        put(piece)
      }
      return go
    })
    return go
  }
  return {
    write,
    beat: Effect.acquireRelease(
      // by the network's clock, whatever a test makes of the fiber's
      Effect.sync(() => timer = setInterval(beat, beatEvery)),
      (timer) => Effect.sync(() => clearInterval(timer))
    )
  }
}

const emptyBatch = encode(StreamOutSchema, create(StreamOutSchema, { message: { case: "sluiceBatch", value: {} } }))
