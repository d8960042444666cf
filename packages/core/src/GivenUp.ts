/**
 * The past of entities that changes of a filter have given up. Those are the changes with the history `none`, and the entities are those that such a
 * change has newly included.
 *
 * Which entities these are is told by the event that comes next of an entity: it was kept back by the filter before the change, and is let through by
 * the one after it.
 *
 * @since 0.1.0
 */
import type { Place } from "./Envelope.ts"
import { compile, diff, type EventFilter, type Subject } from "./EventFilter.ts"
import { everything } from "./internal/filter/expressions.ts"
import type { Slice } from "./Slice.ts"
import type { Timestamp } from "./Timestamp.ts"

/**
 * The past of a slice that a change has given up.
 *
 * @category models
 * @since 0.1.0
 */
export interface GivenUp {
  /** The version of the filter that the change has stored. */
  readonly version: number
  /** Of the entities that it has newly included, the events that are older than this do not come. */
  readonly until: Timestamp
}

/**
 * A change that has given up the past of what it has newly included.
 *
 * @category models
 * @since 0.1.0
 */
export interface Inclusion {
  readonly version: number
  readonly before: EventFilter
  readonly after: EventFilter
}

/**
 * So many changes of a stream's filter are remembered at most that have given up a past.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxChanges = 32

/**
 * The changes that have stored some of the versions of a filter, from these versions and the ones before them, oldest first.
 *
 * @category constructors
 * @since 0.1.0
 */
export const inclusions = (
  versions: ReadonlyArray<{ readonly version: number; readonly filter: EventFilter }>,
  by: ReadonlySet<number>
): ReadonlyArray<Inclusion> => {
  const filters = new Map(versions.map(({ filter, version }) => [version, filter]))
  return [...by].toSorted((a, b) => a - b).flatMap((version) => {
    const [before, after] = [filters.get(version - 1), filters.get(version)]
    return before === undefined || after === undefined ? [] : [{ version, before, after }]
  })
}

const areEmpty = (...lists: ReadonlyArray<ReadonlyArray<unknown>>): boolean => lists.every((list) => list.length === 0)

/** Whether the criteria alone prove that whatever passes a filter also passes another one. */
const isWithin = (self: EventFilter, other: EventFilter): boolean => {
  const { added, removed } = diff(self, other)
  // what excludes everything has only what it includes
  const excludesNoMore = self.excludeMatching.includes(everything) ||
    areEmpty(added.excludeTags, added.excludeEntityIds, added.excludeMatching)
  return excludesNoMore &&
    areEmpty(removed.includeTags, removed.includeTopics, removed.includeEntityIds, removed.includeMatching)
}

/**
 * Whether the criteria of the two filters alone prove that a change includes nothing new.
 *
 * **Example** (One cart less, and one more)
 *
 * ```ts
 * import { EventFilter, GivenUp } from "@sluice/core"
 *
 * const [one, two] = [1, 2].map((version) => EventFilter.excludeAll.pipe(EventFilter.includeEntityIds("c-1", `c-${version}`)))
 * GivenUp.includesNothing({ version: 2, before: two!, after: one! }) // => true
 * GivenUp.includesNothing({ version: 3, before: one!, after: two! }) // => false
 * ```
 *
 * @category guards
 * @since 0.1.0
 */
export const includesNothing = ({ after, before }: Inclusion): boolean => isWithin(after, before)

/**
 * Whether the criteria alone prove that a later change includes whatever an earlier one has included. Then the earlier one need not be remembered, as
 * the later one has given up more of the same entities.
 *
 * @category guards
 * @since 0.1.0
 */
export const covers = (later: Inclusion, earlier: Inclusion): boolean =>
  isWithin(earlier.after, later.after) && isWithin(later.before, earlier.before)

/**
 * What is given up of a slice once it is rewound: only what is older than the place that the rewind leads to. What is not older comes again.
 * Everything up to `complete` was read, so nothing there is given up.
 *
 * @category combinators
 * @since 0.1.0
 */
export const rewound = (
  givenUp: ReadonlyArray<GivenUp>,
  complete: Timestamp,
  since: Timestamp
): ReadonlyArray<GivenUp> =>
  givenUp.length === 0
    ? givenUp
    : givenUp.flatMap(({ until, version }) =>
      Math.min(until, since) <= complete ? [] : [{ version, until: until < since ? until : since }]
    )

/**
 * The past that is given up in the slices of a worker. Pure but for the filters, which are compiled when they are needed first.
 *
 * **Example** (A cart that was included without its past, and one that has kept it)
 *
 * ```ts
 * import { Envelope, EventFilter, GivenUp, PersistenceId, Position, SequenceNumber, Slice, Timestamp } from "@sluice/core"
 *
 * const event = (id: string) => {
 *   const persistenceId = PersistenceId.make("cart", id)
 *   return Envelope.placeholder({
 *     persistenceId,
 *     sequenceNumber: SequenceNumber.make(3),
 *     slice: Slice.ofPersistenceId(persistenceId),
 *     position: Position.make(5),
 *     timestamp: Timestamp.make(50)
 *   })
 * }
 * const [c1, c2] = [event("c-1"), event("c-2")]
 * const before = EventFilter.excludeAll.pipe(EventFilter.includeEntityIds("c-1"))
 * const change = { version: 4, before, after: before.pipe(EventFilter.includeEntityIds("c-2")) }
 * const until = { version: 4, until: Timestamp.make(30) }
 * const past = new GivenUp.PastGivenUp(new Map([c1, c2].map(({ slice }) => [slice, [until]])), [change])
 * past.until(c1) // => undefined
 * past.until(c2) // => 30
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export class PastGivenUp {
  readonly #slices: ReadonlyMap<Slice, ReadonlyArray<GivenUp>>
  readonly #inclusions: ReadonlyMap<number, Inclusion>
  /** What those tags begin with now that are topics, and began with when the filters were compiled. */
  readonly #topicPrefix: () => string | undefined
  #compiledFor: string | undefined
  readonly #newlyIncludes = new Map<number, (subject: Subject) => boolean>()

  /** What is given up of each slice, in the order of the changes. */
  constructor(
    slices: ReadonlyMap<Slice, ReadonlyArray<GivenUp>>,
    inclusions: Iterable<Inclusion>,
    topicPrefix: () => string | undefined = () => undefined
  ) {
    this.#slices = slices
    this.#inclusions = new Map(Array.from(inclusions, (inclusion) => [inclusion.version, inclusion]))
    this.#topicPrefix = topicPrefix
  }

  /** The same past, where topics are told by what a producer says that their tags begin with. */
  withTopicPrefix(topicPrefix: () => string | undefined): PastGivenUp {
    return new PastGivenUp(this.#slices, this.#inclusions.values(), topicPrefix)
  }

  get isEmpty(): boolean {
    return this.#slices.size === 0
  }

  /** If the entity of an event that has come has lost its past: until which time. */
  until(place: Subject & Pick<Place, "slice">): Timestamp | undefined {
    const givenUp = this.#slices.get(place.slice)
    // a later change has given up more
    return givenUp?.findLast(({ version }) => this.#isNewlyIncluded(version, place))?.until
  }

  /** Whether an event that comes when what was passed over is looked through once more is itself given up. */
  has(place: Subject & Pick<Place, "slice" | "timestamp">): boolean {
    const until = this.until(place)
    return until !== undefined && place.timestamp < until
  }

  #isNewlyIncluded(version: number, subject: Subject): boolean {
    const topicPrefix = this.#topicPrefix()
    if (topicPrefix !== this.#compiledFor) this.#newlyIncludes.clear()
    this.#compiledFor = topicPrefix
    let newlyIncludes = this.#newlyIncludes.get(version)
    if (newlyIncludes === undefined) {
      const inclusion = this.#inclusions.get(version)
      // whoever reads what is given up reads the changes first
      if (inclusion === undefined) return false
      const before = compile(inclusion.before, { topicPrefix })
      const after = compile(inclusion.after, { topicPrefix })
      this.#newlyIncludes.set(version, newlyIncludes = (subject) => after(subject) && !before(subject))
    }
    return newlyIncludes(subject)
  }
}
