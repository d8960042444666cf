/** What is written by hand on the bare drivers, to compare with: no Effect, no positions, nothing checked. */

/** An event as it is appended by hand: its sequence number is known. */
export interface NewRow {
  readonly slice: number
  readonly persistenceId: string
  readonly sequenceNumber: number
  readonly payload: Buffer
}

/** What a reader by hand selects of Sluice's journal: all that is needed to send an event on. */
export interface Row {
  readonly slice: number
  readonly position: number
  readonly timestamp: number
  readonly persistence_id: string
  readonly sequence_number: number
  readonly manifest: string
  readonly payload: Uint8Array
  readonly tags: string | null
  readonly metadata: string | null
}

/** What a projection keeps of an entity. */
export interface Count {
  readonly id: string
  readonly n: number
  readonly quantity: number
  readonly last: number
}

export interface Offset {
  readonly slice: number
  readonly position: number
  readonly timestamp: number
}

export interface Statement {
  readonly sql: string
  readonly parameters: ReadonlyArray<unknown>
}

/** Where the tables of a baseline are. */
export interface Place {
  /** Of the server, or the name of a file. */
  readonly url: string
  /** The schema, where there are any. */
  readonly schema: string
}

/** Which side's tables. */
export type Side = "ours" | "base"

export interface Connection {
  /** `base_journal`, `base_offset`, and `ours_count` and `base_count` for projections. */
  readonly createTables: () => Promise<void>
  /** Inserts into `base_journal`, in a transaction of its own. */
  readonly insert: (rows: ReadonlyArray<NewRow>) => Promise<void>
  /** The next events of Sluice's journal in the order of time. */
  readonly page: (
    entityType: string,
    after: { readonly timestamp: number; readonly slice: number },
    limit: number
  ) => Promise<ReadonlyArray<Row>>
  /** The events of an entity in `base_journal`, in order. */
  readonly entity: (persistenceId: string) => Promise<ReadonlyArray<Uint8Array>>
  /** Adds to `base_count` and sets in `base_offset`, in one transaction. */
  readonly project: (projection: string, counts: ReadonlyArray<Count>, offsets: ReadonlyArray<Offset>) => Promise<void>
  /** Empties the tables of counts. */
  readonly clear: () => Promise<void>

  // what is counted afterwards
  readonly payloads: (side: Side, entityType: string) => Promise<ReadonlyArray<Uint8Array>>
  readonly counts: (side: Side) => Promise<ReadonlyArray<{ readonly id: string; readonly n: number }>>
  readonly offsets: (side: Side, projection: string) => Promise<ReadonlyArray<Offset>>
  readonly close: () => Promise<void>
}

/** What a group of events adds, entity by entity. */
export const counted = (
  events: ReadonlyArray<{ readonly persistenceId: string; readonly sequenceNumber: number; readonly quantity: number }>
): ReadonlyArray<Count> => {
  const counts = new Map<string, { id: string; n: number; quantity: number; last: number }>()
  for (const { persistenceId, quantity, sequenceNumber } of events) {
    const known = counts.get(persistenceId)
    if (known === undefined) {
      counts.set(persistenceId, { id: persistenceId, n: 1, quantity, last: sequenceNumber })
    } else {
      known.n++
      known.quantity += quantity
      known.last = sequenceNumber
    }
  }
  return [...counts.values()]
}

/** The last offset of each slice. */
export const lastOf = (rows: ReadonlyArray<Offset>): ReadonlyArray<Offset> => [
  ...new Map(rows.map(({ position, slice, timestamp }) => [slice, { slice, position, timestamp }])).values()
]

/**
 * Group commit by hand: what many callers append while the connections are busy goes into the next statement, up to `limit`
 * rows.
 */
export const batcher = (connections: ReadonlyArray<Pick<Connection, "insert">>, limit: number) => {
  interface Waiting {
    readonly rows: ReadonlyArray<NewRow>
    readonly done: () => void
    readonly failed: (error: unknown) => void
  }
  let queue: Array<Waiting> = []
  const idle = [...connections]
  let scheduled = false
  const schedule = () => {
    if (scheduled) return
    scheduled = true
    setImmediate(() => {
      scheduled = false
      flush()
    })
  }
  const flush = () => {
    while (idle.length > 0 && queue.length > 0) {
      const connection = idle.pop()!
      const rows: Array<NewRow> = []
      let taken = 0
      do rows.push(...queue[taken++]!.rows)
      while (taken < queue.length && rows.length + queue[taken]!.rows.length <= limit)
      const batch = queue.slice(0, taken)
      queue = queue.slice(taken)
      connection.insert(rows).then(
        () => {
          idle.push(connection)
          for (const { done } of batch) done()
          schedule()
        },
        (error) => batch.forEach(({ failed }) => failed(error))
      )
    }
  }
  return (rows: ReadonlyArray<NewRow>): Promise<void> =>
    new Promise((done, failed) => {
      queue.push({ rows, done, failed })
      schedule()
    })
}
