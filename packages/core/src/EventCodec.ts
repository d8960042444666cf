/**
 * How events become bytes and are read back, years and versions later.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as SchemaJITCompiler from "effect/schema/SchemaJITCompiler"
import * as SchemaAST from "effect/SchemaAST"
import * as ExpectedError from "./ExpectedError.ts"
import { messageOf } from "./internal/messageOf.ts"
import type { Payload } from "./Payload.ts"
import { PersistenceId } from "./PersistenceId.ts"
import { SequenceNumber } from "./SequenceNumber.ts"

const TypeId = "~sluice/EventCodec"

/**
 * Encodes and decodes events of type `A`. Payloads pass from a journal to a stream undecoded only where both hold the
 * same codec value: two codecs of one type may write different bytes.
 *
 * @category models
 * @since 0.1.0
 */
export interface EventCodec<in out A> {
  /** It is invariant: a codec both encodes and decodes its type. */
  readonly [TypeId]: (a: A) => A
  /** The name of the encoding in drawings of a pipeline. */
  readonly name: string
  /** Throws when the event is not what the codec was made for. */
  readonly encodeUnsafe: (event: A) => Payload
  /** Throws when the manifest is unknown, or the bytes are not what it promises. */
  readonly decodeUnsafe: (payload: Payload) => A
}

/**
 * The event type that a codec reads and writes.
 *
 * @category utility types
 * @since 0.1.0
 */
export type Event<C extends EventCodec<any>> = C extends EventCodec<infer A> ? A : never

/**
 * A stored or received event cannot be read: its manifest is unknown to the codec, or its bytes do not decode. It will
 * not get better by itself: teach the codec the manifest (`versions` of {@link json}), or let the projection skip it.
 *
 * @category errors
 * @since 0.1.0
 */
export class EventDecodeError extends ExpectedError.TaggedError<EventDecodeError>("@sluice/core/EventDecodeError")(
  "EventDecodeError",
  {
    persistenceId: PersistenceId,
    sequenceNumber: SequenceNumber,
    manifest: Schema.String,
    cause: Schema.Defect()
  }
) {
  override get message(): string {
    return `Event ${this.sequenceNumber} of '${this.persistenceId}', manifest '${this.manifest}', cannot be decoded: ${
      messageOf(this.cause)
    }`
  }
}

/**
 * An event cannot be written: it is not what its codec was made for. Nothing was appended.
 *
 * @category errors
 * @since 0.1.0
 */
export class EventEncodeError extends ExpectedError.TaggedError<EventEncodeError>("@sluice/core/EventEncodeError")(
  "EventEncodeError",
  { persistenceId: PersistenceId, cause: Schema.Defect() }
) {
  override get message(): string {
    return `An event for '${this.persistenceId}' cannot be encoded: ${messageOf(this.cause)}`
  }
}

/**
 * A codec of your own. Its manifests need a prefix of their own, `<scheme>/`, as they share a namespace with others.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(options: {
  readonly name: string
  /** May throw. */
  readonly encode: (event: A) => Payload
  /** May throw. */
  readonly decode: (payload: Payload) => A
}): EventCodec<A> => ({
  [TypeId]: (a) => a,
  name: options.name,
  encodeUnsafe: options.encode,
  decodeUnsafe: options.decode
})

const jsonPrefix = "json.sluice/"
const textEncoder = new TextEncoder()
const textDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/**
 * Events as JSON, from their schema: a class, a struct, or a union of them.
 *
 * **Details**
 *
 * The manifest of an event is `json.sluice/<name>`, its name being its `_tag`, or else its schema's `identifier`. When
 * a schema changes so that old events no longer fit it, say in `versions` how to read the old ones: one schema for
 * each version that was ever written, oldest first, which decodes its JSON to today's event. New events then are
 * written as the version after the last, `json.sluice/<name>#<version>`.
 *
 * Throws a `TypeError` when a member has neither `_tag` nor `identifier`, two have the same, or `versions` names none.
 *
 * **Example** (An event type in its second version)
 *
 * ```ts
 * import { EventCodec } from "@sluice/core"
 * import { Schema, SchemaTransformation } from "effect"
 *
 * class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String, quantity: Schema.Int }) {}
 * // the first version had no quantity
 * const ItemAddedV1 = Schema.TaggedStruct("ItemAdded", { sku: Schema.String }).pipe(
 *   Schema.decodeTo(
 *     Schema.toType(ItemAdded),
 *     SchemaTransformation.transform({
 *       decode: ({ sku }) => new ItemAdded({ sku, quantity: 1 }),
 *       encode: ({ sku }) => ({ _tag: "ItemAdded" as const, sku })
 *     })
 *   )
 * )
 * const codec = EventCodec.json(ItemAdded, { versions: { ItemAdded: [ItemAddedV1] } })
 *
 * codec.encodeUnsafe(new ItemAdded({ sku: "tea", quantity: 2 })).manifest // => "json.sluice/ItemAdded#2"
 * const stored = { manifest: "json.sluice/ItemAdded", bytes: new TextEncoder().encode(`{"_tag":"ItemAdded","sku":"tea"}`) }
 * codec.decodeUnsafe(stored).quantity // => 1
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const json = <A, I>(schema: Schema.Codec<A, I>, options?: {
  readonly versions?: Readonly<Record<string, ReadonlyArray<Schema.Decoder<A>>>> | undefined
  /** The name of an event that has none of its own. */
  readonly name?: string | undefined
}): EventCodec<A> => {
  const versions = new Map(Object.entries(options?.versions ?? {}))
  const byTag = new Map<string, JsonMember>()
  const untagged: Array<JsonMember> = []
  const decoders = new Map<string, (json: unknown) => unknown>()
  for (const member of membersOf(schema)) {
    const tag = tagOf(member)
    const name = tag ?? Schema.resolveAnnotations(member)?.identifier ?? options?.name
    if (name === undefined || name === "" || name.includes("#")) {
      throw new TypeError("Every event needs a name without '#': a _tag, or an identifier annotation of its schema")
    }
    const older = versions.get(name) ?? []
    versions.delete(name)
    const manifestOf = (version: number) => `${jsonPrefix}${name}${version === 1 ? "" : `#${version}`}`
    const current = compiled(member as unknown as Schema.Codec<unknown>)
    const manifest = manifestOf(older.length + 1)
    if (decoders.has(manifestOf(1))) throw new TypeError(`Two events are named '${name}'`)
    older.forEach((decoder, i) => {
      const read = Schema.decodeUnknownSync(compiled(decoder as unknown as Schema.Codec<unknown>))
      decoders.set(manifestOf(i + 1), read)
    })
    decoders.set(manifest, Schema.decodeUnknownSync(current))
    const entry = {
      manifest,
      is: Schema.is(member),
      exact: isExactly(member),
      encode: Schema.encodeUnknownSync(current),
      isNoInstance: (event: unknown) => typeof member === "function" && !(event instanceof (member as any))
    }
    if (tag === undefined) untagged.push(entry)
    else byTag.set(tag, entry)
  }
  for (const name of versions.keys()) throw new TypeError(`'versions' names '${name}', which no event is called`)
  const memberOf = (event: unknown): JsonMember => {
    const tag = (event as { readonly _tag?: unknown } | null | undefined)?._tag
    const member = typeof tag === "string" && byTag.get(tag) ||
      (untagged.find((_) => _.exact(event)) ?? untagged.find((_) => _.is(event)))
    if (member) return member
    const name = typeof tag === "string" ? `an event '${tag}'` : "an event without a '_tag'"
    throw new TypeError(`${name} is none of this codec's: ${[...decoders.keys()].join(", ")}`)
  }
  return make({
    name: "json",
    encode: (event) => {
      const member = memberOf(event)
      try {
        return { manifest: member.manifest, bytes: textEncoder.encode(JSON.stringify(member.encode(event))) }
      } catch (cause) {
        if (!member.isNoInstance(event)) throw cause
        throw new TypeError("it is no instance of its class, though it has the type: make it with 'new'", { cause })
      }
    },
    decode: ({ bytes, manifest }) => {
      const decoder = decoders.get(manifest)
      if (decoder === undefined) {
        throw new TypeError(`the manifest is unknown here; this codec reads ${[...decoders.keys()].join(", ")}`)
      }
      return decoder(JSON.parse(textDecoder.decode(bytes))) as A
    }
  })
}

/** To and from JSON, by code that is generated from the schema when it is first used, and by interpreting the schema where the process may not generate code. */
const compiled = (schema: Schema.Codec<unknown>): Schema.Codec<unknown, unknown> => {
  const json = Schema.toCodecJson(schema)
  SchemaJITCompiler.enable(json.ast)
  SchemaJITCompiler.enable(SchemaAST.flip(json.ast))
  return json
}

const isExactly = (member: Schema.Top): (event: unknown) => boolean => {
  const decode = Schema.decodeUnknownExit(Schema.toType(member))
  return (event) => decode(event, { onExcessProperty: "error" })._tag === "Success"
}

interface JsonMember {
  readonly manifest: string
  readonly is: (event: unknown) => boolean
  /** Whether it has no other properties than the member's either. */
  readonly exact: (event: unknown) => boolean
  readonly encode: (event: unknown) => unknown
  /** Whether the schema is a class, and the event was not made by it. Its type does not tell: a plain object has the type as well. */
  readonly isNoInstance: (event: unknown) => boolean
}

/** The members of a union, and of unions in it. */
const membersOf = (schema: Schema.Top): ReadonlyArray<Schema.Top> =>
  "members" in schema ? (schema.members as ReadonlyArray<Schema.Top>).flatMap(membersOf) : [schema]

const tagOf = (schema: Schema.Top): string | undefined => {
  const fields = "fields" in schema ? schema.fields as Readonly<Record<string, Schema.Top>> : {}
  const ast = fields._tag?.ast
  return ast?._tag === "Literal" && typeof ast.literal === "string" ? ast.literal : undefined
}

const stringManifest = "ser.akka.io/20"

/**
 * Plain strings, as Akka's own serializer writes them: `ser.akka.io/20`, UTF-8.
 *
 * @category constructors
 * @since 0.1.0
 */
export const string: EventCodec<string> = make({
  name: "string",
  encode: (event) => {
    if (!event.isWellFormed()) throw new TypeError("half a surrogate pair has no UTF-8")
    return { manifest: stringManifest, bytes: textEncoder.encode(event) }
  },
  decode: ({ bytes, manifest }) => {
    if (manifest !== stringManifest) {
      throw new TypeError(`the manifest is unknown here; this codec reads ${stringManifest}`)
    }
    return textDecoder.decode(bytes)
  }
})
