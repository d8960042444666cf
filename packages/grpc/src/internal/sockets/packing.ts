import { createRequire } from "node:module"
import { unframe } from "../../Call.ts"

const prefixBytes = 5

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

/** @internal What is to be written to a call for frames: one piece where that is possible, else each message. */
export const pack: (frames: Buffer) => ReadonlyArray<Buffer> = canPack
  ? (frames) => [new Packed(frames) as unknown as Buffer]
  : unframe
