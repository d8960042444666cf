/**
 * A producer by hand, in a process of its own: sends a journal to its end, or from memory what was in it. Live it pushes what it has
 * appended itself, to all consumers, without looking at what is in the journal.
 */
import { encoded, idOf } from "../events.ts"
import { Cart } from "../load.ts"
import { pace } from "../pace.ts"
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
  return async (prefix: string, n: number): Promise<number> => {
    const row: NewRow = {
      slice: n & 1023,
      persistenceId: `${prefix}|${idOf(n)}-${n}`,
      sequenceNumber: 1,
      payload: encoded(n)
    }
    await insert([row])
    const returned = now()
    const [pack] = frames([{
      slice: row.slice,
      position: 0,
      timestamp: Date.now() * 1000,
      persistence_id: row.persistenceId,
      sequence_number: 1,
      manifest: "ItemAdded",
      payload: row.payload,
      tags: null,
      metadata: null
    }])
    for (const call of live) call.write(pack!)
    return returned
  }
}

serveParent({ port }, {
  expectLive: async () => {
    isLive = true
  },
  live: async ({ name, rate, seconds }: { name: string; rate: number; seconds: number }) => {
    const push = await append()
    const before = cpu()
    const returned = await pace(rate, seconds, (n) => push(name, n))
    return { returned, cpu: cpu() - before }
  }
})
