/**
 * The steps that the events of a source pass, one after the other.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type { Envelope } from "./Envelope.ts"

/**
 * A step that events pass. `run` is given an envelope, and returns the one that replaces it, or an effect of that.
 *
 * @category models
 * @since 0.1.0
 */
export type Stage =
  | {
    readonly _tag: "Sync"
    readonly name: string
    /** Returns the envelope that replaces this one; undefined drops the event. */
    readonly run: (envelope: Envelope<any>) => Envelope<any> | undefined
  }
  | {
    readonly _tag: "Effect"
    readonly name: string
    /** As above, one envelope after the other. */
    readonly run: (envelope: Envelope<any>) => Effect.Effect<Envelope<any> | undefined, any, any>
  }
