import { type About, type Metadata, ownMetadata } from "@sluice/core/Envelope"
import type { Payload } from "@sluice/core/Payload"
import * as Schema from "effect/Schema"
import { decodeReplication, encodeReplication } from "./replication.ts"

/** @internal The type URL of metadata that is texts. */
export const metadataUrl = "json.sluice/metadata"

/** The type URL that Akka has for where an event of a replicated entity comes from. */
const replicationUrl = "ser.akka.io/40:RE"

/** @internal */
export type Said = Pick<About, "metadata" | "replication" | "foreignMetadata">

/** @internal */
export const noMetadata: Metadata = {}

const nothing: Said = { metadata: noMetadata, replication: undefined, foreignMetadata: undefined }

const parseTexts = Schema.decodeUnknownSync(Schema.fromJsonString(Schema.Record(Schema.String, Schema.String)))

/** @internal Metadata from the bytes that stand for it. Throws at what is no record of texts. */
export const decodeTexts = ({ buffer, byteLength, byteOffset }: Uint8Array): Metadata =>
  parseTexts(Buffer.from(buffer, byteOffset, byteLength).toString())

/**
 * @internal
 * What an event's metadata says, of which there is one of each kind at most. What is of another kind, or is not what its type URL promises, is
 * kept as it is.
 */
export const decodeSaid = (said: ReadonlyArray<Payload>): Said => {
  let { foreignMetadata, metadata, replication } = nothing
  for (const any of said) {
    if (any.manifest === metadataUrl) {
      metadata = decodeTexts(any.bytes)
      continue
    }
    const decoded = any.manifest === replicationUrl ? decodeReplication(any.bytes) : undefined
    if (decoded === undefined) foreignMetadata ??= any
    else replication = decoded
  }
  return { metadata, replication, foreignMetadata }
}

/** @internal The metadata without what stays within the service. */
export const outgoing = (metadata: Metadata): Metadata => {
  for (const key in metadata) {
    if (key.startsWith(ownMetadata)) {
      return Object.fromEntries(Object.entries(metadata).filter(([key]) => !key.startsWith(ownMetadata)))
    }
  }
  return metadata
}

/** @internal What is said of an event, each kind as an `Any`. The first is what a JVM peer sees. */
export const encodeSaid = ({ foreignMetadata, metadata, replication }: Said): ReadonlyArray<Payload> => {
  const said: Array<Payload> = []
  if (replication !== undefined) said.push({ manifest: replicationUrl, bytes: encodeReplication(replication) })
  if (foreignMetadata !== undefined) said.push(foreignMetadata)
  const texts = outgoing(metadata)
  for (const _ in texts) {
    said.push({ manifest: metadataUrl, bytes: Buffer.from(JSON.stringify(texts)) })
    break
  }
  return said
}
