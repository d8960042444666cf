import * as Grpc from "@grpc/grpc-js"
import * as Redacted from "effect/Redacted"
import type { Socket } from "node:net"
import type { ClientTls, ServerTls } from "../Tls.ts"

/** @internal */
export const serverCredentials = (tls: ServerTls | undefined): Grpc.ServerCredentials =>
  tls === undefined ? Grpc.ServerCredentials.createInsecure() : Grpc.ServerCredentials.createSsl(
    buffer(tls.clientAuthority),
    [{ cert_chain: Buffer.from(tls.certificate), private_key: Buffer.from(Redacted.value(tls.key)) }],
    tls.clientAuthority !== undefined
  )

const buffer = (text: string | undefined) => text === undefined ? null : Buffer.from(text)

/** @internal For how long, in milliseconds, whoever has accepted a connection may say nothing. */
export const silence = 10_000

/** @internal */
export const clientCredentials = (tls: ClientTls | undefined): Grpc.ChannelCredentials => {
  if (tls === undefined) return Grpc.credentials.createInsecure()
  return answeredInTime(Grpc.credentials.createSsl(
    buffer(tls.authority),
    buffer(tls.key && Redacted.value(tls.key)),
    buffer(tls.certificate)
  ))
}

/** A detail of the library, which may change. */
interface SecureConnector {
  connect: (socket: Socket) => Promise<unknown>
}

/** The library leaves a socket open on which nobody answers its TLS, also when it has given up the connection. */
const answeredInTime = (credentials: Grpc.ChannelCredentials): Grpc.ChannelCredentials => {
  const internals = credentials as unknown as { _createSecureConnector?: (...args: Array<unknown>) => SecureConnector }
  const create = internals._createSecureConnector
  if (create === undefined) return credentials
  internals._createSecureConnector = (...args) => {
    const connector = create.apply(credentials, args)
    const connect = connector.connect.bind(connector)
    connector.connect = (socket) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          socket.destroy()
          reject(new Error(`TLS was not answered for ${silence / 1000} seconds`))
        }, silence)
        connect(socket).finally(() => clearTimeout(timer)).then(resolve, reject)
      })
    return connector
  }
  return credentials
}
