import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

setFlagsFromString("--expose-gc")

/** Collects garbage, so that what memory is used then is kept. When garbage is collected by itself says nothing of a program. */
export const collectGarbage = runInNewContext("gc") as () => void
