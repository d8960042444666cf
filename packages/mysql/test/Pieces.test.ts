import { assert, it } from "@effect/vitest"
import { whole } from "../src/internal/pieces.ts"

it.each(["shop", "läden", "магазин"])("a long statement keeps the name of the database %s", (name) => {
  const pieces = [`INSERT INTO \`${name}\`.events VALUES (x'`, "ab".repeat(600_000), "')"]
  assert.isTrue(whole(pieces) === pieces.join(""))
})
