/** Examples of the documentation, as programs that check what they say. */
import type { Dialect } from "@sluice/sql/adapter/Dialect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"

/** The project's folder. */
export const root = fileURLToPath(new URL("../../", import.meta.url))

/** How TypeScript blocks are marked: programs, those that need a database server, and, as `ts skip`, what is no program by itself. */
export type Language = "ts" | "ts servers" | "ts skip"

/** The TypeScript blocks of a Markdown file. */
export const markdownExamples = (file: string, language: Language = "ts"): ReadonlyArray<string> =>
  Array.from(
    Fs.readFileSync(Path.join(root, file), "utf8").matchAll(
      new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm")
    ),
    ([, code]) => code!
  )

/** The TypeScript blocks of a file's docstrings. */
export const docstringExamples = (file: string, language: Language = "ts"): ReadonlyArray<string> =>
  Array.from(
    Fs.readFileSync(Path.join(root, file), "utf8").matchAll(
      new RegExp(`^ \\* \`\`\`${language}\\n([\\s\\S]*?)^ \\* \`\`\`$`, "gm")
    ),
    ([, code]) => code!.replaceAll(/^ \* ?/gm, "")
  )

/** The SQL blocks of a Markdown file, and the databases that they are for: those that the block names, as in `sql sqlite`, or all. */
export const sqlExamples = (
  file: string
): ReadonlyArray<{ readonly sql: string; readonly dialects: ReadonlyArray<Dialect> }> =>
  Array.from(
    Fs.readFileSync(Path.join(root, file), "utf8").matchAll(/^```sql *([\w ]*)\n([\s\S]*?)^```$/gm),
    ([, named, sql]) => ({
      sql: sql!.trim(),
      dialects: named === "" ? dialects : dialects.filter((_) => named!.split(" ").includes(_))
    })
  )

const dialects: ReadonlyArray<Dialect> = ["sqlite", "postgres", "mysql"]

/** The file that an example is, where its first line names one, so that others of the same page can import it. */
export const fileOf = (code: string): string | undefined => /^\/\/ ([\w-]+\.ts)\n/.exec(code)?.[1]

/** The pages whose examples are programs. */
export const pages: ReadonlyArray<string> = Fs.globSync(["README.md", "packages/*/README.md", "docs/**/*.md"], {
  cwd: root
})
  .toSorted()

/** The modules whose docstrings have examples. */
export const modules: ReadonlyArray<string> = Fs.globSync("packages/*/src/{,adapter/}*.ts", { cwd: root })
  .filter((file) => !file.endsWith("index.ts")).toSorted()

/**
 * Makes an example check what it says: `expression // => value`, or the value on a line of its own below. What is printed with
 * `console.log` is compared and not printed.
 */
export const checked = (code: string): string => {
  const lines = code.replaceAll(/\n\s*\/\/ =>/g, " // =>").split("\n").map((line) => {
    const match = /^(.*?)\s+\/\/ => (.*)$/.exec(line)
    if (match === null) return line
    const [, statement, value] = match
    const expression = /^console\.log\((.*)\)$/.exec(statement!)?.[1] ?? statement!
    return `;same(${expression}, ${value})`
  })
  return `${lines.join("\n")}\n${same}`
}

const same = `
import { deepStrictEqual as sameAs } from "node:assert"
function same(actual: unknown, expected: unknown) { sameAs(plain(actual), plain(expected)) }
function plain(value: unknown) { return JSON.parse(JSON.stringify([value])) }
`

/** Writes a program where the project's packages are found, runs it, and removes it. */
export const runExample = async (code: string): Promise<void> => {
  const folder = Fs.mkdtempSync(Path.join(root, "test", ".tmp-"))
  const before = process.cwd()
  try {
    const file = Path.join(folder, "example.ts")
    Fs.writeFileSync(file, checked(code))
    await import(/* @vite-ignore */ file)
  } finally {
    process.chdir(before)
    Fs.rmSync(folder, { recursive: true })
  }
}
