import { assert, it } from "@effect/vitest"
import { Metadata, status } from "@grpc/grpc-js"
import { statusOf } from "../src/internal/sockets/channel.ts"

it("a call whose stream fails by itself, with an error that has no status, has ended with one", () => {
  const late = Object.assign(new Error("write after end"), { code: "ERR_STREAM_WRITE_AFTER_END" })
  const { code, details } = statusOf(late as any)
  assert.deepStrictEqual([code, details], [status.UNKNOWN, "write after end"])
})

it("a call that has failed has the status of its error, without what the library says of a name's resolution", () => {
  const metadata = new Metadata()
  const { code, details } = statusOf({
    code: status.UNAVAILABLE,
    details: "No connection. Resolution note: ",
    metadata
  })
  assert.deepStrictEqual([code, details], [status.UNAVAILABLE, "No connection"])
})
