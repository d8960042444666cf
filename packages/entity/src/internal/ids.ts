import { textProblem } from "@sluice/core/InvalidInput"
import * as PersistenceId from "@sluice/core/PersistenceId"

/** @internal The longest id of a command, in bytes of UTF-8. */
export const maxCommandId = 200

const encoder = new TextEncoder()

/** @internal Why a text is no id of an entity of that type, if it is none. */
export const entityIdProblem = (entityType: string, id: unknown): string | undefined => {
  const wrong = textProblem(id)
  if (wrong !== undefined) return `the entity id ${wrong}`
  const text = id as string
  if (text === "") return "the entity id is empty"
  if (text.includes("|")) return "the entity id contains '|', which separates the parts of a persistence id"
  return PersistenceId.is(`${entityType}|${text}`)
    ? undefined
    : `the entity id is too long: with the entity type, it has more than ${PersistenceId.maxBytes} bytes of UTF-8`
}

/** @internal Why a text is no id of a command, if it is none. */
export const commandIdProblem = (id: unknown): string | undefined => {
  const wrong = textProblem(id)
  if (wrong !== undefined) return `the command id ${wrong}`
  const text = id as string
  if (text === "") return "the command id is empty"
  // no character has more than three bytes for each of its units
  return text.length * 3 > maxCommandId && encoder.encode(text).length > maxCommandId
    ? `the command id is longer than ${maxCommandId} bytes of UTF-8`
    : undefined
}
