import { create } from "@bufbuild/protobuf"
import { frame } from "../../Call.ts"
import {
  SluiceBeatSchema,
  SluiceEchoSchema,
  StreamInSchema,
  StreamOutSchema
} from "../generated/akka/projection/grpc/event_producer_pb.ts"
import { decode, encode } from "./methods.ts"

/** @internal What a producer answers a beat with. */
export interface Echo {
  readonly number: bigint
  /** What is wrong with what the producer reads; empty if nothing is. */
  readonly disruption: string
}

/** @internal */
export const beatBytes = (number: bigint): Buffer =>
  encode(
    StreamInSchema,
    create(StreamInSchema, { message: { case: "sluiceBeat", value: create(SluiceBeatSchema, { number }) } })
  )

/** @internal */
export const echoFrame = (echo: Echo): Uint8Array =>
  frame(encode(
    StreamOutSchema,
    create(StreamOutSchema, { message: { case: "sluiceEcho", value: create(SluiceEchoSchema, echo) } })
  ))

/** @internal The echo that a message is. It looks at two bytes of any other message. */
export const readEcho = (message: Uint8Array): Echo | undefined => {
  // the field 1003, of variable length
  if (message[0] !== 0xda || message[1] !== 0x3e) return undefined
  try {
    const { message: { case: kind, value } } = decode(StreamOutSchema, message)
    return kind === "sluiceEcho" ? value : undefined
  } catch {
    // whoever reads events says what is wrong with it
    return undefined
  }
}
