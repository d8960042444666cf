// The API reference, in docs/api. TypeDoc needs the compiler's JavaScript API, which TypeScript 7 does not have.
import { globSync, readFileSync } from "node:fs"
import { registerHooks } from "node:module"
import { fileURLToPath } from "node:url"

registerHooks({
  resolve: (specifier, context, next) => next(specifier === "typescript" ? "typescript-6" : specifier, context)
})
const { Application, Comment } = await import("typedoc")

process.chdir(fileURLToPath(new URL("..", import.meta.url)))
const app = await Application.bootstrap({
  name: "Sluice",
  entryPoints: ["packages/*/src/*.ts", "packages/*/src/adapter/*.ts"],
  exclude: ["packages/*/src/index.ts"],
  tsconfig: "tsconfig.base.json",
  compilerOptions: { composite: false, incremental: false, declarationMap: false, noEmit: true },
  // TypeScript 7 has checked them
  skipErrorChecking: true,
  // what classes inherit from Effect's, Effect documents
  excludeExternals: true,
  excludeInternal: true,
  disableSources: true,
  readme: "none",
  out: "docs/api",
  requiredToBeDocumented: ["Class", "Function", "Interface", "TypeAlias", "Variable"],
  packagesRequiringDocumentation: globSync("packages/*").map((folder) => folder.replace("packages", "@sluice")),
  validation: { notExported: true, invalidLink: true, invalidPath: true, notDocumented: true },
  treatWarningsAsErrors: true
})

const project = await app.convert()
if (project === undefined) process.exit(1)
for (const module of project.children) {
  const [, text] = /^\/\*\*([\s\S]*?)(@\w+|\*\/)/.exec(readFileSync(`packages/${module.name}.ts`, "utf8")) ?? []
  module.comment = new Comment([{ kind: "text", text: text.replaceAll(/^ \* ?/gm, "").trim() }])
  module.name = module.name.replace(/^(\w+)\/src\//, "@sluice/$1/")
  for (const reflection of module.children) {
    // documented in the module that it is re-exported from
    if (reflection.isReference()) continue
    const { comment } = reflection.signatures?.[0] ?? reflection
    const missing = [
      ...(comment?.summary.length > 0 ? [] : ["a sentence"]),
      ...(comment?.getTag("@since") ? [] : ["@since"]),
      ...(module.categories?.some((_) => _.title !== "Other" && _.children.includes(reflection)) ? [] : ["@category"])
    ]
    if (missing.length > 0) app.logger.warn(`${module.name}.${reflection.name} needs ${missing.join(" and ")}`)
  }
}
app.validate(project)
await app.generateOutputs(project)
process.exitCode = app.logger.hasErrors() || app.logger.hasWarnings() ? 1 : 0
