import * as Grpc from "@grpc/grpc-js"
import { type EncodedEnvelope, sizeOf } from "@sluice/core/Envelope"
import type { ReadBudget } from "@sluice/core/ReadBudget"
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Status } from "../wire/status.ts"
import type { Run } from "./Run.ts"

const mebibyte = 1024 * 1024

/** What the streams of a connection, and of a server, hold at most of what they have read and their consumers have not. */
const maxConnectionBytes = 32 * mebibyte
const maxServerBytes = 128 * mebibyte

/** What is taken for a page before it is known how large it is, which a page has at most but for its last event. */
const pageBytes = 4 * mebibyte

/** What an event weighs beside its content, roughly. */
const overhead = 200

/** For how long, in milliseconds, a stream's consumer may not read while others wait for the memory that the stream holds. */
const patience = 10_000

const tooSlow = new Status(
  Grpc.status.RESOURCE_EXHAUSTED,
  "this consumer does not read, and other streams wait for the memory that its events take: connect again when it does"
)

/** One stream's part of the budget. */
export interface Share {
  /** The network's, which heartbeats go by. */
  readonly clock: Clock.Clock
  /** Runs what may outlive the stream, and not the server. */
  readonly run: Run
  /** For the source of the stream. */
  readonly reading: ReadBudget
  /** The consumer has taken so many bytes, or something was written, and whether something is still to be taken. */
  readonly wrote: (isPending: boolean, taken: number) => void
  /** Ends when others need what the stream holds, as it stands still. */
  readonly refused: Effect.Effect<never, Status>
}

interface Holder {
  readonly connection: Connection
  readonly refused: Deferred.Deferred<never, Status>
  held: number
  /** What an event of its last page weighs on average. */
  eventBytes: number | undefined
  /** Since when its consumer has taken nothing of what is written, in monotonic milliseconds; undefined where it has taken all. */
  stillSince: number | undefined
  isEnded: boolean
}

interface Connection {
  held: number
  holders: number
  /** How many of them hold something, or wait for it. */
  busy: number
}

interface Waiter {
  readonly holder: Holder
  readonly go: () => void
}

/**
 * @internal
 * The memory of a server for what it has read and its consumers have not. Half of it is shared out in equal parts, to connections and
 * to their busy streams, and pages are as large as these, so that there is room for those that become busy. Who finds no room all the
 * same, as events are larger than that, waits. If others wait, streams whose consumers take nothing are ended, until there is room. A
 * stream that holds less than half of its part is spared. A consumer whose stream was ended can connect again.
 */
export class SendBudget {
  readonly #connections = new Map<string, Connection>()
  readonly #holders = new Set<Holder>()
  readonly #waiting = new Set<Waiter>()
  readonly #clock: Clock.Clock
  readonly #run: Run
  #held = 0
  /** What an event of the last page of any stream weighs on average. */
  #eventBytes = 0
  #isLooking = false
  #isGranting = false

  /** By the clock of the network. What it runs looks after those who wait. */
  constructor(clock: Clock.Clock, run: Run) {
    this.#clock = clock
    this.#run = run
  }

  /** The share of a stream, whose peer tells which connection it is on, for as long as the scope. */
  share(peer: string): Effect.Effect<Share, never, Scope.Scope> {
    return Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => {
          let connection = this.#connections.get(peer)
          if (connection === undefined) this.#connections.set(peer, connection = { held: 0, holders: 0, busy: 0 })
          connection.holders++
          const holder: Holder = {
            connection,
            refused: Deferred.makeUnsafe<never, Status>(),
            held: 0,
            eventBytes: undefined,
            stillSince: undefined,
            isEnded: false
          }
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
        clock: this.#clock,
        run: this.#run,
        reading: {
          read: (page, limit) =>
            Effect.suspend(() => {
              this.#set(holder, 0)
              const read = Effect.tap(
                Effect.suspend(() => page(this.#fewer(holder, limit))),
                (events) => Effect.sync(() => this.#weigh(holder, events))
              )
              // its next page has no precedence over those that wait
              return this.#waiting.size === 0 && this.#take(holder) ? read : Effect.andThen(this.#wait(holder), read)
            })
        },
        wrote: (isPending, taken) => {
          holder.stillSince = isPending ? this.#now() : undefined
          if (taken > 0) this.#hold(holder, Math.max(0, holder.held - taken))
        },
        refused: Deferred.await(holder.refused)
      })
    )
  }

  #take(holder: Holder): boolean {
    if (!this.#hasRoom(holder)) return false
    this.#set(holder, pageBytes)
    return true
  }

  #hasRoom({ connection }: Holder): boolean {
    return connection.held + pageBytes <= maxConnectionBytes && this.#held + pageBytes <= maxServerBytes
  }

  /** How many events the page of a stream has at most. */
  #fewer({ connection, eventBytes = this.#eventBytes }: Holder, limit: number): number {
    const part = Math.min(maxConnectionBytes, maxServerBytes / this.#connections.size) / connection.busy / 2
    return part >= pageBytes || limit * eventBytes <= part ? limit : Math.max(1, Math.floor(part / eventBytes))
  }

  /** What a page takes: its events, and the message that the largest of them becomes. */
  #weigh(holder: Holder, events: ReadonlyArray<EncodedEnvelope>): void {
    let all = 0
    let largest = 0
    for (const event of events) {
      const bytes = sizeOf(event)
      all += overhead + bytes
      if (bytes > largest) largest = bytes
    }
    if (events.length > 0) this.#eventBytes = holder.eventBytes = all / events.length
    this.#hold(holder, all + largest)
  }

  #count({ connection }: Holder, more: 1 | -1): void {
    connection.busy += more
  }

  #hold(holder: Holder, bytes: number): void {
    const wasFull = this.#held + pageBytes > maxServerBytes
    const more = bytes - holder.held
    this.#set(holder, bytes)
    // where there was room, others have none for their own connections
    if (more < 0 && this.#waiting.size > 0 && (wasFull || this.#hasRoom(holder))) this.#grant()
  }

  /** Those go on who wait, as far as there is room: first who is on a connection that holds little, and of those the first. */
  #grant(): void {
    // Whoever goes on may end at once, as where its storage was closed, and so make room for the next one. The loop sees that: from within each
    // other, hundreds of them would need more of a stack than there is, and fibers that are cut off there never end.
    if (this.#isGranting) return
    this.#isGranting = true
    try {
      while (this.#held + pageBytes <= maxServerBytes) {
        let next: Waiter | undefined
        for (const waiter of this.#waiting) {
          const { held } = waiter.holder.connection
          if (held < (next?.holder.connection.held ?? maxConnectionBytes - pageBytes + 1)) next = waiter
        }
        if (next === undefined) break
        this.#take(next.holder)
        next.go()
      }
    } finally {
      this.#isGranting = false
    }
  }

  #set(holder: Holder, bytes: number): void {
    const more = bytes - holder.held
    if (more === 0) return
    if (holder.held === 0) this.#count(holder, 1)
    if (bytes === 0) this.#count(holder, -1)
    holder.held = bytes
    holder.connection.held += more
    this.#held += more
  }

  #now(): number {
    return Number(this.#clock.monotonicTimeNanosUnsafe() / 1_000_000n)
  }

  #wait(holder: Holder): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      const waiter: Waiter = {
        holder,
        go: () => {
          leave()
          resume(Effect.void)
        }
      }
      const leave = () => {
        if (this.#waiting.delete(waiter)) this.#count(holder, -1)
      }
      this.#waiting.add(waiter)
      this.#count(holder, 1)
      if (!this.#isLooking) {
        this.#isLooking = true
        this.#run(this.#looking)
      }
      this.#grant()
      return Effect.sync(leave)
    })
  }

  /** Looks every second, for as long as somebody waits. */
  readonly #looking: Effect.Effect<void> = Effect.suspend(() =>
    Effect.flatMap(this.#clock.sleep(Duration.millis(patience / 10)), () => {
      this.#look()
      if (this.#waiting.size > 0) return this.#looking
      this.#isLooking = false
      return Effect.void
    })
  )

  /** Ends streams that stand still, as far as others wait for what they hold. */
  #look(): void {
    const now = this.#now()
    const free = new Map<Connection, number>()
    const freeOf = (connection: Connection) => free.get(connection) ?? maxConnectionBytes - connection.held
    let all = maxServerBytes - this.#held
    /** Less is held by the stream. */
    const release = ({ connection, held }: Pick<Holder, "connection" | "held">) => {
      free.set(connection, freeOf(connection) + held)
      all += held
    }
    const still: Array<Holder> = []
    for (const holder of this.#holders) {
      if (holder.isEnded) release(holder)
      else if (holder.stillSince !== undefined && now - holder.stillSince >= patience) still.push(holder)
    }
    still.sort((a, b) => a.stillSince! - b.stillSince!)
    for (const { holder: { connection } } of this.#waiting) {
      const fits = () => freeOf(connection) >= pageBytes && all >= pageBytes
      while (!fits()) {
        const isFull = freeOf(connection) < pageBytes
        // with half of an equal part, all of them together leave half of the memory to the others
        const part = isFull ? maxConnectionBytes / connection.holders : maxServerBytes / this.#holders.size
        const inTheWay = still.find((holder) =>
          !holder.isEnded && holder.held >= part / 2 && (!isFull || holder.connection === connection)
        )
        if (inTheWay === undefined) break
        inTheWay.isEnded = true
        Deferred.doneUnsafe(inTheWay.refused, Effect.fail(tooSlow))
        release(inTheWay)
      }
      if (fits()) release({ connection, held: -pageBytes })
    }
  }
}
