import { assert, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as MysqlStorage from "@sluice/mysql/MysqlStorage"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { subscribe, unsubscribe } from "node:diagnostics_channel"
import { inject } from "vitest"

const Doc = EntityType.make("doc", { codec: EventCodec.string })
const servers = [["MariaDB", inject("mariadb")], ["MySQL", inject("mysql")]].filter(([, url]) => url !== "") as Array<
  [string, string]
>
const size = 1024 * 1024
const count = 24

/** How many connections this process has made since. */
const connecting = Effect.gen(function*() {
  let connections = 0
  const count = () => void connections++
  yield* Effect.acquireRelease(
    Effect.sync(() => subscribe("net.client.socket", count)),
    () => Effect.sync(() => unsubscribe("net.client.socket", count))
  )
  return () => connections
})

it.live.each(servers)(
  "%s: page after page of large events comes on one connection, once it is known how many fit",
  ([, url]) =>
    Effect.gen(function*() {
      for (let i = 0; i < count; i++) yield* Journal.append(Doc, { id: "d", events: [`${i} `.padEnd(size, "x")] })
      const connections = yield* connecting
      const read = yield* Stream.runCollect(Stream.map(Journal.read(Doc, "d"), ({ event }) => parseInt(event)))
      assert.deepStrictEqual(read, Array.from({ length: count }, (_, i) => i))
      // the first page has told how many there are in one, after which its connection was closed
      assert.isAtMost(connections(), 2)
    }).pipe(
      Effect.scoped,
      Effect.provide(MysqlStorage.layer({ url, tablePrefix: `pages_${crypto.randomUUID().slice(0, 8)}_` }))
    ),
  60_000
)
