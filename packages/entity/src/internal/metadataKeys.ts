import { type Metadata, ownMetadata } from "@sluice/core/Envelope"
import type { RememberedCommand } from "./rememberedCommands.ts"

/** The command that an event is of, in its metadata, and the reply to it. They do not leave the service. */
const commandKey = `${ownMetadata}command`
const replyKey = `${ownMetadata}reply`

/** @internal In the metadata of a snapshot or a state: the commands that are remembered. */
export const commandsKey = `${ownMetadata}commands`

/** @internal In the metadata of a snapshot: the time of the last event that it includes. */
export const eventKey = `${ownMetadata}event`

/** @internal What an event says of its command. */
export type CommandOfEvent = Pick<RememberedCommand, "commandId" | "tag" | "fingerprint" | "reply" | "count">

/** @internal The metadata of the last event of a command that has an id. */
export const metadataOf = ({ commandId, count, fingerprint, reply, tag }: CommandOfEvent): Metadata => ({
  [commandKey]: JSON.stringify([commandId, tag, fingerprint, count]),
  [replyKey]: reply
})

/** @internal The command that an event is the last one of, if it has an id. */
export const commandOf = (metadata: Metadata): CommandOfEvent | undefined => {
  const text = metadata[commandKey]
  const reply = metadata[replyKey]
  if (text === undefined || reply === undefined) return undefined
  let parts: unknown
  try {
    parts = JSON.parse(text)
  } catch {
    return undefined
  }
  // it may be somebody else's
  if (!Array.isArray(parts)) return undefined
  const [commandId, tag, fingerprint, count] = parts as ReadonlyArray<unknown>
  return typeof commandId === "string" && typeof tag === "string" && typeof fingerprint === "string" &&
      Number.isSafeInteger(count)
    ? { commandId, tag, fingerprint, count: count as number, reply }
    : undefined
}
