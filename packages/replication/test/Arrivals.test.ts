import { assert, describe, it } from "@effect/vitest"
import type { ReplicationMetadata } from "@sluice/core/ReplicationMetadata"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Schema from "effect/Schema"
// the state machine is not offered to others
import * as state from "../src/internal/replica.ts"
import * as VersionVector from "../src/VersionVector.ts"

const ids = ["eu", "us", "ap"] as const
const replicas = new Set<string>(ids)

/** A replica of one entity: its journal, and how far it has read those of the others. */
class Replica {
  readonly self: string
  readonly journal: Array<ReplicationMetadata> = []
  readonly read = new Map<string, number>()
  known = state.nothing

  constructor(self: string) {
    this.self = self
  }

  #store(replication: ReplicationMetadata): void {
    this.known = state.after(this.known, this.self, replication)
    this.journal.push(replication)
  }

  write(now: number): void {
    const next = SequenceNumber.make(this.journal.length + 1)
    this.#store(state.written(this.known, this.self, next, Timestamp.make(now)))
  }

  receive(event: ReplicationMetadata, now: number, isRelayed = false): state.Arrival["_tag"] {
    const { self } = this
    const { _tag } = state.arrive(this.known, { self, replicas }, event, isRelayed)
    if (_tag === "Stored") this.#store(state.received(this.known, event, Timestamp.make(now)))
    return _tag
  }

  /** Reads the next event of another one's journal, whatever its origin. */
  next(from: Replica, now: number): void {
    const at = this.read.get(from.self) ?? 0
    const event = from.journal[at]
    if (event === undefined) return
    // all say their times, so that those of relayed ones may be compared as well
    const tag = this.receive(event, now)
    assert.notStrictEqual(tag, "HistoryForked")
    this.read.set(from.self, at + 1)
  }
}

const keyOf = ({ origin, originSequenceNumber }: ReplicationMetadata) => `${origin} ${originSequenceNumber}`

const Step = Schema.Struct({
  kind: Schema.Literals(["write", "read", "reread", "snapshot"]),
  who: Schema.Literals([0, 1, 2]),
  from: Schema.Literals([0, 1, 2]),
  clock: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5 }))
})
// short ones have hardly anything that is concurrent
const Script = Schema.Array(Step).check(Schema.isMinLength(30), Schema.isMaxLength(60))

const run = (script: typeof Script.Type): ReadonlyArray<Replica> => {
  const all = ids.map((id) => new Replica(id))
  for (const { clock, from, kind, who } of script) {
    const replica = all[who]!
    if (kind === "write") replica.write(clock)
    if (kind === "read" && from !== who) replica.next(all[from]!, clock)
    // its offset is lost, or was not stored yet
    if (kind === "reread" && from !== who) {
      replica.read.set(ids[from], Math.max(0, (replica.read.get(ids[from]) ?? 0) - clock))
    }
    if (kind === "snapshot") replica.known = state.decode(state.encode(replica.known))
  }
  return all
}

/** What an event's origin had seen when it was decided: all before it in the journal there. */
const pastOf = (all: ReadonlyArray<Replica>): ReadonlyMap<string, ReadonlyMap<string, ReplicationMetadata>> => {
  const past = new Map<string, ReadonlyMap<string, ReplicationMetadata>>()
  for (const { journal, self } of all) {
    journal.forEach((event, i) => {
      if (event.origin !== self) return
      past.set(keyOf(event), new Map(journal.slice(0, i).map((earlier) => [keyOf(earlier), earlier])))
    })
  }
  return past
}

const heal = (all: ReadonlyArray<Replica>): void => {
  for (let before = -1, now = 0, rounds = 0; now !== before; rounds++) {
    assert.isBelow(rounds, 1_000, "there is no end of events that are passed on")
    before = now
    for (const replica of all) for (const from of all) if (from !== replica) replica.next(from, 0)
    now = all.reduce(
      (sum, { journal, read }) => sum + journal.length + [...read.values()].reduce((a, b) => a + b, 0),
      0
    )
  }
}

describe("events that arrive in any interleaving, and again", () => {
  it.prop("are in every replica once, those of each origin in order", [Script], ([script]) => {
    const all = run(script)
    heal(all)
    const written = all.flatMap(({ journal, self }) => journal.filter(({ origin }) => origin === self)).map(keyOf)
    for (const { journal, known, self } of all) {
      assert.deepStrictEqual(journal.map(keyOf).toSorted(), written.toSorted())
      for (const id of ids) {
        const numbers = journal.filter(({ origin }) => origin === id).map((event) => event.originSequenceNumber)
        assert.deepStrictEqual(numbers, numbers.toSorted((a, b) => a - b))
        if (id !== self) assert.strictEqual(known.seen.get(id)?.number ?? 0, numbers.at(-1) ?? 0)
      }
      assert.strictEqual(VersionVector.compare(known.version, all[0]!.known.version), "same")
    }
  })

  it.prop("have versions that say what their origin had seen, the same everywhere", [Script], ([script]) => {
    const all = run(script)
    const past = pastOf(all)
    for (const { journal, known } of all) {
      let before = VersionVector.empty
      for (const event of journal) {
        const { origin, originSequenceNumber, version } = event
        const newest: Record<string, number> = { [origin]: originSequenceNumber }
        for (const { origin, originSequenceNumber: number } of past.get(keyOf(event))!.values()) {
          newest[origin] = Math.max(number, newest[origin] ?? 0)
        }
        assert.deepStrictEqual(Object.fromEntries(version), newest)
        before = VersionVector.merge(before, version)
      }
      assert.strictEqual(VersionVector.compare(before, known.version), "same")
    }
  })

  it.prop("come after what their origin had seen", [Script], ([script]) => {
    const all = run(script)
    const past = pastOf(all)
    for (const { journal } of all) {
      const here = new Set<string>()
      for (const event of journal) {
        for (const seen of past.get(keyOf(event))!.keys()) assert.isTrue(here.has(seen))
        here.add(keyOf(event))
      }
    }
  })

  it.prop("are concurrent where one is here that their origin had not seen, exactly", [Script], ([script]) => {
    const all = run(script)
    const past = pastOf(all)
    for (const { journal, self } of all) {
      journal.forEach((event, i) => {
        if (event.origin === self) return assert.isFalse(event.concurrent)
        const isUnknownToIt = journal.slice(0, i).some((other) => !past.get(keyOf(event))!.has(keyOf(other)))
        assert.strictEqual(event.concurrent, isUnknownToIt)
      })
    }
  })

  it.prop("have the same times everywhere, later than all that their origin had seen", [Script], ([script]) => {
    const all = run(script)
    heal(all)
    const times = new Map(all[0]!.journal.map((event) => [keyOf(event), event.time]))
    for (const { journal, self } of all) {
      journal.forEach((event, i) => {
        assert.strictEqual(event.time, times.get(keyOf(event)))
        if (event.origin !== self) return
        for (const earlier of journal.slice(0, i)) assert.isAbove(event.time!, earlier.time!)
      })
    }
  })
})

const event = (origin: string, number: number, version: Record<string, number> = {}): ReplicationMetadata => ({
  origin,
  originSequenceNumber: SequenceNumber.make(number),
  version: new Map(
    Object.entries({ [origin]: number, ...version }).map(([id, n]) => [id, SequenceNumber.make(n)])
  ),
  concurrent: false
})
const one = () => {
  const replica = new Replica("eu")
  replica.write(0)
  return replica
}

/** A version that has seen so many other replicas. */
const seen = (n: number) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`r${i}`, 1]))

/** An event of `us`. */
const at = (number: number, time: number) => ({ ...event("us", number), time: Timestamp.make(time) })

const snapshotOf = (replica: Replica): Replica => {
  replica.known = state.decode(state.encode(replica.known))
  return replica
}

describe("an event", () => {
  it("of a replica that was never configured is refused", () => {
    assert.strictEqual(one().receive(event("mars", 1), 0), "UnknownReplica")
  })

  it("is refused where no event could follow it, or where it has seen more replicas than there can be", () => {
    const replica = one()
    assert.strictEqual(replica.receive(at(1, Number.MAX_SAFE_INTEGER), 0), "Invalid")
    assert.strictEqual(replica.receive(event("us", 1, seen(1_000)), 0), "Invalid")
    assert.strictEqual(replica.receive(event("us", 1, seen(998)), 0), "Stored")
    // those that it knows already are not counted again
    assert.strictEqual(replica.receive(event("us", 2, seen(998)), 0), "Stored")
    assert.strictEqual(replica.receive(event("us", 3, { x: 1, y: 1 }), 0), "Invalid")
  })

  it("of the replica itself is its own, and one that it has not means that events were lost", () => {
    assert.strictEqual(one().receive(event("eu", 1), 0), "Own")
    assert.strictEqual(one().receive(event("eu", 2), 0), "EventsLost")
  })

  it("that has seen what the replica has lost is refused", () => {
    assert.strictEqual(one().receive(event("us", 1, { eu: 1 }), 0), "Stored")
    assert.strictEqual(one().receive(event("us", 1, { eu: 2 }), 0), "EventsLost")
  })

  it("that has seen what the replica has lost is refused, whoever's events have the numbers of the lost ones now", () => {
    const replica = one()
    // these come again to a replica that was emptied, or restored
    for (let n = 1; n <= 5; n++) assert.strictEqual(replica.receive(event("us", n), 0), "Stored")
    for (const restart of [(replica: Replica) => replica, snapshotOf]) {
      const again = restart(replica)
      assert.strictEqual(again.receive(event("us", 6, { eu: 4 }), 0), "EventsLost")
      assert.strictEqual(again.receive(event("eu", 4), 0), "EventsLost")
    }
    assert.strictEqual(replica.receive(event("ap", 1, { eu: 1, us: 6 }), 0), "Stored")
  })

  it("may follow one whose number is less by more than one, as others' events have the numbers between", () => {
    const replica = one()
    assert.deepStrictEqual([1, 4, 4, 2, 9].map((n) => replica.receive(event("us", n), 0)), [
      "Stored",
      "Stored",
      "Duplicate",
      "Duplicate",
      "Stored"
    ])
  })

  it("whose number was given again, as after a restored backup, is no duplicate, and refused however often it comes", () => {
    for (const restart of [(replica: Replica) => replica, snapshotOf]) {
      const replica = one()
      assert.deepStrictEqual([at(2, 20), at(5, 50)].map((event) => replica.receive(event, 0)), ["Stored", "Stored"])
      const again = restart(replica)
      const tags = [at(2, 20), at(5, 50), at(2, 60), at(3, 61), at(5, 62), at(5, 49), at(6, 50), at(2, 60), at(6, 63)]
        .map((event) => again.receive(event, 0))
      assert.deepStrictEqual(tags, [
        "Duplicate",
        "Duplicate",
        ...Array.from({ length: 6 }, () => "HistoryForked" as const),
        "Stored"
      ])
    }
  })

  it("that is relayed, or does not say its time, has none that could be compared", () => {
    const replica = one()
    const relayed = (time: number) => replica.receive({ ...event("us", 1), time: Timestamp.make(time) }, 0, true)
    assert.deepStrictEqual([relayed(20), relayed(30), replica.receive(event("us", 1), 40)], [
      "Stored",
      "Duplicate",
      "Duplicate"
    ])
  })

  it("without a time, such as Akka's, has that of its arrival, which is later than all before", () => {
    const replica = one()
    replica.write(70)
    replica.receive(event("us", 1), 50)
    assert.deepStrictEqual(replica.journal.map(({ time }) => time), [1, 70, 71].map(Timestamp.make))
  })
})
