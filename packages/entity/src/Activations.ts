/**
 * Entities whose states are kept in the memory of this process, from the first command on.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Formatter from "effect/Formatter"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import type { Answer, Behaviour, Command } from "./Behaviour.ts"
import type { Entity } from "./Entity.ts"
import { outsideTransactions, type Runner, Runs } from "./EntityClient.ts"
import { EntityConflict, type EntityError, EntityUnreachable, Overloaded } from "./EntityError.ts"
import { entityActive, entityPassivated } from "./EntityMetrics.ts"
import { bytesOfCommand, defaultMaxBytes } from "./internal/commandBytes.ts"
import { commandsThatWait } from "./internal/commandsThatWait.ts"
import { maxAttempts, pauseAfter } from "./internal/conflicts.ts"
import { handle, isOutdated } from "./internal/handle.ts"
import { LastUse, type Used } from "./internal/LastUse.ts"
import { Mailbox } from "./internal/Mailbox.ts"
import { HasTurn } from "./internal/Turns.ts"

/** How long whoever is stopped may take to end, in milliseconds. */
const stopWithin = 5_000

/** How long, in milliseconds, is waited at least between two looks for those that are idle. */
const sweepEach = 100

/** So many are passivated at a time before others have their turn. */
const sweep = 1_000

/**
 * How much activations may take.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** How many commands may wait for one entity; 1,000 where nothing is said. The next ones fail with `Overloaded`. */
  readonly mailbox?: number | undefined
  /**
   * How many entities of the type may be active in this process; 10,000 where nothing is said. For another one the one is passivated that was used least
   * recently. When all of them have commands, commands for others fail with `Overloaded`. It is what bounds the memory for states, of which nobody knows
   * how large they are: an entity that is idle takes less than a kilobyte beside its state.
   */
  readonly maxActive?: number | undefined
  /**
   * How many bytes the commands of the type may take that have come and are not answered, and those that entities remember, in this process; 256 MiB where nothing
   * is said. For more the entities are passivated that were used least recently; where that is not enough, commands fail with `Overloaded`. Bytes are counted roughly, as those of texts and binary
   * data, and a command that comes alone may have any number of them.
   */
  readonly maxBytes?: number | undefined
  /** For how long an entity stays active without a command at least, and a tenth of that, or 100 ms, more at most; 2 minutes where nothing is said. */
  readonly idleAfter?: Duration.Input | undefined
  /** How long the end of the layer waits until the commands that have come are handled; 10 seconds where nothing is said. */
  readonly shutdownWithin?: Duration.Input | undefined
}

/**
 * The entities of a type that are active in this process.
 *
 * @category models
 * @since 0.1.0
 */
export interface Activations extends Runner {
  /** How many there are. */
  readonly size: Effect.Effect<number>
  /**
   * Passivates those that are meant, and waits until they have handled the commands that have come, and are gone. A command that comes later makes
   * its entity active again; one that comes while the entity is busy is handled before, so that it does not end while commands come without a pause.
   * It has no deadline of its own, and may be interrupted.
   */
  readonly passivate: (isMeant: (id: string) => boolean) => Effect.Effect<void>
  /**
   * Gives up those that are meant, at once. The commands in hand are stopped, and fail as one of which nobody knows whether it was executed; those that wait
   * fail as not begun. A command that comes later makes its entity active anew, from what is stored.
   */
  readonly abandon: (isMeant: (id: string) => boolean) => Effect.Effect<void>
}

/** A command, and who waits for the answer. */
interface Sent {
  readonly command: Command
  /** The span of whoever has sent it, if there is a tracer. */
  readonly parent: Tracer.AnySpan | undefined
  /** The commands of an activation are numbered, from 1 on. */
  readonly number: number
  readonly answer: (answer: Effect.Effect<Answer, EntityError>) => void
}

/** Ends a command that waits for too long, unless it was stopped. */
type Impatience = Fiber.Fiber<void>

/** Why an entity is active no more, see {@link entityPassivated}. */
type Reason = "idle" | "room" | "released" | "abandoned" | "unknown"

/** An entity that is active. While it is idle it is nothing but this. */
class Activation<Held> implements Used<Activation<Held>> {
  readonly id: string
  readonly mailbox: Mailbox<Sent>
  /** What is known of the entity, unless it has to be recovered. */
  held: Held | undefined
  /** What the commands take that are remembered. */
  bytes = 0
  /** How many commands have come. */
  count = 0
  /** Nobody else had written to the entity after what is held, when so many had come. */
  verifiedAt = 0
  /** Why it could not be recovered, and for how long it is left alone therefore at least. */
  failure: { readonly cause: Cause.Cause<EntityError>; readonly took: number } | undefined
  inHand: Sent | undefined
  /** Who works on it. */
  fiber: Fiber.Fiber<void> | undefined
  /** Who waits until it is gone. */
  whenGone: Array<() => void> | undefined
  /** Why it is not active any more, once it is gone. */
  leaves: Reason = "unknown"
  usedAt = 0
  before: Activation<Held> | undefined
  after: Activation<Held> | undefined

  constructor(id: string, mailbox: number) {
    this.id = id
    this.mailbox = new Mailbox(mailbox)
  }
}

/** What may be full, and the option that says how much it may take. */
const limitOf = { mailbox: "mailbox", activations: "maxActive", memory: "maxBytes" } as const
type Full = keyof typeof limitOf

/** The options, times in milliseconds. */
interface Limits {
  readonly mailbox: number
  readonly maxActive: number
  readonly maxBytes: number
  readonly idleAfter: number
  readonly shutdownWithin: number
}

const limitsOf = ({ idleAfter, mailbox, maxActive, maxBytes, shutdownWithin }: Options): Limits => ({
  mailbox: positive("mailbox", mailbox ?? 1_000),
  maxActive: positive("maxActive", maxActive ?? 10_000),
  maxBytes: positive("maxBytes", maxBytes ?? defaultMaxBytes),
  idleAfter: millis("idleAfter", idleAfter ?? "2 minutes"),
  shutdownWithin: millis("shutdownWithin", shutdownWithin ?? "10 seconds")
})

const positive = (option: string, n: number): number => {
  if (!Number.isSafeInteger(n) || n < 1) throw new RangeError(`${option} is ${n}: an integer from 1`)
  return n
}

const millis = (option: string, input: Duration.Input): number => {
  const duration = Option.getOrUndefined(Duration.fromInput(input))
  if (duration === undefined) throw new RangeError(`${option} is ${Formatter.format(input)}: a duration`)
  return Duration.toMillis(duration)
}

/**
 * Runs entities in this process. The state of each is in memory from its first command on, until it has been idle for long, or another one needs the
 * room. A fiber works on an entity while it has commands. Throws a `RangeError` for an option that cannot be.
 *
 * **Details**
 *
 * The commands of an entity are handled one after the other, in the order in which they come, whoever sends them. A caller who is interrupted takes
 * back a command that has not begun; one that has begun is handled to its end.
 *
 * Where another process has written to the entity, what is held of it is thrown away, and the command is decided anew on what is stored then, up to
 * ten times. Before it is rejected, or is answered without anything to write though it has an id, it is seen to that nobody has written anything newer.
 *
 * Where the entity cannot be recovered, all commands that wait for it fail, and it is tried again after a while: 50 milliseconds at first, up to a second.
 * Where that is not the database's fault, the while is also as long as the attempt has taken.
 *
 * When the scope ends, no more commands are taken, and those that have come are handled within a budget. What takes longer is stopped.
 *
 * **Gotchas**
 *
 * A command is no part of a transaction of whoever sends it. So one that is sent in a transaction fails with `InvalidCommand`: the two could wait for
 * each other.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <Held>(
  behaviour: Behaviour<Held>,
  options: Options = {}
): Effect.Effect<Activations, never, Scope.Scope> => activating(behaviour, limitsOf(options))

/**
 * Runs the entities of a type in this process, see {@link make}.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Name extends string, R>(
  entity: Entity<Name, any, R>,
  options: Options = {}
): Layer.Layer<Runs<Name>, never, R> => {
  const limits = limitsOf(options)
  return Layer.effect(
    Runs(entity.name),
    Effect.flatMap(entity.behaviour, (behaviour) => activating(behaviour, limits))
  ) as Layer.Layer<Runs<Name>, never, R>
}

const activating = Effect.fnUntraced(function*<Held>(
  behaviour: Behaviour<Held>,
  limits: Limits
): Effect.fn.Return<Activations, never, Scope.Scope> {
  const { idleAfter, maxActive, maxBytes, shutdownWithin } = limits
  const { name } = behaviour
  // what is done for a command is no part of a transaction of whoever sends it
  const context = yield* Effect.context()
  const run = Effect.runForkWith(Context.add(Context.omit(Tracer.ParentSpan)(context), HasTurn, true))
  const clock = yield* Clock.Clock
  const now = (): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

  const commands = commandsThatWait(name)
  const count = Metric.withAttributes(entityActive, { entity_type: name })
  const passivated = (reason: Reason): void =>
    Metric.withAttributes(entityPassivated, { entity_type: name, reason }).updateUnsafe(1, context)

  const active = new Map<string, Activation<Held>>()
  /** Those that nobody works on. */
  const idle = new LastUse<Activation<Held>>()
  /** What commands take that are not answered, what activations remember, and what those remember that are idle. */
  const bytes = { commands: 0, remembered: 0, idle: 0 }
  let isClosing = false
  /** Is told once nobody works on any. */
  let whenIdle: (() => void) | undefined

  const hold = (activation: Activation<Held>, held: Held | undefined): void => {
    activation.held = held
    // one that was given up may still learn something
    const isActive = held !== undefined && active.get(activation.id) === activation
    const remembered = isActive ? behaviour.rememberedBytes(held) : 0
    bytes.remembered += remembered - activation.bytes
    activation.bytes = remembered
  }

  const toIdle = (activation: Activation<Held>): void => {
    idle.add(activation, now())
    bytes.idle += activation.bytes
  }

  const fromIdle = (activation: Activation<Held>): void => {
    idle.remove(activation)
    bytes.idle -= activation.bytes
  }

  /** Whether so many bytes more have room, where those are passivated that are idle. A command that comes alone has room. */
  const hasRoom = (more: number): boolean => {
    while (bytes.commands + bytes.remembered + more > maxBytes && bytes.idle > 0) passivateIdle(idle.oldest!, "room")
    return bytes.commands === 0 || bytes.commands + bytes.remembered + more <= maxBytes
  }

  const gone = (activation: Activation<Held>): void => {
    // one that was given up may end when there is another for its entity
    if (active.get(activation.id) === activation) {
      active.delete(activation.id)
      count.modifyUnsafe(-1, context)
      passivated(activation.leaves)
    }
    hold(activation, undefined)
    const { whenGone } = activation
    activation.whenGone = undefined
    whenGone?.forEach((tell) => tell())
  }

  const passivateIdle = (activation: Activation<Held>, reason: Reason): void => {
    activation.leaves = reason
    fromIdle(activation)
    activation.mailbox.passivate()
    gone(activation)
  }

  /** Nobody works on it from now on. */
  const rest = (activation: Activation<Held>): void => {
    activation.fiber = undefined
    if (activation.mailbox.life === "gone") gone(activation)
    else {
      toIdle(activation)
      hasRoom(0)
    }
    if (idle.size === active.size) whenIdle?.()
  }

  const recover = Effect.fnUntraced(function*(
    activation: Activation<Held>
  ): Effect.fn.Return<Held, EntityError> {
    const began = now()
    const { count } = activation
    activation.failure = undefined
    const exit = yield* Effect.exit(behaviour.recover(activation.id))
    if (Exit.isSuccess(exit)) {
      hold(activation, exit.value)
      activation.verifiedAt = count
      activation.mailbox.recovered()
      return exit.value
    }
    const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
    // the entity is not read again and again; a database that was away may be back
    activation.failure = { cause: exit.cause, took: error?._tag === "JournalUnavailable" ? 0 : now() - began }
    return yield* Effect.failCause(exit.cause)
  })

  /** Handles a command: once more after another has written to the entity. */
  const decide = (activation: Activation<Held>, sent: Sent, attempt: number): Effect.Effect<Answer, EntityError> =>
    activation.mailbox.needsRecovery
      ? Effect.flatMap(recover(activation), (held) => decideOn(held, activation, sent, attempt))
      : decideOn(activation.held!, activation, sent, attempt)

  const decideOn = (
    held: Held,
    activation: Activation<Held>,
    sent: Sent,
    attempt: number
  ): Effect.Effect<Answer, EntityError> => {
    const { count } = activation
    return Effect.matchCauseEffect(handle(behaviour, held, sent.command, sent.number <= activation.verifiedAt), {
      onSuccess: ({ answer, held, isVerified }) => {
        hold(activation, held)
        if (isVerified) activation.verifiedAt = count
        return Effect.succeed(answer)
      },
      onFailure: (cause) => {
        const error = Option.getOrUndefined(Cause.findErrorOption(cause))
        if (error === undefined || isOutdated(error)) {
          hold(activation, undefined)
          activation.mailbox.lost()
        }
        if (error?._tag !== "Stale") return Effect.failCause(cause as Cause.Cause<EntityError>)
        if (attempt === maxAttempts) {
          const { cause } = error
          return new EntityConflict({ entityType: name, id: activation.id, attempts: attempt, cause })
        }
        return Effect.andThen(pauseAfter(attempt), Effect.suspend(() => decide(activation, sent, attempt + 1)))
      }
    })
  }

  /** Works on an activation until no command waits. */
  const work = Effect.fnUntraced(function*(activation: Activation<Held>) {
    const { mailbox } = activation
    for (;;) {
      if (mailbox.needsRecovery && mailbox.size > 0) {
        const exit = yield* Effect.exit(recover(activation))
        if (Exit.isFailure(exit)) return failed(activation)
        continue
      }
      const sent = activation.inHand = mailbox.next()
      if (sent === undefined) return rest(activation)
      const handling = decide(activation, sent, 1)
      const exit = yield* Effect.exit(
        sent.parent === undefined ? handling : Effect.provideService(handling, Tracer.ParentSpan, sent.parent)
      )
      if (activation.failure !== undefined) return failed(activation)
      activation.inHand = undefined
      sent.answer(exit)
    }
  })

  /** All commands fail as the recovery has. Whoever is answered may send the next one at once, so nobody works on it by then. */
  const failed = (activation: Activation<Held>): void => {
    const { inHand, mailbox } = activation
    const { cause, took } = activation.failure!
    activation.inHand = undefined
    const waiting = mailbox.failed(now(), took)
    rest(activation)
    const failure = Effect.failCause(cause)
    inHand?.answer(failure)
    for (const { answer } of waiting) answer(failure)
  }

  /** Whoever works on it was stopped, or is about to be. */
  const abandon = (activation: Activation<Held>, cause: Cause.Cause<never>): void => {
    const { inHand, mailbox } = activation
    activation.leaves = "abandoned"
    mailbox.passivate()
    if (!mailbox.needsRecovery) mailbox.lost()
    const waiting = mailbox.failed(0, 0)
    rest(activation)
    inHand?.answer(Effect.fail(unreachable(activation.id, true, cause)))
    for (const { answer } of waiting) answer(Effect.fail(unreachable(activation.id, false, cause)))
  }

  const begin = (activation: Activation<Held>): void => {
    const fiber = run(work(activation))
    fiber.addObserver((exit) => {
      if (Exit.isFailure(exit)) abandon(activation, exit.cause)
    })
    // it may be done already
    if (fiber.pollUnsafe() === undefined) activation.fiber = fiber
  }

  const ended = "the process that runs it has ended its work on it"
  const ending = "the process that runs it is about to end"
  const unreachable = (id: string, isUnknown: boolean, cause?: Cause.Cause<never>) =>
    new EntityUnreachable({
      entityType: name,
      id,
      isUnknown,
      problem: cause === undefined ? ending : ended,
      ...(cause === undefined || Cause.hasInterruptsOnly(cause) ? {} : { cause: Cause.squash(cause) })
    })

  const overloaded = (id: string, full: Full, context: Context.Context<never>) => {
    commands.refused(full, context)
    return Effect.fail(
      new Overloaded({
        entityType: name,
        id,
        full,
        limit: limits[limitOf[full]]
      })
    )
  }

  /** The activation of an entity; undefined where there is no room for another one. */
  const activate = (id: string): Activation<Held> | undefined => {
    let activation = active.get(id)
    if (activation !== undefined) return activation
    if (active.size >= maxActive) {
      if (idle.oldest === undefined) return undefined
      passivateIdle(idle.oldest, "room")
    }
    active.set(id, activation = new Activation(id, limits.mailbox))
    count.modifyUnsafe(1, context)
    return activation
  }

  const send = (id: string, command: Command): Effect.Effect<Answer, EntityError> =>
    Effect.withFiber((fiber) =>
      Effect.callback((answer) => {
        if (isClosing) return answer(Effect.fail(unreachable(id, false)))
        let taken = bytesOfCommand(command)
        if (!hasRoom(taken)) return answer(overloaded(id, "memory", fiber.context))
        const activation = activate(id)
        if (activation === undefined) return answer(overloaded(id, "activations", fiber.context))
        const { mailbox } = activation
        const { life, size } = mailbox
        bytes.commands += taken
        let impatience: Impatience | undefined
        const done = () => {
          bytes.commands -= taken
          taken = 0
          impatience?.interruptUnsafe()
        }
        const sent: Sent = {
          command,
          parent: parentOf(fiber),
          number: ++activation.count,
          answer: (exit) => {
            done()
            answer(exit)
          }
        }
        switch (mailbox.offer(sent, life === "failed" ? now() : 0)) {
          case "refused":
            return sent.answer(overloaded(id, "mailbox", fiber.context))
          case "waits":
            commands.waits(size, fiber.context)
            break
          case "failed":
            return sent.answer(Effect.failCause(activation.failure!.cause))
          case "begins":
            if (life !== "new") fromIdle(activation)
            begin(activation)
        }
        const { beginsWithin } = command
        // it waits for others, or for the recovery
        if (beginsWithin !== undefined && taken > 0 && activation.inHand !== sent) {
          impatience = run(Effect.andThen(
            Effect.sleep(beginsWithin),
            Effect.sync(() => {
              impatience = undefined
              if (!mailbox.withdraw(sent)) return
              commands.refused("time", fiber.context)
              const limit = Math.round(beginsWithin)
              sent.answer(Effect.fail(new Overloaded({ entityType: name, id, full: "time", limit })))
            })
          ))
        }
        return Effect.sync(() => {
          if (mailbox.withdraw(sent)) done()
        })
      })
    )

  /** Passivates those that have been idle for long, the one that was used least recently first. */
  const sweeping = Effect.gen(function*() {
    for (;;) {
      const { oldest } = idle
      const wait = oldest === undefined ? idleAfter : oldest.usedAt + idleAfter - now()
      yield* Effect.sleep(Math.max(wait, idleAfter / 10, sweepEach))
      const until = now() - idleAfter
      for (let n = 1; idle.oldest !== undefined && idle.oldest.usedAt <= until; n++) {
        passivateIdle(idle.oldest, "idle")
        if (n % sweep === 0) yield* Effect.yieldNow
      }
    }
  })

  if (idleAfter < Infinity) yield* Effect.forkScoped(sweeping)

  yield* Effect.addFinalizer(() =>
    Effect.gen(function*() {
      isClosing = true
      const isIdle = Effect.callback<void>((resume) => {
        whenIdle = () => resume(Effect.void)
        if (idle.size === active.size) whenIdle()
      })
      yield* Effect.timeoutOption(isIdle, shutdownWithin)
      const fibers = Array.from(active.values()).flatMap(({ fiber }) => fiber === undefined ? [] : [fiber])
      if (fibers.length > 0) {
        yield* Effect.logWarning(
          `Ends, and ${fibers.length} entities have not handled their commands within ${shutdownWithin} ms. Stops them`
        )
        yield* Effect.timeoutOption(Fiber.interruptAll(fibers), stopWithin)
        // what does not let itself be stopped is left to itself, and nobody waits for its answer
        for (const activation of Array.from(active.values())) {
          if (activation.mailbox.isBusy) abandon(activation, Cause.interrupt())
        }
      }
      count.modifyUnsafe(-active.size, context)
      active.clear()
    }).pipe(Effect.annotateLogs({ entityType: name }))
  )

  return {
    ...outsideTransactions(name, behaviour.inTransaction, { send }),
    size: Effect.sync(() => active.size),
    passivate: (isMeant) =>
      Effect.callback((resume) => {
        let left = 1
        const goneOne = () => {
          if (--left === 0) resume(Effect.void)
        }
        for (const activation of Array.from(active.values())) {
          if (!isMeant(activation.id)) continue
          if (activation.mailbox.isBusy) {
            left++
            activation.leaves = "released"
            activation.mailbox.passivate()
            ;(activation.whenGone ??= []).push(goneOne)
          } else passivateIdle(activation, "released")
        }
        goneOne()
      }),
    abandon: (isMeant) =>
      Effect.sync(() => {
        for (const activation of Array.from(active.values())) {
          if (!isMeant(activation.id)) continue
          if (activation.mailbox.isBusy) {
            const { fiber } = activation
            // it is not waited for, as what it does may not let itself be stopped
            abandon(activation, Cause.interrupt())
            fiber?.interruptUnsafe()
          } else passivateIdle(activation, "abandoned")
        }
      })
  }
})

/** Spans cost more than all other work, so there are none without a tracer. */
const parentOf = ({ context }: Fiber.Fiber<any, any>): Tracer.AnySpan | undefined =>
  Context.get(context, Tracer.Tracer) === Tracer.nativeTracer
    ? undefined
    : Context.getOrUndefined(context, Tracer.ParentSpan)
