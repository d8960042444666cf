import type { Draw } from "./randomness.ts"

const refuse = (name: string) => (): never => {
  throw new Error(`${name} never goes off in a simulation, whose time is not the machine's: use Effect.sleep`)
}

/**
 * @internal
 * Runs a function in which the time of day and randomness that nobody asked a service for follow the seed as well. Timers of the machine would
 * never go off in it, so whoever sets one is told.
 */
export const withSeededGlobals = <A>(
  draw: Draw,
  now: () => number,
  crypto: typeof globalThis.crypto,
  f: () => A
): A => {
  const { Date, setImmediate, setInterval, setTimeout } = globalThis
  const { random } = Math
  const randomUUID = Object.getOwnPropertyDescriptor(globalThis.crypto, "randomUUID")
  try {
    Math.random = draw
    globalThis.crypto.randomUUID = () => crypto.randomUUID()
    Object.assign(globalThis, {
      Date: new Proxy(Date, {
        construct: (target, parts) => Reflect.construct(target, parts.length === 0 ? [now()] : parts),
        get: (target, key) => key === "now" ? now : Reflect.get(target, key)
      }),
      setTimeout: refuse("setTimeout"),
      setInterval: refuse("setInterval"),
      setImmediate: refuse("setImmediate")
    })
    return f()
  } finally {
    Math.random = random
    if (randomUUID === undefined) Reflect.deleteProperty(globalThis.crypto, "randomUUID")
    else Object.defineProperty(globalThis.crypto, "randomUUID", randomUUID)
    Object.assign(globalThis, { Date, setTimeout, setInterval, setImmediate })
  }
}
