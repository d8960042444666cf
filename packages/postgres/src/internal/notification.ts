import * as Slice from "@sluice/core/Slice"
import type { Message } from "@sluice/sql/adapter/StorageSignals"

/** @internal What is yet to be told to other processes; messages about the same are one. */
export class Pending {
  readonly #instance: string
  readonly #messages = new Map<string, { readonly message: Message; readonly slices: Set<Slice.Slice> }>()

  constructor(instance: string) {
    this.#instance = instance
  }

  get isEmpty(): boolean {
    return this.#messages.size === 0
  }

  add(message: Message): void {
    const key = `${message.kind} ${nameOf(message)}`
    let pending = this.#messages.get(key)
    if (pending === undefined) this.#messages.set(key, pending = { message, slices: new Set() })
    if (message.kind !== "command") { for (const slice of message.slices) pending.slices.add(slice) }
  }

  /** The payloads of what there is, which then is told. */
  take(): ReadonlyArray<string> {
    const payloads = Array.from(
      this.#messages.values(),
      ({ message, slices }) => payloadOf(this.#instance, message, slices)
    )
    this.#messages.clear()
    return payloads
  }
}

const nameOf = (message: Message): string => message.kind === "command" ? message.projection : message.entityType

/** A payload may have 8000 bytes: all slices take 4010, and a name of 255 characters at most 1530. */
const payloadOf = (instance: string, message: Message, slices: ReadonlySet<Slice.Slice>): string =>
  JSON.stringify([instance, message.kind, nameOf(message), ...slices])

/** @internal Another process listens from now on, or says so once more. */
export interface Hello {
  readonly kind: "hello"
}

/** @internal */
export const hello = (instance: string): string => JSON.stringify([instance, "hello", ""])

/** @internal What another process tells; nothing where it is one's own message, or none. */
export const parse = (instance: string, payload: string): Message | Hello | undefined => {
  // most are one's own, where one process appends
  if (payload.startsWith(`["${instance}"`)) return undefined
  let parsed: unknown
  try {
    parsed = JSON.parse(payload)
  } catch {
    return undefined
  }
  if (!Array.isArray(parsed)) return undefined
  const [sender, kind, name, ...slices] = parsed as Array<unknown>
  if (typeof sender !== "string" || typeof name !== "string") return undefined
  if (kind === "hello") return { kind }
  if (kind === "command") return { kind, projection: name }
  if (kind !== "events" && kind !== "states") return undefined
  return { kind, entityType: name, slices: new Set(slices.filter(isSlice)) }
}

const isSlice = (slice: unknown): slice is Slice.Slice =>
  Number.isInteger(slice) && (slice as number) >= 0 && (slice as number) < Slice.count
