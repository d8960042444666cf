import { type AppendRequest, SequenceConflict, type Written } from "@sluice/core/Journal"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import type { Position } from "@sluice/core/Position"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import type { Timestamp } from "@sluice/core/Timestamp"
import type { Answer } from "@sluice/sql/adapter/AppendLane"
import { encodeTags } from "@sluice/sql/adapter/JournalRow"
import * as MetadataColumn from "@sluice/sql/adapter/MetadataColumn"
import * as Naming from "@sluice/sql/adapter/Naming"
import * as Exit from "effect/Exit"
import { appendFunctionName, expectations, statuses } from "./appendFunction.ts"
import * as Binary from "./binaryArray.ts"
import type { KnownPositions } from "./KnownPositions.ts"

/** @internal The statement, whose one value `toAnswers` reads. */
export const statementOf = (naming: Naming.Naming): string => {
  const parameters = Array.from({ length: 18 }, (_, i) => `$${i + 1}`).join(", ")
  return `SELECT ${Naming.quoted("postgres", naming, appendFunctionName)}(${parameters})::text AS answer`
}

/** What is the same for all calls of a storage. */
interface Caller {
  readonly naming: Naming.Naming
  readonly writerId: string
  readonly known: KnownPositions
}

/** @internal The arguments of the append function. All requests are of one entity type. */
export const argumentsOf = (
  { known, naming, writerId }: Caller,
  requests: ReadonlyArray<AppendRequest>,
  wait: boolean
): Array<unknown> => {
  const { entityType } = requests[0]!
  const slices = requests.map(({ persistenceId }) => Slice.ofPersistenceId(persistenceId))
  const logs = [...new Set(slices)].toSorted((a, b) => a - b)
  const numbers = new Map(logs.map((slice, i) => [slice, i + 1]))
  const entities = new Map<PersistenceId, number>()
  const first: Array<number> = []
  const last: Array<number> = []
  const appends: Array<number> = []
  const eventIds: Array<string> = []
  const manifests: Array<string> = []
  const payloads: Array<Uint8Array> = []
  const tags: Array<string | null> = []
  const metadata: Array<string | null> = []
  requests.forEach(({ events, persistenceId }, i) => {
    if (!entities.has(persistenceId)) entities.set(persistenceId, i + 1)
    first.push(entities.get(persistenceId)!)
    for (const event of events) {
      const { bytes, manifest } = event.payload
      appends.push(i + 1)
      eventIds.push(event.id)
      manifests.push(manifest)
      payloads.push(bytes)
      tags.push(encodeTags(event.tags))
      metadata.push(MetadataColumn.encode(event))
    }
    last.push(appends.length)
  })
  return [
    entityType,
    writerId,
    lockOf(naming, entityType),
    wait,
    Binary.smallints(logs),
    Binary.bigints(logs.map((slice) => known.get(entityType, slice))),
    Binary.ints(slices.map((slice) => numbers.get(slice)!)),
    Binary.texts(requests.map(({ persistenceId }) => persistenceId)),
    Binary.ints(first),
    Binary.bigints(requests.map(({ expected }) => expectedOf(expected))),
    requests.some(({ recheck }) => recheck) ? Binary.booleans(requests.map(({ recheck }) => recheck)) : null,
    Binary.ints(last),
    Binary.ints(appends),
    Binary.uuids(eventIds),
    Binary.texts(manifests),
    Binary.byteas(payloads),
    textsOrNone(tags),
    textsOrNone(metadata)
  ]
}

const expectedOf = (expected: AppendRequest["expected"]): number =>
  expected === "none" ? 0 : typeof expected === "string" ? expectations[expected] : expected

const textsOrNone = (texts: ReadonlyArray<string | null>): Buffer | null =>
  texts.every((text) => text === null) ? null : Binary.texts(texts)

/** @internal What the append function says of each request; undefined where its log is locked. */
export const toAnswers = (
  requests: ReadonlyArray<AppendRequest>,
  answer: string
): ReadonlyArray<Answer | undefined> => {
  const numbers = answer.slice(1, -1).split(",").map(Number)
  const { length } = requests
  let last = 0
  return requests.map((request, i) => {
    const { events, expected, persistenceId } = request
    last += events.length
    const status = numbers[i]!
    const sequenceNumber = numbers[length + i]!
    const position = numbers[2 * length + i]!
    const timestamp = numbers[3 * length + i]!
    if (status === statuses.busy) return undefined
    if (status === statuses.conflict) {
      return Exit.fail(
        new SequenceConflict({
          persistenceId,
          expected: expected as Exclude<AppendRequest["expected"], "any">,
          actual: sequenceNumber + last as SequenceNumber
        })
      )
    }
    return Exit.succeed<Written>({
      persistenceId,
      slice: Slice.ofPersistenceId(persistenceId),
      sequenceNumber: sequenceNumber + last as SequenceNumber,
      position: position + last as Position,
      timestamp: timestamp + last as Timestamp,
      count: events.length
    })
  })
}

/** The first half of the key of the advisory locks of an entity type's logs; the second is the slice. */
const lockOf = ({ prefix, schema }: Naming.Naming, entityType: string): number => {
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(`sluice ${schema ?? ""} ${prefix} ${entityType}`)) {
    hash = Math.imul(hash ^ byte, 0x01000193)
  }
  return hash | 0
}
