import * as Effect from "effect/Effect"
import * as Offset from "../../Offset.ts"
import { offsetKey, type Projection } from "../../ProjectionDefinition.ts"
import {
  checkSince,
  type CommandOptions,
  issueOf,
  ProjectionManagement,
  startOf,
  type Target
} from "../../ProjectionManagement.ts"
import * as SliceRange from "../../SliceRange.ts"
import * as Timestamp from "../../Timestamp.ts"
import { resolveTimes } from "./resolveTimes.ts"

/** @internal Sets where a projection goes on, and undoes what its handler has written, in one transaction. */
export const rewind = (
  projection: Projection<any, any>,
  to: Target,
  { undo = Effect.void, ...options }: CommandOptions & { readonly undo?: Effect.Effect<unknown, any, any> | undefined }
): Effect.Effect<void, unknown, any> =>
  Effect.gen(function*() {
    const management = yield* ProjectionManagement
    const issue = yield* issueOf(options, to)
    const { provider } = projection.source
    const key = offsetKey(projection)
    const start = startOf(to)
    const now = yield* provider.now
    yield* checkSince(
      key,
      start,
      now,
      Effect.map(provider.heads(SliceRange.full), (heads) => Offset.newest(heads.values()))
    )
    const offsets = yield* resolveTimes(provider, SliceRange.full, start.offsets)
    // a projection may be rewound before its first start
    yield* management.register(key)
    const newest = Timestamp.make(Offset.newest(start.offsets.values()))
    yield* management.rewind(key, { ...start, offsets }, undo, newest, issue)
  })
