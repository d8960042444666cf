import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Proxy from "../Proxy.ts"
import { load, type Scenario } from "../Scenario.ts"

/** The beginning of the statement that settles a session on MySQL. */
const settling = "SET @@session"

/** Connections break that only serve to cancel a query, and while a session is being set up, or the server refuses what is set: in no case
 * does the process end. */
export const auxiliaryConnections: Scenario = {
  name: "auxiliary connections cut",
  run: (environment) =>
    Effect.gen(function*() {
      const { server } = environment
      const proxy = yield* Proxy.start(server.port)
      return yield* load(environment, {
        space: "h_auxiliary",
        url: server.url({ port: proxy.port }),
        settings: { lockTimeout: 1000 },
        workers: 1,
        appenders: 16,
        entities: 4,
        mix: { append: 4, commit: 2, interrupt: 8 },
        hold: 20,
        // a connection that is lost, and a session that the server does not set
        mayFail: ({ reason }) => ["Unavailable", "Misconfigured", "Broken"].includes(reason),
        during: (crew) =>
          Effect.gen(function*() {
            yield* environment.while(crew, 50)
            const cancels = server.adapter === "postgres" ? "pg_cancel_backend" : "kill query"
            yield* proxy.rule(({ bytes, from }) => from === "client" && bytes.includes(cancels) ? "cut" : bytes)
            yield* Wait.until("cancelling to be cut", () => crew.crashes.length > 0 || proxy.broken() >= 5)
            yield* proxy.break("cut")
            let settings = 0
            yield* proxy.rule(({ bytes, from }) => {
              if (
                from === "server" || !bytes.includes(server.adapter === "postgres" ? "user" : settling)
              ) return bytes
              return ++settings % 2 === 0 ? "cut" : bytes
            })
            yield* Wait.until("sessions to be cut", () => crew.crashes.length > 0 || settings >= 10)
            if (server.adapter === "mysql") {
              let refused = 0
              yield* proxy.rule(({ bytes, from }) => {
                if (from === "server" || !bytes.includes(settling)) return bytes
                refused++
                return Buffer.from(bytes.toString("latin1").replaceAll("@@session", "@@obsessi"), "latin1")
              })
              yield* proxy.break("cut")
              yield* Wait.until("settings to be refused", () => crew.crashes.length > 0 || refused >= 5)
            }
            yield* proxy.rule(Proxy.pass)
            yield* environment.while(crew, 50)
          })
      })
    })
}
