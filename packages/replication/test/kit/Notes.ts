import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Decision from "@sluice/entity/Decision"
import * as SnapshotPolicy from "@sluice/entity/SnapshotPolicy"
import * as ReplicatedEventSourced from "@sluice/replication/ReplicatedEventSourced"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"

/** A note that was added. */
export class Added extends Schema.TaggedClass<Added>()("Added", { text: Schema.String }) {}

/** The notes in the order in which the replica has stored them, each with what its event was said to be. */
export const State = Schema.Struct({
  notes: Schema.Array(Schema.String),
  concurrent: Schema.Array(Schema.String),
  times: Schema.Array(Schema.Int)
})

export const replicas = ["eu", "us", "ap"]

/** What is observed from outside. */
export interface Seen {
  readonly after: Array<string>
  readonly recovering: Array<boolean>
}

const codec = EventCodec.json(Added)

const decoding = (onDecode: ((event: Added) => void) | undefined) =>
  onDecode === undefined ? codec : EventCodec.make<Added>({
    name: codec.name,
    encode: codec.encodeUnsafe,
    decode: (payload) => {
      const event = codec.decodeUnsafe(payload)
      onDecode(event)
      return event
    }
  })

export const makeNotes = (
  name: string,
  options: {
    readonly snapshotEvery?: number
    readonly decideWithin?: Duration.Input
    readonly maxEvents?: number
    readonly intercept?: (
      arriving: ReplicatedEventSourced.Intercept<Added, typeof State.Type>
    ) => Effect.Effect<void, unknown>
    readonly seen?: Seen
    readonly tags?: (state: typeof State.Type, event: Added) => ReadonlyArray<string>
    /** The state with one more note, where it is another one than that with the note at its end. */
    readonly evolve?: (state: typeof State.Type, note: string) => typeof State.Type
    /** What it throws at cannot be decoded. */
    readonly onDecode?: (event: Added) => void
    readonly onEvolve?: (event: Added, place: ReplicatedEventSourced.Place) => void
  } = {}
) =>
  ReplicatedEventSourced.make(EntityType.make(name, { codec: decoding(options.onDecode) }), {
    replicas,
    state: State,
    initial: { notes: [], concurrent: [], times: [] },
    commands: [
      Rpc.make("Add", { payload: { text: Schema.String }, success: Schema.Int }),
      Rpc.make("Get", { success: State }),
      Rpc.make("Version", { success: Schema.Record(Schema.String, Schema.Int) })
    ],
    decide: {
      Add: ({ payload: { text }, replica }) =>
        Decision.persist([new Added({ text })], ({ notes }: typeof State.Type) => notes.length).pipe(
          Decision.andThen(() => Effect.sync(() => options.seen?.after.push(`${replica} ${text}`)))
        ),
      Get: ({ state }) => Decision.reply(state),
      Version: ({ version }) => Decision.reply(Object.fromEntries(version))
    },
    evolve: ({ concurrent, notes, times }, event, place) => {
      const { text } = event
      options.onEvolve?.(event, place)
      options.seen?.recovering.push(place.recovering)
      const note = `${place.origin}#${place.originSequenceNumber} ${text}`
      if (options.evolve !== undefined) return options.evolve({ concurrent, notes, times }, note)
      return {
        notes: [...notes, note],
        concurrent: place.concurrent ? [...concurrent, note] : concurrent,
        times: [...times, place.time]
      }
    },
    snapshots: options.snapshotEvery === undefined ? undefined : SnapshotPolicy.every(options.snapshotEvery),
    tags: options.tags,
    decideWithin: options.decideWithin,
    maxEvents: options.maxEvents,
    intercept: options.intercept
  })

export type Notes = ReturnType<typeof makeNotes>
