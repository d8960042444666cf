/**
 * Where a producer is, and how a consumer reaches it.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type { Headers } from "./Call.ts"
import type { ClientTls } from "./Tls.ts"

/**
 * Where the producer is, and how to reach it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** `host:port` of the producer. */
  readonly address: string
  readonly tls?: ClientTls | undefined
  /** Allows plaintext beyond this machine, where the network itself is trusted. */
  readonly insecure?: boolean | undefined
  /** Headers of every call, such as for authentication; an effect is run for each call, so that a token can be renewed. */
  readonly headers?: Headers | Effect.Effect<Headers> | undefined
  /**
   * Tells apart the offsets of two producers that offer the same stream; the stream's id by default. It is not the address, which
   * may change.
   */
  readonly name?: string | undefined
  /**
   * What a projection does when the producer's journal is another one than its offsets were taken in, as the database was emptied or
   * replaced, or has lost events that it has read, or deleted events that it has yet to read. `"fail"`, the default, stops it for a
   * person. `"rewind"` begins again, in the slices concerned, with what is there: handlers see events again, or miss what was deleted.
   */
  readonly onReplaced?: "fail" | "rewind" | undefined
}
