import { assert, describe } from "@effect/vitest"
import * as EventFilter from "@sluice/core/EventFilter"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as Slice from "@sluice/core/Slice"
import * as Source from "@sluice/core/Source"
import * as Verification from "@sluice/core/Verification"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { after, Note, start, test, write } from "./projectionKit.ts"

const { provider } = Source.journal(Note)
const of = (source: Source.Source<string, any, any>) => source.pipe(Projection.exactlyOnce("p", () => Effect.void))

const sliceOf = (id: string) => Slice.ofPersistenceId(PersistenceId.make(Note.name, id))
const slice = sliceOf("n-1")

const idInSlice = (): string => {
  let i = 0
  while (sliceOf(`other${i}`) !== slice) i++
  return `other${i}`
}

/** A stream without the first event of the slice, and without some more of its positions, which it leaves out without a word. */
const without = (positions: ReadonlyArray<number>, heads = provider.heads) =>
  Source.make<string, any, any>({
    ...provider,
    filter: EventFilter.passAll,
    heads,
    open: (range, start) =>
      Effect.map(
        Source.openEncoded(Source.journal(Note), Note.codec, {
          range,
          start,
          selection: { isOpen: false, isSelected: ({ position, slice: own }) => own !== slice || position !== 1 }
        }),
        (feed) => ({
          ...feed,
          envelopes: Stream.filter(
            feed.envelopes,
            (element) => element.slice !== slice || !positions.includes(element.position!)
          )
        })
      ) as any
  })

describe("a verification", () => {
  test(
    "tells of what a source does not show last, also while other events come",
    Effect.gen(function*() {
      yield* write(idInSlice(), "left out")
      yield* write("n-1", "2", "3", "4", "5")
      yield* write("n-2", "1")
      yield* start(without([]).pipe(of))
      yield* after(1_000)
      assert.notStrictEqual(slice, sliceOf("n-2"))
      for (const [left, from, to] of [[[3], 3, 3], [[5], 5, 5], [[2, 4, 5], 4, 5], [[2, 3, 4, 5], 2, 5]] as const) {
        const verifying = yield* Effect.forkChild(Verification.verify(without(left).pipe(of)))
        for (let i = 0; i < 50; i++) {
          yield* after(1_000)
          yield* write("n-2", "next")
        }
        const [report] = yield* Fiber.join(verifying)
        assert.deepInclude(report!.differences, { _tag: "Unshown", slice, from, to } as any)
        assert.deepInclude(report!.counts, { unshown: left.length, missing: 0 })
        const { handled, leftOut, offset, proven, unshown } = report!.slices.find((one) => one.slice === slice)!
        assert.strictEqual(handled + leftOut + proven + unshown, offset.position)
      }
    })
  )

  test(
    "fails where the source does not answer any more",
    Effect.gen(function*() {
      yield* write(idInSlice(), "left out")
      yield* write("n-1", "2")
      yield* start(without([]).pipe(of))
      yield* after(1_000)
      let asked = 0
      const heads: typeof provider.heads = (range) =>
        Effect.suspend(() => asked++ === 0 ? provider.heads(range) : Effect.never)
      const verifying = yield* Effect.forkChild(
        Effect.flip(Verification.verify(without([2], heads).pipe(of)))
      )
      for (let i = 0; i < 50; i++) yield* after(1_000)
      assert.deepInclude(yield* Fiber.join(verifying), { _tag: "SourceTimeout", waited: 10_000 })
    })
  )
})
