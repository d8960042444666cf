import type { Contract } from "../../EntityType.ts"
import * as EventCodec from "../../EventCodec.ts"

/** @internal */
export const codecOf = <A>(contract: Contract<A>): EventCodec.EventCodec<A> =>
  "codec" in contract ? contract.codec : EventCodec.json(contract.event)
