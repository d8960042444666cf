/** What the journal must hold, by what callers were told. */
import * as Journal from "@sluice/core/Journal"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Read, Told } from "./calls.ts"
import { LedgerType } from "./Ledger.ts"

/** What was found. The first list should be empty, and the second one where a process knows what it has. */
export interface Verdict {
  readonly violations: ReadonlyArray<string>
  /** Reads that did not show what was known before they began. Only writes are compared by the journal. */
  readonly staleReads: ReadonlyArray<string>
  readonly events: number
  readonly reads: number
  readonly acknowledged: number
  readonly rejected: number
  readonly unknown: number
  /** Of those that were unknown, how many were executed. */
  readonly executed: number
}

/** How many events of a ledger somebody knew of, and when. */
class Known {
  readonly #seen = new Map<string, Array<{ readonly at: number; events: number }>>()
  #isSorted = false

  add(id: string, at: number, events: number): void {
    const seen = this.#seen.get(id)
    if (seen === undefined) this.#seen.set(id, [{ at, events }])
    else seen.push({ at, events })
  }

  /** The most that was known before that time. */
  before(id: string, time: number): number {
    if (!this.#isSorted) {
      this.#isSorted = true
      for (const seen of this.#seen.values()) {
        seen.sort((a, b) => a.at - b.at)
        for (let i = 1; i < seen.length; i++) seen[i]!.events = Math.max(seen[i]!.events, seen[i - 1]!.events)
      }
    }
    return this.#seen.get(id)?.findLast(({ at }) => at < time)?.events ?? 0
  }
}

/**
 * Compares what is stored of these ledgers with what callers were told: numbers are dense, no operation is applied twice or in half, none that was acknowledged is
 * lost, none that failed for certain is there, and each reply is the total at its place, also where it was given again. A read shows what was there after one of the
 * operations, and none before one that was acknowledged, or read, before it began.
 */
export const verdict = (told: ReadonlyArray<Told>, read: ReadonlyArray<Read>, ids: Iterable<string>) =>
  Effect.gen(function*() {
    const violations: Array<string> = []
    const staleReads: Array<string> = []
    /** The total after each operation, the number of its last event, and its parts. */
    const applied = new Map<string, { readonly id: string; parts: number; total: number; sequenceNumber: number }>()
    /** Of each ledger, the total after so many events; undefined where an operation is not at its end. */
    const totals = new Map<string, Array<number | undefined>>()
    let events = 0
    yield* Effect.forEach(
      new Set([...ids, ...told.map(({ id }) => id)]),
      (id) =>
        Effect.map(Stream.runCollect(Journal.read(LedgerType, id)), (envelopes) => {
          let total = 0
          let last: string | undefined
          const after: Array<number | undefined> = [0]
          totals.set(id, after)
          for (const [i, { event: { by, operation, part }, sequenceNumber }] of envelopes.entries()) {
            events++
            if (sequenceNumber !== i + 1) {
              violations.push(`${id}: event ${i + 1} has number ${sequenceNumber}`)
            }
            total += by
            const before = applied.get(operation)
            if (
              part === 0
                ? before !== undefined
                : before === undefined || last !== operation || before.parts !== part
            ) {
              violations.push(
                `${id}: part ${part} of ${operation} at ${sequenceNumber} does not follow the one before it`
              )
            }
            if (last === operation) after[i] = undefined
            after.push(total)
            applied.set(operation, { id, parts: part + 1, total, sequenceNumber })
            last = operation
          }
          if (total < 0) {
            violations.push(`${id}: the total is ${total}`)
          }
        }),
      { concurrency: 8, discard: true }
    )
    const known = new Known()
    for (const { ended, failure, id, operation } of told) {
      if (failure === undefined) known.add(id, ended, applied.get(operation)?.sequenceNumber ?? 0)
    }
    for (const { ended, events, id } of read) known.add(id, ended, events)
    let acknowledged = 0
    let rejected = 0
    const unknown = new Set<string>()
    // what has an id is sent more than once
    const mayBe = new Set(
      told.flatMap(({ failure, isUnknown, operation }) =>
        failure === undefined || isUnknown === true ? [operation] : []
      )
    )
    for (const { failure, id, isUnknown, operation, parts, reply, sequenceNumber } of told) {
      const found = applied.get(operation)
      if (failure === undefined) {
        acknowledged++
        if (found === undefined) {
          violations.push(`${id}: ${operation} was acknowledged and is lost`)
        } else if (found.id !== id || found.parts !== parts) {
          violations.push(`${id}: ${operation} is there in part`)
        } else if (found.total !== reply) {
          violations.push(`${id}: ${operation} was answered with ${reply}, and the total is ${found.total}`)
        } else if (sequenceNumber !== undefined && sequenceNumber !== found.sequenceNumber) {
          violations.push(`${id}: ${operation} is at ${found.sequenceNumber}, and not at ${sequenceNumber}`)
        }
      } else if (isUnknown === true) {
        unknown.add(operation)
      } else {
        rejected++
        if (found !== undefined && !mayBe.has(operation)) {
          violations.push(`${id}: ${operation} is there, and failed for certain: ${failure}`)
        }
      }
    }
    for (const { began, events, id, total } of read) {
      const there = totals.get(id)?.[events]
      if (there !== total) {
        violations.push(`${id}: a read shows ${total} after ${events} events, where the total is ${there}`)
      }
      const least = known.before(id, began)
      if (events < least) staleReads.push(`${id}: a read shows ${events} events, and ${least} were known before it`)
    }
    const verdict: Verdict = {
      violations,
      staleReads,
      events,
      reads: read.length,
      acknowledged,
      rejected,
      unknown: unknown.size,
      executed: Array.from(unknown).filter((operation) => applied.has(operation)).length
    }
    return verdict
  })
