/** Replicated entities of several kinds of values, which say of each event what they were told of it. */
import * as EntityType from "@sluice/core/EntityType"
import * as Decision from "@sluice/entity/Decision"
import * as SnapshotPolicy from "@sluice/entity/SnapshotPolicy"
import * as Counter from "@sluice/replication/Counter"
import * as LwwRegister from "@sluice/replication/LwwRegister"
import * as OrSet from "@sluice/replication/OrSet"
import * as ReplicatedEventSourced from "@sluice/replication/ReplicatedEventSourced"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"

const Change = Schema.Union([
  Schema.TaggedStruct("Count", { amount: Schema.Int }),
  Schema.TaggedStruct("Admit", { member: Schema.String }),
  /** Has two events. */
  Schema.TaggedStruct("Invite", { member: Schema.String }),
  Schema.TaggedStruct("Dismiss", { member: Schema.String }),
  Schema.TaggedStruct("Name", { title: Schema.String })
])

export type Change = typeof Change.Type

/** `token` is of one command. */
export class Changed extends Schema.TaggedClass<Changed>()("Changed", {
  token: Schema.String,
  delta: Schema.Union([Counter.delta, OrSet.delta(Schema.String), LwwRegister.delta(Schema.String)])
}) {}

/** What is the same in all replicas in the end, and of each event what only this one knows. */
export const State = Schema.Struct({
  sum: Counter.schema,
  members: OrSet.schema(Schema.String),
  title: LwwRegister.schema(Schema.String),
  told: Schema.Record(Schema.String, Schema.String)
})

export type State = typeof State.Type

const initial: State = { sum: Counter.empty, members: OrSet.empty, title: LwwRegister.make(""), told: {} }

/** What an entity is told of an event, as the journal has to have it. */
export const toldOf = (
  { concurrent, time, version }: Pick<ReplicatedEventSourced.Place, "concurrent" | "version"> & {
    readonly time?: number | undefined
  }
): string =>
  JSON.stringify([concurrent, time, Array.from(version, ([replica, number]) => `${replica}#${number}`).toSorted()])

const deltaOf = (change: Change, { members, title }: State, replica: string, time: number): Changed["delta"] => {
  switch (change._tag) {
    case "Count":
      return Counter.increment(change.amount)
    case "Admit":
    case "Invite":
      return OrSet.add(members, replica, change.member)
    case "Dismiss":
      return OrSet.remove(members, replica, change.member)
    case "Name":
      return LwwRegister.write(title, replica, time, change.title)
  }
}

const apply = (state: State, delta: Changed["delta"]): State => {
  switch (delta._tag) {
    case "CounterUpdated":
      return { ...state, sum: Counter.apply(state.sum, delta) }
    case "LwwRegisterWritten":
      return { ...state, title: LwwRegister.apply(state.title, delta) }
    default:
      return { ...state, members: OrSet.apply(state.members, delta) }
  }
}

/** The boards as one replica runs them. */
export const makeBoards = (options: {
  readonly replicas: ReadonlyArray<string>
  readonly snapshotEvery?: number | undefined
  readonly intercept?: ((id: string) => Effect.Effect<void, unknown>) | undefined
  /** The effect after the events of a command are stored. */
  readonly after?: ((replica: string, token: string) => Effect.Effect<void>) | undefined
}) => {
  const { after = () => Effect.void, intercept = () => Effect.void, snapshotEvery } = options
  return ReplicatedEventSourced.make(EntityType.make("board", { event: Changed }), {
    replicas: options.replicas,
    state: State,
    initial,
    commands: [
      Rpc.make("Apply", { payload: { token: Schema.String, change: Change } }),
      Rpc.make("Show", { success: State }),
      Rpc.make("Version", { success: Schema.Record(Schema.String, Schema.Int) })
    ],
    decide: {
      Apply: ({ payload: { change, token }, replica, state, time }) => {
        const deltas = [deltaOf(change, state, replica, time)]
        if (change._tag === "Invite") deltas.push(Counter.increment(1))
        return Decision.persist<Changed, State>(deltas.map((delta) => new Changed({ token, delta }))).pipe(
          Decision.andThen(() => after(replica, token))
        )
      },
      Show: ({ state }) => Decision.reply(state),
      Version: ({ version }) => Decision.reply(Object.fromEntries(version))
    },
    evolve: (state, { delta }, place) => {
      const name = `${place.origin}#${place.originSequenceNumber}`
      return { ...apply(state, delta), told: { ...state.told, [name]: toldOf(place) } }
    },
    snapshots: snapshotEvery === undefined ? undefined : SnapshotPolicy.every(snapshotEvery),
    intercept: ({ id }) => intercept(id)
  })
}

export type Boards = ReturnType<typeof makeBoards>

const encode = Schema.encodeSync(State)

/** What has to be the same in all replicas, as a text. */
export const sharedOf = (state: State): string => {
  const { members, sum, title } = encode(state)
  return JSON.stringify({ sum, members, title })
}
