import { assert, describe, it } from "@effect/vitest"
import * as Offset from "@sluice/core/Offset"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import type { SliceProgress } from "@sluice/core/ProjectionManagement"
import type { Receipt } from "@sluice/core/Receipt"
import type { Rewind } from "@sluice/core/Rewind"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import { judgeReceipt, type Standing } from "../src/internal/projection/judgeReceipt.ts"

const persistenceId = PersistenceId.make("cart", "c-1")

/** Event 7 of its entity, at position 10. */
const receipt: Receipt = {
  journal: "j",
  log: "events",
  persistenceId,
  slice: Slice.ofPersistenceId(persistenceId),
  sequenceNumber: SequenceNumber.make(7),
  position: Position.make(10),
  timestamp: Timestamp.make(100),
  count: 1
}

const at = (
  [position, timestamp]: readonly [number, number],
  { completeUpTo, journal = "j", rewinds = [] }: {
    readonly completeUpTo?: number
    readonly journal?: string | null
    readonly rewinds?: ReadonlyArray<Rewind>
  } = {}
): SliceProgress => ({
  offset: Offset.make(position, timestamp),
  journal: journal ?? undefined,
  completeUpTo: completeUpTo === undefined ? undefined : Position.make(completeUpTo),
  rewinds,
  pastLag: 0
})

const to = (since: number, revision = 2): Rewind => ({ revision, since: Timestamp.make(since) })

const cases: ReadonlyArray<
  readonly [string, slice: SliceProgress | undefined, last: number | undefined, Standing, elsewhere?: string]
> = [
  ["no offset", undefined, undefined, "behind"],
  ["an offset before the first event", at([0, 0], { journal: null }), undefined, "behind"],
  ["a time to begin at that is later", at([0, 500], { journal: "other" }), undefined, "behind"],
  ["an offset before it", at([9, 99]), undefined, "behind"],
  ["its own offset", at([10, 100]), undefined, "handled"],
  ["a later offset", at([11, 101]), undefined, "handled"],
  ["a later offset of a journal that is not known", at([11, 101], { journal: null }), undefined, "handled"],
  ["an offset of a stream of its logs", at([10, 100], { journal: "j/events/cart" }), undefined, "handled"],
  ["an offset of a stream of another journal", at([10, 100], { journal: "jj/events/cart" }), undefined, "otherJournal"],
  ["an offset of another journal", at([3, 30], { journal: "other" }), undefined, "otherJournal"],
  [
    "offsets of several journals in a slice per entity",
    at([0, 0], { journal: "k", completeUpTo: 0 }),
    0,
    "otherJournal"
  ],
  ["an offset that is not there, and those of another journal elsewhere", undefined, undefined, "otherJournal", "k"],
  [
    "an offset before the first event, and those of another journal elsewhere",
    at([0, 0]),
    undefined,
    "otherJournal",
    "k"
  ],
  ["an offset before the first event, and those of its journal elsewhere", at([0, 0]), undefined, "behind", "j"],
  ["its own offset, and those of another journal elsewhere", at([10, 100]), undefined, "handled", "k"],
  ["its position with another time", at([10, 101]), undefined, "forked"],
  ["a later position with an earlier time", at([11, 99]), undefined, "forked"],
  ["an earlier position with a later time", at([9, 101]), undefined, "forked"],
  ["a later offset, and it was read in exact mode", at([12, 120], { completeUpTo: 10 }), undefined, "handled"],
  ["a later offset, and the entity was not read", at([12, 120], { completeUpTo: 9 }), undefined, "leftOut"],
  ["a later offset, and the entity was read before", at([12, 120], { completeUpTo: 9 }), 6, "leftOut"],
  ["a later offset, and the entity was read so far", at([12, 120], { completeUpTo: 9 }), 7, "handled"],
  ["an offset before it, and a replay that was ahead", at([9, 99], { completeUpTo: 2 }), 8, "handled"],
  ["an offset before it, and a replay that was not", at([9, 99], { completeUpTo: 2 }), 6, "behind"],
  [
    "a rewind to before it since the entity was read",
    at([9, 99], { completeUpTo: 2, rewinds: [to(100)] }),
    8,
    "behind"
  ],
  [
    "a rewind to after it since the entity was read",
    at([11, 101], { completeUpTo: 2, rewinds: [to(101)] }),
    8,
    "handled"
  ],
  [
    "a rewind to before it, and the entity was read since",
    at([9, 99], { completeUpTo: 2, rewinds: [to(9, 1)] }),
    8,
    "handled"
  ],
  [
    "a rewind that has jumped over it",
    at([12, 120], { completeUpTo: 2, rewinds: [{ ...to(120), jumpedFrom: Timestamp.make(90) }] }),
    6,
    "handled"
  ]
]

describe("a receipt is judged by", () => {
  for (const [what, progress, last, standing, elsewhere] of cases) {
    it(`${what}: ${standing}`, () => {
      const number = last === undefined ? undefined : { sequenceNumber: SequenceNumber.make(last), revision: 1 }
      const slices = new Map(progress === undefined ? [] : [[receipt.slice, progress]])
      assert.strictEqual(judgeReceipt(receipt, { journal: elsewhere, slices }, number), standing)
    })
  }
})
