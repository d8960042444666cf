/**
 * Runs its share of a projection, says which workers that is, and ends when it is asked to.
 *
 * usage: runner WHERE NAME WORKERS TAKEOVER
 */
import * as ClusterPlacement from "@sluice/cluster/ClusterPlacement"
import { Placement } from "@sluice/core/Placement"
import * as ProjectionWorker from "@sluice/core/ProjectionWorker"
import * as SliceRange from "@sluice/core/SliceRange"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { stopped } from "../kit/process.ts"
import { open } from "../status/open.ts"
import { notes } from "./notes.ts"

const [where, name, workers, takeover] = process.argv.slice(2)
const say = (message: object) => Effect.sync(() => void process.stdout.write(`${JSON.stringify(message)}\n`))

const running = Effect.gen(function*() {
  const { assigned } = yield* Placement
  const count = Number(workers)
  const scopes = new Map<number, Scope.Closeable>()
  const projection = notes(name!)
  yield* Stream.runForEach(assigned("notes", count), (set) =>
    Effect.gen(function*() {
      yield* Effect.forEach(
        [...scopes].filter(([worker]) => !set.has(worker)),
        ([worker, scope]) => Effect.andThen(Scope.close(scope, Exit.void), Effect.sync(() => scopes.delete(worker))),
        { concurrency: "unbounded" }
      )
      for (const worker of set) {
        if (scopes.has(worker)) continue
        const scope = yield* Scope.fork(yield* Effect.scope)
        scopes.set(worker, scope)
        yield* Scope.provide(
          ProjectionWorker.start(ProjectionWorker.make(projection, SliceRange.split(count)[worker]!)),
          scope
        )
      }
      yield* say({ assigned: [...set] })
    }))
}).pipe(
  Effect.scoped,
  Effect.provide(ClusterPlacement.layer({ takeover: takeover as Duration.Input })),
  Effect.provide(open(JSON.parse(where!)))
)

process.stdin.resume()
process.stdin.on("end", () => process.exit(0))
Effect.runPromise(
  Effect.raceFirst(running, stopped).pipe(
    Effect.provide(Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)]))
  )
).then(
  () => process.exit(0),
  (error) => {
    console.error(error)
    process.exit(1)
  }
)
