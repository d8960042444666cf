import * as Grpc from "@grpc/grpc-js"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { GrpcError } from "../../GrpcError.ts"
import { beatEvery, statusTrailer } from "../wire/status.ts"

/** @internal A call whose answers are a stream, as this side sees it. */
export interface ClientCall {
  /** Ends when the other side has answered, if only with headers. */
  readonly headers: Effect.Effect<Grpc.Metadata, GrpcError>
  /** From now on something comes every few seconds: a pull that waits for longer fails, as the connection is lost. */
  readonly beats: () => void
  /** The messages that have arrived, up to some; waits for one. The end of the call is a failure. */
  readonly pull: Effect.Effect<NonEmptyReadonlyArray<Buffer>, GrpcError>
  /** The trailers, after the call has failed. */
  readonly trailers: () => Grpc.Metadata | undefined
}

type Readable = Grpc.ClientDuplexStream<Buffer, Buffer> | Grpc.ClientReadableStream<Buffer>

/**
 * @internal
 * Makes a call that is cancelled with its scope. Nothing is read but what is pulled, so that the other side is held back by
 * flow control.
 */
export const openCall = (
  address: string,
  method: string,
  start: () => Readable
): Effect.Effect<ClientCall, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const call = start()
        const state: {
          headers: Grpc.Metadata | undefined
          trailers: Grpc.Metadata | undefined
          failure: GrpcError | undefined
          wake: () => void
        } = { headers: undefined, trailers: undefined, failure: undefined, wake: () => {} }
        const fail = (code: number, details: string, trailers?: Grpc.Metadata) => {
          state.failure ??= grpcError(address, method, { code, details, metadata: trailers })
          state.wake()
        }
        call.on("metadata", (headers: Grpc.Metadata) => {
          state.headers = headers
          state.wake()
        })
        call.on("status", ({ metadata }: Grpc.StatusObject) => {
          state.trailers = metadata
        })
        // also after the call was cancelled, when nobody else listens any more
        call.on("error", ({ code, details, metadata }: Grpc.ServiceError) => {
          state.trailers ??= metadata
          fail(code, details, metadata)
        })
        call.on("end", () => fail(Grpc.status.OK, "the producer ended the stream"))
        call.on("readable", () => state.wake())
        return { call, fail, state }
      }),
      ({ call }) => Effect.sync(() => call.cancel())
    ),
    ({ call, fail, state }): ClientCall => {
      let isBeating = false
      const awaiting = <A>(poll: () => A | undefined, within: () => number | undefined): Effect.Effect<A, GrpcError> =>
        Effect.suspend(() => {
          const found = poll()
          if (found !== undefined) return Effect.succeed(found)
          if (state.failure !== undefined) return Effect.fail(state.failure)
          return Effect.callback((resume) => {
            const limit = within()
            // by the network's clock, whatever a test makes of the fiber's
            const timer = limit === undefined ? undefined : setTimeout(() => {
              fail(Grpc.status.DEADLINE_EXCEEDED, `nothing has come for ${limit / 1000} seconds`)
            }, limit)
            state.wake = () => {
              const found = poll()
              if (found === undefined && state.failure === undefined) return
              clearTimeout(timer)
              state.wake = () => {}
              resume(found === undefined ? Effect.fail(state.failure!) : Effect.succeed(found))
            }
            return Effect.sync(() => {
              clearTimeout(timer)
              state.wake = () => {}
            })
          })
        })
      return {
        headers: awaiting(() => state.headers, () => answerWithin),
        pull: awaiting(() => readAvailable(call), () => isBeating ? beatWithin : undefined),
        beats: () => {
          isBeating = true
        },
        trailers: () => state.trailers
      }
    }
  )

/** For how long, in milliseconds, the producer may take for its first answer: it opens its journal meanwhile. */
const answerWithin = 60_000

/** For how long, in milliseconds, a stream may be silent whose producer says every few seconds that it is there. */
const beatWithin = 3 * beatEvery

/**
 * What a status says that a call has ended with. INTERNAL and UNKNOWN are the producer's words only if it says that they are: the
 * library, and proxies, say so of streams that were reset, which is a connection that is lost.
 */
const grpcError = (
  address: string,
  method: string,
  { code, details, metadata }: { code: number; details: string; metadata?: Grpc.Metadata | undefined }
): GrpcError => {
  const isLost = (code === Grpc.status.INTERNAL || code === Grpc.status.UNKNOWN) &&
    metadata?.get(statusTrailer).length !== 1
  return new GrpcError({ address, method, code: isLost ? Grpc.status.UNAVAILABLE : code, details })
}

/** What is decoded, and handed on, at once: no more than keeps others waiting for a moment. */
const chunkBytes = 64 * 1024

const readAvailable = (call: Readable): NonEmptyReadonlyArray<Buffer> | undefined => {
  const messages: Array<Buffer> = []
  let bytes = 0
  while (bytes < chunkBytes) {
    const message: Buffer | null = call.read()
    if (message === null) break
    messages.push(message)
    bytes += message.length
  }
  return messages.length === 0 ? undefined : messages as [Buffer, ...Array<Buffer>]
}

const unaryDeadline = 10_000

/** @internal */
export const unaryCall = (
  client: Grpc.Client,
  address: string,
  definition: Grpc.MethodDefinition<Buffer, Buffer>,
  request: Buffer,
  metadata: Grpc.Metadata
): Effect.Effect<Buffer, GrpcError> =>
  Effect.callback((resume) => {
    const { path, requestSerialize, responseDeserialize } = definition
    const call = client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      metadata,
      // by the network's clock, whatever a test makes of the fiber's
      { deadline: Date.now() + unaryDeadline },
      (error, response) =>
        resume(
          error === null
            ? Effect.succeed(response!)
            : Effect.fail(grpcError(address, methodOf(definition), error))
        )
    )
    return Effect.sync(() => call.cancel())
  })

/** @internal */
export const methodOf = ({ path }: Grpc.MethodDefinition<any, any>): string => path.slice(path.lastIndexOf("/") + 1)
