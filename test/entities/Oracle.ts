/** What was asked of ledgers and answered, held against the journal. */
import * as Journal from "@sluice/core/Journal"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Ledger, type State } from "./Ledgers.ts"

/** A command, as it is sent to a process. */
export interface Asked {
  readonly n: number
  readonly id: string
  readonly token: string
  readonly amount: number
  readonly commandId: string | undefined
}

/** What a process answers. */
export interface Answer {
  readonly n: number
  readonly answer:
    | { readonly _tag: "Replied"; readonly reply: typeof State.Type }
    | { readonly _tag: "Refused" }
    | { readonly _tag: "Failed"; readonly error: string; readonly isUnknown: boolean; readonly message: string }
}

export class Oracle {
  /** What each command was replied, by its token. */
  readonly #replied = new Map<string, { readonly id: string; readonly reply: typeof State.Type }>()
  readonly #refused = new Set<string>()
  readonly #ids = new Set<string>()
  readonly #seen: Array<{ readonly id: string; readonly state: typeof State.Type }> = []
  readonly wrong: Array<string> = []

  get replied(): number {
    return this.#replied.size
  }

  asked({ id }: Pick<Asked, "id">): void {
    this.#ids.add(id)
  }

  /** What a command that only reads was replied. */
  seen(id: string, state: typeof State.Type): void {
    this.#seen.push({ id, state })
  }

  answered({ id, token }: Pick<Asked, "id" | "token">, answer: Answer["answer"]): void {
    if (answer._tag === "Failed") return
    if (answer._tag === "Refused") {
      this.#refused.add(token)
      return
    }
    const { reply } = answer
    const before = this.#replied.get(token)
    if (before === undefined) this.#replied.set(token, { id, reply })
    else if (JSON.stringify(before.reply) !== JSON.stringify(reply)) {
      this.wrong.push(`${token} was replied ${JSON.stringify(before.reply)}, and then ${JSON.stringify(reply)}`)
    }
  }

  /** What is not as it has to be: numbers are dense, and each command is executed once, and replied what it has led to. */
  readonly verdict: Effect.Effect<ReadonlyArray<string>, unknown, Journal.Journal> = Effect.gen(
    { self: this },
    function*() {
      const wrong = [...this.wrong]
      const states = new Map<string, Array<typeof State.Type>>()
      const executed = new Map<string, { readonly id: string; readonly after: typeof State.Type }>()
      for (const id of this.#ids) {
        let count = 0
        let total = 0
        let last = ""
        const after = [{ count, total }]
        states.set(id, after)
        for (const { event, sequenceNumber } of yield* Stream.runCollect(Journal.read(Ledger, id))) {
          const { amount, token } = event
          if (sequenceNumber !== ++count) wrong.push(`event ${count} of ${id} has number ${sequenceNumber}`)
          total += amount
          if (token !== last && executed.has(token)) wrong.push(`${token} was executed twice`)
          last = token
          after.push({ count, total })
          executed.set(token, { id, after: { count, total } })
        }
      }
      for (const [token, { id, reply }] of this.#replied) {
        const found = executed.get(token)
        if (found === undefined) wrong.push(`${token} of ${id} was acknowledged, and is lost`)
        else if (found.id !== id || found.after.count !== reply.count || found.after.total !== reply.total) {
          wrong.push(`${token} has led to ${JSON.stringify(found)}, and was replied ${JSON.stringify(reply)}`)
        }
      }
      for (const { id, state } of this.#seen) {
        if (states.get(id)?.[state.count]?.total === state.total) continue
        wrong.push(`${id} was shown as ${JSON.stringify(state)}, and never was so`)
      }
      for (const token of this.#refused) if (executed.has(token)) wrong.push(`${token} was refused, and executed`)
      return wrong
    }
  )
}
