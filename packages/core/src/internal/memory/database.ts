import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { identity } from "effect/Function"
import * as Semaphore from "effect/Semaphore"
import * as ChangeListeners from "../../ChangeListeners.ts"
import * as CommitListeners from "../../CommitListeners.ts"
import type { Journal } from "../../Journal.ts"
import * as Nesting from "../../Nesting.ts"
import { StorageError } from "../../StorageError.ts"
import { type Draft, type Logs, makeLogs, publish } from "./logs.ts"

/** @internal Rows by key, with what open transactions have changed beside them. */
export class MemoryTable<V> {
  readonly rows = new Map<string, V>()

  get(transaction: MemoryTransaction | undefined, key: string): V | undefined {
    const changes = transaction?.changesOf(this)
    return changes?.has(key) ? changes.get(key) : this.rows.get(key)
  }

  set(transaction: MemoryTransaction, key: string, row: V | undefined): void {
    transaction.changesOf(this).set(key, row)
  }

  /** Not a copy: what is set meanwhile, of rows that it has yet to come to, shows. */
  *entries(transaction: MemoryTransaction | undefined): Generator<readonly [key: string, row: V], undefined> {
    const changes = transaction?.changesOf(this)
    for (const entry of this.rows) {
      if (!changes?.has(entry[0])) yield entry
      else {
        const row = changes.get(entry[0])
        if (row !== undefined) yield [entry[0], row]
      }
    }
    for (const [key, row] of changes ?? []) if (row !== undefined && !this.rows.has(key)) yield [key, row]
  }

  all(transaction: MemoryTransaction | undefined): IteratorObject<V, undefined> {
    const isChanged = transaction?.changes.has(this) === true
    return isChanged ? this.entries(transaction).map(([, row]) => row) : this.rows.values()
  }
}

/** @internal What an open transaction has written and nobody else sees. Savepoints copy it. */
export class MemoryTransaction {
  readonly draft: Draft
  readonly changes: Map<MemoryTable<any>, Map<string, any>>
  /**
   * The entity types whose states it changes, and the projections that it commands. Their listeners are woken when it
   * commits.
   */
  readonly states: Set<string>
  readonly commanded: Set<string>
  /** What is to run once it has committed. */
  readonly callbacks: Array<Effect.Effect<void>>

  constructor(from?: MemoryTransaction) {
    this.draft = { events: [...from?.draft.events ?? []], emptied: new Map(from?.draft.emptied) }
    this.changes = new Map(Array.from(from?.changes ?? [], ([table, changes]) => [table, new Map(changes)]))
    this.states = new Set(from?.states)
    this.commanded = new Set(from?.commanded)
    this.callbacks = [...from?.callbacks ?? []]
  }

  changesOf<V>(table: MemoryTable<V>): Map<string, V | undefined> {
    let changes = this.changes.get(table)
    if (changes === undefined) this.changes.set(table, changes = new Map())
    return changes
  }

  apply(): void {
    for (const [table, changes] of this.changes) {
      for (const [key, row] of changes) {
        if (row === undefined) table.rows.delete(key)
        else table.rows.set(key, row)
      }
    }
  }
}

const blocked = (cause: Error) => new StorageError({ operation: "take part in a transaction", reason: "Busy", cause })

const outlived = () => new Error("The transaction that this fiber was started in is over: let it end first")

class Current extends Context.Service<Current, {
  /** Shared by a transaction and those within it. */
  readonly own: { transaction: MemoryTransaction; isOver: boolean; readonly nesting: Nesting.Nesting<StorageError> }
  readonly level: number
}>()("@sluice/core/MemoryStorage/Current") {}

const closed = new StorageError({
  operation: "use storage in memory",
  reason: "Closed",
  cause: new Error("it is closed")
})

/** @internal One writer at a time, and readers that see what is committed. */
export interface MemoryDatabase {
  readonly logs: Logs
  /** From then on everything fails, and what is not committed yet is not written. */
  readonly close: Effect.Effect<void>
  /** Reads what is not of a transaction. */
  readonly whileOpen: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | StorageError, R>
  readonly transaction: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | StorageError, R>
  /** Reads in the fiber's transaction, if there is one. */
  readonly read: <A>(f: (transaction: MemoryTransaction | undefined) => A) => Effect.Effect<A, StorageError>
  /** Writes in the fiber's transaction, or one of its own. The time is in microseconds. */
  readonly write: <A, E>(
    f: (transaction: MemoryTransaction, now: number) => Effect.Effect<A, E>
  ) => Effect.Effect<A, E | StorageError>
  /** Runs the effect once the outermost transaction of the fiber has committed; at once if there is none. */
  readonly afterCommit: <R>(effect: Effect.Effect<void, never, R>) => Effect.Effect<void, never, R>
  /** Whether the fiber is in a transaction that is not over. */
  readonly inTransaction: Effect.Effect<boolean>
  /** Listeners that wait for events and for changes of states, by entity type, and for commands, by projection. */
  readonly events: ChangeListeners.ChangeListeners
  readonly states: ChangeListeners.ChangeListeners
  readonly commands: ChangeListeners.ChangeListeners
  readonly committed: Journal["Service"]["committed"]
}

/** @internal */
export const makeMemoryDatabase = (): MemoryDatabase => {
  const logs = makeLogs()
  const lock = Semaphore.makeUnsafe(1)
  const events = ChangeListeners.make()
  const states = ChangeListeners.make()
  const commands = ChangeListeners.make()
  const commits = CommitListeners.make()
  let isClosed = false

  const whileOpen = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | StorageError, R> =>
    Effect.suspend((): Effect.Effect<A, E | StorageError, R> => isClosed ? Effect.fail(closed) : effect)

  const commit = (transaction: MemoryTransaction) => {
    const written = transaction.draft.events
    publish(logs, transaction.draft)
    transaction.apply()
    for (const entityType of new Set(written.map((event) => event.entityType))) {
      commits.publish(entityType, () => written.filter((event) => event.entityType === entityType))
      events.changed(entityType)
    }
    for (const entityType of transaction.states) states.changed(entityType)
    for (const projection of transaction.commanded) commands.changed(projection)
  }

  const current = Effect.map(
    Effect.serviceOption(Current),
    (current) => current._tag === "Some" ? current.value : undefined
  )

  const outermost = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | StorageError, R> =>
    Effect.suspend(() => {
      const own = {
        transaction: new MemoryTransaction(),
        isOver: false,
        isCommitted: false,
        nesting: Nesting.make(blocked)
      }
      const provided = whileOpen(Effect.provideService(effect, Current, { own, level: 0 })).pipe(
        Effect.flatMap((value) => whileOpen(Effect.succeed(value)))
      )
      return lock.withPermit(
        Effect.onExit(provided, (exit) =>
          Effect.sync(() => {
            own.isOver = true
            if (!Exit.isSuccess(exit)) return
            commit(own.transaction)
            own.isCommitted = true
          }))
      ).pipe(
        // also where it was interrupted since it has committed
        Effect.ensuring(
          Effect.suspend(() =>
            own.isCommitted ? Effect.forEach(own.transaction.callbacks, identity, { discard: true }) : Effect.void
          )
        )
      )
    })

  /** A nested transaction, which is undone by itself. */
  const nested = <A, E, R>(
    { level, own }: Current["Service"],
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | StorageError, R> =>
    own.nesting.within(
      level,
      Effect.suspend(() => {
        if (own.isOver) return Effect.die(outlived())
        const savepoint = new MemoryTransaction(own.transaction)
        return Effect.onExit(Effect.provideService(effect, Current, { own, level: level + 1 }), (exit) =>
          Effect.sync(() => {
            if (Exit.isFailure(exit)) {
              own.transaction = savepoint
            }
          }))
      })
    )

  const transaction = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | StorageError, R> =>
    Effect.flatMap(
      current,
      (current): Effect.Effect<A, E | StorageError, R> =>
        current === undefined ? outermost(effect) : nested(current, effect)
    )

  return {
    logs,
    close: Effect.sync(() => void (isClosed = true)),
    whileOpen,
    transaction,
    read: (f) =>
      whileOpen(Effect.flatMap(current, (current) =>
        // what was written in a transaction that is over is committed, or undone
        current === undefined || current.own.isOver
          ? Effect.sync(() => f(undefined))
          : current.own.nesting.at(current.level, Effect.sync(() => f(current.own.transaction))))),
    write: (f) =>
      transaction(Effect.flatMap(
        Effect.all([current, Clock.currentTimeMillis]),
        ([current, now]) => f(current!.own.transaction, Math.floor(now * 1000))
      )),
    afterCommit: <R>(effect: Effect.Effect<void, never, R>) =>
      Effect.flatMap(Effect.all([current, Effect.context<R>()]), ([current, context]) => {
        if (current === undefined) return effect
        const outside = Effect.provideContext(effect, Context.omit(Current)(context) as Context.Context<R>)
        return Effect.suspend(() => {
          if (current.own.isOver) return Effect.die(outlived())
          current.own.transaction.callbacks.push(outside)
          return Effect.void
        })
      }),
    inTransaction: Effect.map(current, (current) => current?.own.isOver === false),
    committed: commits.committed,
    events,
    states,
    commands
  }
}
