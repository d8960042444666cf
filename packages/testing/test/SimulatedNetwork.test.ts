import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventStream from "@sluice/core/EventStream"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import * as Source from "@sluice/core/Source"
import * as Call from "@sluice/grpc/Call"
import * as CallTransport from "@sluice/grpc/CallTransport"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import * as SimulatedNetwork from "@sluice/testing/SimulatedNetwork"
import * as Simulation from "@sluice/testing/Simulation"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"

const value = <A, E>({ exit, trace }: Simulation.Outcome<A, E>): A => {
  if (Exit.isFailure(exit)) throw new Error(`${Cause.pretty(exit.cause)}\n${trace.slice(-60).join("\n")}`)
  return exit.value
}

const seeds = Array.from({ length: 20 }, (_, seed) => seed)

/** What a client hears of a call. */
interface Heard {
  readonly call: Call.OutgoingCall
  readonly messages: Array<string>
  headers: Call.Headers | undefined
  status: Call.Status | undefined
  /** At how many milliseconds it has ended. */
  endedAt: number | undefined
}

/** Makes a call of a server, and reads what comes, unless it is not to. */
const call = (options?: Partial<Call.Request> & { readonly reads?: boolean }) =>
  Effect.gen(function*() {
    const transport = yield* CallTransport.CallTransport
    const channel = yield* transport.connect({ address: "server:1", tls: undefined })
    yield* channel.ready(options?.waitForReady ?? false)
    const { clock } = transport
    const messages: Array<string> = []
    const heard: Omit<Heard, "call"> = { messages, headers: undefined, status: undefined, endedAt: undefined }
    const read = () => {
      for (let next = call.read(); next !== undefined; next = call.read()) messages.push(next.toString())
    }
    const request = { path: "/test/Method", headers: { name: "value" }, waitForReady: false, ...options }
    const call = channel.call(request, {
      headers: (headers) => heard.headers = headers,
      readable: () => options?.reads === false ? undefined : read(),
      ended: (status) => {
        heard.status ??= status
        heard.endedAt ??= Number(clock.monotonicTimeNanosUnsafe()) / 1e6
      }
    })
    return Object.assign(heard, { call, read })
  })

/** A process that listens. */
const serving = (serve: (call: Call.IncomingCall) => void) =>
  Simulation.process(
    "server",
    Effect.gen(function*() {
      const transport = yield* CallTransport.CallTransport
      yield* transport.listen({ address: "0.0.0.0:1", tls: undefined }, [{ path: "/test/Method", serve }])
      return yield* Effect.never
    }).pipe(Effect.provide(SimulatedNetwork.layer))
  )

/** A process that calls, and does nothing more. */
const calling = <A, E>(effect: Effect.Effect<A, E, Simulation.Simulation | Scope.Scope>) =>
  Effect.gen(function*() {
    const result = yield* Deferred.make<A, E>()
    const client = yield* Simulation.process(
      "client",
      Effect.andThen(Deferred.into(effect, result), Effect.never).pipe(Effect.provide(SimulatedNetwork.layer))
    )
    return { client, result: Deferred.await(result) }
  })

const forSeeds = <A>(
  program: Effect.Effect<A, unknown, Simulation.Simulation | Scope.Scope>,
  check: (value: A, seed: number) => void
) => {
  for (const seed of seeds) check(value(Simulation.run(program, { seed, trace: true })), seed)
}

const ok: Call.Status = { code: 0, details: "", trailers: {} }
const text = (n: number): string => String(n).padStart(1000, ".")

/** Whether the server was told before, and after, the client has cancelled its call or was killed. */
const cancelling = (end: "cancel" | "kill") =>
  Effect.gen(function*() {
    let cancelled = false
    yield* serving((call) => call.onCancelled(() => cancelled = true))
    yield* Effect.sleep("1 second")
    const { client, result } = yield* calling(call())
    const heard = yield* result
    yield* Effect.sleep("1 second")
    const before = cancelled
    if (end === "cancel") heard.call.cancel()
    else yield* client.kill
    yield* Effect.sleep("20 seconds")
    return [before, cancelled]
  })

/** What the two ends of a call see through a proxy. */
const misconducting = (misconduct: SimulatedNetwork.Misconduct) =>
  Effect.gen(function*() {
    const served: Array<string> = []
    yield* serving((call) => {
      call.onCancelled(() => served.push("cancelled"))
      call.sendHeaders({ journal: "j" })
      call.receive((bytes) => {
        served.push(bytes.toString())
        call.write(Call.frame(bytes), () => {})
      }, () => served.push("end"))
    })
    yield* SimulatedNetwork.proxy("server", misconduct)
    yield* Effect.sleep("1 second")
    const { result } = yield* calling(call())
    const heard = yield* result
    for (const name of ["a", "b"]) heard.call.write(Buffer.from(name))
    yield* Effect.sleep("10 seconds")
    return { served, headers: heard.headers, messages: heard.messages, code: heard.status?.code }
  })

describe("a call over the simulated network", () => {
  it("has headers, messages in their order in both directions, and a status with trailers", () => {
    const program = Effect.gen(function*() {
      const requests: Array<string> = []
      yield* serving((call) => {
        requests.push(`${call.headers["name"]}`)
        call.sendHeaders({ journal: "j" })
        call.receive((bytes) => {
          requests.push(bytes.toString())
          const frames = [1, 2].map((n) => Call.frame(Buffer.from(`${bytes.toString()}${n}`)))
          call.write(Buffer.concat(frames), () => {})
        }, () => call.end({ code: 5, details: "no more", trailers: { why: "so" } }))
      })
      yield* Effect.sleep("1 second")
      const { result } = yield* calling(Effect.gen(function*() {
        const heard = yield* call()
        for (const name of ["a", "b", "c"]) heard.call.write(Buffer.from(name))
        heard.call.end()
        return heard
      }))
      const heard = yield* result
      yield* Effect.sleep("1 minute")
      return { requests, ...heard }
    })
    forSeeds(program, ({ headers, messages, requests, status }) => {
      assert.deepStrictEqual(requests, ["value", "a", "b", "c"])
      assert.deepStrictEqual(headers, { journal: "j" })
      assert.deepStrictEqual(messages, ["a1", "a2", "b1", "b2", "c1", "c2"])
      assert.deepStrictEqual(status, { code: 5, details: "no more", trailers: { why: "so" } })
    })
  })

  it("holds the server back until the client reads", () => {
    const program = Effect.gen(function*() {
      let written = 0
      yield* serving((call) => {
        let n = 0
        const next = () => {
          if (n === 200) return call.end(ok)
          call.write(Call.frame(Buffer.from(text(++n))), () => {
            written++
            next()
          })
        }
        next()
      })
      yield* Effect.sleep("1 second")
      const { result } = yield* calling(call({ reads: false }))
      const heard = yield* result
      yield* Effect.sleep("1 minute")
      const before = written
      while (heard.status === undefined) {
        heard.read()
        yield* Effect.sleep("1 second")
      }
      heard.read()
      return { before, written, messages: heard.messages, code: heard.status.code }
    })
    forSeeds(program, ({ before, code, messages, written }) => {
      assert.isAtMost(before, 66)
      assert.strictEqual(written, 200)
      assert.deepStrictEqual(messages, Array.from({ length: 200 }, (_, i) => text(i + 1)))
      assert.strictEqual(code, 0)
    })
  })

  it("is cancelled for the server when the client says so, and when it is killed", () => {
    forSeeds(cancelling("cancel"), (cancelled) => assert.deepStrictEqual(cancelled, [false, true]))
    forSeeds(cancelling("kill"), (cancelled) => assert.deepStrictEqual(cancelled, [false, true]))
  })

  it("ends when nobody listens, when there is no such method, and when its time is over", () => {
    const program = Effect.gen(function*() {
      const { result } = yield* calling(Effect.gen(function*() {
        const refused = yield* Effect.flip(call())
        yield* serving(() => {})
        const unknown = yield* call({ path: "/test/Other", waitForReady: true })
        const late = yield* call({ timeout: 5000 })
        yield* Effect.sleep("1 minute")
        return [refused.code, unknown.status?.code, late.status?.code]
      }))
      return yield* result
    })
    forSeeds(program, (codes) => assert.deepStrictEqual(codes, [14, 12, 4]))
  })

  it("goes on when a way that was blocked is healed in time", () => {
    const program = Effect.gen(function*() {
      yield* serving((call) => {
        call.receive((bytes) => call.write(Call.frame(bytes), () => {}), () => call.end(ok))
      })
      yield* Effect.sleep("1 second")
      const { result } = yield* calling(call())
      const heard = yield* result
      heard.call.write(Buffer.from("1"))
      yield* Effect.sleep("1 second")
      yield* SimulatedNetwork.cutOneWay("server", "client")
      for (const n of ["2", "3", "4"]) heard.call.write(Buffer.from(n))
      heard.call.end()
      yield* Effect.sleep("9 seconds")
      const before = [...heard.messages]
      yield* SimulatedNetwork.heal("server", "client")
      yield* Effect.sleep("1 second")
      return { before, messages: heard.messages, status: heard.status }
    })
    forSeeds(program, ({ before, messages, status }) => {
      assert.deepStrictEqual(before, ["1"])
      assert.deepStrictEqual(messages, ["1", "2", "3", "4"])
      assert.deepStrictEqual(status, ok)
    })
  })

  it("is served on for a while when only its client has noticed that the connection has broken", () => {
    const program = Effect.gen(function*() {
      const calls: Array<Call.IncomingCall> = []
      const cancelled: Array<number> = []
      yield* serving((call) => {
        const n = calls.push(call)
        call.onCancelled(() => cancelled.push(n))
      })
      yield* Effect.sleep("1 second")
      const { result } = yield* calling(Effect.gen(function*() {
        const first = yield* call()
        yield* Effect.sleep("1 second")
        yield* SimulatedNetwork.sever("server", "client", { noticedBy: ["client"] })
        yield* Effect.sleep("1 second")
        const second = yield* call()
        yield* Effect.sleep("1 minute")
        const both = [...cancelled]
        for (const call of calls) call.write(Call.frame(Buffer.from("x")), () => {})
        yield* Effect.sleep("1 second")
        return { first: first.status?.code, served: calls.length, both, second: second.messages }
      }))
      return { ...yield* result, cancelled }
    })
    forSeeds(program, (heard) => {
      assert.deepStrictEqual(heard, { first: 14, served: 2, both: [], second: ["x"], cancelled: [1] })
    })
  })

  it("is over for the client of a server that was killed, at once, when nothing has come for long, or never", () => {
    const program = Effect.gen(function*() {
      const server = yield* serving(() => {})
      yield* Effect.sleep("1 second")
      const { result } = yield* calling(call())
      const heard = yield* result
      yield* server.kill
      yield* Effect.sleep("1 minute")
      const { endedAt } = heard
      yield* server.start
      yield* Effect.sleep("1 second")
      heard.call.write(Buffer.from("x"))
      yield* Effect.sleep("1 minute")
      return { endedAt, code: heard.status?.code }
    })
    const kinds = new Set<string>()
    forSeeds(program, ({ code, endedAt }) => {
      // a proxy that answers for the server says nothing of it
      assert.strictEqual(code, endedAt === undefined ? undefined : 14)
      kinds.add(endedAt === undefined ? "never" : endedAt < 5000 ? "at once" : endedAt < 20_000 ? "keepalive" : "later")
    })
    assert.deepStrictEqual([...kinds].toSorted(), ["at once", "keepalive", "never"])
  })

  it("is sent twice by a proxy, and both are cancelled with it", () => {
    const program = Effect.gen(function*() {
      const served: Array<Array<string>> = []
      let cancelled = 0
      yield* serving((call) => {
        const requests: Array<string> = []
        served.push(requests)
        call.onCancelled(() => cancelled++)
        call.receive((bytes) => {
          requests.push(bytes.toString())
          call.write(Call.frame(bytes), () => {})
        }, () => requests.push("end"))
      })
      yield* SimulatedNetwork.proxy("server", "SendsTwice")
      yield* Effect.sleep("1 second")
      const { result } = yield* calling(call())
      const heard = yield* result
      for (const name of ["a", "b"]) heard.call.write(Buffer.from(name))
      heard.call.end()
      yield* Effect.sleep("10 seconds")
      const before = cancelled
      heard.call.cancel()
      yield* Effect.sleep("10 seconds")
      return { served, messages: heard.messages, cancelled: [before, cancelled] }
    })
    forSeeds(program, ({ cancelled, messages, served }) => {
      assert.deepStrictEqual(served, [["a", "b", "end"], ["a", "b", "end"]])
      assert.deepStrictEqual(messages, ["a", "b"])
      assert.deepStrictEqual(cancelled, [0, 2])
    })
  })

  it("breaks after its headers, or has its client's side closed, where a proxy does that", () => {
    forSeeds(misconducting("CutsAfterHeaders"), ({ code, headers, messages, served }) => {
      assert.deepStrictEqual(headers, { journal: "j" })
      assert.deepStrictEqual([messages, code], [[], 14])
      assert.strictEqual(served.at(-1), "cancelled")
    })
    forSeeds(misconducting("EndsRequests"), ({ code, messages, served }) => {
      assert.deepStrictEqual(served, ["a", "end"])
      assert.deepStrictEqual([messages, code], [["a"], undefined])
    })
  })

  it("is slow in one direction", () => {
    const program = Effect.gen(function*() {
      const simulation = yield* Simulation.Simulation
      let servedAt = 0
      yield* serving((call) =>
        call.receive((bytes) => {
          servedAt = Effect.runSync(simulation.elapsed)
          call.write(Call.frame(bytes), () => {})
        }, () => call.end(ok))
      )
      yield* Effect.sleep("1 second")
      const { result } = yield* calling(call())
      const heard = yield* result
      yield* Effect.sleep("1 second")
      yield* SimulatedNetwork.slowOneWay("server", "client", { min: "5 seconds", max: "5 seconds" })
      const begun = yield* simulation.elapsed
      heard.call.write(Buffer.from("a"))
      heard.call.end()
      yield* Effect.sleep("1 minute")
      return [servedAt - begun, heard.endedAt! - begun]
    })
    forSeeds(program, ([there, back]) => {
      assert.isBelow(there!, 1000)
      assert.isTrue(back! >= 5000 && back! < 7000, `${back} ms`)
    })
  })

  it("is accepted and not answered where a connection is half-open", () => {
    const program = Effect.gen(function*() {
      let served = 0
      yield* serving(() => served++)
      yield* SimulatedNetwork.halfOpen("server", true)
      const { result } = yield* calling(call())
      const heard = yield* result
      yield* Effect.sleep("1 minute")
      const before = [served, heard.status?.code]
      yield* SimulatedNetwork.halfOpen("server", false)
      yield* Effect.sleep("1 second")
      return [...before, heard.status?.code]
    })
    const codes = new Set<number | undefined>()
    forSeeds(program, ([served, before, code]) => {
      assert.deepStrictEqual([served, before], [0, undefined])
      codes.add(code)
    })
    assert.deepStrictEqual(codes, new Set([undefined, 14]))
  })
})

const Cart = EntityType.make("cart", { codec: EventCodec.string })
const Carts = EventStream.make("carts", { codec: EventCodec.string })

/** A producer and a consumer in processes of their own, and what the consumer has handled. */
const services = Effect.gen(function*() {
  const makeStorage = Layer.build(Layer.fresh(MemoryStorage.layer))
  const [there, here] = yield* Effect.all([makeStorage, makeStorage])
  const handled: Array<string> = []
  const producer = yield* Simulation.process(
    "producer",
    EventProducer.layer(Carts, Source.journal(Cart)).pipe(
      Layer.provide(GrpcServer.layer({ port: 8101 })),
      Layer.provide([Layer.succeedContext(there), SimulatedNetwork.layer])
    )
  )
  const consumer = yield* Simulation.process(
    "consumer",
    Projection.layer(
      EventConsumer.source(Carts, { address: "producer:8101", insecure: true }).pipe(
        Projection.exactlyOnce(
          "carts",
          ({ event, persistenceId, sequenceNumber }) =>
            Effect.sync(() => void handled.push(`${persistenceId} ${sequenceNumber} ${event}`))
        ),
        Projection.workers(2)
      )
    ).pipe(Layer.provide([Layer.succeedContext(here), SimulatedNetwork.layer]))
  )
  let appended = 0
  return {
    producer,
    consumer,
    handled,
    append: (n: number) =>
      Effect.gen(function*() {
        for (let i = 0; i < n; i++) {
          const id = `c${appended++ % 5}`
          yield* Effect.provide(Journal.append(Cart, { id, events: [`e${appended}`] }), there)
        }
      }),
    /** Waits until all is handled, or for so many seconds, and then a little for what comes twice. */
    settled: Effect.gen(function*() {
      for (let i = 0; i < 240 && handled.length < appended; i++) yield* Effect.sleep("1 second")
      yield* Effect.sleep("20 seconds")
    }),
    expected: () =>
      Array.from({ length: appended }, (_, i) => `cart|c${i % 5} ${Math.floor(i / 5) + 1} e${i + 1}`).toSorted()
  }
})

type Services = Effect.Success<typeof services>

const faults: ReadonlyArray<Effect.Effect<void, never, Simulation.Simulation>> = [
  SimulatedNetwork.cut("producer", "consumer"),
  SimulatedNetwork.cutOneWay("producer", "consumer"),
  SimulatedNetwork.cutOneWay("consumer", "producer"),
  SimulatedNetwork.slow("producer", "consumer", { min: "1 second", max: "5 seconds" }),
  SimulatedNetwork.sever("producer", "consumer"),
  SimulatedNetwork.sever("producer", "consumer", { noticedBy: ["consumer"] }),
  SimulatedNetwork.sever("producer", "consumer", { noticedBy: ["producer"] }),
  Effect.andThen(SimulatedNetwork.halfOpen("producer", true), SimulatedNetwork.sever("producer", "consumer"))
]

const heal = Effect.andThen(
  SimulatedNetwork.heal("producer", "consumer"),
  SimulatedNetwork.halfOpen("producer", false)
)

const program = Effect.gen(function*() {
  const services_: Services = yield* services
  const { append, expected, handled, settled } = services_
  for (let i = 0; i < 6; i++) {
    yield* append(Math.floor(yield* Random.nextBetween(1, 12)))
    yield* Effect.sleep(yield* Random.nextBetween(0, 3000))
    yield* faults[Math.floor(yield* Random.nextBetween(0, faults.length))]!
    yield* append(Math.floor(yield* Random.nextBetween(1, 12)))
    yield* Effect.sleep(yield* Random.nextBetween(0, 40_000))
    yield* heal
  }
  yield* settled
  return { handled, expected: expected() }
})

describe("a projection of another service's stream", () => {
  it("handles each event once, in order, whatever becomes of the network", () => {
    for (let seed = 0; seed < 20; seed++) {
      const { expected, handled } = value(Simulation.run(program, { seed, trace: true }))
      assert.deepStrictEqual(handled.toSorted(), expected, `seed ${seed}`)
      for (let c = 0; c < 5; c++) {
        const numbers = handled.filter((line) => line.startsWith(`cart|c${c} `)).map((line) =>
          Number(line.split(" ")[1])
        )
        assert.deepStrictEqual(numbers, numbers.toSorted((a, b) => a - b), `seed ${seed}`)
      }
    }
  }, 300_000)

  it("goes the same way for the same seed", () => {
    const [first, second, other] = [1, 1, 2].map((seed) => Simulation.run(program, { seed }).fingerprint)
    assert.strictEqual(second, first)
    assert.notStrictEqual(other, first)
  })
})
