import { assert, describe, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { mutants } from "./mutants.ts"

/** For how long the simulator looks for a mistake, in milliseconds: it mostly takes a few seconds, and a busy machine much longer. */
const deadline = 600_000

const root = new URL("../../", import.meta.url)

/** What the simulator says when the product has the mistake. */
const simulate = (mutant: string, workload: string, from: number): Promise<string> =>
  new Promise((resolve) => {
    const child = spawn(process.execPath, [
      "--import",
      new URL("mutate.ts", import.meta.url).href,
      "--conditions=@sluice/source",
      "--disable-warning=ExperimentalWarning",
      fileURLToPath(new URL("main.ts", import.meta.url)),
      "--workload",
      workload,
      "--from",
      `${from}`,
      "--seeds",
      "2000",
      "--shrinks",
      "0"
    ], { env: { ...process.env, SLUICE_MUTANT: mutant }, timeout: deadline, killSignal: "SIGKILL" })
    let text = ""
    child.stdout.on("data", (data) => text += data)
    child.stderr.on("data", (data) => text += data)
    child.on("close", () => resolve(text))
  })

describe.concurrent("the simulator notices that", () => {
  for (const { changes, file, from = 1, name, workload = "projections" } of mutants) {
    it(name, { timeout: deadline + 10_000 }, async () => {
      const source = readFileSync(new URL(file, root), "utf8")
      for (const [text] of changes) {
        assert.strictEqual(source.split(text).length - 1, 1, `${file} has '${text}' once: follow it where it went`)
      }
      assert.match(await simulate(name, workload, from), /^Seed \d+ fails/m)
    })
  }
})
