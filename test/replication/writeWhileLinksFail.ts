import * as Effect from "effect/Effect"
import type { start } from "./regions.ts"

const pairs = [["eu", "us"], ["us", "ap"], ["ap", "eu"]] as const

/** Writes the entities in all three regions while links are cut, healed, and read anew, and waits until all have everything. Gives how many events each entity has. */
export const writeWhileLinksFail = Effect.fnUntraced(function*(
  { cut, heal, replicas, settled }: Effect.Success<ReturnType<typeof start>>,
  entities: ReadonlyArray<string>,
  next: (below: number) => number
) {
  const written = new Map(entities.map((id) => [id, 0]))
  for (let i = 0; i < 150; i++) {
    const [a, b] = pairs[next(3)]!
    const what = next(10)
    if (what === 0) yield* cut(a, b)
    else if (what === 1) yield* heal(a, b)
    else if (what === 2 && i % 5 === 0) yield* replicas[next(3)]!.rewind
    else {
      const id = entities[next(entities.length)]!
      yield* replicas[next(3)]!.notes(id).Add({ text: String(i) })
      written.set(id, written.get(id)! + 1)
    }
    // what has come meanwhile has its turn
    if (what > 7) yield* Effect.sleep(5)
  }
  for (const [a, b] of pairs) yield* heal(a, b)
  yield* settled(entities, (id) => written.get(id)!)
  return written
})
