import { assert, describe, it } from "@effect/vitest"
import { freePort } from "@sluice/testing/FreePort"
import * as Wait from "@sluice/testing/Wait"
import Sqlite from "better-sqlite3"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { docstringExamples, fileOf, markdownExamples, modules, pages, root, runExample } from "./docs/examples.ts"
import * as Service from "./kit/Service.ts"

const withOwn = (code: string, folder: string, port: number) =>
  code.replaceAll("8101", String(port)).replaceAll(/filename: "(\w+\.db)"/g, `filename: "${folder}/$1"`)

/** Runs an example with files and a port of its own, and once more on those files where it leaves some. */
const runAsReader = async (code: string) => {
  const port = await Effect.runPromise(freePort)
  const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "sluice-example-"))
  try {
    const own = withOwn(code, folder, port)
    await runExample(own)
    if (Fs.readdirSync(folder).length > 0) await runExample(own)
  } finally {
    Fs.rmSync(folder, { recursive: true })
  }
}

describe.each([
  ...pages.map((file) => [file, markdownExamples(file)] as const),
  ...modules.map((file) => [file, docstringExamples(file)] as const)
].filter(([, examples]) => examples.length > 0))("%s", (_, examples) => {
  it.each(examples.map((code, i) => [i + 1, code] as const))("example %i does what it says", async (_, code) => {
    await runAsReader(code)
  })
})

/** How a heading is named in a link, as GitHub does. */
const anchor = (heading: string) => heading.toLowerCase().replaceAll(/[^\w\- ]/g, "").replaceAll(" ", "-")

const anchorsOf = (file: string) =>
  Array.from(Fs.readFileSync(file, "utf8").matchAll(/^#+ (.*)$/gm), ([, heading]) => anchor(heading!))

it.each([...pages, "CONTRIBUTING.md"])("links of %s lead somewhere", (page) => {
  const folder = Path.dirname(Path.join(root, page))
  const links = Array.from(
    Fs.readFileSync(Path.join(root, page), "utf8").matchAll(/\]\(([^)\s]+)\)/g),
    ([, link]) => link!
  )
  const broken = links.filter((link) => !/^https?:/.test(link)).filter((link) => {
    const [path, fragment] = link.split("#")
    const file = path === "" ? Path.join(root, page) : Path.join(folder, path!)
    return !Fs.existsSync(file) || (fragment !== undefined && !anchorsOf(file).includes(fragment))
  })
  assert.deepStrictEqual(broken, [])
})

const query = <A>(file: string, sql: string): A => {
  const database = new Sqlite(file, { readonly: true })
  try {
    return database.prepare<[], A>(sql).pluck().get()!
  } finally {
    database.close()
  }
}

/** Where the project's packages are found. */
const projectFolder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(root, "test", ".tmp-"))),
  (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true, force: true }))
)

/** What the compiler says of the page's program and its `tsconfig.json`, after a change of a file of it. */
const compiled = (folder: string, change: (code: string) => string): string => {
  const page = "docs/getting-started.md"
  for (const code of markdownExamples(page, "ts skip")) Fs.writeFileSync(Path.join(folder, fileOf(code)!), change(code))
  const [config] = Fs.readFileSync(Path.join(root, page), "utf8").match(/(?<=^```json\n)[^]*?(?=^```$)/m)!
  const { compilerOptions } = JSON.parse(config)
  const own = { compilerOptions: { ...compilerOptions, customConditions: ["@sluice/source"] } }
  Fs.writeFileSync(Path.join(folder, "tsconfig.json"), JSON.stringify(own))
  return spawnSync(process.execPath, [Path.join(root, "node_modules/typescript/bin/tsc")], {
    cwd: folder,
    encoding: "utf8"
  })
    .stdout
}

describe("docs/getting-started.md", () => {
  it.live("has a program that compiles, and does not without its stage", () =>
    Effect.gen(function*() {
      const folder = yield* projectFolder
      assert.strictEqual(compiled(folder, (code) => code), "")
      const without = compiled(folder, (code) => code.replace(/\.pipe\(\n +Source\.filterMap.*\n\)/, ""))
      assert.match(
        without,
        /^cart-service\.ts[^]*Type 'CouponTried \| ItemAdded' is not assignable to type 'ItemAdded'/
      )
    }), 120_000)

  it.live("has two services that replicate, are killed, and catch up", () =>
    Effect.gen(function*() {
      const folder = yield* projectFolder
      const port = yield* freePort
      for (const code of markdownExamples("docs/getting-started.md", "ts skip")) {
        const own = withOwn(code, folder, port).replace("1 second", "50 millis")
        Fs.writeFileSync(Path.join(folder, fileOf(code)!), own)
      }
      let reports: Array<{ readonly tea: number; readonly lag: string }> = []
      const start = (file: string) =>
        Service.start({
          command: process.execPath,
          args: () => Service.nodeArgs(Path.join(folder, file)),
          onLine: (line) => {
            const [, tea, lag] = /^tea: (\d+), lag: (\w+)$/.exec(line) ?? []
            if (tea !== undefined) reports.push({ tea: Number(tea), lag: lag! })
          }
        })
      /** Everything that has been added by now is counted, and nothing twice. */
      const caughtUp = (what: string) =>
        Effect.gen(function*() {
          reports = []
          const added = () =>
            query<number>(
              Path.join(folder, "cart.db"),
              "SELECT count(*) FROM sluice_journal WHERE manifest LIKE '%/ItemAdded'"
            )
          const before = added()
          assert.isAbove(before, 0)
          yield* Wait.until(what, () => reports.some(({ tea }) => tea > before))
          const counted = query<number>(Path.join(folder, "analytics.db"), "SELECT quantity FROM product")
          assert.isAtMost(counted, added())
        })
      const cart = yield* start("cart-service.ts")
      yield* cart.printed("people are shopping")
      const analytics = yield* start("analytics-service.ts")
      yield* Wait.until("a report", () => reports.some(({ tea }) => tea > 0))
      yield* caughtUp("the services to replicate")
      yield* analytics.kill
      yield* caughtUp("the analytics service to catch up")
      yield* cart.kill
      yield* Wait.until("the lag to be unknown", () => reports.some(({ lag }) => lag === "unknown"))
      yield* caughtUp("the analytics service to connect again")
    }), 120_000)
})
