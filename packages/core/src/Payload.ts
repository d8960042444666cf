/**
 * An event as bytes.
 *
 * @since 0.1.0
 */

/**
 * The bytes of an event, and its manifest, which says how to read them. The manifest is stored with the event and
 * travels as the `type_url` of a protobuf `Any`: `json.sluice/ItemAdded#2`, `ser.akka.io/20`,
 * `type.googleapis.com/google.protobuf.StringValue`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Payload {
  readonly manifest: string
  readonly bytes: Uint8Array
}
