/** Calls of ledgers at random, some with an id, some of them again, some that only read, and what has come of them. */
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

/** When a call was made, and when it was answered, in milliseconds by the machine's clock, which is the same for all processes. */
interface Times {
  readonly began: number
  readonly ended: number
}

const now = (): number => Number(process.hrtime.bigint() / 1_000n) / 1_000

/** What has come of it. */
export interface Told extends Operation, Times {
  /** The total after it, and the number of its last event; nothing where it was not acknowledged. */
  readonly reply?: number
  readonly sequenceNumber?: number | undefined
  /** Why not. */
  readonly failure?: string
  /** Whether it may have been executed nevertheless. */
  readonly isUnknown?: boolean
}

/** What was read. */
export interface Read extends Times {
  readonly id: string
  readonly total: number
  readonly events: number
}

/** What a caller says. A read that fails says nothing. */
export type Said = { readonly told: Told } | { readonly read: Read }

let operations = 0
const process_ = `${process.pid}-${Date.now().toString(36)}`

export const nextOperation = (name: string): string => `${name}-${process_}-${operations++}`

export const send = (client: Client, operation: Operation): Effect.Effect<Told> =>
  Effect.suspend(() => {
    const began = now()
    const { by, commandId, id, operation: name, parts } = operation
    return Effect.map(
      Effect.exit(client(id).Add.withReceipt({ operation: name, by, parts }, { commandId })),
      (exit): Told => {
        const told = { ...operation, began, ended: now() }
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

const read = (client: Client, id: string, tell: (read: Read) => void): Effect.Effect<void> =>
  Effect.suspend(() => {
    const began = now()
    return Effect.ignore(Effect.map(client(id).Read(), (state) => tell({ ...state, id, began, ended: now() })))
  })

/** Calls that never end. An operation with an id is sent again at times, at once or after the answer. */
export const calls = ({ client, entities, name, pause, tell }: {
  readonly client: Client
  readonly name: string
  readonly entities: number
  readonly tell: (said: Said) => void
  /** How long each waits between its calls, in milliseconds, at most. */
  readonly pause: number
}): Effect.Effect<never> =>
  Effect.forever(Effect.suspend(() => {
    // a few of them are busy
    const id = `l-${Math.floor(Math.random() * (Math.random() < 0.3 ? 20 : entities))}`
    const rest = Effect.sleep(Math.random() * pause)
    if (Math.random() < 0.3) return Effect.andThen(read(client, id, (read) => tell({ read })), rest)
    const operation: Operation = {
      operation: nextOperation(name),
      id,
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
    return Effect.andThen(sent, rest)
  }))
