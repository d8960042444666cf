import { type AppendRequest, SequenceConflict, type Written } from "@sluice/core/Journal"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import type { Position } from "@sluice/core/Position"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import type { Timestamp } from "@sluice/core/Timestamp"
import type { Answer } from "@sluice/sql/adapter/AppendLane"
import { encodeTags } from "@sluice/sql/adapter/JournalRow"
import * as MetadataColumn from "@sluice/sql/adapter/MetadataColumn"
import * as Exit from "effect/Exit"
import { type Connection, type Db, prepare } from "./connection.ts"
import type { OpenFile } from "./openFile.ts"
import type { SameJournal } from "./sameJournal.ts"

/** The heads of logs, and the newest timestamp of all logs, as this connection read or wrote them last. */
interface Heads {
  readonly positions: Map<string, number>
  timestamp: number | undefined
}

const noHeads = (): Heads => ({ positions: new Map(), timestamp: undefined })

/**
 * @internal
 * Appends in a write transaction. BEGIN IMMEDIATE locks all logs, so a head that is read after it stays the head.
 */
export const makeAppender = (
  connection: Connection,
  file: OpenFile,
  db: Db,
  writerId: string,
  journal: SameJournal
) => {
  const begin = connection.prepare("BEGIN IMMEDIATE")
  const commit = connection.prepare("COMMIT")
  const rollback = connection.prepare("ROLLBACK")
  const selectPosition = prepare(
    connection,
    db.selectFrom("sluice_journal").select("position").where("entity_type", "=", "").where("slice", "=", 0)
      .orderBy("position", "desc").limit(1)
  ).pluck()
  const selectTimestamp = prepare(
    connection,
    db.selectFrom("sluice_journal").select((_) => _.fn.max("timestamp").as("timestamp"))
  ).pluck()
  const selectSequenceNumber = prepare(
    connection,
    db.selectFrom("sluice_journal").select((_) => _.fn.max("sequence_number").as("max")).where(
      "persistence_id",
      "=",
      ""
    )
  ).pluck()
  const selectWritten = prepare(
    connection,
    db.selectFrom("sluice_journal").select(["sequence_number", "position", "timestamp"])
      .where("persistence_id", "=", "").where("event_id", "=", new Uint8Array())
  )
  const insert = prepare(
    connection,
    db.insertInto("sluice_journal").values({
      timestamp: 0,
      entity_type: "",
      slice: 0,
      position: 0,
      persistence_id: "",
      sequence_number: 0,
      event_id: new Uint8Array(),
      writer_id: new Uint8Array(),
      manifest: "",
      payload: new Uint8Array(),
      tags: "",
      metadata: ""
    })
  )
  const writer = Buffer.from(uuidBytes(writerId))

  const write = (request: AppendRequest, heads: Heads, now: number): Exit.Exit<Written, SequenceConflict> => {
    const { entityType, events, expected, persistenceId } = request
    const slice = Slice.ofPersistenceId(persistenceId)
    if (request.recheck) {
      const last = selectWritten.get(persistenceId, uuidBytes(events.at(-1)!.id))
      if (last !== undefined) {
        return Exit.succeed(
          written(persistenceId, slice, last.sequence_number, last.position, last.timestamp, events.length)
        )
      }
    }
    const actual: number = selectSequenceNumber.get(persistenceId) ?? 0
    if (
      expected !== "any" && (expected === "exists" ? actual === 0 : actual !== (expected === "none" ? 0 : expected))
    ) {
      return Exit.fail(new SequenceConflict({ persistenceId, expected, actual: actual as SequenceNumber }))
    }
    const log = `${slice} ${entityType}`
    let position: number = heads.positions.get(log) ?? selectPosition.get(entityType, slice, 1) ?? 0
    let timestamp: number = Math.max(heads.timestamp ?? selectTimestamp.get() ?? 0, now - 1)
    let sequenceNumber = actual
    for (const event of events) {
      const { id, payload, tags } = event
      insert.run(
        ++timestamp,
        entityType,
        slice,
        ++position,
        persistenceId,
        ++sequenceNumber,
        uuidBytes(id),
        writer,
        payload.manifest,
        payload.bytes,
        encodeTags(tags),
        MetadataColumn.encode(event)
      )
    }
    heads.positions.set(log, position)
    heads.timestamp = timestamp
    return Exit.succeed(written(persistenceId, slice, sequenceNumber, position, timestamp, events.length))
  }

  /**
   * Ignores a failure of the rollback, as the original one says more. The next user of the connection checks whether it
   * is clean.
   */
  const rollbackQuietly = (): void => {
    try {
      if (connection.inTransaction) rollback.run()
    } catch {
      // still open
    }
  }

  let cached = noHeads()
  let version: number | undefined

  return {
    /** The number that changed when another process had committed, as the last batch found it. */
    version: (): number | undefined => version,

    /** In a transaction of its own. Throws SQLITE_BUSY, with nothing written, while another process writes. */
    batch(requests: ReadonlyArray<AppendRequest>, now: number): ReadonlyArray<Answer> {
      file.check()
      begin.run()
      try {
        // read within the transaction, so nobody can commit after it: if it has changed, the cached heads are stale
        const current = journal.check()
        if (current !== version) cached = noHeads()
        version = current
        const answers = requests.map((request) => write(request, cached, now))
        commit.run()
        file.check()
        return answers
      } catch (error) {
        cached = noHeads()
        rollbackQuietly()
        throw error
      }
    },

    /**
     * In the transaction that is open on the connection. It neither uses nor fills the cache of heads, because it is
     * not known here whether the transaction will commit.
     */
    within(request: AppendRequest, now: number): Answer {
      cached = noHeads()
      return write(request, noHeads(), now)
    }
  }
}

const written = (
  persistenceId: PersistenceId,
  slice: Slice.Slice,
  sequenceNumber: number,
  position: number,
  timestamp: number,
  count: number
): Written => ({
  persistenceId,
  slice,
  sequenceNumber: sequenceNumber as SequenceNumber,
  position: position as Position,
  timestamp: timestamp as Timestamp,
  count
})

/** What is given to a statement is read before the next one is. */
const bytes = Buffer.alloc(16)
/** The bytes of a UUID in lower case, until the next is asked for. */
const uuidBytes = (uuid: string): Buffer => {
  let at = 0
  for (let i = 0; i < 36; i += 2) {
    // a dash is before an even digit
    if (uuid.charCodeAt(i) === dash) i++
    bytes[at++] = digit(uuid.charCodeAt(i)) << 4 | digit(uuid.charCodeAt(i + 1))
  }
  return bytes
}

const dash = 45
/** Of `0` to `9` and `a` to `f`. */
const digit = (code: number): number => code < 58 ? code - 48 : code - 87
