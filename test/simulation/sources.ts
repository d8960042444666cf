/** The sources that projections of the simulator read: a journal in several manners, and durable states. */
import * as DurableStateStore from "@sluice/core/DurableStateStore"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import type * as Journal from "@sluice/core/Journal"
import type * as PersistenceId from "@sluice/core/PersistenceId"
import type * as Selection from "@sluice/core/Selection"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Source from "@sluice/core/Source"
import * as StateType from "@sluice/core/StateType"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

export const Note = EntityType.make("note", { codec: EventCodec.string })

export const Profile = StateType.make("profile", { state: Schema.String })

type Provider = Source.Source<string, any, any>["provider"]

/** Goes on with what is left where events were deleted. */
const journal: Provider = { ...Source.journal(Note).provider, onReplaced: "rewind" }

const notes: Source.Source<string, any, Journal.Journal> = Source.make(journal)

/** As plain Akka consumers read it. */
const byTime: Provider = {
  ...journal,
  open: (range, start) => journal.open(range, { ...start, byTime: true })
}

/** The entities that a source shows for now. It brings the events of one that it did not when that is selected. */
export interface Selected {
  readonly select: (persistenceId: string) => Effect.Effect<void>
  readonly provider: Provider
}

const replay = (feed: Source.Feed<any>, persistenceId: string) =>
  feed.replay!({ persistenceId: persistenceId as PersistenceId.PersistenceId, from: SequenceNumber.make(1) })

/** A selection as the server applies it for a consumer that filters. */
export const makeSelected = (persistenceIds: ReadonlyArray<string>): Selected => {
  const selected = new Set(persistenceIds)
  const added = new Set<string>()
  const open = new Set<Source.Feed<any>>()
  const selection: Selection.Selection = {
    isOpen: false,
    isSelected: ({ persistenceId }) => selected.has(persistenceId)
  }
  return {
    select: (persistenceId) =>
      Effect.suspend(() => {
        if (selected.has(persistenceId)) return Effect.void
        selected.add(persistenceId)
        added.add(persistenceId)
        return Effect.forEach(open, (feed) => replay(feed, persistenceId), { discard: true })
      }),
    provider: {
      ...journal,
      open: (range, start) =>
        Effect.gen(function*() {
          const context = yield* Effect.context<Journal.Journal>()
          const { envelopes, ...rest } = yield* Source.openEncoded(notes, Note.codec, { range, start, selection })
          const feed = { ...rest, envelopes: Stream.provideContext(envelopes, context) }
          yield* Effect.acquireRelease(
            Effect.sync(() => open.add(feed)),
            () => Effect.sync(() => open.delete(feed))
          )
          yield* Effect.forEach(added, (persistenceId) => replay(feed, persistenceId), { discard: true })
          return feed
        })
    }
  }
}

/** The text of a state, and what is said of one that is deleted. */
const states = Source.durableState(Profile).pipe(Source.map(({ event }) => Option.getOrElse(event, () => "deleted")))

export const sourceOf = (
  kind: "journal" | "byTime" | "selected" | "states",
  selected: Selected
): Source.Source<string, any, any> => {
  switch (kind) {
    case "journal":
      return notes
    case "byTime":
      return Source.make(byTime)
    case "selected":
      return Source.make(selected.provider)
    case "states":
      return states
  }
}

/** Changes the state of an entity, or deletes it, whatever it is. */
export const changeState = (id: string, state: string | undefined) =>
  Effect.gen(function*() {
    const before = yield* DurableStateStore.get(Profile, id)
    const expected = Option.match(before, { onNone: () => 0, onSome: ({ revision }) => revision })
    if (state !== undefined) return yield* DurableStateStore.upsert(Profile, { id, expected, state })
    if (expected > 0) yield* DurableStateStore.delete(Profile, { id, expected })
    return expected
  })
