/** Envelopes of every kind. */
import { encoded, type EncodedEnvelope } from "@sluice/core/Envelope"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"

/** Text without U+0000 that UTF-8 can say, as the journal holds no other. */
export const text = Arbitrary.schema(Schema.String).pipe(
  Arbitrary.map((text) => text.toWellFormed().replaceAll("\0", ""))
)
export const upTo = (n: number) => Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: n })))
const large = upTo(Number.MAX_SAFE_INTEGER)

// `JSON.parse` of Node 24 takes a key that begins with an escape for a backslash, after an object that had one in that place
const key = Schema.String.check(Schema.makeFilter((text) => JSON.stringify(text).length === text.length + 2))

export const envelopes: Arbitrary.Arbitrary<EncodedEnvelope> = Arbitrary.all({
  entityId: Arbitrary.map(text, (text) => `${text}.`),
  sequenceNumber: large,
  position: upTo(3),
  farPosition: large,
  timestamp: large,
  tags: Arbitrary.array(text),
  metadata: Schema.Record(key, Schema.String).pipe(Arbitrary.schema),
  replicated: upTo(3),
  origin: text,
  version: Arbitrary.array(Arbitrary.all([text, Arbitrary.map(large, SequenceNumber.make)])),
  concurrent: upTo(1),
  foreign: upTo(3),
  filtered: upTo(3),
  manifest: text,
  bytes: Arbitrary.schema(Schema.Uint8Array)
}).pipe(Arbitrary.map((_): EncodedEnvelope => {
  const persistenceId = PersistenceId.make("Cart", _.entityId)
  const payload = _.filtered === 0 ? undefined : { manifest: _.manifest, bytes: _.bytes }
  const place = {
    persistenceId,
    sequenceNumber: SequenceNumber.make(_.sequenceNumber),
    slice: Slice.ofPersistenceId(persistenceId),
    position: _.position === 0 ? undefined : Position.make(_.position === 1 ? Math.max(1, _.farPosition) : _.position),
    timestamp: Timestamp.make(_.timestamp)
  }
  // what stands in the place of an event says nothing of it
  return payload === undefined ? encoded(place, undefined) : encoded({
    ...place,
    tags: _.tags,
    metadata: _.metadata,
    replication: _.replicated === 0
      ? {
        origin: _.origin,
        originSequenceNumber: SequenceNumber.make(_.timestamp),
        version: new Map(_.version),
        concurrent: _.concurrent === 1,
        ...(_.concurrent === 1 && { time: Timestamp.make(_.timestamp) })
      }
      : undefined,
    foreignMetadata: _.foreign === 0 ? { manifest: `foreign/${_.manifest}`, bytes: _.bytes } : undefined
  }, payload)
}))
