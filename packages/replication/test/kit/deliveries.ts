/** Replicas of a CRDT, and deliveries of their deltas in every order that is allowed. */
import { assert } from "@effect/vitest"
import * as Equal from "effect/Equal"
import * as Schema from "effect/Schema"

/** A pseudo-random generator: one seed, one run. */
export interface Draw {
  /** A number from 0 to below `n`. */
  readonly below: (n: number) => number
  readonly of: <A>(values: ReadonlyArray<A>) => A
  readonly chance: (p: number) => boolean
}

const draw = (seed: number): Draw => {
  let state = seed
  const random = () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
  const below = (n: number) => Math.floor(random() * n)
  return { below, of: (values) => values[below(values.length)]!, chance: (p) => random() < p }
}

/** A delta, and what its replica had been delivered before. */
export interface Op<D> {
  readonly id: number
  readonly replica: string
  readonly seen: ReadonlySet<number>
  readonly delta: D
}

/**
 * Which deltas may come next: any; the next one of any replica; or one whose replica had been delivered nothing that was not delivered here, which is causal
 * order.
 */
export type Order = "any" | "origin" | "causal"

export interface Type<S, D> {
  readonly state: Schema.Codec<S, any>
  readonly delta: Schema.Codec<D, any>
  readonly empty: S
  readonly apply: (state: S, delta: D) => S
  /** A random delta of a replica. */
  readonly write: (state: S, replica: string, draw: Draw) => D
}

const replicas = ["eu", "us", "asia", ""]

interface Text<A> {
  readonly encode: (value: A) => string
  /** What is read from the text of it. */
  readonly copy: (value: A) => A
}

const text = <A>(schema: Schema.Codec<A, any>): Text<A> => {
  const json = Schema.fromJsonString(Schema.toCodecJson(schema))
  const encode = Schema.encodeSync(json)
  const decode = Schema.decodeSync(json)
  return { encode, copy: (value) => decode(encode(value)) }
}

const steps = 40

/** One history. All replicas end with the same state, which is returned with what has happened. */
const run = <S, D>(type: Type<S, D>, state: Text<S>, delta: Text<D>, options: {
  readonly seed: number
  readonly order: Order
  readonly repeats: boolean
}): { readonly state: S; readonly ops: ReadonlyArray<Op<D>> } => {
  const random = draw(options.seed)
  const ops: Array<Op<D>> = []
  const nodes = replicas.slice(0, 2 + random.below(3)).map((replica, i) => ({
    replica,
    state: type.empty,
    delivered: new Set<number>(),
    // the last one may come late
    from: i > 1 && random.chance(0.5) ? steps / 2 : 0
  }))
  type Node = typeof nodes[number]

  const isNext = (node: Node, op: Op<D>): boolean => {
    switch (options.order) {
      case "any":
        return true
      case "origin":
        return ops.every((_) => _.replica !== op.replica || _.id >= op.id || node.delivered.has(_.id))
      case "causal":
        return Array.from(op.seen).every((id) => node.delivered.has(id))
    }
  }
  const deliver = (node: Node): boolean => {
    const next = ops.filter((op) => !node.delivered.has(op.id) && isNext(node, op))
    if (next.length === 0) return false
    const op = random.of(next)
    node.delivered.add(op.id)
    node.state = type.apply(node.state, delta.copy(op.delta))
    return true
  }
  for (let step = 0; step < steps; step++) {
    const node = random.of(nodes.filter(({ from }) => from <= step))
    const what = random.below(10)
    if (what < 5) {
      const written = type.write(node.state, node.replica, random)
      const op = { id: ops.length, replica: node.replica, seen: new Set(node.delivered), delta: written }
      ops.push(op)
      node.delivered.add(op.id)
      node.state = type.apply(node.state, written)
    } else if (what < 9) {
      deliver(node)
      // a replica is told of its own deltas as well
      if (options.repeats && random.chance(0.5) && node.delivered.size > 0) {
        node.state = type.apply(node.state, delta.copy(ops[random.of(Array.from(node.delivered))]!.delta))
      }
    } else node.state = state.copy(node.state)
  }
  for (const node of nodes) while (deliver(node));
  const [{ state: expected }] = nodes as [Node]
  for (const { replica, state: actual } of nodes) {
    const where = `'${replica}', seed ${options.seed}`
    assert.strictEqual(state.encode(actual), state.encode(expected), where)
    assert.isTrue(Equal.equals(actual, expected), where)
    assert.isTrue(Equal.equals(state.copy(actual), expected), where)
  }
  return { state: expected, ops }
}

/** Runs many histories, each with what has to hold at its end. */
export const runMany = <S, D>(
  type: Type<S, D>,
  options: { readonly order: Order; readonly repeats: boolean },
  holds: (state: S, ops: ReadonlyArray<Op<D>>, seed: number) => void
): void => {
  const state = text(type.state)
  const delta = text(type.delta)
  for (let seed = 0; seed < 200; seed++) {
    const end = run(type, state, delta, { ...options, seed })
    holds(end.state, end.ops, seed)
  }
}
