/**
 * The cart service, a process of its own: event sourced carts in its database, their commands and their public events on its ports.
 */
import { Source } from "@sluice/core"
import { EventSourced } from "@sluice/entity"
import { EventProducer, GrpcServer } from "@sluice/grpc"
import { SqliteStorage } from "@sluice/sqlite"
import { Config, Effect, Layer } from "effect"
import * as Parent from "../../kit/src/Parent.ts"
import * as PortNotUsable from "../../kit/src/PortNotUsable.ts"
import * as Cart from "./Cart.ts"
import * as CartApi from "./CartApi.ts"
import { CartEvents } from "./contract.ts"

const settings = Config.all({
  filename: Config.String("DATABASE"),
  port: Config.Port("PORT"),
  httpPort: Config.Port("HTTP_PORT")
})

const CartService = Layer.unwrap(Effect.map(settings, ({ filename, httpPort, port }) => {
  const Carts = CartApi.layer(httpPort).pipe(
    PortNotUsable.otherwise(httpPort, "--http-port"),
    Layer.provide(EventSourced.layer(Cart.Cart))
  )
  const Events = EventProducer.layer(
    CartEvents,
    Source.journal(Cart.entityType).pipe(Source.filterMap(({ event }) => Cart.toPublic(event)))
  ).pipe(
    Layer.provide(GrpcServer.layer({ port })),
    PortNotUsable.otherwise(port, "--port")
  )
  return Layer.merge(Carts, Events).pipe(Layer.provide(SqliteStorage.layer({ filename })))
}))

Parent.launch(CartService)
