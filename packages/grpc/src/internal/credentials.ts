import * as Grpc from "@grpc/grpc-js"
import * as Redacted from "effect/Redacted"
import type { ClientTls, ServerTls } from "../Tls.ts"

/** @internal */
export const serverCredentials = (tls: ServerTls | undefined): Grpc.ServerCredentials =>
  tls === undefined ? Grpc.ServerCredentials.createInsecure() : Grpc.ServerCredentials.createSsl(
    buffer(tls.clientAuthority),
    [{ cert_chain: Buffer.from(tls.certificate), private_key: Buffer.from(Redacted.value(tls.key)) }],
    tls.clientAuthority !== undefined
  )

const buffer = (text: string | undefined) => text === undefined ? null : Buffer.from(text)

/** @internal */
export const clientCredentials = (tls: ClientTls | undefined): Grpc.ChannelCredentials => {
  if (tls === undefined) return Grpc.credentials.createInsecure()
  return Grpc.credentials.createSsl(
    buffer(tls.authority),
    buffer(tls.key && Redacted.value(tls.key)),
    buffer(tls.certificate)
  )
}
