import { parseArgs, type ParseArgsConfig } from "node:util"
import { refuse } from "./refuse.ts"

type Config = ParseArgsConfig & { readonly options: NonNullable<ParseArgsConfig["options"]> }

const usageOf = (command: string, { allowPositionals, options }: Config): string => {
  const shown = Object.entries(options).map(([name, { default: preset, multiple, type }]) =>
    type === "boolean" ? `[--${name}]` : `[--${name} ${multiple !== true && typeof preset === "string" ? preset : "…"}]`
  )
  const positionals = allowPositionals === true ? ["[NAME…]"] : []
  return `usage: npm run ${command} -- ${[...positionals, ...shown].join(" ")}`
}

/** What a command of the repository was called with. Says with `--help` how it is called, and what more there is to say, and refuses options that it does not know. */
export const readArgs = <const C extends Config>(
  command: string,
  config: C,
  more = ""
): ReturnType<typeof parseArgs<C>> => {
  const usage = usageOf(command, config)
  if (process.argv.slice(2).some((arg) => arg === "--help" || arg === "-h")) {
    console.log(more === "" ? usage : `${usage}\n\n${more}`)
    process.exit(0)
  }
  try {
    return parseArgs(config)
  } catch (error) {
    // the sentence after it is about arguments that begin with a hyphen, of which there are none
    return refuse(`${(error as Error).message.split(". ")[0]}\n${usage}`)
  }
}

/** The whole numbers among what a command was called with, by the names of their options. What is none, or less than is meant, is refused. */
export const wholeNumbers =
  <Name extends string>(values: { readonly [name in Name]?: unknown }) => (name: Name, atLeast = 1): number => {
    const value = String(values[name])
    return /^\d{1,15}$/.test(value) && Number(value) >= atLeast
      ? Number(value)
      : refuse(`--${name} takes a whole number${atLeast === 0 ? "" : ` from ${atLeast} on`}, not '${value}'`)
  }
