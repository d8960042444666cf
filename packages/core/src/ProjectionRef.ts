/**
 * Which projection is meant: by what whoever asks has at hand.
 *
 * @since 0.1.0
 */
import type { OffsetKey } from "./OffsetStore.ts"
import { offsetKeys, type Projection } from "./ProjectionDefinition.ts"

/**
 * A projection by itself, by its name, or by a row that names it: of `ProjectionManagement.list`, of a status, or the `key` of a dead letter,
 * also when it has come from another process as JSON.
 *
 * @category models
 * @since 0.1.0
 */
export type ProjectionRef =
  | string
  | { readonly projection: string; readonly source?: string | undefined }
  | Projection<any, any>

/**
 * The name of the projection.
 *
 * **Example** (A name, and a row)
 *
 * ```ts
 * import { ProjectionRef } from "@sluice/core"
 *
 * ProjectionRef.nameOf("lengths") // => "lengths"
 * ProjectionRef.nameOf({ projection: "lengths", source: "journal:note" }) // => "lengths"
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const nameOf = (ref: ProjectionRef): string =>
  typeof ref === "string" ? ref : "projection" in ref ? ref.projection : ref.name

/**
 * The keys of the projection's offsets, as far as the reference says the sources: none of a name alone.
 *
 * @category getters
 * @since 0.1.0
 */
export const keysOf = (ref: ProjectionRef): ReadonlyArray<OffsetKey> => {
  if (typeof ref === "string") return []
  if (!("projection" in ref)) return offsetKeys(ref)
  const { projection, source } = ref
  return source === undefined ? [] : [{ projection, source }]
}

/**
 * The source that the reference says; undefined if it says none, or is a projection of several.
 *
 * @category getters
 * @since 0.1.0
 */
export const sourceOf = (ref: ProjectionRef): string | undefined => {
  const keys = keysOf(ref)
  return keys.length === 1 ? keys[0]!.source : undefined
}
