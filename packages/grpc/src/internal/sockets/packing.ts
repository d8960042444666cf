import { createRequire } from "node:module"
import { unframe } from "../../Call.ts"
import { bufferOf } from "../wire/bufferOf.ts"

/** @internal Of each message: whether it is compressed, and its length. */
export const prefixBytes = 5

/**
 * Several messages as the library sends them, each with its prefix, in the place of one. The library makes room for `byteLength` bytes
 * and a prefix, which it writes itself, and calls `copy` for the rest: this one begins at the prefix, so that all of them go to the
 * connection in one piece. The peer sees ordinary messages.
 */
class Packed {
  readonly byteLength: number
  readonly #frames: Buffer

  constructor(frames: Buffer) {
    this.#frames = frames
    this.byteLength = frames.length - prefixBytes
  }

  copy(target: Buffer, at: number): number {
    this.#frames.copy(target, at - prefixBytes)
    return this.byteLength
  }
}

/** The method of the library that packing relies on. */
interface Serializer {
  readonly serializeMessage: (
    this: { readonly handler: { readonly serialize: (_: unknown) => unknown } },
    _: unknown
  ) => unknown
}

/** @internal Whether the library still treats messages in the way that packing relies on. It is a detail, which may change. */
export const packs = (
  load: () => { readonly BaseServerInterceptingCall: { readonly prototype: Serializer } }
): boolean => {
  try {
    const frames = Buffer.from([0, 0, 0, 0, 1, 7, 0, 0, 0, 0, 2, 8, 9])
    const written = load().BaseServerInterceptingCall.prototype.serializeMessage.call(
      { handler: { serialize: (packed) => packed } },
      new Packed(frames)
    )
    return written instanceof Uint8Array && frames.equals(written)
  } catch {
    return false
  }
}

const canPack = packs(() => createRequire(import.meta.url)("@grpc/grpc-js/build/src/server-interceptors.js"))

/**
 * @internal
 * What is written of a large message until it is taken: a consumer that takes some of it reads, though slowly, and what is behind it on
 * the connection, such as an answer to a ping, does not wait for all of it.
 */
export const partBytes = 64 * 1024

/** @internal What is to be written to a call for frames: pieces of any length where that is possible, else each message. */
export const pack: (frames: Buffer) => ReadonlyArray<Buffer> = canPack ?
  (frames) => {
    if (frames.length <= partBytes) return [new Packed(frames) as unknown as Buffer]
    const parts: Array<Buffer> = []
    for (let at = 0; at < frames.length;) {
      // nothing shorter than a prefix is left over
      const end = frames.length - at < 2 * partBytes ? frames.length : at + partBytes
      parts.push(new Packed(frames.subarray(at, end)) as unknown as Buffer)
      at = end
    }
    return parts
  } :
  (frames) => unframe(frames).map(bufferOf)
