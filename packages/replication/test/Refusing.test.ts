import { assert, describe, it } from "@effect/vitest"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import { StorageError } from "@sluice/core/StorageError"
import * as Effect from "effect/Effect"
import { orderOf } from "../src/internal/orderOf.ts"
import { refusing } from "../src/internal/refusing.ts"

type Progress = ProjectionManagement.ProjectionManagement["Service"]["progress"]

const refuse = refusing("notes", "eu", "origin")
const storage = (progress: Progress) =>
  Effect.provideService(ProjectionManagement.ProjectionManagement, { progress } as never)
const having = (...journals: ReadonlyArray<string | undefined>) =>
  storage(() => Effect.succeed(journals.map((journal) => ({ journal }) as never)))
const codeOf = (journal: string | undefined, order?: string, id = "us") =>
  Effect.map(refuse({ id, others: [], journal, order }), (refusal) => refusal?.code)

describe("another replica", () => {
  it.effect("is known by the journal that was read, whoever is given events at the moment", () =>
    Effect.gen(function*() {
      const twin = Effect.gen(function*() {
        assert.isUndefined(yield* having()(codeOf("twin")))
        assert.isUndefined(yield* having()(codeOf("twin")))
        assert.strictEqual(yield* having()(codeOf("own")), "OtherJournal")
        assert.isUndefined(yield* having("own/events/notes")(codeOf("own")))
        assert.strictEqual(yield* having("own/events/notes")(codeOf("twin")), "OtherJournal")
        // of another id nothing is known
        assert.isUndefined(yield* having()(codeOf("twin", undefined, "ap")))
      })
      yield* Effect.scoped(twin)
      // none is given any more
      assert.isUndefined(yield* Effect.scoped(having()(codeOf("own"))))
      assert.isUndefined(yield* Effect.scoped(having()(codeOf("twin"))))
    }))

  it.effect("is given events where it does not say, was one of Akka, or cannot be looked up", () =>
    Effect.gen(function*() {
      yield* Effect.scoped(Effect.gen(function*() {
        assert.isUndefined(yield* having("own")(codeOf(undefined)))
        assert.isUndefined(yield* having(undefined, "timestamps")(codeOf("new")))
      }))
      const away = storage(() =>
        Effect.fail(new StorageError({ operation: "look", reason: "Unavailable", cause: new Error("away") }))
      )
      assert.isUndefined(yield* Effect.scoped(away(codeOf("any"))))
    }))

  it.effect("is refused by its order, in words that fit into a line whatever it says", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* having()(codeOf(undefined, "causal")), "OtherOrder")
      const long = `\n${"x".repeat(10_000)}`
      for (const journal of [undefined, long]) {
        const refusal = yield* having("own")(
          refuse({ id: long, others: [], journal, order: journal === undefined ? long : "origin" })
        )
        assert.isBelow(refusal!.problem.length, 1_000)
        assert.notInclude(refusal!.problem, "\n")
      }
    }).pipe(Effect.scoped))
})

describe("an order", () => {
  it("that is none, as a setting may say, is refused", () => {
    for (const order of [undefined, "origin", "causal"] as const) assert.strictEqual(orderOf(order), order ?? "origin")
    for (const order of ["Causal", "", null]) {
      assert.throws(
        () => orderOf(order as "causal"),
        `the order ${JSON.stringify(order)} is neither "origin" nor "causal"`
      )
    }
  })
})
