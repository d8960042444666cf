import { SequenceConflict } from "@sluice/core/JournalError"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import type { Receipt } from "@sluice/core/Receipt"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Activations from "@sluice/entity/Activations"
import { type Answer, type Behaviour, type Command, Stale } from "@sluice/entity/Behaviour"
import { DecisionFailed, JournalUnavailable, RecoveryFailed } from "@sluice/entity/EntityError"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** All notes of an entity, as they were when they were read. */
type Held = { readonly id: string; readonly notes: ReadonlyArray<string> }

/**
 * Entities to which notes are added, one a command, in place of a journal. A test says what goes wrong: before it answers, each step runs what `on` has
 * for it.
 */
export class Notes {
  readonly stored = new Map<string, ReadonlyArray<string>>()
  readonly recovered: Array<string> = []
  readonly verified: Array<string> = []
  on: {
    recover?: (id: string) => Effect.Effect<void, string>
    decide?: (note: string) => Effect.Effect<void, string>
    /** It was not written, or it was, and that is not known. */
    persist?: (note: string) => Effect.Effect<void, string>
    after?: (note: string) => Effect.Effect<void>
    verify?: (id: string) => Effect.Effect<void, string>
  } = {}

  of(id: string): ReadonlyArray<string> {
    return this.stored.get(id) ?? []
  }

  /** As another process would. */
  write(id: string, note: string): void {
    this.stored.set(id, [...this.of(id), note])
  }

  readonly behaviour: Behaviour<Held, string> = {
    name: "notes",
    inTransaction: Effect.succeed(false),
    state: ({ notes }) => notes,
    recover: (id) =>
      Effect.suspend(() => {
        this.recovered.push(id)
        return Effect.mapError(this.on.recover?.(id) ?? Effect.void, (reason) =>
          reason === "broken"
            ? new RecoveryFailed({ entityType: "notes", id, problem: "it is broken" })
            : unavailable(id, false))
      }).pipe(Effect.map(() => ({ id, notes: this.of(id) }))),
    forgottenAt: () => -Infinity,
    rememberedBytes: ({ notes }) => notes.join("").length,
    remembered: ({ notes }, { commandId, payload }) =>
      Effect.succeed(
        commandId !== undefined && notes.includes(commandId) ? replied(`${String(payload)} again`) : undefined
      ),
    decide: ({ id }, { payload, tag: command }) =>
      Effect.mapBoth(this.on.decide?.(String(payload)) ?? Effect.void, {
        onSuccess: () => String(payload),
        onFailure: (problem) => new DecisionFailed({ entityType: "notes", id, command, problem })
      }),
    persist: (held, { tag }, note) =>
      Effect.gen({ self: this }, function*() {
        const { id, notes } = held
        const after = this.on.after?.(note)
        if (tag === "Read") return { held, answer: replied(notes.join(" ")), after }
        if (note.startsWith("no ")) {
          return { held, answer: { _tag: "Rejected", error: `${note} at ${notes.length}` }, after }
        }
        const failure = yield* Effect.flip(this.on.persist?.(note) ?? Effect.void).pipe(
          Effect.catch(() => Effect.succeed(undefined))
        )
        if (failure === "unavailable") return yield* unavailable(id, false)
        yield* this.#isNewest(held)
        const actual = notes.length
        this.write(id, note)
        if (failure === "unknown") return yield* unavailable(id, true)
        return {
          held: { id, notes: this.of(id) },
          answer: replied(`${actual + 1} ${note}`, receiptOf(id, actual + 1)),
          after
        }
      }),
    verify: (held) =>
      Effect.suspend(() => {
        this.verified.push(held.id)
        return Effect.mapError(this.on.verify?.(held.id) ?? Effect.void, () => unavailable(held.id, false))
      }).pipe(Effect.andThen(Effect.suspend(() => this.#isNewest(held))))
  }

  #isNewest({ id, notes }: Held): Effect.Effect<void, Stale> {
    const actual = this.of(id).length
    if (actual === notes.length) return Effect.void
    const cause = new SequenceConflict({
      persistenceId: PersistenceId.make("notes", id),
      expected: notes.length,
      actual: SequenceNumber.make(actual)
    })
    return Effect.fail(new Stale({ cause }))
  }
}

const replied = (reply: string, receipt?: Receipt): Answer => ({ _tag: "Replied", reply, receipt })

const receiptOf = (id: string, n: number): Receipt => {
  const persistenceId = PersistenceId.make("notes", id)
  return {
    journal: "notes",
    log: "events",
    persistenceId,
    slice: Slice.ofPersistenceId(persistenceId),
    sequenceNumber: SequenceNumber.make(n),
    position: Position.make(n),
    timestamp: Timestamp.make(n),
    count: 1
  }
}

const unavailable = (id: string, isUnknown: boolean) =>
  new JournalUnavailable({ entityType: "notes", id, isUnknown, cause: new Error("gone") })

export const add = (note: string, commandId?: string): Command => ({ tag: "Add", payload: note, commandId })
/** It is rejected. */
export const refuse = (note: string, commandId?: string): Command => add(`no ${note}`, commandId)
export const read: Command = { tag: "Read", payload: undefined, commandId: undefined }

/** Runs them in this process. */
export const activate = (
  notes: Notes,
  options?: Activations.Options
): Effect.Effect<
  Activations.Activations & { readonly ask: (id: string, command: Command) => Effect.Effect<unknown, unknown> },
  never,
  Scope.Scope
> =>
  Effect.map(
    Activations.make(notes.behaviour, options),
    (activations) => ({
      ...activations,
      ask: (id, command) =>
        Effect.map(activations.send(id, command), (answer) => answer._tag === "Replied" ? answer.reply : answer.error)
    })
  )
