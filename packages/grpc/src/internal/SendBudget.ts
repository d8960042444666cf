import * as Grpc from "@grpc/grpc-js"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import type { ReadBudget } from "@sluice/core/ReadBudget"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Status } from "./status.ts"

const mebibyte = 1024 * 1024

/** What the streams of a connection, and of a server, hold at most of what they have read and their consumers have not. */
const maxConnectionBytes = 32 * mebibyte
const maxServerBytes = 128 * mebibyte

/** What is taken for a page before it is known how large it is. */
const pageBytes = 4 * mebibyte

/** What an event weighs beside its payload, roughly. */
const overhead = 200

/** For how long, in milliseconds, a stream may stand still that holds memory which another one waits for. */
const patience = 10_000

/** For how long, in milliseconds, a stream waits for memory. */
const maxWait = 2 * patience

const tooSlow = new Status(
  Grpc.status.RESOURCE_EXHAUSTED,
  "this consumer does not read, and other streams wait for the memory that its events take: connect again when it does"
)
const noRoom = new Status(
  Grpc.status.RESOURCE_EXHAUSTED,
  "other streams hold all the memory that there is for events on their way: try again later"
)

/** One stream's part of the budget. */
export interface Share {
  /** For the source of the stream. */
  readonly reading: ReadBudget
  /** Something has been sent. */
  readonly progressed: () => void
  /** Ends when others need what the stream holds, as it stands still, or there is nothing for it. */
  readonly refused: Effect.Effect<never, Status>
}

interface Holder {
  readonly connection: Connection
  readonly refused: Deferred.Deferred<never, Status>
  held: number
  /** When it did something last, by the clock of this process. */
  progressed: number
}

interface Connection {
  held: number
  holders: number
}

interface Waiter {
  readonly holder: Holder
  readonly since: number
  readonly go: () => void
}

/**
 * @internal
 * The memory of a server for what it has read and its consumers have not. Who finds no room waits; who stands still while others wait
 * is ended, as its consumer can connect again.
 */
export class SendBudget {
  readonly #connections = new Map<string, Connection>()
  readonly #holders = new Set<Holder>()
  readonly #waiting = new Set<Waiter>()
  #held = 0
  #timer: NodeJS.Timeout | undefined

  /** The share of a stream, whose peer tells which connection it is on, for as long as the scope. */
  share(peer: string): Effect.Effect<Share, never, Scope.Scope> {
    return Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => {
          let connection = this.#connections.get(peer)
          if (connection === undefined) this.#connections.set(peer, connection = { held: 0, holders: 0 })
          connection.holders++
          const holder = { connection, refused: Deferred.makeUnsafe<never, Status>(), held: 0, progressed: 0 }
          this.#holders.add(holder)
          return holder
        }),
        (holder) =>
          Effect.sync(() => {
            this.#holders.delete(holder)
            if (--holder.connection.holders === 0) this.#connections.delete(peer)
            this.#hold(holder, 0)
          })
      ),
      (holder): Share => ({
        reading: {
          read: (page) =>
            Effect.suspend(() => {
              this.#hold(holder, 0)
              const read = Effect.tap(page, (events) => Effect.sync(() => this.#hold(holder, bytesOf(events))))
              return this.#take(holder) ? read : Effect.andThen(this.#wait(holder), read)
            })
        },
        progressed: () => {
          holder.progressed = performance.now()
        },
        refused: Deferred.await(holder.refused)
      })
    )
  }

  #take(holder: Holder): boolean {
    if (!this.#hasRoom(holder)) return false
    holder.progressed = performance.now()
    this.#hold(holder, pageBytes)
    return true
  }

  #hasRoom({ connection }: Holder): boolean {
    return connection.held + pageBytes <= maxConnectionBytes && this.#held + pageBytes <= maxServerBytes
  }

  #hold(holder: Holder, bytes: number): void {
    const more = bytes - holder.held
    if (more === 0) return
    holder.held = bytes
    holder.connection.held += more
    this.#held += more
    if (more > 0 || this.#waiting.size === 0) return
    for (const waiter of this.#waiting) {
      if (this.#held + pageBytes > maxServerBytes) return
      if (this.#take(waiter.holder)) waiter.go()
    }
  }

  #wait(holder: Holder): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      const leave = () => {
        this.#waiting.delete(waiter)
        if (this.#waiting.size > 0) return
        clearInterval(this.#timer)
        this.#timer = undefined
      }
      const waiter: Waiter = {
        holder,
        since: performance.now(),
        go: () => {
          leave()
          resume(Effect.void)
        }
      }
      this.#waiting.add(waiter)
      this.#timer ??= setInterval(() => this.#look(), patience / 10)
      return Effect.sync(leave)
    })
  }

  /** Ends streams that stand still and hold what others wait for, and those that have waited for too long. */
  #look(): void {
    const now = performance.now()
    const full = new Set<Connection>()
    for (const { holder: { connection } } of this.#waiting) {
      if (connection.held + pageBytes > maxConnectionBytes) full.add(connection)
    }
    const isFull = this.#held + pageBytes > maxServerBytes
    for (const { connection, held, progressed, refused } of this.#holders) {
      if (held === 0 || now - progressed < patience || !isFull && !full.has(connection)) continue
      Deferred.doneUnsafe(refused, Effect.fail(tooSlow))
    }
    for (const { holder: { refused }, since } of this.#waiting) {
      if (now - since >= maxWait) Deferred.doneUnsafe(refused, Effect.fail(noRoom))
    }
  }
}

/** What a page takes: its events, and the message that the largest of them becomes. */
const bytesOf = (events: ReadonlyArray<EncodedEnvelope>): number => {
  let all = 0
  let largest = 0
  for (const { payload } of events) {
    const bytes = payload?.bytes.length ?? 0
    all += overhead + bytes
    if (bytes > largest) largest = bytes
  }
  return all + largest
}
