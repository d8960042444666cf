import { assert, describe, it } from "@effect/vitest"
import * as Wait from "@sluice/testing/Wait"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Http2 from "node:http2"
import * as Net from "node:net"
import * as Tls from "node:tls"
import { available, makeAuthority } from "../../../test/kit/Certificates.ts"
import { collectGarbage } from "../../../test/kit/collectGarbage.ts"
import { certificatesOf } from "../src/internal/calls/certificates.ts"
import { Connections, type Outcome } from "../src/internal/calls/Connections.ts"
import { listen, type Serve } from "../src/internal/calls/listen.ts"
import { bytesHeader, maxCalls, maxMessageBytes, path, processHeader } from "../src/internal/calls/method.ts"
import type { NodeTls } from "../src/NodeTls.ts"

const name = "s3cret@127.0.0.1:1"

const textOf = (bytes: Uint8Array) => Buffer.from(bytes).toString()

const echo: Serve = (command) => Effect.succeed(`reply to ${textOf(command)}`)

interface Options {
  readonly tls?: NodeTls
  readonly silence?: number
}

const serving = (serve: Serve, options: Options & { readonly port?: number; readonly host?: string } = {}) =>
  Effect.gen(function*() {
    const { host = "127.0.0.1", port = 0, silence = 10_000, tls } = options
    const { server } = yield* certificatesOf(tls, undefined)
    return yield* listen({ host, port, tls: server, silence, isMe: (other) => other === name, serve })
  })

const connecting = ({ silence = 10_000, tls }: Options = {}) =>
  Effect.flatMap(certificatesOf(tls, undefined), ({ client }) => Connections.make({ tls: client, silence }))

const at = (port: number, host = "127.0.0.1") => ({ name, host, port })

const nothing = () => {}

/** By each of these addresses the same server is reached over a connection of its own, as by ten processes. */
const callers = Array.from({ length: 10 }, (_, i) => `127.0.0.${i + 1}`)

const minute = 60_000

const ask = (connections: Connections, port: number, command: string, onSent = nothing, host?: string) =>
  connections.request(at(port, host), Buffer.from(command), minute, onSent)

const text = (outcome: Outcome) => outcome._tag === "Answered" ? textOf(outcome.answer) : outcome

/** A stranger, who sends what it likes. */
const stranger = (port: number, ...bytes: ReadonlyArray<Buffer | string>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const state = { isClosed: false }
      const socket = Net.connect(port, "127.0.0.1")
      socket.resume()
      socket.on("error", nothing)
      socket.on("close", () => {
        state.isClosed = true
      })
      for (const piece of bytes) socket.write(piece)
      return { state, socket }
    }),
    ({ socket }) => Effect.sync(() => socket.destroy())
  )

/** One who speaks HTTP/2, and gives the headers that it likes. */
const http2 = (port: number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const session = Http2.connect(`http://127.0.0.1:${port}`)
      session.on("error", nothing)
      return session
    }),
    (session) => Effect.sync(() => session.destroy())
  )

const call = (
  session: Http2.ClientHttp2Session,
  headers: Http2.OutgoingHttpHeaders,
  ...body: ReadonlyArray<Buffer>
) => {
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    "te": "trailers",
    ...headers
  })
  const state = { status: undefined as string | undefined, details: "", isClosed: false }
  const told = (headers: Http2.IncomingHttpHeaders) => {
    state.status ??= headers["grpc-status"] as string | undefined
    state.details = decodeURI(String(headers["grpc-message"] ?? state.details))
  }
  stream.on("response", told)
  stream.on("trailers", told)
  stream.on("error", nothing)
  stream.on("close", () => {
    state.isClosed = true
  })
  for (const piece of body) stream.write(piece)
  return { stream, state }
}

/** A message as gRPC sends it. */
const framed = (bytes: number, announced = bytes): Buffer => {
  const message = Buffer.alloc(5 + bytes, "x")
  message.writeUInt8(0)
  message.writeUInt32BE(announced, 1)
  return message
}

/** What is kept at the moment, in bytes. */
const memoryInUse = (): number => {
  collectGarbage()
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return arrayBuffers + heapUsed
}

const known = (bytes: number) => ({ [processHeader]: encodeURIComponent(name), [bytesHeader]: String(bytes) })

/** What the log says meanwhile. */
const logged = () => {
  const said: Array<string> = []
  return { said, layer: Logger.layer([Logger.make(({ message }) => void said.push(String(message)))]) }
}

/** Somebody in the middle, who can stop to pass on what comes. */
const wire = (port: number) =>
  Effect.acquireRelease(
    Effect.callback<{
      readonly port: number
      readonly cut: () => void
      readonly close: () => void
      readonly end: () => void
    }>((resume) => {
      const sockets: Array<Net.Socket> = []
      let isCut = false
      const server = Net.createServer((socket) => {
        const there = Net.connect(port, "127.0.0.1")
        for (const end of [socket, there]) {
          sockets.push(end)
          end.on("error", nothing)
        }
        if (isCut) return
        socket.pipe(there)
        there.pipe(socket)
      })
      server.listen(0, "127.0.0.1", () =>
        resume(Effect.succeed({
          port: (server.address() as Net.AddressInfo).port,
          close: () => void server.close(),
          cut: () => {
            isCut = true
            for (const socket of sockets) socket.unpipe().pause()
          },
          end: () => {
            for (const socket of sockets) socket.destroy()
            server.close()
          }
        })))
    }),
    ({ end }) => Effect.sync(end)
  )

describe("calls between processes", () => {
  it.live("carry commands and their answers, many at once, small and large", () =>
    Effect.gen(function*() {
      const port = yield* serving((command) => Effect.delay(echo(command), command.byteLength % 7))
      const connections = yield* connecting()
      const sizes = [0, 1, 100, 70_000, 200_000]
      const replies = yield* Effect.forEach(
        ["x".repeat(4_000_000), ...Array.from({ length: 200 }, (_, i) => "x".repeat(sizes[i % sizes.length]!))],
        (command) => Effect.map(ask(connections, port, command), (outcome) => text(outcome) === `reply to ${command}`),
        { concurrency: 100 }
      )
      assert.isTrue(replies.every(Boolean))
    }))

  it.live("say what was not begun, and what may have happened", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const begun = yield* Deferred.make<void>()
      const port = yield* Scope.provide(
        serving(() => Effect.andThen(Deferred.succeed(begun, undefined), Effect.never)),
        scope
      )
      const connections = yield* connecting()
      let sent = 0
      const waiting = yield* Effect.forkChild(ask(connections, port, "x", () => sent++))
      yield* Deferred.await(begun)
      assert.strictEqual(sent, 1)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Wait.end("it to be lost", Fiber.join(waiting)))._tag, "Lost")
      const refused = yield* ask(connections, port, "x", () => sent++)
      assert.isTrue(refused._tag === "NotBegun" && /ECONNREFUSED 127.0.0.1:\d+$/.test(refused.why))
      assert.strictEqual(sent, 1)
    }))

  it.live("are told at once when this process ends", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const port = yield* serving(() => Effect.andThen(Deferred.succeed(begun, undefined), Effect.never))
      const scope = yield* Scope.make()
      const connections = yield* Scope.provide(connecting(), scope)
      const waiting = yield* Effect.forkChild(ask(connections, port, "x"))
      yield* Wait.end("it to begin", Deferred.await(begun))
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* Wait.end("it", Fiber.join(waiting)), { _tag: "Lost", why: "this process ends" })
      assert.strictEqual((yield* ask(connections, port, "x"))._tag, "NotBegun")
    }))

  it.live("are only made with the process that was meant, and begin anew after failures", () => {
    const { layer, said } = logged()
    return Effect.gen(function*() {
      const scope = yield* Scope.make()
      const port = yield* Scope.provide(serving(echo), scope)
      const connections = yield* connecting()
      const other = yield* connections.request(
        { ...at(port), name: "ö@127.0.0.1:1" },
        Buffer.from("x"),
        minute,
        nothing
      )
      assert.deepStrictEqual(other, {
        _tag: "NotBegun",
        why: "it is not the process that was meant: that one has ended"
      })
      assert.strictEqual(text(yield* ask(connections, port, "x")), "reply to x")
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* ask(connections, port, "x"))._tag, "NotBegun")
      assert.strictEqual((yield* ask(connections, port, "x"))._tag, "NotBegun")
      yield* serving(echo, { port })
      yield* Wait.until(
        "it to be reached again",
        Effect.map(ask(connections, port, "x"), (outcome) => outcome._tag === "Answered")
      )
      // once each
      const spoken = said.filter((text) => text.includes("The process at"))
      assert.strictEqual(spoken.length, 2)
      assert.match(spoken[0]!, /is not reached\. .*: .*ECONNREFUSED/)
      assert.match(spoken[1]!, /is reached again$/)
    }).pipe(Effect.provide(layer))
  })

  it.live("tell when whoever has sent a command waits no longer", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const interrupted = yield* Deferred.make<void>()
      const port = yield* serving((command) =>
        textOf(command) === "quick" ? echo(command) : Effect.onInterrupt(
          Effect.andThen(Deferred.succeed(begun, undefined), Effect.never),
          () => Deferred.succeed(interrupted, undefined)
        )
      )
      const connections = yield* connecting()
      const waiting = yield* Effect.forkChild(ask(connections, port, "slow"))
      yield* Wait.end("it to begin", Deferred.await(begun))
      yield* Fiber.interrupt(waiting)
      yield* Wait.end("it to be interrupted", Deferred.await(interrupted))
      assert.strictEqual(text(yield* ask(connections, port, "quick")), "reply to quick")
    }))

  it.live("end on both sides when their time is over", () =>
    Effect.gen(function*() {
      const interrupted = yield* Deferred.make<void>()
      const port = yield* serving(() =>
        Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined))
      )
      const connections = yield* connecting()
      const outcome = yield* connections.request(at(port), Buffer.from("x"), 300, nothing)
      assert.strictEqual(outcome._tag, "Lost")
      yield* Wait.end("it to be interrupted", Deferred.await(interrupted))
    }))

  it.live(
    "are given up on both sides when nothing is heard, and not while there is nothing to say",
    () =>
      Effect.gen(function*() {
        const silence = 1_000
        const begun = yield* Deferred.make<void>()
        const interrupted = yield* Deferred.make<void>()
        const port = yield* serving(
          (command) =>
            textOf(command) !== "slow" ? echo(command) : Effect.onInterrupt(
              Effect.andThen(Deferred.succeed(begun, undefined), Effect.never),
              () => Deferred.succeed(interrupted, undefined)
            ),
          { silence }
        )
        const connections = yield* connecting({ silence })
        const quiet = yield* wire(port)
        assert.strictEqual(text(yield* ask(connections, quiet.port, "x")), "reply to x")
        quiet.close()
        const lost = yield* wire(port)
        const waiting = yield* Effect.forkChild(ask(connections, lost.port, "slow"))
        yield* Wait.end("it to begin", Deferred.await(begun))
        lost.cut()
        assert.strictEqual((yield* Wait.end("it to be lost", Fiber.join(waiting)))._tag, "Lost")
        yield* Wait.end("it to be interrupted", Deferred.await(interrupted))
        // whoever accepts the connection and says nothing was not sent a command
        let sent = 0
        const refused = yield* ask(connections, lost.port, "x", () => sent++)
        assert.isTrue(refused._tag === "NotBegun" && sent === 0)
        // pings have kept the other one meanwhile, which could not be made anew
        yield* Effect.sleep(2 * silence)
        assert.strictEqual(text(yield* ask(connections, quiet.port, "y")), "reply to y")
      }),
    120_000
  )

  it.live("cost little when strangers say nothing, rubbish, or too much", () => {
    const { layer, said } = logged()
    return Effect.gen(function*() {
      let served = 0
      const port = yield* serving((command) => {
        served++
        return echo(command)
      }, { silence: 2_000 })
      const before = memoryInUse()
      // one that connects again and again is spoken of once
      for (let i = 0; i < 50; i++) yield* stranger(port, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
      const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
      const strangers = yield* Effect.all([
        stranger(port, Buffer.alloc(100_000, 0xff)),
        stranger(port, Buffer.alloc(100_000)),
        // a frame that is larger than any
        stranger(port, preface, Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0]), Buffer.alloc(1_000_000)),
        stranger(port, preface),
        stranger(port)
      ])
      yield* Wait.until("all to be closed", () => strangers.every(({ state }) => state.isClosed))
      const session = yield* http2(port)
      const calls = [
        call(session, {}, framed(1)),
        call(session, { [bytesHeader]: "1" }, framed(1)),
        call(session, { ...known(1), [processHeader]: "%" }, framed(1)),
        call(session, { ...known(1), [processHeader]: "other" }, framed(1)),
        call(session, { [processHeader]: encodeURIComponent(name) }, framed(1)),
        call(session, known(-1), framed(1)),
        call(session, known(maxMessageBytes + 1), framed(1)),
        // more, and less, than was said
        call(session, known(1), framed(1_000)),
        call(session, known(1_000), framed(1)),
        call(session, known(1), framed(1), framed(1)),
        call(session, known(1), framed(1, 1_000_000_000)),
        call(session, { ...known(1), ":path": "/sluice.cluster.Entities/Other" }, framed(1))
      ]
      for (const { stream } of calls) stream.end()
      yield* Wait.until("all to be refused", () => calls.every(({ state }) => state.status !== undefined))
      assert.strictEqual(served, 0)
      // far more than there may be, of somebody who is known, and of somebody who is not
      const large = [call(session, known(1_000_000)), call(session, {})]
      // messages of no bytes
      const piece = Buffer.alloc(1_000_000)
      for (const { state, stream } of large) {
        for (let i = 0; i < 200 && !stream.destroyed; i++) {
          if (!stream.write(piece)) {
            yield* Wait.until("it to be taken, or refused", () => !stream.writableNeedDrain || state.isClosed)
          }
          if (i % 20 === 19) assert.isBelow(memoryInUse() - before, 100_000_000)
        }
        stream.end()
      }
      yield* Wait.until("both to be over", () => large.every(({ state }) => state.isClosed))
      assert.strictEqual(served, 0)
      assert.isBelow(memoryInUse() - before, 100_000_000)
      const connections = yield* connecting()
      assert.strictEqual(text(yield* ask(connections, port, "x")), "reply to x")
      assert.isTrue(said.every((text) => !text.includes(name)))
      assert.isAtMost(said.length, 3)
      assert.isTrue(said.some((text) => text.includes("does not speak HTTP/2")))
    }).pipe(Effect.provide(layer))
  }, 120_000)

  it.live("are given up where they are answered more than once, however often", () =>
    Effect.gen(function*() {
      const sessions = new Set<Http2.ServerHttp2Session>()
      const server = Http2.createServer()
      const piece = Buffer.alloc(1_000_000)
      let wasReset = false
      server.on("session", (session) => sessions.add(session))
      server.on("stream", (stream) => {
        stream.on("error", nothing)
        stream.on("close", () => {
          wasReset = true
        })
        stream.respond({ ":status": 200, "content-type": "application/grpc" })
        const flood = () => {
          while (!stream.destroyed && stream.write(piece));
        }
        stream.on("drain", flood)
        flood()
      })
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
        () =>
          Effect.sync(() => {
            for (const session of sessions) session.destroy()
            server.close()
          })
      )
      const { port } = server.address() as Net.AddressInfo
      const before = memoryInUse()
      const connections = yield* connecting()
      assert.deepStrictEqual(yield* ask(connections, port, "x"), { _tag: "Lost", why: "it has sent several answers" })
      yield* Wait.until("the server to be told", () => wasReset)
      assert.isBelow(memoryInUse() - before, 100_000_000)
    }), 120_000)

  it.live("are taken of no more connections than there may be, and those that there are go on", () => {
    const { layer, said } = logged()
    return Effect.gen(function*() {
      const port = yield* serving(echo)
      const connections = yield* connecting()
      assert.strictEqual(text(yield* ask(connections, port, "x")), "reply to x")
      const strangers = yield* Effect.replicateEffect(stranger(port), 1_100)
      yield* Wait.until(
        "the last ones to be refused",
        () => strangers.filter(({ state }) => state.isClosed).length >= 100
      )
      assert.strictEqual(text(yield* ask(connections, port, "y")), "reply to y")
      assert.strictEqual(said.filter((text) => text.includes("1000")).length, 1)
    }).pipe(Effect.provide(layer))
  }, 120_000)

  it.live(
    "are refused where there is no room for them, at once, and none waits for others",
    () =>
      Effect.gen(function*() {
        let inHand = 0
        const gate = yield* Deferred.make<void>()
        const port = yield* serving((command) => {
          if (textOf(command).startsWith("quick")) return echo(command)
          inHand++
          return Effect.as(Deferred.await(gate), "done")
        }, { host: "0.0.0.0" })
        const connections = yield* connecting()
        const quick = (host: string) => ask(connections, port, "quick", nothing, host)
        // each of them leaves as much as it has, and the two together a third
        const most = 2 * Math.floor(maxCalls / 3) + 1
        const hanging: Array<Fiber.Fiber<Outcome>> = []
        const hang = (host: string) => connections.request(at(port, host), Buffer.from("slow"), 10 * minute, nothing)
        // not all at once, as a busy machine takes long to take them
        while (hanging.length < most) {
          for (let i = 0; i < 500 && hanging.length < most; i++) {
            hanging.push(yield* Effect.forkChild(hang(callers[hanging.length % 2]!)))
          }
          yield* Wait.until("them to be in hand", () => inHand === hanging.length)
        }
        assert.deepStrictEqual(yield* Wait.end("the refusal", quick(callers[0]!)), { _tag: "Full" })
        // a third one has room nevertheless
        assert.strictEqual(text(yield* quick(callers[2]!)), "reply to quick")
        yield* Fiber.interrupt(hanging.pop()!)
        yield* Wait.until(
          "there to be room",
          Effect.map(quick(callers[0]!), (outcome) => text(outcome) === "reply to quick")
        )
        yield* Deferred.succeed(gate, undefined)
        assert.isTrue((yield* Wait.end("all", Fiber.joinAll(hanging), { atMost: "5 minutes" })).every((outcome) =>
          text(outcome) === "done"
        ))
      }),
    600_000
  )

  it.live("are refused where there is no memory for them, and before they are read", () =>
    Effect.gen(function*() {
      let bytes = 0
      let most = 0
      const gate = yield* Deferred.make<void>()
      const serve: Serve = (command) =>
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
      const port = yield* serving(serve, { host: "0.0.0.0" })
      const connections = yield* connecting()
      const large = Buffer.alloc(4_000_000, "x")
      let refused = 0
      let begun = 0
      const requests = yield* Effect.forEach(callers, (host) =>
        Effect.forkChild(Effect.replicateEffect(
          Effect.tap(
            connections.request(at(port, host), large, minute, nothing),
            (outcome) => Effect.sync(() => outcome._tag === "Full" && refused++)
          ),
          4,
          { concurrency: "unbounded" }
        )))
      // 16 have room, and less where each of the ten leaves as much as it has itself
      yield* Wait.until("the others to be refused", () => {
        begun = bytes / large.byteLength
        return refused + begun === 40
      })
      assert.isTrue(begun >= 12 && begun <= 16, `${begun} have begun`)
      yield* Deferred.succeed(gate, undefined)
      const outcomes = (yield* Wait.end("all", Fiber.joinAll(requests))).flat()
      assert.strictEqual(outcomes.filter((outcome) => text(outcome) === "done").length, begun)
      assert.isAtMost(most, 64 * 1024 * 1024)
      assert.strictEqual(
        text(yield* connections.request(at(port), large, minute, nothing)),
        "done"
      )
    }), 120_000)

  it.live("cost little when somebody does not read the answers", () =>
    Effect.gen(function*() {
      let served = 0
      const reply = "x".repeat(200_000)
      const port = yield* serving((command) =>
        textOf(command) === "x" ? Effect.sync(() => (served++, reply)) : echo(command)
      )
      const session = yield* http2(port)
      const calls = Array.from({ length: 900 }, () => call(session, known(1), framed(1)))
      for (const { stream } of calls) stream.pause().end()
      yield* Wait.until("all to be served, or refused", () => {
        const refused = calls.filter(({ state }) => state.status === "8").length
        return served + refused === 900
      })
      assert.isBelow(served, 400)
      // nor does it keep others from being served
      const others = yield* connecting()
      assert.strictEqual(text(yield* ask(others, port, "y")), "reply to y")
      assert.strictEqual((yield* ask(others, port, "y".repeat(4_000_000)))._tag, "Answered")
      // it gives back all that was kept for it when it goes
      const refused = Effect.suspend(() => {
        const { state, stream } = call(session, known(1), framed(1))
        stream.end()
        return Effect.as(Wait.until("its status", () => state.status !== undefined), state)
      })
      assert.strictEqual((yield* refused).status, "8")
      session.destroy()
    }), 120_000)

  it.live("cannot begin where the port is taken", () =>
    Effect.gen(function*() {
      const port = yield* serving(echo)
      const error = yield* Effect.flip(serving(echo, { port }))
      assert.match(error.message, new RegExp(`cannot listen at 127.0.0.1:${port} .*EADDRINUSE`))
      const elsewhere = yield* Effect.flip(serving(echo, { host: "192.0.2.1" }))
      assert.strictEqual(elsewhere._tag, "ListenError")
    }))
})

describe.runIf(available)("calls with certificates", () => {
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
      assert.strictEqual(text(yield* ask(connections, port, "x")), "reply to x")
      const byName = yield* connecting({ tls: mine })
      assert.strictEqual(text(yield* ask(byName, port, "x", nothing, "localhost")), "reply to x")
    }))

  it.live("are refused to those without a certificate, or with another authority's, and to plain text", () => {
    const { layer, said } = logged()
    return Effect.gen(function*() {
      const port = yield* serving(echo, { tls: mine, silence: 3_000 })
      const another = makeAuthority()
      const { certificate, key } = another.issue("IP:127.0.0.1")
      // it trusts both
      const forged = yield* connecting({
        tls: { authority: authority.certificate + another.certificate, certificate, key: Redacted.make(key) }
      })
      let sent = 0
      const refused = yield* ask(forged, port, "x", () => sent++)
      assert.isTrue(refused._tag === "NotBegun" && /certificate/.test(refused.why))
      const plain = yield* connecting()
      assert.strictEqual((yield* ask(plain, port, "x", () => sent++))._tag, "NotBegun")
      const without = yield* Effect.acquireRelease(
        Effect.sync(() => {
          const state = { isClosed: false }
          const socket = Tls.connect({ host: "127.0.0.1", port, ca: authority.certificate, ALPNProtocols: ["h2"] })
          socket.on("error", nothing)
          socket.on("close", () => {
            state.isClosed = true
          })
          return { socket, state }
        }),
        ({ socket }) => Effect.sync(() => socket.destroy())
      )
      // who does not even begin with a handshake
      const silent = yield* stranger(port)
      yield* Wait.until("them to be closed", () => without.state.isClosed && silent.state.isClosed)
      assert.strictEqual(sent, 0)
      assert.isTrue(said.some((text) => text.includes("It has no certificate of the authority")))
      assert.isTrue(said.some((text) => text.includes("It does not speak TLS")))
    }).pipe(Effect.provide(layer))
  }, 120_000)

  it.live("are not made with a process of another name, or of another authority, which is said", () =>
    Effect.gen(function*() {
      const connections = yield* connecting({ tls: mine })
      const misnamed = yield* serving(echo, { tls: tlsOf(authority, "DNS:elsewhere.example") })
      const other = yield* ask(connections, misnamed, "x")
      assert.isTrue(other._tag === "NotBegun" && /its certificate is for other names/.test(other.why))
      const another = makeAuthority()
      const foreign = yield* serving(echo, {
        tls: { ...tlsOf(another, "IP:127.0.0.1"), authority: another.certificate }
      })
      const untrusted = yield* ask(connections, foreign, "x")
      assert.isTrue(untrusted._tag === "NotBegun" && /an authority that is not trusted/.test(untrusted.why))
    }))

  it.live("need certificates that others can accept", () =>
    Effect.gen(function*() {
      const { key } = authority.issue("IP:127.0.0.1")
      const problems = [
        [{ ...mine, authority: "ca.pem" }, "127.0.0.1", /'tls.authority' cannot be read as PEM/],
        [{ ...mine, certificate: "" }, "127.0.0.1", /'tls.certificate' cannot be read/],
        [{ ...mine, key: Redacted.make("secret") }, "127.0.0.1", /'tls.key' cannot be read/],
        [{ ...mine, key: Redacted.make(key) }, "127.0.0.1", /the key of another one/],
        [tlsOf(makeAuthority(), "IP:127.0.0.1"), "127.0.0.1", /'tls.certificate' is not of 'tls.authority'/],
        [mine, "db.example", /it is for IP Address:127.0.0.1, DNS:localhost, and the others reach .* 'db.example'/],
        [mine, "192.0.2.1", /the others reach this process as '192.0.2.1'/]
      ] as const
      for (const [tls, host, problem] of problems) {
        const error = yield* Effect.flip(certificatesOf(tls, host))
        assert.match(error.message, problem)
        assert.notInclude(error.message, "secret")
      }
    }))
})
