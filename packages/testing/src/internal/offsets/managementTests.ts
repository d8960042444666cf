import { assert, describe } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import { encoded, type EncodedEnvelope } from "@sluice/core/Envelope"
import { Heartbeat } from "@sluice/core/HeartbeatStore"
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import { Fenced, type Handled, type OffsetKey, OffsetStore } from "@sluice/core/OffsetStore"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import type * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import type { Start } from "@sluice/core/Source"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import { Transaction } from "@sluice/core/Transaction"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { freshNameOf } from "../ids.ts"
import { retryBusy } from "../journal/transactionTests.ts"
import type { It } from "../kit.ts"
import {
  append,
  assertInvalid,
  assertWakes,
  eventsOf,
  fresh,
  number,
  readAll,
  revisionOf,
  texts,
  transactAs
} from "../kit.ts"

const freshKey = (): OffsetKey => ({ projection: freshNameOf("p"), source: "journal:cart" })

/** That of a projection that was started. */
const knownKey = Effect.tap(Effect.sync(freshKey), revisionOf)

const stored = (key: OffsetKey, range = SliceRange.full) => OffsetStore.use((store) => store.load(key, range))

const store = (
  key: OffsetKey,
  slice: number,
  from: Offset.Offset | undefined,
  to: Offset.Offset,
  entities?: ReadonlyMap<PersistenceId.PersistenceId, Handled>
) => transactAs(key, "j", [{ slice: Slice.make(slice), from, to, entities }], Effect.void)

const commandOf = (projection: string) => ProjectionManagement.ProjectionManagement.use((_) => _.command(projection))

const letter = (id: string, n: number, change?: Partial<EncodedEnvelope>): EncodedEnvelope => {
  const persistenceId = PersistenceId.make("cart", id)
  const place = {
    persistenceId,
    sequenceNumber: number(n),
    slice: Slice.ofPersistenceId(persistenceId),
    position: Position.make(n + 10),
    timestamp: Timestamp.make(n + 1_000_000)
  }
  return { ...encoded(place, { manifest: "text", bytes: Buffer.from(`${id} ${n}`) }), ...change }
}

const putAside = (key: OffsetKey, envelope: EncodedEnvelope, error = "no", fingerprint = "No at test.ts:1") =>
  ProjectionManagement.ProjectionManagement.use((management) =>
    management.putAside({ key, envelope, error, fingerprint })
  )

const failure = (error: string): ProjectionManagement.LetterFailure => ({ error, fingerprint: `${error} at test.ts:2` })

const shown = (letters: ReadonlyArray<ProjectionManagement.DeadLetter>) =>
  letters.map(({ envelope, error }) =>
    `${PersistenceId.entityId(envelope.persistenceId)} ${envelope.sequenceNumber} ${error}`
  )

const contents = (of: OffsetKey) =>
  Effect.map(
    ProjectionManagement.deadLetters(of),
    (letters) =>
      letters.map(({ envelope, error }) =>
        [envelope.sequenceNumber, envelope.payload === undefined, envelope.tags.length, error] as const
      )
  )

const deleted = (n: number) => [number(n), true, 0, ProjectionManagement.deletedError] as const
const kept = (n: number) => [number(n), false, 1, "no"] as const

/** To a time of no clock, in microseconds, which a person could not ask for. */
const rewindSince = (key: OffsetKey, since: number) =>
  ProjectionManagement.ProjectionManagement.use(({ rewind }) =>
    rewind(key, ProjectionManagement.startOf({ since: Timestamp.make(since) }), Effect.void)
  )

/** @internal */
export const managementTests = (it: It<Journal.Journal | Projection.Stores>): void => {
  describe("what a projection is told", () => {
    it.effect("is to pause, and to go on", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const { projection } = key
        assert.deepStrictEqual(yield* commandOf(projection), ProjectionManagement.noCommand)
        yield* revisionOf(key)
        assert.deepStrictEqual(yield* commandOf(projection), ProjectionManagement.noCommand)
        yield* ProjectionManagement.pause(projection)
        assert.deepStrictEqual(yield* commandOf(projection), {
          ...ProjectionManagement.noCommand,
          paused: true,
          revision: 1
        })
        assert.isTrue(yield* ProjectionManagement.isPaused(projection))
        assert.isFalse(yield* ProjectionManagement.isPaused(freshKey().projection))
        yield* ProjectionManagement.resume(projection)
        yield* ProjectionManagement.resume(projection)
        assert.deepStrictEqual(yield* commandOf(projection), { ...ProjectionManagement.noCommand, revision: 3 })
      }))

    it.effect("is how many workers to have by its lag, unless it was told something else meanwhile", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const { projection } = key
        const issue = { by: "automatic", reason: "5 events behind", target: "4 workers" }
        const setAt = (workers: number, revision: number) =>
          ProjectionManagement.ProjectionManagement.use((_) => _.setWorkersAt(projection, workers, revision, issue))
        assert.isFalse(yield* setAt(4, 0))
        yield* revisionOf(key)
        // of two that find a number at the same time, one has its way
        assert.sameMembers(yield* Effect.all([setAt(4, 0), setAt(4, 0)], { concurrency: "unbounded" }), [true, false])
        const command = {
          ...ProjectionManagement.noCommand,
          revision: 1,
          workers: 4,
          automatic: true,
          notForWorkers: 1
        }
        assert.deepStrictEqual(yield* commandOf(projection), command)
        assert.deepInclude((yield* ProjectionManagement.history(projection))[0], { command: "Scale", ...issue })
        yield* ProjectionManagement.pause(projection)
        assert.isFalse(yield* setAt(8, 1))
        assert.isTrue(yield* setAt(8, 2))
        yield* ProjectionManagement.scale(projection, 2)
        assert.deepStrictEqual(yield* commandOf(projection), {
          ...ProjectionManagement.noCommand,
          paused: true,
          revision: 4,
          workers: 2,
          notForWorkers: 3
        })
        assert.isFalse(yield* setAt(8, 3))
      }))

    it.effect("is how many workers to have, which tells workers nothing else", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const { projection } = key
        assert.instanceOf(
          yield* Effect.flip(ProjectionManagement.scale(projection, 4)),
          ProjectionManagement.UnknownProjection
        )
        yield* revisionOf(key)
        for (const workers of [0, 1025, 1.5, -1, NaN, "4" as any]) {
          assertInvalid(yield* Effect.flip(ProjectionManagement.scale(projection, workers)))
        }
        assert.strictEqual(yield* ProjectionManagement.scaledTo(projection), "asInCode")
        yield* ProjectionManagement.scale(key, 1024, { by: "ada", reason: "the sale begins" })
        yield* ProjectionManagement.pause(projection)
        yield* ProjectionManagement.scale(projection, 1)
        assert.strictEqual(yield* ProjectionManagement.scaledTo(key), 1)
        assert.deepStrictEqual(yield* commandOf(projection), {
          ...ProjectionManagement.noCommand,
          paused: true,
          revision: 3,
          workers: 1,
          notForWorkers: 2
        })
        yield* ProjectionManagement.scale(projection, "asInCode")
        const command = { ...ProjectionManagement.noCommand, paused: true, revision: 4, notForWorkers: 3 }
        assert.deepStrictEqual(yield* commandOf(projection), command)
        const commands = yield* ProjectionManagement.ProjectionManagement.use((_) => _.commands([projection]))
        assert.deepStrictEqual([...commands], [[projection, command]])
        const history = yield* ProjectionManagement.history(projection)
        assert.deepStrictEqual(history.map(({ command, source, target }) => [command, target, source]), [
          ["Scale", "as in code", undefined],
          ["Scale", "1 worker", undefined],
          ["Pause", undefined, undefined],
          ["Scale", "1024 workers", undefined]
        ])
        assert.deepInclude(history.at(-1), { by: "ada", reason: "the sale begins" })
      }))

    it.effect("is kept, with who has said so and why, newest first", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const { projection } = key
        const unknown = yield* Effect.flip(ProjectionManagement.history(projection))
        assert.instanceOf(unknown, ProjectionManagement.UnknownProjection)
        yield* revisionOf(key)
        assert.deepStrictEqual(yield* ProjectionManagement.history(projection), [])
        yield* ProjectionManagement.pause(projection, { by: "ada", reason: "it is late é😀" })
        yield* ProjectionManagement.resume(projection)
        const since = Timestamp.make(1_767_323_045_000_000)
        yield* ProjectionManagement.rewind(key, { since }, { by: "bob" })
        yield* ProjectionManagement.rewind(key, "beginning", { by: "bob" })
        const offsets = new Map([[Slice.make(3), Offset.make(7, 1)], [Slice.make(4), Offset.make(5, 1)]])
        yield* ProjectionManagement.rewind(key, { journal: "j", offsets }, { by: "bob" })
        yield* ProjectionManagement.clear(key, { by: "cleo", reason: "no more" })
        const commands = yield* ProjectionManagement.history(projection)
        const { name } = yield* Heartbeat
        assert.deepStrictEqual(
          commands.map(({ at, ...command }) => ({ ...command, at: at > 0 })),
          [
            { command: "Clear", target: undefined, by: "cleo", reason: "no more", revision: 6 },
            { command: "Rewind", target: "12 positions in", by: "bob", reason: "", revision: 5 },
            { command: "Rewind", target: "beginning", by: "bob", reason: "", revision: 4 },
            { command: "Rewind", target: "since 2026-01-02T03:04:05.000Z", by: "bob", reason: "", revision: 3 },
            { command: "Resume", target: undefined, by: name, reason: "", revision: 2 },
            { command: "Pause", target: undefined, by: "ada", reason: "it is late é😀", revision: 1 }
          ].map((command) => ({
            ...command,
            projection,
            source: command.revision > 2 ? key.source : undefined,
            at: true
          })) as any
        )
        assert.isTrue(commands.every(({ at }, i) => i === 0 || at <= commands[i - 1]!.at))
        const page = yield* ProjectionManagement.history(key, { before: 4, limit: 2 })
        assert.deepStrictEqual(page.map(({ revision }) => revision), [3, 2])
        assert.deepStrictEqual(
          yield* ProjectionManagement.history(key, { before: 1 }),
          [],
          "it was cleared, and is still known"
        )
      }))

    it.effect("is not kept if it was refused, or is undone", () =>
      Effect.gen(function*() {
        const key = freshKey()
        yield* Effect.flip(ProjectionManagement.pause(key, { by: "ada" }))
        yield* revisionOf(key)
        for (const options of [{ by: "" }, { by: "a".repeat(256) }, { by: "\0" }, { reason: "r".repeat(2_001) }]) {
          const invalid = yield* Effect.flip(ProjectionManagement.pause(key, options))
          assertInvalid(invalid)
          assert.match(invalid.message, /^Invalid `(by|reason)`: it (is|contains) /)
          assertInvalid(yield* Effect.flip(ProjectionManagement.rewind(key, "beginning", options)))
          assertInvalid(yield* Effect.flip(ProjectionManagement.clear(key, options)))
        }
        assertInvalid(yield* Effect.flip(ProjectionManagement.history(key, { limit: 1.5 })))
        const since = Timestamp.make(7_258_118_400_000_000)
        yield* Effect.flip(ProjectionManagement.rewind(key, { since }))
        const management = yield* ProjectionManagement.ProjectionManagement
        const start: Start = { journal: undefined, offsets: Offset.none }
        yield* Effect.flip(management.rewind(key, start, Effect.fail("no")))
        assert.deepStrictEqual(yield* ProjectionManagement.history(key), [])
        assert.deepStrictEqual(yield* commandOf(key.projection), ProjectionManagement.noCommand)
        // whoever does not say anything
        yield* management.setPaused(key.projection, true)
        const [command] = yield* ProjectionManagement.history(key)
        assert.deepInclude(command, { command: "Pause", by: "", reason: "" })
      }))

    it.effect("is kept of the newest thousand commands", () =>
      Effect.gen(function*() {
        const key = freshKey()
        yield* revisionOf(key)
        const { keptCommands } = ProjectionManagement
        for (let i = 0; i < keptCommands / 2 + 3; i++) {
          yield* ProjectionManagement.pause(key)
          yield* ProjectionManagement.resume(key)
        }
        const all = yield* ProjectionManagement.history(key, { limit: 2 * keptCommands })
        assert.strictEqual(all.length, keptCommands)
        assert.deepStrictEqual([all[0]!.revision, all.at(-1)!.revision], [keptCommands + 6, 7])
      }))

    it.effect("goes by the name, or by a row that has it", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const { projection } = key
        yield* revisionOf(key)
        for (const ref of [projection, { projection }, key, { ...key, state: "Running" }]) {
          yield* ProjectionManagement.pause(ref)
          assert.isTrue(yield* ProjectionManagement.isPaused(ref))
          yield* ProjectionManagement.resume(ref)
          assert.isFalse(yield* ProjectionManagement.isPaused(ref))
          const before = yield* commandOf(projection)
          yield* ProjectionManagement.rewind(ref, "beginning")
          assert.deepStrictEqual(yield* commandOf(projection), { ...before, revision: before.revision + 1 })
          yield* putAside(key, letter("a", 1))
          const [put] = yield* ProjectionManagement.deadLetters(ref)
          assert.deepStrictEqual(yield* ProjectionManagement.deadLetters(ref, { after: put! }), [])
          assert.isDefined(yield* ProjectionManagement.discard(ref, put!))
          yield* putAside(key, letter("a", 1))
          const { persistenceId, sequenceNumber } = put!.envelope
          const row = JSON.parse(JSON.stringify({ persistenceId, sequenceNumber, error: "no" }))
          assert.isDefined(yield* ProjectionManagement.discard(ref, row))
          assert.deepStrictEqual(yield* ProjectionManagement.deadLetters(ref), [])
          yield* ProjectionManagement.clear(ref)
          yield* revisionOf(key)
        }
        assertInvalid(
          yield* Effect.flip(ProjectionManagement.discard(key, { persistenceId: "note|a", sequenceNumber: -1 }))
        )
        assertInvalid(
          yield* Effect.flip(ProjectionManagement.discard(key, { persistenceId: "note|\0", sequenceNumber: 1 }))
        )
      }))

    it.effect("is not guessed from a name that stands for several", () =>
      Effect.gen(function*() {
        const one = freshKey()
        const two = { ...one, source: "two" }
        const { projection } = one
        for (const key of [one, two]) yield* revisionOf(key)
        const refused: ReadonlyArray<Effect.Effect<unknown, unknown, ProjectionManagement.ProjectionManagement>> = [
          ProjectionManagement.rewind(projection, "beginning"),
          ProjectionManagement.clear({ projection }),
          ProjectionManagement.deadLetters(projection),
          ProjectionManagement.discard(projection, letter("a", 1))
        ]
        for (const effect of refused) {
          const error = yield* Effect.flip(effect)
          assert.instanceOf(error, ProjectionManagement.AmbiguousProjection)
          assert.sameMembers([...error.sources], [one.source, two.source])
        }
        yield* ProjectionManagement.rewind(two, "beginning")
        // that concerns all of them
        yield* ProjectionManagement.pause(projection)
        assert.isTrue(yield* ProjectionManagement.isPaused(two))
      }))

    it.effect("wakes who waits for it", () =>
      Effect.gen(function*() {
        const key = freshKey()
        yield* revisionOf(key)
        const management = yield* ProjectionManagement.ProjectionManagement
        const changed = yield* management.changes(key.projection)
        yield* assertWakes<unknown, ProjectionManagement.ProjectionManagement>(changed, [
          ProjectionManagement.pause(key.projection),
          ProjectionManagement.resume(key.projection),
          ProjectionManagement.rewind(key, "beginning"),
          ProjectionManagement.clear(key)
        ])
      }))

    it.effect("is refused where there is no such projection, or not in that source, and leaves no trace", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const known = { ...freshKey(), source: "other" }
        yield* revisionOf(known)
        const { rewind } = yield* ProjectionManagement.ProjectionManagement
        let undone = 0
        const refused: ReadonlyArray<
          Effect.Effect<unknown, unknown, ProjectionManagement.ProjectionManagement>
        > = [
          ProjectionManagement.pause(key.projection),
          ProjectionManagement.resume(key.projection),
          ProjectionManagement.rewind(key, "beginning"),
          ProjectionManagement.clear(key),
          rewind(key, { journal: undefined, offsets: Offset.none }, Effect.sync(() => undone++)),
          ProjectionManagement.rewind({ ...known, source: key.source }, "beginning"),
          ProjectionManagement.clear({ ...known, source: key.source })
        ]
        for (const effect of refused) {
          const error = yield* Effect.flip(effect)
          assert.instanceOf(error, ProjectionManagement.UnknownProjection)
          assert.include(error.message, error.projection)
        }
        assert.strictEqual(undone, 0)
        assert.strictEqual((yield* stored(key)).revision, undefined)
        assert.deepStrictEqual(yield* commandOf(key.projection), ProjectionManagement.noCommand)
        const listed = yield* ProjectionManagement.list
        assert.notDeepInclude(listed, key)
        assert.deepInclude(listed, known)
      }))
  })

  describe("a projection that is registered", () => {
    it.effect("is known from then on, with nothing read, however often and by how many at once", () =>
      Effect.gen(function*() {
        const key = freshKey()
        assert.strictEqual((yield* stored(key)).revision, undefined)
        const { register } = yield* ProjectionManagement.ProjectionManagement
        yield* Effect.all(Array.from({ length: 4 }, () => retryBusy(register(key))), { concurrency: "unbounded" })
        const { completeUpTo, journal, offsets, revision } = yield* stored(key)
        assert.deepStrictEqual([journal, offsets.size, completeUpTo.size, revision], [undefined, 0, 0, 0])
        yield* store(key, 7, undefined, Offset.make(5, 50))
        // a command since then fences nobody who is at work
        yield* ProjectionManagement.pause(key.projection)
        yield* register(key)
        const after = yield* stored(key)
        assert.deepStrictEqual(after.offsets, new Map([[Slice.make(7), Offset.make(5, 50)]]))
        assert.strictEqual(after.revision, 0)
        assert.deepInclude(yield* ProjectionManagement.list, key)
      }))
  })

  describe("a projection that is rewound", () => {
    const entities = new Map([[PersistenceId.make("cart", "a"), {
      first: SequenceNumber.make(3),
      last: SequenceNumber.make(3)
    }]])

    it.effect("goes on at the beginning, at a time, or after offsets, and nowhere else", () =>
      Effect.gen(function*() {
        const key = freshKey()
        yield* store(key, 7, undefined, Offset.make(5, 50), entities)
        yield* ProjectionManagement.rewind(key, "beginning")
        const beginning = yield* stored(key)
        assert.isUndefined(beginning.journal)
        assert.strictEqual(beginning.offsets.size, 0)
        // nothing is left out of what begins again
        assert.strictEqual(beginning.completeUpTo.size, 0)
        const numbers = yield* OffsetStore.use((store) => store.sequenceNumbers(key, [...entities.keys()]))
        assert.strictEqual(numbers.size, 0)

        yield* rewindSince(key, 77)
        const since = yield* stored(key)
        assert.strictEqual(since.offsets.size, Slice.count)
        for (const offset of since.offsets.values()) assert.deepStrictEqual(offset, Offset.make(0, 77))

        const offsets = new Map([[Slice.make(3), Offset.make(2, 20)]])
        yield* ProjectionManagement.rewind(key, { journal: "other", offsets })
        const after = yield* stored(key)
        assert.strictEqual(after.journal, "other")
        assert.deepStrictEqual(after.offsets, offsets)
        assert.strictEqual((yield* commandOf(key.projection)).revision, 3)
        assert.strictEqual(after.revision, 3)
      }))

    it.effect("cannot go on at a time that is yet to come", () =>
      Effect.gen(function*() {
        const key = freshKey()
        yield* store(key, 7, undefined, Offset.make(5, 50))
        const now = yield* Journal.Journal.use((journal) => journal.now)
        const since = Timestamp.make(now + 3_600_000_000)
        const error = yield* Effect.flip(ProjectionManagement.rewind(key, { since }))
        assert.instanceOf(error, ProjectionManagement.SinceInFuture)
        assert.strictEqual(error.since, since)
        assert.deepStrictEqual((yield* stored(key)).offsets, new Map([[Slice.make(7), Offset.make(5, 50)]]))
        yield* ProjectionManagement.rewind(key, { since: Timestamp.make(now - 1_000_000) })
      }))

    it.effect("goes on at a time that its events have, although it is yet to come, as a clock was set back", () =>
      Effect.gen(function*() {
        const now = yield* Journal.Journal.use((journal) => journal.now)
        const later = (minutes: number) => Timestamp.make(now + minutes * 60_000_000)
        const { rewind } = yield* ProjectionManagement.ProjectionManagement
        // of another service
        const key = { ...freshKey(), source: "stream:elsewhere" }
        yield* store(key, 7, undefined, Offset.make(5, later(60)))
        yield* Effect.flip(ProjectionManagement.rewind(key, { since: later(61) }))
        yield* ProjectionManagement.rewind(key, { since: later(60) })
        yield* ProjectionManagement.rewind(key, "beginning")
        const start = { journal: undefined, offsets: Offset.since(later(50)) }
        assert.instanceOf(yield* Effect.flip(rewind(key, start, Effect.void)), ProjectionManagement.SinceInFuture)
        yield* rewind(key, start, Effect.void, later(50))
        assert.deepStrictEqual((yield* stored(key)).offsets.get(Slice.make(8)), Offset.make(0, later(50)))
      }))

    it.effect("fences the workers that were elsewhere, also where they had not begun", () =>
      Effect.gen(function*() {
        const key = freshKey()
        yield* store(key, 7, undefined, Offset.make(5, 50))
        yield* rewindSince(key, 20)
        assert.instanceOf(yield* Effect.flip(store(key, 7, Offset.make(5, 50), Offset.make(6, 60))), Fenced)
        assert.instanceOf(yield* Effect.flip(store(key, 8, undefined, Offset.make(1, 10))), Fenced)
        yield* store(key, 8, Offset.make(0, 20), Offset.make(2, 30))
        const { journal, offsets } = yield* stored(key)
        assert.strictEqual(journal, "j")
        assert.deepStrictEqual(offsets.get(Slice.make(8)), Offset.make(2, 30))
      }))

    const tellings = [
      ["rewound", (key: OffsetKey, start: Start) => ProjectionManagement.rewind(key, start)],
      ["cleared", (key: OffsetKey) => ProjectionManagement.clear(key)],
      [
        "cleared, and started again",
        (key: OffsetKey) => Effect.andThen(ProjectionManagement.clear(key), revisionOf(key))
      ]
    ] as const
    for (const [what, tell] of tellings) {
      it.effect(`fences who has begun before, although it is exactly there: ${what}`, () =>
        Effect.gen(function*() {
          const key = freshKey()
          yield* store(key, 7, undefined, Offset.make(5, 50))
          const { journal, offsets, revision } = yield* stored(key)
          const basis = { journal: "j", revision: revision! }
          yield* tell(key, { journal, offsets })
          const offsetStore = yield* OffsetStore
          let runs = 0
          const moves = [
            [{ slice: Slice.make(7), from: Offset.make(5, 50), to: Offset.make(6, 60) }],
            // of which nothing was read
            [{ slice: Slice.make(9), from: undefined, to: Offset.make(1, 10) }],
            []
          ]
          for (const some of moves) {
            const error = yield* Effect.flip(offsetStore.transact(key, basis, some, Effect.sync(() => runs++)))
            assert.instanceOf(error, Fenced)
            assert.strictEqual(error.by, "command")
            assert.include(error.message, key.projection)
          }
          assert.strictEqual(runs, 0)
          const after = (yield* stored(key)).offsets
          assert.deepStrictEqual(after, what === "rewound" ? offsets : new Map())
        }))
    }

    it.effect("waits for who handles, keeps out who would, and undoes in between", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const type = fresh("undo")
        yield* store(key, 7, undefined, Offset.make(5, 50))
        const revision = yield* revisionOf(key)
        const offsetStore = yield* OffsetStore
        const { rewind } = yield* ProjectionManagement.ProjectionManagement
        const handle = <R>(slice: number, position: number, effect: Effect.Effect<unknown, unknown, R>) =>
          offsetStore.transact(
            key,
            { journal: "j", revision },
            [{
              slice: Slice.make(slice),
              from: position === 6 ? Offset.make(5, 50) : undefined,
              to: Offset.make(position, 60)
            }],
            effect
          )
        // without the transaction of the rewind
        const outside = yield* Effect.context<Journal.Journal>()
        const handling = yield* Deferred.make<void>()
        const goOn = yield* Deferred.make<void>()
        const first = yield* Effect.forkChild(
          handle(
            7,
            6,
            Effect.andThen(Deferred.succeed(handling, undefined), Deferred.await(goOn)).pipe(
              Effect.andThen(append(type, "a", ["handled"]))
            )
          )
        )
        yield* Deferred.await(handling)
        let late: Fiber.Fiber<unknown, unknown> | undefined
        const rewinding = yield* Effect.forkChild(rewind(
          key,
          { journal: undefined, offsets: Offset.none },
          Effect.gen(function*() {
            const before = yield* eventsOf(type, "a")
            yield* append(type, "a", [`undone ${before.length}`])
            // has to wait until the rewind is done, and is fenced then
            late = yield* Effect.forkDetach(
              Effect.updateContext<unknown, unknown, Journal.Journal, never>(
                handle(8, 1, append(type, "a", ["never"])),
                () => outside
              )
            )
          })
        ))
        yield* Deferred.succeed(goOn, undefined)
        yield* Fiber.join(first)
        yield* Fiber.join(rewinding)
        assert.instanceOf(yield* Effect.flip(Fiber.join(late!)), Fenced)
        assert.deepStrictEqual(yield* eventsOf(type, "a"), ["handled", "undone 1"])
        assert.strictEqual((yield* stored(key)).offsets.size, 0)
      }))

    it.effect("stays where it was when the undo fails, and gives it a transaction to write in", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const type = fresh("undo")
        yield* store(key, 7, undefined, Offset.make(5, 50))
        yield* putAside(key, letter("a", 1))
        const before = yield* stored(key)
        const { rewind } = yield* ProjectionManagement.ProjectionManagement
        const start = { journal: undefined, offsets: Offset.none }
        const error = yield* Effect.flip(
          rewind(key, start, Effect.andThen(append(type, "a", ["never"]), Effect.fail("no" as const)))
        )
        assert.strictEqual(error, "no")
        assert.deepStrictEqual(yield* stored(key), before)
        assert.strictEqual((yield* ProjectionManagement.deadLetters(key)).length, 1)
        assert.deepStrictEqual(yield* eventsOf(type, "a"), [])
        let dialect: string | undefined
        yield* rewind(key, start, Effect.map(Transaction, (transaction) => dialect = transaction.dialect))
        assert.isString(dialect)
      }))

    it.effect("throws the letters of events away that come again, and no others", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const other = { ...key, source: "other" }
        yield* revisionOf(other)
        yield* revisionOf(key)
        for (const each of [key, other]) for (const n of [1, 2, 3]) yield* putAside(each, letter("a", n))
        yield* putAside(key, letter("b", 1))
        const { slice } = letter("a", 1)
        const left = Effect.map(ProjectionManagement.deadLetters(key), shown)
        // after the second, whose position is 12
        yield* ProjectionManagement.rewind(key, {
          journal: undefined,
          offsets: new Map([[slice, Offset.make(12, 1_000_002)], [letter("b", 1).slice, Offset.make(100, 100)]])
        })
        assert.deepStrictEqual(yield* left, ["a 1 no", "a 2 no", "b 1 no"])
        yield* rewindSince(key, 1_000_002)
        assert.deepStrictEqual(yield* left, ["a 1 no", "b 1 no"])
        yield* ProjectionManagement.rewind(key, "beginning")
        assert.deepStrictEqual(yield* left, [])
        assert.strictEqual((yield* ProjectionManagement.deadLetters(other)).length, 3)
      }))

    it.effect("goes by the time of letters without a position", () =>
      Effect.gen(function*() {
        const key = freshKey()
        yield* revisionOf(key)
        for (const n of [1, 2, 3]) yield* putAside(key, letter("a", n, { position: undefined }))
        const left = Effect.map(ProjectionManagement.deadLetters(key), shown)
        yield* rewindSince(key, 1_000_004)
        assert.deepStrictEqual(yield* left, ["a 1 no", "a 2 no", "a 3 no"])
        yield* rewindSince(key, 1_000_002)
        assert.deepStrictEqual(yield* left, ["a 1 no"])
        yield* ProjectionManagement.rewind(key, "beginning")
        assert.deepStrictEqual(yield* left, [])
      }))

    it.effect("leaves others alone", () =>
      Effect.gen(function*() {
        const [one, two] = [freshKey(), freshKey()]
        const other = { ...one, source: "other" }
        for (const key of [one, two, other]) yield* store(key, 7, undefined, Offset.make(5, 50))
        yield* ProjectionManagement.rewind(one, "beginning")
        for (const key of [two, other]) {
          assert.deepStrictEqual((yield* stored(key)).offsets, new Map([[Slice.make(7), Offset.make(5, 50)]]))
        }
      }))

    it.effect("is rewound with the transaction, or not", () =>
      Effect.gen(function*() {
        const key = freshKey()
        yield* store(key, 7, undefined, Offset.make(5, 50))
        yield* Effect.ignore(
          Journal.transaction(Effect.andThen(ProjectionManagement.rewind(key, "beginning"), Effect.fail("no")))
        )
        assert.deepStrictEqual((yield* stored(key)).offsets, new Map([[Slice.make(7), Offset.make(5, 50)]]))
        assert.strictEqual((yield* commandOf(key.projection)).revision, 0)
      }))
  })

  describe("a projection that is cleared", () => {
    it.effect("is forgotten, and no other", () =>
      Effect.gen(function*() {
        const [one, two] = [freshKey(), freshKey()]
        const entities = new Map([[PersistenceId.make("cart", "a"), {
          first: SequenceNumber.make(3),
          last: SequenceNumber.make(3)
        }]])
        for (const key of [one, two]) {
          yield* store(key, 7, undefined, Offset.make(5, 50), entities)
          yield* putAside(key, letter("a", 1))
        }
        const listed = yield* ProjectionManagement.list
        assert.includeDeepMembers([...listed], [one, two])
        yield* ProjectionManagement.clear(one)
        assert.strictEqual((yield* stored(one)).offsets.size, 0)
        assert.strictEqual((yield* stored(one)).revision, undefined)
        assert.deepStrictEqual(yield* ProjectionManagement.deadLetters(one), [])
        assert.strictEqual((yield* OffsetStore.use((_) => _.sequenceNumbers(one, [...entities.keys()]))).size, 0)
        assert.strictEqual((yield* stored(two)).offsets.size, 1)
        assert.strictEqual((yield* ProjectionManagement.deadLetters(two)).length, 1)
        assert.strictEqual((yield* OffsetStore.use((_) => _.sequenceNumbers(two, [...entities.keys()]))).size, 1)
        const left = yield* ProjectionManagement.list
        assert.notDeepInclude(left, one)
        assert.deepInclude(left, two)
      }))
  })

  describe("dead letters", () => {
    it.effect("come back as they were put aside", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const before = yield* Journal.Journal.use((journal) => journal.now)
        const full = letter("a", 1, { tags: ["x", "ü\""], metadata: { "😀": "'" } })
        const bare = letter("b", 2, { position: undefined, payload: undefined })
        yield* putAside(key, full, "naïve 🙂 \0 '\"\\ \r\n")
        yield* putAside(key, bare)
        const [first, second] = yield* ProjectionManagement.deadLetters(key)
        const { payload, ...place } = first!.envelope
        const { payload: expected, ...expectedPlace } = full
        assert.deepStrictEqual(place, expectedPlace)
        assert.strictEqual(payload!.manifest, expected!.manifest)
        assert.deepStrictEqual([...payload!.bytes], [...expected!.bytes])
        assert.include(first!.error, "naïve 🙂")
        assert.deepStrictEqual(second!.envelope, bare)
        assert.isAtLeast(first!.at, before - 1_000_000)
      }))

    it.effect("are listed in order, a page at a time", () =>
      Effect.gen(function*() {
        const key = freshKey()
        for (const [id, n] of [["b", 2], ["a", 10], ["b", 1], ["a", 9], ["c", 1]] as const) {
          yield* putAside(key, letter(id, n))
        }
        assert.deepStrictEqual(
          shown(yield* ProjectionManagement.deadLetters(key)),
          ["a 9 no", "a 10 no", "b 1 no", "b 2 no", "c 1 no"]
        )
        const first = yield* ProjectionManagement.deadLetters(key, { limit: 2 })
        assert.deepStrictEqual(shown(first), ["a 9 no", "a 10 no"])
        const rest = yield* ProjectionManagement.deadLetters(key, { after: first[1]!.envelope })
        assert.deepStrictEqual(shown(rest), ["b 1 no", "b 2 no", "c 1 no"])
        assert.deepStrictEqual(yield* ProjectionManagement.deadLetters(freshKey()), [])
      }))

    it.effect("are listed up to a number of them, and not to what is none", () =>
      Effect.gen(function*() {
        const key = freshKey()
        yield* putAside(key, letter("a", 1))
        assert.deepStrictEqual(yield* ProjectionManagement.deadLetters(key, { limit: 0 }), [])
        for (const limit of [-1, 1.5, NaN, Infinity, 2 ** 53]) {
          const error = yield* Effect.flip(ProjectionManagement.deadLetters(key, { limit }))
          assertInvalid(error)
          assert.strictEqual(error.message, `Invalid \`limit\`: "${limit}" is no safe integer from 0`)
        }
      }))

    it.effect("take the place of one of the same event, and can be thrown away", () =>
      Effect.gen(function*() {
        const key = yield* knownKey
        yield* putAside(key, letter("a", 1), "first")
        yield* putAside(key, letter("a", 1), "again")
        yield* putAside(key, letter("a", 2))
        assert.deepStrictEqual(shown(yield* ProjectionManagement.deadLetters(key)), ["a 1 again", "a 2 no"])
        const thrownAway = yield* ProjectionManagement.discard(key, letter("a", 1))
        assert.deepStrictEqual(shown([thrownAway!]), ["a 1 again"])
        for (const id of [letter("a", 1), letter("b", 1)]) {
          assert.isUndefined(yield* ProjectionManagement.discard(key, id))
        }
        assert.deepStrictEqual(shown(yield* ProjectionManagement.deadLetters(key)), ["a 2 no"])
      }))

    it.effect("are claimed by one, until it gives them back", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const { claim, release } = yield* ProjectionManagement.ProjectionManagement
        for (const n of [1, 2]) yield* putAside(key, letter("a", n))
        const claims = yield* Effect.all(Array.from({ length: 6 }, () => retryBusy(claim(key, letter("a", 1)))), {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual(shown(claims.filter((claim) => claim !== undefined)), ["a 1 no"])
        assert.isUndefined(yield* claim(key, letter("b", 1)))
        const second = yield* claim(key, letter("a", 2))
        yield* release(key, letter("a", 1), claims.find((claim) => claim !== undefined)!.claimedAt, failure("again \0"))
        yield* release(key, letter("a", 2), second!.claimedAt, undefined)
        yield* release(key, letter("b", 1), second!.claimedAt, failure("no such letter"))
        assert.deepStrictEqual(
          (yield* ProjectionManagement.deadLetters(key)).map(({ error }) => error.slice(0, 5)),
          ["again", "no"]
        )
        assert.isDefined(yield* claim(key, letter("a", 1)))
        // put aside again, it is nobody's
        yield* putAside(key, letter("a", 1))
        assert.isDefined(yield* claim(key, letter("a", 1)))
      }))

    it.effect("are claimed for no longer than is said", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const { claim, discard, renew } = yield* ProjectionManagement.ProjectionManagement
        yield* putAside(key, letter("a", 1))
        const short = (yield* claim(key, letter("a", 1), 0))!
        const next = (yield* claim(key, letter("a", 1), 0))!
        assert.deepStrictEqual([short.wasAbandoned, next.wasAbandoned], [false, true])
        assert.isAbove(next.claimedAt, short.claimedAt)
        assert.isUndefined(yield* discard(key, letter("a", 1), short.claimedAt))
        // whoever has it may keep it for longer
        const renewed = yield* renew(key, letter("a", 1), next.claimedAt, ProjectionManagement.claimTime)
        assert.isUndefined(yield* claim(key, letter("a", 1), 0))
        assert.isDefined(yield* discard(key, letter("a", 1), renewed))
      }))

    it.effect("are left alone by those who have lost their claim", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const management = yield* ProjectionManagement.ProjectionManagement
        const [claim, discard, release, renew] = [
          management.claim(key, letter("a", 1)),
          (claimedAt: Timestamp.Timestamp) => management.discard(key, letter("a", 1), claimedAt),
          (claimedAt?: Timestamp.Timestamp) => management.release(key, letter("a", 1), claimedAt, failure("late")),
          (claimedAt: Timestamp.Timestamp) => management.renew(key, letter("a", 1), claimedAt)
        ]
        yield* putAside(key, letter("a", 1))
        const lost = (yield* claim)!.claimedAt
        yield* putAside(key, letter("a", 1))
        const first = (yield* claim)!.claimedAt
        const held = (yield* renew(first))!
        for (const stale of [lost, first]) {
          assert.isUndefined(yield* renew(stale))
          assert.isUndefined(yield* discard(stale))
          yield* release(stale)
        }
        // nor is it given back by who has claimed nothing
        yield* release()
        assert.isUndefined(yield* claim)
        assert.deepStrictEqual(shown(yield* ProjectionManagement.deadLetters(key)), ["a 1 no"])
        assert.deepStrictEqual(shown([(yield* discard(held))!]), ["a 1 no"])
        assert.isUndefined(yield* renew(held))
        assert.deepStrictEqual(yield* ProjectionManagement.deadLetters(key), [])
      }))

    it.effect("are listed without their content as well", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const { listLetters } = yield* ProjectionManagement.ProjectionManagement
        yield* putAside(key, letter("b", 1))
        yield* putAside(key, letter("a", 2, { payload: undefined }))
        yield* putAside(key, letter("a", 1))
        yield* Effect.flatMap(ProjectionManagement.ProjectionManagement, (_) =>
          _.queue(key, [letter("a", 2), letter("a", 3)]))
        const listed = yield* listLetters(key, undefined, 3)
        const { persistenceId } = letter("a", 1)
        const failed = { isDeleted: false, isQueued: false, fingerprint: "No at test.ts:1" }
        assert.deepStrictEqual(listed, [
          { persistenceId, sequenceNumber: number(1), ...failed },
          { persistenceId, sequenceNumber: number(2), ...failed },
          { persistenceId, sequenceNumber: number(3), isDeleted: false, isQueued: true, fingerprint: "" }
        ])
        const rest = yield* listLetters(key, listed[2], 2)
        assert.deepStrictEqual(
          rest.map(({ sequenceNumber }) =>
            sequenceNumber
          ),
          [number(1)]
        )
      }))

    it.effect("lose their content with the event that is deleted, or pruned, and those of others do not", () =>
      Effect.gen(function*() {
        const type = fresh("cart")
        const key = { ...freshKey(), source: Source.journal(type).provider.key }
        const elsewhere = { ...key, source: `stream:${type.name}` }
        const aside = (id: string, n: number): EncodedEnvelope => {
          const persistenceId = EntityType.persistenceId(type, id)
          return letter(id, n, { persistenceId, slice: Slice.ofPersistenceId(persistenceId), tags: ["x"] })
        }
        yield* append(type, "a", texts(3))
        yield* append(type, "b", texts(3))
        for (const each of [key, elsewhere]) {
          for (const [id, n] of [["a", 1], ["a", 2], ["a", 3], ["b", 1]] as const) yield* putAside(each, aside(id, n))
        }
        yield* Effect.ignore(
          Journal.transaction(Effect.andThen(Journal.deleteEvents(type, "a"), Effect.fail("rolled back")))
        )
        assert.deepStrictEqual(yield* contents(key), [kept(1), kept(2), kept(3), kept(1)])
        yield* Journal.deleteEvents(type, "a", { to: number(2) })
        assert.deepStrictEqual(yield* contents(key), [deleted(1), deleted(2), kept(3), kept(1)])
        yield* Journal.prune(type, { before: Timestamp.make((yield* Journal.Journal.use((_) => _.now)) + 1_000_000) })
        assert.deepStrictEqual(yield* contents(key), [deleted(1), deleted(2), kept(3), deleted(1)])
        // another journal may have entities of the same name
        assert.deepStrictEqual(yield* contents(elsewhere), [kept(1), kept(2), kept(3), kept(1)])
      }))

    it.effect("are put aside without the content of an event that was deleted, or pruned, before", () =>
      Effect.gen(function*() {
        const type = fresh("cart")
        const key = { ...freshKey(), source: Source.journal(type).provider.key }
        yield* append(type, "a", texts(2))
        yield* append(type, "b", texts(2))
        const [a1, a2, b1, b2] = yield* Effect.map(
          readAll(type),
          (events) =>
            events.map((event) => ({ ...event, tags: ["x"] }))
              .toSorted((a, b) =>
                a.persistenceId < b.persistenceId || a.persistenceId === b.persistenceId &&
                    a.sequenceNumber < b.sequenceNumber ?
                  -1 :
                  1
              )
        )
        yield* Journal.deleteEvents(type, "a", { to: number(1) })
        yield* Journal.prune(type, { before: Timestamp.make(b2!.timestamp + 1) })
        const aside = [a1!, a2!, b1!, b2!]
        for (const envelope of aside) yield* putAside(key, envelope)
        assert.deepStrictEqual(yield* contents(key), [deleted(1), kept(2), deleted(1), kept(2)])
        // one that was put aside before is not brought back, and nobody learns what it was from a new failure
        const { claim, release } = yield* ProjectionManagement.ProjectionManagement
        yield* release(key, a1!, (yield* claim(key, a1!))!.claimedAt, failure("quotes the event"))
        yield* release(key, a1!, undefined, failure("quotes the event"))
        assert.deepStrictEqual(yield* contents(key), [deleted(1), kept(2), deleted(1), kept(2)])
        // another journal may have entities of the same name
        const elsewhere = { ...key, source: `stream:${type.name}` }
        for (const envelope of aside) yield* putAside(elsewhere, envelope)
        assert.deepStrictEqual(yield* contents(elsewhere), [kept(1), kept(2), kept(1), kept(2)])
      }))

    it.effect("are as deleted as their events, however the two meet", () =>
      Effect.gen(function*() {
        const type = fresh("cart")
        const key = { ...freshKey(), source: Source.journal(type).provider.key }
        const ids = Array.from({ length: 12 }, (_, i) => `e${i}`)
        yield* Effect.forEach(ids, (id) => append(type, id, texts(1)))
        const events = new Map(
          (yield* readAll(type)).map((event) => [PersistenceId.entityId(event.persistenceId), event])
        )
        yield* Effect.forEach(ids, (id) =>
          Effect.all([
            retryBusy(putAside(key, events.get(id)!)),
            retryBusy(Journal.deleteEvents(type, id))
          ], { concurrency: "unbounded" }), { concurrency: 4 })
        const letters = yield* ProjectionManagement.deadLetters(key)
        assert.strictEqual(letters.length, ids.length)
        assert.deepStrictEqual(letters.filter(({ envelope }) => envelope.payload !== undefined), [])
      }))

    it.effect("have later events of their entity queue behind them, once each, and without their content", () =>
      Effect.gen(function*() {
        const key = yield* knownKey
        const { claim, queue, release } = yield* ProjectionManagement.ProjectionManagement
        yield* putAside(key, letter("a", 1))
        const tagged = letter("a", 2, { tags: ["x"], metadata: { a: "b" } })
        yield* queue(key, [tagged, letter("a", 3)])
        const { envelope, ...queued } = (yield* ProjectionManagement.deadLetters(key))[1]!
        assert.deepStrictEqual(envelope, encoded({ ...tagged, tags: [], metadata: {} }, undefined))
        assert.deepInclude(queued, { isQueued: true, error: ProjectionManagement.queuedError, fingerprint: "" })
        // one that has failed meanwhile stays as it is, also where it comes again
        yield* release(key, tagged, (yield* claim(key, tagged))!.claimedAt, failure("again"))
        yield* queue(key, [letter("a", 1), tagged, letter("a", 4)])
        const letters = yield* ProjectionManagement.deadLetters(key)
        assert.deepStrictEqual(
          letters.map(({ error, fingerprint, isQueued }) => [error, fingerprint, isQueued]),
          [
            ["no", "No at test.ts:1", false],
            ["again", "again at test.ts:2", false],
            [ProjectionManagement.queuedError, "", true],
            [ProjectionManagement.queuedError, "", true]
          ]
        )
        assert.deepStrictEqual(yield* ProjectionManagement.deadLetterCounts(key), { entities: 1, failed: 2, queued: 2 })
        const many = Array.from({ length: 1_100 }, (_, i) => letter("a", i + 5))
        yield* queue(key, many)
        assert.deepInclude(yield* ProjectionManagement.deadLetterCounts(key), { queued: 1_102 })
        assert.strictEqual(yield* ProjectionManagement.discardLetters(key, "all"), 1_104)
      }))

    it.effect("park their entities, which a worker loads for its slices", () =>
      Effect.gen(function*() {
        const key = yield* knownKey
        const { holdParked, parked, queue } = yield* ProjectionManagement.ProjectionManagement
        const [a, b, c] = ["a", "b", "c"].map((id) => letter(id, 1)) as [
          EncodedEnvelope,
          EncodedEnvelope,
          EncodedEnvelope
        ]
        yield* putAside(key, a)
        yield* putAside(key, b)
        yield* queue(key, [letter("a", 2), letter("b", 2), letter("a", 3)])
        yield* putAside(freshKey(), c)
        assert.sameMembers([...(yield* parked(key, SliceRange.full))], [a.persistenceId, b.persistenceId])
        assert.deepStrictEqual(yield* parked(key, SliceRange.make(a.slice, a.slice)), [a.persistenceId])
        const ids = [a, b, c].map(({ persistenceId }) => persistenceId)
        assert.deepStrictEqual(yield* holdParked(key, ids), new Set([a.persistenceId, b.persistenceId]))
        yield* ProjectionManagement.discard(key, b)
        assert.deepStrictEqual(yield* holdParked(key, ids), new Set([a.persistenceId, b.persistenceId]))
        yield* ProjectionManagement.discard(key, letter("b", 2))
        assert.deepStrictEqual(yield* holdParked(key, ids), new Set([a.persistenceId]))
        assert.deepStrictEqual(yield* parked(key, SliceRange.full), [a.persistenceId])
      }))

    it.effect("are grouped, counted and discarded by how they have failed, and by entity", () =>
      Effect.gen(function*() {
        const key = yield* knownKey
        const { queue } = yield* ProjectionManagement.ProjectionManagement
        const counts = ProjectionManagement.deadLetterCounts(key)
        assert.deepStrictEqual(yield* counts, { entities: 0, failed: 0, queued: 0 })
        assert.deepStrictEqual(yield* ProjectionManagement.deadLetterGroups(key), [])
        for (const id of ["a", "b", "c"]) yield* putAside(key, letter(id, 1), "x", "X at ü.ts:1")
        yield* putAside(key, letter("c", 2), "x", "X at ü.ts:1")
        for (const id of ["d", "e"]) yield* putAside(key, letter(id, 1), "y", "Y")
        yield* putAside(key, letter("f", 1), "z", "")
        yield* queue(key, [letter("a", 2), letter("a", 3), letter("d", 2)])
        const groups = yield* ProjectionManagement.deadLetterGroups(key)
        assert.deepStrictEqual(
          groups.map(({ entities, fingerprint, letters }) => [fingerprint, letters, entities]),
          [["X at ü.ts:1", 4, 3], ["Y", 2, 2], ["", 1, 1]]
        )
        const times = (yield* ProjectionManagement.deadLetters(key)).filter(({ fingerprint }) => fingerprint === "Y")
          .map(({ at }) => at)
        assert.deepInclude(groups[1], {
          first: Timestamp.make(Math.min(...times)),
          last: Timestamp.make(Math.max(...times))
        })
        assert.deepStrictEqual(yield* ProjectionManagement.deadLetterGroups(key, { limit: 1 }), groups.slice(0, 1))
        assert.deepStrictEqual(yield* counts, { entities: 6, failed: 7, queued: 3 })
        const discard = (which: Parameters<typeof ProjectionManagement.discardLetters>[1]) =>
          ProjectionManagement.discardLetters(key, which)
        const { persistenceId } = letter("a", 1)
        assert.strictEqual(yield* discard({ persistenceId, fingerprint: "Y" }), 0)
        const gone = yield* Effect.flip(discard({ fingerprint: undefined } as never))
        assert.strictEqual(gone._tag, "InvalidInput")
        assert.strictEqual(yield* discard({ fingerprint: "X at ü.ts:1" }), 4)
        assert.deepStrictEqual(shown(yield* ProjectionManagement.deadLetters(key)).map((text) => text.slice(0, 3)), [
          "a 2",
          "a 3",
          "d 1",
          "d 2",
          "e 1",
          "f 1"
        ])
        assert.strictEqual(yield* discard({ persistenceId }), 2)
        assert.strictEqual(yield* discard({ fingerprint: "" }), 1)
        assert.deepStrictEqual(yield* counts, { entities: 2, failed: 2, queued: 1 })
        assert.strictEqual(yield* ProjectionManagement.discardLetters(key, "all"), 3)
        assert.deepStrictEqual(yield* counts, { entities: 0, failed: 0, queued: 0 })
        assertInvalid(yield* Effect.flip(discard({ fingerprint: "\ud800" })))
      }))

    it.effect("that are discarded are in the history, and its workers are told nothing", () =>
      Effect.gen(function*() {
        const key = yield* knownKey
        const { projection } = key
        const { persistenceId } = letter("a", 1)
        assert.instanceOf(
          yield* Effect.flip(ProjectionManagement.discardLetters({ ...key, source: "other" }, "all")),
          ProjectionManagement.UnknownProjection
        )
        for (const n of [1, 2, 3]) yield* putAside(key, letter("a", n))
        assertInvalid(yield* Effect.flip(ProjectionManagement.discard(key, letter("a", 1), { by: "" })))
        assert.isDefined(yield* ProjectionManagement.discard(key, letter("a", 1), { by: "ada", reason: "a test" }))
        // which is no command
        assert.isUndefined(yield* ProjectionManagement.discard(key, letter("a", 1), { by: "ada" }))
        const fingerprint = "No at test.ts:1"
        const by = { by: "bob" }
        assert.strictEqual(yield* ProjectionManagement.discardLetters(key, { persistenceId, fingerprint }, by), 2)
        assert.strictEqual(yield* ProjectionManagement.discardLetters(key, { fingerprint }, by), 0)
        assert.strictEqual(yield* ProjectionManagement.discardLetters(key, { persistenceId }, by), 0)
        assert.strictEqual(yield* ProjectionManagement.discardLetters(key, "all", by), 0)
        const commands = yield* ProjectionManagement.history(projection)
        assert.deepStrictEqual(
          commands.map(({ by, command, reason, source, target }) => [command, target, source, by, reason]),
          [
            ["Discard", "all letters", key.source, "bob", ""],
            ["Discard", `letters of '${persistenceId}'`, key.source, "bob", ""],
            ["Discard", `letters that have failed as ${fingerprint}`, key.source, "bob", ""],
            ["Discard", `letters that have failed as ${fingerprint} of '${persistenceId}'`, key.source, "bob", ""],
            ["Discard", `event 1 of '${persistenceId}'`, key.source, "ada", "a test"]
          ]
        )
        assert.deepStrictEqual(yield* commandOf(projection), {
          ...ProjectionManagement.noCommand,
          revision: 5,
          notForWorkers: 5
        })
        // longer than a column of MySQL is
        assert.strictEqual(yield* ProjectionManagement.discardLetters(key, { fingerprint: "é".repeat(300) }), 0)
      }))

    it.effect("are not all gone before who queues behind one of them is done", () =>
      Effect.gen(function*() {
        for (let round = 0; round < 8; round++) {
          const key = yield* knownKey
          const { holdParked, queue } = yield* ProjectionManagement.ProjectionManagement
          yield* putAside(key, letter("a", 1))
          yield* queue(key, [letter("a", 2)])
          const { persistenceId } = letter("a", 1)
          const queueing = retryBusy(Journal.transaction(
            Effect.gen(function*() {
              const isParked = (yield* holdParked(key, [persistenceId])).has(persistenceId)
              for (let i = 0; i < round; i++) yield* Effect.yieldNow
              if (isParked) yield* queue(key, [letter("a", 3)])
              return isParked
            })
          ))
          const discarding = retryBusy(
            round % 2 === 0
              ? Effect.asVoid(ProjectionManagement.discardLetters(key, { persistenceId }))
              : Effect.asVoid(Effect.andThen(
                ProjectionManagement.discard(key, letter("a", 1)),
                ProjectionManagement.discard(key, letter("a", 2))
              ))
          )
          const [isQueued] = yield* Effect.all([queueing, discarding], { concurrency: "unbounded" })
          const left = yield* ProjectionManagement.deadLetters(key)
          // it may be discarded after that
          if (!isQueued) assert.deepStrictEqual(left, [])
          else if (round % 2 === 1) assert.deepStrictEqual(shown(left).map((text) => text.slice(0, 3)), ["a 3"])
        }
      }))
  })
}
