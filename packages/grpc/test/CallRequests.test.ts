import { assert, describe, it } from "@effect/vitest"
import { status } from "@grpc/grpc-js"
import * as EventFilter from "@sluice/core/EventFilter"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { CallFilter } from "../src/internal/server/CallFilter.ts"
import { readRequests } from "../src/internal/server/CallRequests.ts"
import { toCriteria } from "../src/internal/wire/criteria.ts"
import { type Request, requestBytes } from "./kit/RawClient.ts"

/** Counts the changes of a filter. */
class CountedFilter extends CallFilter {
  changes = 0
  override change(...[criteria]: Parameters<CallFilter["change"]>): ReturnType<CallFilter["change"]> {
    this.changes++
    return super.change(criteria)
  }
}

/** What a call says, all in one turn of the event loop. */
const read = (...requests: ReadonlyArray<Request>) => {
  const filter = new CountedFilter()
  const listening: Array<(bytes: Uint8Array) => void> = []
  const { changing, replays } = readRequests({ receive: (message) => void listening.push(message) }, filter)
  const say = (request: Request) => listening[0]!(requestBytes(request))
  requests.forEach(say)
  return { filter, changing, replays, say }
}

const init: Request = { case: "init", value: { streamId: "cart", sliceMin: 0, sliceMax: 1023 } }

const replayOf = (id: string): Request => ({
  case: "replay",
  value: { persistenceIdOffset: [{ persistenceId: `Cart|${id}`, seqNr: 3n }] }
})

const changed = (from: EventFilter.EventFilter, to: EventFilter.EventFilter): Request => ({
  case: "filter",
  value: { criteria: toCriteria(EventFilter.diff(from, to)) }
})

const passes = (filter: CallFilter, id: string): boolean =>
  filter.isSelected({ persistenceId: PersistenceId.make("Cart", id), tags: [] } as never, false)

/** How a call ends. */
const wrong = (request: Request) =>
  Effect.map(Effect.flip(read(init, request).changing), ({ code, details }) => [code, details])

describe("what a consumer asks for after its init", () => {
  it.effect("is one change of the filter for all that has come, however much", () =>
    Effect.gen(function*() {
      const requests: Array<Request> = [init]
      let filter = EventFilter.excludeAll
      requests.push(changed(EventFilter.passAll, filter))
      for (let i = 0; i < 200; i++) {
        const next = filter.pipe(EventFilter.includeEntityIds({ entityId: `e${i}`, from: i % 2 }))
        requests.push(changed(filter, next))
        filter = next
      }
      requests.push(replayOf("x"))
      const asked = read(...requests)
      assert.strictEqual(asked.filter.changes, 1, "that of the init")
      yield* Effect.forkScoped(asked.changing)
      const wanted = yield* Effect.forEach(Array.from({ length: 101 }), () => Queue.take(asked.replays))
      assert.strictEqual(asked.filter.changes, 2)
      assert.deepStrictEqual(
        wanted.slice(0, 100).map((replay) => "entityId" in replay ? `${replay.entityId} ${replay.from}` : "")
          .toSorted(),
        Array.from({ length: 100 }, (_, i) => `e${2 * i + 1} 1`).toSorted()
      )
      assert.deepStrictEqual(wanted[100]!, {
        persistenceId: PersistenceId.make("Cart", "x"),
        from: SequenceNumber.make(3)
      })
      assert.isTrue(passes(asked.filter, "e7"))
      assert.isFalse(passes(asked.filter, "other"))

      // what comes later is another change, and what is asked for again is not replayed again
      const known = { entityIdOffset: [{ entityId: "e1", seqNr: 1n }, { entityId: "e3", seqNr: 0n }] }
      asked.say({ case: "filter", value: { criteria: [{ message: { case: "includeEntityIds", value: known } }] } })
      const more = filter.pipe(EventFilter.includeEntityIds("other", { entityId: "e0", from: 5 }))
      asked.say(changed(filter, more))
      asked.say(replayOf("y"))
      const again = yield* Effect.all([Queue.take(asked.replays), Queue.take(asked.replays)])
      assert.deepStrictEqual(again, [{ entityId: "e0", from: 5 }, {
        persistenceId: PersistenceId.make("Cart", "y"),
        from: SequenceNumber.make(3)
      }])
      assert.strictEqual(asked.filter.changes, 3)
      assert.isTrue(passes(asked.filter, "other"))
    }).pipe(Effect.scoped))

  it.effect("ends the call where it is wrong, and says what", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* wrong({ case: "filter", value: { criteria: [{}] } }), [
        status.INVALID_ARGUMENT,
        "filter: a criterion that this producer does not know"
      ])
      const nobody = { persistenceIdOffset: [{ persistenceId: "x", seqNr: 1n }] }
      assert.deepStrictEqual(yield* wrong({ case: "replay", value: nobody }), [
        status.INVALID_ARGUMENT,
        "replay: \"x\" is no persistence id: 'entityType|entityId', neither of them empty"
      ])
      const many = Array.from({ length: 9_001 }, (_, i) => ({ persistenceId: `Cart|${i}`, seqNr: 1n }))
      assert.deepStrictEqual(yield* wrong({ case: "replay", value: { persistenceIdOffset: many } }), [
        status.RESOURCE_EXHAUSTED,
        "more than 9000 replays wait"
      ])
    }))
})
