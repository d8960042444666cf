/** gRPC by hand: the messages of Akka Projection gRPC with protobufjs, and several of them in one write. */
import * as Grpc from "@grpc/grpc-js"
import Protobuf from "protobufjs"
import type { Row } from "./Connection.ts"

const { root } = Protobuf.parse(
  `syntax = "proto3";
  import "google/protobuf/timestamp.proto";
  import "google/protobuf/any.proto";
  message PersistenceIdSeqNr { string persistence_id = 1; int64 seq_nr = 2; }
  message Offset { google.protobuf.Timestamp timestamp = 1; repeated PersistenceIdSeqNr seen = 2; }
  message Event {
    string persistence_id = 1; int64 seq_nr = 2; int32 slice = 3; Offset offset = 4; google.protobuf.Any payload = 5;
    string source = 6; repeated string tags = 7;
  }
  message StreamOut { oneof message { Event event = 1; } }`,
  new Protobuf.Root()
)
for (const name of ["timestamp", "any"]) {
  const file = Protobuf.common.get(`google/protobuf/${name}.proto`)
  root.addJSON(file!.nested!)
}
const StreamOut = root.lookupType("StreamOut")

const encode = ({ manifest, payload, persistence_id, sequence_number, slice, timestamp }: Row): Uint8Array =>
  StreamOut.encode({
    event: {
      persistenceId: persistence_id,
      seqNr: sequence_number,
      slice,
      offset: {
        timestamp: { seconds: Math.floor(timestamp / 1e6), nanos: timestamp % 1e6 * 1000 },
        seen: [{ persistenceId: persistence_id, seqNr: sequence_number }]
      },
      payload: { typeUrl: manifest, value: payload },
      source: "",
      tags: []
    }
  }).finish()

/** What arrives of an event. */
export interface Received {
  readonly persistenceId: string
  readonly sequenceNumber: number
  readonly slice: number
  readonly timestamp: number
  readonly payload: Uint8Array
  readonly source: string
}

export const decode = (message: Buffer): Received => {
  const { offset, payload, persistenceId, seqNr, slice, source } = (StreamOut.decode(message) as any).event
  return {
    persistenceId,
    sequenceNumber: Number(seqNr),
    slice,
    timestamp: Number(offset.timestamp.seconds) * 1e6 + offset.timestamp.nanos / 1000,
    payload: payload?.value,
    source
  }
}

/** Complete frames of several messages, which grpc-js takes for one, as it only writes a prefix before it copies. */
class Packed {
  readonly #bytes: Buffer
  readonly length: number
  readonly byteLength: number
  constructor(bytes: Buffer) {
    this.#bytes = bytes
    this.length = this.byteLength = bytes.length - 5
  }
  copy(target: Buffer, offset: number): number {
    this.#bytes.copy(target, offset - 5)
    return this.byteLength
  }
}

const packBytes = 16_000

/** In writes of about 16 kB. */
export const frames = function*(rows: ReadonlyArray<Row>): Generator<Packed> {
  let parts: Array<Uint8Array> = []
  let bytes = 0
  for (const row of rows) {
    const message = encode(row)
    const prefix = Buffer.alloc(5)
    prefix.writeUInt32BE(message.length, 1)
    parts.push(prefix, message)
    bytes += message.length + 5
    if (bytes < packBytes) continue
    yield new Packed(Buffer.concat(parts, bytes))
    parts = []
    bytes = 0
  }
  if (bytes > 0) yield new Packed(Buffer.concat(parts, bytes))
}

export type Call = Grpc.ServerDuplexStream<Buffer, Packed>

/** Waits when the other side does not keep up. */
export const write = async (call: Call, packs: Iterable<Packed>): Promise<void> => {
  for (const pack of packs) if (!call.write(pack)) await new Promise((resolve) => call.once("drain", resolve))
}

const options = { "grpc-node.flow_control_window": 4 * 1024 * 1024 } as Grpc.ChannelOptions
const bytes = (buffer: any) => buffer
const path = "/bench.EventProducer/EventsBySlices"

/** Listens, and gives each call to `f`. */
export const serve = (f: (call: Call) => void): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = new Grpc.Server(options)
    const method = {
      path,
      requestStream: true,
      responseStream: true,
      requestSerialize: bytes,
      requestDeserialize: bytes,
      responseSerialize: bytes,
      responseDeserialize: bytes
    }
    server.addService({ eventsBySlices: method }, {
      eventsBySlices: (call: Call) => {
        call.on("error", () => {})
        // an answer waits for the first message
        call.once("data", () => f(call))
      }
    })
    server.bindAsync("127.0.0.1:0", Grpc.ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve(port)
      else reject(error)
    })
  })

export const connect = (port: number): Grpc.Client =>
  new Grpc.Client(`127.0.0.1:${port}`, Grpc.credentials.createInsecure(), options)

export const call = (client: Grpc.Client): Grpc.ClientDuplexStream<Buffer, Buffer> => {
  const call = client.makeBidiStreamRequest<Buffer, Buffer>(path, bytes, bytes)
  call.on("error", () => {})
  call.write(Buffer.from("init"))
  return call
}
