import { isLoopback } from "@sluice/core/Loopback"
import * as Effect from "effect/Effect"
import type { Options } from "../../ConsumerOptions.ts"
import { InsecureTransport } from "../../GrpcError.ts"
import { parseAddress } from "../address.ts"

/** @internal Fails where plaintext would leave the machine. */
export const checkTransport = (
  { address, insecure, tls }: Pick<Options, "address" | "insecure" | "tls">
): Effect.Effect<void, InsecureTransport> =>
  tls === undefined && insecure !== true && !isLoopback(parseAddress(address).host)
    ? Effect.fail(new InsecureTransport({ address }))
    : Effect.void
