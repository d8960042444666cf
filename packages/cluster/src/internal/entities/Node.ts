import { EntityError, EntityUnreachable, InvalidCommand, InvalidDecision, Overloaded } from "@sluice/entity/EntityError"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import type { Elsewhere, EntityAnswer, EntityCommand, Unknown } from "../../EntityMessage.ts"
import type { Connections } from "../calls/Connections.ts"
import { maxArrivalBytes, maxBesides, maxBytes, maxCalls } from "../calls/method.ts"
import type { EntityShards } from "./EntityShards.ts"
import type { Routes } from "./Routes.ts"
import { shardOf } from "./shardOf.ts"
import * as wire from "./wire.ts"

/** How long a command waits before it is sent on, in milliseconds: at first, and at most. */
const firstPause = 10
const longestPause = 500

/** So many of the things that were tried are said in the end. */
const said = 4

/**
 * @internal
 * The entities of a type that run in this process.
 */
export interface Served {
  /** The name of the command that events of other replicas come with, where they are replicated. */
  readonly arrival?: string | undefined
  /** It answers once the entity has, or it is clear that it does not. */
  readonly handle: (command: EntityCommand) => Effect.Effect<EntityAnswer | Elsewhere | Unknown>
  /** Ends once nothing is in hand for the entities that are meant, and nothing is kept of them. */
  readonly close: (isMeant: (id: string) => boolean) => Effect.Effect<void>
  /** Keeps nothing of the entities that are meant, and answers what is in hand for them at once. */
  readonly abandon: (isMeant: (id: string) => boolean) => Effect.Effect<void>
}

/**
 * @internal
 * A process of a cluster: it sends commands to where their entities are, and serves those that are here.
 */
export class Node {
  readonly #routes: Routes
  readonly #connections: Connections
  readonly #crypto: { readonly randomUUID: () => string }
  readonly #served = new Map<string, Served>()
  /** What it is called, and the shards that it has; nothing of a process that only calls. */
  #self: { readonly name: string; readonly shards: EntityShards } | undefined

  constructor(options: {
    readonly routes: Routes
    readonly connections: Connections
    readonly crypto: { readonly randomUUID: () => string }
  }) {
    this.#routes = options.routes
    this.#connections = options.connections
    this.#crypto = options.crypto
  }

  /** The process takes shards from now on. */
  begins(name: string, shards: EntityShards): void {
    this.#self = { name, shards }
  }

  /** Whether the entity is this process's, and no other process can have it. */
  has(entityType: string, id: string): boolean {
    return this.#self?.shards.has(shardOf(entityType, id)) === true
  }

  /** Entities of a type run here for as long as the scope. */
  serve(entityType: string, served: Served): Effect.Effect<void, never, Scope.Scope> {
    return Effect.acquireRelease(
      Effect.suspend(() => {
        if (this.#served.has(entityType)) {
          return Effect.die(
            new Error(
              `This process has an EntityCluster.layer of '${entityType}' already: make it once for each cluster`
            )
          )
        }
        this.#served.set(entityType, served)
        return Effect.void
      }),
      () => Effect.sync(() => void this.#served.delete(entityType))
    )
  }

  /** Ends once nothing is in hand for entities of these shards, and nothing is kept of them. */
  close(shards: ReadonlySet<number>): Effect.Effect<void> {
    return Effect.suspend(() =>
      Effect.forEach(
        this.#served,
        ([entityType, { close }]) => close((id) => shards.has(shardOf(entityType, id))),
        { concurrency: "unbounded", discard: true }
      )
    )
  }

  /** Keeps nothing of the entities of these shards, and answers what is in hand for them at once. */
  abandon(shards: ReadonlySet<number>): Effect.Effect<void> {
    return Effect.suspend(() =>
      Effect.forEach(
        this.#served,
        ([entityType, { abandon }]) => abandon((id) => shards.has(shardOf(entityType, id))),
        { discard: true }
      )
    )
  }

  /** Answers what another process has sent. */
  readonly answer = (body: Uint8Array): Effect.Effect<string> =>
    Effect.suspend(() => {
      const command = wire.decodeCommand(body)
      if (command === undefined) {
        return Effect.succeed(wire.encodeAnswer(elsewhere("it does not understand the command")))
      }
      const { entityType, parent, tag, within } = command
      const served = this.#served.get(entityType)
      const most = limitOf(served !== undefined && served.arrival === tag) + maxBesides
      if (body.byteLength > most) {
        const invalid = new InvalidCommand({
          entityType,
          id: command.id,
          command: tag,
          problem: tooLarge("it", body.byteLength, most)
        })
        return Effect.succeed(wire.encodeAnswer({ _tag: "Failed", error: encodeError(invalid) }))
      }
      const handled = Effect.timeoutOrElse(this.#here(command), {
        duration: within,
        // it may go on: who has sent it may read this just before he gives up
        orElse: () => Effect.succeed(sendable(command, { _tag: "Unknown", why: "it was not answered in time" }))
      })
      return Effect.map(
        parent === undefined ? handled : Effect.withParentSpan(handled, Tracer.externalSpan(parent)),
        ({ text }) => text
      )
    })

  /** Sends a command to where its entity is, for as long as `within`, in milliseconds. */
  send(command: EntityCommand, within: number): Effect.Effect<EntityAnswer, EntityUnreachable | InvalidCommand> {
    const { entityType, id } = command
    return Effect.withFiber((fiber) => {
      const clock = Context.get(fiber.context, Clock.Clock)
      const span = Context.getOrUndefined(fiber.context, Tracer.ParentSpan)
      const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
      const shard = shardOf(entityType, id)
      const deadline = now() + within
      const most = limitOf(command.isArrival === true)
      const tried: Array<string> = []
      let isUnknown = false
      let sent = command
      let readAfter = -Infinity
      let pause = firstPause

      const note = (what: string) => {
        if (tried.at(-1) === what) return
        tried.push(what)
        if (tried.length > said) tried.shift()
      }
      const failure = () =>
        Effect.fail(
          new EntityUnreachable({
            entityType,
            id,
            isUnknown,
            problem: `tried for ${Math.round(now() - deadline + within)} ms: ${
              tried.length === 0 ? "no answer" : tried.join("; then ")
            }`
          })
        )

      /** It cannot be sent, now or later. */
      const invalid = (problem: string): Effect.Effect<never, EntityUnreachable | InvalidCommand> => {
        if (!isUnknown) return Effect.fail(new InvalidCommand({ entityType, id, command: command.tag, problem }))
        note(problem)
        return failure()
      }

      const here = () => this.#here({ ...sent, within: deadline - now() })

      // what is known before an attempt; while somebody has it in hand, it may be executed
      let wasUnknown = false
      let begunAt = deadline
      const begins = () => {
        if (!isUnknown) begunAt = now()
        isUnknown = true
      }

      /** Undefined where it is to be sent on. */
      const answered = (
        answer: EntityAnswer | Elsewhere | Unknown,
        where: string
      ): Effect.Effect<EntityAnswer | undefined, EntityUnreachable | InvalidCommand> => {
        switch (answer._tag) {
          case "Elsewhere":
            isUnknown = wasUnknown
            note(`${where}, ${answer.why}`)
            return Effect.undefined
          case "Unknown":
            note(`${where}, ${answer.why}`)
            // without an id it would be executed again
            return sent.commandId === undefined ? failure() : Effect.undefined
          case "Failed": {
            // it speaks of this attempt alone: an earlier one may have been executed, or be so yet
            const error = wasUnknown ? decodeError(answer.error) : undefined
            if (error === undefined || error.isUnknown) return Effect.succeed(answer)
            note(`${where}, another attempt failed: ${error.message}`)
            return error.isRetryable && sent.commandId !== undefined ? Effect.undefined : failure()
          }
          default:
            return Effect.succeed(answer)
        }
      }

      const attempt: Effect.Effect<EntityAnswer | undefined, EntityUnreachable | InvalidCommand> = Effect.suspend(
        () => {
          wasUnknown = isUnknown
          const self = this.#self
          const isHere = self !== undefined && self.shards.has(shard)
          if (isHere && !isUnknown) {
            begins()
            return Effect.flatMap(here(), ({ answer }) => answered(answer, "in this process"))
          }
          return Effect.flatMap(this.#routes.find(shard, readAfter), ({ peer, problem }) => {
            if (problem !== undefined) note(`the database that says where it is fails: ${problem}`)
            if (isUnknown) {
              const firstSentAt = this.#routes.databaseTime(begunAt)
              // who does not know how old it is could not tell whether it was executed, and is forgotten since
              if (firstSentAt === undefined) return Effect.undefined
              sent = { ...sent, firstSentAt }
            }
            if (isHere) {
              begins()
              return Effect.flatMap(here(), ({ answer }) => answered(answer, "in this process"))
            }
            if (peer === undefined) {
              if (problem === undefined) note("no process has it at the moment")
              return Effect.undefined
            }
            if (peer.name === self?.name) {
              note("this process is about to begin or end with it")
              return Effect.undefined
            }
            const at = `${peer.host}:${peer.port}`
            // a lost answer is asked for again, so that each command that leaves the process has an id
            if (sent.commandId === undefined) sent = { ...sent, commandId: this.#crypto.randomUUID() }
            const rest = Math.max(1, deadline - now())
            const bytes = wire.encodeCommand(payload, sent, rest, span)
            if (bytes.byteLength > most + maxBesides) return invalid(tooLarge("it", bytes.byteLength, most))
            return Effect.flatMap(this.#connections.request(peer, bytes, rest, begins), (outcome) => {
              switch (outcome._tag) {
                case "NotBegun":
                  isUnknown = wasUnknown
                  note(`${at} is not reached: ${outcome.why}`)
                  return Effect.undefined
                case "Lost":
                  isUnknown = true
                  note(`the answer of ${at} was lost: ${outcome.why}`)
                  return Effect.undefined
                case "Full":
                  isUnknown = wasUnknown
                  return answered(
                    {
                      _tag: "Failed",
                      error: encodeError(new Overloaded({ entityType, id, full: "process", limit: maxCalls }))
                    },
                    `at ${at}`
                  )
                case "Answered": {
                  const answer = wire.decodeAnswer(outcome.answer)
                  if (answer === undefined) {
                    isUnknown = true
                    note(`${at} gave an answer that is none`)
                    return Effect.undefined
                  }
                  return answered(answer, `at ${at}`)
                }
              }
            })
          })
        }
      )

      const loop: Effect.Effect<EntityAnswer, EntityUnreachable | InvalidCommand> = Effect.suspend(() => {
        const beganAt = now()
        // nobody would wait for it
        if (beganAt >= deadline) return failure()
        return Effect.flatMap(attempt, (answer) => {
          if (answer !== undefined) return Effect.succeed(answer)
          // what is known of the leases is out of date, or soon will be
          readAfter = beganAt
          const wait = Math.min(pause, Math.max(deadline - now(), 0))
          pause = Math.min(pause * 2, longestPause)
          return Effect.andThen(Effect.sleep(wait), loop)
        })
      })
      // wherever the entity is
      let payload: string
      try {
        payload = wire.encodePayload(command)
      } catch (cause) {
        return invalid(`its payload cannot be sent as JSON: ${String(cause)}`)
      }
      const bytes = bytesOf(payload)
      if (bytes > most) return invalid(tooLarge("it", bytes, most))
      return Effect.timeoutOrElse(loop, { duration: within, orElse: failure })
    })
  }

  #here(command: EntityCommand): Effect.Effect<Sendable> {
    const { entityType, id } = command
    const served = this.#served.get(entityType)
    const handled = served === undefined
      ? Effect.succeed(elsewhere(`entities of the type '${entityType}' do not run yet, or not any more`))
      : this.has(entityType, id)
      ? served.handle(command)
      : Effect.succeed(elsewhere("the entity is another process's"))
    return Effect.map(handled, (answer) => sendable(command, answer))
  }
}

/** An answer, and as it is sent. */
interface Sendable {
  readonly answer: EntityAnswer | Elsewhere | Unknown
  readonly text: string
}

/** The answer, or what is wrong with one that cannot be sent: also to who is in the same process, so that it does not depend on that. */
const sendable = (command: EntityCommand, answer: EntityAnswer | Elsewhere | Unknown): Sendable => {
  const instead = (problem: string): Sendable => {
    const failed = unsendable(command, answer, problem)
    return { answer: failed, text: wire.encodeAnswer(failed) }
  }
  let text: string
  try {
    text = wire.encodeAnswer(answer)
  } catch (cause) {
    return instead(`the answer cannot be sent as JSON: ${String(cause)}`)
  }
  const bytes = bytesOf(text)
  return bytes <= maxBytes ? { answer, text } : instead(tooLarge("the answer", bytes, maxBytes))
}

/** In UTF-8, where that may be too many. */
const bytesOf = (text: string): number => text.length * 3 <= maxBytes ? text.length : Buffer.byteLength(text)

const tooLarge = (what: string, bytes: number, most: number): string =>
  `${what} has ${bytes} bytes, and processes do not send each other more than ${most}`

/** How large a command may be. */
const limitOf = (isArrival: boolean): number => isArrival ? maxArrivalBytes : maxBytes

/** Who has sent a command does not see what it answers. Where something was persisted, nobody may be told that it was not. */
const unsendable = (
  { entityType, id, tag }: EntityCommand,
  answer: EntityAnswer | Elsewhere | Unknown,
  problem: string
): EntityAnswer => ({
  _tag: "Failed",
  error: encodeError(
    answer._tag === "Replied" && answer.receipt !== undefined
      ? new EntityUnreachable({ entityType, id, isUnknown: true, problem: `it was executed, and ${problem}` })
      : new InvalidDecision({ entityType, id, command: tag, problem })
  )
})

const errors = Schema.toCodecJson(EntityError)
const encodeError = Schema.encodeSync(errors)
const decodeErrorOption = Schema.decodeUnknownOption(errors)

/** Undefined for what is none. */
const decodeError = (error: unknown): EntityError | undefined => Option.getOrUndefined(decodeErrorOption(error))

const elsewhere = (why: string): Elsewhere => ({ _tag: "Elsewhere", why })
