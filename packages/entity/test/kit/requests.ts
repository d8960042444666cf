/** Requests to the server of a test, as anybody sends them. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpServer from "effect/http/HttpServer"

/** The address of the server. */
export const url = HttpServer.addressFormattedWith(Effect.succeed)

export interface Request {
  readonly method?: string
  /** As JSON. */
  readonly body?: string
  readonly headers?: Record<string, string>
}

/** Interrupted, it breaks the connection. */
export const send = Effect.fnUntraced(function*(path: string, { body, headers, method = "POST" }: Request = {}) {
  const base = yield* url
  return yield* Effect.promise(async (signal) => {
    const response = await fetch(base + path, {
      method,
      body: body ?? null,
      headers: { ...body === undefined ? {} : { "content-type": "application/json" }, ...headers },
      signal
    })
    const text = await response.text()
    return {
      status: response.status,
      headers: response.headers,
      text,
      get body() {
        assert.strictEqual(response.headers.get("content-type"), "application/json", text)
        return JSON.parse(text)
      }
    }
  })
})
