// Removes what was built: a module that was renamed or removed would be published with the others.
import { globSync, rmSync } from "node:fs"

const cwd = new URL("..", import.meta.url)
for (const folder of [...globSync("packages/*/dist", { cwd }), "node_modules/.cache/check"]) {
  rmSync(new URL(folder, cwd), { recursive: true, force: true })
}
