/**
 * The cart service, a process of its own: event sourced carts in its database, their commands and their public events on its ports.
 */
import { Source } from "@sluice/core"
import { EventSourced } from "@sluice/entity"
import { EventProducer, GrpcServer } from "@sluice/grpc"
import { SqliteStorage } from "@sluice/sqlite"
import { Config, Effect, Layer } from "effect"
import * as Cart from "./Cart.ts"
import * as CartApi from "./CartApi.ts"
import { CartEvents } from "./contract.ts"
import * as Parent from "./Parent.ts"
import * as PortNotUsable from "./PortNotUsable.ts"

const settings = Config.all({
  filename: Config.String("DATABASE"),
  port: Config.Port("PORT"),
  httpPort: Config.Port("HTTP_PORT")
})

Parent.run(Effect.gen(function*() {
  const { filename, httpPort, port } = yield* settings
  const parent = yield* Parent.Parent

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
  const CartService = Layer.merge(Carts, Events).pipe(Layer.provide(SqliteStorage.layer({ filename })))

  return yield* Effect.andThen(parent.report({ _tag: "Ready" }), Effect.never).pipe(Effect.provide(CartService))
}))
