import * as Grpc from "@grpc/grpc-js"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Channel, Headers, OutgoingCall, Request, Status } from "../../Call.ts"
import { CallTransport } from "../../CallTransport.ts"
import { EchoOverdue, GrpcError, type StreamStalled } from "../../GrpcError.ts"
import { beatBytes, readEcho } from "../wire/beats.ts"
import { bufferOf } from "../wire/bufferOf.ts"
import { nameOf } from "../wire/methods.ts"
import { beatEvery, statusTrailer } from "../wire/status.ts"

/** For how long, in milliseconds, the producer may take for its first answer: it opens its journal meanwhile. */
const answerWithin = 60_000

/** For how long, in milliseconds, one who is ready to read waits at most for a sign of life from a producer that gives any. */
const beatWithin = 3 * beatEvery

/** For how long, in milliseconds, the connection is looked at before a call on it is given up. */
const lastLook = 5_000

const unnamed = ", and its headers name no journal: a plain Akka producer without events, or a proxy"

/** How many bytes come meanwhile of more than signs of life. */
const flowing = 16 * 1024

/** How many times as long a call may be silent on a connection on which data comes: others may be served, and this one forgotten. */
const maxWaits = 10

/** @internal What a call ends with on this side. */
export type CallError = GrpcError | EchoOverdue | StreamStalled

/** @internal A call, as its client sees it. Nothing is read but what is pulled, so that the other side is held back by flow control. */
export class ClientCall {
  readonly #address: string
  readonly #method: string
  readonly #clock: Clock.Clock
  readonly #received: () => number
  readonly #call: OutgoingCall
  #headers: Headers | undefined
  #trailers: Headers = {}
  #failure: CallError | undefined
  /** Looks again whether what somebody waits for has come. */
  #wake: (() => void) | undefined
  /** Since when somebody waits, in nanoseconds of the clock. */
  #waitsSince = 0n
  /** For how long somebody has waited before, in nanoseconds. */
  #waited = 0n
  /** The number of the last beat, and what `#waited` was when it was sent first. */
  #beat = 0n
  #beatAt = 0n
  #isEchoed = true
  /** Is told what the echoes say is wrong with what the producer reads. */
  #told: ((disruption: string) => void) | undefined

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

  /** The headers of the answer, as far as they have come. */
  get answered(): Headers {
    return this.#headers ?? {}
  }

  /** Ends when the other side has answered, if only with headers. */
  get headers(): Effect.Effect<Headers, CallError> {
    return Effect.raceFirst(this.#awaiting(() => this.#headers), this.#silence(answerWithin))
  }

  /** The messages that have arrived, up to some; waits for one. The end of the call is a failure. */
  readonly pull: Effect.Effect<NonEmptyReadonlyArray<Buffer>, CallError> = this.#awaiting(() => this.#read())

  /** The first messages, of a producer whose headers do not say whether it comes to that. */
  get first(): Effect.Effect<NonEmptyReadonlyArray<Buffer>, CallError> {
    return Effect.raceFirst(this.pull, this.#silence(answerWithin, unnamed))
  }

  /**
   * Sends beats from now on, so that no proxy takes this side for dead, and expects their echoes, whatever else there is between the two: a
   * pull that waits in vain for one fails. An echo says what is wrong with what the producer reads, which is told when it changes.
   */
  keepAlive(told: (disruption: string) => void): Effect.Effect<void, never, Scope.Scope> {
    let last = ""
    this.#told = (disruption) => {
      if (disruption !== last) told(last = disruption)
    }
    const rest = this.#clock.sleep(Duration.millis(beatEvery))
    const beats = Effect.forever(Effect.suspend(() => {
      this.#sendBeat()
      return rest
    }))
    return Effect.asVoid(Effect.andThen(Effect.forkScoped(beats), Effect.forkScoped(Effect.ignore(this.#overdue))))
  }

  /** For how long somebody has waited for the next message, in milliseconds: 0 if nobody does. */
  get waiting(): number {
    return this.#wake === undefined ? 0 : Number(this.#clock.monotonicTimeNanosUnsafe() - this.#waitsSince) / 1e6
  }

  /** Ends the call on this side. Messages that have come before can still be pulled. */
  fail(error: CallError): void {
    if (this.#failure !== undefined) return
    this.#failure = error
    this.#wake?.()
  }

  /** A beat that is not echoed yet is sent again, which is as good a sign of life. */
  #sendBeat(): void {
    if (this.#isEchoed) {
      this.#isEchoed = false
      this.#beat++
      const since = this.#wake === undefined ? 0n : this.#clock.monotonicTimeNanosUnsafe() - this.#waitsSince
      this.#beatAt = this.#waited + since
    }
    this.write(beatBytes(this.#beat))
  }

  /** Fails when one who is ready to read has waited for as long as `#silence` says. */
  #silence(atMost: number, hint = ""): Effect.Effect<never, CallError> {
    return this.#patience(atMost, () => this.waiting, () =>
      new GrpcError({
        address: this.#address,
        method: this.#method,
        code: Grpc.status.DEADLINE_EXCEEDED,
        details: `nothing has come for ${atMost / 1000} seconds${hint}`
      }))
  }

  /**
   * Fails when the echo of a beat is overdue. Only the time counts for which somebody has waited with nothing to read: an echo stands behind
   * events that wait for a handler.
   */
  get #overdue(): Effect.Effect<never, CallError> {
    const waited = () => this.#isEchoed ? 0 : Number(this.#waited - this.#beatAt) / 1e6 + this.waiting
    return this.#patience(
      beatWithin,
      () => this.#wake === undefined ? 0 : waited(),
      () => new EchoOverdue({ address: this.#address, method: this.#method, seconds: Math.floor(waited() / 1000) })
    )
  }

  /**
   * Fails when somebody has waited for so many milliseconds, and for much longer where data comes on the connection: what is waited for
   * may be behind it, or a large message of which the rest is on its way.
   */
  #patience(
    atMost: number,
    waitedNow: () => number,
    error: () => CallError
  ): Effect.Effect<never, CallError> {
    let before: number | undefined
    const look: Effect.Effect<never, CallError> = Effect.suspend(() => {
      const waited = waitedNow()
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
      this.fail(error())
      return Effect.fail(this.#failure!)
    })
    return look
  }

  #end(status: Status): void {
    if (this.#failure !== undefined) return
    this.#trailers = status.trailers
    this.fail(grpcError(this.#address, this.#method, status))
  }

  #awaiting<A>(poll: () => A | undefined): Effect.Effect<A, CallError> {
    const result = (): Effect.Effect<A, CallError> | undefined => {
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
          if (this.#wake !== undefined) this.#waited += this.#clock.monotonicTimeNanosUnsafe() - this.#waitsSince
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
      const echo = readEcho(message)
      if (echo !== undefined) {
        if (echo.number === this.#beat) this.#isEchoed = true
        this.#told?.(echo.disruption)
        continue
      }
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
    details
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
  explain: (call: ClientCall) => (error: CallError) => E = () => (error) => error as E
): Effect.Effect<Buffer, E | CallError> =>
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
