import { assert, describe, it } from "@effect/vitest"
import * as Envelope from "@sluice/core/Envelope"
import * as EventFilter from "@sluice/core/EventFilter"
import * as GivenUp from "@sluice/core/GivenUp"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Schema from "effect/Schema"

const event = (id: string, tags: ReadonlyArray<string> = []) => {
  const persistenceId = PersistenceId.make("cart", id)
  return {
    ...Envelope.placeholder({
      persistenceId,
      sequenceNumber: SequenceNumber.make(3),
      slice: Slice.ofPersistenceId(persistenceId),
      position: Position.make(1),
      timestamp: Timestamp.make(50)
    }),
    tags
  }
}

const some = (...texts: ReadonlyArray<string>) => Schema.Array(Schema.Literals(texts)).check(Schema.isMaxLength(2))

const Criteria = Schema.Struct({
  excludesAll: Schema.Boolean,
  excludeTags: some("t:x", "y"),
  excludeEntityIds: some("a", "b"),
  excludeMatching: some("[ab]", "c.*"),
  includeTags: some("t:x", "y"),
  includeTopics: some("x", "+/z"),
  includeEntityIds: some("a", "c"),
  includeMatching: some("[bc]", "a")
})

const filterOf = ({ excludesAll, includeEntityIds, ...criteria }: typeof Criteria.Type): EventFilter.EventFilter =>
  EventFilter.fromCriteria({
    ...criteria,
    excludeMatching: excludesAll ? [...criteria.excludeMatching, ".*"] : criteria.excludeMatching,
    includeEntityIds: includeEntityIds.map((entityId) => ({ entityId, from: 0 }))
  })

const all = ["a", "b", "c", "cc"].flatMap((id) => [[], ["t:x"], ["y"], ["t:1/z", "y"]].map((tags) => event(id, tags)))

/** Whom a change newly includes. */
const newOf = ({ after, before }: GivenUp.Inclusion) => {
  const [passedBefore, passes] = [EventFilter.compile(before), EventFilter.compile(after)]
  return all.filter((event) => passes(event) && !passedBefore(event))
}

const only = (...ids: ReadonlyArray<string>) => EventFilter.excludeAll.pipe(EventFilter.includeEntityIds(...ids))
const change = (before: EventFilter.EventFilter, after: EventFilter.EventFilter, version = 2): GivenUp.Inclusion => ({
  version,
  before,
  after
})

describe("what a change includes", () => {
  it.prop("is proven to be nothing only where that is so", [Criteria, Criteria], ([before, after]) => {
    const one = change(filterOf(before), filterOf(after))
    if (GivenUp.includesNothing(one)) assert.deepStrictEqual(newOf(one), [])
  }, { arbitrary: { runs: 500 } })

  it.prop(
    "is proven to be included by a later change only where that is so",
    [Criteria, Criteria, Criteria, Criteria],
    ([a, b, c, d]) => {
      const [earlier, later] = [change(filterOf(a), filterOf(b)), change(filterOf(c), filterOf(d))]
      if (GivenUp.covers(later, earlier)) assert.includeMembers(newOf(later), newOf(earlier))
    },
    { arbitrary: { runs: 1000 } }
  )

  it("is proven in the cases that are frequent", () => {
    assert.isTrue(GivenUp.includesNothing(change(only("a", "b"), only("a"))))
    assert.isTrue(GivenUp.includesNothing(change(EventFilter.passAll, EventFilter.excludeAll)))
    assert.isTrue(
      GivenUp.includesNothing(change(only("a"), only("a").pipe(EventFilter.excludeTags("y"))))
    )
    assert.isTrue(
      GivenUp.includesNothing(change(EventFilter.passAll.pipe(EventFilter.excludeTags("y")), EventFilter.excludeAll))
    )
    assert.isFalse(GivenUp.includesNothing(change(only("a"), only("a", "b"))))
    assert.isFalse(GivenUp.includesNothing(change(EventFilter.excludeAll, EventFilter.passAll)))
    const [on, on2] = [change(only("a"), only("a", "b")), change(only("a"), only("a", "b", "c"))]
    assert.isTrue(GivenUp.covers(on, on), "the same again")
    assert.isTrue(GivenUp.covers(on2, on), "the same, and one more")
    assert.isFalse(GivenUp.covers(on, on2))
    assert.isFalse(GivenUp.covers(change(only("a", "b"), only("a", "b", "c")), on))
  })

  it("is told by the versions of the filter", () => {
    const versions = [only(), only("a"), only("b")].map((filter, i) => ({ version: i + 4, filter }))
    assert.deepStrictEqual(GivenUp.inclusions(versions, new Set([6, 5])), [
      change(only(), only("a"), 5),
      change(only("a"), only("b"), 6)
    ])
    assert.deepStrictEqual(GivenUp.inclusions(versions, new Set()), [])
  })
})

const until = (version: number, until: number) => ({ version, until: Timestamp.make(until) })

describe("the past that is given up", () => {
  const [a, b, c] = ["a", "b", "c"].map((id) => event(id)) as [any, any, any]
  const changes = [change(only(), only("a", "b"), 2), change(only("c"), only("b", "c"), 5)]
  const past = new GivenUp.PastGivenUp(
    new Map([a, b, c].map(({ slice }) => [slice, [until(2, 30), until(5, 70)]])),
    changes
  )

  it("is that of the last change that has newly included an entity", () => {
    assert.deepStrictEqual<ReadonlyArray<number | undefined>>([a, b, c].map((event) => past.until(event)), [
      30,
      70,
      undefined
    ])
    assert.isFalse(past.isEmpty)
    assert.isUndefined(new GivenUp.PastGivenUp(new Map(), changes).until(a))
    assert.isTrue(new GivenUp.PastGivenUp(new Map(), changes).isEmpty)
    const elsewhere = Slice.make((a.slice + 1) % 1024)
    assert.isUndefined(past.until({ ...a, slice: elsewhere }))
  })

  it("has what is older, and nothing else", () => {
    assert.deepStrictEqual([a, b, c].map((event) => past.has(event)), [false, true, false])
    assert.deepStrictEqual([29, 30].map((timestamp) => past.has({ ...a, timestamp })), [true, false])
  })

  it("is judged by the tags of the event that comes", () => {
    const large = change(only("a"), only("a").pipe(EventFilter.includeTags("large")))
    const [x, y] = [event("x", ["large"]), event("x", ["small"])]
    const slices = new Map([x, a].map(({ slice }) => [slice, [until(2, 30)]]))
    const past = new GivenUp.PastGivenUp(slices, [large])
    assert.strictEqual<number | undefined>(past.until(x), 30)
    assert.isUndefined(past.until(y))
    assert.isUndefined(past.until({ ...a, tags: ["large"] }), "it was included before")
  })

  it("knows a topic by the prefix of its producer", () => {
    const topics = change(only(), only().pipe(EventFilter.includeTopics("x")))
    const [x] = [event("x", ["topic/x"])]
    const slices = new Map([[x.slice, [until(2, 30)]]])
    assert.isUndefined(new GivenUp.PastGivenUp(slices, [topics]).until(x))
    let prefix: string | undefined = "topic/"
    const past = new GivenUp.PastGivenUp(slices, [topics]).withTopicPrefix(() => prefix)
    assert.strictEqual<number | undefined>(past.until(x), 30)
    // another one has taken its place
    prefix = undefined
    assert.isUndefined(past.until(x))
  })
})
