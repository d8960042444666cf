import * as Grpc from "@grpc/grpc-js"
import * as Redacted from "effect/Redacted"
import type { Socket } from "node:net"
import type { Target } from "../../Call.ts"
import type { ServerTls } from "../../Tls.ts"
import { explainClosed, explainToClient } from "./handshake.ts"
import { answerWithin, endSilent } from "./life.ts"

/** @internal */
export const serverCredentials = (tls: ServerTls | undefined): Grpc.ServerCredentials =>
  tls === undefined ? Grpc.ServerCredentials.createInsecure() : Grpc.ServerCredentials.createSsl(
    buffer(tls.clientAuthority),
    [{ cert_chain: Buffer.from(tls.certificate), private_key: Buffer.from(Redacted.value(tls.key)) }],
    tls.clientAuthority !== undefined
  )

const buffer = (text: string | undefined) => text === undefined ? null : Buffer.from(text)

/** @internal The connections that are made are in the set for as long as they are open. */
export const clientCredentials = ({ silence, tls }: Target, sockets: Set<Socket>): Grpc.ChannelCredentials =>
  closingSilent(
    tls === undefined ? Grpc.credentials.createInsecure() : Grpc.credentials.createSsl(
      buffer(tls.authority),
      buffer(tls.key && Redacted.value(tls.key)),
      buffer(tls.certificate)
    ),
    sockets,
    silence
  )

/** What the library connects with. It is a detail, which may change. */
interface SecureConnector {
  connect: (socket: Socket) => Promise<{ readonly socket: Socket }>
}

/**
 * The library leaves a socket open on which nobody answers, be it TLS or HTTP/2, also when it has given up the connection. This closes
 * it, and one on which nothing comes any more.
 */
const closingSilent = (
  credentials: Grpc.ChannelCredentials,
  sockets: Set<Socket>,
  silence: number | undefined
): Grpc.ChannelCredentials => {
  const internals = credentials as unknown as { _createSecureConnector?: (...args: Array<unknown>) => SecureConnector }
  const create = internals._createSecureConnector
  if (create === undefined) return credentials
  internals._createSecureConnector = (...args) => {
    const connector = create.apply(credentials, args)
    const connect = connector.connect.bind(connector)
    connector.connect = async (socket) => {
      const unanswered = setTimeout(() => socket.destroy(), answerWithin(silence))
      const closed = new Promise<never>((_, reject) => {
        socket.once("close", () => reject(new Error("The connection was closed before it was secure")))
      })
      try {
        const connected = await Promise.race([connect(socket), closed])
        explainClosed(connected.socket, connected.socket !== socket)
        const before = connected.socket.bytesRead
        const silent = setTimeout(() => {
          if (connected.socket.bytesRead === before) connected.socket.destroy()
        }, answerWithin(silence) + 1000)
        const stop = endSilent(() => connected.socket.bytesRead, () => connected.socket.destroy(), silence)
        sockets.add(connected.socket)
        socket.once("close", () => {
          clearTimeout(silent)
          stop()
          sockets.delete(connected.socket)
        })
        silent.unref()
        return connected
      } catch (error) {
        explainToClient(error)
        throw error
      } finally {
        clearTimeout(unanswered)
        closed.catch(() => {})
      }
    }
    return connector
  }
  return credentials
}
