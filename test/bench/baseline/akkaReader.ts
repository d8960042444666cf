/** Reads the stream of an Akka producer with grpc-js, decodes it with protobufjs, and does no more: all that the producer can send. */
import { Arrived } from "../Arrived.ts"
import { argument, cpu, serve } from "../process.ts"
import { connect, decode } from "./wire.ts"

const { port, total } = argument<{ port: number; total: number }>()
const client = connect(port)
const bytes = (buffer: any) => buffer

/** A `StreamIn` with an `InitReq` of the stream `cart` for the slices 0 to 1023. */
const init = Buffer.from("0a090a046361727418ff07", "hex")

serve({}, {
  read: () =>
    new Promise((resolve, reject) => {
      const arrived = new Arrived(total)
      const start = performance.now()
      const worked = cpu()
      const path = "/akka.projection.grpc.EventProducerService/EventsBySlices"
      const call = client.makeBidiStreamRequest<Buffer, Buffer>(path, bytes, bytes)
      call.on("error", reject)
      call.on("data", (message: Buffer) => {
        const { persistenceId, sequenceNumber, source } = decode(message)
        // a repetition, without its content
        if (source === "BT" || !arrived.see(persistenceId, sequenceNumber)) return
        const extra = { cpuMicrosPerEvent: (cpu() - worked) / total }
        resolve({ value: total / ((performance.now() - start) / 1000), ...arrived.counts, extra })
        call.off("error", reject).on("error", () => {})
        call.cancel()
      })
      call.write(init)
    })
})
