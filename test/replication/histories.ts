/** What the journals of all replicas have to have of an entity, once all has come. */
import * as Journal from "@sluice/core/Journal"
import type { ReplicationMetadata } from "@sluice/core/ReplicationMetadata"
import * as VersionVector from "@sluice/replication/VersionVector"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

/** An event as a replica has stored it. What it says is the same in all. */
export interface Stored {
  readonly sequenceNumber: number
  readonly replication: ReplicationMetadata
  readonly text: string
}

/** Of each replica, by its id. */
export type Histories = ReadonlyMap<string, ReadonlyArray<Stored>>

/** The events that a replica has of an entity. */
export const read = <Event>(
  entityType: Parameters<typeof Journal.read<Event>>[0],
  replica: string,
  id: string,
  textOf: (event: Event) => string
) =>
  Effect.map(
    Stream.runCollect(Journal.read(entityType, `${id}|${replica}`)),
    (events): ReadonlyArray<Stored> =>
      Array.from(events, ({ event, replication, sequenceNumber }) => ({
        sequenceNumber,
        replication: replication!,
        text: textOf(event)
      }))
  )

/** An event as it is named in all replicas. */
export const nameOf = ({ origin, originSequenceNumber }: ReplicationMetadata): string =>
  `${origin}#${originSequenceNumber}`

/** What the events of a replica have seen together. */
export const versionOf = (events: ReadonlyArray<Stored>): VersionVector.VersionVector =>
  events.reduce((version, { replication }) => VersionVector.merge(version, replication.version), VersionVector.empty)

const show = (version: VersionVector.VersionVector): string =>
  Array.from(version, ([replica, number]) => `${replica}#${number}`).toSorted().join(" ") || "nothing"

/** Why the journals do not have the same events, each once, in the order of its origin. */
function* problemsOfEvents(histories: Histories): Generator<string> {
  const all = new Map<string, Stored>()
  for (const [replica, events] of histories) {
    const last = new Map<string, number>()
    for (const event of events) {
      const { origin, originSequenceNumber, time } = event.replication
      const name = nameOf(event.replication)
      const before = last.get(origin) ?? 0
      if (originSequenceNumber <= before) yield `${replica} has ${name} after ${origin}#${before}`
      last.set(origin, originSequenceNumber)
      const other = all.get(name)
      if (other === undefined) all.set(name, event)
      else if (other.text !== event.text) yield `${name} is '${event.text}', and elsewhere '${other.text}'`
      else if (other.replication.time !== time) {
        yield `${name} has the time ${time}, and elsewhere ${other.replication.time}`
      }
    }
  }
}

/** Why an event does not say what its origin knew when it was decided, or does not go with what its replica knew when it was stored. */
function* problemsOfMetadata(histories: Histories): Generator<string> {
  /** The version that each was decided with. */
  const decided = new Map<string, VersionVector.VersionVector>()
  for (const [replica, events] of histories) {
    for (const { replication } of events) {
      if (replication.origin === replica) decided.set(nameOf(replication), replication.version)
    }
  }
  for (const [replica, events] of histories) {
    let known = VersionVector.empty
    let time = 0
    for (const { replication, sequenceNumber } of events) {
      const { concurrent, origin, originSequenceNumber, version } = replication
      const name = `${nameOf(replication)} at ${replica}`
      const isOwn = origin === replica
      if (isOwn && originSequenceNumber !== sequenceNumber) yield `${name} is number ${sequenceNumber} there`
      const came = decided.get(nameOf(replication)) ?? VersionVector.empty
      const expected = isOwn ? VersionVector.written(known, replica, replication.originSequenceNumber) : came
      if (VersionVector.compare(version, expected) !== "same") {
        yield `${name} has seen ${show(version)}, and not ${show(expected)}`
      }
      const isConcurrent = !isOwn && VersionVector.compare(came, known) === "concurrent"
      if (concurrent !== isConcurrent) yield `${name} is ${concurrent ? "" : "not "}concurrent`
      if (isOwn && replication.time! <= time) {
        yield `${name} has the time ${replication.time}, and had seen an event of ${time}`
      }
      known = VersionVector.merge(known, version)
      time = Math.max(time, replication.time!)
    }
  }
}

/** Which events came before others that their origin had seen. */
function* problemsOfOrder(histories: Histories): Generator<string> {
  for (const [replica, events] of histories) {
    const here = new Map<string, number>()
    for (const { replication, sequenceNumber } of events) {
      const { origin, originSequenceNumber, version } = replication
      for (const [id, number] of version) {
        const isHere = id === origin
          ? number === originSequenceNumber
          : number <= (id === replica ? sequenceNumber : here.get(id) ?? 0)
        if (!isHere) yield `${nameOf(replication)} was stored at ${replica} before ${id}#${number}, which it has seen`
      }
      here.set(origin, originSequenceNumber)
    }
  }
}

/** What is wrong with them, and does not become right whatever is still to come. */
export const problems = (histories: Histories, order: "origin" | "causal" = "origin"): ReadonlyArray<string> => [
  ...problemsOfEvents(histories),
  ...problemsOfMetadata(histories),
  ...(order === "causal" ? problemsOfOrder(histories) : [])
]

/** What is still to come. */
export const missing = (histories: Histories): ReadonlyArray<string> => {
  const of = Array.from(
    histories,
    ([replica, events]) =>
      [replica, new Set(events.map(({ replication }) => nameOf(replication))), versionOf(events)] as const
  )
  const all = new Set(of.flatMap(([, names]) => [...names]))
  const version = of.reduce((all, [, , one]) => VersionVector.merge(all, one), VersionVector.empty)
  return of.flatMap(([replica, names, one]) => [
    ...Array.from(all).filter((name) => !names.has(name)).map((name) => `${replica} does not have ${name}`),
    ...(VersionVector.compare(one, version) === "same"
      ? []
      : [`${replica} has seen ${show(one)}, and not ${show(version)}`])
  ])
}
