import { textProblem } from "@sluice/core/InvalidInput"
import * as PersistenceId from "@sluice/core/PersistenceId"

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
