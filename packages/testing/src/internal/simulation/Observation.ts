import type { HistoryPolicy } from "@sluice/core/ConsumerFilter"
import type { Place } from "@sluice/core/Envelope"
import type { EventFilter } from "@sluice/core/EventFilter"
import type { Beat } from "@sluice/core/HeartbeatStore"
import type { AppendRequest, SequenceConflict, Written } from "@sluice/core/Journal"
import type { Offsets } from "@sluice/core/Offset"
import type { Basis, Fenced, Move, OffsetKey, StoredOffsets } from "@sluice/core/OffsetStore"
import type { DeadLetterId } from "@sluice/core/ProjectionManagement"

/** @internal What is to be seen of processes from their database. */
export type Observation =
  /** A process has sent an append. */
  | { readonly _tag: "Sent"; readonly request: AppendRequest }
  /** It knows that what it has appended is committed. */
  | {
    readonly _tag: "Acknowledged"
    readonly request: AppendRequest
    readonly written: Written
  }
  /** It was told of a conflict. */
  | {
    readonly _tag: "Refused"
    readonly request: AppendRequest
    readonly error: SequenceConflict
  }
  /** The transaction that it was sent in was undone. */
  | { readonly _tag: "Undone"; readonly request: AppendRequest }
  /** A worker begins, or somebody asks how far it is. A worker that has begun anew is another one. */
  | {
    readonly _tag: "Loaded"
    readonly worker: object
    readonly key: OffsetKey
    readonly stored: StoredOffsets
  }
  /** A worker wants to move offsets. */
  | {
    readonly _tag: "Moves"
    readonly worker: object
    readonly key: OffsetKey
    readonly basis: Basis
    readonly moves: ReadonlyArray<Move>
  }
  /** Its moves are committed. */
  | {
    readonly _tag: "Moved"
    readonly worker: object
    readonly key: OffsetKey
    readonly basis: Basis
    readonly moves: ReadonlyArray<Move>
  }
  /** It was told that another is there, or that the projection was rewound. */
  | {
    readonly _tag: "Fenced"
    readonly worker: object
    readonly key: OffsetKey
    readonly error: Fenced
  }
  /** A projection was rewound or cleared: its offsets are those, and the beginning elsewhere. */
  | { readonly _tag: "Rewound"; readonly key: OffsetKey; readonly offsets: Offsets }
  /** The projections that read a source have begun anew from where they were, with another filter. */
  | {
    readonly _tag: "Refiltered"
    readonly source: string
    readonly history: HistoryPolicy
    readonly before: EventFilter
    readonly after: EventFilter
  }
  /** A projection has put an event aside, with its offset on that revision. */
  | {
    readonly _tag: "PutAside"
    readonly key: OffsetKey
    readonly revision: number | undefined
    readonly event: Place
    /** Whether it has not failed, and waits behind an earlier event of its entity. */
    readonly isQueued: boolean
  }
  /** A projection was told to go past an event when it comes to it. */
  | { readonly _tag: "ToSkip"; readonly key: OffsetKey; readonly event: DeadLetterId }
  /** It need not do so any more: it has gone past it, with its offset on that revision, or was past it before if there is none. */
  | {
    readonly _tag: "Skipped"
    readonly key: OffsetKey
    readonly event: DeadLetterId
    readonly revision: number | undefined
  }
  /** A version of a projection does not run any more, as another has taken its place, or its building was cancelled. */
  | { readonly _tag: "Retired"; readonly projection: string }
  /** What was put aside is thrown away: as it is handled now, or need not be any more. */
  | { readonly _tag: "Discarded"; readonly key: OffsetKey; readonly letter: DeadLetterId }
  /**
   * A process says how its workers are doing, as it has seen that at that time, in milliseconds since the simulation began: that is about to be stored, or
   * was.
   */
  | { readonly _tag: "Beats"; readonly beat: Beat; readonly at: number; readonly isStored: boolean }
  /** The oldest events of an entity type are about to be removed, and nothing comes between. */
  | { readonly _tag: "Prunes"; readonly entityType: string }
