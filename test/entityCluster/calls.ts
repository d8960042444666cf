/** Calls of ledgers at random, some with an id, some of them again, and what has come of them. */
import type { Commands } from "@sluice/entity/Entity"
import type { EntityClient } from "@sluice/entity/EntityClient"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Ledger } from "./Ledger.ts"

export type Client = EntityClient<Commands<typeof Ledger>>

/** What is to be added to which ledger. */
export interface Operation {
  readonly operation: string
  readonly id: string
  readonly by: number
  readonly parts: number
  readonly commandId?: string
}

/** What has come of it. */
export interface Told extends Operation {
  /** The total after it, and the number of its last event; nothing where it was not acknowledged. */
  readonly reply?: number
  readonly sequenceNumber?: number | undefined
  /** Why not. */
  readonly failure?: string
  /** Whether it may have been executed nevertheless. */
  readonly isUnknown?: boolean
  /** In milliseconds. */
  readonly took: number
}

let operations = 0
const process_ = `${process.pid}-${Date.now().toString(36)}`

export const nextOperation = (name: string): string => `${name}-${process_}-${operations++}`

export const send = (client: Client, operation: Operation): Effect.Effect<Told> =>
  Effect.suspend(() => {
    const began = performance.now()
    const { by, commandId, id, operation: name, parts } = operation
    return Effect.map(
      Effect.exit(client(id).Add.withReceipt({ operation: name, by, parts }, { commandId })),
      (exit): Told => {
        const told = { ...operation, took: Math.round(performance.now() - began) }
        if (Exit.isSuccess(exit)) {
          const { receipt, reply } = exit.value
          return { ...told, reply, sequenceNumber: receipt?.sequenceNumber }
        }
        const error = Cause.squash(exit.cause) as {
          readonly _tag?: string
          readonly isUnknown?: boolean
          readonly message?: string
        }
        return {
          ...told,
          failure: `${error._tag ?? "defect"}: ${error.message ?? ""}`,
          isUnknown: error._tag === "TooFew" ? false : error.isUnknown ?? true
        }
      }
    )
  })

/** Calls that never end. An operation with an id is sent again at times, at once or after the answer. */
export const calls = ({ client, entities, name, pause, tell }: {
  readonly client: Client
  readonly name: string
  readonly entities: number
  readonly tell: (told: { readonly told: Told }) => void
  /** How long each waits between its calls, in milliseconds, at most. */
  readonly pause: number
}): Effect.Effect<never> =>
  Effect.forever(Effect.suspend(() => {
    const operation: Operation = {
      operation: nextOperation(name),
      // a few of them are busy
      id: `l-${Math.floor(Math.random() * (Math.random() < 0.3 ? 20 : entities))}`,
      by: Math.random() < 0.1 ? -2 : 1,
      parts: Math.random() < 0.2 ? 3 : 1,
      ...(Math.random() < 0.5 ? { commandId: crypto.randomUUID() } : {})
    }
    const once = Effect.map(send(client, operation), (told) => tell({ told }))
    const chance = Math.random()
    const sent = operation.commandId === undefined || chance < 0.5
      ? once
      : chance < 0.75
      ? Effect.andThen(once, once)
      : Effect.all([once, once], { concurrency: 2, discard: true })
    return Effect.andThen(sent, Effect.sleep(Math.random() * pause))
  }))
