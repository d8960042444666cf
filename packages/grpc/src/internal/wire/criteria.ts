import { create, type MessageInitShape } from "@bufbuild/protobuf"
import * as EventFilter from "@sluice/core/EventFilter"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import type { FilterCriteria } from "../generated/akka/projection/grpc/event_producer_pb.ts"
import { FilterCriteriaSchema } from "../generated/akka/projection/grpc/event_producer_pb.ts"
import { integer } from "./integer.ts"

/** The criteria of texts: the field of a filter, the messages that add to it and remove from it, and where both have their texts. */
const textCriteria = [
  { field: "excludeTags", add: "excludeTags", remove: "removeExcludeTags", texts: "tags" },
  { field: "excludeEntityIds", add: "excludeEntityIds", remove: "removeExcludeEntityIds", texts: "entityIds" },
  {
    field: "excludeMatching",
    add: "excludeMatchingEntityIds",
    remove: "removeExcludeMatchingEntityIds",
    texts: "matching"
  },
  { field: "includeTags", add: "includeTags", remove: "removeIncludeTags", texts: "tags" },
  { field: "includeTopics", add: "includeTopics", remove: "removeIncludeTopics", texts: "expression" },
  {
    field: "includeMatching",
    add: "includeMatchingEntityIds",
    remove: "removeIncludeMatchingEntityIds",
    texts: "matching"
  }
] as const

type TextField = typeof textCriteria[number]["field"]

/**
 * @internal
 * A filter after criteria that add to it and remove from it, one after the other. Throws a `RangeError` at what is no criterion, and where the filter
 * would not be correct.
 */
export const withCriteria = (
  self: EventFilter.EventFilter,
  criteria: ReadonlyArray<FilterCriteria>
): EventFilter.EventFilter => {
  if (criteria.length === 0) return self
  const texts = new Map(textCriteria.map(({ field }) => [field, new Set(self[field])] as const))
  const entities = new Map(self.includeEntityIds.map(({ entityId, from }) => [entityId, from]))
  for (const { message } of criteria) {
    if (message.case === undefined) throw new RangeError("a criterion that this producer does not know")
    if (message.case === "includeEntityIds") {
      for (const { entityId, seqNr } of message.value.entityIdOffset) {
        entities.set(entityId, Math.max(SequenceNumber.make(integer(seqNr)), entities.get(entityId) ?? 0))
      }
    } else if (message.case === "removeIncludeEntityIds") {
      for (const entityId of message.value.entityIds) entities.delete(entityId)
    } else {
      const { add, field, texts: name } = textCriteria.find(({ add, remove }) =>
        add === message.case || remove === message.case
      )!
      const set = texts.get(field)!
      const isAdded = add === message.case
      for (const text of (message.value as unknown as Record<typeof name, ReadonlyArray<string>>)[name]) {
        if (isAdded) set.add(text)
        else set.delete(text)
      }
    }
  }
  const all = (field: TextField): ReadonlyArray<string> => [...texts.get(field)!]
  return EventFilter.fromCriteria({
    excludeTags: all("excludeTags"),
    excludeEntityIds: all("excludeEntityIds"),
    excludeMatching: all("excludeMatching"),
    includeTags: all("includeTags"),
    includeTopics: all("includeTopics"),
    includeEntityIds: Array.from(entities, ([entityId, from]) => ({ entityId, from })),
    includeMatching: all("includeMatching")
  })
}

/**
 * @internal
 * The criteria that add all that a change adds, and then remove what it removes. A producer that is a replica is sent the ids that its entities have there, which is all
 * that one of Akka knows.
 */
export const toCriteria = (
  { added, removed }: EventFilter.Change,
  replica?: string
): Array<FilterCriteria> => {
  const criteria: Array<FilterCriteria> = []
  const idOf = (id: string) => replica === undefined || id.includes("|") ? id : `${id}|${replica}`
  const textsOf = (field: TextField, texts: ReadonlyArray<string>) =>
    field === "excludeEntityIds" ? texts.map(idOf) : [...texts]
  const push = (message: MessageInitShape<typeof FilterCriteriaSchema>["message"]) =>
    criteria.push(create(FilterCriteriaSchema, { message: message! }))
  for (const { add, field, texts } of textCriteria) {
    if (added[field].length > 0) push({ case: add, value: { [texts]: textsOf(field, added[field]) } })
  }
  if (added.includeEntityIds.length > 0) {
    const entityIdOffset = added.includeEntityIds.map(({ entityId, from }) => ({
      entityId: idOf(entityId),
      seqNr: BigInt(from)
    }))
    push({ case: "includeEntityIds", value: { entityIdOffset } })
  }
  for (const { field, remove, texts } of textCriteria) {
    if (removed[field].length > 0) push({ case: remove, value: { [texts]: textsOf(field, removed[field]) } })
  }
  if (removed.includeEntityIds.length > 0) {
    push({
      case: "removeIncludeEntityIds",
      value: { entityIds: removed.includeEntityIds.map(({ entityId }) => idOf(entityId)) }
    })
  }
  return criteria
}
