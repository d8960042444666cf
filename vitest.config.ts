import { globSync } from "node:fs"
import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import { defaultServerConditions } from "vite"
import { defineConfig } from "vitest/config"
import { BaseSequencer, type TestSpecification } from "vitest/node"

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
  "test/sql/**/*.test.ts",
  "examples/shopping-cart/test/Cluster.test.ts"
]

/**
 * What needs nothing but memory, and leaves nothing behind: many of these files run in one process, one after another, and modules are
 * loaded once for all of them, which would be half of what they do. Not what measures the memory of a process, or changes a module.
 */
const units = globSync("packages/{core,entity,replication,sql}/test/**/*.test.ts", {
  cwd: import.meta.dirname,
  exclude: ["packages/entity/test/Footprint.test.ts", "packages/entity/test/Outages.test.ts"]
})

/** What starts servers of its own, and kills them. Nothing else runs meanwhile, or it would take too long. */
const hostile = ["test/hostile/*.test.ts"]

/** What takes minutes, and is begun first: what is begun last runs alone at the end. */
const longest =
  /(Storage|\/(Packages|Mutants|HostileClients|Bench|Networks|Contracts|ReplicationStorm|CausalOrder|Idempotence|Scaling|EntityCluster|ShoppingCart|simulation\/Replicas|grpc\/test\/Memory|test\/(Documentation|Replication)|sql\/(Cluster|DurableState|Entities|EntityOutages|EventSourced|Leases|Rebuild|Replication|TestKit|Transactions)))\.test\.ts$/

const rank = ({ moduleId, project }: TestSpecification): number =>
  2 * project.config.sequence.groupOrder + (longest.test(moduleId) ? 0 : 1)

class LongestFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    // oxlint-disable-next-line unicorn/no-array-sort -- it is the sequencer's, not an array's
    const sorted = await super.sort(files)
    return sorted.toSorted((a, b) => rank(a) - rank(b))
  }
}

export default defineConfig({
  resolve,
  ssr: { resolve },
  environments: { __vitest__: { resolve } },
  test: {
    // one more than there are cores, as many tests wait: for deadlines of seconds, for servers and for processes. With one more
    // than that, what has a deadline in real time fails now and then
    maxWorkers: availableParallelism() + 1,
    sequence: { sequencer: LongestFirst },
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
          exclude: ["**/node_modules/**", ...units, ...withServers, ...hostile]
        }
      },
      { extends: true, test: { name: "units", include: units, isolate: false } },
      { extends: true, test: { name: "servers", include: withServers, globalSetup: "test/setup/servers.ts" } },
      // their processes wait more than they work
      { extends: true, test: { name: "hostile", include: hostile, maxWorkers: 3, sequence: { groupOrder: 1 } } }
    ]
  }
})
