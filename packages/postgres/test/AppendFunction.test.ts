import { assert, it } from "@effect/vitest"
import type { AppendRequest, SequenceConflict, Written } from "@sluice/core/Journal"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Slice from "@sluice/core/Slice"
import * as PostgresStorage from "@sluice/postgres/PostgresStorage"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import Pg from "pg"
import { inject } from "vitest"
import { argumentsOf, statementOf, toAnswers } from "../src/internal/appendCall.ts"
import { KnownPositions } from "../src/internal/KnownPositions.ts"

const rounds = 300

/** Entities of three logs, several of each. */
const entities = (() => {
  const bySlice = new Map<number, Array<PersistenceId.PersistenceId>>()
  for (let i = 0;; i++) {
    const id = PersistenceId.make("note", `n-${i}`)
    const slice = Slice.ofPersistenceId(id)
    const ids = bySlice.get(slice) ?? []
    bySlice.set(slice, [...ids, id])
    const full = [...bySlice.values()].filter(({ length }) => length === 3)
    if (full.length === 3) return full.flat()
  }
})()

/** An event as the model has it. */
interface Stored {
  readonly event_id: string
  readonly persistence_id: string
  readonly sequence_number: number
  readonly slice: number
  readonly position: number
}

const newEvents = (count: number): AppendRequest["events"] =>
  Array.from({ length: count }, () => ({
    id: crypto.randomUUID(),
    payload: { manifest: "m", bytes: new Uint8Array(1) },
    tags: [],
    metadata: {}
  })) as unknown as AppendRequest["events"]

const int = (min: number, max: number) => Random.nextIntBetween(min, max)
const oneOf = <A>(values: ReadonlyArray<A>) => Effect.map(int(0, values.length - 1), (i) => values[i]!)

it.live(
  "appends any mix of appends as one after the other would be, wherever the logs are known to be",
  () =>
    Effect.gen(function*() {
      const url = inject("postgres")
      const schema = `s_${crypto.randomUUID().slice(0, 8)}`
      const connect = Effect.acquireRelease(
        Effect.promise(async () => {
          const client = new Pg.Client({ connectionString: url })
          await client.connect()
          return client
        }),
        (client) => Effect.promise(() => client.end())
      )
      const [client, other] = [yield* connect, yield* connect]
      yield* Effect.addFinalizer(() => Effect.promise(() => client.query(`DROP SCHEMA ${schema} CASCADE`)))
      yield* Effect.promise(() => client.query(PostgresStorage.migrations({ schema })))
      const naming = { prefix: "sluice_", schema }
      const writerId = crypto.randomUUID()
      const text = statementOf(naming)

      let journal: Array<Stored> = []
      const seen = { conflicts: 0, found: 0, written: 0 }
      const last = <K extends "sequence_number" | "position">(is: (event: Stored) => boolean, key: K) =>
        journal.reduce((max, event) => is(event) ? Math.max(max, event[key]) : max, 0)
      /** Appends to the model. */
      const append = ({ events, expected, persistenceId, recheck }: AppendRequest) => {
        const found = journal.find(({ event_id, persistence_id }) =>
          recheck && persistence_id === persistenceId && event_id === events.at(-1)!.id
        )
        if (found !== undefined) {
          seen.found++
          return { position: found.position, sequenceNumber: found.sequence_number }
        }
        const head = last(({ persistence_id }) => persistence_id === persistenceId, "sequence_number")
        if (
          expected === "exists" ? head === 0 : expected === "none" ? head > 0 : expected !== "any" && expected !== head
        ) {
          seen.conflicts++
          return { actual: head }
        }
        seen.written++
        const slice = Slice.ofPersistenceId(persistenceId)
        const position = last((event) => event.slice === slice, "position")
        events.forEach(({ id }, i) =>
          journal.push({
            event_id: id,
            persistence_id: persistenceId,
            sequence_number: head + i + 1,
            slice,
            position: position + i + 1
          })
        )
        return { position: position + events.length, sequenceNumber: head + events.length }
      }

      /** Some of them are sent again. */
      let before: ReadonlyArray<AppendRequest> = []
      for (let round = 0; round < rounds; round++) {
        // the newest are lost, as by a failover
        if ((yield* int(0, 19)) === 0) {
          const from = yield* int(0, 1 + last(() => true, "position"))
          journal = journal.filter(({ position }) => position < from)
          yield* Effect.promise(() => client.query(`DELETE FROM ${schema}.sluice_journal WHERE position >= $1`, [from]))
        }
        const requests: Array<AppendRequest> = []
        const count = yield* oneOf([1, 1, 2, 5, 12])
        for (let i = 0; i < count; i++) {
          const again = (yield* int(0, 4)) === 0 ? yield* oneOf([undefined, ...before]) : undefined
          if (again !== undefined && !requests.some(({ events }) => events === again.events)) {
            requests.push({ ...again, recheck: true })
            continue
          }
          const persistenceId = yield* oneOf(entities)
          const head = last(({ persistence_id }) => persistence_id === persistenceId, "sequence_number")
          requests.push({
            entityType: "note",
            persistenceId,
            expected: (yield* oneOf([
              "any",
              "any",
              "exists",
              "none",
              head,
              head + 1,
              head + 3,
              Math.max(1, head - 1)
            ])) as "any",
            events: newEvents(yield* oneOf([1, 1, 1, 2, 4])),
            recheck: (yield* int(0, 9)) === 0
          })
        }
        before = [...before, ...requests].slice(-30)
        // less than the log has, as much, or more
        const known = new KnownPositions()
        known.learn(
          "note",
          yield* Effect.forEach(entities, (id) =>
            Effect.gen(function*() {
              const slice = Slice.ofPersistenceId(id)
              const head = last((event) => event.slice === slice, "position")
              const position = yield* oneOf([0, head, head, Math.max(0, head - 2), head + 1, head + 100])
              return Exit.succeed({ slice, position } as Written)
            }))
        )
        const values = argumentsOf({ naming, writerId, known }, requests, false)
        const busy = (yield* int(0, 3)) === 0 ? Slice.ofPersistenceId(yield* oneOf(entities)) : undefined
        if (busy !== undefined) {
          yield* Effect.promise(() => other.query("SELECT pg_advisory_lock($1::int, $2::int)", [values[2], busy]))
        }
        const { rows: [row] } = yield* Effect.promise(() => client.query(text, values))
        if (busy !== undefined) yield* Effect.promise(() => other.query("SELECT pg_advisory_unlock_all()"))

        const timestamps = new Map<string, number>()
        const answers = toAnswers(requests, row.answer).map((answer, i) => {
          if (answer === undefined) return "busy"
          if (Exit.isFailure(answer)) {
            const { actual } = Option.getOrThrow(Exit.findErrorOption(answer)) as SequenceConflict
            return { actual }
          }
          const { position, sequenceNumber, timestamp } = answer.value
          timestamps.set(requests[i]!.events.at(-1)!.id, timestamp)
          return { position, sequenceNumber }
        })
        const expected = requests.map((request) =>
          Slice.ofPersistenceId(request.persistenceId) === busy ? "busy" : append(request)
        )
        assert.deepStrictEqual(answers, expected)
        const stored = yield* Effect.promise(() =>
          client.query(`SELECT event_id::text, persistence_id, sequence_number::int, slice, position::int,
          timestamp::float8 FROM ${schema}.sluice_journal ORDER BY slice, position`)
        )
        assert.deepStrictEqual(
          stored.rows.map(({ timestamp: _timestamp, ...event }) => event),
          journal.toSorted((a, b) => a.slice - b.slice || a.position - b.position)
        )
        stored.rows.forEach(({ event_id, slice, timestamp }, i) => {
          const earlier = stored.rows[i - 1]
          if (earlier?.slice === slice) assert.isAbove(timestamp, earlier.timestamp)
          if (timestamps.has(event_id)) assert.strictEqual(timestamps.get(event_id), timestamp)
        })
      }
      for (const [what, times] of Object.entries(seen)) assert.isAbove(times, rounds / 10, what)
    }).pipe(Random.withSeed("appends"), Effect.scoped),
  120_000
)
