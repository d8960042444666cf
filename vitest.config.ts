import { fileURLToPath } from "node:url"
import { defaultServerConditions } from "vite"
import { defineConfig } from "vitest/config"

// hundreds of processes are started that load the same modules: half of what each does first is to compile them
process.env["NODE_COMPILE_CACHE"] ??= fileURLToPath(new URL("node_modules/.cache/compiled", import.meta.url))

// the packages of this workspace are tested from their sources
const resolve = {
  conditions: ["@sluice/source", ...defaultServerConditions.filter((_) => _ !== "module")],
  externalConditions: ["@sluice/source"]
}

/** What needs a PostgreSQL and a MySQL; the servers are started for it alone. */
const withServers = [
  "packages/postgres/test/**/*.test.ts",
  "packages/mysql/test/**/*.test.ts",
  "packages/testing/test/TestServer.test.ts",
  "test/sql/**/*.test.ts"
]

/** What starts servers of its own, and kills them. Nothing else runs meanwhile, or it would take too long. */
const hostile = ["test/hostile/*.test.ts"]

export default defineConfig({
  resolve,
  ssr: { resolve },
  environments: { __vitest__: { resolve } },
  test: {
    // by default one core is left out, which on a machine with two makes the tests take twice as long
    maxWorkers: "100%",
    // only what never ends takes so long, whatever else the machine does
    testTimeout: 180_000,
    hookTimeout: 180_000,
    teardownTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: "local",
          include: ["test/**/*.test.ts", "packages/*/test/**/*.test.ts", "examples/*/test/**/*.test.ts"],
          exclude: ["**/node_modules/**", ...withServers, ...hostile]
        }
      },
      { extends: true, test: { name: "servers", include: withServers, globalSetup: "test/setup/servers.ts" } },
      // their processes wait more than they work
      { extends: true, test: { name: "hostile", include: hostile, maxWorkers: 2, sequence: { groupOrder: 1 } } }
    ]
  }
})
