import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Disturbance from "../Disturbance.ts"
import * as Proxy from "../Proxy.ts"
import { load, lostConnection, type Scenario } from "../Scenario.ts"

/**
 * Connections break where nobody can know what has been committed: just before the server is asked to, or when it has answered
 * and the instance has not heard of it.
 */
export const answersLost: Scenario = {
  name: "connections cut before and after commits",
  run: (environment) =>
    Effect.gen(function*() {
      const { server } = environment
      const proxy = yield* Proxy.start(server.port)
      let asked = 0
      const rule: Proxy.Rule = ({ bytes, from, notes }) => {
        if (from === "client" && Proxy.commits(bytes)) {
          asked++
          if (asked % 8 === 0) return "cut"
          if (asked % 8 === 4) notes.add("answer")
        }
        return from === "server" && notes.has("answer") ? "cut" : bytes
      }
      return yield* load(environment, {
        space: "h_answers",
        url: server.url({ port: proxy.port }),
        workers: 2,
        appenders: 32,
        entities: 200,
        mix: { append: 8, expect: 1, commit: 1 },
        mayFail: lostConnection,
        during: (crew) =>
          Effect.gen(function*() {
            yield* proxy.rule(rule)
            yield* environment.while(crew)
            yield* Wait.until("connections to break", () => proxy.broken() >= 20)
            yield* proxy.rule(Proxy.pass)
          })
      })
    })
}

/** The server ends sessions in the middle of what they do, such as between the lock and the commit. */
export const sessionsEnded: Scenario = {
  name: "sessions ended by the server",
  run: (environment) =>
    load(environment, {
      space: "h_sessions",
      workers: 2,
      appenders: 32,
      // so few that most wait for a lock
      entities: 10,
      mix: { append: 8, expect: 1, commit: 2 },
      hold: 20,
      mayFail: lostConnection,
      during: (crew) =>
        Effect.gen(function*() {
          let ended = 0
          const end = Effect.map(Disturbance.endSession(environment.server), (n) => void (ended += n))
          yield* Effect.raceFirst(
            Effect.andThen(environment.while(crew), Wait.until("sessions to end", () => ended >= 20)),
            Effect.forever(Effect.andThen(end, Effect.sleep("10 millis")))
          )
        })
    })
}

/** Nothing arrives any more on the connections that there are, in either direction, and nobody is told. New ones work. */
export const swallowed: Scenario = {
  name: "connections that swallow everything",
  run: (environment) =>
    Effect.gen(function*() {
      const { server } = environment
      const proxy = yield* Proxy.start(server.port)
      return yield* load(environment, {
        space: "h_swallowed",
        url: server.url({ port: proxy.port }),
        // each of the connections is found dead in its turn
        settings: { statementTimeout: 500, poolSize: 2 },
        workers: 2,
        appenders: 32,
        entities: 200,
        mix: { append: 8, expect: 1, commit: 1 },
        // the server goes on holding the locks of sessions that it does not know to be lost
        mayFail: ({ reason }) => reason === "Unavailable",
        during: (crew) =>
          Effect.gen(function*() {
            yield* environment.while(crew)
            yield* proxy.break("swallow")
            const before = crew.acknowledged()
            yield* Wait.until("the workers to go on", () => crew.acknowledged() > before + 200, {
              atMost: "2 minutes"
            })
          })
      })
    })
}
