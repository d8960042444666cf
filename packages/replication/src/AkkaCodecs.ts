/**
 * Counters, sets and protobuf messages as the bytes of Akka's own serializers, for entities that are replicated with a JVM service.
 *
 * @since 0.1.0
 */
import {
  create,
  type DescMessage,
  fromBinary,
  isFieldSet,
  type Message,
  type MessageInitShape,
  type MessageShape,
  toBinary
} from "@bufbuild/protobuf"
import { FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt"
import * as EventCodec from "@sluice/core/EventCodec"
import * as ExpectedError from "@sluice/core/ExpectedError"
import type { Payload } from "@sluice/core/Payload"
import type { VersionVector } from "@sluice/core/ReplicationMetadata"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as HashMap from "effect/HashMap"
import * as Schema from "effect/Schema"
import type * as Counter from "./Counter.ts"
import {
  CounterSchema,
  CounterUpdateSchema,
  type ORSet,
  ORSetDeltaGroupSchema,
  ORSetDeltaOp,
  ORSetSchema
} from "./internal/generated/akka/persistence/typed/crdt_pb.ts"
import { problemOfSet } from "./internal/sets.ts"
import { byText, entriesOf, repeated, seenOf } from "./internal/vectors.ts"
import * as OrSet from "./OrSet.ts"

/**
 * The elements of a set that are read are of another type than those of the codec. Take the codec of that type, or have the JVM service use strings, ints or
 * longs: Akka writes others with serializers that exist on the JVM alone.
 *
 * @category errors
 * @since 0.1.0
 */
export class UnsupportedElements
  extends ExpectedError.TaggedError<UnsupportedElements>("@sluice/replication/UnsupportedElements")(
    "UnsupportedElements",
    { expected: Schema.String, found: Schema.String }
  )
{
  override get message(): string {
    const remedy = this.found === "other"
      ? "Have the JVM service use strings, ints or longs"
      : `Take the codec of '${this.found}'`
    return `The set has elements of type '${this.found}', and this codec reads '${this.expected}'. ${remedy}`
  }
}

/**
 * The types that elements of sets may have on the JVM, and what they are here. An int is a whole number of 32 bits, a long a safe integer.
 *
 * @category models
 * @since 0.1.0
 */
export interface Elements {
  readonly string: string
  readonly int: number
  readonly long: number
}

const prefix = "ser.akka.io/40:"

const codec = <A>(
  name: string,
  encode: (value: A) => Payload,
  decoders: Readonly<Record<string, (bytes: Uint8Array) => A>>
): EventCodec.EventCodec<A> => {
  const byManifest = new Map(Object.entries(decoders).map(([manifest, decode]) => [`${prefix}${manifest}`, decode]))
  return EventCodec.make({
    name,
    encode,
    decode: ({ bytes, manifest }) => {
      const decode = byManifest.get(manifest)
      if (decode === undefined) {
        throw new TypeError(`the manifest is unknown here; this codec reads ${[...byManifest.keys()].join(", ")}`)
      }
      return decode(bytes)
    }
  })
}

const write = <Desc extends DescMessage>(
  manifest: string,
  desc: Desc,
  init: MessageInitShape<Desc>
): Payload => ({ manifest: `${prefix}${manifest}`, bytes: toBinary(desc, create(desc, init)) })

/** The message that the bytes are. It has whatever is required of it, which is the reader's to check. */
const parse = <Desc extends DescMessage>(desc: Desc, bytes: Uint8Array): MessageShape<Desc> => {
  const message = fromBinary(desc, bytes)
  checkRequired(desc, message)
  return message
}

const checkRequired = (desc: DescMessage, message: Message): void => {
  for (const field of desc.fields) {
    if (field.presence === FeatureSet_FieldPresence.LEGACY_REQUIRED && !isFieldSet(message, field)) {
      throw new TypeError(`${desc.name} without '${field.name}'`)
    }
    if (field.message === undefined) continue
    const value = (message as unknown as Readonly<Record<string, Message | ReadonlyArray<Message>>>)[field.localName]
    for (const inner of value === undefined ? [] : [value].flat()) checkRequired(field.message, inner)
  }
}

/** What is longer has no use, and would take long to be read. */
const maxNumberBytes = 400

const toNumber = (bytes: Uint8Array): bigint => {
  if (bytes.length === 0 || bytes.length > maxNumberBytes) {
    throw new RangeError(`a number of ${bytes.length} bytes: it has from 1 to ${maxNumberBytes}`)
  }
  return BigInt.asIntN(bytes.length * 8, BigInt(`0x${Buffer.from(bytes).toString("hex")}`))
}

/** As few bytes as there can be, as Java does. */
const fromNumber = (value: bigint): Uint8Array => {
  // what is negative has its sign in the bit above those of its complement
  const bits = value < 0 ? (-value - BigInt(1)).toString(2) : value.toString(2)
  const length = Math.floor((bits === "0" ? 0 : bits.length) / 8) + 1
  if (length > maxNumberBytes) throw new RangeError(`a number of ${length} bytes: it has ${maxNumberBytes} at most`)
  return Buffer.from(BigInt.asUintN(length * 8, value).toString(16).padStart(length * 2, "0"), "hex")
}

/**
 * Deltas of a `Counter`, as `Counter.Updated` of Akka: `ser.akka.io/40:AB`.
 *
 * **Example** (What a JVM replica reads)
 *
 * ```ts
 * import { AkkaCodecs, Counter } from "@sluice/replication"
 *
 * const { bytes, manifest } = AkkaCodecs.counter.encodeUnsafe(Counter.increment(128))
 * manifest // => "ser.akka.io/40:AB"
 * Buffer.from(bytes).toString("hex") // => "0a020080"
 * ```
 *
 * @category codecs
 * @since 0.1.0
 */
export const counter: EventCodec.EventCodec<Counter.Delta> = codec(
  "akka counter",
  ({ amount }) => write("AB", CounterUpdateSchema, { delta: fromNumber(amount) }),
  { AB: (bytes) => ({ _tag: "CounterUpdated", amount: toNumber(parse(CounterUpdateSchema, bytes).delta) }) }
)

/**
 * A `Counter`, as that of Akka: `ser.akka.io/40:AA`.
 *
 * @category codecs
 * @since 0.1.0
 */
export const counterState: EventCodec.EventCodec<Counter.Counter> = codec(
  "akka counter state",
  ({ value }) => write("AA", CounterSchema, { value: fromNumber(value) }),
  { AA: (bytes) => ({ value: toNumber(parse(CounterSchema, bytes).value) }) }
)

interface WrittenElements {
  stringElements?: Array<string>
  intElements?: Array<number>
  longElements?: Array<bigint>
}

/** How elements of a type are written, and read. */
interface ElementType<A> {
  readonly name: keyof Elements
  readonly order: (a: A, b: A) => number
  readonly write: (elements: ReadonlyArray<A>) => WrittenElements
  readonly read: (set: ORSet) => ReadonlyArray<A>
}

const safeInteger = (value: bigint): number => {
  const number = Number(value)
  if (!Number.isSafeInteger(number)) throw new RangeError(`${value} is no safe integer`)
  return number
}

const checked = <A>(elements: ReadonlyArray<A>, is: (element: A) => boolean, what: string): Array<A> => {
  for (const element of elements) if (!is(element)) throw new TypeError(`${String(element)} is no ${what}`)
  return Array.from(elements)
}

const elementTypes: { readonly [Name in keyof Elements]: ElementType<Elements[Name]> } = {
  string: {
    name: "string",
    order: byText,
    write: (elements) => ({
      stringElements: checked(elements, (_) => typeof _ === "string" && _.isWellFormed(), "string with a UTF-8")
    }),
    read: ({ stringElements }) => stringElements
  },
  int: {
    name: "int",
    order: (a, b) => a - b,
    write: (elements) => ({ intElements: checked(elements, (_) => (_ | 0) === _, "whole number of 32 bits") }),
    read: ({ intElements }) => intElements
  },
  long: {
    name: "long",
    order: (a, b) => a - b,
    write: (elements) => ({ longElements: checked(elements, Number.isSafeInteger, "safe integer").map(BigInt) }),
    read: ({ longElements }) => longElements.map(safeInteger)
  }
}

type Dots = ReadonlyArray<readonly [replica: string, version: number]>

const fromDots = (dots: Dots) => ({ entries: dots.map(([key, version]) => ({ key, version: BigInt(version) })) })

const toVector = (vector: ORSet["vvector"]): VersionVector => {
  const dots = (vector?.entries ?? []).map(({ key, version }) =>
    [key, SequenceNumber.make(safeInteger(version))] as const
  )
  const problem = repeated(dots)
  if (problem !== undefined) throw new TypeError(problem)
  // that nothing was seen of a replica is left out
  return new Map(dots.filter(([, version]) => version > 0))
}

const fromElements = <A>(
  type: ElementType<A>,
  replica: string,
  elements: ReadonlyArray<readonly [element: A, dots: Dots]>,
  vector: VersionVector
): MessageInitShape<typeof ORSetSchema> => {
  const sorted = elements.toSorted(([a], [b]) => type.order(a, b))
  return {
    originDc: replica,
    vvector: fromDots(entriesOf(vector)),
    dots: sorted.map(([, dots]) => fromDots(dots)),
    ...type.write(sorted.map(([element]) => element))
  }
}

const toElements = <A>(type: ElementType<A>, set: ORSet): ReadonlyArray<readonly [element: A, dots: VersionVector]> => {
  const found = {
    string: set.stringElements.length,
    int: set.intElements.length,
    long: set.longElements.length,
    other: set.otherElements.length
  }
  for (const [name, count] of Object.entries(found)) {
    if (count > 0 && name !== type.name) throw new UnsupportedElements({ expected: type.name, found: name })
  }
  const elements = type.read(set)
  if (elements.length !== set.dots.length) {
    throw new TypeError(`a set with ${elements.length} elements and the dots of ${set.dots.length}`)
  }
  return elements.map((element, i) => [element, toVector(set.dots[i])])
}

const toSet = <A>(type: ElementType<A>, message: ORSet): OrSet.OrSet<A> => {
  const vector = toVector(message.vvector)
  const entries = toElements(type, message)
  const problem = problemOfSet(vector, entries, [])
  if (problem !== undefined) throw new TypeError(problem)
  return { ...OrSet.empty, vector, entries: HashMap.fromIterable(entries) }
}

const fromSet = <A>(
  type: ElementType<A>,
  replica: string,
  { entries, pending, vector }: OrSet.OrSet<A>
): MessageInitShape<typeof ORSetSchema> => {
  if (HashMap.size(pending) > 0) {
    throw new TypeError(
      "removals that came before what they have seen cannot be written as Akka's: write the set as JSON"
    )
  }
  const elements = HashMap.toEntries(entries).map(([element, dots]) => [element, entriesOf(dots)] as const)
  return fromElements(type, replica, elements, vector)
}

const manifests = { [ORSetDeltaOp.ADD]: "CB", [ORSetDeltaOp.REMOVE]: "CC", [ORSetDeltaOp.FULL]: "CD" } as const

interface Operation {
  readonly operation: ORSetDeltaOp
  readonly underlying: MessageInitShape<typeof ORSetSchema>
}

/** Akka removes one element by a delta. */
const toOperations = <A>(type: ElementType<A>, delta: OrSet.Delta<A>): ReadonlyArray<Operation> => {
  switch (delta._tag) {
    case "OrSetAdded": {
      const { elements, replica } = delta
      const newest = new Map<A, Dots>()
      for (const [element, version] of elements) newest.set(element, [[replica, version]])
      const last = elements.reduce((last, [, version]) => Math.max(last, version), 0)
      const vector: VersionVector = new Map(last > 0 ? [[replica, SequenceNumber.make(last)]] : [])
      return [{
        operation: ORSetDeltaOp.ADD,
        underlying: fromElements(type, replica, Array.from(newest), vector)
      }]
    }
    case "OrSetRemoved": {
      const { elements, replica, vector } = delta
      const dots: Dots = [[replica, seenOf(vector, replica)]]
      return elements.map((element) => ({
        operation: ORSetDeltaOp.REMOVE,
        underlying: fromElements(type, replica, [[element, dots]], vector)
      }))
    }
    case "OrSetMerged":
      return [{ operation: ORSetDeltaOp.FULL, underlying: fromSet(type, delta.replica, delta.set) }]
    case "OrSetGroup":
      return delta.deltas.flatMap((delta) => toOperations(type, delta))
  }
}

const fromOperation = <A>(type: ElementType<A>, operation: ORSetDeltaOp, set: ORSet): OrSet.AtomicDelta<A> => {
  const replica = set.originDc
  switch (operation) {
    case ORSetDeltaOp.ADD:
      return {
        _tag: "OrSetAdded",
        replica,
        elements: toElements(type, set).map(([element, dots]) => {
          const version = dots.get(replica)
          if (version === undefined || dots.size !== 1) {
            throw new TypeError(`an addition of replica '${replica}' that has not one dot, of that replica`)
          }
          return [element, version]
        })
      }
    case ORSetDeltaOp.REMOVE:
      return {
        _tag: "OrSetRemoved",
        replica,
        elements: toElements(type, set).map(([element]) => element),
        vector: toVector(set.vvector)
      }
    case ORSetDeltaOp.FULL:
      return { _tag: "OrSetMerged", replica, set: toSet(type, set) }
    default:
      throw new TypeError(`${String(operation)} is no operation of a set`)
  }
}

const readSet = (bytes: Uint8Array): ORSet => parse(ORSetSchema, bytes)

/**
 * Deltas of an `OrSet` of strings, ints or longs, as those of Akka's `ORSet`: `ser.akka.io/40:CB` of additions, `CC` of the removal of one element, `CD` of
 * `clear`, and `CE` of several in one.
 *
 * **Gotchas**
 *
 * Elements of another type are refused with {@link UnsupportedElements}.
 *
 * Akka's own set takes no notice of a removal that has not seen all additions of an element. Where three replicas or more write it, those on the JVM may keep
 * an element that the others no longer have. With two it does no harm.
 *
 * **Example** (What a JVM replica reads)
 *
 * ```ts
 * import { AkkaCodecs, OrSet } from "@sluice/replication"
 *
 * const codec = AkkaCodecs.orSet("string")
 * codec.encodeUnsafe(OrSet.add(OrSet.empty, "eu", "tea")).manifest // => "ser.akka.io/40:CB"
 * codec.encodeUnsafe(OrSet.remove(OrSet.empty, "eu", "tea")).manifest // => "ser.akka.io/40:CC"
 * ```
 *
 * @category codecs
 * @since 0.1.0
 */
export const orSet = <Name extends keyof Elements>(
  elements: Name
): EventCodec.EventCodec<OrSet.Delta<Elements[Name]>> => {
  const type: ElementType<Elements[Name]> = elementTypes[elements]
  const read = (operation: ORSetDeltaOp) => (bytes: Uint8Array) => fromOperation(type, operation, readSet(bytes))
  return codec<OrSet.Delta<Elements[Name]>>(
    `akka set of ${elements}`,
    (delta) => {
      const operations = toOperations(type, delta)
      const [first] = operations
      return delta._tag === "OrSetGroup" || first === undefined || operations.length > 1
        ? write("CE", ORSetDeltaGroupSchema, { entries: Array.from(operations) })
        : write(manifests[first.operation], ORSetSchema, first.underlying)
    },
    {
      CB: read(ORSetDeltaOp.ADD),
      CC: read(ORSetDeltaOp.REMOVE),
      CD: read(ORSetDeltaOp.FULL),
      CE: (bytes) => ({
        _tag: "OrSetGroup",
        deltas: parse(ORSetDeltaGroupSchema, bytes).entries.map(({ operation, underlying }) => {
          if (underlying === undefined) throw new TypeError("an operation without a set")
          return fromOperation(type, operation, underlying)
        })
      })
    }
  )
}

/**
 * An `OrSet` of strings, ints or longs, as Akka's `ORSet` of a replica: `ser.akka.io/40:CA`.
 *
 * @category codecs
 * @since 0.1.0
 */
export const orSetState = <Name extends keyof Elements>(
  elements: Name,
  replica: string
): EventCodec.EventCodec<OrSet.OrSet<Elements[Name]>> => {
  const type: ElementType<Elements[Name]> = elementTypes[elements]
  return codec(
    `akka set of ${elements} state`,
    (set) => write("CA", ORSetSchema, fromSet(type, replica, set)),
    { CA: (bytes) => toSet(type, readSet(bytes)) }
  )
}

/**
 * Protobuf messages, each by the name of its Java class, as Akka's own serializer writes them: `ser.akka.io/2:` and that name.
 *
 * **Details**
 *
 * It reads `type.googleapis.com/` and the full name of the message as well, which replicas on Akka Projection 1.4.0 write, and cannot read themselves.
 *
 * **Gotchas**
 *
 * The name is that of the class in bytecode: of a message within another one, or within the outer class of its file, `com.example.Carts$ItemAdded`.
 *
 * Throws a `RangeError` where two classes have the same message.
 *
 * **Example** (A wrapper of a string)
 *
 * ```ts
 * import { create } from "@bufbuild/protobuf"
 * import { StringValueSchema } from "@bufbuild/protobuf/wkt"
 * import { AkkaCodecs } from "@sluice/replication"
 *
 * const codec = AkkaCodecs.protobuf({ "com.google.protobuf.StringValue": StringValueSchema })
 * codec.encodeUnsafe(create(StringValueSchema, { value: "tea" })).manifest
 * // => "ser.akka.io/2:com.google.protobuf.StringValue"
 * ```
 *
 * @category codecs
 * @since 0.1.0
 */
export const protobuf = <Desc extends DescMessage>(
  classes: Readonly<Record<string, Desc>>
): EventCodec.EventCodec<MessageShape<Desc>> => {
  const decoders = new Map<string, Desc>()
  const manifestOf = new Map<string, string>()
  for (const [name, desc] of Object.entries(classes)) {
    const { typeName } = desc
    if (manifestOf.has(typeName)) throw new RangeError(`Two classes have the message '${typeName}', '${name}' is one`)
    const manifest = `ser.akka.io/2:${name}`
    manifestOf.set(typeName, manifest)
    decoders.set(manifest, desc).set(`type.googleapis.com/${typeName}`, desc)
  }
  return EventCodec.make<MessageShape<Desc>>({
    name: "akka protobuf",
    encode: (event) => {
      const manifest = manifestOf.get(event.$typeName)
      if (manifest === undefined) throw new TypeError(`no Java class is known of the message '${event.$typeName}'`)
      return { manifest, bytes: toBinary(decoders.get(manifest)!, event) }
    },
    decode: ({ bytes, manifest }) => {
      const desc = decoders.get(manifest)
      if (desc === undefined) {
        throw new TypeError(`the manifest is unknown here; this codec reads ${[...decoders.keys()].join(", ")}`)
      }
      return fromBinary(desc, bytes)
    }
  })
}
