import * as CommitListeners from "@sluice/core/CommitListeners"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import { StorageError } from "@sluice/core/StorageError"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { type Engine, Runner } from "./Engine.ts"
import { below, type Draw, fork } from "./randomness.ts"
import { contextOf, on, start } from "./runners.ts"

/** @internal What a database suffers from. Probabilities are from 0 to 1, times in milliseconds. */
export interface Weather {
  /** How long a message takes at most, each way. */
  latency: number
  /** Whether nobody can reach it. */
  isAbsent: boolean
  /** How often a statement, or a commit, is refused: it has done nothing. */
  refuses: number
  /** How often it is not known whether an append or a commit was done. It was. */
  losesAnswers: number
  /** How often nobody is told of a commit. */
  losesNotifications: number
}

/** @internal */
export const fair = (): Weather => ({
  latency: 0,
  isAbsent: false,
  refuses: 0,
  losesAnswers: 0,
  losesNotifications: 0
})

/** How long it takes, in milliseconds, until the database notices that a process is dead. */
const mournings = [0, 0, 50, 2000]

/** @internal The connections of one process, from its start until it is killed. */
export interface Session {
  readonly runner: Runner
  readonly calls: Set<Call>
  readonly commits: CommitListeners.CommitListeners
  isOver: boolean
}

/** @internal What runs in the database for a process. */
export class Call {
  readonly session: Session
  /** What it has committed, as the storage has announced it. */
  announced: Array<readonly [entityType: string, events: ReadonlyArray<EncodedEnvelope>]> = []
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  /** What its fiber was started with. */
  context: Context.Context<never> | undefined
  /** Whether it commits, so that nothing stops it any more. */
  isDecided = false
  /** Whether it was stopped before, and ends as soon as its fiber runs. */
  isStopped = false

  constructor(session: Session) {
    this.session = session
  }

  stop(): void {
    if (this.isDecided) return
    this.isStopped = true
    this.fiber?.interruptUnsafe()
  }
}

/** @internal A transaction as the process sees it. */
export class SimulatedTransaction {
  readonly call: Call
  readonly parent: SimulatedTransaction | undefined
  /** What the storage does, once all is committed. */
  readonly onCommit: Array<() => void> = []
  /** The same, after all of that. */
  readonly onCommitLast: Array<() => void> = []
  /** What the process does, once it knows that all is committed. */
  readonly onKnown: Array<() => void> = []
  /** The revision that it moves offsets on, if it does. */
  revision: number | undefined
  /** What the storage does, once it is undone. */
  readonly onUndone: Array<() => void> = []
  /** Whether the effect that it was for has ended. */
  isOver = false
  /** What has broken it. */
  broken: StorageError | undefined

  constructor(call: Call, parent: SimulatedTransaction | undefined) {
    this.call = call
    this.parent = parent
  }

  get outermost(): SimulatedTransaction {
    return this.parent?.outermost ?? this
  }

  /** What is told of its end, as the storage is about to commit, or has undone it. */
  end(isCommitted: boolean): void {
    const { onCommit, onCommitLast, onUndone, parent } = this
    this.isOver = true
    if (!isCommitted) { for (const undone of onUndone) undone() }
    else if (parent === undefined) { for (const commit of [...onCommit, ...onCommitLast]) commit() }
    else {
      parent.onUndone.push(...onUndone)
      parent.onCommit.push(...onCommit)
      parent.onCommitLast.push(...onCommitLast)
    }
  }

  /** The effect, which runs in it and in the storage's own. */
  during<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.onExit(
      Effect.provideService(effect, CurrentTransaction, this),
      (exit) => Effect.sync(() => this.end(Exit.isSuccess(exit)))
    )
  }
}

/** @internal */
export const CurrentTransaction = Context.Reference<SimulatedTransaction | undefined>(
  "@sluice/testing/Simulation/CurrentTransaction",
  { defaultValue: () => undefined }
)

/** Whose call it is that runs in the database. */
const Owner = Context.Reference<Call | undefined>("@sluice/testing/Simulation/Owner", { defaultValue: () => undefined })

const lost = (operation: string, message: string): StorageError =>
  new StorageError({ operation, reason: "Unavailable", cause: new Error(message) })

/** @internal Whether it is not known if what failed so was done. */
export const mayBeDone = (error: unknown): boolean =>
  error instanceof StorageError && error.cause instanceof Error && error.cause.message === lostAnswer

const lostAnswer = "The connection was lost before the answer"

/** @internal How a call may fail: as a `Statement` does nothing, or as a `Write` may have been done. */
export type Kind = "Statement" | "Write"

/** @internal A database server, which processes reach by messages. It is never killed, and can be frozen. */
export class Server {
  readonly name: string
  readonly engine: Engine
  readonly runner: Runner
  readonly weather: Weather = fair()
  readonly context: Context.Context<never>
  readonly #draw: Draw
  readonly #latency: number
  readonly #sessions = new Map<Runner, Session>()

  constructor(engine: Engine, name: string, latency: number) {
    this.engine = engine
    this.#latency = latency
    this.name = name
    this.runner = new Runner(engine, name)
    this.context = contextOf(engine, this.runner)
    this.#draw = fork(engine.draw)
  }

  sessionOf(runner: Runner): Session {
    let session = this.#sessions.get(runner)
    if (session === undefined) {
      session = { runner, calls: new Set(), commits: CommitListeners.make(), isOver: false }
      this.#sessions.set(runner, session)
      const opened = session
      runner.onKill(() => this.#bury(opened))
    }
    return session
  }

  /** What a storage announces belongs to whoever's call commits. */
  readonly collect = (entityType: string, events: ReadonlyArray<EncodedEnvelope>): void => {
    Fiber.getCurrent()?.getRef(Owner)?.announced.push([entityType, events])
  }

  happens(probability: number): boolean {
    return probability > 0 && this.#draw() < probability
  }

  /** How long a message is on its way. */
  delay(): number {
    const latency = Math.max(this.weather.latency, this.#latency)
    return latency === 0 || this.#draw() < 0.5 ? 0 : this.#draw() * latency
  }

  note(session: Session, text: string | (() => string)): void {
    this.engine.note(session.runner.name, () => `${this.name}: ${typeof text === "string" ? text : text()}`)
  }

  /** Breaks all connections. What runs is undone, unless it is being committed. */
  disconnect(): void {
    for (const { calls } of this.#sessions.values()) {
      for (const call of calls) call.stop()
    }
  }

  /** Runs an effect in the database, and answers. */
  request<A, E, R>(
    session: Session,
    operation: string,
    kind: Kind,
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | StorageError, R> {
    return Effect.flatMap(Effect.context<R>(), (context) =>
      Effect.callback<A, E | StorageError>((resume) => {
        const transaction = Context.get(context, CurrentTransaction)
        const call = new Call(session)
        const answer = (exit: Exit.Exit<A, E | StorageError>): void => {
          session.runner.after(this.delay(), () => {
            this.#announce(call)
            resume(exit)
          })
        }
        const refuse = (error: StorageError): void => {
          if (transaction !== undefined) transaction.outermost.broken ??= error
          this.note(session, () => `${operation} fails, ${String(error.cause)}`)
          answer(Exit.fail(error))
        }
        const cancel = this.runner.after(this.delay(), () => {
          const broken = transaction?.outermost.broken
          if (broken !== undefined) return answer(Exit.fail(broken))
          if (this.#isRefused()) return refuse(lost(operation, "The connection was refused"))
          const losesAnswer = kind === "Write" && transaction === undefined && this.happens(this.weather.losesAnswers)
          this.#run(call, context, effect, (exit) => {
            if (Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)) {
              return refuse(lost(operation, "The connection was lost"))
            }
            if (losesAnswer && Exit.isSuccess(exit)) return refuse(lost(operation, lostAnswer))
            this.note(session, () => `${operation}${Exit.isFailure(exit) ? ` fails: ${nameOf(exit)}` : ""}`)
            answer(exit)
          })
        })
        return this.#abandon(call, cancel)
      }))
  }

  /**
   * Runs an effect of the process within a transaction that `open` begins in the database: `open` is given what stands for the effect.
   */
  within<A, E, R, E2>(
    session: Session,
    operation: string,
    open: (hold: Effect.Effect<A, E>) => Effect.Effect<A, E | E2>,
    effect: (transaction: SimulatedTransaction) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | E2 | StorageError, R> {
    return Effect.flatMap(Effect.context<R>(), (context) =>
      Effect.uninterruptibleMask((restore) => {
        const call = new Call(session)
        const parent = Context.get(context, CurrentTransaction)
        const transaction = new SimulatedTransaction(call, parent)
        let decided: Exit.Exit<A, E | StorageError> | undefined
        let decide: (exit: Exit.Exit<A, E | StorageError>) => void
        let ended: Exit.Exit<A, E | E2> | undefined
        let onEnd: ((exit: Exit.Exit<A, E | E2>) => void) | undefined

        const begin = Effect.callback<Context.Context<never>, E | E2 | StorageError>((resume) => {
          const hold = Effect.flatMap(Effect.context(), (inner) =>
            Effect.callback<A, E>((resumeHold) => {
              decide = (exit) => {
                decided = exit
                call.isDecided = Exit.isSuccess(exit)
                // the locks are held, and nothing comes between this and the commit
                transaction.end(Exit.isSuccess(exit))
                resumeHold(exit as Exit.Exit<A, E>)
              }
              session.runner.after(this.delay(), () => resume(Effect.succeed(inner)))
            }))
          const fail = (exit: Exit.Exit<never, E | E2 | StorageError>): void => {
            this.note(session, () => `${operation} fails: ${nameOf(exit)}`)
            session.runner.after(this.delay(), () => resume(exit))
          }
          onEnd = (exit) =>
            fail(
              Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
                ? Exit.fail(lost(operation, "The connection was lost"))
                : exit as Exit.Exit<never, E | E2>
            )
          const cancel = this.runner.after(this.delay(), () => {
            // nobody would ever end it
            if (session.isOver) return
            const broken = parent?.outermost.broken
            if (broken !== undefined) return fail(Exit.fail(broken))
            if (this.#isRefused()) return fail(Exit.fail(lost(operation, "The connection was refused")))
            this.#run(call, context, open(hold), (exit) => {
              ended = exit
              // so that what is sent in it from now on is no part of anything else
              if (decided === undefined) transaction.outermost.broken ??= lost(operation, "The connection was lost")
              onEnd?.(exit)
            })
          })
          return this.#abandon(call, cancel)
        })

        const end = (exit: Exit.Exit<A, E>) =>
          Effect.callback<A, E | E2 | StorageError>((resume) => {
            transaction.isOver = true
            let losesAnswer = false
            const answer = (outcome: Exit.Exit<A, E | E2 | StorageError>): void => {
              session.runner.after(this.delay(), () => {
                this.#announce(call)
                if (Exit.isSuccess(outcome)) {
                  if (parent === undefined) { for (const known of transaction.onKnown) known() }
                  else parent.onKnown.push(...transaction.onKnown)
                }
                resume(outcome)
              })
            }
            onEnd = (outcome) => {
              const { broken } = transaction.outermost
              if (losesAnswer && Exit.isSuccess(outcome)) {
                this.note(session, () => `${operation} is committed, and the answer lost`)
                return answer(Exit.fail(lost(operation, lostAnswer)))
              }
              if (Exit.isFailure(exit) && broken === undefined) return answer(exit)
              if (Exit.isFailure(outcome) && broken !== undefined) return answer(Exit.fail(broken))
              const isCut = Exit.isFailure(outcome) && Cause.hasInterruptsOnly(outcome.cause)
              this.note(session, () => `${operation} ${Exit.isSuccess(outcome) ? "is committed" : "is rolled back"}`)
              answer(isCut ? Exit.fail(lost(operation, "The connection was lost")) : outcome)
            }
            this.runner.after(this.delay(), () => {
              if (ended !== undefined) return onEnd!(ended)
              // it is about to, and commits nothing
              if (call.isStopped) return
              const { broken } = transaction.outermost
              if (broken !== undefined) return decide(Exit.fail(broken))
              if (parent === undefined && Exit.isSuccess(exit)) {
                if (this.#isRefused()) {
                  transaction.broken = lost(operation, "The commit was refused")
                  return decide(Exit.fail(transaction.broken))
                }
                losesAnswer = this.happens(this.weather.losesAnswers)
              }
              decide(exit)
            })
          })

        return Effect.flatMap(restore(begin), (inner) => {
          onEnd = undefined
          this.note(session, () => `${operation} begins`)
          // what the storage provides to those within the transaction
          const own = new Map<string, unknown>()
          for (const [key, value] of inner.mapUnsafe) {
            if (call.context!.mapUnsafe.get(key) !== value) own.set(key, value)
          }
          const provided = Effect.provideContext(
            Effect.provideService(effect(transaction), CurrentTransaction, transaction),
            Context.makeUnsafe(own)
          )
          return Effect.flatMap(Effect.exit(restore(provided)), end)
        })
      }))
  }

  #isRefused(): boolean {
    return this.weather.isAbsent || this.happens(this.weather.refuses)
  }

  #run<A, E, R>(
    call: Call,
    context: Context.Context<R>,
    effect: Effect.Effect<A, E, R>,
    ended: (exit: Exit.Exit<A, E>) => void
  ): void {
    const { session } = call
    session.calls.add(call)
    call.context = Context.add(on(context, this.engine, this.runner), Owner, call) as Context.Context<never>
    call.fiber = start(call.context as Context.Context<R>, effect, (exit) => {
      session.calls.delete(call)
      ended(exit)
    })
  }

  /** Stops a call that nobody waits for any more, and waits until it has stopped. */
  #abandon(call: Call, cancel: () => void): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      cancel()
      const { fiber, session } = call
      if (fiber === undefined) return resume(Effect.void)
      fiber.addObserver(() => void session.runner.after(0, () => resume(Effect.void)))
      this.runner.after(0, () => call.stop())
    })
  }

  #announce(call: Call): void {
    for (const [entityType, events] of call.announced.splice(0)) {
      call.session.runner.after(this.delay(), () => call.session.commits.publish(entityType, () => events))
    }
  }

  /** What a dead process has begun is undone once that is noticed. What was on its way may still be done. */
  #bury(session: Session): void {
    session.isOver = true
    for (const call of session.calls) {
      const mourning = mournings[below(this.#draw, mournings.length)]!
      this.runner.after(mourning, () => call.stop())
    }
    this.#sessions.delete(session.runner)
  }
}

const nameOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "no"
  const error = Cause.squash(exit.cause)
  return error instanceof Error ? error.message.split("\n")[0]! : String(error)
}
