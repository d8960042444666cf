import type * as Tracer from "effect/Tracer"
import type { Elsewhere, EntityAnswer, EntityCommand, Unknown } from "../../EntityMessage.ts"

/** @internal A command as it is received: with the span that it belongs to. */
export interface Received extends EntityCommand {
  readonly within: number
  readonly parent: { readonly traceId: string; readonly spanId: string; readonly sampled: boolean } | undefined
}

/** No sender waits longer than that, whatever it says, in milliseconds. */
const longestWait = 3_600_000

/** @internal What is the same of a command each time that it is sent. Throws at a payload that is no JSON. */
export const encodePayload = ({ entityType, id, metadata, payload, tag }: EntityCommand): string =>
  JSON.stringify([entityType, id, tag, payload, metadata])

/** @internal */
export const encodeCommand = (
  payload: string,
  { commandId, firstSentAt }: Pick<EntityCommand, "commandId" | "firstSentAt">,
  within: number,
  span: Tracer.AnySpan | undefined
): Buffer => {
  const rest = [
    commandId ?? null,
    Math.ceil(within),
    firstSentAt ?? null,
    ...(span === undefined ? [] : [span.traceId, span.spanId, span.sampled])
  ]
  return Buffer.from(`${payload.slice(0, -1)},${JSON.stringify(rest).slice(1)}`)
}

const textOf = (body: Uint8Array): string => Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString()

/** @internal The command, or undefined for what is none. */
export const decodeCommand = (body: Uint8Array): Received | undefined => {
  let parts: unknown
  try {
    parts = JSON.parse(textOf(body))
  } catch {
    return undefined
  }
  if (!Array.isArray(parts)) return undefined
  const [entityType, id, tag, payload, metadata, commandId, within, firstSentAt, traceId, spanId, sampled] =
    parts as ReadonlyArray<unknown>
  if (typeof entityType !== "string" || typeof id !== "string" || typeof tag !== "string") return undefined
  if (commandId !== null && typeof commandId !== "string") return undefined
  if (typeof within !== "number" || !(within >= 0)) return undefined
  if (firstSentAt !== null && typeof firstSentAt !== "number") return undefined
  return {
    entityType,
    id,
    tag,
    payload,
    metadata: metadata ?? undefined,
    commandId: commandId ?? undefined,
    firstSentAt: firstSentAt ?? undefined,
    within: Math.min(within, longestWait),
    parent: typeof traceId === "string" && typeof spanId === "string"
      ? { traceId, spanId, sampled: sampled === true }
      : undefined
  }
}

/** @internal Throws at what is no JSON. */
export const encodeAnswer = (answer: EntityAnswer | Elsewhere | Unknown): string => JSON.stringify(answer)

/** @internal The answer, or undefined for what is none. */
export const decodeAnswer = (body: Uint8Array): EntityAnswer | Elsewhere | Unknown | undefined => {
  try {
    const answer = JSON.parse(textOf(body))
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
