import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Activations from "@sluice/entity/Activations"
import * as Decision from "@sluice/entity/Decision"
import {
  DecisionFailed,
  EntityError,
  EntityUnreachable,
  JournalUnavailable,
  RecoveryFailed
} from "@sluice/entity/EntityError"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as Effect from "effect/Effect"
import { Rpc } from "effect/rpc"
import * as Schema from "effect/Schema"
import type { Elsewhere, EntityAnswer, EntityCommand, Unknown } from "../src/EntityMessage.ts"
import type { Connections, Outcome } from "../src/internal/calls/Connections.ts"
import * as codecs from "../src/internal/entities/codecs.ts"
import { guarded } from "../src/internal/entities/guarded.ts"
import { Node } from "../src/internal/entities/Node.ts"
import type { Routes } from "../src/internal/entities/Routes.ts"
import * as wire from "../src/internal/entities/wire.ts"

type Reply = EntityAnswer | Elsewhere | Unknown

const command: EntityCommand = { entityType: "e", id: "1", tag: "Add", payload: {}, commandId: undefined }
const about = { entityType: "e", id: "1" }

const encode = Schema.encodeSync(Schema.toCodecJson(EntityError))
const failed = (error: EntityError): EntityAnswer => ({ _tag: "Failed", error: encode(error) })
const lost: Outcome = { _tag: "Lost", why: "it was cut" }
const replied: EntityAnswer = { _tag: "Replied", reply: 1, receipt: undefined }
const unavailable = failed(new JournalUnavailable({ ...about, isUnknown: false, cause: new Error("a hiccup") }))

const encoded = (millis: number) => wire.encodeCommand(wire.encodePayload(command), command, millis, undefined)

/** A process that only calls. Its peer answers with one after the other, and then with the last of them again. */
const calling = (...outcomes: ReadonlyArray<Outcome | Reply>) => {
  const sent: Array<wire.Received> = []
  const connections = {
    request: (_: unknown, body: Buffer, _within: number, begins: () => void) =>
      Effect.sync((): Outcome => {
        const outcome = outcomes[Math.min(sent.length, outcomes.length - 1)]!
        sent.push(wire.decodeCommand(body)!)
        begins()
        return outcome._tag === "Lost" || outcome._tag === "Full" || outcome._tag === "NotBegun" ||
            outcome._tag === "Answered"
          ? outcome
          : { _tag: "Answered", answer: Buffer.from(wire.encodeAnswer(outcome)) }
      })
  }
  const routes = {
    find: () => Effect.succeed({ peer: { name: "s@h:1", host: "h", port: 1 }, problem: undefined }),
    databaseTime: () => 77_000_000
  }
  const node = new Node({
    routes: routes as unknown as Routes,
    connections: connections as unknown as Connections,
    crypto: { randomUUID: () => "generated" }
  })
  return { node, sent }
}

const failureOf = (effect: ReturnType<Node["send"]>) => Effect.flip(effect)

describe("a command whose first attempt may have been executed", () => {
  it.live("is sent on where another attempt has failed before it was executed", () =>
    Effect.gen(function*() {
      const { node, sent } = calling(lost, unavailable, unavailable, replied)
      assert.deepStrictEqual(yield* node.send(command, 60_000), JSON.parse(JSON.stringify(replied)))
      assert.deepStrictEqual(sent.map(({ commandId }) => commandId), Array(4).fill("generated"))
      // so that whoever has forgotten what came since does not execute it
      assert.deepStrictEqual(sent.map(({ firstSentAt }) => firstSentAt), [undefined, ...Array(3).fill(77_000_000)])
    }))

  it.live("is never said not to be executed", () =>
    Effect.gen(function*() {
      const errors = [
        [new RecoveryFailed({ ...about, problem: "an event is missing" }), /an event is missing/],
        [new DecisionFailed({ ...about, command: "Add", problem: "it throws" }), /it throws/]
      ] as const
      for (const [error, message] of errors) {
        for (const first of [lost, { _tag: "Unknown", why: "it ends" }] as const) {
          const failure = yield* failureOf(calling(first, failed(error)).node.send(command, 60_000))
          assert.isTrue(failure._tag === "EntityUnreachable" && failure.isUnknown)
          assert.match(failure.message, message)
        }
      }
      const again = yield* failureOf(calling(lost, unavailable).node.send(command, 100))
      assert.isTrue(again.isUnknown)
      assert.match(again.message, /a hiccup/)
      // it is certain where nobody had it before
      assert.deepStrictEqual((yield* calling(unavailable).node.send(command, 60_000))._tag, "Failed")
      const begun = calling({ _tag: "Elsewhere", why: "it moved" }, unavailable)
      assert.deepStrictEqual((yield* begun.node.send(command, 60_000))._tag, "Failed")
    }))
})

describe("a command that a process has not begun with", () => {
  it.live("is sent on as if it had not been sent, unless an earlier attempt may have been executed", () =>
    Effect.gen(function*() {
      const { node, sent } = calling({ _tag: "NotBegun", why: "it has ended" }, replied)
      yield* node.send(command, 60_000)
      assert.deepStrictEqual(sent.map(({ firstSentAt }) => firstSentAt), [undefined, undefined])
      const never = yield* failureOf(calling({ _tag: "NotBegun", why: "it has ended" }).node.send(command, 100))
      assert.isFalse(never.isUnknown)
      const maybe = yield* failureOf(calling(lost, { _tag: "NotBegun", why: "it has ended" }).node.send(command, 100))
      assert.isTrue(maybe.isUnknown)
    }))

  it.live("as it is full fails at once, and is sent on where an earlier attempt may have been executed", () =>
    Effect.gen(function*() {
      const { node, sent } = calling({ _tag: "Full" })
      const answer = yield* node.send(command, 60_000)
      const { _tag, full } = (answer as { readonly error: any }).error
      assert.deepStrictEqual([_tag, full, sent.length], ["Overloaded", "process", 1])
      const again = calling(lost, { _tag: "Full" }, replied)
      assert.strictEqual((yield* again.node.send(command, 60_000))._tag, "Replied")
      assert.strictEqual(again.sent.length, 3)
    }))
})

describe("a command that cannot be sent", () => {
  it.live("is invalid, and not tried again, also where the entity is in the same process", () =>
    Effect.gen(function*() {
      for (const isHere of [false, true]) {
        const { node, sent } = calling(replied)
        if (isHere) node.begins("me", { has: () => true } as never)
        for (const payload of ["x".repeat(5_000_000), 10n]) {
          const error = yield* failureOf(node.send({ ...command, payload }, 60_000))
          assert.strictEqual(error._tag, "InvalidCommand")
        }
        assert.strictEqual(sent.length, 0)
      }
    }))
})

const makeCounter = (remembered = 3) =>
  EventSourced.make(EntityType.make("e", { event: Schema.TaggedStruct("Counted", {}) }), {
    state: Schema.Int,
    initial: 0,
    remembered,
    commands: [Rpc.make("Count", { success: Schema.Int })],
    decide: { Count: ({ state }) => Decision.persist([{ _tag: "Counted" as const }], state + 1) },
    evolve: (count) => count + 1
  })

const second = 1_000_000
/** What an entity answers that has had others meanwhile. */
const answers = (others: number, firstSentAt: number | undefined, remembered: number) =>
  Effect.gen(function*() {
    const Counter = makeCounter(remembered)
    const coding = codecs.make(Counter)
    const behaviour = guarded(yield* Counter.behaviour, () => true)
    const count = (commandId: string, firstSentAt?: number) =>
      Effect.gen(function*() {
        // it is recovered each time
        const { send } = yield* Activations.make(behaviour)
        const received: EntityCommand = { ...command, tag: "Count", payload: null, commandId, firstSentAt }
        const answer = yield* coding.encodeAnswer(
          received,
          Effect.flatMap(coding.decodeCommand(received), (decoded) => send("1", decoded))
        )
        if (answer._tag === "Elsewhere" || answer._tag === "Unknown") return answer._tag
        return yield* Effect.match(coding.decodeAnswer(received, answer), {
          onSuccess: (answer) => answer._tag === "Replied" ? answer.reply : answer.error,
          onFailure: (error) => error
        })
      }).pipe(Effect.scoped)
    assert.strictEqual(yield* count("first"), 1)
    for (let i = 0; i < others; i++) yield* count(`other ${i}`)
    return { again: yield* count("first", firstSentAt), next: yield* count("last") }
  }).pipe(Effect.provide(MemoryStorage.layer), Effect.scoped)

describe("an entity that is sent a command again", () => {
  it.live("answers as before while it remembers it", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* answers(2, 0, 3), { again: 1, next: 4 })
    }))

  it.live("does not execute it when it may have forgotten it", () =>
    Effect.gen(function*() {
      for (const remembered of [3, 0]) {
        const { again, next } = yield* answers(3, Date.now() * 1_000, remembered)
        assert.isTrue(again instanceof EntityUnreachable && again.isUnknown)
        assert.match((again as EntityUnreachable).message, /does not remember as many commands as it has had since/)
        assert.strictEqual(next, 5)
      }
    }))

  it.live("executes it when all is remembered since it was sent first", () =>
    Effect.gen(function*() {
      // the one that is forgotten is older
      assert.deepStrictEqual(yield* answers(3, Date.now() * 1_000 + 60 * second, 3), { again: 5, next: 6 })
    }))
})

describe("what cannot be told of a command that may have been executed", () => {
  const coding = codecs.make(makeCounter())
  const count: EntityCommand = { ...command, tag: "Count", payload: null }

  it.effect("is that it was not", () =>
    Effect.gen(function*() {
      const unfit = yield* Effect.flip(
        coding.decodeAnswer(count, { _tag: "Replied", reply: "many", receipt: undefined })
      )
      assert.deepInclude(unfit, { _tag: "InvalidDecision", isUnknown: true, wasExecuted: true })
      const none = yield* Effect.flip(coding.decodeAnswer(count, { _tag: "Failed", error: { _tag: "Newer" } }))
      assert.deepInclude(none, { _tag: "EntityUnreachable", isUnknown: true })
      // what cannot be encoded is of an entity that has replied
      const replies = [
        Effect.succeed({ _tag: "Replied", reply: "many", receipt: undefined } as const),
        Effect.die("bug")
      ]
      for (const reply of replies) {
        const answer = yield* coding.encodeAnswer(count, reply)
        assert.strictEqual(answer._tag, "Failed")
        const error = yield* Effect.flip(coding.decodeAnswer(count, answer as EntityAnswer))
        assert.isTrue(error.isUnknown)
      }
    }))
})

describe("the id of a command", () => {
  it.effect("is checked by the process that is sent it as well", () =>
    Effect.gen(function*() {
      const coding = codecs.make(makeCounter())
      for (const commandId of ["", "x".repeat(201), "a\0"]) {
        const error = yield* Effect.flip(
          coding.decodeCommand({ ...command, tag: "Count", payload: null, commandId })
        )
        assert.strictEqual(error._tag, "InvalidCommand")
        assert.match(error.problem, /the command id/)
      }
    }))
})

describe("a process that is asked", () => {
  it.live("says what is wrong with an answer that cannot be sent, and not of one that was executed that it was not", () =>
    Effect.gen(function*() {
      const { node } = calling(replied)
      node.begins("me", { has: () => true } as never)
      for (const reply of ["x".repeat(5_000_000), 10n]) {
        for (const receipt of [undefined, {}]) {
          yield* Effect.scoped(Effect.gen(function*() {
            yield* node.serve("e", {
              handle: () => Effect.succeed({ _tag: "Replied", reply, receipt }),
              close: () => Effect.void,
              abandon: () => Effect.void
            })
            const answer = wire.decodeAnswer(
              Buffer.from(yield* node.answer(encoded(60_000)))
            )
            for (const said of [answer, yield* node.send(command, 60_000)]) {
              const { _tag, isUnknown } = (said as { readonly error: any }).error
              assert.deepStrictEqual(
                [_tag, isUnknown],
                receipt === undefined ? ["InvalidDecision", undefined] : ["EntityUnreachable", true]
              )
            }
          }))
        }
      }
    }))

  it.live("does not say of a command that it has in hand that it has not begun", () =>
    Effect.gen(function*() {
      const { node } = calling(replied)
      const shards = { has: () => true }
      node.begins("me", shards as never)
      yield* Effect.scoped(Effect.gen(function*() {
        yield* node.serve("e", { handle: () => Effect.never, close: () => Effect.void, abandon: () => Effect.void })
        const answer = wire.decodeAnswer(Buffer.from(yield* node.answer(encoded(10))))
        assert.strictEqual(answer?._tag, "Unknown")
      }))
    }))
})
