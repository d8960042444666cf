/**
 * Which projection is meant: by what whoever asks has at hand.
 *
 * @since 0.1.0
 */
import type { OffsetKey } from "./OffsetStore.ts"
import { offsetKey, type Projection } from "./ProjectionDefinition.ts"

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
 * The key of the projection's offsets, or undefined where the reference does not say the source.
 *
 * @category getters
 * @since 0.1.0
 */
export const keyOf = (ref: ProjectionRef): OffsetKey | undefined => {
  if (typeof ref === "string") return undefined
  if (!("projection" in ref)) return offsetKey(ref)
  const { projection, source } = ref
  return source === undefined ? undefined : { projection, source }
}
