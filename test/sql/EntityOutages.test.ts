/** A database that is halted, and then killed, while entities of all kinds have commands. */
import { assert, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as Journal from "@sluice/core/Journal"
import * as StateType from "@sluice/core/StateType"
import * as Decision from "@sluice/entity/Decision"
import * as DurableState from "@sluice/entity/DurableState"
import type { EntityError } from "@sluice/entity/EntityError"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as MysqlStorage from "@sluice/mysql/MysqlStorage"
import * as PostgresStorage from "@sluice/postgres/PostgresStorage"
import * as Wait from "@sluice/testing/Wait"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Servers from "../kit/Servers.ts"

/** `token` is of one command. */
class Added extends Schema.TaggedClass<Added>()("Added", { token: Schema.String }) {}

const commands = [Rpc.make("Add", { payload: { token: Schema.String }, success: Schema.Int })]

const eventsOf = (name: string) =>
  EventSourced.make(EntityType.make(name, { event: Added }), {
    state: Schema.Int,
    initial: 0,
    commands,
    decide: { Add: ({ payload }) => Decision.persist([new Added(payload)], (count: number) => count) },
    evolve: (count) => count + 1
  })

const statesOf = (name: string) =>
  DurableState.make(StateType.make(name, { state: Schema.Int }), {
    initial: 0,
    commands,
    decide: { Add: ({ state }) => Decision.update(state + 1, state + 1) },
    changeEvent: [EntityType.make(name, { event: Added }), ({ command }) => new Added(command.payload)]
  })

const active = eventsOf("active-events")
const plain = eventsOf("plain-events")
const activeStates = statesOf("active-states")
const plainStates = statesOf("plain-states")

const Entities = Layer.mergeAll(
  EventSourced.layer(active),
  EventSourced.layerPlain(plain),
  DurableState.layer(activeStates),
  DurableState.layerPlain(plainStates)
)

const clients = Effect.all({
  "active events": EventSourced.client(active),
  "plain events": EventSourced.client(plain),
  "an active state": DurableState.client(activeStates),
  "a plain state": DurableState.client(plainStates)
})
type Kind = Effect.Success<typeof clients> extends infer Clients ? keyof Clients : never
const typeOf: Record<Kind, EntityType.EntityType<Added>> = {
  "active events": active.entityType,
  "plain events": plain.entityType,
  "an active state": activeStates.changeEvents!,
  "a plain state": plainStates.changeEvents!
}
const kinds = Object.keys(typeOf) as ReadonlyArray<Kind>

/** What a caller knows of a command in the end: the reply, that it was not executed, or neither. */
type Known = number | "not executed" | "unknown"

interface Sender {
  readonly kind: Kind
  readonly id: string
  readonly known: Map<string, Known>
  acknowledged: number
  failures: number
}

/** Appends wait half a minute for a database that is away, and then for an answer; the rest is for a busy machine. */
const deadline = Duration.minutes(2)

const timeouts = { connectTimeout: 2_000, statementTimeout: 2_000, lockTimeout: 2_000 }

for (const name of ["postgres", "mariadb"] as const) {
  it.live(
    `entities outlive that ${name} is halted and killed: no acknowledged command is lost, none is executed twice, and none that fails as not executed`,
    () =>
      Effect.gen(function*() {
        const { database, freeze, host, kill, password, port, start, thaw, user } = yield* Servers.start(name, {
          durable: true
        })
        const storage = name === "postgres"
          ? PostgresStorage.layer({ host, port, user, database, ...timeouts })
          : MysqlStorage.layer({ host, port, user, password, database, ...timeouts })
        yield* Effect.gen(function*() {
          const clientOf = yield* clients
          const load = { isOver: false }
          const attempt = (sender: Sender, token: string, commandId?: string) =>
            Effect.gen(function*() {
              const { Add } = clientOf[sender.kind](sender.id)
              const [time, result] = yield* Effect.timed(Effect.result(Add({ token }, { commandId })))
              assert.isTrue(
                Duration.isLessThan(time, deadline),
                `${sender.kind}: a command took ${Duration.format(time)}`
              )
              if (Result.isSuccess(result)) {
                sender.acknowledged++
                return result.success
              }
              const error: EntityError = result.failure
              assert.strictEqual(error._tag, "JournalUnavailable", error.message)
              sender.failures++
              return error.isUnknown ? "unknown" : "not executed"
            })
          const sends = Effect.fnUntraced(function*(sender: Sender, nth: number) {
            for (let n = 0; !load.isOver; n++) {
              const token = `${nth}-${n}`
              if (n % 2 === 0) sender.known.set(token, yield* attempt(sender, token))
              else {
                let known: Known
                // a load that leaves a busy machine something to do
                while (typeof (known = yield* attempt(sender, token, token)) === "string") {
                  yield* Effect.sleep("50 millis")
                }
                sender.known.set(token, known)
              }
              yield* Effect.sleep("20 millis")
            }
          })
          const senders = kinds.flatMap((kind) =>
            ["a", "a", "b"].map((id): Sender => ({ kind, id, known: new Map(), acknowledged: 0, failures: 0 }))
          )
          const fibers = yield* Effect.forEach(senders, (sender, nth) => Effect.forkChild(sends(sender, nth)))
          const until = (what: string, isDone: () => boolean) =>
            Effect.raceFirst(
              Wait.until(what, isDone, { atMost: "150 seconds" }),
              // a sender whose assertion does not hold
              Effect.asVoid(Fiber.joinAll(fibers))
            )
          const goesOn = Effect.suspend(() => {
            const before = senders.map(({ acknowledged }) => acknowledged)
            return until("commands of all senders to be acknowledged", () =>
              senders.every(({ acknowledged }, i) => acknowledged > before[i]! + 4))
          })
          const failuresOf = (kind: Kind) =>
            senders.reduce((sum, sender) =>
              sender.kind === kind ? sum + sender.failures : sum, 0)
          const fails = Effect.suspend(() => {
            const before = kinds.map(failuresOf)
            return until("commands to fail", () =>
              // an activation need not read, and its appends may be done once the database is back
              kinds.every((kind, i) => kind === "active events" || failuresOf(kind) > before[i]!))
          })

          yield* goesOn
          yield* freeze
          yield* fails
          yield* thaw
          yield* goesOn
          yield* kill
          yield* fails
          yield* start
          yield* goesOn
          load.isOver = true
          for (const k of kinds) {
            console.error(
              "STAT",
              k,
              senders.filter((x) => x.kind === k).map((x) =>
                [
                  x.acknowledged,
                  x.failures,
                  [...x.known.values()].filter((v) => v === "unknown").length
                ].join("/")
              ).join(" ")
            )
          }
          yield* Fiber.joinAll(fibers)

          for (const kind of kinds) {
            for (const id of ["a", "b"]) {
              const what = `${kind} ${id}`
              const events = yield* Stream.runCollect(Journal.read(typeOf[kind], id))
              const numbers = new Map(
                events.map(({ event, sequenceNumber }) => [event.token, sequenceNumber as number])
              )
              assert.strictEqual(numbers.size, events.length, `${what}: a command was executed twice`)
              for (const sender of senders) {
                if (sender.kind !== kind || sender.id !== id) continue
                for (const [token, known] of sender.known) {
                  const number = numbers.get(token)
                  if (known === "not executed") assert.isUndefined(number, `${what}: ${token} was executed`)
                  else if (known !== "unknown") assert.strictEqual(number, known, `${what}: the reply to ${token}`)
                }
              }
              const last = yield* clientOf[kind](id).Add({ token: "last" })
              assert.strictEqual(last, events.length + 1, what)
            }
          }
        }).pipe(
          Effect.provide(Entities.pipe(Layer.provideMerge(storage))),
          Effect.provideService(References.MinimumLogLevel, "None")
        )
      }).pipe(Effect.scoped),
    600_000
  )
}
