import * as Grpc from "@grpc/grpc-js"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Channel, Headers, OutgoingCall, Request, Status } from "../../Call.ts"
import { CallTransport } from "../../CallTransport.ts"
import { GrpcError } from "../../GrpcError.ts"
import { bufferOf } from "../wire/bufferOf.ts"
import { nameOf } from "../wire/methods.ts"
import { beatEvery, statusTrailer } from "../wire/status.ts"

/** For how long, in milliseconds, the producer may take for its first answer: it opens its journal meanwhile. */
const answerWithin = 60_000

/** For how long, in milliseconds, a stream may be silent whose producer says every few seconds that it is there. */
const beatWithin = 3 * beatEvery

/** For how long, in milliseconds, the connection is looked at before a call on it is given up. */
const lastLook = 5_000

const unnamed = ", and its headers name no journal: a plain Akka producer without events, or a proxy"

/** How many bytes come meanwhile of more than signs of life. */
const flowing = 16 * 1024

/** How many times as long a call may be silent on a connection on which data comes: others may be served, and this one forgotten. */
const maxWaits = 10

/** @internal A call, as its client sees it. Nothing is read but what is pulled, so that the other side is held back by flow control. */
export class ClientCall {
  readonly #address: string
  readonly #method: string
  readonly #clock: Clock.Clock
  readonly #received: () => number
  readonly #call: OutgoingCall
  #headers: Headers | undefined
  #trailers: Headers = {}
  #failure: GrpcError | undefined
  /** Looks again whether what somebody waits for has come. */
  #wake: (() => void) | undefined
  /** Since when somebody waits, in nanoseconds of the clock. */
  #waitsSince = 0n

  constructor(address: string, channel: Channel, request: Request, clock: Clock.Clock) {
    this.#address = address
    this.#method = nameOf(request.path)
    this.#clock = clock
    this.#received = channel.received ?? (() => 0)
    this.#call = channel.call(request, {
      headers: (headers) => {
        this.#headers = headers
        this.#wake?.()
      },
      readable: () => this.#wake?.(),
      ended: (status) => this.#end(status)
    })
  }

  write(message: Buffer): void {
    this.#call.write(message)
  }

  /** Says that no more is written. */
  end(): void {
    this.#call.end()
  }

  cancel(): void {
    this.#call.cancel()
  }

  /** The trailers, after the call has failed. */
  get trailers(): Headers {
    return this.#trailers
  }

  /** Ends when the other side has answered, if only with headers. */
  get headers(): Effect.Effect<Headers, GrpcError> {
    return Effect.raceFirst(this.#awaiting(() => this.#headers), this.#silence(answerWithin))
  }

  /** The messages that have arrived, up to some; waits for one. The end of the call is a failure. */
  readonly pull: Effect.Effect<NonEmptyReadonlyArray<Buffer>, GrpcError> = this.#awaiting(() => this.#read())

  /** The first messages, of a producer whose headers do not say whether it comes to that. */
  get first(): Effect.Effect<NonEmptyReadonlyArray<Buffer>, GrpcError> {
    return Effect.raceFirst(this.pull, this.#silence(answerWithin, unnamed))
  }

  /** From now on something comes every few seconds: a pull that waits for longer fails, as the connection is lost. */
  get beats(): Effect.Effect<void, never, Scope.Scope> {
    return Effect.asVoid(Effect.forkScoped(Effect.ignore(this.#silence(beatWithin))))
  }

  /** Says every few seconds that this side is there, so that no proxy takes it for dead. */
  get beat(): Effect.Effect<never> {
    return Effect.forever(Effect.map(this.#clock.sleep(Duration.millis(beatEvery)), () => this.write(Buffer.alloc(0))))
  }

  /**
   * Fails when somebody has waited for so many milliseconds, and for much longer where data comes on the connection: what is waited for
   * may be behind it, or a large message of which the rest is on its way.
   */
  #silence(atMost: number, hint = ""): Effect.Effect<never, GrpcError> {
    let before: number | undefined
    const look: Effect.Effect<never, GrpcError> = Effect.suspend(() => {
      const waited = this.#wake === undefined
        ? 0
        : Number(this.#clock.monotonicTimeNanosUnsafe() - this.#waitsSince) / 1e6
      if (waited < atMost - lastLook) {
        before = undefined
        return Effect.andThen(this.#clock.sleep(Duration.millis(Math.ceil(atMost - lastLook - waited))), look)
      }
      const received = this.#received()
      const isFlowing = before === undefined || received - before >= flowing
      if (waited < atMost || isFlowing && waited < maxWaits * atMost) {
        before = received
        const rest = waited < atMost ? atMost - waited : lastLook
        return Effect.andThen(this.#clock.sleep(Duration.millis(Math.ceil(rest))), look)
      }
      const details = `nothing has come for ${atMost / 1000} seconds${hint}`
      this.#end({ code: Grpc.status.DEADLINE_EXCEEDED, details, trailers: {} })
      return Effect.fail(this.#failure!)
    })
    return look
  }

  #end(status: Status): void {
    if (this.#failure !== undefined) return
    this.#trailers = status.trailers
    this.#failure = grpcError(this.#address, this.#method, status)
    this.#wake?.()
  }

  #awaiting<A>(poll: () => A | undefined): Effect.Effect<A, GrpcError> {
    const result = (): Effect.Effect<A, GrpcError> | undefined => {
      const found = poll()
      if (found !== undefined) return Effect.succeed(found)
      return this.#failure && Effect.fail(this.#failure)
    }
    return Effect.suspend(() =>
      result() ?? Effect.callback((resume) => {
        // it may have come since, as others can have their turn before this is run
        const already = result()
        if (already !== undefined) return resume(already)
        const stop = () => {
          this.#wake = undefined
        }
        this.#waitsSince = this.#clock.monotonicTimeNanosUnsafe()
        this.#wake = () => {
          const found = result()
          if (found === undefined) return
          stop()
          resume(found)
        }
        return Effect.sync(stop)
      })
    )
  }

  #read(): NonEmptyReadonlyArray<Buffer> | undefined {
    const messages: Array<Buffer> = []
    let bytes = 0
    while (bytes < chunkBytes) {
      const message = this.#call.read()
      if (message === undefined) break
      messages.push(bufferOf(message))
      bytes += message.length
    }
    return messages.length === 0 ? undefined : messages as [Buffer, ...Array<Buffer>]
  }
}

/** What is decoded, and handed on, at once: no more than keeps others waiting for a moment. */
const chunkBytes = 64 * 1024

/** @internal Makes a call that is cancelled with its scope. */
export const openCall = (
  address: string,
  channel: Channel,
  request: Request,
  first: Buffer
): Effect.Effect<ClientCall, never, Scope.Scope> =>
  Effect.flatMap(CallTransport, ({ clock }) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const call = new ClientCall(address, channel, request, clock)
        call.write(first)
        return call
      }),
      (call) => Effect.sync(() => call.cancel())
    ))

/** What the library says of a stream that was reset with ENHANCE_YOUR_CALM, to which it gives the code of others, too. */
const calm = "Bandwidth exhausted or memory limit exceeded"

/** What the library ends its text with where the address was resolved, and there is no more to say. */
const emptyNote = /\.? ?Resolution note:\s*$/

const unsaid = "the stream was reset before its status was read, such as when a consumer has not read for long"

/**
 * @internal
 * What a status says that a call has ended with. INTERNAL and UNKNOWN are the producer's words only if it says that they are: the
 * library, and proxies, say so of streams that were reset, which is a connection that is lost.
 */
export const grpcError = (address: string, method: string, { code, details, trailers }: Status): GrpcError => {
  const isLost = (code === Grpc.status.INTERNAL || code === Grpc.status.UNKNOWN) &&
    trailers[statusTrailer] === undefined
  if (code === Grpc.status.OK) return new GrpcError({ address, method, code, details: "the producer ended the stream" })
  if (code === Grpc.status.RESOURCE_EXHAUSTED && details === calm && trailers[statusTrailer] === undefined) {
    return new GrpcError({ address, method, code, details: `${details} (${unsaid})` })
  }
  return new GrpcError({
    address,
    method,
    code: isLost ? Grpc.status.UNAVAILABLE : code,
    details: details.replace(emptyNote, "")
  })
}

/** @internal Whether the call has ended as it should. */
export const hasEnded = (error: unknown): boolean => error instanceof GrpcError && error.code === Grpc.status.OK

const unaryDeadline = 10_000

/** @internal A call with one answer. */
export const unaryCall = <E = GrpcError>(
  address: string,
  channel: Channel,
  request: Omit<Request, "timeout">,
  message: Buffer,
  explain: (call: ClientCall) => (error: GrpcError) => E = () => (error) => error as E
): Effect.Effect<Buffer, E | GrpcError> =>
  Effect.gen(function*() {
    const call = yield* openCall(address, channel, { ...request, timeout: unaryDeadline }, message)
    call.end()
    const more = call.pull.pipe(
      Effect.catchIf(hasEnded, () => Effect.succeed([])),
      Effect.mapError(explain(call))
    )
    const answers = yield* more
    const others = answers.length === 1 ? yield* more : []
    const [answer] = answers
    if (answer !== undefined && answers.length + others.length === 1) return answer
    return yield* new GrpcError({
      address,
      method: nameOf(request.path),
      code: Grpc.status.UNIMPLEMENTED,
      details: `${answer === undefined ? "no message has" : "several messages have"} come, where the method has one`
    })
  }).pipe(Effect.scoped)
