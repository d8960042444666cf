/** Prints what becomes of seeds, for another process to compare. */
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Source from "@sluice/core/Source"
import * as Simulation from "@sluice/testing/Simulation"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { pathToFileURL } from "node:url"

const Note = EntityType.make("note", { codec: EventCodec.string })

const program = Effect.gen(function*() {
  const seen: Array<string> = []
  const Notes = Source.journal(Note).pipe(
    Projection.exactlyOnce("notes", ({ event }) => Effect.sync(() => void seen.push(event))),
    Projection.workers(3)
  )
  yield* Layer.build(Projection.layer(Notes))
  yield* Effect.forEach(
    Array.from({ length: 12 }, (_, i) => i),
    (i) => Journal.append(Note, { id: `n-${i % 5}`, events: [`e-${i}`] }),
    { concurrency: 4 }
  )
  yield* ProjectionStatus.caughtUp("notes")
  yield* Simulation.note(seen.join())
  return [seen.join(), crypto.randomUUID(), Math.random(), Date.now()].join()
}).pipe(Effect.provide(Layer.fresh(MemoryStorage.layer)))

export const replay = (seed: number): string => {
  const { elapsed, exit, fingerprint, steps, trace } = Simulation.run(program, { seed, trace: true })
  return JSON.stringify([seed, Exit.getSuccess(exit), steps, elapsed, fingerprint, trace])
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  for (const seed of process.argv.slice(2)) console.log(replay(Number(seed)))
}
