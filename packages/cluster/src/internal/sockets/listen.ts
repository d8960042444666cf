import * as RealTime from "@sluice/sql/adapter/RealTime"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import * as Tls from "node:tls"
import { ListenError } from "../../ListenError.ts"
import type { NodeTls } from "../../NodeTls.ts"
import { encode, type Frame } from "./FrameReader.ts"
import { connectWithin, kinds, maxBytes, maxHelloBytes, protocol } from "./kinds.ts"
import { Link } from "./Link.ts"
import { MemoryBudget } from "./MemoryBudget.ts"

/** Connections at once. Each process that calls has one. */
const maxConnections = 1_000

/** Commands of one connection that are in hand at once; the others stay where they are. */
const maxInHand = 1_000

/** A frame that is larger than this is only read while there is memory for it. */
const largeBytes = 64 * 1024

/** The commands of all connections that are in hand, or half read. */
const budgetBytes = 64 * 1024 * 1024

/** For how long, in milliseconds, a frame may take to come once its first bytes have. */
const frameWithin = 30_000

/** How long the end of a process waits for its last replies to be read. */
const closeWithin = "1 second"
const nothing = Buffer.alloc(0)

/** For how many milliseconds the same is not said again. */
const quietFor = 60_000

/**
 * @internal
 * What is done with a command: the effect gives the body of the reply, and never fails. It is interrupted when whoever has sent the command has gone, or
 * waits no longer.
 */
export type Serve = (command: Buffer) => Effect.Effect<string>

/** @internal Listens for as long as the scope, and gives the port. */
export const listen = (options: {
  readonly host: string
  readonly port: number
  readonly tls: NodeTls | undefined
  /** For how long, in milliseconds, another process may say nothing. */
  readonly silence: number
  /** How this process is called by the others, which they have to know. */
  readonly isMe: (name: string) => boolean
  readonly serve: Serve
}): Effect.Effect<number, ListenError, Scope.Scope> =>
  Effect.contextWith((context: Context.Context<never>) =>
    Effect.suspend(() => {
      const { host, port, tls } = options
      const failed = (cause: unknown) => new ListenError({ host, port, cause })
      const links = new Set<Link>()
      const sockets = new Set<Net.Socket>()
      const budget = new MemoryBudget(budgetBytes)
      const say = makeLog(context)
      const run = Effect.runForkWith(context)
      const accept = (socket: Net.Socket) => serveLink(socket, { ...options, budget, links, run, say })
      const make = () => {
        const server = tls === undefined ? Net.createServer(accept) : Tls.createServer({
          ca: tls.authority,
          cert: tls.certificate,
          key: Redacted.value(tls.key),
          requestCert: true,
          rejectUnauthorized: true,
          minVersion: "TLSv1.2",
          handshakeTimeout: connectWithin
        }, accept)
        server.maxConnections = maxConnections
        // before they are secure, too
        server.on("connection", (socket: Net.Socket) => {
          sockets.add(socket)
          socket.once("close", () => sockets.delete(socket))
        })
        server.on("tlsClientError", (error: Error, socket: Net.Socket) => {
          say(
            `Refuses ${
              socket.remoteAddress ?? "somebody"
            }, whose certificate is none of the cluster's: ${error.message}`
          )
          socket.destroy()
        })
        server.on("drop", () => say(`Refuses connections, as it has ${maxConnections}`))
        return server
      }
      const open = Effect.callback<Net.Server, ListenError>((resume) => {
        let server: Net.Server
        try {
          server = make()
        } catch (cause) {
          return resume(Effect.fail(failed(cause)))
        }
        const refused = (cause: Error) => resume(Effect.fail(failed(cause)))
        server.once("error", refused)
        server.listen({ host, port }, () => {
          server.off("error", refused)
          server.on("error", (error) => say(`Cannot accept a connection: ${error.message}`))
          resume(Effect.succeed(server))
        })
      })
      // replies that are on their way arrive, unless nobody reads them
      const close = (server: Net.Server) =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          for (const link of links) link.close("this process ends", nothing)
        }).pipe(
          Effect.timeoutOption(closeWithin),
          RealTime.provide,
          Effect.andThen(Effect.sync(() => {
            for (const socket of sockets) socket.destroy()
          }))
        )
      return Effect.map(
        Effect.acquireRelease(open, close),
        (server) => (server.address() as Net.AddressInfo).port
      )
    })
  )

/** Says the same once a minute. */
const makeLog = (context: Context.Context<never>): (text: string) => void => {
  const run = Effect.runForkWith(context)
  let last = { text: "", at: -Infinity }
  return (text) => {
    const at = RealTime.now()
    if (text === last.text && at - last.at < quietFor) return
    last = { text, at }
    run(Effect.logWarning(text))
  }
}

/** A command that is in hand. */
interface InHand {
  readonly bytes: number
  fiber?: Fiber.Fiber<string>
}

const serveLink = (socket: Net.Socket, { budget, isMe, links, run, say, serve, silence }: {
  readonly silence: number
  readonly isMe: (name: string) => boolean
  readonly serve: Serve
  readonly budget: MemoryBudget
  readonly links: Set<Link>
  readonly run: <A>(effect: Effect.Effect<A>) => Fiber.Fiber<A>
  readonly say: (text: string) => void
}): void => {
  const inHand = new Map<number, InHand>()
  let isWelcome = false
  /** What is set aside for the frame that is coming. */
  let reserved = 0
  /** Why nothing is read at the moment. */
  const waits = { forMemory: false, forReader: false, forCommands: false }
  let stopWaiting: (() => void) | undefined
  let stopFrame: (() => void) | undefined

  const end = (id: number) => {
    const entry = inHand.get(id)
    if (entry === undefined) return
    inHand.delete(id)
    budget.give(entry.bytes)
    if (waits.forCommands && inHand.size < maxInHand) {
      waits.forCommands = false
      link.resume()
    }
  }

  const begin = ({ body, id }: Frame) => {
    if (inHand.has(id)) return link.close("a command has the number of another")
    const entry: InHand = { bytes: body.byteLength }
    budget.take(entry.bytes)
    inHand.set(id, entry)
    entry.fiber = run(serve(body))
    entry.fiber.addObserver((exit: Exit.Exit<string>) => {
      if (inHand.get(id) === entry && exit._tag === "Success") link.send(kinds.reply, id, exit.value)
      end(id)
      if (link.isCrowded && !waits.forReader && !link.isClosed) {
        waits.forReader = true
        link.pause()
        link.onceRead(() => {
          waits.forReader = false
          link.resume()
        })
      }
    })
    if (inHand.size >= maxInHand && !waits.forCommands) {
      waits.forCommands = true
      link.pause()
    }
  }

  const hello = ({ body, kind }: Frame) => {
    const [version, name] = kind === kinds.hello ? body.toString().split("\n") : []
    const why = version !== protocol
      ? `it speaks ${protocol}`
      : name === undefined || !isMe(name)
      ? "it is not the process that was meant: that one has ended"
      : undefined
    if (why !== undefined) return link.close(why, encode(kinds.refused, 0, why))
    isWelcome = true
    stopHello()
    link.allow(maxBytes)
    link.send(kinds.welcome, 0)
  }

  const waitForMemory = () => {
    if (waits.forMemory) return
    waits.forMemory = true
    link.pause()
    stopWaiting = budget.onceLeft(() => {
      waits.forMemory = false
      link.resume()
    })
  }

  /** What is half read has a place, and a while. */
  const onProgress = () => {
    const { announced } = link
    if (announced === 0) {
      stopFrame?.()
      stopFrame = undefined
    } else {
      stopFrame ??= RealTime.after(frameWithin, () => link.close(`a frame has not come within ${frameWithin} ms`))
    }
    const needed = announced > largeBytes ? announced : 0
    if (needed !== reserved) {
      budget.give(reserved)
      reserved = needed
      budget.take(reserved)
    }
    if (budget.isExhausted && reserved === 0) waitForMemory()
  }

  const link = new Link(socket, {
    limit: maxHelloBytes,
    silence,
    onProgress,
    onFrame: (frame) => {
      if (!isWelcome) return hello(frame)
      switch (frame.kind) {
        case kinds.command:
          return begin(frame)
        case kinds.cancel: {
          inHand.get(frame.id)?.fiber?.interruptUnsafe()
          return
        }
        default:
          return link.close(`a frame of kind ${frame.kind} means nothing`)
      }
    },
    onClose: (why) => {
      links.delete(link)
      stopHello()
      stopFrame?.()
      stopWaiting?.()
      budget.give(reserved)
      reserved = 0
      if (!isWelcome) say(`Gives up a connection from ${peer} that has not said what it wants: ${why}`)
      for (const { fiber } of inHand.values()) fiber?.interruptUnsafe()
    }
  })
  const { peer } = link
  const stopHello = RealTime.after(connectWithin, () => link.close(`no hello within ${connectWithin} ms`))
  links.add(link)
}
