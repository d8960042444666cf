/** The packages of this workspace, as they are published. */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { root } from "../docs/examples.ts"
import { type CommandFailed, npm } from "../kit/command.ts"

/** Their folders in `packages`. */
export const packages: ReadonlyArray<string> = Fs.globSync("packages/*/package.json", { cwd: root })
  .map((file) => Path.basename(Path.dirname(file))).toSorted()

const sources = (name: string): ReadonlyArray<string> =>
  Fs.globSync("**/*.ts", { cwd: Path.join(root, "packages", name, "src") })

/** What a package consists of: its modules compiled and declared, and the sources that their maps refer to. */
export const expectedFiles = (name: string): ReadonlyArray<string> => [
  "LICENSE",
  "README.md",
  "package.json",
  ...sources(name).flatMap((file) => {
    const module = `dist/${file.slice(0, -".ts".length)}`
    return [`${module}.d.ts`, `${module}.d.ts.map`, `${module}.js`, `${module}.js.map`, `src/${file}`]
  })
]

const specifiers = (name: string): ReadonlyArray<string> =>
  sources(name).map((file) => `@sluice/${name}/${file.slice(0, -".ts".length)}`.replace(/\/index$/, "")).toSorted()

const isInternal = (specifier: string): boolean => specifier.includes("/internal/")

/** What the modules of all packages are imported as. */
export const publicModules = packages.flatMap((name) => specifiers(name).filter((module) => !isInternal(module)))

/** What the modules that nobody outside imports would be imported as. */
export const internalModules = packages.flatMap((name) => specifiers(name).filter(isInternal))

/** Builds and packs all of them, and returns the tarballs. */
export const pack = (folder: string): Effect.Effect<ReadonlyArray<string>, CommandFailed> =>
  Effect.gen(function*() {
    yield* npm(root, "run", "build")
    yield* npm(root, "pack", "--pack-destination", folder, ...packages.flatMap((name) => ["-w", `packages/${name}`]))
    return Fs.globSync("*.tgz", { cwd: folder }).map((file) => Path.join(folder, file)).toSorted()
  })
