import { it } from "@effect/vitest"
import * as Mysqld from "../kit/Mysqld.ts"
import { suite } from "./suite.ts"

suite("mysql")
it.runIf(Mysqld.isSkipped)("is left out: SLUICE_SKIP_MYSQL=1", () => {})
