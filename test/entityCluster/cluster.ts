/** Processes with entities that come, go, are killed and halted while commands come, and an oracle for what they have done together. */
import { assert } from "@effect/vitest"
import * as EntityCluster from "@sluice/cluster/EntityCluster"
import type { NodeTls } from "@sluice/cluster/NodeTls"
import * as EventSourced from "@sluice/entity/EventSourced"
import { Database } from "@sluice/sql/Database"
import * as Wait from "@sluice/testing/Wait"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { isFull } from "../../packages/testing/src/internal/isFull.ts"
import { makeAuthority } from "../kit/Certificates.ts"
import { nodeArgs } from "../kit/Service.ts"
import { open, type Where } from "../status/open.ts"
import { calls, type Client, nextOperation, type Read, type Said, send, type Told } from "./calls.ts"
import { Ledger } from "./Ledger.ts"
import type { NodeOptions } from "./node.ts"
import { type Verdict, verdict } from "./oracle.ts"

const file = fileURLToPath(new URL("./node.ts", import.meta.url))

/** What is recommended; more where the machine is so busy that a process does not get to renew its leases in time. */
const takeover = process.env["CLUSTER_TAKEOVER"] ?? "6 seconds"

/** How many of these ids belong to a process, it says. */
const shares = 1_024

interface Node {
  readonly name: string
  readonly child: ChildProcess
  share: number
  /** The last of what it has said to the log. */
  log: string
}

/** The processes, and what all callers were told, and have read. */
export interface Cluster {
  readonly start: (name: string, options?: Partial<NodeOptions>) => Effect.Effect<Node, never, Scope.Scope>
  readonly told: Array<Told>
  readonly read: Array<Read>
}

/** Several for each share. */
const entities = isFull ? 10_000 : 2_500

const make = (where: Where): Cluster => {
  const told: Array<Told> = []
  const read: Array<Read> = []
  return {
    told,
    read,
    start: (name, options) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const given: NodeOptions = { callers: 4, entities, ...options }
          const child = spawn(
            process.execPath,
            nodeArgs(file, JSON.stringify(where), name, takeover, JSON.stringify(given))
          )
          const node: Node = { name, child, share: 0, log: "" }
          child.stderr.on("data", (text) => {
            if (process.env["SERVICE_LOG"] !== undefined) process.stderr.write(text)
            node.log = `${node.log}${text}`.slice(-20_000)
          })
          createInterface({ input: child.stdout }).on("line", (line) => {
            // a line may be cut off by SIGKILL
            const said = parsed(line)
            if (said === undefined) return
            if ("share" in said) node.share = said.share
            else note({ told, read }, said)
          })
          child.stdin.on("error", () => {})
          return node
        }),
        (node) => end(node, "SIGKILL")
      )
  }
}

const note = (to: Pick<Cluster, "told" | "read">, said: Said) =>
  void ("told" in said ? to.told.push(said.told) : to.read.push(said.read))

const parsed = (line: string): { readonly share: number } | Said | undefined => {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

const end = ({ child }: Node, how: "SIGKILL" | "asked") =>
  Effect.promise(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, "exit")
    if (how === "asked") child.stdin!.write("stop\n")
    else child.kill(how)
    await exited
  })

/** Waits until each entity belongs to one of these processes, and each of them has some. */
const spread = (...nodes: ReadonlyArray<Node>) =>
  Wait.until(
    `entities to be spread over ${nodes.map(({ name }) => name).join(" and ")}: ${nodes.length}`,
    () =>
      nodes.reduce((sum, { share }) => sum + share, 0) === shares &&
      nodes.every(({ share }) => share >= shares / nodes.length / 3),
    { atMost: "5 minutes" }
  )

const seconds = (millis: number) => `${(millis / 1_000).toFixed(1)} s`

const report = (where: Where, what: string) =>
  Effect.sync(() => console.error(`entities in a cluster, ${where.dialect}: ${what}`))

/** Says how long the effect has taken. */
const timed = <A, E, R>(where: Where, what: string, effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Effect.timed(effect), ([taken]) => report(where, `${what} after ${seconds(Duration.toMillis(taken))}`))

/** The longest that any call has taken that was answered since. */
const longest = (told: ReadonlyArray<Told>, since: number) =>
  told.slice(since).reduce(
    (most, { began, ended, failure }) => failure === undefined ? Math.max(most, ended - began) : most,
    0
  )

const showed = (verdict: Verdict) =>
  `${verdict.events} events; ${verdict.reads} reads; ${verdict.acknowledged} calls acknowledged, ${verdict.rejected} rejected, ${verdict.unknown} unknown, of which ${verdict.executed} were executed`

/** Adds one to each entity. */
const addToAll = (cluster: Cluster, client: Client) =>
  Effect.forEach(
    Array.from({ length: entities }, (_, i) => `l-${i}`),
    (id) =>
      Effect.map(
        send(client, { operation: nextOperation("all"), id, by: 1, parts: 1 }),
        (told) => void cluster.told.push(told)
      ),
    { concurrency: 100, discard: true }
  )

/** Runs the effect with a client of the cluster, which runs in no process of it, and with calls of this client. */
const withClient = <A, E, R>(
  cluster: Cluster,
  effect: (client: Client, stopCalling: Effect.Effect<void>) => Effect.Effect<A, E, R>,
  tls?: NodeTls
) =>
  Effect.gen(function*() {
    const client = yield* EventSourced.client(Ledger)
    const calling = yield* Effect.forkScoped(Effect.replicateEffect(
      calls({ client, name: "caller", entities, pause: 20, tell: (said) => note(cluster, said) }),
      4,
      { concurrency: "unbounded" }
    ))
    return yield* effect(client, Fiber.interrupt(calling))
  }).pipe(
    Effect.provide(
      EntityCluster.layerClient(Ledger).pipe(
        Layer.provide(EntityCluster.layerCaller({ takeover: takeover as Duration.Input, tls }))
      )
    )
  )

const ended = (where: Where, cluster: Cluster, nodes: ReadonlyArray<Node>, stopCalling: Effect.Effect<void>) =>
  Effect.gen(function*() {
    yield* stopCalling
    for (const node of nodes) yield* end(node, "asked")
    const ids = Array.from({ length: entities }, (_, i) => `l-${i}`)
    const result = yield* verdict(cluster.told, cluster.read, ids)
    yield* report(where, showed(result))
    return result
  })

/** They come, go, are killed and halted, and started anew one after the other. */
export const comeAndGo = (where: Where) =>
  Effect.gen(function*() {
    const cluster = make(where)
    const { start, told } = cluster
    const a = yield* start("a")
    yield* timed(where, "one process has all entities", spread(a))
    yield* withClient(cluster, (client, stopCalling) =>
      Effect.gen(function*() {
        yield* timed(where, `one process has added to ${entities}`, addToAll(cluster, client))
        const b = yield* start("b")
        const c = yield* start("c")
        yield* timed(where, "three have a share each", spread(a, b, c))
        yield* timed(where, `three have added to ${entities}`, addToAll(cluster, client))

        let since = told.length
        yield* timed(where, "two have the entities of one that ends,", Effect.andThen(end(b, "asked"), spread(a, c)))
        yield* report(where, `meanwhile the longest call took ${seconds(longest(told, since))}`)

        since = told.length
        yield* timed(where, "one has the entities of one that is killed,", Effect.andThen(end(c, "SIGKILL"), spread(a)))
        yield* Effect.sleep("1 second")
        yield* report(where, `meanwhile the longest call took ${seconds(longest(told, since))}`)

        const d = yield* start("d")
        yield* timed(where, "two have a share each", spread(a, d))
        since = told.length
        // on SQLite one that is halted in a transaction halts everybody
        const halt = Effect.sync(() => d.child.kill("SIGSTOP"))
        yield* where.dialect === "sqlite" ? Database.use(({ withTransaction }) => withTransaction(halt)) : halt
        const share = d.share
        yield* timed(where, "one has the entities of one that is halted,", spread(a))
        assert.strictEqual(d.share, share)
        yield* Effect.sleep("1 second")
        d.child.kill("SIGCONT")
        yield* timed(where, "two have a share each again", spread(a, d))
        yield* report(where, `meanwhile the longest call took ${seconds(longest(told, since))}`)

        // one after the other is replaced, as by a deployment
        since = told.length
        const e = yield* start("e")
        yield* spread(a, d, e)
        yield* end(a, "asked")
        const f = yield* start("f")
        yield* spread(d, e, f)
        yield* end(d, "asked")
        yield* timed(where, "all were replaced", spread(e, f))
        yield* report(where, `meanwhile the longest call took ${seconds(longest(told, since))}`)
        yield* timed(where, `two have added to ${entities}`, addToAll(cluster, client))

        const result = yield* ended(where, cluster, [e, f], stopCalling)
        assert.deepStrictEqual([...result.violations, ...result.staleReads].slice(0, 10), [])
        // what is not known is what hung in a process that was killed
        const failures = told.filter(({ failure }) => failure !== undefined && !failure.includes("TooFew"))
        assert.deepStrictEqual(failures.slice(0, 5), [])
      }))
  }).pipe(Effect.scoped, Effect.provide(open(where)))

/** One is halted with much in hand until another has its entities, and goes on; what is broken of it is said. */
export const halted = (where: Where, options: Partial<NodeOptions>) =>
  Effect.gen(function*() {
    const cluster = make(where)
    // nobody else notices that it is away
    const busy = { ...options, callers: 30, entities: 20 }
    const a = yield* cluster.start("a", busy)
    const b = yield* cluster.start("b", busy)
    yield* spread(a, b)
    return yield* withClient(cluster, (_, stopCalling) =>
      Effect.gen(function*() {
        for (let i = 0; i < 3; i++) {
          a.child.kill("SIGSTOP")
          yield* Wait.until("the other to have all", () => b.share === shares, { atMost: "5 minutes" })
          yield* Effect.sleep("1 second")
          a.child.kill("SIGCONT")
          yield* spread(a, b)
        }
        return yield* ended(where, cluster, [a, b], stopCalling)
      }))
  }).pipe(Effect.scoped, Effect.provide(open(where)))

/** Three know each other by certificates. One with the certificate of another authority does not begin, and a caller with such a one is refused. */
export const withCertificates = (where: Where) =>
  Effect.gen(function*() {
    const [authority, another] = [makeAuthority(), makeAuthority()]
    const tlsOf = (of: typeof authority, trusted: string) => ({ authority: trusted, ...of.issue("IP:127.0.0.1") })
    const asOptions = (tls: ReturnType<typeof tlsOf>): NodeTls => ({ ...tls, key: Redacted.make(tls.key) })
    const mine = () => tlsOf(authority, authority.certificate)
    const cluster = make(where)
    const names = ["a", "b", "c"]
    const nodes = yield* Effect.forEach(names, (name) => cluster.start(name, { tls: mine() }))
    yield* timed(where, "three with certificates have a share each", spread(...nodes))
    /** Each has been answered so often since, of entities that mostly belong to others. */
    const goOn = Effect.suspend(() => {
      const since = cluster.told.length
      const answered = (name: string) =>
        cluster.told.slice(since).filter((told) => told.operation.startsWith(`${name}-`) && told.reply !== undefined)
      return Wait.until(
        "all of them to be answered",
        () => [...names, "caller"].every((name) => answered(name).length >= 30),
        { atMost: "5 minutes" }
      )
    })
    yield* withClient(cluster, (_, stopCalling) =>
      Effect.gen(function*() {
        yield* goOn

        const foreign = yield* cluster.start("d", { tls: tlsOf(another, authority.certificate) })
        yield* Wait.until("the one of another authority to end", () => foreign.child.exitCode !== null, {
          atMost: "5 minutes"
        })
        assert.strictEqual(foreign.child.exitCode, 1)
        assert.include(foreign.log, "InvalidCertificate")
        assert.include(foreign.log, "'tls.certificate' is not of 'tls.authority'")
        assert.strictEqual(foreign.share, 0)

        // it trusts both authorities, so that it is only the others who can tell
        const stranger = tlsOf(another, authority.certificate + another.certificate)
        const refused = yield* EventSourced.client(Ledger).pipe(
          Effect.flatMap((client) => Effect.flip(client("l-1").Read())),
          Effect.provide(
            Layer.fresh(EntityCluster.layerClient(Ledger, { within: "5 seconds" })).pipe(
              Layer.provide(Layer.fresh(EntityCluster.layerCaller({ tls: asOptions(stranger) })))
            )
          )
        )
        assert(refused._tag === "EntityUnreachable")
        assert.isFalse(refused.isUnknown)
        assert.include(refused.message, "certificate")
        yield* Wait.until(
          "the log to say who was refused",
          () =>
            nodes.some(({ log }) =>
              /A client cannot connect from 127\.0\.0\.1\. It has no certificate of the authority/.test(log)
            )
        )

        yield* goOn
        const result = yield* ended(where, cluster, nodes, stopCalling)
        assert.deepStrictEqual([...result.violations, ...result.staleReads].slice(0, 10), [])
        const failures = cluster.told.filter(({ failure }) => failure !== undefined && !failure.includes("TooFew"))
        assert.deepStrictEqual(failures.slice(0, 5), [])
      }), asOptions(mine()))
  }).pipe(Effect.scoped, Effect.provide(open(where)))
