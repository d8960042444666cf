/**
 * A region, a process of its own: the same program in all of them. Its settings say which one it is, and where the others are.
 */
import { GrpcServer } from "@sluice/grpc"
import { Replica, ReplicatedEventSourced, Replication } from "@sluice/replication"
import { SqliteStorage } from "@sluice/sqlite"
import { Config, Effect, Layer, Record } from "effect"
import * as Parent from "../../kit/src/Parent.ts"
import * as PortNotUsable from "../../kit/src/PortNotUsable.ts"
import { Cart, shared } from "./Cart.ts"
import * as CartApi from "./CartApi.ts"

const settings = Config.all({
  filename: Config.String("DATABASE"),
  httpPort: Config.Port("HTTP_PORT"),
  port: Config.Port("PORT"),
  /** Where this region reaches the others; its own address is left out. */
  addresses: Config.all({ eu: Config.String("EU"), us: Config.String("US"), ap: Config.String("AP") })
})

const Region = Layer.unwrap(Effect.map(settings, ({ addresses, filename, httpPort, port }) =>
  Layer.merge(
    CartApi.layer(httpPort).pipe(PortNotUsable.otherwise(httpPort, "--port")),
    Replication.layer(Cart, { replicas: Record.map(addresses, (address) => ({ address })), select: shared })
  ).pipe(
    Layer.provide(ReplicatedEventSourced.layer(Cart)),
    Layer.provide([
      Replica.layerConfig(Config.String("REGION")),
      GrpcServer.layer({ port }),
      SqliteStorage.layer({ filename })
    ])
  )))

// outside of this example: NodeRuntime.runMain(Layer.launch(Region))
Parent.launch(Region)
