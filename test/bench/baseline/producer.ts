/**
 * A producer by hand, in a process of its own: sends a journal to its end, or from memory what was in it. Live it pushes what it has
 * appended itself, to all consumers, without looking at what is in the journal.
 */
import { encoded, idOf, pastOf } from "../events.ts"
import { Cart } from "../load.ts"
import { type LiveOptions, pace } from "../pace.ts"
import { argument, cpu, now, serve as serveParent } from "../process.ts"
import { adapterModules, type Target } from "../Target.ts"
import { type Connection, type NewRow, type Row } from "./Connection.ts"
import { batcher } from "./Connection.ts"
import { type Call, frames, serve, write } from "./wire.ts"

const { inMemory, tag, target } = argument<{ target: Target; inMemory: boolean; tag?: string }>()
const pageSize = 1000

const connection = await adapterModules[target.adapter].connect(target)
const end = { timestamp: 0, slice: 0 }
const read = async (f: (rows: ReadonlyArray<Row>) => Promise<unknown> | void) => {
  let next = connection.page(Cart.name, end, pageSize)
  for (let rows = await next; rows.length > 0; rows = await next) {
    next = connection.page(Cart.name, rows.at(-1)!, pageSize)
    await f(rows)
  }
}
const memory: Array<ReadonlyArray<Row>> = []
if (inMemory) await read((rows) => void memory.push(rows))

const live = new Set<Call>()
let isLive = false
const port = await serve(async (call) => {
  if (isLive) {
    live.add(call)
    call.on("cancelled", () => live.delete(call))
    return
  }
  if (inMemory) { for (const rows of memory) await write(call, frames(rows)) }
  else if (tag === undefined) await read((rows) => write(call, frames(rows)))
  else {await read((rows) =>
      write(call, frames(rows.filter(({ tags }) => tags !== null && JSON.parse(tags).includes(tag))))
    )}
  call.end()
})

let writers: ReadonlyArray<Connection> | undefined
const append = async () => {
  writers ??= target.adapter === "sqlite"
    ? [connection]
    : await Promise.all([1, 2].map(() => adapterModules[target.adapter].connect(target)))
  const insert = batcher(writers, 200)
  return async (slice: number, persistenceId: string, sequenceNumber: number, n: number): Promise<number> => {
    const row: NewRow = { slice, persistenceId, sequenceNumber, payload: encoded(n) }
    await insert([row])
    return now()
  }
}

/** To whoever is connected. */
const push = (slice: number, persistenceId: string, payloads: ReadonlyArray<Uint8Array>, first: number) => {
  const packs = frames(payloads.map((payload, i) => ({
    slice,
    position: 0,
    timestamp: Date.now() * 1000,
    persistence_id: persistenceId,
    sequence_number: first + i,
    manifest: "ItemAdded",
    payload,
    tags: null,
    metadata: null
  })))
  for (const pack of packs) for (const call of live) call.write(pack)
}

const pastId = (name: string, n: number) => `${name}|past-${n}`

serveParent({ port }, {
  expectLive: async () => {
    isLive = true
  },
  sleep: async ({ name, waking }: { name: string; waking: number }) => {
    const rowsOf = (n: number): ReadonlyArray<NewRow> =>
      pastOf(n).slice(0, -1).map((event, i) => ({
        slice: n & 1023,
        persistenceId: pastId(name, n),
        sequenceNumber: i + 1,
        payload: encoded(event)
      }))
    for (let n = 0; n < waking; n += 10) {
      await connection.insert(Array.from({ length: Math.min(10, waking - n) }, (_, i) => rowsOf(n + i)).flat())
    }
  },
  live: async ({ name, rate, seconds, waking }: LiveOptions) => {
    const insert = await append()
    const before = cpu()
    const woken = pace(waking / seconds, seconds, async (n) => {
      const past = pastOf(n)
      await insert(n & 1023, pastId(name, n), past.length, past.at(-1)!)
      push(n & 1023, pastId(name, n), await connection.entity(pastId(name, n)), 1)
    })
    const returned = await pace(rate, seconds, async (n) => {
      const persistenceId = `${name}|${idOf(n)}-${n}`
      const at = await insert(n & 1023, persistenceId, 1, n)
      push(n & 1023, persistenceId, [encoded(n)], 1)
      return at
    })
    await woken
    return { returned, cpu: cpu() - before }
  }
})
