/**
 * A stream that leaves out 99 of 100 events, from a journal over gRPC into a handler, as `end-to-end` is. Counted are the events that are in the journal.
 * `filtered-of-read` compares it with reading the journal alone, in a process that sends nothing and handles nothing.
 *
 * The baseline looks for the tag in what it has read, and sends the others: nobody learns of what was left out.
 */
import * as Effect from "effect/Effect"
import { type Bench, compare, type Sample } from "../Bench.ts"
import { rare, rareOf } from "../load.ts"
import { adapters, storage } from "../Target.ts"
import { readPages, timed } from "./catchUpRead.ts"
import { loaded, pipelines } from "./endToEnd.ts"

export const filtered: Bench = {
  name: "filtered",
  adapters,
  run: (setting) =>
    Effect.gen(function*() {
      const { target, total } = yield* loaded(setting, 200_000)
      const selected = rareOf(total)
      const { byHand, ours } = yield* pipelines({ target, total: selected, tag: rare })
      const ofJournal = (run: Effect.Effect<Sample>) =>
        Effect.map(run, (sample) => ({ ...sample, value: sample.value * total / selected }))
      const unit = "events/s"
      return [
        yield* compare(setting, { bench: "filtered", unit }, ofJournal(ours(true)), ofJournal(byHand(true))),
        yield* compare(
          setting,
          { bench: "filtered-of-read", unit },
          ofJournal(ours(true)),
          timed(total, (logs) => readPages((page) => page.forEach((envelope) => logs.see(envelope)))).pipe(
            Effect.provide(storage(target))
          )
        )
      ]
    })
}
