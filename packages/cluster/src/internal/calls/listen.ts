import { frame, type IncomingCall } from "@sluice/grpc/Call"
import { CallTransport } from "@sluice/grpc/CallTransport"
import type { ServerTls } from "@sluice/grpc/Tls"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Scope from "effect/Scope"
import { ListenError } from "../../ListenError.ts"
import { addressOf } from "./Connections.ts"
import { InHand } from "./InHand.ts"
import { bytesHeader, maxCalls, maxMessageBytes, notBegunTrailer, path, processHeader } from "./method.ts"

/** Connections at once. Each process that calls has one. */
const maxConnections = 1_000

/** For how long a command may take to be read, and its answer. */
const transferWithin = "30 seconds"

/** Statuses of gRPC. */
const ok = 0
const invalidArgument = 3
const resourceExhausted = 8
const failedPrecondition = 9
const unavailable = 14

/**
 * @internal
 * What is done with a command: the effect gives its answer, and never fails. It is interrupted when whoever has sent the command has gone, or waits no longer.
 */
export type Serve = (command: Uint8Array) => Effect.Effect<string>

/** @internal Listens for as long as the scope, and gives the port. */
export const listen = ({ host, isMe, port, serve, silence, tls }: {
  readonly host: string
  readonly port: number
  readonly tls: ServerTls | undefined
  /** For how long, in milliseconds, another process may say nothing. */
  readonly silence: number
  /** How this process is called by the others, which they have to know. */
  readonly isMe: (name: string) => boolean
  readonly serve: Serve
}): Effect.Effect<number, ListenError, Scope.Scope> =>
  Effect.gen(function*() {
    const transport = yield* CallTransport
    // closed before the server shuts down, so that every call is told
    const calls = yield* Scope.fork(yield* Effect.scope)
    const run = yield* Scope.provide(FiberSet.makeRuntime(), calls)
    const inHand = new InHand()
    const answering = (command: Uint8Array, call: IncomingCall) =>
      Effect.flatMap(serve(command), (answer) => {
        const framed = frame(Buffer.from(answer))
        // who asks again is given it again
        return inHand.answer(
          call.peer,
          framed.byteLength,
          sent(call, framed),
          end(call, "it has no room for the answer")
        )
      })
    const listening = yield* transport.listen({
      address: addressOf(host, port),
      tls,
      silence,
      // what is too much is refused, and does not wait
      limits: { messageBytes: maxMessageBytes, calls: maxCalls, connections: maxConnections }
    }, [{
      path,
      serve: (call) => {
        const refuse = (code: number, details: string) =>
          call.end({ code, details, trailers: { [notBegunTrailer]: code === resourceExhausted ? "full" : "other" } })
        const { headers, peer } = call
        if (!isMe(decoded(headers[processHeader]))) {
          return refuse(failedPrecondition, "it is not the process that was meant: that one has ended")
        }
        const bytes = Number(headers[bytesHeader])
        if (!(bytes >= 0 && bytes <= maxMessageBytes)) return refuse(invalidArgument, `it has no '${bytesHeader}'`)
        const full = Effect.sync(() => refuse(resourceExhausted, "the process has no room for the command"))
        const fiber = run(inHand.command(
          peer,
          bytes,
          Effect.matchEffect(received(call, bytes), {
            onFailure: (problem) => Effect.sync(() => refuse(invalidArgument, problem)),
            onSuccess: (command) => inHand.isFull(peer) ? full : answering(command, call)
          }).pipe(
            Effect.onExit((exit) => Exit.isFailure(exit) ? end(call, "it ends without an answer") : Effect.void)
          ),
          full
        ))
        call.onCancelled(() => fiber.interruptUnsafe())
      }
    }]).pipe(Effect.mapError(({ cause }) => new ListenError({ host, port, cause })))
    yield* Effect.addFinalizer(() => Scope.close(calls, Exit.void))
    return listening
  })

const end = (call: IncomingCall, details: string): Effect.Effect<void> =>
  Effect.sync(() => call.end({ code: unavailable, details, trailers: {} }))

/** The name of a process as it was before it was made a header. */
const decoded = (header = ""): string => {
  try {
    return decodeURIComponent(header)
  } catch {
    return ""
  }
}

/** The command, once all of it has come. */
const received = (call: IncomingCall, bytes: number): Effect.Effect<Uint8Array, string> =>
  Effect.callback<Uint8Array, string>((resume) => {
    let command: Uint8Array | undefined
    const refuse = () => resume(Effect.fail("it is not what its headers say"))
    call.receive(
      (message) => {
        // refused at once, as there may be millions
        if (command !== undefined || message.byteLength !== bytes) return refuse()
        command = message
      },
      () => command === undefined ? refuse() : resume(Effect.succeed(command))
    )
  }).pipe(
    Effect.timeoutOrElse({
      duration: transferWithin,
      orElse: () => Effect.fail(`it has not come within ${transferWithin}`)
    })
  )

/** Ends the call with the answer once that is taken, or resets it where nobody reads. */
const sent = (call: IncomingCall, framed: Uint8Array): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    let left = framed.byteLength
    call.write(framed, (bytes) => {
      left -= bytes
      if (left <= 0) resume(Effect.void)
    })
    call.end({ code: ok, details: "OK", trailers: {} })
  }).pipe(
    Effect.timeoutOrElse({ duration: transferWithin, orElse: () => Effect.sync(() => call.reset()) })
  )
