/**
 * @internal
 * What a cause says, in a message of an error that has it: of anything that may be thrown, also of what cannot be made a string.
 */
export const messageOf = (cause: unknown): string => {
  if (cause instanceof Error) return cause.message
  try {
    return String(cause)
  } catch {
    return JSON.stringify(cause) ?? typeof cause
  }
}
