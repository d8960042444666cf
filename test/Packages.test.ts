import { assert, it, layer } from "@effect/vitest"
import { freePort } from "@sluice/testing/FreePort"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { docstringExamples, markdownExamples, modules } from "./docs/examples.ts"
import { expectedFiles, internalModules, packages, publicModules } from "./packages/Packages.ts"
import * as Project from "./packages/Project.ts"

const pipeline = markdownExamples("README.md").join("\n")
const printed = Array.from(
  pipeline.matchAll(/^(console\.log)\(.*\) \/\/ => (.*)$/gm),
  ([, log, value]) => `${log}(${value})`
)
/** What is annotated stands beside what is logged, or on lines of its own. */
const withoutLog = (output: string) => output.replaceAll(/^\[[\d:.]+\] (?:.*\{\n(?: .*\n)*\}|.*)\n/gm, "")
const adapterTest = markdownExamples("packages/testing/README.md", "ts skip").join("\n")
/** The examples that are tests: in other packages, what is not run is a program that does not end. */
const suites = modules.filter((file) => file.includes("packages/testing/"))
const adapterTests = [adapterTest, ...suites.flatMap((file) => docstringExamples(file, "ts skip"))]

/** A suite of all stores has the tests of the others, which are run once. */
const isOfAll = (code: string) => code.includes("StorageTest.suite(")

/** Of the suites that take minutes, and run on each storage here, some tests show that they run elsewhere, too. */
const some = "journal.*appending|projections.*a receipt"

const kindOf = (code: string) => isOfAll(code) ? "all" : code.includes("ProjectionTest.suite(") ? "some" : "one"

const reporters = ["--reporter=default", "--reporter=json", "--outputFile=report.json"]

const namesOf = ({ testResults }: any): ReadonlyArray<string> =>
  testResults.flatMap(({ assertionResults }: any) => assertionResults.map(({ fullName }: any) => fullName))

const timeout = 600_000

const read = (file: string) => Fs.readFileSync(new URL(`../${file}`, import.meta.url), "utf8")

it("the documented installation asks for the kysely that the packages take", () => {
  const documented = Array.from(
    read("docs/getting-started.md").matchAll(/ kysely(@[\d.]+)?/g),
    ([, version]) => version
  )
  const { kysely } = JSON.parse(read("packages/sql/package.json")).peerDependencies
  const minor = kysely.replace("^", "@").split(".").slice(0, 2).join(".")
  // without a version npm takes the newest one, and compares for ever
  assert.deepStrictEqual(documented, [minor, minor])
})

it("the documented installation packs all packages", () => {
  const documented = Array.from(read("docs/getting-started.md").matchAll(/-w packages\/([a-z]+)/g), ([, name]) => name)
  assert.sameMembers(documented, [...packages])
})

layer(Project.layer, { excludeTestServices: true, timeout: "10 minutes" })("in an empty project", (it) => {
  it.effect.each(packages)("%s has its modules, and nothing else", (name) =>
    Effect.gen(function*() {
      const { folder } = yield* Project.Project
      const installed = Path.join(folder, "node_modules/@sluice", name)
      const files = Fs.readdirSync(installed, { recursive: true, withFileTypes: true })
        .filter((file) => file.isFile() && !file.parentPath.startsWith(Path.join(installed, "node_modules")))
        .map((file) => Path.relative(installed, Path.join(file.parentPath, file.name)).replaceAll("\\", "/"))
      const expected = expectedFiles(name)
      assert.deepStrictEqual(
        { missing: expected.filter((_) => !files.includes(_)), unexpected: files.filter((_) => !expected.includes(_)) },
        { missing: [], unexpected: [] }
      )
    }))

  it.effect.each(packages)(
    "no public declaration of %s refers to an internal module",
    (name) =>
      Effect.gen(function*() {
        const { folder } = yield* Project.Project
        const dist = Path.join(folder, "node_modules/@sluice", name, "dist")
        const referring = Fs.globSync("*.d.ts", { cwd: dist })
          .filter((file) => Fs.readFileSync(Path.join(dist, file), "utf8").includes("/internal/"))
        assert.deepStrictEqual(referring, [])
      })
  )

  it.effect("the README's pipeline type-checks and does what the README says", () =>
    Effect.gen(function*() {
      const { node, tsc, write } = yield* Project.Project
      yield* write("pipeline.ts", pipeline.replaceAll("8101", String(yield* freePort)))
      yield* write("printed.ts", printed.join("\n"))
      yield* tsc()
      assert.strictEqual(withoutLog(yield* node("out/pipeline.js")), yield* node("out/printed.js"))
    }), timeout)

  it.effect.each(["nodenext", "bundler"])(
    "all modules type-check, with module resolution %s",
    (resolution) =>
      Effect.gen(function*() {
        const { tsc, write } = yield* Project.Project
        yield* write("modules.ts", publicModules.map((module, i) => `export * as _${i} from "${module}"\n`).join(""))
        yield* write("pipeline.ts", pipeline)
        yield* write("adapter.ts", adapterTest)
        const module = resolution === "nodenext" ? resolution : "esnext"
        yield* tsc("--noEmit", "--module", module, "--moduleResolution", resolution)
      }),
    timeout
  )

  it.effect("public modules can be imported, and internal ones cannot", () =>
    Effect.gen(function*() {
      const { node, write } = yield* Project.Project
      yield* write(
        "import.mjs",
        `const results = {}
        for (const module of ${JSON.stringify([...publicModules, ...internalModules])}) {
          results[module] = await import(module).then(() => "imported", (error) => error.code ?? String(error))
        }
        console.log(JSON.stringify(results))`
      )
      assert.deepStrictEqual(JSON.parse(yield* node("import.mjs")), {
        ...Object.fromEntries(publicModules.map((module) => [module, "imported"])),
        ...Object.fromEntries(internalModules.map((module) => [module, "ERR_PACKAGE_PATH_NOT_EXPORTED"]))
      })
    }), timeout)

  it.effect("the suites for storage adapters run", () =>
    Effect.gen(function*() {
      const { folder, node, write } = yield* Project.Project
      for (const [i, code] of adapterTests.entries()) {
        yield* write(`test/${kindOf(code)}${i}.test.ts`, code)
      }
      const run = (...args: ReadonlyArray<string>) =>
        Effect.map(
          // the default reporter's output is what a failure shows
          node("node_modules/vitest/vitest.mjs", "run", ...args, ...reporters),
          () => JSON.parse(Fs.readFileSync(Path.join(folder, "report.json"), "utf8"))
        )
      const each = yield* run("test/one")
      assert.isAbove(each.numPassedTests, 50)
      assert.strictEqual(each.numPassedTests, each.numTotalTests)
      const projections = yield* run("test/some", "--testNamePattern", some)
      assert.isAbove(projections.numPassedTests, 5)
      assert.strictEqual(projections.numPassedTests + projections.numPendingTests, projections.numTotalTests)
      const all = yield* run("test/all", "--testNamePattern", some)
      assert.isAbove(all.numPassedTests, 25)
      assert.strictEqual(all.numPassedTests + all.numPendingTests, all.numTotalTests)
      assert.includeMembers([...namesOf(each), ...namesOf(projections)], [...namesOf(all)])
      assert.strictEqual(adapterTests.filter(isOfAll).length, all.testResults.length)
    }), timeout)
})
