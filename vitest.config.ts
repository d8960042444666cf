import { defaultServerConditions } from "vite"
import { defineConfig } from "vitest/config"

// the packages of this workspace are tested from their sources
const resolve = {
  conditions: ["source", ...defaultServerConditions.filter((_) => _ !== "module")],
  externalConditions: ["source"]
}

export default defineConfig({
  resolve,
  ssr: { resolve },
  environments: { __vitest__: { resolve } },
  test: {
    include: ["test/**/*.test.ts", "packages/*/test/**/*.test.ts", "examples/*/test/**/*.test.ts"],
    testTimeout: 30_000
  }
})
