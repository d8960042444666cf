/**
 * The receipt of an append: where its events stand, for whoever waits until a projection has handled them.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as PersistenceId from "./PersistenceId.ts"
import * as Position from "./Position.ts"
import * as SequenceNumber from "./SequenceNumber.ts"
import * as Slice from "./Slice.ts"
import * as Timestamp from "./Timestamp.ts"

/**
 * Where the last of `count` events of one entity was written, or the last change of its state, and in which journal.
 *
 * @category models
 * @since 0.1.0
 */
export interface Receipt {
  /** The identity of the journal. */
  readonly journal: string
  /** Whether the position is in the log of the entity type's events, or in that of its states. */
  readonly log: "events" | "states"
  readonly persistenceId: PersistenceId.PersistenceId
  readonly slice: Slice.Slice
  /** The entity's last sequence number, or the revision of its state. */
  readonly sequenceNumber: SequenceNumber.SequenceNumber
  readonly position: Position.Position
  readonly timestamp: Timestamp.Timestamp
  /** How many events there are, with consecutive sequence numbers. */
  readonly count: number
}

const version = 1

const notOne = "Expected a receipt, as Journal.append returns it"

/** What follows from the rest, such as the slice, is not sent. */
const Sent = Schema.Tuple([
  Schema.Literal(version),
  Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(255)),
  Schema.Literals(["events", "states"]),
  PersistenceId.PersistenceId,
  SequenceNumber.SequenceNumber.check(Schema.isGreaterThan(0)),
  Position.Position.check(Schema.isGreaterThan(0)),
  Timestamp.Timestamp,
  Schema.Natural.check(Schema.isGreaterThan(0))
]).check(
  Schema.makeFilter(([, , , , sequenceNumber, position, , count]) =>
    count <= sequenceNumber && count <= position ? undefined : `there are no ${count} events up to ${sequenceNumber}`
  )
)

const Parts = Schema.Struct({
  journal: Schema.String,
  log: Schema.Literals(["events", "states"]),
  persistenceId: Schema.toType(PersistenceId.PersistenceId),
  slice: Schema.toType(Slice.Slice),
  sequenceNumber: Schema.toType(SequenceNumber.SequenceNumber),
  position: Schema.toType(Position.Position),
  timestamp: Schema.toType(Timestamp.Timestamp),
  count: Schema.Finite
})

/**
 * A receipt as a schema. It is sent as a text of letters, digits, `-` and `_`, some 200 characters long: as it is in a header, a URL, a cookie, or
 * a field of JSON. Any other text fails with that this is no receipt, whatever is wrong with it.
 *
 * **Example** (To a text, and back)
 *
 * ```ts
 * import { EntityType, EventCodec, Journal, MemoryStorage, Receipt } from "@sluice/core"
 * import { Effect, Schema } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 *
 * const program = Effect.gen(function*() {
 *   const written = yield* Journal.append(Note, { id: "n-1", events: ["one", "two"] })
 *   const text = Schema.encodeSync(Receipt.Receipt)(written)
 *   const { persistenceId, sequenceNumber } = yield* Schema.decodeEffect(Receipt.Receipt)(text)
 *   return [/^[\w-]+$/.test(text), persistenceId, sequenceNumber]
 * })
 * await Effect.runPromise(Effect.provide(program, MemoryStorage.layer)) // => [true, "note|n-1", 2]
 * ```
 *
 * @category schemas
 * @since 0.1.0
 */
export const Receipt: Schema.Codec<Receipt, string> = Schema.StringFromBase64Url.pipe(
  Schema.decodeTo(Schema.fromJsonString(Sent)),
  Schema.decodeTo(
    Parts,
    SchemaTransformation.transform<typeof Parts.Encoded, typeof Sent.Type>({
      decode: ([, journal, log, persistenceId, sequenceNumber, position, timestamp, count]) => ({
        journal,
        log,
        persistenceId,
        slice: Slice.ofPersistenceId(persistenceId),
        sequenceNumber,
        position,
        timestamp,
        count
      }),
      encode: ({ count, journal, log, persistenceId, position, sequenceNumber, timestamp }) => [
        version,
        journal,
        log,
        persistenceId,
        sequenceNumber,
        position,
        timestamp,
        count
      ]
    })
  ),
  // how a receipt is built is of no use to whoever has a text that is none
  Schema.catchDecoding(() => Effect.fail(new SchemaIssue.InvalidValue({ message: notOne })))
)
