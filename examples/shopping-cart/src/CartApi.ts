/**
 * How people shop: the carts over HTTP, such as `POST /carts/c-17/pick-item`, and what that looks like, at `/openapi.json`.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { EntityHttp } from "@sluice/entity"
import { Layer } from "effect"
import { HttpRouter } from "effect/http"
import { HttpApi, HttpApiBuilder } from "effect/http-api"
import { createServer } from "node:http"
import { Cart } from "./Cart.ts"

export const CartApi = HttpApi.make("cart-service").add(EntityHttp.group("carts", Cart))

/** The server, in front of the carts, in whatever way they are run. */
export const layer = (port: number) =>
  HttpRouter.serve(
    HttpApiBuilder.layer(CartApi, { openapiPath: "/openapi.json" }).pipe(
      Layer.provide(EntityHttp.layer(CartApi, "carts", Cart))
    ),
    { disableLogger: true }
  ).pipe(
    Layer.provide(NodeHttpServer.layer(createServer, { port, host: "127.0.0.1" }))
  )
