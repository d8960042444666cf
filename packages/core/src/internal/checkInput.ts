import { type Metadata, ownMetadata } from "../Envelope.ts"
import { InvalidInput, textProblem } from "../InvalidInput.ts"
import type { Payload } from "../Payload.ts"
import * as PersistenceId from "../PersistenceId.ts"
import type { ReplicationMetadata } from "../ReplicationMetadata.ts"
import * as Slice from "../Slice.ts"
import { quote, quotedProblem } from "./quote.ts"

/** In lower case, so that an append that is sent again is found by it. */
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** What MySQL has a column for. */
const maxManifest = 1000

const problem = (input: string, problem: string | undefined): InvalidInput | undefined =>
  problem === undefined ? undefined : new InvalidInput({ input, problem })

/** @internal The problem of an entity's name or id, if there is one. */
export const entity = (
  { entityType, persistenceId }: { readonly entityType: string; readonly persistenceId: PersistenceId.PersistenceId }
): InvalidInput | undefined => {
  const wrong = parseProblem("entity id", persistenceId)
  if (wrong !== undefined) return wrong
  return persistenceId.startsWith(`${entityType}|`)
    ? undefined
    : problem("entity type", `${quote(persistenceId)} is of another type than ${quote(entityType)}`)
}

const parseProblem = (input: string, persistenceId: string): InvalidInput | undefined => {
  try {
    PersistenceId.parse(persistenceId)
    return undefined
  } catch (error) {
    return problem(input, (error as RangeError).message)
  }
}

/** @internal What is wrong with a persistence id. */
export const persistenceId = (text: string): InvalidInput | undefined => parseProblem("persistence id", text)

/** @internal How long the name of who does something may be, and the reason for it, in UTF-16 units. */
export const maxBy = 255
/** @internal */
export const maxReason = 2_000

/** @internal What is wrong with who does something, and why. */
export const author = (by: string, reason: string): InvalidInput | undefined =>
  problem("by", by === "" ? "it is empty" : lengthProblem(by, maxBy)) ??
    problem("reason", lengthProblem(reason, maxReason))

const lengthProblem = (text: string, max: number): string | undefined => {
  const wrong = textProblem(text) ?? (text.length > max ? `is longer than ${max} characters` : undefined)
  return wrong && `it ${wrong}`
}

/** @internal What is wrong with a payload's manifest. */
export const manifest = ({ manifest }: Payload, input = "manifest"): InvalidInput | undefined =>
  problem(
    input,
    manifest.length > maxManifest
      ? `${quote(manifest)} is longer than ${maxManifest} characters`
      : quotedProblem(manifest)
  )

/** @internal What is wrong with tags. */
export const tags = (values: ReadonlyArray<string>): InvalidInput | undefined => {
  if (!Array.isArray(values)) return problem("tags", "they are no array")
  for (const [i, tag] of values.entries()) {
    const wrong = textProblem(tag)
    if (wrong !== undefined) return problem("tags", `the one at index ${i} ${wrong}`)
  }
  return undefined
}

/** Where a storage may keep, among metadata, what is no text. */
const ownKey = "~sluice"

/** @internal What is wrong with metadata. */
export const metadata = (values: Metadata): InvalidInput | undefined => {
  if (ownKey in values) return problem("metadata", `the key ${quote(ownKey)} is Sluice's own`)
  for (const key in values) {
    const wrongKey = quotedProblem(key)
    if (wrongKey !== undefined) return problem("metadata", `the key ${wrongKey}`)
    const wrong = textProblem(values[key])
    if (wrong !== undefined) return problem("metadata", `what is at ${quote(key)} ${wrong}`)
  }
  return undefined
}

/** @internal What is wrong with metadata that a program gives, as Sluice reads its own back and believes it. */
export const givenMetadata = (values: Metadata): InvalidInput | undefined => {
  for (const key in values) {
    if (key.startsWith(ownMetadata)) {
      return problem("metadata", `the key ${quote(key)} begins with ${quote(ownMetadata)}, which is Sluice's own`)
    }
  }
  return undefined
}

/** @internal What is wrong with where an event of a replicated entity comes from. */
export const replication = (
  { origin, originSequenceNumber, time, version }: ReplicationMetadata
): InvalidInput | undefined => {
  const wrong = textProblem(origin)
  if (wrong !== undefined) return problem("replication", `its origin ${wrong}`)
  let invalid = safeInteger("replication", originSequenceNumber) ??
    (time === undefined ? undefined : safeInteger("replication", time))
  for (const [replica, seen] of version) {
    const wrong = quotedProblem(replica)
    if (wrong !== undefined) return problem("replication", `the replica ${wrong}`)
    invalid ??= safeInteger("replication", seen)
  }
  return invalid
}

/**
 * @internal
 * The problem of a sequence number, a revision or a time, if there is one. Types rule this out, but a program may
 * ignore them.
 */
export const safeInteger = (input: string, value: unknown): InvalidInput | undefined =>
  Number.isSafeInteger(value) && (value as number) >= 0
    ? undefined
    : problem(input, `${quote(String(value))} is no safe integer from 0`)

/** @internal What is wrong with a number of workers. */
export const workers = (value: unknown): InvalidInput | undefined =>
  Number.isInteger(value) && (value as number) >= 1 && (value as number) <= Slice.count
    ? undefined
    : problem("workers", `${quote(String(value))} is no integer from 1 to ${Slice.count}`)

/** @internal What is wrong with the id of an event. */
export const eventId = (id: unknown): InvalidInput | undefined =>
  typeof id === "string" && uuid.test(id)
    ? undefined
    : problem("event id", `${quote(String(id))} is no UUID in lower case`)
