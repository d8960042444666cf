/**
 * The analytics service, a process of its own: the popularity of products, in its database, from the cart service's events.
 */
import { Projection } from "@sluice/core"
import { SqliteStorage } from "@sluice/sqlite"
import { Config, Effect } from "effect"
import * as Parent from "../../kit/src/Parent.ts"
import * as Popularity from "./Popularity.ts"

const settings = Config.all({
  filename: Config.String("DATABASE"),
  address: Config.String("CART_SERVICE")
})

Parent.run(Effect.gen(function*() {
  const { address, filename } = yield* settings
  const parent = yield* Parent.Parent

  return yield* Effect.gen(function*() {
    yield* Popularity.createTables
    yield* parent.report({ _tag: "Ready" })
    return yield* Projection.run(Popularity.make({ address }))
  }).pipe(Effect.provide(SqliteStorage.layer({ filename })))
}))
