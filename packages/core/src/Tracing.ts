/**
 * Spans where there is a tracer, and how a trace goes on where an event is handled.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Fiber } from "effect/Fiber"
import * as Headers from "effect/http/Headers"
import * as HttpTraceContext from "effect/http/HttpTraceContext"
import type * as Tracer from "effect/Tracer"
import type { Metadata, Place } from "./Envelope.ts"
import * as TraceContext from "./internal/traceContext.ts"

/** More links would be of no use. */
const maxLinks = 32

/**
 * Whether there is a tracer. Spans cost more than all other work on an event, so there are none without one.
 *
 * @category getters
 * @since 0.1.0
 */
export const isTraced: (fiber: Fiber<any, any>) => boolean = TraceContext.isTraced

/**
 * Runs the effect in a span, if there is a tracer, with links to the spans that wrote the events.
 *
 * @category operations
 * @since 0.1.0
 */
export const traced = <A, E, R>(
  options: {
    readonly name: string
    readonly attributes: Readonly<Record<string, unknown>>
    readonly envelopes?: ReadonlyArray<Pick<Place, "metadata">>
  },
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) =>
    isTraced(fiber)
      ? Effect.withSpan(effect, options.name, {
        attributes: options.attributes,
        links: linksTo(options.envelopes ?? [])
      }) as Effect.Effect<A, E, R>
      : effect
  )

const linksTo = (envelopes: ReadonlyArray<Pick<Place, "metadata">>): Array<Tracer.SpanLink> => {
  const links: Array<Tracer.SpanLink> = []
  const seen = new Set<string>()
  for (const { metadata } of envelopes) {
    const written = metadata[TraceContext.traceparent]
    if (written === undefined || seen.has(written)) continue
    seen.add(written)
    const span = HttpTraceContext.w3c(Headers.fromRecordUnsafe({ traceparent: written }))
    if (span._tag === "Some") links.push({ span: span.value, attributes: {} })
    if (links.length === maxLinks) break
  }
  return links
}

/**
 * The metadata, with the span that writes it if there is a tracer.
 *
 * @category operations
 * @since 0.1.0
 */
export const withTraceContext = (metadata: Metadata): Effect.Effect<Metadata> =>
  Effect.withFiber((fiber) => Effect.succeed(TraceContext.tracedMetadata(fiber, metadata)))
