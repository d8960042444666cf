/** The entity type that is replicated with the JVM: entity `thing-E` has texts, protobuf messages or deltas of a set as events, as `E % 3` is 0, 1 or 2. */
import { create } from "@bufbuild/protobuf"
import { type StringValue, StringValueSchema } from "@bufbuild/protobuf/wkt"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Decision from "@sluice/entity/Decision"
import * as SnapshotPolicy from "@sluice/entity/SnapshotPolicy"
import * as AkkaCodecs from "@sluice/replication/AkkaCodecs"
import * as OrSet from "@sluice/replication/OrSet"
import * as ReplicatedEventSourced from "@sluice/replication/ReplicatedEventSourced"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"

type Event = string | StringValue | OrSet.Delta<string>

const protobuf = AkkaCodecs.protobuf({ "com.google.protobuf.StringValue": StringValueSchema })
const set = AkkaCodecs.orSet("string")

const codec = EventCodec.make<Event>({
  name: "things",
  encode: (event) =>
    typeof event === "string"
      ? EventCodec.string.encodeUnsafe(event)
      : "$typeName" in event
      ? protobuf.encodeUnsafe(event)
      : set.encodeUnsafe(event),
  decode: (payload) =>
    payload.manifest === "ser.akka.io/20"
      ? EventCodec.string.decodeUnsafe(payload)
      : payload.manifest.startsWith("ser.akka.io/40:")
      ? set.decodeUnsafe(payload)
      : protobuf.decodeUnsafe(payload)
})

/** What all replicas have in common in the end. The number of events counts those of all origins. */
const State = Schema.Struct({
  count: Schema.Int,
  texts: Schema.Array(Schema.String),
  set: OrSet.schema(Schema.String)
})

const decide = (id: string, n: number, replica: string, state: typeof State.Type): Event => {
  const text = `${replica} ${n}: Grüße`
  switch (Number(id.slice("thing-".length)) % 3) {
    case 0:
      return text
    case 1:
      return create(StringValueSchema, { value: text })
    default: {
      // what another replica has added may be removed before it is there: Akka's set would keep it then
      const [first] = OrSet.values(state.set).filter((element) => element.startsWith(`${replica} `)).toSorted()
      return n % 3 === 2 && first !== undefined
        ? OrSet.remove(state.set, replica, first)
        : OrSet.add(state.set, replica, text)
    }
  }
}

export const makeThings = (replicas: ReadonlyArray<string>) =>
  ReplicatedEventSourced.make(EntityType.make("thing", { codec }), {
    replicas,
    state: State,
    initial: { count: 0, texts: [], set: OrSet.empty },
    commands: [
      Rpc.make("Write", { payload: { n: Schema.Int }, success: Schema.Int }),
      Rpc.make("Get", { success: State })
    ],
    decide: {
      Write: ({ id, payload: { n }, replica, state }) =>
        Decision.persist([decide(id, n, replica, state)], ({ count }: typeof State.Type) => count),
      Get: ({ state }) => Decision.reply(state)
    },
    evolve: (state, event) => {
      const count = state.count + 1
      if (typeof event === "string") return { ...state, count, texts: [...state.texts, event] }
      return "$typeName" in event
        ? { ...state, count, texts: [...state.texts, event.value] }
        : { ...state, count, set: OrSet.apply(state.set, event) }
    },
    snapshots: SnapshotPolicy.every(20)
  })
