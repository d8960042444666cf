import type { Envelope } from "@sluice/core/Envelope"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as PersistenceId from "@sluice/core/PersistenceId"
import type { Answer, Behaviour } from "@sluice/entity/Behaviour"
import * as Decision from "@sluice/entity/Decision"
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { atAnotherTime } from "./anotherTime.ts"
import { throughCodec, throughSchema, Wrong } from "./codecs.ts"
import { eventsAfter, payloadOf } from "./given.ts"
import { type AnyEntity, type Kind, kindOf } from "./kind.ts"
import { difference, isSame, render, short } from "./render.ts"

/** @internal One step: a command to one of the entities, or the end of the process that runs them. */
export type Step =
  | { readonly _tag: "Command"; readonly id: string; readonly tag: string; readonly payload: unknown }
  | { readonly _tag: "Restart" }

/** @internal What a model says of a command. */
export interface Prediction {
  readonly model?: unknown
  readonly reply?: unknown
  readonly error?: unknown
}

/** @internal */
export interface Model {
  readonly initial: unknown
  readonly commands: Readonly<Record<string, (model: any, payload: any) => Prediction>>
  readonly state?: ((model: any) => unknown) | undefined
}

/** @internal */
export interface StepOptions {
  readonly payloads: Readonly<Record<string, Arbitrary.Arbitrary<unknown> | undefined>>
  readonly length: number
  readonly entities: number
}

/** @internal What is wrong, after these steps. */
export interface Fault {
  readonly steps: ReadonlyArray<string>
  readonly problem: string
}

/** An entity in a run. */
interface Live {
  readonly id: string
  held: any
  model: unknown
  /** The number of its last event, or the revision of its state. */
  number: number
  /** The state that its events lead to, folded by the test. */
  folded: unknown
}

/** @internal The steps of a run. */
export const stepsOf = (kind: Kind, { entities, length, payloads }: StepOptions) => {
  const ids = Array.from({ length: entities }, (_, i) => `${i + 1}`)
  const commands = [...kind.commands.values()].map((command) => {
    const payload = payloads[command._tag] ??
      Arbitrary.schema(Schema.toType(command.payloadSchema as Schema.Codec<unknown>))
    return Arbitrary.map(
      Arbitrary.all({ id: Arbitrary.schema(Schema.Literals(ids)), payload }),
      ({ id, payload }): Step => ({ _tag: "Command", id, tag: command._tag, payload })
    )
  })
  const restart: Arbitrary.Arbitrary<Step> = Arbitrary.Constant({ _tag: "Restart" })
  // a restart is as likely as one of the commands
  const all = [...commands, restart]
  const step = Arbitrary.flatMap(
    Arbitrary.schema(Schema.Literals(all.map((_, i) => i))),
    (i): Arbitrary.Arbitrary<Step> => all[i]!
  )
  return Arbitrary.array(step, { minLength: 1, maxLength: length })
}

/** @internal Runs the steps on a storage that is empty, and says what is wrong, if anything is. */
export const faultOf = (
  make: () => AnyEntity,
  steps: ReadonlyArray<Step>,
  model: Model | undefined
): Effect.Effect<Fault | undefined, never, any> =>
  Effect.gen(function*() {
    const told: Array<string> = []
    const fault = yield* Effect.exit(Effect.scoped(run(make, steps, model, told)))
    if (fault._tag === "Success") return undefined
    const wrong = Cause.squash(fault.cause)
    return wrong instanceof Wrong ? { steps: told, problem: wrong.message } : yield* Effect.failCause(fault.cause)
  }).pipe(
    Effect.provide([Layer.fresh(MemoryStorage.layer), TestClock.layer()]),
    Effect.provideService(References.MinimumLogLevel, "None"),
    Effect.orDie
  )

const run = Effect.fnUntraced(function*(
  make: () => AnyEntity,
  steps: ReadonlyArray<Step>,
  model: Model | undefined,
  told: Array<string>
): Effect.fn.Return<void, any, any> {
  let kind = kindOf(make())
  let behaviour: Behaviour<any> = yield* kind.behaviour
  const lives = new Map<string, Live>()

  const lifeOf = Effect.fnUntraced(function*(id: string): Effect.fn.Return<Live, any, any> {
    const known = lives.get(id)
    if (known !== undefined) return known
    const held = yield* recovered(id)
    const life: Live = {
      id,
      held,
      model: model?.initial,
      number: 0,
      folded: kind.initial(id)
    }
    lives.set(id, life)
    return life
  })
  const recovered = (id: string) => Effect.mapError(behaviour.recover(id), wrongly)

  for (const step of steps) {
    if (step._tag === "Restart") {
      told.push("restart")
      kind = kindOf(make())
      behaviour = yield* kind.behaviour
      for (const life of lives.values()) {
        const before = behaviour.state(life.held)
        life.held = yield* recovered(life.id)
        same(
          `After a restart, the state of '${life.id}' is another than before (- before, + after)`,
          before,
          behaviour.state(life.held)
        )
      }
      continue
    }
    const { id, tag } = step
    const life = yield* lifeOf(id)
    told.push(`'${id}' ${tag}${step.payload === undefined ? "" : ` ${short(step.payload)}`}`)
    const answer = yield* command(kind, kindOf(make()), behaviour, life, step)
    told.push(`${told.pop()} → ${answer._tag === "Replied" ? short(answer.reply) : `error ${short(answer.error)}`}`)
    if (model !== undefined) compare(kind, behaviour, life, step, answer, model)
  }
})

const same = (problem: string, expected: unknown, actual: unknown): void => {
  if (!isSame(expected, actual)) throw new Wrong(`${problem}\n${difference(expected, actual)}`)
}

const command = Effect.fnUntraced(function*(
  kind: Kind,
  other: Kind,
  behaviour: Behaviour<any>,
  life: Live,
  { id, payload: input, tag }: Extract<Step, { readonly _tag: "Command" }>
): Effect.fn.Return<Answer, any, any> {
  const declared = kind.commands.get(tag)!
  const payload = payloadOf(declared, input)
  const sent = { tag, payload, commandId: undefined }
  const state = behaviour.state(life.held)
  const text = render(state)
  const decided = yield* Effect.mapError(behaviour.decide(life.held, sent), wrongly)
  // the kernel evolves as it decides
  unchanged(kind.evolve === undefined ? "`decide`" : "`decide` or `evolve`", text, state)
  const { after, answer, held } = yield* Effect.mapError(
    behaviour.persist(life.held, sent, decided),
    (error) => wrongly(error._tag === "Stale" ? error.cause : error)
  )
  unchanged("`evolve`", text, state)
  const request = kind.evolve === undefined ? { revision: life.number } : { sequenceNumber: life.number }
  const inJournal = (yield* kind.journalId)(id)
  const events = kind.evolve === undefined ? undefined : yield* eventsAfter(kind.entityType!, inJournal, life.number)
  // by another definition, if there is one for each process: what is kept beside the state is not the same there
  decidesAgain(other.decide, tag, { id, payload, state, commandId: undefined, ...request }, {
    answer,
    events: events?.map(({ event }) => event),
    state: behaviour.state(held)
  })
  if (after !== undefined) yield* after
  life.held = held
  if (answer._tag === "Replied") throughSchema("The reply", declared.successSchema, answer.reply)
  else throughSchema("The error", declared.errorSchema, answer.error)
  throughCodec("The state", kind.stateType.codec, behaviour.state(held))
  if (events !== undefined) fold(kind, kind.evolve!, life, events, inJournal, behaviour.state(held))
  else if (answer._tag === "Replied" && answer.receipt !== undefined) life.number = answer.receipt.sequenceNumber
  return answer
})

const wrongly = ({ message }: { readonly message: string }) => new Wrong(message)

const unchanged = (by: string, text: string, state: unknown): void => {
  const now = render(state)
  if (now === text) return
  throw new Wrong(
    `${by} changes the state that it is given, and has to make another one: it was\n${text}\nand is\n${now}`
  )
}

/** What a command has led to: the events of an event sourced entity, or the state. */
interface Led {
  readonly answer: Answer
  readonly events: ReadonlyArray<unknown> | undefined
  readonly state: unknown
}

/** What is decided purely is decided in the same way each time, by whoever decides it. */
const decidesAgain = (
  decide: Kind["decide"],
  tag: string,
  request: object,
  { answer, events, state }: Led
): void => {
  if (decide === undefined) return
  const attempt = <A>(f: () => A): A => {
    try {
      return atAnotherTime(f)
    } catch (error) {
      throw new Wrong(
        `\`decide\` of '${tag}' is not pure: on the same state, it throws the second time: ${String(error)}`
      )
    }
  }
  const again: unknown = attempt(() => decide[tag]!(request))
  if (Effect.isEffect(again) || !Decision.isDecision(again)) return
  const first = answer._tag === "Rejected" ? { error: answer.error } : { reply: answer.reply }
  const persisted = again._tag === "Fail" ? undefined : again as Decision.Persist<any, unknown, unknown>
  const second = persisted === undefined
    ? { error: (again as Decision.Fail<unknown>).error }
    : { reply: attempt(() => persisted.reply(state)) }
  const problem =
    `\`decide\` of '${tag}' is not pure: on the same state, it decides otherwise the second time (- first, + second). What it ` +
    "takes from outside, such as the time, it takes by an effect, or from the command"
  same(problem, first, second)
  if (persisted === undefined) return
  const [change] = persisted.events
  if (events !== undefined) same(problem, { events }, { events: persisted.events })
  else if (change?._tag === "Updated") same(problem, { state }, { state: change.state })
}

/** The events that were added are folded at another time, and lead to the same state. */
const fold = (
  kind: Kind,
  evolve: NonNullable<Kind["evolve"]>,
  life: Live,
  events: ReadonlyArray<Envelope<unknown>>,
  inJournal: string,
  state: unknown
): void => {
  for (const { event, replication, sequenceNumber } of events) {
    const before = life.folded
    const text = render(before)
    const place = {
      persistenceId: PersistenceId.make(kind.name, inJournal),
      sequenceNumber,
      // where a replicated event comes from
      ...(replication && { ...replication, recovering: true })
    }
    const after = atAnotherTime(() => evolve(before, event, place))
    unchanged("`evolve`", text, before)
    // as if a snapshot had been saved here
    life.folded = throughCodec("The state", kind.stateType.codec, after)
    life.number = sequenceNumber
  }
  same(
    "The state is not what its events lead to at another time: `evolve` depends on something beside the state and the event (- events, + state)",
    life.folded,
    state
  )
}

/** Compares with what the model says. */
const compare = (
  kind: Kind,
  behaviour: Behaviour<any>,
  life: Live,
  { payload, tag }: Extract<Step, { readonly _tag: "Command" }>,
  answer: Answer,
  { commands, state }: Model
): void => {
  const predict = commands[tag]
  if (predict === undefined) return
  const prediction = predict(life.model, payload)
  if ("model" in prediction) life.model = prediction.model
  const expected = "error" in prediction
    ? { error: prediction.error }
    : "reply" in prediction
    ? { reply: prediction.reply }
    : undefined
  const actual = answer._tag === "Rejected" ? { error: answer.error } : { reply: answer.reply }
  if (expected === undefined) {
    if (answer._tag === "Rejected") {
      throw new Wrong(`${kind.name} rejects what the model accepts, with the error ${short(answer.error)}`)
    }
  } else same("The answer is not that of the model (- model, + entity)", expected, actual)
  if (state !== undefined) {
    same("The state is not that of the model (- model, + entity)", state(life.model), behaviour.state(life.held))
  }
}
