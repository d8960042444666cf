import { describe, it } from "@effect/vitest"
import { freePort } from "@sluice/testing/FreePort"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { docstringExamples, markdownExamples, modules, pages, runExample } from "./docs/examples.ts"

/** Files and ports that an example names are made this run's own. */
const isolated = async (code: string, run: (code: string) => Promise<void>) => {
  const port = await Effect.runPromise(freePort)
  const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "sluice-example-"))
  try {
    await run(code.replaceAll("8101", String(port)).replaceAll(/filename: "(\w+\.db)"/g, `filename: "${folder}/$1"`))
  } finally {
    Fs.rmSync(folder, { recursive: true })
  }
}

describe.each([
  ...pages.map((file) => [file, markdownExamples(file)] as const),
  ...modules.map((file) => [file, docstringExamples(file)] as const)
].filter(([, examples]) => examples.length > 0))("%s", (_, examples) => {
  it.each(examples.map((code, i) => [i + 1, code] as const))("example %i does what it says", async (_, code) => {
    await isolated(code, runExample)
  })
})
