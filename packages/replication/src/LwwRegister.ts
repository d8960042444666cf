/**
 * A value that every replica may overwrite: the last write wins.
 *
 * @since 0.1.0
 */
import * as Equal from "effect/Equal"
import * as Schema from "effect/Schema"
import * as LwwTime from "./LwwTime.ts"

/**
 * A value, and when it was written. Of concurrent writes one is kept, which is the same one everywhere: that with the greater time or, at one time, of
 * the smaller replica id.
 *
 * **Details**
 *
 * Its deltas may come in any order, and more than once. It is as large as one value.
 *
 * **Gotchas**
 *
 * A replica whose clock is ahead wins over concurrent writes of the others. What was written after it was seen wins in any case.
 *
 * @category models
 * @since 0.1.0
 */
export interface LwwRegister<out A> {
  readonly written: LwwTime.LwwTime
  readonly value: A
}

/**
 * A write: the event.
 *
 * @category models
 * @since 0.1.0
 */
export interface Delta<out A> {
  readonly _tag: "LwwRegisterWritten"
  readonly written: LwwTime.LwwTime
  readonly value: A
}

/**
 * The register as a schema, by that of its value.
 *
 * @category schemas
 * @since 0.1.0
 */
export const schema = <A, I>(value: Schema.Codec<A, I>) => Schema.Struct({ written: LwwTime.schema, value })

/**
 * The delta as a schema, by that of the value.
 *
 * @category schemas
 * @since 0.1.0
 */
export const delta = <A, I>(value: Schema.Codec<A, I>) =>
  Schema.TaggedStruct("LwwRegisterWritten", { written: LwwTime.schema, value })

/**
 * The register before the first write, with a value that is the same in every replica.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(initial: A): LwwRegister<A> => ({ written: LwwTime.first, value: initial })

/**
 * The delta that writes a value, at the time of the replica's clock, or just after the last write that the register has seen.
 *
 * **Example** (The last write wins)
 *
 * ```ts
 * import { LwwRegister } from "@sluice/replication"
 *
 * const title = LwwRegister.make("untitled")
 * const inEurope = LwwRegister.write(title, "eu", 1_000, "Tea")
 * const inAsia = LwwRegister.write(title, "asia", 1_001, "Green tea")
 * const one = [inEurope, inAsia].reduce(LwwRegister.apply, title)
 * const other = [inAsia, inEurope].reduce(LwwRegister.apply, title)
 * one.value // => "Green tea"
 * other.value // => "Green tea"
 * ```
 *
 * @category deltas
 * @since 0.1.0
 */
export const write = <A>(self: LwwRegister<A>, replica: string, time: number, value: A): Delta<A> => ({
  _tag: "LwwRegisterWritten",
  written: LwwTime.increase(self.written, replica, time),
  value
})

/**
 * The register after a delta. Throws a `RangeError` where two writes of one replica have the same time and other values: both were made from the same
 * register, and one would be lost.
 *
 * @category combinators
 * @since 0.1.0
 */
export const apply = <A>(self: LwwRegister<A>, delta: Delta<A>): LwwRegister<A> => {
  const { value, written } = delta
  if (LwwTime.isAfter(written, self.written)) return { written, value }
  if (
    written.time === self.written.time && written.replica === self.written.replica && !Equal.equals(value, self.value)
  ) {
    throw new RangeError(
      `Two writes of replica '${written.replica}' to the same LwwRegister have the time ${written.time}: both were made from the same value. ` +
        "Apply each write before you make the next"
    )
  }
  return self
}
