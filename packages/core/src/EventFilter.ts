/**
 * Which events of a stream a consumer wants, or may see: a value that is built by pipe, stored, sent to the producer, compared,
 * changed, and explained.
 *
 * An event passes that nothing excludes. What is excluded passes all the same where something includes it. So what is included makes
 * a difference only after {@link excludeAll} or another exclusion: a filter that only includes lets everything pass.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Pipeable from "effect/Pipeable"
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import type { Place } from "./Envelope.ts"
import { areTooLarge, compileExpressions, everything, expressionProblem } from "./internal/filter/expressions.ts"
import { remember } from "./internal/filter/remember.ts"
import { compileTopics, topicProblem } from "./internal/filter/topics.ts"
import { quote } from "./internal/quote.ts"
import { textProblem } from "./InvalidInput.ts"
import * as PersistenceId from "./PersistenceId.ts"

/**
 * How many criteria a filter has at most. Of them {@link maxExpressions} regular expressions exclude at most, and as many include.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxCriteria = 8_000

/**
 * How many regular expressions exclude at most, and include at most.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxExpressions = 100

/**
 * How long the texts of all criteria are together at most, in UTF-16 units.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxLength = 256 * 1024

/**
 * What those tags begin with that are topics, unless a producer says otherwise. It is the same in Akka.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultTopicPrefix = "t:"

const notEmpty = (text: string): string | undefined => text === "" ? "is empty" : textProblem(text)

/** What is wrong with a criterion of each kind. */
const kinds = {
  tag: notEmpty,
  "entity id": notEmpty,
  topic: topicProblem,
  "regular expression": expressionProblem
}

type Kind = keyof typeof kinds

const problemOf = (kind: Kind, texts: ReadonlyArray<string>): string | undefined => {
  if (kind === "regular expression" && texts.length > maxExpressions) {
    return `${texts.length} regular expressions are more than ${maxExpressions}`
  }
  if (texts.length > maxCriteria) return tooMany(texts.length)
  for (const text of texts) {
    const problem = text.length > maxLength ? `is longer than ${maxLength} characters` : kinds[kind](text)
    if (problem !== undefined) return `The ${kind} ${quote(text)} ${problem}`
  }
  return kind === "regular expression" && areTooLarge(texts)
    ? "The regular expressions are too large together: shorten or join them, or repeat less in them"
    : undefined
}

const tooMany = (n: number): string => `A filter of ${n} criteria has more than ${maxCriteria}`

/** Sorted, and each once, so that equal filters have equal fields. */
const canonical = (texts: Iterable<string>): ReadonlyArray<string> => [...new Set(texts)].toSorted()

const CriteriaOf = (kind: Kind) =>
  Schema.Array(Schema.String).check(Schema.makeFilter((texts) => problemOf(kind, texts))).pipe(
    Schema.decode(SchemaTransformation.transform({ decode: canonical, encode: (texts) => texts })),
    Schema.withDecodingDefaultKey(Effect.succeed([]))
  )

/**
 * An entity that is included.
 *
 * @category schemas
 * @since 0.1.0
 */
export const IncludedEntity = Schema.Struct({
  /** What follows the entity type in the persistence id: `id`, or `id|replica` for one replica of an entity. The `id` of a replicated entity means all its replicas. */
  entityId: Schema.String,
  /** The sequence number from which its events are replayed when it is included, or 0 for no replay. */
  from: Schema.Natural
})

/**
 * The type of an entity that is included.
 *
 * @category models
 * @since 0.1.0
 */
export type IncludedEntity = typeof IncludedEntity.Type

/** Sorted by their ids, and each once, with the highest of its numbers. */
const canonicalEntities = (entities: Iterable<IncludedEntity>): ReadonlyArray<IncludedEntity> => {
  const from = new Map<string, number>()
  for (const entity of entities) from.set(entity.entityId, Math.max(entity.from, from.get(entity.entityId) ?? 0))
  return canonical(from.keys()).map((entityId) => ({ entityId, from: from.get(entityId)! }))
}

const idsOf = (entities: ReadonlyArray<IncludedEntity>): ReadonlyArray<string> =>
  entities.map(({ entityId }) => entityId)

/**
 * The criteria of a filter.
 *
 * @category models
 * @since 0.1.0
 */
export interface Criteria {
  readonly excludeTags: ReadonlyArray<string>
  readonly excludeEntityIds: ReadonlyArray<string>
  readonly excludeMatching: ReadonlyArray<string>
  readonly includeTags: ReadonlyArray<string>
  readonly includeTopics: ReadonlyArray<string>
  readonly includeEntityIds: ReadonlyArray<IncludedEntity>
  readonly includeMatching: ReadonlyArray<string>
}

/** What is wrong with the size of a filter, whose criteria are correct by themselves. */
const sizeProblem = ({ includeEntityIds, ...texts }: Criteria): string | undefined => {
  let count = 0
  let length = 0
  for (const list of [...Object.values(texts), idsOf(includeEntityIds)]) {
    count += list.length
    for (const text of list) length += text.length
  }
  if (count > maxCriteria) return tooMany(count)
  return length > maxLength ? `The criteria of a filter have ${length} characters, more than ${maxLength}` : undefined
}

/**
 * A filter, and the schema of filters. It begins with {@link passAll} or {@link excludeAll}, and the combinators of this module add
 * criteria, which it keeps sorted and each once: equal filters have equal fields.
 *
 * **Example** (Large carts, and one that is watched)
 *
 * ```ts
 * import { EventFilter, PersistenceId } from "@sluice/core"
 *
 * const filter = EventFilter.excludeAll.pipe(
 *   EventFilter.includeTags("large"),
 *   EventFilter.includeEntityIds("c-17")
 * )
 * const passes = EventFilter.compile(filter)
 * passes({ persistenceId: PersistenceId.make("cart", "c-17"), tags: ["small"] }) // => true
 * passes({ persistenceId: PersistenceId.make("cart", "c-18"), tags: ["small"] }) // => false
 * ```
 *
 * @category schemas
 * @since 0.1.0
 */
export class EventFilter extends Schema.Class<EventFilter>("@sluice/core/EventFilter")(
  Schema.Struct({
    excludeTags: CriteriaOf("tag"),
    excludeEntityIds: CriteriaOf("entity id"),
    excludeMatching: CriteriaOf("regular expression"),
    includeTags: CriteriaOf("tag"),
    includeTopics: CriteriaOf("topic"),
    includeEntityIds: Schema.Array(IncludedEntity).check(
      Schema.makeFilter((entities) => problemOf("entity id", idsOf(entities)))
    ).pipe(
      Schema.decode(SchemaTransformation.transform({ decode: canonicalEntities, encode: (entities) => entities })),
      Schema.withDecodingDefaultKey(Effect.succeed([]))
    ),
    includeMatching: CriteriaOf("regular expression")
  }).check(Schema.makeFilter((fields) => sizeProblem(fields)))
) {
  /**
   * Adds criteria, one combinator after the other.
   *
   * @since 0.1.0
   */
  declare readonly pipe: Pipeable.Pipeable["pipe"]
  static {
    Object.defineProperty(this.prototype, "pipe", Object.getOwnPropertyDescriptor(Pipeable.Prototype, "pipe")!)
  }
}

const encode = Schema.encodeSync(EventFilter)
/** A criterion that this release does not know may exclude: without it more would pass. */
const decode = Schema.decodeUnknownResult(Schema.fromJsonString(EventFilter), { onExcessProperty: "error" })

/**
 * A filter as text, as it is stored and sent. Equal filters have the same text.
 *
 * @category encoding
 * @since 0.1.0
 */
export const toText = (filter: EventFilter): string => JSON.stringify(encode(filter))

/**
 * The filter that a text stands for. Fails where it has what this release does not know, as where a newer one has written it.
 *
 * **Example** (A criterion of a newer release)
 *
 * ```ts
 * import { EventFilter } from "@sluice/core"
 * import { Result } from "effect"
 *
 * const text = EventFilter.toText(EventFilter.excludeAll)
 * EventFilter.fromText(text) // => Result.succeed(EventFilter.excludeAll)
 * Result.isFailure(EventFilter.fromText('{"excludeColors":["red"]}')) // => true
 * ```
 *
 * @category encoding
 * @since 0.1.0
 */
export const fromText = (text: string): Result.Result<EventFilter, Schema.SchemaError> => decode(text)

/** All fields that have a list of texts. */
type TextField = Exclude<keyof Criteria, "includeEntityIds">

/** A filter of fields that are known to be correct and in order. */
const make = (fields: Criteria): EventFilter => new EventFilter(fields, { disableChecks: true })

const mapFields = (
  texts: (field: TextField) => ReadonlyArray<string>,
  includeEntityIds: ReadonlyArray<IncludedEntity>
): EventFilter =>
  make({
    excludeTags: texts("excludeTags"),
    excludeEntityIds: texts("excludeEntityIds"),
    excludeMatching: texts("excludeMatching"),
    includeTags: texts("includeTags"),
    includeTopics: texts("includeTopics"),
    includeEntityIds,
    includeMatching: texts("includeMatching")
  })

/**
 * Lets everything pass.
 *
 * @category constants
 * @since 0.1.0
 */
export const passAll: EventFilter = mapFields(() => [], [])

/**
 * Lets nothing pass but what is included. It is the regular expression `.*`, which here matches every entity id.
 *
 * @category constants
 * @since 0.1.0
 */
export const excludeAll: EventFilter = mapFields((field) => field === "excludeMatching" ? [everything] : [], [])

const textFields: ReadonlyArray<readonly [TextField, Kind]> = [
  ["excludeTags", "tag"],
  ["excludeEntityIds", "entity id"],
  ["excludeMatching", "regular expression"],
  ["includeTags", "tag"],
  ["includeTopics", "topic"],
  ["includeMatching", "regular expression"]
]

/** Throws a `RangeError` where one of the fields that have changed is not correct, or the filter is too large. */
const checked = (self: EventFilter, changed: ReadonlyArray<keyof Criteria>): EventFilter => {
  let problem = sizeProblem(self)
  for (const [field, kind] of textFields) if (changed.includes(field)) problem ??= problemOf(kind, self[field])
  if (changed.includes("includeEntityIds")) problem ??= problemOf("entity id", idsOf(self.includeEntityIds))
  if (problem !== undefined) throw new RangeError(problem)
  return self
}

const adding = (field: TextField) => (...texts: ReadonlyArray<string>) => (self: EventFilter): EventFilter => {
  const all = canonical([...self[field], ...texts])
  return checked(mapFields((other) => other === field ? all : self[other], self.includeEntityIds), [field])
}

/**
 * The filter with these criteria, in any order. Throws a `RangeError` where they are not correct.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromCriteria = (criteria: Criteria): EventFilter =>
  checked(
    mapFields((field) => canonical(criteria[field]), canonicalEntities(criteria.includeEntityIds)),
    [...textFields.map(([field]) => field), "includeEntityIds"]
  )

/**
 * Excludes events that have any of these tags. Throws a `RangeError` for an empty tag.
 *
 * @category combinators
 * @since 0.1.0
 */
export const excludeTags: (...tags: ReadonlyArray<string>) => (self: EventFilter) => EventFilter = adding("excludeTags")

/**
 * Excludes the events of these entities. Of a replicated entity it is the id without its replica. Throws a `RangeError` for an empty id.
 *
 * **Gotchas**
 *
 * Those events of them pass all the same that anything includes: by the id, by an expression, by a tag. {@link without} takes that away, and {@link explain} says what it
 * is.
 *
 * **Example** (A large cart that is not wanted)
 *
 * ```ts
 * import { EventFilter, PersistenceId } from "@sluice/core"
 *
 * const filter = EventFilter.excludeAll.pipe(EventFilter.includeTags("large"), EventFilter.excludeEntityIds("c-17"))
 * EventFilter.explain(filter)({ persistenceId: PersistenceId.make("cart", "c-17"), tags: ["large"] })
 * // => 'passes: excluded by the entity id "c-17", but included by the tag "large". That its entity id is excluded makes no difference: take away what includes it'
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const excludeEntityIds: (...entityIds: ReadonlyArray<string>) => (self: EventFilter) => EventFilter = adding(
  "excludeEntityIds"
)

/**
 * Excludes entities whose whole id is matched by any of these regular expressions, of which the syntax is common to RE2 and Java. Of a
 * replicated entity it is the id without its replica. Throws a `RangeError` for an expression that is invalid, or that Java would give another
 * meaning.
 *
 * @category combinators
 * @since 0.1.0
 */
export const excludeMatching: (...expressions: ReadonlyArray<string>) => (self: EventFilter) => EventFilter = adding(
  "excludeMatching"
)

/**
 * Includes events that have any of these tags. Throws a `RangeError` for an empty tag.
 *
 * @category combinators
 * @since 0.1.0
 */
export const includeTags: (...tags: ReadonlyArray<string>) => (self: EventFilter) => EventFilter = adding("includeTags")

/**
 * Includes events that have a topic which any of these expressions matches. A topic is a tag that begins with the producer's prefix for topics,
 * without that prefix. In an expression `+` stands for one level between slashes, and `#` at its end for one or more. Throws a `RangeError` for an
 * expression that is empty, or has these characters elsewhere.
 *
 * **Example** (The temperatures of one building)
 *
 * ```ts
 * import { EventFilter, PersistenceId } from "@sluice/core"
 *
 * const passes = EventFilter.compile(EventFilter.excludeAll.pipe(EventFilter.includeTopics("home/+/temperature")))
 * passes({ persistenceId: PersistenceId.make("sensor", "s-1"), tags: ["t:home/kitchen/temperature"] }) // => true
 * passes({ persistenceId: PersistenceId.make("sensor", "s-2"), tags: ["t:home/kitchen/humidity"] }) // => false
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const includeTopics: (...expressions: ReadonlyArray<string>) => (self: EventFilter) => EventFilter = adding(
  "includeTopics"
)

/**
 * Includes the events of these entities. Of a replicated entity it is the id without its replica. Of an id alone nothing is replayed at once: its earlier events come before its next one. With `from` a plain
 * consumer is sent its events from that sequence number on, as soon as the producer has the filter. Throws a `RangeError` for an empty id, or a `from` that
 * is no safe integer from 0.
 *
 * @category combinators
 * @since 0.1.0
 */
export const includeEntityIds =
  (...entities: ReadonlyArray<string | IncludedEntity>) => (self: EventFilter): EventFilter => {
    const added = entities.map((entity) => typeof entity === "string" ? { entityId: entity, from: 0 } : entity)
    for (const { entityId, from } of added) {
      if (!Number.isSafeInteger(from) || from < 0) {
        throw new RangeError(`The entity ${quote(entityId)} is included from ${from}: a safe integer from 0`)
      }
    }
    const all = canonicalEntities([...self.includeEntityIds, ...added])
    return checked(mapFields((field) => self[field], all), ["includeEntityIds"])
  }

/**
 * Includes entities whose whole id is matched by any of these regular expressions, as {@link excludeMatching} excludes them.
 *
 * @category combinators
 * @since 0.1.0
 */
export const includeMatching: (...expressions: ReadonlyArray<string>) => (self: EventFilter) => EventFilter = adding(
  "includeMatching"
)

/**
 * A change of a filter: criteria that it gets, and then criteria that it loses.
 *
 * @category schemas
 * @since 0.1.0
 */
export class Change extends Schema.Class<Change>("@sluice/core/EventFilter/Change")({
  added: EventFilter,
  /** Of an included entity only its id counts. */
  removed: EventFilter
}) {}

const leaving = (texts: ReadonlyArray<string>, gone: ReadonlyArray<string>): ReadonlyArray<string> => {
  if (gone.length === 0) return texts
  const set = new Set(gone)
  return texts.filter((text) => !set.has(text))
}

const leavingEntities = (
  entities: ReadonlyArray<IncludedEntity>,
  gone: ReadonlyArray<IncludedEntity>
): ReadonlyArray<IncludedEntity> => {
  const set = new Set(idsOf(gone))
  return entities.filter(({ entityId }) => !set.has(entityId))
}

/**
 * The filter after a change. What is added is a set: in which order changes add, and how often, makes no difference, and an entity that is included
 * twice keeps the higher of its numbers. Throws a `RangeError` where it would have too many criteria.
 *
 * @category combinators
 * @since 0.1.0
 */
export const merge = (self: EventFilter, { added, removed }: Change): EventFilter => {
  const changed = textFields.map(([field]) => field).filter((field) => added[field].length > 0)
  const merged = mapFields(
    (field) =>
      added[field].length + removed[field].length === 0
        ? self[field]
        : leaving(canonical([...self[field], ...added[field]]), removed[field]),
    leavingEntities(canonicalEntities([...self.includeEntityIds, ...added.includeEntityIds]), removed.includeEntityIds)
  )
  return checked(merged, added.includeEntityIds.length > 0 ? [...changed, "includeEntityIds"] : changed)
}

/**
 * Takes away the criteria that these combinators add, whichever of them the filter has. Of an included entity only its id counts.
 *
 * **Gotchas**
 *
 * To exclude an entity that is included, take its inclusion away: what includes counts more than what excludes.
 *
 * **Example** (A cart is no longer watched)
 *
 * ```ts
 * import { EventFilter } from "@sluice/core"
 *
 * const filter = EventFilter.excludeAll.pipe(EventFilter.includeEntityIds("c-17", "c-18"))
 * filter.pipe(EventFilter.without(EventFilter.includeEntityIds("c-17"))).includeEntityIds // => [{ entityId: "c-18", from: 0 }]
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const without =
  (...combinators: ReadonlyArray<(self: EventFilter) => EventFilter>) => (self: EventFilter): EventFilter =>
    merge(self, {
      added: passAll,
      removed: combinators.reduce((removed, combinator) => combinator(removed), passAll)
    })

/**
 * The change from one filter to another: merged with the first, it gives the second. Only the number from which an entity is replayed never gets
 * lower, as what is replayed need not be replayed again.
 *
 * @category combinators
 * @since 0.1.0
 */
export const diff = (from: EventFilter, to: EventFilter): Change => {
  const known = new Map(from.includeEntityIds.map((entity) => [entity.entityId, entity.from]))
  return new Change({
    added: mapFields(
      (field) => leaving(to[field], from[field]),
      to.includeEntityIds.filter((entity) => entity.from > (known.get(entity.entityId) ?? -1))
    ),
    removed: mapFields(
      (field) => leaving(from[field], to[field]),
      leavingEntities(from.includeEntityIds, to.includeEntityIds)
    )
  }, { disableChecks: true })
}

/**
 * What a filter looks at of an event. A placeholder and an event without its payload have it too.
 *
 * @category models
 * @since 0.1.0
 */
export type Subject = Pick<Place, "persistenceId" | "tags">

/**
 * How a filter is understood.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** What those tags begin with that are topics; {@link defaultTopicPrefix} if undefined. */
  readonly topicPrefix?: string | undefined
}

/** Why a tag or an entity id is meant, if it is. */
type Rule = (text: string) => string | undefined

/** The rules of one direction, each with what its result is called. */
interface Rules {
  readonly ofTags: ReadonlyArray<readonly [kind: string, rule: Rule]>
  readonly ofEntities: ReadonlyArray<readonly [kind: string, rule: Rule]>
  /** Whether one of them holds for every event. */
  readonly always: boolean
}

/** A replica of an entity is meant by its own id, and by that of the entity. */
const ofEntity = (ids: ReadonlyArray<string>): Rule => {
  const ruleOf = oneOf(ids)
  return (entityId) => ruleOf(entityId) ?? ruleOf(withoutReplica(entityId))
}

/** By a set, as a filter may have a thousand ids. */
const oneOf = (texts: ReadonlyArray<string>): Rule => {
  const set = new Set(texts)
  return (text) => set.has(text) ? text : undefined
}

const topicOf = (expressions: ReadonlyArray<string>, prefix: string): Rule => {
  const expressionOf = compileTopics(expressions)
  return (tag) => tag.startsWith(prefix) ? expressionOf(tag.slice(prefix.length)) : undefined
}

const matching = (expressions: ReadonlyArray<string>): Rule => {
  const expressionOf = compileExpressions(expressions)
  return (entityId) => expressionOf(withoutReplica(entityId))
}

const withoutReplica = (entityId: string): string => {
  const at = entityId.indexOf("|")
  return at > 0 && entityId.indexOf("|", at + 1) < 0 ? entityId.slice(0, at) : entityId
}

const everyTopic = "#"

const some = <Of>(texts: ReadonlyArray<string>, make: (texts: ReadonlyArray<string>) => Of): ReadonlyArray<Of> =>
  texts.length === 0 ? [] : [make(texts)]

const excluding = (self: EventFilter): Rules => ({
  ofTags: some(self.excludeTags, (tags) => ["tag", oneOf(tags)]),
  ofEntities: [
    ...some(self.excludeEntityIds, (ids) => ["entity id", ofEntity(ids)] as const),
    ...some(self.excludeMatching, (expressions) => ["regular expression", matching(expressions)] as const)
  ],
  always: self.excludeMatching.includes(everything)
})

const including = (self: EventFilter, { topicPrefix = defaultTopicPrefix }: Options): Rules => {
  const isEveryTopic = self.includeTopics.includes(everyTopic)
  return {
    ofTags: [
      ...some(self.includeTags, (tags) => ["tag", oneOf(tags)] as const),
      ...some(isEveryTopic ? [] : self.includeTopics, (topics) => ["topic", topicOf(topics, topicPrefix)] as const)
    ],
    ofEntities: [
      // an event without topics is matched as well
      ...(isEveryTopic ? [["topic", () => everyTopic] as const] : []),
      ...some(idsOf(self.includeEntityIds), (ids) => ["entity id", ofEntity(ids)] as const),
      ...some(self.includeMatching, (expressions) => ["regular expression", matching(expressions)] as const)
    ],
    always: isEveryTopic || self.includeMatching.includes(everything)
  }
}

const reasonOf = (rules: Rules, { persistenceId, tags }: Subject): string | undefined => {
  for (const [kind, rule] of rules.ofTags) {
    for (const tag of tags) {
      const reason = rule(tag)
      if (reason !== undefined) return `the ${kind} ${quote(reason)}`
    }
  }
  for (const [kind, rule] of rules.ofEntities) {
    const reason = rule(PersistenceId.entityId(persistenceId))
    if (reason !== undefined) return `the ${kind} ${quote(reason)}`
  }
  return undefined
}

/** What is said of a tag or an entity, in one number. */
const excluded = 1
const included = 2

const judging = (exclude: Rules["ofTags"], include: Rules["ofTags"]) => {
  const meant = (rules: Rules["ofTags"], text: string) => rules.some(([, rule]) => rule(text) !== undefined)
  return (text: string): number => (meant(exclude, text) ? excluded : 0) + (meant(include, text) ? included : 0)
}

/** Of so many entities and tags it is kept at least what is said of them: an entity has many events, and a tag is of many. */
const keptEntities = 5_000
const keptTags = 1_000

/**
 * Whether events pass the filter. It is compiled once, for many events: what one costs hardly depends on how many criteria there are.
 *
 * @category matching
 * @since 0.1.0
 */
export const compile = (self: EventFilter, options: Options = {}): (subject: Subject) => boolean => {
  const exclude = excluding(self)
  const include = including(self, options)
  if (include.always) return () => true
  // what always holds is not asked of each event
  const ofEntities = exclude.always ? [] : exclude.ofEntities
  const judge = judging(ofEntities, include.ofEntities)
  const entityOf = (persistenceId: string) =>
    judge(PersistenceId.entityId(persistenceId as PersistenceId.PersistenceId))
  const judgeEntity = ofEntities.length + include.ofEntities.length === 0
    ? () => 0
    : self.includeMatching.length > 0 || !exclude.always && self.excludeMatching.length > 0
    ? remember(keptEntities, entityOf)
    : entityOf
  const ofTag = judging(exclude.always ? [] : exclude.ofTags, include.ofTags)
  const judgeTag = self.includeTopics.length > 0 ? remember(keptTags, ofTag) : ofTag
  const byDefault = exclude.always ? excluded : 0
  return ({ persistenceId, tags }) => {
    let verdict = byDefault | judgeEntity(persistenceId)
    for (const tag of tags) verdict |= judgeTag(tag)
    return verdict !== excluded
  }
}

/** What was probably meant by a criterion that does not mean the event, and would if it were asked of its whole persistence id. */
const ofWholeId = (
  ids: ReadonlyArray<string>,
  expressions: ReadonlyArray<string>,
  { persistenceId }: Subject
): string | undefined => {
  const entityId = quote(PersistenceId.entityId(persistenceId))
  if (ids.includes(persistenceId)) {
    return `The entity id ${
      quote(persistenceId)
    } of the filter is a whole persistence id: name the entity by ${entityId}`
  }
  const expression = compileExpressions(expressions)(persistenceId)
  return expression &&
    `The regular expression ${quote(expression)} matches the whole persistence id: it has to match ${entityId}`
}

const hinted = (text: string, hint: string | undefined): string => hint === undefined ? text : `${text}. ${hint}`

/** The same of a topic with the prefix that tags have. */
const ofWholeTag = (topics: ReadonlyArray<string>, prefix: string, { tags }: Subject): string | undefined => {
  const expressionOf = compileTopics(topics)
  for (const tag of tags) {
    const expression = tag.startsWith(prefix) ? expressionOf(tag) : undefined
    if (expression?.startsWith(prefix) === true) {
      return `The topic ${quote(expression)} of the filter begins with the prefix of tags: write ${
        quote(expression.slice(prefix.length))
      }`
    }
  }
  return undefined
}

/**
 * Says in words why an event passes the filter, or why it does not. Where a criterion has a whole persistence id, or the prefix of topics, and would
 * mean the event without it, it says that as well, and where an entity is excluded by its id, and included all the same.
 *
 * **Example** (Why an event did not come)
 *
 * ```ts
 * import { EventFilter, PersistenceId } from "@sluice/core"
 *
 * const filter = EventFilter.passAll.pipe(EventFilter.excludeTags("test"), EventFilter.includeEntityIds("c-17"))
 * const explain = EventFilter.explain(filter)
 * explain({ persistenceId: PersistenceId.make("cart", "c-18"), tags: ["test"] })
 * // => 'kept back: excluded by the tag "test", and nothing includes it'
 * ```
 *
 * @category matching
 * @since 0.1.0
 */
export const explain = (self: EventFilter, options: Options = {}): (subject: Subject) => string => {
  const exclude = excluding(self)
  const include = including(self, options)
  const isExcludedById = ofEntity(self.excludeEntityIds)
  const { topicPrefix = defaultTopicPrefix } = options
  return (subject) => {
    const excluded = reasonOf(exclude, subject)
    if (excluded === undefined) {
      return hinted("passes: nothing excludes it", ofWholeId(self.excludeEntityIds, self.excludeMatching, subject))
    }
    const included = reasonOf(include, subject)
    if (included !== undefined) {
      return hinted(
        `passes: excluded by ${excluded}, but included by ${included}`,
        isExcludedById(PersistenceId.entityId(subject.persistenceId)) === undefined
          ? undefined
          : "That its entity id is excluded makes no difference: take away what includes it"
      )
    }
    return hinted(
      `kept back: excluded by ${excluded}, and nothing includes it`,
      ofWholeId(idsOf(self.includeEntityIds), self.includeMatching, subject) ??
        ofWholeTag(self.includeTopics, topicPrefix, subject)
    )
  }
}
