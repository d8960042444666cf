import * as Grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import type { Headers } from "../../Call.ts"

/**
 * @internal
 * The headers as gRPC takes them. Throws a `RangeError` for one that cannot be sent, which does not quote it: values are secrets.
 */
export const toMetadata = (headers: Headers, options?: Grpc.MetadataOptions): Grpc.Metadata => {
  const metadata = new Grpc.Metadata(options)
  for (const [name, value] of Object.entries(headers)) {
    try {
      metadata.set(name, value)
    } catch {
      throw new RangeError(
        `The header ${JSON.stringify(name)} cannot be sent: ` +
          "names are letters, digits, '_', '-' and '.', and values printable ASCII without a line break"
      )
    }
  }
  return metadata
}

/** @internal The headers that have come: those that are text. */
export const fromMetadata = (metadata: Grpc.Metadata | undefined): Headers => {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(metadata?.getMap() ?? {})) {
    if (typeof value === "string") headers[name] = value
  }
  return headers
}

/** @internal The headers of one call. */
export const headersOf = (headers: Headers | Effect.Effect<Headers> | undefined): Effect.Effect<Headers> =>
  Effect.isEffect(headers) ? headers : Effect.succeed(headers ?? {})
