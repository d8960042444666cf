/**
 * One of the processes of the cart service where it has several: each cart is in one of them, and all of them take commands for every cart.
 */
import * as EntityCluster from "@sluice/cluster/EntityCluster"
import { PostgresStorage } from "@sluice/postgres"
import { Config, Effect, Layer } from "effect"
import * as Parent from "../../kit/src/Parent.ts"
import * as PortNotUsable from "../../kit/src/PortNotUsable.ts"
import { Cart } from "./Cart.ts"
import * as CartApi from "./CartApi.ts"

const settings = Config.all({
  url: Config.String("DATABASE"),
  httpPort: Config.Port("HTTP_PORT")
})

const CartService = Layer.unwrap(Effect.map(settings, ({ httpPort, url }) =>
  CartApi.layer(httpPort).pipe(
    PortNotUsable.otherwise(httpPort, "another HTTP_PORT"),
    Layer.provide(EntityCluster.layer(Cart)),
    Layer.provide(EntityCluster.layerProcess({ takeover: "3 seconds" })),
    Layer.provide(PostgresStorage.layer({ url }))
  )))

Parent.launch(CartService)
