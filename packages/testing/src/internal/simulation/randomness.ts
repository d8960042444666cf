import type { Random } from "effect/Random"

/** @internal Numbers from 0 (included) to 1 (excluded), the same ones for the same seed. */
export type Draw = () => number

/** @internal */
export const makeDraw = (seed: number): Draw => {
  let state = seed | 0
  return () => {
    state = state + 0x6D2B79F5 | 0
    let mixed = Math.imul(state ^ state >>> 15, 1 | state)
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32
  }
}

/** @internal A draw of its own, so that what one part draws changes nothing for another. */
export const fork = (draw: Draw): Draw => makeDraw(Math.floor(draw() * 2 ** 32))

/** @internal An integer from 0 and below `n`. */
export const below = (draw: Draw, n: number): number => Math.floor(draw() * n)

/** @internal */
export const choose = <A>(draw: Draw, from: ReadonlyArray<A>): A => from[below(draw, from.length)]!

/** @internal Effect's randomness. */
export const makeRandom = (draw: Draw): Random => ({
  nextDoubleUnsafe: draw,
  nextIntUnsafe: () => Math.floor((draw() - 0.5) * 2 * Number.MAX_SAFE_INTEGER)
})

/** @internal What makes ids. Nothing that it does is secret. */
export const makeCrypto = (draw: Draw): typeof globalThis.crypto => {
  const fill = <A extends ArrayBufferView>(array: A): A => {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
    for (let i = 0; i < bytes.length; i++) bytes[i] = below(draw, 256)
    return array
  }
  return {
    subtle: globalThis.crypto.subtle,
    getRandomValues: fill,
    randomUUID: () => {
      const bytes = fill(new Uint8Array(16))
      bytes[6] = bytes[6]! & 0x0f | 0x40
      bytes[8] = bytes[8]! & 0x3f | 0x80
      const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")
      return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
    }
  }
}
