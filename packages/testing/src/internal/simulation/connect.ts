import { ConsumerFilter, type NewVersion } from "@sluice/core/ConsumerFilter"
import { DurableStateStore } from "@sluice/core/DurableStateStore"
import { passAll } from "@sluice/core/EventFilter"
import { Heartbeat, heartbeat, HeartbeatStore } from "@sluice/core/HeartbeatStore"
import { type AppendRequest, Journal, type SequenceConflict, type Written } from "@sluice/core/Journal"
import { Fenced, OffsetStore } from "@sluice/core/OffsetStore"
import { type DeadLetter, type LetterSelection, ProjectionManagement } from "@sluice/core/ProjectionManagement"
import { completed, isAtWork, nameOf as nameOfVersion } from "@sluice/core/ProjectionVersion"
import { SnapshotStore } from "@sluice/core/SnapshotStore"
import type { StorageError } from "@sluice/core/StorageError"
import type { Transaction } from "@sluice/core/Transaction"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { identity } from "effect/Function"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import type { Observation } from "./Observation.ts"
import { currentWorker, start } from "./runners.ts"
import { CurrentTransaction, type Kind, mayBeDone, type Server, type Session } from "./Server.ts"

/** @internal What a storage provides. */
export type Storage =
  | Journal
  | OffsetStore
  | ProjectionManagement
  | ConsumerFilter
  | HeartbeatStore
  | SnapshotStore
  | DurableStateStore

/** For how long an append whose outcome is unknown is sent again, in milliseconds. */
const patience = 30_000

/** How soon a lost notification is made up for. */
const pollInterval = "1 second"

/** @internal A storage as one process has it, whose calls are messages to the database. */
export const connect = (
  server: Server,
  storage: Context.Context<Storage>,
  session: Session,
  options: {
    readonly isLossy: boolean
    readonly isMute: boolean
    readonly observe: (observation: Observation) => void
    /** Has what an entity type's journal announces collected. */
    readonly listen: (entityType: string) => void
  }
): Context.Context<Storage> => {
  const { observe } = options
  const { runner } = session

  const ask = <A, E, R>(operation: string, kind: Kind, effect: Effect.Effect<A, E, R>) =>
    server.request(session, operation, kind, effect)

  /** Tells observers once the transaction that the fiber is in, if there is one, is committed as the database has it. */
  const whenCommitted = (observation: (revision: number | undefined) => Observation): Effect.Effect<void> =>
    Effect.map(CurrentTransaction, (transaction) => {
      if (transaction === undefined) observe(observation(undefined))
      else transaction.onCommit.push(() => observe(observation(transaction.outermost.revision)))
    })

  const subscribe =
    (changes: (topic: string) => Effect.Effect<Effect.Effect<void>, never, Scope.Scope>) => (topic: string) =>
      Effect.map(
        Effect.acquireRelease(
          Effect.sync(() => {
            const latch = Latch.makeUnsafe()
            const scope = Scope.makeUnsafe()
            // at once, or what is appended before it listens would go unnoticed
            const changed = Effect.runSync(Scope.provide(changes(topic), scope))
            const notify = Effect.sync(() => {
              if (options.isMute) return
              if (server.happens(server.weather.losesNotifications)) {
                return server.note(session, () => `loses a notification of '${topic}'`)
              }
              runner.after(server.delay(), () => latch.openUnsafe())
            })
            const fiber = start(server.context, Effect.forever(Effect.andThen(changed, notify)), () => {})
            const end = () =>
              void server.runner.after(0, () => {
                fiber.interruptUnsafe()
                Effect.runFork(Scope.close(scope, Exit.void))
              })
            runner.onKill(end)
            return { latch, end }
          }),
          ({ end }) => Effect.sync(end)
        ),
        ({ latch }) =>
          Effect.andThen(
            options.isLossy || options.isMute ? Effect.raceFirst(latch.await, Effect.sleep(pollInterval)) : latch.await,
            latch.close
          )
      )

  /** What is asked for, one call each. */
  const wrap = <S extends object>(name: string, service: S, reads: ReadonlyArray<keyof S>): S => {
    const wrapped: Record<string, unknown> = {}
    for (const [key, member] of Object.entries(service)) {
      const operation = `${name}.${key}`
      const kind = reads.includes(key as keyof S) ? "Statement" : "Write"
      if (Effect.isEffect(member)) wrapped[key] = ask(operation, kind, member)
      else if (typeof member !== "function") wrapped[key] = member
      else wrapped[key] = (...options: ReadonlyArray<unknown>) => ask(operation, kind, member(...options))
    }
    return wrapped as S
  }

  const base = Context.get(storage, Journal)

  const appendOnce = (request: AppendRequest) =>
    Effect.tapError(
      ask(`append to '${request.persistenceId}'`, "Write", base.append(request)),
      (error) =>
        error._tag === "SequenceConflict"
          ? Effect.sync(() => observe({ _tag: "Refused", request, error }))
          : Effect.void
    )

  /** As an adapter does: an append whose outcome is unknown is sent again, and looks for its own events first. */
  const append = (request: AppendRequest): ReturnType<typeof base.append> =>
    Effect.flatMap(CurrentTransaction, (transaction) => {
      options.listen(request.entityType)
      observe({ _tag: "Sent", request })
      if (transaction !== undefined) {
        transaction.onUndone.push(() => observe({ _tag: "Undone", request }))
        return Effect.tap(appendOnce(request), (written) =>
          Effect.sync(() => {
            transaction.onKnown.push(() => observe(acknowledged(request, written)))
          }))
      }
      const until = server.engine.now + patience
      const again = (error: StorageError | { readonly _tag: string }): ReturnType<typeof base.append> =>
        error._tag === "StorageError" && server.engine.now < until
          ? Effect.andThen(Effect.sleep("100 millis"), Effect.catch(appendOnce({ ...request, recheck: true }), again))
          : Effect.fail(error as SequenceConflict | StorageError)
      return Effect.tap(
        Effect.catch(appendOnce(request), (error) => mayBeDone(error) ? again(error) : Effect.fail(error)),
        (written) => Effect.sync(() => observe(acknowledged(request, written)))
      )
    })

  const journal: Journal["Service"] = {
    ...wrap("Journal", base, ["now", "heads", "before", "entity", "floors"]),
    append,
    // outside a transaction the database has no part in it
    afterCommit: (effect) =>
      Effect.flatMap(
        CurrentTransaction,
        (transaction) => transaction === undefined ? effect : base.afterCommit(effect)
      ),
    // the fiber knows without the database
    inTransaction: Effect.map(CurrentTransaction, (transaction) => transaction?.outermost.isOver === false),
    prune: (entityType, before, options) =>
      ask(
        `prune '${entityType}'`,
        "Write",
        base.transaction(Effect.suspend(() => {
          observe({ _tag: "Prunes", entityType })
          return base.prune(entityType, before, options)
        }))
      ),
    transaction: (effect) => server.within(session, "a transaction", (hold) => base.transaction(hold), () => effect),
    reader: (entityType, range, start, options) =>
      Effect.map(
        ask("open the journal", "Statement", Scope.provide(base.reader(entityType, range, start, options), forever)),
        ({ next, pass }) => ({ next: (limit) => ask("read the journal", "Statement", next(limit)), pass })
      ),
    committed: (entityType, listener) =>
      Effect.suspend(() => {
        options.listen(entityType)
        return session.commits.committed(entityType, listener)
      }),
    changes: subscribe(base.changes)
  }

  const offsets = Context.get(storage, OffsetStore)
  const wrappedOffsets: OffsetStore["Service"] = {
    ...wrap("OffsetStore", offsets, ["load", "sequenceNumbers"]),
    load: (key, range) =>
      Effect.flatMap(currentWorker, (worker) =>
        Effect.tap(
          ask("load offsets", "Statement", offsets.load(key, range)),
          (stored) => Effect.sync(() => observe({ _tag: "Loaded", worker, key, stored }))
        )),
    transact: <A, E, R>(
      key: Parameters<typeof offsets.transact>[0],
      basis: Parameters<typeof offsets.transact>[1],
      moves: Parameters<typeof offsets.transact>[2],
      effect: Effect.Effect<A, E, R>
    ) =>
      Effect.flatMap(currentWorker, (worker) => {
        observe({ _tag: "Moves", worker, key, basis, moves })
        return server.within(
          session,
          `move of '${key.projection}'`,
          (hold: Effect.Effect<A, E>) => offsets.transact(key, basis, moves, hold),
          (transaction) => {
            transaction.revision = basis.revision
            transaction.onCommitLast.push(() => observe({ _tag: "Moved", worker, key, basis, moves }))
            return effect as Effect.Effect<A, E, Exclude<R, Transaction>>
          }
        ).pipe(
          Effect.tapError((error) =>
            error instanceof Fenced
              ? Effect.sync(() => observe({ _tag: "Fenced", worker, key, error }))
              : Effect.void
          )
        )
      })
  }

  const management = Context.get(storage, ProjectionManagement)
  /** Tells of the versions that do not run any more. */
  const tellOfRetired = (of: string): Effect.Effect<void, StorageError> =>
    Effect.map(management.versions(of), (versions) => {
      for (const { phase, projection } of versions) if (!isAtWork(phase)) observe({ _tag: "Retired", projection })
    })
  const wrappedManagement: ProjectionManagement["Service"] = {
    ...wrap("ProjectionManagement", management, [
      "command",
      "commands",
      "history",
      "commanded",
      "list",
      "progress",
      "versions",
      "skips",
      "parked",
      "letterCounts",
      "letterGroups",
      "deadLetters",
      "listLetters"
    ]),
    // to its worker, every process is another one
    isShared: true,
    changes: subscribe(management.changes),
    rewind: (key, start, undo, newest, issue) =>
      server.within(
        session,
        `rewind of '${key.projection}'`,
        (hold) => management.rewind(key, start, hold, newest, issue),
        (transaction) => {
          transaction.onCommit.push(() => observe({ _tag: "Rewound", key, offsets: start.offsets }))
          return Effect.asVoid(undo as Effect.Effect<unknown, any>)
        }
      ),
    clear: (key, issue) =>
      server.within(session, `clear '${key.projection}'`, (hold) => base.transaction(hold), () =>
        Effect.andThen(
          ask("clear", "Write", management.clear(key, issue)),
          whenCommitted(() => ({ _tag: "Rewound", key, offsets: new Map() }))
        )),
    declare: (id, issue) =>
      ask("declare a version", "Write", Effect.tap(management.declare(id, issue), () => tellOfRetired(id.of))),
    // what leads readers to it is of the process
    complete: (id, isComplete, switching, issue) =>
      Effect.catchIf(
        server.within(
          session,
          `switch to version ${id.version} of '${id.of}'`,
          (hold: Effect.Effect<boolean, any>) =>
            Effect.uninterruptibleMask((restore) =>
              restore(management.complete(id, isComplete, hold, issue)).pipe(
                Effect.tap(() => tellOfRetired(id.of)),
                Effect.flatMap((isLive) => isLive ? Effect.succeed(true) : Effect.fail(new NotSwitched()))
              )
            ),
          (transaction) => {
            transaction.onCommit.push(() => {
              for (
                const { phase, projection } of completed(Effect.runSync(Effect.orDie(management.versions(id.of))), id)
              ) {
                if (phase === "Retired") observe({ _tag: "Retired", projection })
              }
            })
            return Effect.as(switching as Effect.Effect<unknown, any>, true)
          }
        ),
        (error) => error instanceof NotSwitched,
        () => Effect.succeed(false)
      ),
    cancel: (id, issue) =>
      ask(
        "cancel a version",
        "Write",
        base.transaction(Effect.tap(management.cancel(id, issue), (isCancelled) =>
          Effect.sync(() => {
            // nothing comes between that and the commit
            if (isCancelled) observe({ _tag: "Retired", projection: nameOfVersion(id) })
          })))
      ),
    skip: (key, event, issue) =>
      ask(
        "skip",
        "Write",
        Effect.uninterruptible(
          base.transaction(
            Effect.tap(
              management.skip(key, event, issue),
              () => Effect.sync(() => observe({ _tag: "ToSkip", key, event }))
            )
          )
        )
      ),
    endSkip: (key, event) =>
      ask(
        "end a skip",
        "Write",
        Effect.uninterruptible(Effect.tap(
          management.endSkip(key, event),
          (isThere) => isThere ? whenCommitted((revision) => ({ _tag: "Skipped", key, event, revision })) : Effect.void
        ))
      ),
    putAside: (letter) =>
      Effect.tap(
        ask("put aside", "Write", management.putAside(letter)),
        () =>
          whenCommitted((revision) => ({
            _tag: "PutAside",
            key: letter.key,
            revision,
            event: letter.envelope,
            isQueued: false
          }))
      ),
    queue: (key, events) =>
      Effect.tap(
        ask("queue behind what was put aside", "Write", management.queue(key, events)),
        () =>
          Effect.forEach(
            events,
            (event) => whenCommitted((revision) => ({ _tag: "PutAside", key, revision, event, isQueued: true })),
            { discard: true }
          )
      ),
    discard: (key, letter, claimedAt) =>
      ask(
        "discard",
        "Write",
        // also where nobody is told of it
        Effect.uninterruptible(Effect.tap(
          management.discard(key, letter, claimedAt),
          (discarded) =>
            discarded === undefined ? Effect.void : whenCommitted(() => ({ _tag: "Discarded", key, letter }))
        ))
      ),
    discardAll: (key, which) =>
      ask(
        "discard all",
        "Write",
        Effect.uninterruptible(
          base.transaction(Effect.gen(function*() {
            const letters = yield* management.deadLetters(key, undefined, 10_000)
            return [yield* management.discardAll(key, which), letters.filter(isOf(which))] as const
          })).pipe(
            Effect.tap(([, letters]) =>
              Effect.forEach(letters, ({ envelope: letter }) =>
                whenCommitted(() => ({ _tag: "Discarded", key, letter })), { discard: true })
            ),
            Effect.map(([discarded]) =>
              discarded
            )
          )
        )
      )
  }

  const filters = Context.get(storage, ConsumerFilter)
  const wrappedFilters: ConsumerFilter["Service"] = {
    ...wrap("ConsumerFilter", filters, ["find", "history", "givenUp", "givenUpBy"]),
    changes: subscribe(filters.changes),
    // nothing here waits for the end of a transaction of the process
    afterCommit: identity,
    store: (source, decide) =>
      server.within(
        session,
        `change the filter of '${source}'`,
        (hold) => base.transaction(hold),
        () => {
          let version: NewVersion | undefined
          let before = passAll
          const deciding: typeof decide = (newest) =>
            Effect.tap(
              decide(
                newest && {
                  ...newest,
                  filter: Effect.tap(newest.filter, (filter) => Effect.sync(() => void (before = filter)))
                }
              ),
              (decided) => Effect.sync(() => void (version = decided))
            )
          return Effect.tap(
            ask("store a filter", "Write", filters.store(source, deciding)),
            () => {
              if (version?.restarts !== true) return Effect.void
              const { filter: after, history } = version
              return whenCommitted(() => ({ _tag: "Refiltered", source, history, before, after }))
            }
          )
        }
      )
  }

  const heartbeats = Context.get(storage, HeartbeatStore)
  const wrappedHeartbeats: HeartbeatStore["Service"] = {
    ...wrap("HeartbeatStore", heartbeats, ["reports"]),
    beat: (beat) =>
      Effect.suspend(() => {
        const at = server.engine.now
        const seen = (isStored: boolean) => Effect.sync(() => observe({ _tag: "Beats", beat, at, isStored }))
        return ask(
          "beat",
          "Write",
          Effect.uninterruptible(Effect.andThen(Effect.andThen(seen(false), heartbeats.beat(beat)), seen(true)))
        )
      })
  }

  const states = Context.get(storage, DurableStateStore)
  const wrappedStates: DurableStateStore["Service"] = {
    ...wrap("DurableStateStore", states, ["get", "heads", "before"]),
    change: (change) =>
      Effect.suspend(() => {
        if (change.event !== undefined) options.listen(change.entityType)
        return ask("change a state", "Write", states.change(change))
      }),
    reader: (entityType, range, start, options) =>
      Effect.map(
        ask("open the states", "Statement", Scope.provide(states.reader(entityType, range, start, options), forever)),
        ({ next, ...reader }) => ({ ...reader, next: (limit) => ask("read the states", "Statement", next(limit)) })
      ),
    changes: subscribe(states.changes)
  }

  return Context.make(Journal, journal).pipe(
    Context.add(OffsetStore, wrappedOffsets),
    Context.add(ProjectionManagement, wrappedManagement),
    Context.add(ConsumerFilter, wrappedFilters),
    Context.add(HeartbeatStore, wrappedHeartbeats),
    // who wants them has an interval, and what others do stays as it was
    Context.add(Heartbeat, heartbeat({ name: "simulated", interval: Duration.infinity })),
    Context.add(SnapshotStore, wrap("SnapshotStore", Context.get(storage, SnapshotStore), ["load", "list"])),
    Context.add(DurableStateStore, wrappedStates)
  )
}

/** A version has not come far enough, or is not building any more. */
class NotSwitched {
  readonly _tag = "NotSwitched"
}

const isOf = ({ fingerprint, persistenceId }: LetterSelection) => (letter: DeadLetter): boolean =>
  (persistenceId === undefined || letter.envelope.persistenceId === persistenceId) &&
  (fingerprint === undefined || letter.fingerprint === fingerprint)

const acknowledged = (request: AppendRequest, written: Written): Observation => ({
  _tag: "Acknowledged",
  request,
  written
})

/** What a reader holds in the database goes with the simulation. */
const forever = Scope.makeUnsafe()
