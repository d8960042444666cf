/**
 * The column with what is said of an event beside its tags: its metadata of all kinds in one JSON object.
 *
 * @since 0.1.0
 */
import { type About, type Metadata, nothing } from "@sluice/core/Envelope"
import type { Payload } from "@sluice/core/Payload"
import type { ReplicationMetadata } from "@sluice/core/ReplicationMetadata"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import type { Timestamp } from "@sluice/core/Timestamp"

/**
 * What the column holds.
 *
 * @category models
 * @since 0.1.0
 */
export type Content = Pick<About, "metadata" | "replication" | "foreignMetadata">

const empty: Content = { metadata: nothing.metadata, replication: undefined, foreignMetadata: undefined }

/** Where the object has what is no text. No event that is appended has metadata of that name. */
const ownKey = "~sluice"

/**
 * What the text of an event of a replica is like, for `LIKE`. No other text is: quotes in what users say are escaped in JSON.
 *
 * @category constants
 * @since 0.1.0
 */
export const replicatedPattern = `%"${ownKey}":{"replication":%`

/**
 * Whether a text is that of an event of a replica.
 *
 * @category guards
 * @since 0.1.0
 */
export const isReplicated = (text: string | null): boolean => text?.includes(replicatedPattern.slice(1, -1)) ?? false

/** What is under that key. */
interface Own {
  readonly replication?: {
    readonly origin: string
    readonly sequenceNumber: number
    readonly version: ReadonlyArray<readonly [replica: string, sequenceNumber: number]>
    readonly concurrent: boolean
    readonly time?: number
  }
  /** A type URL, and bytes in base64. */
  readonly foreign?: readonly [typeUrl: string, bytes: string]
}

/**
 * The text of the column; null where nothing is said.
 *
 * @category converting
 * @since 0.1.0
 */
export const encode = ({ foreignMetadata, metadata, replication }: Partial<Content>): string | null => {
  if (replication === undefined && foreignMetadata === undefined) {
    for (const _ in metadata) return JSON.stringify(metadata)
    return null
  }
  const own: Own = {
    ...replication && { replication: encodeReplication(replication) },
    ...foreignMetadata && {
      foreign: [foreignMetadata.manifest, Buffer.from(foreignMetadata.bytes).toString("base64")]
    }
  }
  return JSON.stringify({ ...metadata, [ownKey]: own })
}

/**
 * What a text of the column says.
 *
 * @category converting
 * @since 0.1.0
 */
export const decode = (text: string | null): Content => {
  if (text === null) return empty
  const json = JSON.parse(text) as Record<string, string | Own>
  const own = json[ownKey]
  if (typeof own !== "object") {
    return { metadata: json as Metadata, replication: undefined, foreignMetadata: undefined }
  }
  const { [ownKey]: _, ...metadata } = json
  return {
    metadata: metadata as Metadata,
    replication: own.replication && decodeReplication(own.replication),
    foreignMetadata: own.foreign && decodeForeign(own.foreign)
  }
}

const encodeReplication = (
  { concurrent, origin, originSequenceNumber, time, version }: ReplicationMetadata
): NonNullable<Own["replication"]> => ({
  origin,
  sequenceNumber: originSequenceNumber,
  version: [...version],
  concurrent,
  ...(time !== undefined && { time })
})

const decodeReplication = (
  { concurrent, origin, sequenceNumber, time, version }: NonNullable<Own["replication"]>
): ReplicationMetadata => ({
  origin,
  originSequenceNumber: sequenceNumber as SequenceNumber,
  version: new Map(version as ReadonlyArray<readonly [string, SequenceNumber]>),
  concurrent,
  ...(time !== undefined && { time: time as Timestamp })
})

const decodeForeign = ([manifest, bytes]: NonNullable<Own["foreign"]>): Payload => ({
  manifest,
  bytes: new Uint8Array(Buffer.from(bytes, "base64"))
})
