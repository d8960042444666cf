import type { EventCodec } from "@sluice/core/EventCodec"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Timestamp from "@sluice/core/Timestamp"
import { Rpc } from "effect/rpc"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { ArrivalError } from "../ReplicationError.ts"
import { EntityVector } from "./vectors.ts"

/** @internal What has become of an event that has come from another replica. */
export const Outcome = Schema.Literals(["Stored", "Duplicate", "Own"])

/** @internal The name of the command that events of other replicas come with. No command of a user's begins so. */
export const arrivalTag = "~sluice/arrive"

const Replication = Schema.Struct({
  origin: Schema.String,
  originSequenceNumber: SequenceNumber.SequenceNumber,
  version: EntityVector,
  concurrent: Schema.Boolean,
  time: Schema.optional(Timestamp.Timestamp)
})

const Stored = Schema.Struct({
  event: Schema.Struct({ manifest: Schema.String, bytes: Schema.Uint8Array }),
  replication: Replication,
  isRelayed: Schema.Boolean,
  previous: Schema.optional(SequenceNumber.SequenceNumber),
  metadata: Schema.Record(Schema.String, Schema.String)
})

/** An event that has come, as the journal would have it. */
const travelling = <A>(codec: EventCodec<A>) =>
  Stored.pipe(
    Schema.decodeTo(
      Schema.Any,
      SchemaTransformation.transform({
        decode: ({ event, ...about }) => ({ ...about, event: codec.decodeUnsafe(event), payload: event }),
        encode: ({ event, payload, ...about }) => ({ ...about, event: payload ?? codec.encodeUnsafe(event) })
      })
    )
  )

/**
 * @internal
 * The command that events of other replicas come with, in their order. The reply says what has become of the first ones, at least of one: the others are to be sent again. Within a process it is passed as it
 * is; to another process of a cluster it travels with the events as the journal would have them.
 */
export const arrivalOf = <A>(codec: EventCodec<A>) =>
  Rpc.make(arrivalTag, {
    payload: Schema.Struct({
      arriving: Schema.NonEmptyArray(travelling(codec))
    }),
    success: Schema.NonEmptyArray(Outcome),
    error: ArrivalError
  })
