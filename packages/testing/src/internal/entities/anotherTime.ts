/** Years later, so that no two calls agree by chance. */
const later = 40_000 * 86_400_000

/**
 * @internal
 * Runs a function in which the time of day and chance are not those of its surroundings: what depends on them gives another result. What it starts does not.
 */
export const atAnotherTime = <A>(f: () => A): A => {
  const { Date, performance } = globalThis
  const { random } = Math
  const now = () => Date.now() + later
  const running = performance.now.bind(performance)
  const sinceStart = () => running() + later
  try {
    Math.random = () => (random() + 0.5) % 1
    Object.assign(globalThis, {
      Date: new Proxy(Date, {
        apply: () => new Date(now()).toString(),
        construct: (target, parts) => Reflect.construct(target, parts.length === 0 ? [now()] : parts),
        get: (target, key) => key === "now" ? now : Reflect.get(target, key)
      })
    })
    Object.defineProperty(performance, "now", { value: sinceStart, configurable: true, writable: true })
    return f()
  } finally {
    Math.random = random
    Object.assign(globalThis, { Date })
    Reflect.deleteProperty(performance, "now")
  }
}
