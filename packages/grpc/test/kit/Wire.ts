/** Calls of services of which a test has no generated messages: what is said and answered is protobuf fields by number. */
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire"
import * as Grpc from "@grpc/grpc-js"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import { unframe } from "@sluice/grpc/Call"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { bufferOf } from "../../src/internal/wire/bufferOf.ts"
import { eventPieces } from "../../src/internal/wire/frames.ts"

/** The fields of a message by their numbers, in the order that they came in. */
export type Fields = ReadonlyMap<number, ReadonlyArray<Buffer | number>>

export const decode = (bytes: Uint8Array): Fields => {
  const fields = new Map<number, Array<Buffer | number>>()
  const reader = new BinaryReader(bytes)
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag()
    const value = type === WireType.Varint ? reader.int32() : Buffer.from(reader.bytes())
    fields.set(number, [...fields.get(number) ?? [], value])
  }
  return fields
}

export const encode = (fields: Readonly<Record<number, string | number>>): Buffer => {
  const writer = new BinaryWriter()
  for (const [number, value] of Object.entries(fields)) {
    if (typeof value === "string") writer.tag(Number(number), WireType.LengthDelimited).string(value)
    else writer.tag(Number(number), WireType.Varint).int32(value)
  }
  return Buffer.from(writer.finish())
}

/** The `StreamOut` of one envelope, as a plain consumer is sent it. */
export const encodeStreamOut = (envelope: EncodedEnvelope, repeats = false): Buffer =>
  bufferOf(unframe(eventPieces([envelope], () => repeats ? "repeat" : "send").next()!)[0]!)

/** The messages of a field. */
export const messages = (fields: Fields, number: number): ReadonlyArray<Buffer> =>
  (fields.get(number) ?? []).filter((value) => typeof value !== "number")

const pass = (bytes: Buffer): Buffer => bytes

export const unary = (client: Grpc.Client, path: string, request: Buffer): Effect.Effect<Fields, Grpc.ServiceError> =>
  Effect.callback((resume) => {
    const call = client.makeUnaryRequest<Buffer, Buffer>(
      path,
      pass,
      pass,
      request,
      (error, response) => resume(error === null ? Effect.succeed(decode(response!)) : Effect.fail(error))
    )
    return Effect.sync(() => call.cancel())
  })

/** A call whose answers are a stream. */
export interface Call {
  readonly answers: ReadonlyArray<Buffer>
  readonly status: Grpc.StatusObject | undefined
  readonly send: (bytes: Buffer) => void
  readonly halfClose: () => void
}

/** Opens a call for as long as the scope. */
export const open = (client: Grpc.Client, path: string): Effect.Effect<Call, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const call = client.makeBidiStreamRequest<Buffer, Buffer>(path, pass, pass, new Grpc.Metadata())
        const seen = {
          answers: [] as Array<Buffer>,
          status: undefined as Grpc.StatusObject | undefined,
          send: (bytes: Buffer) => void call.write(bytes),
          halfClose: () => void call.end()
        }
        call.on("error", () => {})
        call.on("data", (bytes: Buffer) => seen.answers.push(bytes))
        call.on("status", (status) => seen.status = status)
        return { call, seen }
      }),
      ({ call }) => Effect.sync(() => call.cancel())
    ),
    ({ seen }) => seen
  )
