/** A consumer by hand, in a process of its own: into nothing, in groups into a table with the offsets, or live into a journal. */
import { parse, Seen } from "../events.ts"
import { rareBefore } from "../load.ts"
import { argument, now, serve } from "../process.ts"
import { adapterModules, type Target } from "../Target.ts"
import { batcher, counted, lastOf } from "./Connection.ts"
import { call, connect, decode, type Received } from "./wire.ts"

const { port, sink, tag, total } = argument<{ port: number; sink?: Target; total: number; tag?: string }>()
const numberOf = tag === undefined ? (n: number) => n : rareBefore
const group = 500
const client = connect(port)
const database = sink && await adapterModules[sink.adapter].connect(sink)

interface Parsed extends Received {
  readonly event: ReturnType<typeof parse>
}

/** Handles groups one after the other, and lets the producer wait when many are waiting. */
const consume = (name: string, handle: (events: ReadonlyArray<Parsed>) => Promise<void>): Promise<void> =>
  new Promise((resolve, reject) => {
    const stream = call(client)
    let waiting: Array<Parsed> = []
    let isBusy = false
    let isOver = false
    let isScheduled = false
    const pump = async () => {
      isBusy = true
      while (waiting.length > 0) {
        const events = waiting.slice(0, group)
        waiting = waiting.slice(group)
        await handle(events)
        if (waiting.length < 1000 && stream.isPaused()) stream.resume()
      }
      isBusy = false
      if (isOver) resolve()
    }
    const start = () => {
      if (!isBusy) pump().catch(reject)
    }
    stream.on("data", (message: Buffer) => {
      const received = decode(message)
      waiting.push({ ...received, event: parse(received.payload) })
      if (waiting.length > 4000) stream.pause()
      if (waiting.length >= group) return start()
      if (isScheduled) return
      isScheduled = true
      setImmediate(() => {
        isScheduled = false
        start()
      })
    })
    stream.on("end", () => {
      isOver = true
      start()
    })
    void name
  })

const seenLive: Array<Array<readonly [number, number]>> = []

serve({}, {
  catchUp: async ({ name }: { name: string }) => {
    const seen = new Seen(total)
    const start = performance.now()
    await consume(name, async (events) => {
      for (const { event } of events) seen.see(numberOf(event.n))
      if (database !== undefined) {
        await database.project(
          name,
          counted(events.map(({ event, persistenceId, sequenceNumber }) => ({
            persistenceId,
            sequenceNumber,
            quantity: event.quantity
          }))),
          lastOf(events.map(({ sequenceNumber, slice, timestamp }) => ({ slice, timestamp, position: sequenceNumber })))
        )
      }
    })
    return { value: total / ((performance.now() - start) / 1000), ...seen.counts }
  },
  watch: async ({ consumers }: { consumers: number }) => {
    for (let i = 0; i < consumers; i++) {
      const arrivals: Array<readonly [number, number]> = []
      seenLive.push(arrivals)
      const insert = database && batcher([database], group)
      call(client).on("data", async (message: Buffer) => {
        const at = now()
        const { payload, persistenceId, sequenceNumber, slice } = decode(message)
        const { n } = parse(payload)
        await insert?.([{ slice, persistenceId, sequenceNumber, payload: Buffer.from(payload) }])
        arrivals.push([n, insert === undefined ? at : now()])
      })
    }
  },
  arrivals: async () => {
    const arrivals = seenLive.map((each) => each.splice(0))
    return arrivals
  }
})
