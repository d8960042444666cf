import { assert, describe, it } from "@effect/vitest"
import * as Verification from "../src/Verification.ts"

const event = (origin: string, originSequenceNumber: number) => ({ origin, originSequenceNumber })

const e1 = event("eu", 1)
const u1 = event("us", 1)
const e3 = event("eu", 3)

const shared: Verification.Known = {
  cart: "fr-1",
  acknowledged: [e1, u1, e3],
  events: { eu: [e1, u1, e3], us: [u1, e1, e3], ap: [e1, e3, u1] },
  contents: [{ tea: 2, milk: 1 }, { milk: 1, tea: 2 }, { tea: 2, milk: 1 }]
}
const right = { commands: 3, events: 3, kept: 0, diverged: 0, lost: 0, doubled: 0, leaked: 0 }

const kept: Verification.Known = {
  cart: "de-1",
  acknowledged: [e1],
  events: { eu: [e1], us: [], ap: [] },
  contents: [{ tea: 1 }]
}

describe("Verification", () => {
  it("finds nothing wrong where all regions have everything, in whatever order", () => {
    assert.deepStrictEqual(Verification.compare(shared), right)
    assert.isTrue(Verification.isRight(right))
  })

  it("expects what is kept in one region there, and nowhere else", () => {
    const report = Verification.compare(kept)
    assert.deepStrictEqual(report, { ...right, commands: 1, events: 1, kept: 1 })
    const leaked = Verification.compare({ ...kept, events: { ...kept.events, ap: [e1] } })
    assert.deepStrictEqual(leaked, { ...report, leaked: 1 })
    assert.isFalse(Verification.isRight(leaked))
  })

  it("finds what a region lacks, and what all lack", () => {
    const missing = Verification.compare({ ...shared, events: { ...shared.events, us: [u1, e1] } })
    assert.deepStrictEqual(missing, { ...right, lost: 1 })
    assert.isFalse(Verification.isRight(missing))
    const nowhere = Verification.compare({ ...shared, events: { eu: [e1, u1], us: [u1, e1], ap: [e1, u1] } })
    assert.deepStrictEqual(nowhere, { ...right, events: 2, lost: 3 })
  })

  it("finds what a region has twice, and what a command did again", () => {
    const twice = Verification.compare({ ...shared, events: { ...shared.events, us: [u1, e1, e3, e1] } })
    assert.deepStrictEqual(twice, { ...right, doubled: 1 })
    assert.isFalse(Verification.isRight(twice))
    const again = event("ap", 4)
    const all = { eu: [e1, u1, e3, again], us: [u1, e1, e3, again], ap: [e1, e3, u1, again] }
    assert.deepStrictEqual(Verification.compare({ ...shared, events: all }), { ...right, events: 4, doubled: 1 })
  })

  it("finds a cart that is not the same everywhere", () => {
    const diverged = Verification.compare({ ...shared, contents: [{ tea: 2 }, { tea: 2 }, { tea: 3 }] })
    assert.deepStrictEqual(diverged, { ...right, diverged: 1 })
    assert.isFalse(Verification.isRight(diverged))
  })

  it("adds up what carts have", () => {
    assert.deepStrictEqual(Verification.sum([Verification.compare(shared), Verification.compare(kept)]), {
      ...right,
      commands: 4,
      events: 4,
      kept: 1
    })
  })
})
