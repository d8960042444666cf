import { assert, describe } from "@effect/vitest"
import * as Envelope from "@sluice/core/Envelope"
import * as EventFilter from "@sluice/core/EventFilter"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
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

type Elements = Stream.Stream<Envelope.EncodedElement, any, any>

/** A stream without the first event of the slice, where each opening shows what the function makes of it. */
const showing = (change: (elements: Elements, opening: number) => Elements) => {
  let opening = 0
  return Source.make<string, any, any>({
    ...provider,
    filter: EventFilter.passAll,
    open: (range, start) =>
      Effect.map(
        Source.openEncoded(Source.journal(Note), Note.codec, {
          range,
          start,
          selection: { isOpen: false, isSelected: ({ position, slice: own }) => own !== slice || position !== 1 }
        }),
        (feed) => ({ ...feed, envelopes: change(feed.envelopes, opening++) })
      ) as any
  })
}

/** Without some more of the positions of the slice, which it leaves out without a word. */
const without = (positions: ReadonlyArray<number>) =>
  showing((elements) =>
    Stream.filter(elements, (element) => element.slice !== slice || !positions.includes(element.position!))
  )

const verifyFor = (seconds: number, source: Source.Source<string, any, any>) =>
  Effect.gen(function*() {
    const verifying = yield* Effect.forkChild(Verification.verify(of(source)))
    for (let i = 0; i < seconds && verifying.pollUnsafe() === undefined; i++) yield* after(1_000)
    assert.isDefined(verifying.pollUnsafe(), "it has not ended")
    return (yield* Fiber.join(verifying))[0]!
  })

const handleFour = Effect.gen(function*() {
  yield* write(idInSlice(), "left out")
  yield* write("n-1", "2", "3", "4", "5")
  yield* start(without([]).pipe(of))
  yield* after(1_000)
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
    "ends where a source repeats what it leaves out, as it does not say when that was",
    Effect.gen(function*() {
      yield* handleFour
      const source = showing((elements) =>
        elements.pipe(
          Stream.filter((element) => element.slice !== slice || element.position! <= 3),
          Stream.map((element) =>
            element.slice === slice && element.position === 3
              ? Envelope.skipped(slice, Position.make(2), Position.make(3), undefined, true)
              : element
          )
        )
      )
      const { counts, differences } = yield* verifyFor(120, source)
      assert.deepInclude(counts, { handled: 1, leftOut: 2, unshown: 2 })
      assert.deepStrictEqual(differences, [{ _tag: "Unshown", slice, from: 4, to: 5 } as any])
    })
  )

  test(
    "waits for a source that takes long for a page",
    Effect.gen(function*() {
      yield* handleFour
      const source = showing((elements, opening) =>
        opening === 0 ? elements : Stream.concat(Stream.drain(Stream.fromEffect(Effect.sleep(25_000))), elements)
      )
      const { counts, differences } = yield* verifyFor(120, source)
      assert.deepInclude(counts, { handled: 4, unshown: 0 })
      assert.deepStrictEqual(differences, [])
    })
  )

  test(
    "goes on while the source falls silent after each event",
    Effect.gen(function*() {
      yield* handleFour
      const source = showing((elements) => Stream.concat(Stream.take(elements, 1), Stream.never))
      const { counts } = yield* verifyFor(300, source)
      assert.deepInclude(counts, { handled: 4, unshown: 0 })
    })
  )

  test(
    "fails where the source does not show anything any more, though it says how far it is",
    Effect.gen(function*() {
      yield* handleFour
      const source = showing((elements, opening) => opening < 2 ? Stream.take(elements, 2) : Stream.never)
      assert.deepInclude(yield* Effect.flip(verifyFor(120, source)), { _tag: "SourceTimeout", waited: 10_000 })
    })
  )
})
