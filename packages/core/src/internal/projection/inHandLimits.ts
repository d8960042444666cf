/** @internal In bytes of payload, tags and metadata. An event that has more is alone. */
export const maxBytes = 4 * 1024 * 1024

/** @internal Elements without an event have no content, but they need memory. */
export const maxElements = 10_000
