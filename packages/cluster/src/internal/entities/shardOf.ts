import * as Slice from "@sluice/core/Slice"

/** @internal So many shards are spread over the processes. It is the same in all of them, and never changes. */
export const shards = 256

/** @internal The shard of an entity: four neighbouring slices, so that what is read by slices is written by few processes. */
export const shardOf = (entityType: string, id: string): number =>
  Math.floor(Slice.ofPersistenceId(`${entityType}|${id}`) * shards / Slice.count)
