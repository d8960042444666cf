/** Akka's CRDTs and ours: the same bytes, and the same elements after each delta. */
import * as AkkaCodecs from "@sluice/replication/AkkaCodecs"
import * as OrSet from "@sluice/replication/OrSet"
import * as Fs from "node:fs"
import * as Peer from "./Peer.ts"

const golden = new URL("../../../packages/replication/test/golden/akka.txt", import.meta.url)

type Delta = OrSet.Delta<string>

/** How many of the lines that the tests take for Akka's are not what Akka writes, or are missing. */
const differing = (): number => {
  const expected = Fs.readFileSync(golden, "utf8").trim().split("\n")
  const written = Peer.crdts("write")
  return Math.max(expected.length, written.length) - expected.filter((line, i) => line === written[i]).length
}

/** Two replicas change a set, concurrently now and then: what the first one is told, its own changes among it, and which elements it then has. */
const history = (count: number) => {
  const elements = ["tea", "milk", "salt", "é🍵"]
  // numbers that look random, and are the same each time
  let state = 1
  const below = (n: number) => {
    state = (state * 48_271) % 2_147_483_647
    return state % n
  }
  const replica = (id: string) => ({ id, set: OrSet.empty as OrSet.OrSet<string>, unread: [] as Array<Delta> })
  const first = replica("eu")
  const other = replica("us")
  const told: Array<{ readonly delta: Delta; readonly after: ReadonlyArray<string> }> = []
  const apply = (to: typeof first, delta: Delta) => {
    to.set = OrSet.apply(to.set, delta)
    if (to === first) told.push({ delta, after: OrSet.values(first.set) })
  }
  while (told.length < count) {
    const [writer, reader] = below(2) === 0 ? [first, other] : [other, first]
    for (const delta of writer.unread.splice(0, below(4))) apply(writer, delta)
    const element = elements[below(elements.length)]!
    const what = below(20)
    const delta = what < 9
      ? OrSet.add(writer.set, writer.id, element)
      : what < 11
      ? OrSet.addAll(writer.set, writer.id, [element, ...elements])
      : what < 18
      ? OrSet.remove(writer.set, writer.id, element)
      : what < 19
      ? OrSet.removeAll(writer.set, writer.id, elements)
      : OrSet.clear(writer.set, writer.id)
    apply(writer, delta)
    reader.unread.push(delta)
  }
  return told
}

/** How many differences there are. */
export const run = (log: (line: string) => void): number => {
  const wrong = differing()
  log(`CRDTs that Akka writes: differing=${wrong}`)
  const codec = AkkaCodecs.orSet("string")
  const steps = history(1_000)
  const sent = steps.map(({ delta }) => {
    const { bytes, manifest } = codec.encodeUnsafe(delta)
    return `${manifest.slice("ser.akka.io/".length)} ${Buffer.from(bytes).toString("hex")}`
  })
  const answers = Peer.crdts("apply", `${sent.join("\n")}\n`)
  let rewritten = 0
  let apart = 0
  steps.forEach(({ after }, i) => {
    const [manifest, hex, elements = ""] = (answers[i] ?? "").split(" ")
    if (`${manifest} ${hex}` !== sent[i]) rewritten++
    if (elements !== after.toSorted().join(",")) apart++
  })
  log(`CRDTs that Akka reads: deltas=${steps.length} rewritten=${rewritten} apart=${apart}`)
  return wrong + rewritten + apart
}
