import { assert } from "@effect/vitest"
import type * as EntityType from "@sluice/core/EntityType"
import type { Envelope } from "@sluice/core/Envelope"
import { Heartbeat, heartbeat } from "@sluice/core/HeartbeatStore"
import * as Journal from "@sluice/core/Journal"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import { ProjectionRegistry } from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Wait from "../../Wait.ts"
import { freshNameOf } from "../ids.ts"
import { append, eventsOf, fresh, newEvent, readAll, request, texts } from "../kit.ts"

/** @internal */
export const freshName = (): string => freshNameOf("projection")

/** @internal Tries again at once, until it succeeds. */
export const persistent = RecoveryStrategy.retryAndFail({ retries: Number.MAX_SAFE_INTEGER, delay: 0 })

/** @internal Runs the projection's workers while the effect runs. */
export const whileRunning =
  <E, R>(projection: Projection.Projection<E, R>) => <A, E2, R2>(effect: Effect.Effect<A, E2, R2>) =>
    Effect.scoped(Effect.andThen(Layer.build(Projection.layer(projection)), effect))

/** @internal Has offsets stored soon, for what waits for them to be. */
export const savedSoon = { saveWithin: "20 millis" } as const

/** @internal Has workers report soon on how they are doing, for what waits for a report of them. */
export const reportingSoon = Effect.provideService(Heartbeat, heartbeat({ interval: "200 millis" }))

/** @internal Waits until every event that is in the source now is processed, and the offsets say so, and the status of the workers that run here. */
export const caughtUp = (projection: string): Effect.Effect<void, unknown> =>
  Effect.andThen(
    Wait.until(
      `${projection} to catch up`,
      Effect.map(ProjectionStatus.lag(projection), (lag) => lag === 0)
    ),
    Wait.until(`the status of ${projection} to say so`, showStored(projection))
  )

/** Whether the workers that run here show the offsets that they have stored: they do a moment after the commit, which others may see before. */
const showStored = Effect.fnUntraced(function*(projection: string) {
  const registry = yield* ProjectionRegistry
  for (const worker of registry.workers(projection)) {
    if (worker.status.state !== "CatchingUp" && worker.status.state !== "Running") continue
    // where they cannot be read, the test says more of that
    const stored = yield* Effect.option(worker.stored)
    if (Option.isNone(stored)) continue
    const { offsets } = worker.status
    for (const [slice, { position }] of stored.value.offsets) {
      if (position > (offsets.get(slice)?.position ?? 0)) return false
    }
  }
  return true
})

/** @internal Waits until all workers of a projection are in a state. */
export const inState = (projection: string, state: ProjectionStatus.WorkerState): Effect.Effect<void, unknown> =>
  Wait.until(
    `all workers of ${projection} to be ${state}`,
    Effect.map(
      ProjectionStatus.status(projection),
      (workers) => workers.length > 0 && workers.every((worker) => worker.state === state)
    )
  )

/** @internal The only worker of a projection, once it has stopped. */
export const stopped = (projection: string): Effect.Effect<ProjectionStatus.WorkerStatus> =>
  Effect.gen(function*() {
    const find = Effect.map(
      ProjectionStatus.status(projection),
      (workers) => workers.filter(({ state }) => state === "Stopped")
    )
    yield* Wait.until(`a worker of ${projection} to stop`, Effect.map(find, (found) => found.length > 0))
    const found = yield* find
    assert.strictEqual(found.length, 1, "one worker stops alone")
    return found[0]!
  })

/** @internal */
export const errorOf = ({ failure }: ProjectionStatus.WorkerStatus): unknown =>
  failure === undefined ? undefined : failure.cause.reasons.find(Cause.isFailReason)?.error

/** @internal */
export const placeOf = ({ persistenceId, sequenceNumber }: Envelope<unknown>): string =>
  `${PersistenceId.entityId(persistenceId)} ${sequenceNumber}`

/**
 * @internal
 * What a handler did, kept in the journal itself, in an entity of the same id: any storage writes it in the transaction that
 * moves the offset.
 */
export const makeEffects = () => {
  const type = fresh("effect")
  return {
    type,
    record: (envelope: Envelope<string>) =>
      Effect.asVoid(
        append(type, PersistenceId.entityId(envelope.persistenceId), [`${envelope.sequenceNumber} ${envelope.event}`])
      ),
    /** Fails unless the events of each entity were recorded once and in order, and no others. */
    assertExact: (expected: ReadonlyMap<string, ReadonlyArray<string>>) =>
      Effect.gen(function*() {
        for (const [id, events] of expected) {
          assert.deepStrictEqual(
            yield* eventsOf(type, id),
            events.map((event, i) => `${i + 1} ${event}`),
            `events of '${id}' were handled once and in order`
          )
        }
        const all = yield* readAll(type)
        assert.strictEqual(all.length, [...expected.values()].flat().length)
      }),
    events: (id: string) => eventsOf(type, id),
    /** Undoes what was recorded of an entity. */
    forget: (id: string) => Journal.deleteEvents(type, id),
    /** What was recorded, in order, and not undone since. */
    remembered: (id: string) => Effect.map(Stream.runCollect(Journal.read(type, id)), Arr.map(({ event }) => event))
  }
}

/** @internal Appends to entities, and remembers what. */
export const makeWriter = (type: EntityType.EntityType<string>) => {
  const written = new Map<string, ReadonlyArray<string>>()
  return {
    written,
    write: (id: string, n: number) =>
      Effect.suspend(() => {
        const known = written.get(id) ?? []
        const events = texts(n, `${id}-${known.length}-`)
        written.set(id, [...known, ...events])
        return append(type, id, events)
      })
  }
}

/** @internal An event that no codec reads. */
export const appendUndecodable = (type: EntityType.EntityType<string>, id: string) =>
  Effect.flatMap(Journal.Journal, (journal) =>
    journal.append(request(type, id, [
      newEvent("", { payload: { manifest: "test/unknown", bytes: new Uint8Array([1, 2, 3]) } })
    ])))

/** @internal The range of a worker among others. */
export const rangeOf = (worker: number, workers: number): SliceRange.SliceRange => SliceRange.split(workers)[worker]!
