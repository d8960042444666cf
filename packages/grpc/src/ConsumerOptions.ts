/**
 * Where a producer is, and how a consumer reaches it.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type { Headers } from "./Call.ts"
import type { ReplicaInfo } from "./ReplicaInfo.ts"
import type { ClientTls } from "./Tls.ts"

/**
 * Where the producer is, and how to reach it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** `host:port` of the producer; IPv6 in brackets, as in `[::1]:8101`. */
  readonly address: string
  readonly tls?: ClientTls | undefined
  /** Allows plaintext beyond this machine, where the network itself is trusted. */
  readonly insecure?: boolean | undefined
  /** Headers of every call, such as for authentication; an effect is run for each call, within 10 seconds, so that a token can be renewed. */
  readonly headers?: Headers | Effect.Effect<Headers> | undefined
  /**
   * A name that tells apart the offsets of two producers that offer the same stream; the stream's id by default. The
   * address would not do, as it may change.
   */
  readonly name?: string | undefined
  /**
   * What a projection does when the producer's database was emptied or replaced, has lost events that the projection
   * has read, or has deleted events that it has not read yet. `"fail"`, the default, stops it with a final error.
   * `"rewind"` begins again, in the slices concerned, with the events that are there: handlers see events again, or
   * miss deleted ones.
   */
  readonly onReplaced?: "fail" | "rewind" | undefined
  /** The replica that consumes, of replicated entities. The producer leaves out what comes to it on another way. */
  readonly replica?: ReplicaInfo | undefined
  /**
   * The replica that the producer has to be, of replicated entities. One that says that it is another refuses the call, before anything is read, and
   * `WrongReplica` says so until the right one answers. A producer that does not say which it is, as of Akka, is taken for the right one.
   */
  readonly producerReplica?: string | undefined
}
