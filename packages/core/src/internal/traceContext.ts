import * as Context from "effect/Context"
import type { Fiber } from "effect/Fiber"
import * as Tracer from "effect/Tracer"
import type { Metadata } from "../Envelope.ts"

/** @internal The header of W3C Trace Context, and its key in the metadata of an event. */
export const traceparent = "traceparent"

/** @internal Spans cost more than all other work on an event, so there are none without a tracer. */
export const isTraced = (fiber: Fiber<any, any>): boolean =>
  Context.get(fiber.context, Tracer.Tracer) !== Tracer.nativeTracer

/** @internal The metadata, with the span of the fiber if there is a tracer. */
export const tracedMetadata = (fiber: Fiber<any, any>, metadata: Metadata): Metadata => {
  const span = isTraced(fiber) ? Context.getOrUndefined(fiber.context, Tracer.ParentSpan) : undefined
  return span === undefined || traceparent in metadata
    ? metadata
    : {
      ...metadata,
      [traceparent]: `00-${span.traceId.padStart(32, "0")}-${span.spanId}-${span.sampled ? "01" : "00"}`
    }
}
