/** What becomes of the events of a plain Akka producer, whatever it does: each scenario is a script. */
import { create } from "@bufbuild/protobuf"
import { AnySchema } from "@bufbuild/protobuf/wkt"
import { assert, layer } from "@effect/vitest"
import { status } from "@grpc/grpc-js"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { toTimestampMessage } from "../src/internal/wire/messages.ts"
import { answer, idOf, offsetOf, type Options as ProducerOptions, type Replay, type Row } from "./kit/AkkaProducer.ts"
import { type Options, play, playToFailure, type Script } from "./kit/AkkaScenario.ts"
import * as Producer from "./kit/Producer.ts"

/** What it does, what it may ask for, and how it is played. */
type Scenario = readonly [name: string, options: Options, script: Script]

/** What it does, and the failure that the status of the projection has to name. */
type Failure = readonly [
  name: string,
  failure: { readonly tag: string; readonly text: string },
  options: Options,
  Script
]

const ids = (n: number): ReadonlyArray<string> => Array.from({ length: n }, (_, i) => `c-${i * 7919}`)

/** Answers once the script says so. */
const later = <A>() => {
  let answer!: (a: A) => void
  const promise = new Promise<A>((resolve) => answer = resolve)
  return { answer, promise }
}

/** The first so many times one thing, and then what is usual. */
const atFirst = <A>(times: number, a: A) => (_: unknown, n: number): A | undefined => n <= times ? a : undefined

/** Of a megabyte: four of them may wait. */
const large = { change: { tags: Array.from({ length: 1000 }, (_, i) => `${i} ${"x".repeat(1000)}`) } }

const wrong = (row: Row, change: object): ReturnType<typeof answer> => {
  const { message } = answer(row) as any
  return { message: { ...message, value: { ...message.value, ...change } } }
}

const flowing: ReadonlyArray<Scenario> = [
  ["the events of an entity", {}, ({ producer }) =>
    Effect.sync(() => {
      producer.write("a", 20)
    })],
  ["what is there already", {}, ({ handled, producer, stop, start, connected }) =>
    Effect.gen(function*() {
      yield* stop
      producer.append("a", 20)
      yield* start()
      yield* handled(20)
      yield* connected()
      producer.asked.inits.splice(1)
    })],
  ["those of many entities in turn", {}, ({ connected, producer }) =>
    Effect.map(connected(), () => {
      for (let n = 0; n < 10; n++) for (const id of ids(50)) producer.write(id)
    })],
  [
    "those of four ranges of slices",
    { workers: 4, limits: { inits: 4 } },
    ({ connected, producer }) =>
      Effect.map(connected(4), () => {
        for (let n = 0; n < 5; n++) for (const id of ids(50)) producer.write(id)
      })
  ],
  ["events that stay inside, in between", {}, ({ connected, producer }) =>
    Effect.map(connected(), () => {
      for (let n = 0; n < 10; n++) {
        producer.write("a", 2)
        producer.write("a", 3, { isPublic: false })
      }
    })],
  [
    "an entity all of whose events stay inside",
    {},
    ({ connected, producer }) => Effect.map(connected(), () => void producer.write("a", 10, { isPublic: false }))
  ],
  [
    "headers that come with the first event",
    { open: (call, _, rows) => call.send(...rows.map((row) => answer(row))) },
    ({ connected, producer }) => Effect.map(connected(), () => void producer.write("a", 3))
  ],
  ["each event twice in a row", {}, ({ connected, producer }) =>
    Effect.map(connected(), () => {
      for (let n = 0; n < 10; n++) producer.show(producer.write("a"))
    })],
  ["all events again, from the first one on", {}, ({ connected, producer }) =>
    Effect.map(connected(), () => {
      producer.show(producer.write("a", 20))
      producer.show(producer.write("b", 20))
    })],
  [
    "each event as published, from the query and as a look back",
    {},
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        for (let n = 0; n < 10; n++) {
          const rows = producer.append("a")
          for (const from of ["PS", "", "BT"] as const) producer.show(rows, from)
        }
      })
  ],
  ["many entities at one timestamp", {}, ({ connected, producer }) =>
    Effect.map(connected(), () => {
      const [{ timestamp }] = producer.write("a") as [Row]
      for (const id of ids(30)) producer.write(id, 1, { at: timestamp })
    })],
  ["an entity's events at one timestamp", {}, ({ connected, producer }) =>
    Effect.map(connected(), () => {
      const [{ timestamp }] = producer.write("a") as [Row]
      producer.write("a", 5, { at: timestamp })
      producer.write("b", 5, { at: timestamp })
    })],
  ["timestamps that run back", {}, ({ connected, producer }) =>
    Effect.map(connected(), () => {
      const [{ timestamp }] = producer.write("a") as [Row]
      for (const [i, id] of ids(10).entries()) producer.write(id, 2, { at: timestamp - i * 1_000_000 })
      producer.write("a", 1, { at: timestamp + 5000 })
    })],
  ["events without what was seen at their offset", {}, ({ connected, producer }) =>
    Effect.map(connected(), () => {
      for (const row of producer.append("a", 5)) {
        const [{ timestamp }] = offsetOf(row) as [{ timestamp: object }]
        producer.send(wrong(row, { offset: [{ timestamp }] }))
      }
    })],
  ["offsets for each slice", {}, ({ connected, producer }) =>
    Effect.map(connected(), () => {
      for (const row of producer.append("a", 5)) {
        const [offset] = offsetOf(row) as [object]
        producer.send(wrong(row, { offset: [{ ...offset, slice: row.slice }] }))
      }
    })],
  ["an event of three megabytes", {}, ({ connected, producer }) =>
    Effect.map(connected(), () => {
      const payload = create(AnySchema, { typeUrl: "ser.akka.io/20", value: Buffer.from("e1") })
      const tags = Array.from({ length: 3000 }, (_, i) => `${i} ${"x".repeat(1000)}`)
      producer.write("a", 1, { change: { payload, tags } })
      producer.write("a", 2)
    })]
]

/** Reads on from where it was. */
const restarts: ReadonlyArray<Scenario> = [
  [
    "goes on after its offset",
    { limits: { inits: 2 } },
    ({ connected, handled, producer, start, stop }) =>
      Effect.gen(function*() {
        yield* connected()
        producer.write("a", 10)
        yield* handled(10)
        yield* stop
        producer.write("a", 10)
        yield* start()
        yield* handled(20)
      })
  ],
  [
    "asks with one offset, which says what was seen",
    { limits: { inits: 2 } },
    ({ connected, producer, start, stop, stored }) =>
      Effect.gen(function*() {
        yield* connected()
        const [row] = producer.write("a", 3).slice(-1)
        yield* stored(3)
        yield* stop
        yield* start()
        yield* connected()
        const { offset } = producer.asked.inits.at(-1)!
        if (offset.length !== 1) throw new Error(`${offset.length} offsets, which 1.4.0 would merge`)
        if (offset[0]!.slice !== undefined) throw new Error("an offset for one slice")
        const { nanos, seconds } = offset[0]!.timestamp!
        const at = Number(seconds) * 1e6 + nanos / 1000
        if (at > row!.timestamp) throw new Error("an offset that is later than the last event")
      })
  ],
  ["is shown the event at its offset again", {
    limits: { inits: 2 },
    open: (call, _, rows) => {
      call.headers()
      call.send(...rows.map((row) => answer(row)))
    }
  }, ({ connected, handled, producer, start, stop }) =>
    Effect.gen(function*() {
      yield* connected()
      const rows = producer.write("a", 10)
      yield* handled(10)
      yield* stop
      yield* start()
      yield* connected()
      producer.show(rows.slice(-1))
    })],
  [
    "has others at the timestamp of its offset",
    { limits: { inits: 2 } },
    ({ connected, handled, producer, start, stop }) =>
      Effect.gen(function*() {
        yield* connected()
        const [{ timestamp }] = producer.write("a") as [Row]
        yield* handled(1)
        yield* stop
        for (const id of ids(10)) producer.append(id, 1, { at: timestamp })
        yield* start()
        yield* handled(11)
      })
  ],
  [
    "is shown everything again",
    { limits: { inits: 2 } },
    ({ connected, handled, producer, start, stop }) =>
      Effect.gen(function*() {
        yield* connected()
        for (const id of ids(20)) producer.write(id, 10)
        yield* handled(200)
        yield* stop
        yield* start()
        yield* connected()
        producer.show(producer.rows)
      })
  ],
  ["is shown a long look back first", {
    limits: { inits: 2 },
    open: (call, n, rows) => {
      call.headers()
      if (n > 1) { for (let i = 1; i <= 1000; i++) call.send(...lookBack(i)) }
      call.send(...rows.map((row) => answer(row)))
    }
  }, ({ connected, handled, producer, start, stop }) =>
    Effect.gen(function*() {
      yield* connected()
      producer.write("a", 1000)
      yield* handled(1000)
      yield* stop
      producer.write("a", 10)
      yield* start()
      yield* handled(1010)
    })],
  ["ten times", { limits: { inits: 21 } }, ({ connected, handled, producer, start, stop }) =>
    Effect.gen(function*() {
      yield* connected()
      for (let n = 1; n <= 10; n++) {
        producer.write("a", 3)
        producer.write("b", 3)
        // wherever it is
        yield* handled(6 * n - 3)
        yield* stop
        yield* start()
        yield* connected()
      }
    })],
  [
    "with other workers",
    { workers: 4, limits: { inits: 4 + 1 + 2 } },
    ({ connected, handled, producer, start, stop }) =>
      Effect.gen(function*() {
        yield* connected(4)
        for (const id of ids(50)) producer.write(id, 2)
        yield* handled(100)
        yield* stop
        for (const id of ids(50)) producer.append(id, 2)
        yield* start(1)
        yield* handled(200)
        yield* stop
        for (const id of ids(50)) producer.append(id, 2)
        yield* start(2)
        yield* handled(300)
        yield* connected(2)
      })
  ],
  [
    "reads what is older than its offset, if it is next",
    { limits: { inits: 2 } },
    ({ connected, handled, producer, start, stop }) =>
      Effect.gen(function*() {
        yield* connected()
        const [first] = producer.write("a", 2)
        producer.write("b", 20)
        yield* handled(22)
        yield* stop
        yield* start()
        yield* connected()
        // a transaction that was open for long
        producer.write("a", 1, { at: first!.timestamp + 1500 })
        producer.write("new", 1, { at: first!.timestamp + 1600 })
      })
  ]
]

/** As a look back has it, without its payload. */
const lookBack = (n: number) => {
  const persistenceId = idOf("a")
  const timestamp = Date.UTC(2026, 10, 28) * 1000 + n * 1000
  return [
    answer({ persistenceId, slice: 0, sequenceNumber: n, timestamp, text: "", isShown: true, change: undefined }, "BT")
  ]
}

const gaps: ReadonlyArray<Scenario> = [
  [
    "one event that the stream has lost",
    { limits: { repairs: 1 } },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        producer.write("a", 3)
        producer.append("a", 1)
        producer.write("a", 1)
      })
  ],
  [
    "a hundred events that it has lost",
    { limits: { repairs: 1 } },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        producer.write("a", 3)
        producer.append("a", 100)
        producer.write("a", 3)
      })
  ],
  [
    "an entity whose first events it has lost",
    { limits: { repairs: 1, eventTimestamps: 1 } },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        producer.write("b", 3)
        producer.append("a", 6)
        producer.write("a", 1)
      })
  ],
  [
    "an entity whose first events were deleted",
    { limits: { repairs: 1, eventTimestamps: 1 } },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        producer.write("b", 3)
        producer.write("a", 3, { from: 7 })
      })
  ],
  [
    "a number beyond 2 to the 31st after deleted ones",
    { limits: { repairs: 1, eventTimestamps: 1 } },
    ({ connected, producer }) => Effect.map(connected(), () => void producer.write("a", 3, { from: 2 ** 31 - 1 }))
  ],
  [
    "numbers up to the largest that there is",
    { limits: { repairs: 1, eventTimestamps: 1 } },
    ({ connected, producer }) =>
      Effect.map(connected(), () => void producer.write("a", 3, { from: Number.MAX_SAFE_INTEGER - 2 }))
  ],
  [
    "a gap in each of two entities at once",
    { limits: { repairs: 2 } },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        for (const id of ["a", "b"]) producer.write(id, 3)
        for (const id of ["a", "b"]) producer.append(id, 2)
        for (const id of ["a", "b"]) producer.write(id, 3)
      })
  ],
  [
    "a gap in each of two hundred entities",
    { limits: { repairs: 200 } },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        for (const id of ids(200)) producer.write(id)
        for (const id of ids(200)) producer.append(id)
        for (const id of ids(200)) producer.write(id)
      })
  ],
  [
    "a gap in each of ten entities before events that are too large to wait",
    { limits: { repairs: 20, loads: 20 } },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        for (const id of ids(10)) producer.write(id)
        for (const id of ids(10)) producer.append(id)
        for (const id of ids(10)) producer.write(id, 1, large)
      })
  ],
  [
    "ten entities whose first events were deleted, and whose next ones are too large to wait",
    { limits: { repairs: 20, loads: 20, eventTimestamps: 20 } },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        producer.write("b", 3)
        for (const id of ids(10)) producer.write(id, 1, { from: 7, ...large })
      })
  ],
  [
    "two hundred entities whose first event is lost",
    { limits: { repairs: 200, eventTimestamps: 200 } },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        for (const id of ids(200)) producer.append(id)
        for (const id of ids(200)) producer.write(id)
      })
  ],
  [
    "every second event of an entity",
    { limits: { repairs: 20 } },
    ({ connected, handled, producer }) =>
      Effect.gen(function*() {
        yield* connected()
        for (let n = 1; n <= 20; n++) {
          producer.write("a")
          producer.append("a")
          yield* handled(2 * n - 1)
        }
        producer.write("a")
      })
  ],
  ["events that stay inside", { limits: { repairs: 1 } }, ({ connected, producer }) =>
    Effect.map(connected(), () => {
      producer.write("a", 2)
      producer.append("a", 2, { isPublic: false })
      producer.append("a", 2)
      producer.write("a", 1)
    })],
  [
    "one before an event that stays inside",
    { limits: { repairs: 1 } },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        producer.write("a", 2)
        producer.append("a", 2)
        producer.write("a", 1, { isPublic: false })
      })
  ],
  [
    "one whose last event comes several times",
    { limits: { repairs: 1 } },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        producer.write("a", 2)
        producer.append("a", 2)
        const rows = producer.write("a", 1)
        for (let n = 0; n < 200; n++) producer.show(rows)
      })
  ],
  [
    "one after which the entity goes on",
    { limits: { repairs: 1 } },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        producer.write("a", 2)
        producer.append("a", 2)
        producer.write("a", 500)
      })
  ],
  [
    "one before the consumer starts again",
    { limits: { inits: 2, repairs: 2 } },
    ({ connected, handled, producer, start, stop }) =>
      Effect.gen(function*() {
        yield* connected()
        producer.write("a", 2)
        yield* handled(2)
        yield* stop
        producer.append("a", 2)
        yield* start()
        yield* connected()
        producer.asked.inits.splice(1)
        producer.write("a", 1)
      })
  ],
  [
    "one that a late event fills",
    { limits: { repairs: 1 }, replay: () => {} },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        producer.write("a", 2)
        const late = producer.append("a", 1)
        const next = producer.write("a", 1)
        producer.show(late)
        producer.show(next)
      })
  ],
  [
    "one that a look back fills",
    { limits: { repairs: 2, loads: 2 }, replay: () => {} },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        producer.write("a", 2)
        const late = producer.append("a", 1)
        const next = producer.write("a", 1)
        producer.show([...late, ...next], "BT")
      })
  ]
]

const repaired = (answer: (replay: Replay, n: number) => void): Pick<ProducerOptions, "replay"> => ({ replay: answer })

/** Gaps that are repaired, by replays that are not as they should be. */
const losing: Script = ({ connected, producer }) =>
  Effect.map(connected(), () => {
    producer.write("a", 2)
    producer.append("a", 3)
    producer.write("a", 1)
  })

const seenOf = ({ offset }: { readonly offset: ReadonlyArray<any> }) =>
  offset.map(({ seen, timestamp }) => [
    timestamp.seconds,
    timestamp.nanos,
    seen.map((_: any) => [_.persistenceId, _.seqNr])
  ])

const replays: ReadonlyArray<Scenario> = [
  [
    "that come twice",
    { limits: { repairs: 1 }, ...repaired(({ rows, show }) => [rows, rows].forEach((_) => show(_))) },
    losing
  ],
  [
    "that begin at the first event",
    { limits: { repairs: 1 } },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        producer.write("a", 2)
        producer.append("a", 3)
        producer.write("a", 1)
        producer.show(producer.rows.filter(({ persistenceId }) => persistenceId === idOf("a")))
      })
  ],
  [
    "that come after the next event of another entity",
    { limits: { repairs: 1 } },
    ({ connected, producer, until }) =>
      Effect.gen(function*() {
        yield* connected()
        producer.write("a", 2)
        producer.append("a", 3)
        producer.write("a", 1)
        yield* until("the replay", () => producer.asked.replays.length > 0)
        producer.write("b", 1)
      })
  ],
  [
    "in which other entities go on",
    { limits: { repairs: 1 }, ...repaired(() => {}) },
    ({ connected, handled, producer, until }) =>
      Effect.gen(function*() {
        yield* connected()
        producer.write("a", 2)
        const lost = producer.append("a", 3)
        const next = producer.write("a", 1)
        yield* until("the replay", () => producer.asked.replays.length > 0)
        for (const id of ids(20)) producer.write(id, 5)
        yield* handled(2 + 100)
        producer.show([...lost, ...next])
      })
  ],
  [
    "that come one event at a time, among others",
    { limits: { repairs: 1 }, ...repaired(() => {}) },
    ({ connected, handled, producer, until }) =>
      Effect.gen(function*() {
        yield* connected()
        producer.write("a", 2)
        const lost = producer.append("a", 3)
        const next = producer.write("a", 1)
        yield* until("the replay", () => producer.asked.replays.length > 0)
        for (const [i, row] of [...lost, ...next].entries()) {
          producer.show([row])
          producer.write("b", 1)
          yield* handled(2 + i + 1)
        }
      })
  ],
  [
    "of two entities that are interleaved",
    { limits: { repairs: 2 }, ...repaired(() => {}) },
    ({ connected, producer, until }) =>
      Effect.gen(function*() {
        yield* connected()
        for (const id of ["a", "b"]) producer.write(id, 2)
        const lost = ["a", "b"].map((id) => producer.append(id, 3))
        const next = ["a", "b"].map((id) => producer.write(id, 1))
        yield* until("both replays", () => producer.asked.replays.length > 1)
        for (const i of [0, 1, 2]) producer.show(lost.map((rows) => rows[i]!))
        producer.show(next.flat())
      })
  ],
  [
    "during which the entity goes on",
    { limits: { repairs: 1, loads: 0 }, ...repaired(() => {}) },
    ({ connected, producer, until }) =>
      Effect.gen(function*() {
        yield* connected()
        producer.write("a", 2)
        const lost = producer.append("a", 3)
        const next = producer.write("a", 1)
        yield* until("the replay", () => producer.asked.replays.length > 0)
        producer.write("a", 100)
        producer.show([...lost, ...next])
      })
  ],
  ["that are cut off with the stream", {
    limits: { repairs: 3, inits: 3, loads: 0 },
    ...repaired(({ rows, show }, n) => {
      if (n > 1) show(rows)
    })
  }, ({ connected, producer, until }) =>
    Effect.gen(function*() {
      yield* connected()
      producer.write("a", 2)
      const lost = producer.append("a", 3)
      producer.write("a", 1)
      yield* until("the replay", () => producer.asked.replays.length > 0)
      producer.show(lost.slice(0, 1))
      producer.network.cut()
      yield* until("a stream", () => producer.asked.inits.length > 1)
      yield* connected()
      producer.write("a", 1)
    })],
  [
    "after which the stream is opened again where it was",
    { limits: { repairs: 1, inits: 2 } },
    ({ connected, handled, producer, until }) =>
      Effect.gen(function*() {
        yield* connected()
        producer.write("a", 2)
        producer.append("a", 3, { isShown: false })
        producer.write("a", 1)
        yield* handled(6)
        producer.write("b", 1)
        const [last] = producer.write("a", 50).slice(-1) as [Row]
        yield* handled(57)
        producer.fail(status.UNAVAILABLE)
        yield* until("a stream", () => producer.asked.inits.length > 1)
        assert.deepStrictEqual(seenOf(producer.asked.inits[1]!), seenOf({ offset: offsetOf(last)! }))
      })
  ],
  ["in which the consumer is stopped", {
    limits: { repairs: 3, inits: 2 },
    ...repaired(({ rows, show }, n) => {
      if (n > 1) show(rows)
    })
  }, ({ connected, handled, producer, start, stop, until }) =>
    Effect.gen(function*() {
      yield* connected()
      producer.write("a", 2)
      producer.write("b", 1)
      producer.append("a", 3)
      producer.write("a", 1)
      yield* until("the replay", () => producer.asked.replays.length > 0)
      // past what is held back
      producer.write("b", 10)
      yield* handled(13)
      yield* stop
      yield* start()
      yield* connected()
      producer.write("a", 1)
    })],
  ["that have a hole, whose event is loaded", {
    // what is loaded has to come in time on a busy machine as well
    speed: 5,
    limits: { repairs: 2 },
    ...repaired(({ rows, show }) => show(rows.filter((_, i) => i !== 1)))
  }, losing],
  ["of a newer producer, by a call", { version: "1.6.19", limits: { repairs: 1 } }, losing],
  ["of a newer producer, which is cut off at first", {
    version: "1.6.19",
    limits: { repairs: 3, inits: 2 },
    current: (call, n, rows) => {
      call.headers()
      call.send(...rows.slice(0, n).map((row) => answer(row)))
      if (n === 1) call.fail(status.UNAVAILABLE, "as the script says")
      else {
        call.send(...rows.slice(n).map((row) => answer(row)))
        call.end()
      }
    }
  }, losing],
  ["of a newer producer, twice", {
    version: "1.6.19",
    limits: { repairs: 2 },
    current: (call, _, rows) => {
      call.headers()
      call.send(...[...rows, ...rows].map((row) => answer(row)))
      call.end()
    }
  }, losing],
  [
    "of a newer producer, for two hundred entities",
    { version: "1.6.19", limits: { repairs: 200 } },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        for (const id of ids(200)) producer.write(id)
        for (const id of ids(200)) producer.append(id)
        for (const id of ids(200)) producer.write(id)
      })
  ]
]

const seenAtSeven: Script = ({ connected, producer }) =>
  Effect.map(connected(), () => {
    producer.write("b", 3)
    producer.append("a", 6)
    producer.write("a", 1)
  })

const slow = later<object>()

const predecessors: ReadonlyArray<Scenario> = [
  ["slowly, while other entities go on", {
    limits: { repairs: 1, eventTimestamps: 1 },
    eventTimestamp: () => slow.promise
  }, ({ connected, handled, producer }) =>
    Effect.gen(function*() {
      yield* connected()
      producer.write("b", 3)
      yield* handled(3)
      producer.append("a", 6)
      producer.write("a", 1)
      producer.write("b", 10)
      yield* handled(13)
      slow.answer({ timestamp: toTimestampMessage(Timestamp.make(producer.rows[8]!.timestamp)) })
    })],
  ["with an error at first", {
    limits: { repairs: 1, eventTimestamps: 3, inits: 2 },
    eventTimestamp: atFirst(1, { code: status.UNAVAILABLE })
  }, seenAtSeven],
  ["with an internal error at first", {
    limits: { repairs: 1, eventTimestamps: 3, inits: 2 },
    eventTimestamp: atFirst(1, { code: status.INTERNAL })
  }, seenAtSeven],
  [
    "with nothing, as there are no events before",
    { limits: { repairs: 1, eventTimestamps: 1 } },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        producer.write("b", 3)
        producer.write("a", 20, { from: 7 })
      })
  ],
  ["with nothing at first, of events that are new", {
    limits: { repairs: 1, eventTimestamps: 2 },
    speed: 20,
    eventTimestamp: atFirst(1, {})
  }, ({ connected, producer }) =>
    Effect.gen(function*() {
      yield* connected()
      const at = (yield* Clock.currentTimeMillis) * 1_000
      producer.append("a", 6, { at })
      producer.write("a", 1, { at: at + 1_000 })
    })],
  [
    "with a time long before",
    { limits: { repairs: 1, eventTimestamps: 1 } },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        const [first] = producer.write("b", 3)
        producer.append("a", 6, { at: first!.timestamp - 30 * 86_400 * 1e6 })
        producer.write("a", 1, { at: first!.timestamp + 5000 })
      })
  ]
]

const lookingBack: ReadonlyArray<Scenario> = [
  ["of what was handled", {}, ({ connected, handled, producer }) =>
    Effect.gen(function*() {
      yield* connected()
      const rows = producer.write("a", 100)
      yield* handled(100)
      producer.show(rows, "BT")
    })],
  ["of an event that never came", { limits: { loads: 1 } }, ({ connected, producer }) =>
    Effect.map(connected(), () => {
      producer.write("a", 2)
      producer.show(producer.append("a", 1), "BT")
    })],
  [
    "of an entity that never came",
    { limits: { repairs: 1, eventTimestamps: 1 } },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        producer.show(producer.append("a", 3), "BT")
      })
  ],
  [
    "of many entities that never came",
    { limits: { repairs: 100, eventTimestamps: 100 } },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        for (const id of ids(100)) producer.append(id, 3)
        producer.show(producer.rows, "BT")
      })
  ],
  ["after a gap", { limits: { loads: 1, repairs: 1 } }, ({ connected, producer }) =>
    Effect.map(connected(), () => {
      producer.write("a", 2)
      producer.append("a", 2)
      producer.show(producer.append("a", 1), "BT")
    })],
  ["of an event whose payload does not come at first", {
    limits: { loads: 4, inits: 3 },
    loadEvent: atFirst(1, { code: status.UNAVAILABLE })
  }, ({ connected, producer }) =>
    Effect.map(connected(), () => {
      producer.write("a", 2)
      producer.show(producer.append("a", 1), "BT")
      producer.write("a", 1)
    })],
  [
    "of an event that stays inside",
    { limits: { loads: 1 } },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        producer.write("a", 2)
        const [row] = producer.append("a", 1, { isPublic: false })
        producer.send(answer({ ...row!, text: "inside" }, "BT"))
        producer.write("a", 1)
      })
  ],
  [
    "of an event that is on its way",
    { limits: { loads: 1 } },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        producer.write("a", 2)
        const rows = producer.append("a", 1)
        producer.show(rows, "BT")
        producer.show(rows)
      })
  ],
  ["that has payloads", {}, ({ connected, producer }) =>
    Effect.map(connected(), () => {
      for (const row of producer.append("a", 5)) producer.send(wrong(row, { source: "BT" }))
    })],
  [
    "of an entity whose first events it does not show",
    { limits: { loads: 1, repairs: 1, eventTimestamps: 1 } },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        producer.write("b", 3)
        producer.append("a", 6)
        producer.show(producer.append("a", 1), "BT")
      })
  ],
  [
    "and the memory of the producer, which has lost something",
    { limits: { repairs: 1 } },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        producer.write("a", 2)
        const [third, fourth] = producer.append("a", 2)
        producer.show([fourth!], "PS")
        producer.show([third!, fourth!])
        producer.show([third!, fourth!], "BT")
      })
  ],
  ["and the memory of the producer, which is first", {}, ({ connected, producer }) =>
    Effect.map(connected(), () => {
      const rows = producer.append("a", 5)
      producer.show(rows, "PS")
      producer.show(rows)
    })]
]

/** As by a network, a proxy, or a producer that is stopped, moved or broken. */
const retried = [
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED"
] as const

const disrupted = (disrupt: (stage: Parameters<Script>[0]) => void): Script => (stage) =>
  Effect.gen(function*() {
    const { connected, handled, producer, until } = stage
    yield* connected()
    producer.write("a", 10)
    yield* handled(10)
    disrupt(stage)
    producer.append("a", 10)
    yield* until("another stream", () => producer.asked.inits.length > 1)
    yield* handled(20)
  })

const endings: ReadonlyArray<Scenario> = [
  ["ends it with OK", { limits: { inits: 2 } }, disrupted(({ producer }) => producer.end())],
  ...retried.map((code): Scenario => [
    `ends it with ${code}`,
    { limits: { inits: 2 } },
    disrupted(({ producer }) => producer.fail(status[code]))
  ]),
  ...retried.map((code): Scenario => [
    `answers it with ${code} at first`,
    {
      limits: { inits: 2 },
      open: (call, n, rows) => {
        if (n === 1) return call.fail(status[code], "as the script says")
        call.headers()
        call.send(...rows.map((row) => answer(row)))
      }
    },
    ({ producer, until }) => {
      producer.append("a", 10)
      return until("another stream", () => producer.asked.inits.length > 1)
    }
  ]),
  ["is cut off", { limits: { inits: 2 } }, disrupted(({ producer }) => producer.network.cut())],
  ["asks it to go away", { limits: { inits: 2 } }, disrupted(({ producer }) => producer.drain(0))],
  [
    "is cut off in the middle of messages",
    { limits: { inits: 12 } },
    ({ connected, handled, producer, until }) =>
      Effect.gen(function*() {
        yield* connected()
        for (let n = 1; n <= 10; n++) {
          producer.network.cutAfter(1 + n * 137)
          producer.write("a", 20)
          yield* until("a stream", () => producer.network.made > n)
          yield* handled(20 * n)
        }
      })
  ],
  ["fails after each event", {
    limits: { inits: 12 },
    open: (call, _, rows) => {
      call.headers()
      call.send(...rows.slice(0, 1).map((row) => answer(row)))
      if (rows.length > 0) call.fail(status.UNAVAILABLE, "as the script says")
    }
  }, ({ handled, producer, stop, start }) =>
    Effect.gen(function*() {
      yield* stop
      producer.append("a", 5)
      yield* start()
      yield* handled(5)
    })]
]

const broken = (change: object): Script => ({ connected, handled, producer }) =>
  Effect.gen(function*() {
    yield* connected()
    producer.write("a", 2)
    yield* handled(2)
    producer.write("a", 1, { change })
    producer.write("a", 1)
  })

const never = () => new Promise<never>(() => {})

const failures: ReadonlyArray<Failure> = [
  [
    "a payload that cannot be decoded",
    { tag: "EventDecodeError", text: "3" },
    {},
    broken({
      payload: create(AnySchema, { typeUrl: "ser.akka.io/20", value: Buffer.from([0xff, 0xfe]) })
    })
  ],
  [
    "a payload of an unknown serializer",
    { tag: "EventDecodeError", text: "ser.akka.io/31" },
    {},
    broken({
      payload: create(AnySchema, { typeUrl: "ser.akka.io/31:cart.ItemAdded", value: Buffer.from("{}") })
    })
  ],
  [
    "a message that is none",
    { tag: "ProtocolError", text: "" },
    {},
    ({ connected, handled, producer }) =>
      Effect.gen(function*() {
        yield* connected()
        producer.write("a", 2)
        yield* handled(2)
        producer.send(Buffer.from([0x0a, 0xff, 0x01]))
      })
  ],
  [
    "a message without an event",
    { tag: "ProtocolError", text: "neither" },
    {},
    ({ connected, producer }) => Effect.map(connected(), () => producer.send(new Uint8Array()))
  ],
  ["an event without an offset", { tag: "ProtocolError", text: "without an offset" }, {}, broken({ offset: [] })],
  [
    "an offset without a timestamp",
    { tag: "ProtocolError", text: "without an offset" },
    {},
    broken({
      offset: [{ seen: [] }]
    })
  ],
  [
    "a number that is too large",
    { tag: "ProtocolError", text: "9007199254740992" },
    {},
    broken({
      seqNr: 2n ** 53n
    })
  ],
  ["an id without an entity type", { tag: "ProtocolError", text: "" }, {}, broken({ persistenceId: "nobody" })],
  [
    "a time before the epoch",
    { tag: "ProtocolError", text: "" },
    {},
    broken({
      offset: [{ timestamp: { seconds: -1n, nanos: 0 } }]
    })
  ],
  [
    "an event of somebody else's slice",
    { tag: "ProtocolError", text: "slice" },
    { workers: 2 },
    ({ connected, producer }) =>
      Effect.map(connected(2), () => {
        // to both
        producer.send(answer(producer.append("a")[0]!))
      })
  ],
  ["events that neither a replay nor a call shows", { tag: "GapNotFilled", text: "Cart|a" }, {
    ...repaired(() => {}),
    loadEvent: () => ({ code: status.NOT_FOUND })
  }, losing],
  ["a newer producer that does not have the events", { tag: "GapNotFilled", text: "Cart|a" }, {
    version: "1.6.19",
    current: (call) => {
      call.headers()
      call.end()
    }
  }, losing],
  [
    "a predecessor of which it is never told",
    { tag: "GapNotFilled", text: "Cart|a" },
    { eventTimestamp: never },
    seenAtSeven
  ],
  [
    "a payload that never comes",
    { tag: "GapNotFilled", text: "Cart|a" },
    { loadEvent: never },
    ({ connected, producer }) =>
      Effect.map(connected(), () => {
        producer.write("a", 2)
        producer.show(producer.append("a", 1), "BT")
      })
  ],
  ["a payload that is another event's", { tag: "GapNotFilled", text: "Cart|a" }, {
    loadEvent: () => ({ message: answer(other).message as any })
  }, ({ connected, producer }) =>
    Effect.map(connected(), () => {
      producer.write("a", 2)
      producer.show(producer.append("a", 1), "BT")
    })],
  ["a payload of an event that is gone", { tag: "GapNotFilled", text: "Cart|a" }, {
    loadEvent: () => ({ code: status.NOT_FOUND })
  }, ({ connected, producer }) =>
    Effect.map(connected(), () => {
      producer.write("a", 2)
      producer.show(producer.append("a", 1), "BT")
    })],
  ["a stream that it does not offer", { tag: "StreamNotOffered", text: "cart" }, {
    open: (call) => call.fail(status.NOT_FOUND, "Stream id [cart] is not available for consumption")
  }, () => Effect.void]
]

const other: Row = {
  persistenceId: idOf("other"),
  slice: 0,
  sequenceNumber: 9,
  timestamp: 1,
  text: "e9",
  isShown: true,
  change: undefined
}

/** What the consumer's own side does. */
const handling: ReadonlyArray<Scenario> = [
  ["fails at an event", {
    limits: { inits: 5 },
    recovery: RecoveryStrategy.retryAndFail({ retries: 3, delay: 1 }),
    before: (_, n) => n === 5 ? Effect.fail("a handler that fails once") : Effect.void
  }, ({ connected, producer }) => Effect.map(connected(), () => void producer.write("a", 10))],
  [
    "is interrupted at an event",
    { limits: { inits: 2 }, before: (_, n) => n === 5 ? Effect.never : Effect.void },
    ({ connected, handled, producer, start, stop }) =>
      Effect.gen(function*() {
        yield* connected()
        producer.write("a", 10)
        yield* handled(5)
        yield* stop
        yield* start()
      })
  ],
  [
    "handles at least once",
    { guarantee: "at least once", limits: { inits: 6 } },
    ({ connected, handled, producer, start, stop }) =>
      Effect.gen(function*() {
        yield* connected()
        for (let n = 1; n <= 5; n++) {
          producer.write("a", 30)
          yield* handled(30 * n - 15)
          yield* stop
          yield* start()
          yield* connected()
        }
      })
  ]
]

const suite = (title: string, scenarios: ReadonlyArray<Scenario>) =>
  layer(Producer.quiet, { excludeTestServices: true })(title, (it) => {
    for (const [name, options, script] of scenarios) it.effect(name, () => play(script, options))
  })

suite("a projection of a plain producer handles once, in order", flowing)
suite("started again, it", restarts)
suite("a gap is filled:", gaps)
suite("replays are taken", replays)
suite("it is told of predecessors", predecessors)
suite("a look back", lookingBack)
suite("a stream is opened again whose producer", endings)
suite("each event once, whose handler", handling)

layer(Producer.quiet, { excludeTestServices: true })("it says what is wrong with", (it) => {
  for (const [name, failure, options, script] of failures) {
    it.effect(name, () => playToFailure(script, failure, { speed: 20, ...options }))
  }
})

const logging = Producer.logging()

layer(logging.layer, { excludeTestServices: true })("it logs", (it) => {
  it.effect("which events were not there to be handled", () =>
    Effect.andThen(
      play(({ connected, producer }) =>
        Effect.map(connected(), () => {
          producer.write("a", 2, { from: 7 })
        }), { limits: { repairs: 1, eventTimestamps: 1 } }),
      Effect.sync(() => {
        const said =
          "does not have events 1 to 6 of 'Cart|a', which have not come. They are not handled. Goes on with event 7"
        assert.isTrue(logging.lines.some((line) => line.includes(said)), logging.lines.join("\n"))
      })
    ))
})
