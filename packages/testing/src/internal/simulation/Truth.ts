import type { EncodedEnvelope } from "@sluice/core/Envelope"
import type { AppendRequest } from "@sluice/core/Journal"
import type { Payload } from "@sluice/core/Payload"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import type { Slice } from "@sluice/core/Slice"
import type { Violate } from "./Violate.ts"

/** @internal The journal of an entity type, as it is read by nobody but the auditor. */
export class Truth {
  readonly #logs = new Map<Slice, Array<EncodedEnvelope>>()
  readonly #entities = new Map<PersistenceId, number>()
  /** What was sent, and where it was found, by its content. */
  readonly #sent: Map<Payload | undefined, { readonly request: AppendRequest; found: EncodedEnvelope | undefined }>
  readonly #violate: Violate

  constructor(
    sent: Map<Payload | undefined, { readonly request: AppendRequest; found: EncodedEnvelope | undefined }>,
    violate: Violate
  ) {
    this.#sent = sent
    this.#violate = violate
  }

  get slices(): Iterable<Slice> {
    return this.#logs.keys()
  }

  log(slice: Slice): ReadonlyArray<EncodedEnvelope> {
    return this.#logs.get(slice) ?? []
  }

  take(events: ReadonlyArray<EncodedEnvelope>): void {
    for (const event of events) {
      const { payload, persistenceId, position, sequenceNumber, slice, timestamp } = event
      const log = this.#logs.get(slice) ?? []
      this.#logs.set(slice, log)
      const last = log.at(-1)
      const text = describe(event)
      if (position !== log.length + 1) {
        this.#violate("positions are dense", `after ${log.length} of slice ${slice} comes ${position}, ${text}`)
      }
      if (last !== undefined && timestamp <= last.timestamp) {
        this.#violate("timestamps rise", `${timestamp} comes after ${last.timestamp}, ${text}`)
      }
      const before = this.#entities.get(persistenceId) ?? 0
      if (sequenceNumber !== before + 1) this.#violate("sequence numbers are dense", `after ${before} comes ${text}`)
      const sent = this.#sent.get(payload)
      if (sent?.found !== undefined) {
        this.#violate("an append is written once", `${text} is also ${describe(sent.found)}`)
      }
      if (sent !== undefined) sent.found = event
      log.push(event)
      this.#entities.set(persistenceId, sequenceNumber)
    }
  }
}

/** @internal */
export const describe = (
  { persistenceId, position, sequenceNumber, slice }: Pick<
    EncodedEnvelope,
    "persistenceId" | "position" | "sequenceNumber" | "slice"
  >
): string => `event ${sequenceNumber} of '${persistenceId}' at ${position} of slice ${slice}`
