import { assert, describe, it } from "@effect/vitest"
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import * as EventFilter from "@sluice/core/EventFilter"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"

const subject = (entityId: string, ...tags: ReadonlyArray<string>): EventFilter.Subject => ({
  persistenceId: PersistenceId.make("cart", entityId),
  tags
})

const passes = (filter: EventFilter.EventFilter, entityId: string, ...tags: ReadonlyArray<string>): boolean =>
  EventFilter.compile(filter)(subject(entityId, ...tags))

const including = (change: (filter: EventFilter.EventFilter) => EventFilter.EventFilter) =>
  EventFilter.excludeAll.pipe(change)

describe("a filter", () => {
  it("lets everything pass that nothing excludes", () => {
    assert.isTrue(passes(EventFilter.passAll, "a"))
    assert.isTrue(passes(EventFilter.passAll.pipe(EventFilter.includeTags("large")), "a", "small"))
  })

  it("excludes by tag, entity id and regular expression, and includes what is excluded", () => {
    const filter = EventFilter.passAll.pipe(
      EventFilter.excludeTags("test", "draft"),
      EventFilter.excludeEntityIds("x-1"),
      EventFilter.excludeMatching("tmp-\\d+"),
      EventFilter.includeTags("vip"),
      EventFilter.includeEntityIds("tmp-7", { entityId: "y", from: 3 }),
      EventFilter.includeMatching("tmp-9.*"),
      EventFilter.includeTopics("home/+")
    )
    assert.isTrue(passes(filter, "a"))
    assert.isFalse(passes(filter, "a", "other", "draft"))
    assert.isTrue(passes(filter, "a", "draft", "vip"))
    assert.isTrue(passes(filter, "a", "draft", "t:home/kitchen"))
    assert.isFalse(passes(filter, "a", "draft", "home/kitchen"))
    assert.isTrue(passes(filter, "y", "draft"))
    assert.isFalse(passes(filter, "x-1"))
    assert.isFalse(passes(filter, "tmp-8"))
    assert.isTrue(passes(filter, "tmp-7"))
    assert.isTrue(passes(filter, "tmp-99"))
    // an expression has to match all of an id
    assert.isTrue(passes(filter, "tmp-8a"))
    assert.isTrue(passes(filter, "a-tmp-8"))
  })

  it("that excludes all excludes whatever ids there are", () => {
    for (const id of ["a", "a\nb", "é|ü", "|"]) {
      assert.isFalse(passes(EventFilter.excludeAll, id))
      assert.isTrue(passes(EventFilter.excludeAll.pipe(EventFilter.includeEntityIds(id)), id))
    }
  })

  it("does not show a replica to expressions, and to ids where they name one", () => {
    const filter = EventFilter.excludeAll.pipe(EventFilter.includeMatching("c-\\d"))
    assert.isTrue(passes(filter, "c-1|eu"))
    assert.isTrue(passes(EventFilter.excludeAll.pipe(EventFilter.includeEntityIds("c-1|eu")), "c-1|eu"))
    assert.isFalse(passes(EventFilter.excludeAll.pipe(EventFilter.includeEntityIds("c-1|us")), "c-1|eu"))
    assert.isTrue(passes(EventFilter.excludeAll.pipe(EventFilter.includeEntityIds("c-1")), "c-1|eu"))
    assert.isFalse(passes(EventFilter.passAll.pipe(EventFilter.excludeEntityIds("c-1")), "c-1|eu"))
    assert.isFalse(passes(EventFilter.excludeAll.pipe(EventFilter.includeEntityIds("c-1")), "c-1|eu|x"))
    // two separators in an entity id are no replica
    assert.isFalse(passes(filter, "c-1|eu|x"))
  })

  it("says why", () => {
    const filter = EventFilter.excludeAll.pipe(EventFilter.excludeTags("test"), EventFilter.includeTopics("home/#"))
    const explain = EventFilter.explain(filter)
    assert.strictEqual(
      explain(subject("a", "test")),
      "kept back: excluded by the tag \"test\", and nothing includes it"
    )
    assert.strictEqual(
      explain(subject("a", "t:home/kitchen")),
      "passes: excluded by the regular expression \".*\", but included by the topic \"home/#\""
    )
    assert.strictEqual(EventFilter.explain(EventFilter.passAll)(subject("a")), "passes: nothing excludes it")
  })

  it("explains what was meant by a whole persistence id, or by a topic with its prefix", () => {
    const cart = { persistenceId: PersistenceId.make("cart", "c-1"), tags: ["t:home/kitchen"] }
    const explained = (filter: EventFilter.EventFilter, options?: EventFilter.Options) =>
      EventFilter.explain(filter, options)(cart)
    const keptBack = "kept back: excluded by the regular expression \".*\", and nothing includes it"
    assert.strictEqual(
      explained(including(EventFilter.includeEntityIds("cart|c-1"))),
      `${keptBack}. The entity id "cart|c-1" of the filter is a whole persistence id: name the entity by "c-1"`
    )
    assert.strictEqual(
      explained(including(EventFilter.includeMatching("cart\\|.*"))),
      `${keptBack}. The regular expression "cart\\\\|.*" matches the whole persistence id: it has to match "c-1"`
    )
    const topics = including(EventFilter.includeTopics("t:home/+"))
    assert.strictEqual(
      explained(topics),
      `${keptBack}. The topic "t:home/+" of the filter begins with the prefix of tags: write "home/+"`
    )
    // it is a topic as others, where the prefix is another, or stands twice
    assert.strictEqual(explained(topics, { topicPrefix: "topic=" }), keptBack)
    assert.include(EventFilter.explain(topics)({ ...cart, tags: ["t:t:home/kitchen"] }), "passes")
    assert.strictEqual(
      explained(EventFilter.passAll.pipe(EventFilter.excludeEntityIds("cart|c-1"))),
      "passes: nothing excludes it. The entity id \"cart|c-1\" of the filter is a whole persistence id: name the entity by \"c-1\""
    )
    // of an entity whose replica is meant, that is its id
    const replica = { persistenceId: PersistenceId.make("order", "cart|c-1"), tags: [] }
    assert.strictEqual(
      EventFilter.explain(including(EventFilter.includeEntityIds("cart|c-1")))(replica),
      "passes: excluded by the regular expression \".*\", but included by the entity id \"cart|c-1\""
    )
  })

  it("knows topics by the prefix that the producer has for them", () => {
    const filter = EventFilter.excludeAll.pipe(EventFilter.includeTopics("home/+"))
    assert.isTrue(EventFilter.compile(filter, { topicPrefix: "topic=" })(subject("a", "topic=home/kitchen")))
    assert.isFalse(EventFilter.compile(filter, { topicPrefix: "topic=" })(subject("a", "t:home/kitchen")))
  })

  it("is the same whatever the order of its criteria", () => {
    const one = EventFilter.passAll.pipe(EventFilter.excludeTags("b", "a"), EventFilter.includeEntityIds("x", "y"))
    const other = EventFilter.passAll.pipe(
      EventFilter.includeEntityIds("y", "x", "y"),
      EventFilter.excludeTags("a"),
      EventFilter.excludeTags("a", "b")
    )
    assert.isTrue(Equal.equals(one, other))
    assert.isFalse(Equal.equals(one, EventFilter.passAll))
  })

  it("loses the criteria that are taken away, and no others", () => {
    const filter = EventFilter.excludeAll.pipe(
      EventFilter.excludeTags("test"),
      EventFilter.includeTags("large", "small"),
      EventFilter.includeEntityIds({ entityId: "x", from: 3 }, "y")
    )
    const rest = filter.pipe(
      EventFilter.without(EventFilter.includeTags("small", "other"), EventFilter.includeEntityIds("x"))
    )
    assert.isTrue(Equal.equals(
      rest,
      EventFilter.excludeAll.pipe(
        EventFilter.excludeTags("test"),
        EventFilter.includeTags("large"),
        EventFilter.includeEntityIds("y")
      )
    ))
    assert.isTrue(Equal.equals(EventFilter.without(() => filter)(filter), EventFilter.passAll))
    assert.isTrue(Equal.equals(EventFilter.without()(filter), filter))
  })

  it("keeps the highest number from which an entity is replayed", () => {
    const filter = EventFilter.passAll.pipe(
      EventFilter.includeEntityIds({ entityId: "x", from: 3 }),
      EventFilter.includeEntityIds("x", { entityId: "x", from: 2 })
    )
    assert.deepStrictEqual(filter.includeEntityIds, [{ entityId: "x", from: 3 }])
  })
})

// expression, topics that it matches, topics that it does not match
const topics: ReadonlyArray<readonly [string, ReadonlyArray<string>, ReadonlyArray<string>]> = [
  ["#", ["myhome/groundfloor/livingroom/temperature"], []],
  [
    "myhome/groundfloor",
    ["myhome/groundfloor"],
    ["otherhome/groundfloor", "myhome/groundfloor/kitchen", "Myhome/groundfloor", "myhome/groundfloor/"]
  ],
  [
    "myhome/groundfloor/+/temperature",
    [
      "myhome/groundfloor/livingroom/temperature",
      "myhome/groundfloor/livingroom/temperature/",
      "myhome/groundfloor/+/temperature",
      "myhome/groundfloor/living+/temperature"
    ],
    [
      "myhome/groundfloor/kitchen/brightness",
      "myhome/firstfloor/kitchen/temperature",
      "myhome/groundfloor/kitchen/fridge/temperature",
      "myhome/groundfloor",
      "+/groundfloor/+/temperature",
      "myhome/groundfloor/#"
    ]
  ],
  ["+", ["myhome", "myhome/"], ["myhome/groundfloor", "/myhome"]],
  ["+/", ["myhome", "myhome/"], ["myhome/groundfloor"]],
  [
    "+/groundfloor/+/temperature",
    ["myhome/groundfloor/livingroom/temperature", "otherhome/groundfloor/livingroom/temperature"],
    ["myhome/groundfloor/kitchen/brightness"]
  ],
  [
    "myhome/groundfloor/#",
    ["myhome/groundfloor/livingroom/temperature", "myhome/groundfloor/kitchen/brightness"],
    ["myhome/firstfloor/kitchen/temperature", "myhome/groundfloor", "myhome/groundfloor/", "myhome/groundfloor//"]
  ],
  [
    "+/groundfloor/#",
    ["myhome/groundfloor/livingroom/temperature", "otherhome/groundfloor/kitchen/brightness"],
    ["myhome/firstfloor/kitchen/temperature"]
  ],
  ["myhome/#", ["myhome/groundfloor/", "myhome/groundfloor//"], ["myhome", "myhome/"]],
  ["/+", ["/myhome"], ["myhome"]],
  ["/#", ["/myhome", "/myhome/groundfloor"], ["myhome/groundfloor"]]
]

describe("a topic expression", () => {
  for (const [expression, matching, others] of topics) {
    it(expression, () => {
      const filter = EventFilter.excludeAll.pipe(EventFilter.includeTopics(expression))
      for (const topic of matching) assert.isTrue(passes(filter, "a", `t:${topic}`), topic)
      for (const topic of others) assert.isFalse(passes(filter, "a", `t:${topic}`), topic)
      // beside other expressions, and among other tags
      const more = filter.pipe(EventFilter.includeTopics("elsewhere/+", "elsewhere/#", "x/y/z"))
      for (const topic of matching) assert.isTrue(passes(more, "a", "large", `t:${topic}`), topic)
      for (const topic of others) assert.isFalse(passes(more, "a", "large", `t:${topic}`), topic)
    })
  }

  it("# matches an event without topics", () => {
    assert.isTrue(passes(EventFilter.excludeAll.pipe(EventFilter.includeTopics("#")), "a"))
  })

  it("tries what follows a wildcard too, where a level that is written out leads nowhere", () => {
    const filter = EventFilter.excludeAll.pipe(EventFilter.includeTopics("a/b/c", "a/b/+/x", "a/+/d"))
    assert.isTrue(passes(filter, "e", "t:a/b/d"))
    assert.isTrue(passes(filter, "e", "t:a/b/q/x"))
    assert.isFalse(passes(filter, "e", "t:a/b/q"))
  })

  for (
    const expression of [
      "",
      "myhome/#/",
      "myhome/#/temperature",
      "myhome/groundfloor/temp#",
      "myhome/g+floor/temperature",
      "myhome/ground+/temperature",
      "myhome/+floor/temperature",
      "myhome/groundfloor/temp+",
      "a+",
      "a+/",
      // these two slip through in Akka
      "+foo",
      "#foo",
      "a/\0"
    ]
  ) {
    it(`${JSON.stringify(expression)} is refused`, () => {
      assert.throws(() => EventFilter.includeTopics(expression)(EventFilter.passAll), RangeError, "The topic")
    })
  }
})

const large = (n: number) => Array.from({ length: n }, (_, i) => `${i}(?:[a-z]{30}){30}`)

describe("a regular expression", () => {
  const refused: ReadonlyArray<readonly [expression: string, because: string]> = [
    ["[a-z&&[^b]]", "'&&'"],
    ["[a[b]]", "'['"],
    ["[[:alpha:]]", "'['"],
    ["[]a]", "']'"],
    ["[^]a]", "']'"],
    ["(a)\\1", "refers back"],
    ["a\\12", "refers back"],
    ["\\v", "'\\v'"],
    ["(?U)a", "'U'"],
    ["(?i-U:a)", "'U'"],
    ["(?P<n>a)", "'(?P<'"],
    ["\\p{^Greek}", "'\\p{^'"],
    ["\\p{Greek}", "'\\p{Greek}'"],
    ["[^\\P{Any}]", "'\\P{Any}'"],
    ["\\0101", "'\\0'"],
    ["[\\0]", "'\\0'"],
    ["a{01}", "'{'"],
    ["a{1,02}", "'{'"],
    ["(?<a_b>a)", "names a group"],
    ["(?<1a>a)", "names a group"],
    ["a\\Q\\E+", "quotes nothing"],
    ["a{,2}", "'{'"],
    ["a{", "'{'"],
    ["\\Qabc", "'\\Q'"],
    ["(?=a)b", "(?="],
    ["(?<=a)b", "(?<="],
    ["a++", "++"],
    ["(?>a)", "(?>"],
    ["\\R", "\\R"],
    ["(", "missing"],
    ["a{2000}", "repeat"],
    ["((a{30}){30}){30}", "repeat"],
    ["\ud800", "surrogate"],
    ["a\0", "U+0000"],
    ["x".repeat(5_001), "too large"],
    ["x".repeat(300_000), "300000 characters"]
  ]
  for (const [expression, because] of refused) {
    it(`${expression.slice(0, 20)} is refused`, () => {
      assert.throws(() => EventFilter.excludeMatching(expression)(EventFilter.passAll), RangeError, because)
      assert.throws(() => EventFilter.includeMatching(expression)(EventFilter.passAll), RangeError, because)
    })
  }

  const accepted: ReadonlyArray<readonly [expression: string, matching: string, other: string]> = [
    ["c-[0-9]{2,3}", "c-12", "c-1"],
    ["a|ab", "ab", "abc"],
    ["[\\[\\]]", "[", "a"],
    ["[^\\]]", "a", "]"],
    ["\\Q[a&&b]\\E+", "[a&&b]]", "a"],
    ["(?i)Cart", "cART", "car"],
    ["(?<n>a)b?", "ab", "b"],
    ["\\{\\d+\\}", "{12}", "12"],
    ["\\p{L}+", "größe", "a1"],
    ["[\\p{Lu}\\P{LC}]+", "A1", "a"],
    ["a{0}b{10,}", "bbbbbbbbbb", "b"],
    ["^a$", "a", "aa"],
    ["[\\p{L}\\x{41}]{2}", "Aé", "1"]
  ]
  for (const [expression, matching, other] of accepted) {
    it(`${expression} is understood as in Java`, () => {
      const filter = EventFilter.passAll.pipe(EventFilter.excludeMatching(expression, "zzz"))
      assert.isFalse(passes(filter, matching))
      assert.isTrue(passes(filter, other))
    })
  }

  it("costs time that is linear in the length of an id", () => {
    const filter = EventFilter.passAll.pipe(EventFilter.excludeMatching("(a*)*b", "(.*a){20}c", "(a|a)*$b"))
    // a backtracking engine would not end in a lifetime
    assert.isTrue(passes(filter, "a".repeat(200)))
  })

  it("may not be large, nor may there be many", () => {
    const two = EventFilter.passAll.pipe(EventFilter.excludeMatching(...large(2)))
    assert.isTrue(passes(two, "a".repeat(200)))
    assert.throws(() => EventFilter.excludeMatching(...large(6))(EventFilter.passAll), RangeError, "too large together")
    const many = Array.from({ length: 101 }, (_, i) => `a${i}`)
    assert.throws(() => EventFilter.excludeMatching(...many)(EventFilter.passAll), RangeError, "more than 100")
  })
})

describe("bad criteria", () => {
  it("are refused, and where they are is said", () => {
    assert.throws(() => EventFilter.excludeTags("a", "")(EventFilter.passAll), RangeError, "The tag \"\" is empty")
    assert.throws(() => EventFilter.includeEntityIds("a\0")(EventFilter.passAll), RangeError, "contains U+0000")
    for (const from of [-1, 1.5, Number.NaN, 2 ** 53]) {
      assert.throws(
        () => EventFilter.includeEntityIds({ entityId: "a", from })(EventFilter.passAll),
        RangeError,
        "a safe integer from 0"
      )
    }
    const tags = Array.from({ length: 8_001 }, (_, i) => `t${i}`)
    assert.throws(() => EventFilter.includeTags(...tags)(EventFilter.passAll), RangeError, "8001 criteria")
    // also where they are of several kinds
    const half = EventFilter.passAll.pipe(EventFilter.includeTags(...tags.slice(0, 5_000)))
    assert.throws(() => EventFilter.excludeTags(...tags.slice(0, 5_000))(half), RangeError, "10000 criteria")
    const { excludeTags } = EventFilter.passAll.pipe(EventFilter.excludeTags(...tags.slice(0, 5_000)))
    assert.throws(
      () =>
        Schema.decodeUnknownSync(EventFilter.EventFilter)({
          ...Schema.encodeSync(EventFilter.EventFilter)(half),
          excludeTags
        }),
      "10000 criteria"
    )
  })

  it("are not passed over in a filter that a newer release has stored: more would pass without them", () => {
    const stored = JSON.stringify({ excludeTags: ["test"], excludeTopics: ["home/#"] })
    const error = Effect.runSync(Effect.flip(ConsumerFilter.fromText("stream:carts", stored)))
    assert.include(error.message, "run the one that has stored it")
    assert.include(error.message, "excludeTopics")
    const entity = JSON.stringify({ includeEntityIds: [{ entityId: "a", from: 0, to: 5 }] })
    assert.isTrue(Exit.isFailure(Effect.runSyncExit(ConsumerFilter.fromText("stream:carts", entity))))
    const old = JSON.stringify({ excludeTags: ["test"] })
    assert.deepStrictEqual(
      Effect.runSync(ConsumerFilter.fromText("stream:carts", old)),
      EventFilter.passAll.pipe(EventFilter.excludeTags("test"))
    )
  })

  it("do not come in from outside", () => {
    const decode = Schema.decodeUnknownSync(EventFilter.EventFilter)
    assert.throws(() => decode({ excludeMatching: ["("] }), "The regular expression \"(\"")
    assert.throws(() => decode({ includeTopics: ["a#"] }), "The topic \"a#\"")
    assert.throws(() => decode({ includeEntityIds: [{ entityId: "", from: 0 }] }), "The entity id \"\" is empty")
    assert.throws(() => decode({ includeEntityIds: [{ entityId: "a", from: -1 }] }))
    assert.isTrue(Equal.equals(decode({}), EventFilter.passAll))
    assert.deepStrictEqual(decode({ excludeTags: ["b", "a", "b"] }).excludeTags, ["a", "b"])
  })
})

const Tag = Schema.Literals(["a", "b", "t:x/y", "t:x/z", "t:y"])
const EntityId = Schema.Literals(["1", "2", "10", "11|eu"])
const Expression = Schema.Literals([".*", "1.*", "[12]", "x"])
const Some = Schema.Struct({
  excludeTags: Schema.Array(Tag),
  excludeEntityIds: Schema.Array(EntityId),
  excludeMatching: Schema.Array(Expression),
  includeTags: Schema.Array(Tag),
  includeTopics: Schema.Array(Schema.Literals(["x/+", "x/#", "y", "#"])),
  includeEntityIds: Schema.Array(Schema.Struct({ entityId: EntityId, from: Schema.Literals([0, 1, 5]) })),
  includeMatching: Schema.Array(Expression)
})
const filterOf = (fields: typeof Some.Type): EventFilter.EventFilter =>
  EventFilter.passAll.pipe(
    EventFilter.excludeTags(...fields.excludeTags),
    EventFilter.excludeEntityIds(...fields.excludeEntityIds),
    EventFilter.excludeMatching(...fields.excludeMatching),
    EventFilter.includeTags(...fields.includeTags),
    EventFilter.includeTopics(...fields.includeTopics),
    EventFilter.includeEntityIds(...fields.includeEntityIds),
    EventFilter.includeMatching(...fields.includeMatching)
  )
const changeOf = (added: EventFilter.EventFilter, removed: EventFilter.EventFilter) =>
  new EventFilter.Change({ added, removed })
/** The numbers from which entities are replayed never get lower, and are left out of what is compared. */
const withoutNumbers = (filter: EventFilter.EventFilter): EventFilter.EventFilter =>
  EventFilter.includeEntityIds(...filter.includeEntityIds.map(({ entityId }) => entityId))(
    EventFilter.merge(filter, changeOf(EventFilter.passAll, onlyEntities(filter)))
  )
/** Of what a filter has, the entities that it includes. */
const onlyEntities = ({ includeEntityIds }: EventFilter.EventFilter): EventFilter.EventFilter =>
  EventFilter.includeEntityIds(...includeEntityIds)(EventFilter.passAll)
const assertSame = (one: EventFilter.EventFilter, other: EventFilter.EventFilter) =>
  assert.isTrue(Equal.equals(one, other), JSON.stringify([one, other]))

const tags = (prefix: string) =>
  EventFilter.passAll.pipe(EventFilter.excludeTags(...Array.from({ length: 5_000 }, (_, i) => `${prefix}${i}`)))

describe("changes", () => {
  it.prop("merged with what differs it is the other filter", [Some, Some], ([a, b]) => {
    const [from, to] = [filterOf(a), filterOf(b)]
    const merged = EventFilter.merge(from, EventFilter.diff(from, to))
    assertSame(withoutNumbers(merged), withoutNumbers(to))
    for (const { entityId, from: number } of merged.includeEntityIds) {
      const numberIn = (filter: EventFilter.EventFilter) =>
        filter.includeEntityIds.find((entity) => entity.entityId === entityId)?.from ?? 0
      assert.strictEqual(number, Math.max(numberIn(from), numberIn(to)))
    }
  })

  it.prop("nothing differs from itself", [Some], ([a]) => {
    assertSame(EventFilter.diff(filterOf(a), filterOf(a)).added, EventFilter.passAll)
    assertSame(EventFilter.diff(filterOf(a), filterOf(a)).removed, EventFilter.passAll)
  })

  it.prop("a change that is merged twice makes no more difference", [Some, Some, Some], ([a, b, c]) => {
    const change = changeOf(filterOf(b), filterOf(c))
    const once = EventFilter.merge(filterOf(a), change)
    assertSame(EventFilter.merge(once, change), once)
  })

  it.prop("in which order two changes add makes no difference", [Some, Some, Some], ([a, b, c]) => {
    const [one, two] = [changeOf(filterOf(b), EventFilter.passAll), changeOf(filterOf(c), EventFilter.passAll)]
    assertSame(
      EventFilter.merge(EventFilter.merge(filterOf(a), one), two),
      EventFilter.merge(EventFilter.merge(filterOf(a), two), one)
    )
  })

  it.prop("what is removed is not there, even if it is added by the same change", [Some, Some, Some], ([a, b, c]) => {
    const merged = EventFilter.merge(filterOf(a), changeOf(filterOf(b), filterOf(c)))
    for (const tag of c.excludeTags) assert.notInclude(merged.excludeTags, tag)
    for (const { entityId } of c.includeEntityIds) {
      assert.notInclude(merged.includeEntityIds.map((entity) => entity.entityId), entityId)
    }
  })

  it.prop("are stored and sent as JSON", [Some, Some], ([a, b]) => {
    const change = changeOf(filterOf(a), filterOf(b))
    const text = JSON.stringify(Schema.encodeSync(EventFilter.Change)(change))
    const back = Schema.decodeUnknownSync(EventFilter.Change)(JSON.parse(text))
    assertSame(back.added, change.added)
    assertSame(back.removed, change.removed)
  })

  it("that would make a filter too large are refused", () => {
    assert.throws(() => EventFilter.merge(tags("a"), changeOf(tags("b"), EventFilter.passAll)), RangeError, "10000")
    assert.strictEqual(EventFilter.merge(tags("a"), changeOf(tags("b"), tags("a"))).excludeTags.length, 5_000)
  })
})

/** As the semantics are written down, without sets, tries or kept results. */
const naive = (fields: typeof Some.Type, { persistenceId, tags }: EventFilter.Subject): boolean => {
  const entityId = persistenceId.slice("cart|".length)
  const id = entityId.split("|")[0]!
  const matches = (expressions: ReadonlyArray<string>) => expressions.some((_) => new RegExp(`^(?:${_})$`).test(id))
  const topicMatches = (expression: string) =>
    expression === "#" ||
    tags.some((tag) =>
      tag.startsWith("t:") &&
      new RegExp(`^${expression.replace("+", "[^/]*").replace("#", ".+")}$`).test(tag.slice(2))
    )
  const isExcluded = tags.some((tag) => fields.excludeTags.includes(tag as never)) ||
    fields.excludeEntityIds.includes(entityId as never) || matches(fields.excludeMatching)
  return !isExcluded || tags.some((tag) => fields.includeTags.includes(tag as never)) ||
    fields.includeTopics.some(topicMatches) ||
    fields.includeEntityIds.some((entity) => entity.entityId === entityId) || matches(fields.includeMatching)
}

it.prop(
  "a filter lets pass what it should, and says so",
  [Some, Schema.Array(Schema.Struct({ entityId: EntityId, tags: Schema.Array(Tag) }))],
  ([fields, events]) => {
    const compiled = EventFilter.compile(filterOf(fields))
    const explain = EventFilter.explain(filterOf(fields))
    for (const { entityId, tags } of events) {
      const event = subject(entityId, ...tags)
      assert.strictEqual(compiled(event), naive(fields, event), explain(event))
      // once more, by what was kept of the first time
      assert.strictEqual(compiled(event), naive(fields, event))
      assert.strictEqual(explain(event).startsWith("passes"), naive(fields, event))
    }
  },
  { arbitrary: { runs: 500 } }
)
