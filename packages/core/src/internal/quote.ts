import { textProblem } from "../InvalidInput.ts"

const maxLength = 100

/** @internal The problem of a text that may be shown. */
export const quotedProblem = (text: unknown): string | undefined => {
  const problem = textProblem(text)
  return problem && `${typeof text === "string" ? quote(text) : "it"} ${problem}`
}

/** @internal The beginning of a text, quoted so that a message may show it whatever is in it. */
export const quote = (text: string): string =>
  JSON.stringify(text.length > maxLength ? `${text.slice(0, maxLength)}…` : text)
