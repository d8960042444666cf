/**
 * Commands from one process to entities in another one of their cluster, by one caller at a time: from when a command is sent until its event is stored and it is answered. The
 * baseline is the same command to entities of the process itself.
 */
import * as EntityCluster from "@sluice/cluster/EntityCluster"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Bench, compare } from "../Bench.ts"
import { makeCarts } from "../carts.ts"
import { cart } from "../events.ts"
import { start } from "../process.ts"
import { adapters, connect, storage } from "../Target.ts"
import { adding, commanding, naming, type Options } from "./entities.ts"

const options: Options = { bench: "entity-across", callers: 1, latency: true }

export const entityAcross: Bench = {
  name: options.bench,
  adapters,
  run: (setting) =>
    Effect.gen(function*() {
      const target = yield* setting.place
      const connection = yield* connect(target)
      const others = yield* start("clusteredCarts", { target })
      yield* others.message()
      let run = 0
      const across = Effect.suspend(() => {
        const name = `a${run++}`
        const Carts = makeCarts(cart(name))
        return Effect.gen(function*() {
          yield* others.ask("open", { name })
          const carts = yield* EventSourced.client(Carts)
          return yield* adding(options, setting, connection, Carts.name, carts)
        }).pipe(Effect.provide(EntityCluster.layerClient(Carts)))
      })
      const here = commanding(options, setting, connection)
      return yield* Effect.map(compare(setting, naming(options), across, here), (line) => [line]).pipe(
        Effect.provide(Layer.provideMerge(EntityCluster.layerCaller(), storage(target)))
      )
    })
}
