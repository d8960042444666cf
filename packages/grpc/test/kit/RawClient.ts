/** A gRPC client that has nothing of ours but the generated messages, to see what a peer sees. */
import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf"
import { create, fromBinary, toBinary } from "@bufbuild/protobuf"
import * as Grpc from "@grpc/grpc-js"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
export { OffsetSchema } from "../../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import type {
  Event,
  FilteredEvent,
  StreamOut
} from "../../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import {
  CurrentEventsByPersistenceIdRequestSchema,
  EventTimestampRequestSchema,
  EventTimestampResponseSchema,
  LatestEventTimestampRequestSchema,
  LatestEventTimestampResponseSchema,
  LoadEventRequestSchema,
  LoadEventResponseSchema,
  StreamInSchema,
  StreamOutSchema
} from "../../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"

const service = "/akka.projection.grpc.EventProducerService"
const pass = (bytes: Buffer): Buffer => bytes

const bytesOf = <Desc extends DescMessage>(desc: Desc, init: MessageInitShape<Desc>): Buffer =>
  Buffer.from(toBinary(desc, create(desc, init)))

/** What a consumer may say. */
export type Request = NonNullable<MessageInitShape<typeof StreamInSchema>["message"]>

/** The stream of answers to a call, and how it ended. */
export interface Answers {
  /** The messages as they came. */
  readonly bytes: ReadonlyArray<Buffer>
  readonly messages: ReadonlyArray<StreamOut>
  readonly headers: Grpc.Metadata | undefined
  readonly status: Grpc.StatusObject | undefined
}

export interface RawCall extends Answers {
  readonly send: (request: Request) => void
  readonly sendBytes: (bytes: Uint8Array) => void
  readonly halfClose: () => void
  /** Reads on after `reads: false`. */
  readonly resume: () => void
  readonly cancel: () => void
}

export interface Options {
  readonly credentials?: Grpc.ChannelCredentials
  readonly channel?: Grpc.ChannelOptions
}

export const requestBytes = (message: Request): Buffer => bytesOf(StreamInSchema, { message })

export const client = (port: number, options?: Options): Effect.Effect<Grpc.Client, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() =>
      new Grpc.Client(`127.0.0.1:${port}`, options?.credentials ?? Grpc.credentials.createInsecure(), {
        // a connection of its own
        "grpc.use_local_subchannel_pool": 1,
        ...options?.channel
      })
    ),
    (client) => Effect.sync(() => client.close())
  )

const observe = (call: Grpc.ClientDuplexStream<Buffer, Buffer> | Grpc.ClientReadableStream<Buffer>, reads: boolean) => {
  const seen = {
    reads,
    bytes: [] as Array<Buffer>,
    messages: [] as Array<StreamOut>,
    headers: undefined as Grpc.Metadata | undefined,
    status: undefined as Grpc.StatusObject | undefined
  }
  call.on("error", () => {})
  call.on("metadata", (headers) => seen.headers = headers)
  call.on("status", (status) => seen.status = status)
  call.on("data", (bytes: Buffer) => {
    seen.bytes.push(bytes)
    seen.messages.push(fromBinary(StreamOutSchema, bytes))
    if (!seen.reads) call.pause()
  })
  return seen
}

/** Opens EventsBySlices, and says nothing yet. With `reads: false` it stops at the first answer. */
export const eventsBySlices = (
  client: Grpc.Client,
  options?: { readonly reads?: boolean; readonly metadata?: Grpc.Metadata }
): Effect.Effect<RawCall, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const call = client.makeBidiStreamRequest<Buffer, Buffer>(
        `${service}/EventsBySlices`,
        pass,
        pass,
        options?.metadata ?? new Grpc.Metadata()
      )
      const answers = observe(call, options?.reads ?? true)
      return Object.assign(answers, {
        send: (message: Request) => call.write(bytesOf(StreamInSchema, { message })),
        sendBytes: (bytes: Uint8Array) => call.write(Buffer.from(bytes)),
        halfClose: () => call.end(),
        resume: () => {
          answers.reads = true
          call.resume()
        },
        cancel: () => call.cancel()
      })
    }),
    (call) => Effect.sync(call.cancel)
  )

export const currentEventsByPersistenceId = (
  client: Grpc.Client,
  request: MessageInitShape<typeof CurrentEventsByPersistenceIdRequestSchema>,
  options?: { readonly reads?: boolean; readonly metadata?: Grpc.Metadata }
): Effect.Effect<Answers & Pick<RawCall, "resume">, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const call = client.makeServerStreamRequest<Buffer, Buffer>(
          `${service}/CurrentEventsByPersistenceId`,
          pass,
          pass,
          bytesOf(CurrentEventsByPersistenceIdRequestSchema, request),
          options?.metadata ?? new Grpc.Metadata()
        )
        const seen = observe(call, options?.reads ?? true)
        const resume = () => {
          seen.reads = true
          call.resume()
        }
        return { call, seen: Object.assign(seen, { resume }) }
      }),
      ({ call }) => Effect.sync(() => call.cancel())
    ),
    ({ seen }) => seen
  )

/** Waits for at least `n` answers, or the end of the call. */
export const answered = (answers: Answers, n: number): Effect.Effect<void> =>
  Wait.until(`${n} answers`, () => answers.messages.length >= n || answers.status !== undefined)

/** Whether the consumer is only reminded of an event that it should have seen. */
export const isRepetition = ({ message }: StreamOut): boolean =>
  message.case === "event" && message.value.source === "BT"

/** Waits for so many that are no repetitions, and returns them. */
export const newAnswers = (answers: Answers, n: number): Effect.Effect<ReadonlyArray<StreamOut>> => {
  const isNew = () => answers.messages.filter((message) => !isRepetition(message))
  return Effect.map(
    Wait.until(`${n} new answers`, () => isNew().length >= n || answers.status !== undefined),
    isNew
  )
}

export const ended = (answers: Answers): Effect.Effect<Grpc.StatusObject> =>
  Effect.map(Wait.until("the call to end", () => answers.status !== undefined), () => answers.status!)

/** The event of an answer, or what stands in its place. */
export const placeOf = ({ message }: StreamOut): Event | FilteredEvent => {
  if (message.case !== "event" && message.case !== "filteredEvent") {
    throw new Error("neither an event nor a filtered event")
  }
  return message.value
}

/** What a batch carries, or the answer alone. */
export const messagesOf = (answer: StreamOut): ReadonlyArray<StreamOut> =>
  answer.message.case === "sluiceBatch" ? answer.message.value.messages : [answer]

/** An answer in short: entity, sequence number, text; `-` where there is no event, the source where its payload is not sent. */
export const shortly = (answer: StreamOut): string => {
  const { persistenceId, seqNr } = placeOf(answer)
  const { message } = answer
  const text = message.case !== "event"
    ? "-"
    : message.value.payload === undefined
    ? message.value.source
    : Buffer.from(message.value.payload.value).toString()
  return `${persistenceId.slice(persistenceId.indexOf("|") + 1)} ${seqNr} ${text}`
}

/** What a batch has. */
export const eventsOf = ({ message }: StreamOut): ReadonlyArray<string> =>
  message.case !== "sluiceBatch"
    ? []
    : message.value.messages.map((answer) => answer.message.case === "sluiceSkipped" ? "left out" : shortly(answer))

const unary = <In extends DescMessage, Out extends DescMessage>(name: string, input: In, output: Out) =>
(
  client: Grpc.Client,
  request: MessageInitShape<In> | Uint8Array,
  metadata = new Grpc.Metadata()
): Effect.Effect<MessageShape<Out>, Grpc.ServiceError> =>
  Effect.callback((resume) => {
    const call = client.makeUnaryRequest<Buffer, Buffer>(
      `${service}/${name}`,
      pass,
      pass,
      request instanceof Uint8Array ? Buffer.from(request) : bytesOf(input, request),
      metadata,
      (error, response) => resume(error === null ? Effect.succeed(fromBinary(output, response!)) : Effect.fail(error))
    )
    return Effect.sync(() => call.cancel())
  })

export const eventTimestamp = unary("EventTimestamp", EventTimestampRequestSchema, EventTimestampResponseSchema)
export const loadEvent = unary("LoadEvent", LoadEventRequestSchema, LoadEventResponseSchema)
export const latestEventTimestamp = unary(
  "LatestEventTimestamp",
  LatestEventTimestampRequestSchema,
  LatestEventTimestampResponseSchema
)
