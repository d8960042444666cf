/**
 * Runs a version of a projection until its parent ends, or until it kills itself at a step.
 *
 * usage: runner WHERE NAME VERSION [STEP]
 */
import * as Projection from "@sluice/core/Projection"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { endWithParent } from "../kit/process.ts"
import { open } from "../status/open.ts"
import { create, items, type Step } from "./items.ts"

const [where, name, version, step] = process.argv.slice(2)

endWithParent(
  Effect.gen(function*() {
    yield* create(name!, Number(version))
    return yield* Layer.launch(Projection.layer(yield* items(name!, Number(version), step as Step | undefined)))
  }).pipe(Effect.provide(open(JSON.parse(where!))), Effect.orDie)
)
