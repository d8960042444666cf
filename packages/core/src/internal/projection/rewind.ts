import * as Effect from "effect/Effect"
import * as Offset from "../../Offset.ts"
import type { OffsetKey } from "../../OffsetStore.ts"
import { bySource, offsetKey, type Projection } from "../../ProjectionDefinition.ts"
import {
  AmbiguousProjection,
  checkAtWork,
  checkSince,
  type CommandOptions,
  issueOf,
  ProjectionManagement,
  startOf,
  type Target,
  UnknownProjection
} from "../../ProjectionManagement.ts"
import * as SliceRange from "../../SliceRange.ts"
import type * as Source from "../../Source.ts"
import * as Timestamp from "../../Timestamp.ts"
import { resolveTimes } from "./resolveTimes.ts"

const notBeforeItsBeginning = ({ beginsAt }: Projection<any, any>, to: Target): Target => {
  if (beginsAt === undefined || typeof to === "object" && "offsets" in to) return to
  return to === "beginning" || to.since < beginsAt ? { since: beginsAt } : to
}

interface Options extends CommandOptions {
  readonly source?: string | undefined
  readonly undo?: Effect.Effect<unknown, any, any> | undefined
}

/** @internal Sets where a projection goes on in its sources, or in one, and undoes what its handler has written, in one transaction. */
export const rewind = (
  projection: Projection<any, any>,
  to: Target,
  { source, undo = Effect.void, ...options }: Options
): Effect.Effect<void, unknown, any> =>
  Effect.gen(function*() {
    const management = yield* ProjectionManagement
    const issue = yield* issueOf(options, to)
    const meant = bySource(projection).filter((one) => source === undefined || one.source.provider.key === source)
    if (meant.length === 0) return yield* new UnknownProjection({ projection: projection.name, source })
    if (meant.length > 1 && typeof to === "object" && "offsets" in to) {
      const sources = meant.map((one) => one.source.provider.key)
      return yield* new AmbiguousProjection({ projection: projection.name, sources })
    }
    const start = startOf(notBeforeItsBeginning(projection, to))
    const newest = Timestamp.make(Offset.newest(start.offsets.values()))
    const checkVersion = checkAtWork(management, projection.name)
    yield* checkVersion
    // all sources are asked before anything is locked, and before a version is declared that nobody may ever start
    const targets: Array<readonly [OffsetKey, Source.Start]> = []
    for (const one of meant.toSorted((a, b) => a.source.provider.key < b.source.provider.key ? 1 : -1)) {
      const { provider } = one.source
      const key = offsetKey(one)
      yield* checkSince(
        key,
        start,
        yield* provider.now,
        Effect.map(provider.heads(SliceRange.full), (heads) => Offset.newest(heads.values()))
      )
      const offsets = yield* resolveTimes(provider, SliceRange.full, start.offsets)
      targets.push([key, { ...start, offsets }])
    }
    // it may not have begun, and must not be taken for a projection without versions then
    if (projection.version !== undefined) {
      const declaring = management.declare(projection.version, { by: issue.by, reason: issue.reason })
      yield* Effect.catchTag(declaring, "VersionNameTaken", Effect.die)
      yield* checkVersion
    }
    let rewinding = undo
    // it may be retired meanwhile, and is not once it is locked
    rewinding = Effect.andThen(checkVersion, rewinding)
    for (const [key, start] of targets) {
      // a projection may be rewound before its first start
      yield* management.register(key)
      // one in the other, so that all is locked before anything is undone
      rewinding = management.rewind(key, start, rewinding, newest, issue)
    }
    yield* rewinding
  })
