import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import { pastLag } from "../../ConsumerFilter.ts"
import { encoded, nothing } from "../../Envelope.ts"
import { sourceKey as sourceKeyOf } from "../../Journal.ts"
import * as Offset from "../../Offset.ts"
import type { OffsetKey } from "../../OffsetStore.ts"
import { entityType as entityTypeOf } from "../../PersistenceId.ts"
import {
  checkSince,
  claimAfter,
  claimTime,
  type Command,
  type DeadLetter,
  type DeadLetterId,
  deletedError,
  errorAfter,
  isPast,
  type Issue,
  type IssuedCommand,
  keptCommands,
  type LetterGroup,
  maxSkips,
  noCommand,
  noIssue,
  type Progress,
  ProjectionManagement,
  queuedError,
  SkipRefused,
  type SliceProgress,
  TooManyRewinds,
  UnknownProjection,
  VersionNameTaken
} from "../../ProjectionManagement.ts"
import {
  completed,
  initialPhase,
  isAtWork,
  nameOf,
  type StoredVersion,
  SwitchTooSlow,
  type VersionId
} from "../../ProjectionVersion.ts"
import { bounded, folded, type Known, type Rewind, rewound } from "../../Rewind.ts"
import { ofPersistenceId as sliceOf, type Slice } from "../../Slice.ts"
import * as SliceRange from "../../SliceRange.ts"
import * as Timestamp from "../../Timestamp.ts"
import { Transaction } from "../../Transaction.ts"
import { type MemoryDatabase, MemoryTable, type MemoryTransaction } from "./database.ts"
import { eventAt, heads, isDeleted } from "./logs.ts"
import { noTables, type OffsetTables } from "./offsetStore.ts"

/** For how many milliseconds a switch may hold up all others. */
const switchPatience = 60_000

const compareIds = (a: DeadLetterId, b: DeadLetterId): number =>
  a.persistenceId < b.persistenceId ? -1 : a.persistenceId > b.persistenceId ? 1 : a.sequenceNumber - b.sequenceNumber

const letterKey = (key: OffsetKey, { persistenceId, sequenceNumber }: DeadLetterId): string =>
  JSON.stringify([key.projection, key.source, persistenceId, sequenceNumber])

const isOf = (key: OffsetKey) => (row: { readonly key: OffsetKey }): boolean =>
  row.key.projection === key.projection && row.key.source === key.source

const nothingKnown: Known = {
  offset: Offset.beginning,
  journal: "",
  completeUpTo: undefined,
  rewinds: [],
  givenUp: []
}

const soleJournal = (
  rows: ReadonlyArray<Pick<SliceProgress, "offset"> & { readonly journal: string }>
): string | undefined => {
  const journals = new Set(rows.filter(({ offset }) => offset.position > 0).map(({ journal }) => journal))
  journals.delete("")
  return journals.size === 1 ? [...journals][0] : undefined
}

interface LetterRow extends DeadLetter {
  readonly claimedAt: Timestamp.Timestamp | undefined
}

const isClaimed = ({ claimedAt }: LetterRow, now: number): boolean =>
  claimedAt !== undefined && claimedAt > now - claimTime * 1000

const toLetter = ({ at, envelope, error, fingerprint, isQueued, key }: LetterRow): DeadLetter => ({
  key,
  envelope,
  isQueued,
  error,
  fingerprint,
  at
})

/** @internal */
export type Letters = MemoryTable<LetterRow>

/** @internal Empties the letters of events that are deleted. */
export const emptyLetters = (
  letters: Letters,
  transaction: MemoryTransaction,
  source: string,
  which: (id: DeadLetterId) => boolean
): void => {
  for (const [id, row] of letters.entries(transaction)) {
    const { envelope, key } = row
    if (key.source === source && which(envelope)) letters.set(transaction, id, emptied(row))
  }
}

const emptied = (letter: LetterRow): LetterRow => ({
  ...letter,
  envelope: { ...letter.envelope, ...nothing, payload: undefined },
  error: deletedError
})

/** @internal */
export const makeMemoryProjectionManagement = (
  { commands: listeners, logs, read, transaction, write }: MemoryDatabase,
  { entities, entityKey, passed, skips, sliceKey, slices, sourceKey, sources }: OffsetTables,
  letters: Letters
): ProjectionManagement["Service"] => {
  const commands = new MemoryTable<Command>()
  /** Oldest first. */
  const issued = new MemoryTable<ReadonlyArray<IssuedCommand>>()

  /** By the name of each; none of a projection that nobody has spoken of versions of. */
  const versions = new MemoryTable<StoredVersion>()

  const commandOf = (transaction: MemoryTransaction | undefined, projection: string): Command => ({
    ...commands.get(transaction, projection) ?? noCommand,
    phase: versions.get(transaction, projection)?.phase ?? "Live"
  })

  const store = (transaction: MemoryTransaction, projection: string, change?: Partial<Command>): number => {
    const before = commandOf(transaction, projection)
    const revision = before.revision + 1
    commands.set(transaction, projection, { ...before, ...change, revision })
    transaction.commanded.add(projection)
    return revision
  }

  const keep = (
    transaction: MemoryTransaction,
    now: number,
    command: Omit<IssuedCommand, "by" | "reason" | "target" | "at">,
    { by, reason, target }: Issue = noIssue
  ) => {
    const before = issued.get(transaction, command.projection) ?? []
    const kept = { ...command, by, reason, target, at: Timestamp.make(now) }
    issued.set(transaction, command.projection, [...before, kept].slice(-keptCommands))
  }

  const keepDiscard = (transaction: MemoryTransaction, now: number, key: OffsetKey, issue: Issue | undefined) => {
    const { notForWorkers } = commandOf(transaction, key.projection)
    const revision = store(transaction, key.projection, { notForWorkers: notForWorkers + 1 })
    keep(transaction, now, { ...key, command: "Discard", revision }, issue)
  }

  const forget = (transaction: MemoryTransaction, key: OffsetKey) => {
    for (const table of [slices, entities, skips]) {
      for (const [id, row] of table.entries(transaction)) {
        if (isOf(key)(row)) table.set(transaction, id, undefined)
      }
    }
  }

  const skipsOf = (transaction: MemoryTransaction | undefined, key: OffsetKey) =>
    skips.entries(transaction).filter(([, row]) => isOf(key)(row)).toArray()

  const forgetSkips = (transaction: MemoryTransaction, key: OffsetKey) => {
    for (const [id] of skipsOf(transaction, key)) skips.set(transaction, id, undefined)
  }

  /** Why an event cannot be skipped, if so. */
  const skipProblem = (
    transaction: MemoryTransaction,
    key: OffsetKey,
    event: DeadLetterId
  ): SkipRefused["reason"] | undefined => {
    const { persistenceId, sequenceNumber } = event
    if (letters.get(transaction, letterKey(key, event)) !== undefined) return "PutAside"
    const row = slices.get(transaction, sliceKey(key, sliceOf(persistenceId))) ?? nothingKnown
    const place = key.source === sourceKeyOf(entityTypeOf(persistenceId))
      ? eventAt(logs, transaction.draft, persistenceId, sequenceNumber)
      : undefined
    const last = entities.get(transaction, entityKey(key, persistenceId))
    const progress = { ...row, completeUpTo: row.completeUpTo?.position }
    if (isPast({ sequenceNumber, position: place?.position, timestamp: place?.timestamp }, progress, last)) {
      return "Past"
    }
    const others = skipsOf(transaction, key).filter(([id]) => id !== letterKey(key, event))
    return others.length >= maxSkips ? "TooMany" : undefined
  }

  /** Remembers rewinds of slices with their entities. */
  const fold = (
    transaction: MemoryTransaction,
    key: OffsetKey,
    rewinds: ReadonlyMap<Slice, ReadonlyArray<Rewind>>
  ) => {
    for (const [id, row] of entities.entries(transaction)) {
      const some = isOf(key)(row) ? rewinds.get(sliceOf(row.persistenceId)) : undefined
      const after = some && folded(some, row)
      if (after !== undefined) entities.set(transaction, id, { ...row, ...after })
    }
  }

  const forgetAll = (transaction: MemoryTransaction, key: OffsetKey) => {
    forget(transaction, key)
    for (const [id, row] of letters.entries(transaction)) {
      if (isOf(key)(row)) letters.set(transaction, id, undefined)
    }
    sources.set(transaction, sourceKey(key), undefined)
  }

  const sourcesOf = (transaction: MemoryTransaction | undefined, projection: string): ReadonlyArray<OffsetKey> =>
    sources.all(transaction).map(({ key }) => key).filter((key) => key.projection === projection).toArray()

  const versionsOf = (
    transaction: MemoryTransaction | undefined,
    projection: string
  ): ReadonlyArray<StoredVersion> => {
    const of = versions.get(transaction, projection)?.of ?? projection
    const found = versions.all(transaction).filter((version) => version.of === of).toArray()
    const isKnown = found.length > 0 || commands.get(transaction, of) === undefined
    return isKnown
      ? found.toSorted((a, b) => a.version - b.version)
      : [{ projection: of, of, version: 1, phase: "Live" }]
  }

  /** Its workers are fenced, or, where it goes on, have nothing to read in it. */
  const setPhase = (
    transaction: MemoryTransaction,
    now: number,
    version: StoredVersion,
    command: IssuedCommand["command"],
    issue: Issue | undefined
  ) => {
    const { phase, projection } = version
    versions.set(transaction, projection, version)
    const { notForWorkers } = commandOf(transaction, projection)
    const revision = store(transaction, projection, phase === "Live" ? { notForWorkers: notForWorkers + 1 } : {})
    if (phase === "Retired") {
      for (const key of sourcesOf(transaction, projection)) sources.set(transaction, sourceKey(key), { key, revision })
    }
    keep(transaction, now, { projection, source: undefined, command, revision }, issue)
  }

  /** Changes one version, if it is stored in the phase. */
  const changeVersion = (
    id: VersionId,
    phase: StoredVersion["phase"],
    change: (transaction: MemoryTransaction, version: StoredVersion, now: number) => void
  ) =>
    write((transaction, now) =>
      Effect.sync(() => {
        const version = versions.get(transaction, nameOf(id))
        if (version?.phase !== phase) return false
        change(transaction, version, now)
        return true
      })
    )

  const progressOf = (
    transaction: MemoryTransaction | undefined,
    projection: string,
    which: ReadonlyArray<Slice>
  ): ReadonlyArray<Progress> =>
    sources.all(transaction).filter(({ key }) => key.projection === projection).map(({ key, revision }) => ({
      source: key.source,
      isPaused: commandOf(transaction, projection).paused,
      phase: commandOf(transaction, projection).phase,
      hasDeadLetters: letters.all(transaction).some(isOf(key)),
      journal: soleJournal(slices.all(transaction).filter(isOf(key)).toArray()),
      slices: new Map(which.flatMap((slice): ReadonlyArray<readonly [Slice, SliceProgress]> => {
        const row = slices.get(transaction, sliceKey(key, slice))
        if (row === undefined) return []
        const { completeUpTo, journal, offset, rewinds } = row
        const past = passed.get(transaction, sliceKey(key, slice))
        return [[slice, {
          offset,
          journal: journal === "" ? undefined : journal,
          completeUpTo: completeUpTo?.position,
          rewinds,
          pastLag: past?.revision === revision ? pastLag(past, row) : 0
        }]]
      }))
    })).toArray().toSorted((a, b) => a.source < b.source ? -1 : 1)

  const discardAhead = (transaction: MemoryTransaction, key: OffsetKey) => {
    for (const [id, { envelope, ...row }] of letters.entries(transaction)) {
      if (!isOf(key)(row)) continue
      const { position, timestamp } = slices.get(transaction, sliceKey(key, envelope.slice))?.offset ?? Offset.beginning
      const isSince = envelope.timestamp >= timestamp
      const isAhead = envelope.position === undefined
        ? isSince
        : envelope.position > position && (position > 0 || isSince)
      if (isAhead) letters.set(transaction, id, undefined)
    }
  }

  const page = (key: OffsetKey, after: DeadLetterId | undefined, limit: number) =>
    read((transaction) =>
      letters.all(transaction)
        .filter((letter) => isOf(key)(letter) && (after === undefined || compareIds(letter.envelope, after) > 0))
        .toArray()
        .toSorted((a, b) => compareIds(a.envelope, b.envelope))
        .slice(0, limit)
    )

  /** The newest time that events of the source have, as this storage has it or as it was read. */
  const newestOf = (transaction: MemoryTransaction, key: OffsetKey): number => {
    const read = slices.all(transaction).filter(isOf(key)).map(({ offset }) => offset)
    const own = !key.source.startsWith(sourceKeyOf(""))
      ? Offset.none
      : heads(logs, key.source.slice(sourceKeyOf("").length), SliceRange.full)
    return Offset.newest([...read, ...own.values()])
  }

  const claimAs = (
    transaction: MemoryTransaction,
    letter: LetterRow,
    now: number,
    claimFor: number | undefined
  ): Timestamp.Timestamp => {
    const claimedAt = claimAfter(letter.claimedAt, now, claimFor)
    letters.set(transaction, letterKey(letter.key, letter.envelope), { ...letter, claimedAt })
    return claimedAt
  }

  /** Changes the command to a projection in all of its sources. */
  const change = (
    projection: string,
    command: IssuedCommand["command"],
    changed: (before: Command) => Partial<Command>,
    issue: Issue | undefined
  ) =>
    write((transaction, now) => {
      const before = commands.get(transaction, projection)
      return before === undefined
        ? Effect.fail(new UnknownProjection({ projection, source: undefined }))
        : Effect.sync(() => {
          const revision = store(transaction, projection, changed(before))
          keep(transaction, now, { projection, source: undefined, command, revision }, issue)
        })
    })

  const knownOr = <A, E>(
    f: (transaction: MemoryTransaction, now: number) => Effect.Effect<A, E>,
    key: OffsetKey
  ) =>
    write((transaction, now): Effect.Effect<A, E | UnknownProjection> =>
      sources.get(transaction, sourceKey(key)) === undefined
        ? Effect.fail(new UnknownProjection(key))
        : f(transaction, now)
    )

  return ProjectionManagement.of({
    command: (projection) => read((transaction) => commandOf(transaction, projection)),
    commands: (projections) =>
      read((transaction) => new Map(projections.map((projection) => [projection, commandOf(transaction, projection)]))),
    commanded: read((transaction) =>
      commands.all(transaction).reduce((commanded, { revision }) => commanded + revision, 0)
    ),
    isShared: false,
    register: (key) =>
      write((transaction) =>
        Effect.sync(() => {
          if (sources.get(transaction, sourceKey(key)) !== undefined) return
          if (!isAtWork(commandOf(transaction, key.projection).phase)) return
          if (commands.get(transaction, key.projection) === undefined) {
            commands.set(transaction, key.projection, noCommand)
          }
          const { revision } = commandOf(transaction, key.projection)
          sources.set(transaction, sourceKey(key), { key, revision })
        })
      ),
    setPaused: (projection, paused, issue) =>
      change(projection, paused ? "Pause" : "Resume", () => ({ paused }), issue),
    setWorkers: (projection, workers, issue) =>
      change(
        projection,
        "Scale",
        ({ notForWorkers }) => ({ workers, automatic: false, notForWorkers: notForWorkers + 1 }),
        issue
      ),
    setWorkersAt: (projection, workers, at, issue) =>
      write((transaction, now) =>
        Effect.sync(() => {
          const before = commands.get(transaction, projection)
          if (before?.revision !== at) return false
          const changed = { workers, automatic: true, notForWorkers: before.notForWorkers + 1 }
          const revision = store(transaction, projection, changed)
          keep(transaction, now, { projection, source: undefined, command: "Scale", revision }, issue)
          return true
        })
      ),
    history: (projection, before = Infinity, limit) =>
      read((transaction) =>
        (issued.get(transaction, projection) ?? []).filter(({ revision }) => revision < before).toReversed()
          .slice(0, limit)
      ),
    changes: listeners.subscribe,
    rewind: (key, start, undo, newest = Timestamp.make(0), issue) =>
      transaction(
        knownOr(
          (transaction, now) =>
            checkSince(
              key,
              start,
              Timestamp.make(now),
              Effect.sync(() => Math.max(newest, newestOf(transaction, key)))
            ),
          key
        ).pipe(
          Effect.andThen(Effect.provideService(undo, Transaction, noTables)),
          Effect.andThen(write((transaction, now) =>
            Effect.suspend(() => {
              const revision = store(transaction, key.projection)
              const rows = SliceRange.slices(SliceRange.full).map((slice) => {
                const known = slices.get(transaction, sliceKey(key, slice)) ?? nothingKnown
                const to = start.offsets.get(slice) ?? Offset.beginning
                return { key, slice, ...rewound(known, to, start.journal, revision) }
              })
              const isExact = rows.every(({ completeUpTo }) => completeUpTo === undefined)
              if (isExact) forget(transaction, key)
              else forgetSkips(transaction, key)
              const ofEntities = new Map<Slice, ReadonlyArray<Rewind>>()
              for (const row of rows) {
                const some = bounded(isExact ? [] : row.rewinds)
                if (some === undefined) return Effect.fail(new TooManyRewinds({ ...key, slice: row.slice }))
                if (some.folded.length > 0) ofEntities.set(row.slice, some.folded)
                slices.set(transaction, sliceKey(key, row.slice), { ...row, rewinds: some.kept })
              }
              if (ofEntities.size > 0) fold(transaction, key, ofEntities)
              discardAhead(transaction, key)
              sources.set(transaction, sourceKey(key), { key, revision })
              keep(transaction, now, { ...key, command: "Rewind", revision }, issue)
              return Effect.void
            })
          ))
        )
      ),
    restart: (key, repair) =>
      knownOr(
        (transaction, now) =>
          Effect.sync(() => {
            const revision = store(transaction, key.projection)
            sources.set(transaction, sourceKey(key), { key, revision })
            if (repair !== undefined) keep(transaction, now, { ...key, command: "Repair", revision }, repair)
          }),
        key
      ),
    clear: (key, issue) =>
      knownOr((transaction, now) =>
        Effect.sync(() => {
          forgetAll(transaction, key)
          const revision = store(transaction, key.projection)
          keep(transaction, now, { ...key, command: "Clear", revision }, issue)
        }), key),
    declare: (id, issue) =>
      write((transaction, now): Effect.Effect<void, VersionNameTaken> => {
        const { of, version } = id
        const projection = nameOf(id)
        const isTaken = projection !== of && versions.get(transaction, projection)?.of !== of &&
          commands.get(transaction, projection) !== undefined
        return isTaken ? Effect.fail(new VersionNameTaken({ of, version })) : Effect.sync(() => {
          const first: StoredVersion = { projection: of, of, version: 1, phase: "Live" }
          if (versions.get(transaction, of) === undefined) {
            const isNew = commands.get(transaction, of) === undefined
            if (isNew) commands.set(transaction, of, noCommand)
            const phase = !isNew ? "Live" : version === 1 ? "Building" : "Dropped"
            versions.set(transaction, of, { ...first, phase })
            if (phase === "Building") setPhase(transaction, now, { ...first, phase }, "Build", issue)
          }
          if (versions.get(transaction, projection) !== undefined) return
          const phase = initialPhase(versionsOf(transaction, of), id)
          commands.set(transaction, projection, noCommand)
          versions.set(transaction, projection, { ...id, projection, phase })
          if (phase === "Building") setPhase(transaction, now, { ...id, projection, phase }, "Build", issue)
        })
      }),
    versions: (projection) => read((transaction) => versionsOf(transaction, projection)),
    complete: (id, isComplete, switching, issue) =>
      transaction(Effect.gen(function*() {
        const projection = nameOf(id)
        const progress = yield* read((transaction) =>
          progressOf(transaction, projection, SliceRange.slices(SliceRange.full))
        )
        const changes = completed(yield* read((transaction) => versionsOf(transaction, projection)), id)
        const isLive = changes.some(({ phase }) => phase === "Live")
        if (isLive && !isComplete(progress)) return false
        if (isLive) {
          yield* Effect.timeoutOrElse(Effect.provideService(switching, Transaction, noTables), {
            duration: switchPatience,
            orElse: () => Effect.fail(new SwitchTooSlow({ of: id.of, version: id.version, limit: switchPatience }))
          })
        }
        yield* write((transaction, now) =>
          Effect.sync(() => changes.forEach((version) => setPhase(transaction, now, version, "Switch", issue)))
        )
        return isLive
      })),
    cancel: (id, issue) =>
      changeVersion(
        id,
        "Building",
        (transaction, version, now) => setPhase(transaction, now, { ...version, phase: "Retired" }, "Cancel", issue)
      ),
    drop: (id, issue) =>
      Effect.asVoid(changeVersion(id, "Retired", (transaction, version, now) => {
        for (const key of sourcesOf(transaction, version.projection)) forgetAll(transaction, key)
        setPhase(transaction, now, { ...version, phase: "Dropped" }, "Drop", issue)
      })),
    list: read((transaction) =>
      sources.all(transaction).map(({ key }) => key).toArray().toSorted((a, b) =>
        a.projection < b.projection || a.projection === b.projection && a.source < b.source ? -1 : 1
      )
    ),
    progress: (projection, which) => read((transaction) => progressOf(transaction, projection, which)),
    skip: (key, event, issue = noIssue) =>
      knownOr((transaction, now) => {
        const reason = skipProblem(transaction, key, event)
        if (reason !== undefined) return Effect.fail(new SkipRefused({ ...key, ...event, reason }))
        return Effect.sync(() => {
          const { by, reason } = issue
          skips.set(transaction, letterKey(key, event), { key, ...event, by, reason })
          keep(transaction, now, { ...key, command: "Skip", revision: store(transaction, key.projection) }, issue)
        })
      }, key),
    skips: (key, range) =>
      read((transaction) =>
        skipsOf(transaction, key).flatMap(([, { by, persistenceId, reason, sequenceNumber }]) =>
          SliceRange.contains(range, sliceOf(persistenceId)) ? [{ persistenceId, sequenceNumber, by, reason }] : []
        )
      ),
    endSkip: (key, event) =>
      write((transaction) =>
        Effect.sync(() => {
          const isThere = skips.get(transaction, letterKey(key, event)) !== undefined
          skips.set(transaction, letterKey(key, event), undefined)
          return isThere
        })
      ),
    putAside: ({ envelope, error, fingerprint, key }) =>
      write((transaction, now) =>
        Effect.sync(() => {
          const { persistenceId, sequenceNumber } = envelope
          const at = Timestamp.make(now)
          const letter = { key, envelope, isQueued: false, error, fingerprint, at, claimedAt: undefined }
          // its content was read before the transaction
          const isGone = key.source === sourceKeyOf(entityTypeOf(persistenceId)) &&
            isDeleted(logs, transaction.draft, persistenceId, sequenceNumber)
          letters.set(transaction, letterKey(key, envelope), isGone ? emptied(letter) : letter)
        })
      ),
    parked: (key, range) =>
      read((transaction) => {
        const ids = letters.all(transaction)
          .filter((letter) => isOf(key)(letter) && SliceRange.contains(range, letter.envelope.slice))
          .map(({ envelope }) => envelope.persistenceId)
        return [...new Set(ids)]
      }),
    // a transaction has the whole database
    holdParked: (key, persistenceIds) =>
      read((transaction) => {
        const wanted = new Set(persistenceIds)
        return new Set(
          letters.all(transaction).filter(isOf(key)).map(({ envelope }) => envelope.persistenceId)
            .filter((persistenceId) => wanted.has(persistenceId))
        )
      }),
    queue: (key, events) =>
      write((transaction, now) =>
        Effect.sync(() => {
          const at = Timestamp.make(now)
          for (const place of events) {
            const id = letterKey(key, place)
            if (letters.get(transaction, id) !== undefined) continue
            const envelope = encoded({ ...place, ...nothing }, undefined)
            const letter = {
              key,
              envelope,
              isQueued: true,
              error: queuedError,
              fingerprint: "",
              at,
              claimedAt: undefined
            }
            letters.set(transaction, id, letter)
          }
        })
      ),
    letterCounts: (key) =>
      read((transaction) => {
        const own = letters.all(transaction).filter(isOf(key)).toArray()
        const queued = own.filter(({ isQueued }) => isQueued).length
        const entities = new Set(own.map(({ envelope }) => envelope.persistenceId)).size
        return { entities, failed: own.length - queued, queued }
      }),
    letterGroups: (key, limit) =>
      read((transaction) => {
        const failed = letters.all(transaction).filter((letter) => isOf(key)(letter) && !letter.isQueued)
        return Array.from(Map.groupBy(failed, ({ fingerprint }) => fingerprint), ([fingerprint, some]): LetterGroup => {
          const times = some.map(({ at }) => at).toSorted((a, b) => a - b)
          const entities = new Set(some.map(({ envelope }) => envelope.persistenceId)).size
          return { fingerprint, letters: some.length, entities, first: times[0]!, last: times.at(-1)! }
        }).toSorted((a, b) => b.letters - a.letters || (a.fingerprint < b.fingerprint ? -1 : 1)).slice(0, limit)
      }),
    discardAll: (key, { fingerprint, persistenceId }, issue) =>
      knownOr((transaction, now) =>
        Effect.sync(() => {
          keepDiscard(transaction, now, key, issue)
          let discarded = 0
          for (const [id, row] of letters.entries(transaction)) {
            const isMeant = isOf(key)(row) &&
              (persistenceId === undefined || row.envelope.persistenceId === persistenceId) &&
              (fingerprint === undefined || !row.isQueued && row.fingerprint === fingerprint)
            if (!isMeant) continue
            letters.set(transaction, id, undefined)
            discarded++
          }
          return discarded
        }), key),
    deadLetters: (key, after, limit) => Effect.map(page(key, after, limit), Arr.map(toLetter)),
    listLetters: (key, after, limit) =>
      Effect.map(
        page(key, after, limit),
        Arr.map(({ envelope: { persistenceId, sequenceNumber }, error, fingerprint, isQueued }) => ({
          persistenceId,
          sequenceNumber,
          isDeleted: error === deletedError,
          isQueued,
          fingerprint
        }))
      ),
    discard: (key, letter, claimedAt) =>
      write((transaction) =>
        Effect.sync(() => {
          const found = letters.get(transaction, letterKey(key, letter))
          if (claimedAt !== undefined && found?.claimedAt !== claimedAt) return undefined
          letters.set(transaction, letterKey(key, letter), undefined)
          return found && toLetter(found)
        })
      ),
    discardAsTold: (key, letter, issue) =>
      knownOr((transaction, now) =>
        Effect.sync(() => {
          const found = letters.get(transaction, letterKey(key, letter))
          if (found === undefined) return undefined
          letters.set(transaction, letterKey(key, letter), undefined)
          keepDiscard(transaction, now, key, issue)
          return toLetter(found)
        }), key),
    discardAhead: (key) => write((transaction) => Effect.sync(() => discardAhead(transaction, key))),
    claim: (key, letter, claimFor) =>
      write((transaction, now) =>
        Effect.sync(() => {
          const found = letters.get(transaction, letterKey(key, letter))
          if (found === undefined || isClaimed(found, now)) return undefined
          const wasAbandoned = found.claimedAt !== undefined
          return { ...toLetter(found), claimedAt: claimAs(transaction, found, now, claimFor), wasAbandoned }
        })
      ),
    renew: (key, letter, claimedAt, claimFor) =>
      write((transaction, now) =>
        Effect.sync(() => {
          const found = letters.get(transaction, letterKey(key, letter))
          return found?.claimedAt === claimedAt ? claimAs(transaction, found, now, claimFor) : undefined
        })
      ),
    release: (key, letter, claimedAt, failure) =>
      write((transaction, now) =>
        Effect.sync(() => {
          const found = letters.get(transaction, letterKey(key, letter))
          const isFree = claimedAt === undefined ? found && !isClaimed(found, now) : found?.claimedAt === claimedAt
          if (found === undefined || !isFree) return
          const { fingerprint, isQueued } = failure === undefined ? found : { ...failure, isQueued: false }
          const error = errorAfter(found.error, failure?.error)
          const row = { ...found, isQueued, error, fingerprint, claimedAt: undefined }
          letters.set(transaction, letterKey(key, letter), row)
        })
      )
  })
}
