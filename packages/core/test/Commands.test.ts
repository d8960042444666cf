import { assert, describe, it } from "@effect/vitest"
import type { Command } from "@sluice/core/ProjectionManagement"
import { isNew } from "../src/internal/projection/commands.ts"

const command = (revision: number): Command => ({ paused: false, revision })

describe("a command is new", () => {
  it("if none was read before", () => {
    assert.isTrue(isNew(command(0), undefined))
  })

  it("if it came after the one that was read last, and not if it was seen before that one came", () => {
    assert.deepStrictEqual([2, 3, 4].map((revision) => isNew(command(revision), command(3))), [false, false, true])
  })
})
