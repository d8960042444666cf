/**
 * How people shop in a region: the carts over HTTP, such as `POST /carts/fr-17/add`, and what that looks like, at `/openapi.json`.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { EntityHttp } from "@sluice/entity"
import { Layer } from "effect"
import { HttpRouter } from "effect/http"
import { HttpApi, HttpApiBuilder } from "effect/http-api"
import { createServer } from "node:http"
import { Cart } from "./Cart.ts"

export const CartApi = HttpApi.make("carts").add(EntityHttp.group("carts", Cart))

export const layer = (port: number) =>
  HttpRouter.serve(
    HttpApiBuilder.layer(CartApi, { openapiPath: "/openapi.json" }).pipe(
      Layer.provide(EntityHttp.layer(CartApi, "carts", Cart))
    ),
    { disableLogger: true }
  ).pipe(
    Layer.provide(NodeHttpServer.layer(createServer, { port, host: "127.0.0.1" }))
  )
