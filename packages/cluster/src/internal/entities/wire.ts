import type * as Tracer from "effect/Tracer"
import type { Elsewhere, EntityAnswer, EntityCommand, Unknown } from "../../EntityMessage.ts"

/** @internal A command as it is received: with the span that it belongs to, and how long its sender waits, in milliseconds. */
export interface Received extends EntityCommand {
  readonly millis: number
  readonly parent: { readonly traceId: string; readonly spanId: string; readonly sampled: boolean } | undefined
}

/** @internal */
export const encodeCommand = (
  { commandId, entityType, firstSentAt, id, payload, tag }: EntityCommand,
  millis: number,
  span: Tracer.AnySpan | undefined
): Buffer =>
  Buffer.from(JSON.stringify([
    entityType,
    id,
    tag,
    payload,
    commandId ?? null,
    Math.ceil(millis),
    firstSentAt ?? null,
    ...(span === undefined ? [] : [span.traceId, span.spanId, span.sampled])
  ]))

/** @internal The command, or undefined for what is none. */
export const decodeCommand = (body: Buffer): Received | undefined => {
  let parts: unknown
  try {
    parts = JSON.parse(body.toString())
  } catch {
    return undefined
  }
  if (!Array.isArray(parts)) return undefined
  const [entityType, id, tag, payload, commandId, millis, firstSentAt, traceId, spanId, sampled] =
    parts as ReadonlyArray<unknown>
  if (typeof entityType !== "string" || typeof id !== "string" || typeof tag !== "string") return undefined
  if (commandId !== null && typeof commandId !== "string") return undefined
  if (typeof millis !== "number" || !(millis >= 0)) return undefined
  if (firstSentAt !== null && typeof firstSentAt !== "number") return undefined
  return {
    entityType,
    id,
    tag,
    payload,
    commandId: commandId ?? undefined,
    firstSentAt: firstSentAt ?? undefined,
    millis,
    parent: typeof traceId === "string" && typeof spanId === "string"
      ? { traceId, spanId, sampled: sampled === true }
      : undefined
  }
}

/** @internal */
export const encodeAnswer = (answer: EntityAnswer | Elsewhere | Unknown): string => JSON.stringify(answer)

/** @internal The answer, or undefined for what is none. */
export const decodeAnswer = (body: Buffer): EntityAnswer | Elsewhere | Unknown | undefined => {
  try {
    const answer = JSON.parse(body.toString())
    switch (answer?._tag) {
      case "Replied":
      case "Rejected":
      case "Failed":
      case "Elsewhere":
      case "Unknown":
        return answer
      default:
        return undefined
    }
  } catch {
    return undefined
  }
}
