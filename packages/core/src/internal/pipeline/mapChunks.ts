import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"

/** @internal Maps a stream array by array, once per array; an array that becomes empty is not passed on. */
export const mapChunks = <A, B, E2, R2>(
  f: (chunk: Arr.NonEmptyReadonlyArray<A>) => Effect.Effect<ReadonlyArray<B>, E2, R2>
) =>
<E, R>(self: Stream.Stream<A, E, R>): Stream.Stream<B, E | E2, R | R2> =>
  Stream.transformPull(self, (pull) => {
    const next: Pull.Pull<Arr.NonEmptyReadonlyArray<B>, E | E2, void, R | R2> = Effect.flatMap(
      Effect.flatMap(pull, f),
      (chunk) => Arr.isReadonlyArrayNonEmpty(chunk) ? Effect.succeed(chunk) : next
    )
    return Effect.succeed(next)
  })
