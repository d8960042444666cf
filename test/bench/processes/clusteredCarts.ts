/** Runs carts for other processes of a cluster, of each type that it is told. */
import * as EntityCluster from "@sluice/cluster/EntityCluster"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { makeCarts } from "../carts.ts"
import { cart } from "../events.ts"
import { argument, serve } from "../process.ts"
import { storage, type Target } from "../Target.ts"

const { target } = argument<{ target: Target }>()

const program = Effect.gen(function*() {
  const scope = yield* Effect.scope
  const place = yield* Layer.build(Layer.provideMerge(EntityCluster.layerProcess(), storage(target)))
  serve({}, {
    open: async ({ name }: { name: string }) => {
      const carts = Layer.provide(EntityCluster.layer(makeCarts(cart(name))), Layer.succeedContext(place))
      await Effect.runPromise(Layer.buildWithScope(carts, scope))
    }
  })
  return yield* Effect.never
})

await Effect.runPromise(Effect.scoped(program))
