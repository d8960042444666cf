/** A project of somebody who uses the packages: outside the workspace, and empty but for them. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { root } from "../docs/examples.ts"
import { CommandFailed, node, npm } from "../kit/command.ts"
import { temporaryFolder } from "../kit/Service.ts"
import { pack } from "./Packages.ts"

export class Project extends Context.Service<Project, {
  readonly folder: string
  readonly write: (file: string, text: string) => Effect.Effect<void>
  /** Runs a program, and returns what it printed. */
  readonly node: (...args: ReadonlyArray<string>) => Effect.Effect<string, CommandFailed>
  /** Checks the types of the files, those of all dependencies as well, and compiles into `out`. */
  readonly tsc: (...args: ReadonlyArray<string>) => Effect.Effect<string, CommandFailed>
}>()("sluice/test/Project") {}

const tsconfig = {
  compilerOptions: {
    target: "es2024",
    module: "nodenext",
    strict: true,
    skipLibCheck: false,
    rootDir: ".",
    outDir: "out"
  },
  include: ["*.ts"]
}

/** What a user installs beside the packages, in the versions that this workspace has. */
const others = (): ReadonlyArray<string> => {
  const lock = JSON.parse(Fs.readFileSync(Path.join(root, "package-lock.json"), "utf8")) as {
    readonly packages: Readonly<Record<string, { readonly version: string } | undefined>>
  }
  return ["effect", "kysely", "typescript", "vitest"].map((name) =>
    `${name}@${lock.packages[`node_modules/${name}`]!.version}`
  )
}

/** Without a registry it ends in seconds; by itself npm tries again for minutes. */
const briefly = ["--fetch-retries=2", "--fetch-retry-mintimeout=500", "--fetch-retry-maxtimeout=2000"]

const unreachable = "The npm registry cannot be reached, and npm's cache does not have all that is to be installed"

const make = Effect.gen(function*() {
  const tarballs = yield* temporaryFolder
  const folder = yield* temporaryFolder
  const write = (file: string, text: string) =>
    Effect.sync(() => {
      const path = Path.join(folder, file)
      Fs.mkdirSync(Path.dirname(path), { recursive: true })
      Fs.writeFileSync(path, text)
    })
  yield* write("package.json", JSON.stringify({ private: true, type: "module" }))
  yield* write("tsconfig.json", JSON.stringify(tsconfig))
  const packed = yield* pack(tarballs)
  yield* npm(folder, "install", "--prefer-offline", ...briefly, ...packed, ...others()).pipe(
    Effect.catch((cause) =>
      npm(folder, "view", "effect", "version", "--prefer-online", ...briefly).pipe(
        Effect.mapError(() => new CommandFailed({ message: unreachable, cause })),
        Effect.andThen(Effect.fail(cause))
      )
    )
  )
  return Project.of({
    folder,
    write,
    node: (...args) => node(folder, ...args),
    tsc: (...args) => node(folder, "node_modules/typescript/bin/tsc", "--project", ".", ...args)
  })
})

/** Builds, packs and installs the packages. */
export const layer: Layer.Layer<Project, CommandFailed> = Layer.effect(Project, make)
