import { assert, describe, it } from "@effect/vitest"
import * as Wait from "@sluice/testing/Wait"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Net from "node:net"
import * as Tls from "node:tls"
import { available, makeAuthority } from "../../../test/kit/Certificates.ts"
import { Connections, type Outcome } from "../src/internal/sockets/Connections.ts"
import { encode, FrameReader } from "../src/internal/sockets/FrameReader.ts"
import { kinds, protocol } from "../src/internal/sockets/kinds.ts"
import { listen, type Serve } from "../src/internal/sockets/listen.ts"
import type { NodeTls } from "../src/NodeTls.ts"

const name = "s3cret@127.0.0.1:1"

const echo: Serve = (command) => Effect.succeed(`reply to ${command.toString()}`)

const serving = (
  serve: Serve,
  options?: { readonly tls?: NodeTls; readonly silence?: number; readonly port?: number; readonly host?: string }
) =>
  listen({
    host: options?.host ?? "127.0.0.1",
    port: options?.port ?? 0,
    tls: options?.tls,
    silence: options?.silence ?? 10_000,
    isMe: (other) => other === name,
    serve
  })

const connecting = (options?: { readonly tls?: NodeTls; readonly silence?: number }) =>
  Connections.make({ tls: options?.tls, silence: options?.silence ?? 10_000 })

const at = (port: number, host = "127.0.0.1") => ({ name, host, port })

const text = (outcome: Outcome) => outcome._tag === "Answered" ? outcome.reply.toString() : outcome

const nothing = () => {}

/** A stranger, who sends what it likes. */
const stranger = (port: number, ...bytes: ReadonlyArray<Buffer | string>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const state = { isClosed: false, received: 0 }
      const socket = Net.connect(port, "127.0.0.1")
      socket.on("data", (piece) => {
        state.received += piece.byteLength
      })
      socket.on("error", nothing)
      socket.on("close", () => {
        state.isClosed = true
      })
      for (const piece of bytes) socket.write(piece)
      return { state, socket }
    }),
    ({ socket }) => Effect.sync(() => socket.destroy())
  )

const hello = encode(kinds.hello, 0, `${protocol}\n${name}`)

/** What the log says meanwhile. */
const logged = () => {
  const said: Array<string> = []
  return { said, layer: Logger.layer([Logger.make(({ message }) => void said.push(String(message)))]) }
}

describe("connections between processes", () => {
  it.live("carry commands and their replies, many at once, small and large", () =>
    Effect.gen(function*() {
      const port = yield* serving((command) => Effect.delay(echo(command), command.byteLength % 7))
      const connections = yield* connecting()
      const sizes = [0, 1, 100, 70_000, 700_000]
      const replies = yield* Effect.forEach(
        ["x".repeat(4_000_000), ...Array.from({ length: 200 }, (_, i) => "x".repeat(sizes[i % sizes.length]!))],
        (command) =>
          Effect.map(
            connections.request(at(port), Buffer.from(command), nothing),
            (outcome) => text(outcome) === `reply to ${command}`
          ),
        { concurrency: "unbounded" }
      )
      assert.isTrue(replies.every(Boolean))
    }))

  it.live("say what was not sent, and what may have happened", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const begun = yield* Deferred.make<void>()
      const port = yield* Scope.provide(
        serving(() => Effect.andThen(Deferred.succeed(begun, undefined), Effect.never)),
        scope
      )
      const connections = yield* connecting()
      let sent = 0
      const waiting = yield* Effect.forkChild(connections.request(at(port), Buffer.from("x"), () => sent++))
      yield* Deferred.await(begun)
      assert.strictEqual(sent, 1)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Wait.end("it to be lost", Fiber.join(waiting)))._tag, "Lost")
      const refused = yield* connections.request(at(port), Buffer.from("x"), () => sent++)
      assert.strictEqual(refused._tag, "NotSent")
      assert.strictEqual(sent, 1)
    }))

  it.live("are only made with the process that was meant, and begin anew after failures", () =>
    Effect.gen(function*() {
      const port = yield* serving(echo)
      const connections = yield* connecting()
      const other = yield* connections.request({ ...at(port), name: "other@127.0.0.1:1" }, Buffer.from("x"), nothing)
      assert.deepStrictEqual(other, {
        _tag: "NotSent",
        why: "it is not the process that was meant: that one has ended"
      })
      assert.strictEqual(text(yield* connections.request(at(port), Buffer.from("x"), nothing)), "reply to x")
    }))

  it.live("tell when whoever has sent a command waits no longer", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const interrupted = yield* Deferred.make<void>()
      const port = yield* serving((command) =>
        command.toString() === "quick" ? echo(command) : Effect.onInterrupt(
          Effect.andThen(Deferred.succeed(begun, undefined), Effect.never),
          () => Deferred.succeed(interrupted, undefined)
        )
      )
      const connections = yield* connecting()
      const waiting = yield* Effect.forkChild(connections.request(at(port), Buffer.from("slow"), nothing))
      yield* Wait.end("it to begin", Deferred.await(begun))
      yield* Fiber.interrupt(waiting)
      yield* Wait.end("it to be interrupted", Deferred.await(interrupted))
      assert.strictEqual(text(yield* connections.request(at(port), Buffer.from("quick"), nothing)), "reply to quick")
    }))

  it.live("are given up when nothing is heard, and not while there is nothing to say", () =>
    Effect.gen(function*() {
      const port = yield* serving(echo, { silence: 500 })
      const connections = yield* connecting({ silence: 500 })
      assert.strictEqual(text(yield* connections.request(at(port), Buffer.from("x"), nothing)), "reply to x")
      // somebody who takes the command and says nothing more, as a process that is halted
      const mute = yield* Effect.acquireRelease(
        Effect.callback<Net.Server>((resume) => {
          const server = Net.createServer((socket) => {
            const reader = new FrameReader(1_000_000)
            socket.on("error", nothing)
            socket.on("data", (piece) => {
              for (const { kind } of reader.push(piece)) {
                if (kind === kinds.hello) socket.write(encode(kinds.welcome, 0))
              }
            })
          })
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const { port: mutePort } = mute.address() as Net.AddressInfo
      const outcome = yield* Wait.end(
        "it to be lost",
        connections.request({ ...at(mutePort), name: "mute@127.0.0.1:1" }, Buffer.from("x"), nothing)
      )
      assert.isTrue(outcome._tag === "Lost" && outcome.why.startsWith("nothing was heard for"))
      // meanwhile beats have kept the other one: it is the same connection, on which the number goes on
      assert.strictEqual(text(yield* connections.request(at(port), Buffer.from("y"), nothing)), "reply to y")
    }))

  it.live("cost little when strangers say nothing, rubbish, or too much", () => {
    const { layer, said } = logged()
    return Effect.gen(function*() {
      let served = 0
      const port = yield* serving((command) => {
        served++
        return echo(command)
      })
      const huge = Buffer.alloc(9)
      huge.writeUInt32BE(1_000_000_000)
      const strangers = yield* Effect.all([
        stranger(port, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        stranger(port, Buffer.alloc(100_000, 0xff)),
        stranger(port, Buffer.alloc(100_000)),
        stranger(port, huge),
        // commands without a hello, and a hello for somebody else
        stranger(port, encode(kinds.command, 1, "x")),
        stranger(port, encode(kinds.hello, 0, `${protocol}\nother`), encode(kinds.command, 1, "x")),
        stranger(port, encode(kinds.hello, 0, "sluice-entities/2\n" + name)),
        // a hello that is larger than any
        stranger(port, encode(kinds.hello, 0, "x".repeat(5_000))),
        // what is welcome at first, and then is not
        stranger(port, hello, huge),
        stranger(port, hello, encode(99, 1, "x")),
        stranger(port, encode(kinds.welcome, 0))
      ])
      // says nothing at all
      const silent = yield* stranger(port)
      const before = process.memoryUsage()
      yield* Wait.until("all to be closed", () => [...strangers, silent].every(({ state }) => state.isClosed))
      assert.strictEqual(served, 0)
      const after = process.memoryUsage()
      assert.isBelow(after.arrayBuffers + after.heapUsed - before.arrayBuffers - before.heapUsed, 50_000_000)
      const connections = yield* connecting()
      assert.strictEqual(text(yield* connections.request(at(port), Buffer.from("x"), nothing)), "reply to x")
      assert.isTrue(said.every((text) => !text.includes(name)))
      assert.isTrue(said.some((text) => text.includes("has not said what it wants")))
    }).pipe(Effect.provide(layer))
  })

  it.live("take no more commands at once than there is memory for, and lose none", () =>
    Effect.gen(function*() {
      let bytes = 0
      let most = 0
      const gate = yield* Deferred.make<void>()
      const port = yield* serving((command) =>
        Effect.suspend(() => {
          bytes += command.byteLength
          most = Math.max(most, bytes)
          return Effect.andThen(
            Deferred.await(gate),
            Effect.sync(() => {
              bytes -= command.byteLength
              return "done"
            })
          )
        })
      )
      const large = Buffer.alloc(4_000_000, "x")
      // each is another process
      const requests = yield* Effect.forEach(
        Array.from({ length: 10 }),
        () =>
          Effect.flatMap(connecting(), (connections) =>
            Effect.forkChild(
              Effect.replicateEffect(connections.request(at(port), large, nothing), 4, { concurrency: "unbounded" })
            ))
      )
      yield* Wait.until("the memory to be used up", () => bytes >= 60_000_000)
      yield* Effect.sleep("200 millis")
      assert.isBelow(most, 64 * 1024 * 1024 + 10 * 4_100_000)
      yield* Deferred.succeed(gate, undefined)
      const outcomes = yield* Wait.end("all", Fiber.joinAll(requests))
      assert.isTrue(
        outcomes.flat().every((outcome) => text(outcome) === "done")
      )
      assert.isBelow(most, 64 * 1024 * 1024 + 10 * 4_100_000)
    }))

  it.live("cost little when somebody does not read its replies", () =>
    Effect.gen(function*() {
      let served = 0
      const reply = "x".repeat(200_000)
      const port = yield* serving(() =>
        Effect.sync(() => {
          served++
          return reply
        })
      )
      const { socket, state } = yield* stranger(port, hello)
      yield* Wait.until("the welcome", () => state.received > 0)
      socket.pause()
      for (let i = 1; i <= 900; i++) socket.write(encode(kinds.command, i, "x"))
      yield* Wait.until("some to be served", () => served > 10)
      yield* Effect.sleep("300 millis")
      assert.isBelow(served, 300)
      socket.resume()
      yield* Wait.until("all to be answered", () => served === 900 || state.isClosed)
      assert.strictEqual(served, 900)
    }))

  it.live("cannot begin where the port is taken", () =>
    Effect.gen(function*() {
      const port = yield* serving(echo)
      const error = yield* Effect.flip(serving(echo, { port }))
      assert.match(error.message, new RegExp(`cannot listen at 127.0.0.1:${port} .*EADDRINUSE`))
      const elsewhere = yield* Effect.flip(serving(echo, { host: "192.0.2.1" }))
      assert.strictEqual(elsewhere._tag, "ListenError")
    }))
})

describe.runIf(available)("connections with certificates", () => {
  const authority = makeAuthority()
  const tlsOf = (signed: ReturnType<typeof makeAuthority>, ...names: ReadonlyArray<string>): NodeTls => {
    const { certificate, key } = signed.issue(...names)
    return { authority: authority.certificate, certificate, key: Redacted.make(key) }
  }
  const mine = tlsOf(authority, "IP:127.0.0.1", "DNS:localhost")

  it.live("are made between processes of one authority", () =>
    Effect.gen(function*() {
      const port = yield* serving(echo, { tls: mine })
      const connections = yield* connecting({ tls: tlsOf(authority, "DNS:elsewhere.example") })
      assert.strictEqual(text(yield* connections.request(at(port), Buffer.from("x"), nothing)), "reply to x")
      const byName = yield* connecting({ tls: mine })
      assert.strictEqual(
        text(yield* byName.request(at(port, "localhost"), Buffer.from("x"), nothing)),
        "reply to x"
      )
    }))

  it.live("are refused to those without a certificate, or with another authority's, and to plain text", () => {
    const { layer, said } = logged()
    return Effect.gen(function*() {
      const port = yield* serving(echo, { tls: mine })
      const foreign = makeAuthority()
      const { certificate, key } = foreign.issue("IP:127.0.0.1")
      const forged = yield* connecting({
        tls: { authority: authority.certificate, certificate, key: Redacted.make(key) }
      })
      assert.strictEqual((yield* forged.request(at(port), Buffer.from("x"), nothing))._tag, "NotSent")
      const plain = yield* connecting()
      assert.strictEqual((yield* plain.request(at(port), Buffer.from("x"), nothing))._tag, "NotSent")
      const without = yield* Effect.acquireRelease(
        Effect.sync(() => {
          const state = { isClosed: false }
          const socket = Tls.connect({ host: "127.0.0.1", port, ca: authority.certificate }, () => socket.write(hello))
          socket.on("error", nothing)
          socket.on("close", () => {
            state.isClosed = true
          })
          return { socket, state }
        }),
        ({ socket }) => Effect.sync(() => socket.destroy())
      )
      yield* Wait.until("it to be closed", () => without.state.isClosed)
      assert.isTrue(said.some((text) => text.includes("whose certificate is none of the cluster's")))
    }).pipe(Effect.provide(layer))
  })

  it.live("are not made with a process of another name, or of another authority", () =>
    Effect.gen(function*() {
      const connections = yield* connecting({ tls: mine })
      const misnamed = yield* serving(echo, { tls: tlsOf(authority, "DNS:elsewhere.example") })
      assert.strictEqual((yield* connections.request(at(misnamed), Buffer.from("x"), nothing))._tag, "NotSent")
      const foreign = yield* serving(echo, { tls: tlsOf(makeAuthority(), "IP:127.0.0.1") })
      assert.strictEqual((yield* connections.request(at(foreign), Buffer.from("x"), nothing))._tag, "NotSent")
    }))

  it.live("need a certificate that goes with its key", () =>
    Effect.gen(function*() {
      const other = authority.issue("IP:127.0.0.1")
      const error = yield* Effect.flip(serving(echo, { tls: { ...mine, key: Redacted.make(other.key) } }))
      assert.match(error.message, /cannot listen/)
    }))
})
