/** Checks the types of the documentation's examples, as they are written: running them only strips the types. */
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { docstringExamples, fileOf, markdownExamples, modules, pages, root } from "./examples.ts"

const folder = Path.join(root, "node_modules/.cache/examples")
Fs.rmSync(folder, { recursive: true, force: true })

const write = (file: string, text: string) => {
  const path = Path.join(folder, file)
  Fs.mkdirSync(Path.dirname(path), { recursive: true })
  Fs.writeFileSync(path, text)
}

const extract = (file: string, examplesOf: typeof markdownExamples) => {
  const examples = (["ts", "ts servers", "ts skip"] as const).flatMap((language) => examplesOf(file, language))
  examples.forEach((code, i) => {
    const page = file.replace(/\.\w+$/, "")
    write(Path.join(page, fileOf(code) ?? `${i + 1}.ts`), code)
  })
}
for (const file of pages) extract(file, markdownExamples)
for (const file of modules) extract(file, docstringExamples)

write(
  "tsconfig.json",
  JSON.stringify({
    extends: Path.join(root, "tsconfig.base.json"),
    compilerOptions: {
      composite: false,
      declaration: false,
      declarationMap: false,
      incremental: false,
      rootDir: root,
      noEmit: true,
      rewriteRelativeImportExtensions: false,
      allowImportingTsExtensions: true,
      // of what is written for readers
      noUnusedLocals: false
    },
    include: ["."]
  })
)
const { status } = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "--project", folder], {
  cwd: root,
  stdio: "inherit"
})
process.exit(status ?? 1)
