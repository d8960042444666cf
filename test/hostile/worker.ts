/**
 * One instance of a service: appends with many fibers, and reads on as the journal grows. What it prints, and what its argument says, is
 * in contract.ts. It stops appending when it is told to by a line on standard input, and ends with its parent.
 */
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import type * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import { endWithParent, stopped } from "../kit/process.ts"
import { contentOf, type Event, eventOf, type Message, type Operation, placesOf, Thing, type Work } from "./contract.ts"
import * as Target from "./Target.ts"

const work: Work = JSON.parse(process.argv[2]!)
const { appenders, entities, hold = 0, mix = { append: 1 }, pause = 0, tail: tailOf, target } = work

const name = crypto.randomUUID().slice(0, 8)
const print = (...message: Message): void => {
  process.stdout.write(`${JSON.stringify([name, ...message])}\n`)
}
for (const event of ["uncaughtException", "unhandledRejection"]) {
  process.on(event, (error: unknown) => {
    print("crashed", error instanceof Error ? String(error.stack) : String(error))
    process.exit(1)
  })
}

/** An error with a type has a tag; the reason of a storage error says more. */
const printFailure = (operation: Operation | "read", exit: Exit.Failure<unknown, unknown>): void => {
  for (const reason of exit.cause.reasons) {
    if (reason._tag === "Interrupt") continue
    const error = reason._tag === "Fail" ? reason.error as any : undefined
    print("failed", operation, error?.reason ?? error?._tag ?? "defect", Cause.pretty(exit.cause))
  }
}

const ids = typeof entities === "number" ? Array.from({ length: entities }, (_, i) => `t-${i}`) : entities
const known = new Map<string, SequenceNumber.SequenceNumber>()
const kinds = Object.entries(mix).flatMap(([kind, n]) => Array.from({ length: n }, () => kind as Operation))

const choose = <A>(from: ReadonlyArray<A>) => Effect.map(Random.nextIntBetween(0, from.length - 1), (i) => from[i]!)

const appender = Effect.fnUntraced(function*(index: number) {
  const me = `${name}.${index}`
  for (let n = 0; true; n++) {
    let count = 0
    const sent: Array<string> = []
    const acknowledged: Array<Event> = []
    const append = Effect.fnUntraced(function*(id: string, expected: Journal.ExpectedSequenceNumber) {
      const events = Array.from(
        { length: yield* Random.nextIntBetween(1, 3) },
        () => contentOf(me, n, count++)
      ) as [string, ...Array<string>]
      sent.push(...events)
      const written = yield* Journal.append(Thing, { id, events, expected })
      known.set(id, written.sequenceNumber)
      acknowledged.push(...placesOf(written, events))
    })
    const several = Effect.gen(function*() {
      const chosen = yield* Effect.forEach([1, 2, 3], () => choose(ids))
      for (const id of chosen) {
        yield* append(id, "any")
        yield* Effect.sleep(yield* Random.nextIntBetween(0, hold / chosen.length))
      }
    })
    const kind = yield* choose(kinds)
    const operation: Effect.Effect<unknown, unknown, Journal.Journal> = kind === "append"
      ? Effect.flatMap(choose(ids), (id) => append(id, "any"))
      : kind === "expect"
      ? Effect.flatMap(choose(ids), (id) => append(id, known.get(id) ?? "none"))
      : kind === "commit"
      ? Journal.transaction(several)
      : kind === "rollback"
      ? Journal.transaction(Effect.andThen(several, Effect.fail("rolled back")))
      : Effect.timeoutOrElse(Journal.transaction(Effect.andThen(several, Effect.never)), {
        duration: hold,
        orElse: () => Effect.fail("interrupted")
      })
    const exit = yield* Effect.exit(operation)
    if (Exit.isSuccess(exit)) print("acknowledged", acknowledged)
    else {
      const error = Cause.squash(exit.cause) as any
      if (typeof error !== "string") printFailure(kind, exit)
      // of a connection that was lost during a commit nobody knows whether it has happened
      if (error?.reason !== "Unavailable") print("refused", sent)
    }
    if (pause > 0) yield* Effect.sleep(pause)
    if (stopping) return
  }
})

let stopping = false

/** Reads on, and goes on after what it has read whenever that fails. */
const tail = Effect.gen(function*() {
  const journal = yield* Journal.Journal
  const offsets = new Map<Slice.Slice, Offset.Offset>()
  const changed = yield* journal.changes(Thing.name)
  const seen = (events: ReadonlyArray<Event>): void => {
    for (const [id, , position, timestamp] of events) {
      offsets.set(Slice.ofPersistenceId(id), Offset.make(position, timestamp))
    }
    print("seen", events)
  }
  const source = Effect.suspend(() =>
    Stream.runForEachArray(
      Source.toStream(Source.journal(Thing), { start: { journal: undefined, offsets: new Map(offsets) } }),
      (page) =>
        Effect.sync(() =>
          seen(
            page.map((
              { event, persistenceId, position, sequenceNumber, timestamp }
            ) => [persistenceId, sequenceNumber, position!, timestamp, event])
          )
        )
    )
  )
  const reader = Effect.gen(function*() {
    const { next } = yield* journal.reader(Thing.name, SliceRange.full, new Map(offsets))
    while (true) {
      const page = yield* next(500)
      if (page.length === 0) yield* changed
      else seen(page.map(eventOf))
    }
  })
  const read = (tailOf === "source" ? source : Effect.scoped(reader)).pipe(
    Effect.exit,
    Effect.map((exit) => Exit.isFailure(exit) && printFailure("read", exit))
  )
  return yield* Effect.forever(Effect.andThen(read, Effect.sleep("20 millis")))
})

const working = Layer.effectDiscard(Effect.gen(function*() {
  yield* Effect.forkScoped(tail)
  print("ready")
  yield* Effect.forkScoped(Effect.andThen(stopped, Effect.sync(() => void (stopping = true))))
  yield* Effect.forEach(Array.from({ length: appenders }, (_, i) => i), appender, {
    concurrency: "unbounded",
    discard: true
  }).pipe(Effect.andThen(Effect.sync(() => print("done"))), Effect.forkScoped)
}))

endWithParent(
  Effect.tapCause(
    Layer.launch(Layer.provide(working, Target.layer(target))),
    (cause) => Effect.sync(() => print("crashed", Cause.pretty(cause)))
  )
)
