const maxLength = 100

/** @internal The beginning of a text, as a message may show it whatever is in it. */
export const quote = (text: string): string =>
  JSON.stringify(text.length > maxLength ? `${text.slice(0, maxLength)}…` : text)
