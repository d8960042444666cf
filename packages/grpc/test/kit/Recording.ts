/** What a JVM consumer and a JVM producer said to each other, recorded in between. */
import { fromBinary } from "@bufbuild/protobuf"
import { readFileSync } from "node:fs"
import type { Event, InitReq, StreamOut } from "../../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import { StreamInSchema, StreamOutSchema } from "../../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"

export type Name = "string" | "protobuf"

/** One call of EventsBySlices. */
export interface Exchange {
  readonly initBytes: Uint8Array
  readonly init: InitReq
  /** Everything that the consumer said, init included. */
  readonly requests: ReadonlyArray<Uint8Array>
  readonly answers: ReadonlyArray<{ readonly bytes: Uint8Array; readonly message: StreamOut; readonly event: Event }>
}

interface Line {
  readonly call: number
  readonly from: "consumer" | "producer"
  readonly bytes?: string
}

/** The calls of a recording, in the order that they were opened in. */
export const read = (name: Name): ReadonlyArray<Exchange> => {
  const lines: ReadonlyArray<Line> = readFileSync(new URL(`../golden/${name}.jsonl`, import.meta.url), "utf8")
    .trim().split("\n").map((line) => JSON.parse(line))
  const calls = Map.groupBy(lines, ({ call }) => call)
  return [...calls.keys()].toSorted((a, b) => a - b).map((call): Exchange => {
    const sent = (from: Line["from"]) =>
      calls.get(call)!.flatMap((line) =>
        line.from === from && line.bytes !== undefined ? [Uint8Array.from(Buffer.from(line.bytes, "hex"))] : []
      )
    const requests = sent("consumer")
    const { message } = fromBinary(StreamInSchema, requests[0]!)
    if (message.case !== "init") throw new Error(`call ${call} does not begin with init`)
    return {
      initBytes: requests[0]!,
      init: message.value,
      requests,
      answers: sent("producer").map((bytes) => {
        const message = fromBinary(StreamOutSchema, bytes)
        if (message.message.case !== "event") throw new Error(`call ${call} has an answer that is no event`)
        return { bytes, message, event: message.message.value }
      })
    }
  })
}

/** The microseconds of an event's offset. */
export const timestampOf = (event: Event): number => {
  const { nanos, seconds } = event.offset[0]!.timestamp!
  return Number(seconds) * 1_000_000 + nanos / 1000
}

/** The events of a recording that came with their payload, each once, in the order that they were written in. */
export const events = (exchanges: ReadonlyArray<Exchange>): ReadonlyArray<Event> => {
  const found = new Map<string, Event>()
  for (const { answers } of exchanges) {
    for (const { event } of answers) {
      if (event.payload !== undefined) found.set(`${event.persistenceId} ${event.seqNr}`, event)
    }
  }
  return [...found.values()].toSorted((a, b) => timestampOf(a) - timestampOf(b))
}
