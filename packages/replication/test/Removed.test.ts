import { assert, describe, it } from "@effect/vitest"
import { sequence } from "../../../test/replication/sequence.ts"
import { compareSides, type OfOrigin, removedOf } from "../src/internal/entitySide.ts"

const origins = ["eu", "us", "ap"]

interface Event {
  readonly origin: string
  readonly number: number
}

/** The events of all origins in one of the orders in which a replica may store them. */
const stored = (events: ReadonlyMap<string, ReadonlyArray<Event>>, next: (below: number) => number) => {
  const rest = Array.from(events.values(), (of) => [...of]).filter(({ length }) => length > 0)
  const all: Array<Event> = []
  while (rest.length > 0) {
    const i = next(rest.length)
    all.push(rest[i]!.shift()!)
    if (rest[i]!.length === 0) rest.splice(i, 1)
  }
  return all
}

/** What is left of them after the first ones are removed. */
const side = (events: ReadonlyArray<Event>, removed: number) => {
  const of = new Map<string, OfOrigin>()
  events.slice(removed).forEach(({ number, origin }, index) => {
    const { indexes, numbers, positions, times } = of.get(origin) ??
      { numbers: [], times: [], positions: [], indexes: [] }
    of.set(origin, { numbers, times, positions, indexes })
    numbers.push(number)
    times.push(number)
    positions.push(removed + index + 1)
    indexes.push(index)
  })
  return { origins: of, removed, emptied: 0, total: events.length }
}

const nameOf = ({ number, origin }: Event) => `${origin}#${number}`

const compare = (seed: number, isLosing: boolean) => {
  const next = sequence(seed)
  const events = new Map(
    origins.map((origin) => [origin, Array.from({ length: next(6) }, (_, i) => ({ origin, number: i * 3 + 1 }))])
  )
  const [here, there] = [stored(events, next), stored(events, next)]
  const lost = isLosing ? here.splice(next(Math.max(1, here.length)), 1)[0] : undefined
  const isLeft = (length: number) => next(Math.max(1, length))
  const sides = [side(here, isLeft(here.length)), side(there, isLeft(there.length))] as const
  const { onlyHere, onlyThere } = compareSides(...sides, () => true)
  const removed = removedOf(...sides, {
    all: { here: onlyThere.length, there: onlyHere.length },
    here: onlyThere,
    there: onlyHere,
    isWhole: true
  })
  return { lost, onlyHere, onlyThere, removed, left: sides[1].origins }
}

describe("what two replicas have removed of an entity at different times", () => {
  it("is explained where none has lost anything, whatever was removed", () => {
    let explained = 0
    for (let seed = 0; seed < 3_000; seed++) {
      const { onlyHere, onlyThere, removed } = compare(seed, false)
      assert.deepStrictEqual(removed.here.map(nameOf), onlyThere.map(nameOf), `seed ${seed}`)
      assert.deepStrictEqual(removed.there.map(nameOf), onlyHere.map(nameOf), `seed ${seed}`)
      explained += removed.here.length + removed.there.length
    }
    assert.isAbove(explained, 3_000)
  })

  it("hides no loss of what the other one still has, and is explained there", () => {
    let found = 0
    for (let seed = 0; seed < 3_000; seed++) {
      const { left, lost, onlyHere, removed } = compare(seed, true)
      assert.deepStrictEqual(removed.there.map(nameOf), onlyHere.map(nameOf), `seed ${seed}`)
      if (lost === undefined || left.get(lost.origin)?.numbers.includes(lost.number) !== true) continue
      assert.notInclude(removed.here.map(nameOf), nameOf(lost), `seed ${seed}`)
      found++
    }
    assert.isAbove(found, 500)
  })
})
