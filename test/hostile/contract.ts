/** What the test and its worker processes tell each other. */
import * as EntityType from "@sluice/core/EntityType"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import type { Written } from "@sluice/core/Journal"
import type { Target } from "./Target.ts"

export const Thing = EntityType.make("thing", { codec: EventCodec.string })

/** What a worker does, the argument of its program as JSON. */
export interface Work {
  readonly target: Target
  readonly appenders: number
  /** How many entities there are, or which. */
  readonly entities: number | ReadonlyArray<string>
  /** How often each kind of operation is chosen, compared with the others; only single appends by default. */
  readonly mix?: Partial<Record<Operation, number>> | undefined
  /** For how long a transaction is held open at most, in milliseconds. */
  readonly hold?: number | undefined
  /** How an appender pauses between two operations, in milliseconds. */
  readonly pause?: number | undefined
  /** How the worker reads on as the journal grows: as projections do, from memory while it can, or always from the database. */
  readonly tail: "source" | "reader"
}

/**
 * - `append`: one to three events of one entity, whatever its number.
 * - `expect`: the same, with the number that the worker knows of, which is often wrong by then.
 * - `commit`, `rollback`, `interrupt`: a transaction over several entities in any order, held open, that ends in one of three ways.
 */
export type Operation = "append" | "expect" | "commit" | "rollback" | "interrupt"

/** An event where it stands. Of a deleted one the content is empty. */
export type Event = readonly [
  persistenceId: string,
  sequenceNumber: number,
  position: number,
  timestamp: number,
  content: string
]

/** What a worker prints, a line each, after its name, which is another one each time that it is started. */
export type Message =
  | readonly [type: "ready"]
  /** Events that were acknowledged. */
  | readonly [type: "acknowledged", events: ReadonlyArray<Event>]
  /** The contents of events that must not be in the journal. */
  | readonly [type: "refused", contents: ReadonlyArray<string>]
  /** Something failed: with an error that has a type, or, as `defect`, with anything else. */
  | readonly [type: "failed", operation: Operation | "read", reason: string, message: string]
  /** Events that the tail has read. */
  | readonly [type: "seen", events: ReadonlyArray<Event>]
  /** No more appends will follow. */
  | readonly [type: "done"]
  | readonly [type: "crashed", message: string]

/** The content of an event tells which of an appender's operations it is of, and of how many events, counted from 0. */
export const contentOf = (appender: string, operation: number, event: number): string =>
  `${appender} ${operation} ${event}`

/** The events of an append, from where its last one was written. */
export const placesOf = (written: Written, contents: ReadonlyArray<string>): ReadonlyArray<Event> =>
  contents.map((content, i) => {
    const back = contents.length - 1 - i
    const { persistenceId, position, sequenceNumber, timestamp } = written
    return [persistenceId, sequenceNumber - back, position - back, timestamp - back, content]
  })

/** An event as the journal reads it. */
export const eventOf = (envelope: EncodedEnvelope): Event => {
  const { payload, persistenceId, position, sequenceNumber, timestamp } = envelope
  return [
    persistenceId,
    sequenceNumber,
    position!,
    timestamp,
    payload === undefined ? "" : Thing.codec.decodeUnsafe(payload)
  ]
}

export const appenderOf = (content: string): string => content.slice(0, content.indexOf(" "))
