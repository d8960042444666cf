import { assert, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as MysqlStorage from "@sluice/mysql/MysqlStorage"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { inject } from "vitest"

const Text = EntityType.make("o'text\\", { codec: EventCodec.string })
const servers = [["MariaDB", inject("mariadb")], ["MySQL", inject("mysql")]].filter(([, url]) => url !== "") as Array<
  [string, string]
>
const bytes = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code))
const payloads = [
  ...new Set([
    ...bytes,
    ...bytes.map((byte) => `a${byte}`),
    "",
    "\\'",
    "'; DROP TABLE x; -- ",
    "/*! SELECT 1 */",
    `{"a":[1]}`,
    "日本",
    "😀",
    "x".repeat(100_000)
  ])
]
const texts = payloads.filter((text) => text !== "" && text !== "\0" && text !== "a\0" && text.length < 100)

it.live.each(servers)(
  "%s: any text is stored as it is, and the entity of any id is found again",
  ([, url]) =>
    Effect.gen(function*() {
      const ids = [...texts, "i".repeat(247), `x${"日".repeat(82)}`]
      const append = (events: [string, ...Array<string>], expected: "none" | 2) =>
        Effect.forEach(ids, (id) => Journal.append(Text, { id, expected, events }), { concurrency: "unbounded" })
      yield* append(["one", "two"], "none")
      const receipts = yield* append(["three"], 2)
      assert.deepStrictEqual(receipts.map(({ sequenceNumber }) => sequenceNumber as number), ids.map(() => 3))
      yield* Journal.append(Text, {
        id: "all",
        events: payloads,
        tags: (_, i) => i < texts.length ? [texts[i]!] : [],
        metadata: (_, i) => i < texts.length ? { [`k${texts[i]!}`]: texts[i]! } : {}
      })
      const events = yield* Stream.runCollect(Journal.read(Text, "all"))
      assert.deepStrictEqual(events.map(({ event }) => event), payloads)
      assert.deepStrictEqual(events.slice(0, texts.length).map(({ tags }) => tags), texts.map((text) => [text]))
      assert.deepStrictEqual(
        events.slice(0, texts.length).map(({ metadata }) => metadata),
        texts.map((text) => ({ [`k${text}`]: text }))
      )
    }).pipe(Effect.provide(MysqlStorage.layer({ url, tablePrefix: `texts_${crypto.randomUUID().slice(0, 8)}_` })))
)
