/** The worker processes of a scenario, and what they have said. */
import * as Slice from "@sluice/core/Slice"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { fileURLToPath } from "node:url"
import * as Service from "../kit/Service.ts"
import type { Event, Message, Operation, Work } from "./contract.ts"
import type { Ledger } from "./Tally.ts"

/** How often an operation failed for a reason, and the first message. */
export interface Failure {
  readonly operation: Operation | "read"
  readonly reason: string
  count: number
  readonly first: string
}

export interface Crew {
  /** Sends one of them SIGKILL, and starts it again. */
  readonly kill: (worker: number) => Effect.Effect<void>
  /** How many events were acknowledged so far. */
  readonly acknowledged: () => number
  readonly failures: ReadonlyArray<Failure>
  readonly crashes: ReadonlyArray<string>
  /** Whether each tail that runs now has read these, or later ones of the same logs. */
  readonly haveSeen: (heads: ReadonlyArray<Event>) => boolean
  /** Ends when all have stopped appending, or crashed. */
  readonly stop: Effect.Effect<void>
  readonly ledger: () => Ledger
}

/** Starts a process for each, and ends when all are ready. */
export const start = (works: ReadonlyArray<Work>): Effect.Effect<Crew, never, Scope.Scope> =>
  Effect.gen(function*() {
    const acknowledged: Array<ReadonlyArray<Event>> = []
    const refused: Array<string> = []
    const failures: Array<Failure> = []
    const crashes: Array<string> = []
    const tails = new Map<string, { readonly seen: Array<Event>; readonly positions: Map<number, number> }>()
    /** The name of the process that each worker is now, and of those the ones that have stopped appending. */
    const current = works.map((): string | undefined => undefined)
    const done = new Set<string>()
    let count = 0

    const onLine = (worker: number) => (line: string): void => {
      const [name, ...message] = parse(line)
      switch (message[0]) {
        case "ready":
          current[worker] = name
          tails.set(name, { seen: [], positions: new Map() })
          return
        case "acknowledged":
          acknowledged.push(message[1])
          count += message[1].length
          return
        case "refused":
          for (const content of message[1]) refused.push(content)
          return
        case "failed": {
          const [, operation, reason, first] = message
          const failure = failures.find((_) => _.operation === operation && _.reason === reason)
          if (failure === undefined) failures.push({ operation, reason, count: 1, first })
          else failure.count++
          return
        }
        case "seen":
          for (const event of message[1]) {
            const { positions, seen } = tails.get(name)!
            seen.push(event)
            positions.set(Slice.ofPersistenceId(event[0]), event[2])
          }
          return
        case "done":
          done.add(name)
          return
        case "crashed":
          crashes.push(message[1])
          return
      }
    }
    const workers = yield* Effect.forEach(works, (work, worker) =>
      Service.start({
        command: process.execPath,
        args: () => Service.nodeArgs(program, JSON.stringify(work)),
        onLine: onLine(worker)
      }))
    const ready = Wait.until(
      "the workers to be ready",
      () => crashes.length > 0 || works.every((_, worker) => current[worker] !== undefined),
      { atMost: "2 minutes" }
    )
    yield* ready
    if (crashes.length > 0) return yield* Effect.die(new Error(`A worker did not start: ${crashes[0]}`))

    return {
      kill: (worker) =>
        Effect.suspend(() => {
          current[worker] = undefined
          return workers[worker]!.kill
        }),
      acknowledged: () => count,
      failures,
      crashes,
      haveSeen: (heads) =>
        current.every((name) => {
          const tail = tails.get(name!)
          return heads.every(([id, , position]) => (tail?.positions.get(Slice.ofPersistenceId(id)) ?? 0) >= position)
        }),
      stop: Effect.gen(function*() {
        // who is not listens to nobody
        yield* ready
        for (const worker of workers) yield* worker.send("stop")
        yield* Wait.until(
          "the workers to stop",
          () => crashes.length > 0 || current.every((name) => done.has(name!)),
          { atMost: "2 minutes" }
        )
      }),
      ledger: () => ({
        acknowledged,
        refused,
        tails: Array.from(tails, ([name, { seen }]) => ({ seen, isComplete: current.includes(name) }))
      })
    }
  })

const parse = (line: string): readonly [name: string, ...Message | []] => {
  try {
    return JSON.parse(line)
  } catch {
    // the last line of a process that was killed
    return [""]
  }
}

const program = fileURLToPath(new URL("./worker.ts", import.meta.url))
