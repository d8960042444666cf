/** Loaded before all else in a process whose product shall have a mistake: the one that SLUICE_MUTANT names. */
import { registerHooks } from "node:module"
import { fileURLToPath } from "node:url"
import { mutants } from "./mutants.ts"

const mutant = mutants.find(({ name }) => name === process.env["SLUICE_MUTANT"])
if (mutant === undefined) throw new Error(`There is no mutant '${process.env["SLUICE_MUTANT"]}'`)

const path = fileURLToPath(new URL(`../../${mutant.file}`, import.meta.url))

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context)
    if (!url.startsWith("file:") || fileURLToPath(url) !== path) return loaded
    let source = typeof loaded.source === "string" ? loaded.source : Buffer.from(loaded.source as Uint8Array).toString()
    for (const [from, to] of mutant.changes) {
      const parts = source.split(from)
      if (parts.length !== 2) throw new Error(`${mutant.file} has '${from}' ${parts.length - 1} times, and not once`)
      source = parts.join(to)
    }
    return { ...loaded, source }
  }
})
