/**
 * Whether an event passes a filter of 1,000 entity ids, 100 tags, 20 topics and 10 regular expressions. `filter` is of a stream as it is: nine of ten
 * events are of the 2,000 entities that are in use at the time. In `filter-others` each event is of an entity that has had none.
 *
 * The baseline looks ids and tags up in sets, and joins topics and expressions into one `RegExp` each: it backtracks, so that an expression of somebody else
 * can stop the process.
 */
import * as EventFilter from "@sluice/core/EventFilter"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Effect from "effect/Effect"
import { type Bench, compare, type Sample } from "../Bench.ts"

const texts = (count: number, f: (n: number) => string): ReadonlyArray<string> =>
  Array.from({ length: count }, (_, n) => f(n))

/** As a row of a database or a message has it: made anew, and never seen before. */
const received = (text: string): string => Buffer.from(text).toString("latin1")

const idOf = (n: number): string => {
  const hex = (Math.imul(n, 0x9e3779b1) >>> 0).toString(16).padStart(8, "0")
  return `c-${hex}-${n % 90 + 10}-${String(n).padStart(7, "0")}`
}

const ids = texts(1_000, (n) => idOf(n * 97))
const tags = texts(100, (n) => `campaign-${n * 3}`)
const topics = [...texts(10, (n) => `shop/${n}/+/large`), ...texts(10, (n) => `region/${n}/#`)]
const expressions = [...texts(5, (n) => `vip-${n}-.*`), ...texts(5, (n) => `.*-${n + 10}-000[0-9]+`)]

const filter = EventFilter.excludeAll.pipe(
  EventFilter.includeEntityIds(...ids),
  EventFilter.includeTags(...tags),
  EventFilter.includeTopics(...topics),
  EventFilter.includeMatching(...expressions)
)

type Passes = (subject: EventFilter.Subject) => boolean

const byHand = (): Passes => {
  const idSet = new Set(ids)
  const tagSet = new Set(tags)
  const topic = new RegExp(
    `^t:(?:${topics.map((_) => _.replace("+", "[^/]+").replace("/#", "(?:/[^/]+)+")).join("|")})$`
  )
  const expression = new RegExp(`^(?:${expressions.join("|")})$`, "s")
  return ({ persistenceId, tags }) => {
    const id = persistenceId.slice(persistenceId.indexOf("|") + 1)
    return idSet.has(id) || tags.some((tag) => tagSet.has(tag) || topic.test(tag)) || expression.test(id)
  }
}

/** A third of the events have no tag, and the others one or two, every other of which is a topic. */
const tagsOf = (n: number): ReadonlyArray<string> => {
  const topic = `t:${n % 2 === 0 ? "shop" : "depot"}/${n % 40}/till-${n % 90}/${n % 7 === 0 ? "large" : "small"}`
  return n % 3 === 0 ? [] : n % 3 === 1 ? [`campaign-${n % 500}`] : [`campaign-${n % 500}`, topic]
}

const page = (from: number, entityOf: (n: number) => number): ReadonlyArray<EventFilter.Subject> =>
  Array.from({ length: 500 }, (_, i) => ({
    persistenceId: PersistenceId.parse(received(`cart|${idOf(entityOf(from + i))}`)),
    tags: tagsOf(from + i).map(received)
  }))

/** Microseconds that this thread has worked: it waits for nothing, and what else runs on the machine is not the filter's. */
const worked = (): number => {
  const { system, user } = process.threadCpuUsage()
  return system + user
}

/** Of what passes too little is lost, and too much is doubled. */
const timed = (make: () => Passes, isRight: Passes, pages: number, entityOf: (n: number) => number) =>
  Effect.sync((): Sample => {
    const passes = make()
    let elapsed = 0
    let lost = 0
    let doubled = 0
    for (let i = 0; i < pages; i++) {
      const events = page(i * 500, entityOf)
      const verdicts = events.map(() => false)
      const start = worked()
      for (let j = 0; j < events.length; j++) verdicts[j] = passes(events[j]!)
      elapsed += worked() - start
      events.forEach((event, j) => {
        const expected = isRight(event)
        if (expected && !verdicts[j]) lost++
        if (!expected && verdicts[j]) doubled++
      })
    }
    return { value: elapsed * 1e3 / (pages * 500), lost, doubled }
  })

export const evaluation: Bench = {
  name: "filter",
  adapters: ["sqlite"],
  run: (setting) => {
    const pages = Math.ceil(400 * setting.size.scale)
    const of = (bench: string, entityOf: (n: number) => number) =>
      compare(
        setting,
        { bench, unit: "ns per event", better: "lower" },
        timed(() => EventFilter.compile(filter), byHand(), pages, entityOf),
        timed(byHand, EventFilter.compile(filter), pages, entityOf)
      )
    return Effect.all([
      of("filter", (n) => n % 10 === 0 ? n * 7919 % 100_000 : Math.floor(n / 50) + n * 7919 % 2_000),
      of("filter-others", (n) => n)
    ])
  }
}
