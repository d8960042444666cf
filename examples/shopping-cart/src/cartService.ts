/**
 * The cart service, a process of its own: event sourced carts in its database, their public events on its port.
 */
import { Source } from "@sluice/core"
import { EventProducer, GrpcServer } from "@sluice/grpc"
import { SqliteStorage } from "@sluice/sqlite"
import { Config, Effect, Layer, Schema } from "effect"
import * as Cart from "./Cart.ts"
import { CartEvents } from "./contract.ts"
import * as Parent from "./Parent.ts"
import * as Shoppers from "./Shoppers.ts"

const settings = Config.all({
  filename: Config.String("DATABASE"),
  port: Config.Port("PORT"),
  rate: Config.Int("RATE")
})

class PortNotUsable extends Schema.TaggedError<PortNotUsable>()("PortNotUsable", {
  port: Schema.Int,
  cause: Schema.Defect()
}) {
  override get message(): string {
    const reason = /EADDRINUSE/.test(String(this.cause)) ? "somebody else does" : String(this.cause)
    return `It cannot listen on port ${this.port}, as ${reason}. Choose another one with --port`
  }
}

Parent.run(Effect.gen(function*() {
  const { filename, port, rate } = yield* settings
  const parent = yield* Parent.Parent

  const CartService = EventProducer.layer(
    CartEvents,
    Source.journal(Cart.entityType).pipe(Source.filterMap(({ event }) => Cart.toPublic(event)))
  ).pipe(
    Layer.provide(GrpcServer.layer({ port })),
    Layer.provideMerge(SqliteStorage.layer({ filename }))
  )

  return yield* Effect.gen(function*() {
    yield* parent.report({ _tag: "Ready" })
    yield* Effect.raceFirst(Shoppers.shop(rate), parent.closingTime)
    yield* parent.report({ _tag: "Closed" })
    return yield* Effect.never
  }).pipe(
    Effect.provide(CartService),
    Effect.catchTag("ServerError", ({ cause }) => Effect.fail(new PortNotUsable({ port, cause })))
  )
}))
