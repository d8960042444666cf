/** @internal The one call between processes: a command goes, and its answer comes, both as JSON. */
export const path = "/sluice.cluster.Entities/Send"

/** @internal The header that says which process is meant, by the name that only who reads the database knows. */
export const processHeader = "sluice-process"

/** @internal The header that says how many bytes the command has, so that there is room for it before it is read. */
export const bytesHeader = "sluice-bytes"

/** @internal The trailer that says that the process has not begun with the command: `full`, or `other`. No library gives it, and no proxy. */
export const notBegunTrailer = "sluice-not-begun"

/** @internal The largest command of a caller, and the largest answer, in bytes. */
export const maxBytes = 4 * 1024 * 1024

/** @internal The largest command that an event of another replica comes with: one of the size that a journal takes has four thirds of it in base64, and its metadata beside it. */
export const maxArrivalBytes = 8 * 1024 * 1024

/** @internal What a command may have beside what its caller gives. */
export const maxBesides = 1024

/** @internal The largest that one process sends another. */
export const maxMessageBytes = maxArrivalBytes + maxBesides

/** @internal Commands that are in hand at once, of all processes that call, and to one process that is called. */
export const maxCalls = 10_000
