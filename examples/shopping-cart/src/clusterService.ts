/**
 * One of the processes of the cart service where it has several: each cart is in one of them, and all of them take commands for every cart.
 */
import * as EntityCluster from "@sluice/cluster/EntityCluster"
import { PostgresStorage } from "@sluice/postgres"
import { Config, Effect, Layer } from "effect"
import { Cart } from "./Cart.ts"
import * as CartApi from "./CartApi.ts"
import * as Parent from "./Parent.ts"
import * as PortNotUsable from "./PortNotUsable.ts"

const settings = Config.all({
  url: Config.String("DATABASE"),
  httpPort: Config.Port("HTTP_PORT")
})

Parent.run(Effect.gen(function*() {
  const { httpPort, url } = yield* settings
  const parent = yield* Parent.Parent

  const CartService = CartApi.layer(httpPort).pipe(
    PortNotUsable.otherwise(httpPort, "another HTTP_PORT"),
    Layer.provide(EntityCluster.layer(Cart)),
    Layer.provide(EntityCluster.layerProcess({ takeover: "3 seconds" })),
    Layer.provide(PostgresStorage.layer({ url }))
  )

  return yield* Effect.andThen(parent.report({ _tag: "Ready" }), Effect.never).pipe(Effect.provide(CartService))
}))
