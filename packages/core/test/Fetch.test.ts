import { assert, it } from "@effect/vitest"
import * as Envelope from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { fetch } from "../src/internal/projection/fetch.ts"

it.effect("a single event is read to the end of its stream, which is a remote call that would be cut off", () =>
  Effect.gen(function*() {
    const persistenceId = PersistenceId.make("note", "a")
    const event = Envelope.encoded({
      persistenceId,
      sequenceNumber: SequenceNumber.make(3),
      slice: Slice.ofPersistenceId(persistenceId),
      position: Position.make(1),
      timestamp: Timestamp.make(1)
    }, EventCodec.string.encodeUnsafe("three"))
    let ended = 0
    const provider = {
      ...Source.make<string, never, never>({ key: "test", entity: () => Stream.empty } as any).provider,
      entity: () => Stream.concat(Stream.make(event), Stream.fromEffectDrain(Effect.sync(() => void ended++)))
    }
    assert.deepStrictEqual(yield* fetch(provider, event), Option.some(event))
    assert.strictEqual(ended, 1)
    assert.deepStrictEqual(
      yield* fetch({ ...provider, entity: () => Stream.empty }, event),
      Option.none()
    )
  }))
