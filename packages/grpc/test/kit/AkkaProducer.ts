/**
 * A plain Akka producer on a script. It has a journal, and answers from it as version 1.4.0 was seen to do; a script then makes it lose,
 * repeat, delay and refuse. It counts what it is asked for.
 */
import type { MessageInitShape } from "@bufbuild/protobuf"
import { create } from "@bufbuild/protobuf"
import { AnySchema } from "@bufbuild/protobuf/wkt"
import * as Grpc from "@grpc/grpc-js"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type {
  EventSchema,
  InitReq,
  Offset,
  StreamIn
} from "../../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import { toTimestampMessage } from "../../src/internal/wire/messages.ts"
import * as FakeProducer from "./FakeProducer.ts"
import * as TcpProxy from "./TcpProxy.ts"

/** An event of the journal. */
export interface Row {
  readonly persistenceId: string
  readonly slice: number
  readonly sequenceNumber: number
  /** In microseconds. */
  readonly timestamp: number
  /** Undefined where the producer's transformation keeps it inside. */
  readonly text: string | undefined
  /** Whether a stream shows it, other than as a replay: what a filter leaves out, or a broken producer loses, is not shown. */
  readonly isShown: boolean
  /** What is wrong about its messages. */
  readonly change: MessageInitShape<typeof EventSchema> | undefined
}

/** From where an event comes: a query, a look back, or the memory of the producer. */
export type From = "" | "BT" | "PS"

/** A replay on the stream. */
export interface Replay {
  readonly persistenceId: string
  readonly from: number
  /** The events that it is to show. */
  readonly rows: ReadonlyArray<Row>
  /** Shows them, or others. */
  readonly show: (rows: ReadonlyArray<Row>, from?: From) => void
}

export interface Options {
  /** `1.4.0` knows neither the calls for an entity's events, nor for the newest timestamp. */
  readonly version?: "1.4.0" | "1.6.19"
  /** What the nth stream is answered with; by default what the journal has after the offset. */
  readonly open?: (stream: FakeProducer.FakeCall, n: number, rows: ReadonlyArray<Row>) => void
  /** What the nth replay is answered with; by default its events, at once. */
  readonly replay?: (replay: Replay, n: number) => void
  readonly eventTimestamp?: (
    row: Row | undefined,
    n: number
  ) => ReturnType<NonNullable<FakeProducer.Handlers["eventTimestamp"]>> | undefined
  readonly loadEvent?: (
    row: Row | undefined,
    n: number
  ) => ReturnType<NonNullable<FakeProducer.Handlers["loadEvent"]>> | undefined
  /** What the nth call for an entity's events is answered with; by default with them. */
  readonly current?: (call: Omit<FakeProducer.FakeCall, "init">, n: number, rows: ReadonlyArray<Row>) => void
}

/** What the producer was asked for. */
export interface Asked {
  readonly inits: Array<InitReq>
  /** Entities and the numbers that they were to be replayed from, as `entity number`. */
  readonly replays: Array<string>
  readonly eventTimestamps: Array<string>
  readonly loads: Array<string>
  /** As `entity from to`. */
  readonly currents: Array<string>
  readonly filters: Array<StreamIn["message"]>
}

export interface Append {
  /** In microseconds; by default later than all that was appended. */
  readonly at?: number
  readonly isShown?: boolean
  readonly isPublic?: boolean
  /** The number of the first one; by default the next of its entity. */
  readonly from?: number
  readonly change?: MessageInitShape<typeof EventSchema>
}

export interface AkkaProducer {
  /** Of a network that can be cut. */
  readonly address: string
  readonly network: TcpProxy.TcpProxy
  readonly drain: (millis: number) => void
  readonly asked: Asked
  readonly rows: ReadonlyArray<Row>
  /** Writes so many events of an entity to the journal, and says nothing of them. */
  readonly append: (entityId: string, count?: number, options?: Append) => ReadonlyArray<Row>
  /** Shows events to all consumers whose slices they are in, without payload if they come from a look back. */
  readonly show: (rows: ReadonlyArray<Row>, from?: From) => void
  /** Writes events, and shows them. */
  readonly write: (entityId: string, count?: number, options?: Append) => ReadonlyArray<Row>
  /** Sends the messages to all consumers. */
  readonly send: (...answers: ReadonlyArray<FakeProducer.Answer | Uint8Array>) => void
  /** Ends all streams. */
  readonly fail: (code: Grpc.status, details?: string) => void
  readonly end: () => void
  /** How many streams are open. */
  readonly streams: () => number
}

export const entityType = "Cart"

export const idOf = (entityId: string): string => `${entityType}|${entityId}`

/** The Saturday on which 1.4.0 was looked at. */
const epoch = Timestamp.fromMillis(Date.UTC(2026, 10, 28))

export const offsetOf = (row: Row): MessageInitShape<typeof EventSchema>["offset"] => [{
  timestamp: toTimestampMessage(Timestamp.make(row.timestamp)),
  seen: [{ persistenceId: row.persistenceId, seqNr: BigInt(row.sequenceNumber) }]
}]

/** As the stream shows an event. */
export const answer = (row: Row, from: From = ""): FakeProducer.Answer => {
  const { change, persistenceId, sequenceNumber, slice, text } = row
  const place = { persistenceId, seqNr: BigInt(sequenceNumber), slice, offset: offsetOf(row)! }
  if (text === undefined) return { message: { case: "filteredEvent", value: place } }
  const payload = create(AnySchema, { typeUrl: "ser.akka.io/20", value: Buffer.from(text) })
  const value = { ...place, source: from, tags: ["carts"], ...(from === "BT" ? {} : { payload }), ...change }
  return { message: { case: "event", value: value as MessageInitShape<typeof EventSchema> } }
}

const microsOf = ({ timestamp }: Offset): number =>
  Number(timestamp!.seconds) * 1_000_000 + Math.floor(timestamp!.nanos / 1000)

/** What 1.4.0 shows after the offset of an init: of several, it would take the last. */
export const after = (rows: ReadonlyArray<Row>, { offset, sliceMax, sliceMin }: InitReq): ReadonlyArray<Row> => {
  const last = offset.at(-1)
  const from = last === undefined ? 0 : microsOf(last)
  const seen = new Map(offset.flatMap(({ seen }) => seen.map((_) => [_.persistenceId, Number(_.seqNr)] as const)))
  return rows.filter(({ isShown, persistenceId, sequenceNumber, slice, timestamp }) =>
    isShown && slice >= sliceMin && slice <= sliceMax && timestamp >= from &&
    !(timestamp === from && sequenceNumber <= (seen.get(persistenceId) ?? 0))
  ).toSorted((a, b) => a.timestamp - b.timestamp || a.sequenceNumber - b.sequenceNumber)
}

/** Listens for as long as the scope. */
export const make = (options: Options = {}): Effect.Effect<AkkaProducer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const rows: Array<Row> = []
    const open = new Map<number, FakeProducer.FakeCall>()
    const asked: Asked = { inits: [], replays: [], eventTimestamps: [], loads: [], currents: [], filters: [] }
    let now = epoch as number

    const find = (persistenceId: string, seqNr: bigint) =>
      rows.find((row) => row.persistenceId === persistenceId && row.sequenceNumber === Number(seqNr))

    const handlers: FakeProducer.Handlers = {
      eventsBySlices: (call, n) => {
        asked.inits.push(call.init)
        open.set(n, call)
        const found = after(rows, call.init)
        if (options.open !== undefined) return options.open(call, n, found)
        call.headers()
        call.send(...found.map((row) => answer(row)))
      },
      said: (message, n) => {
        if (message.case === "filter") asked.filters.push(message)
        if (message.case !== "replay") return
        const { persistenceIdOffset, replayPersistenceIds } = message.value
        // 1.4.0 knows the first field alone
        const wanted = options.version === "1.6.19" && replayPersistenceIds.length > 0
          ? replayPersistenceIds.map((_) => _.fromPersistenceIdOffset!)
          : persistenceIdOffset
        for (const { persistenceId, seqNr } of wanted) {
          const call = open.get(n)
          const found = rows.filter((row) => row.persistenceId === persistenceId && row.sequenceNumber >= Number(seqNr))
          asked.replays.push(`${persistenceId} ${seqNr}`)
          const show: Replay["show"] = (rows, from) => call?.send(...rows.map((row) => answer(row, from)))
          const replay = { persistenceId, from: Number(seqNr), rows: found, show }
          if (options.replay === undefined) show(found)
          else options.replay(replay, asked.replays.length)
        }
      },
      ended: (n) => open.delete(n),
      eventTimestamp: ({ persistenceId, seqNr }) => {
        asked.eventTimestamps.push(`${persistenceId} ${seqNr}`)
        const row = find(persistenceId, seqNr)
        return options.eventTimestamp?.(row, asked.eventTimestamps.length) ??
          (row === undefined ? {} : { timestamp: toTimestampMessage(Timestamp.make(row.timestamp)) })
      },
      loadEvent: ({ persistenceId, seqNr }) => {
        asked.loads.push(`${persistenceId} ${seqNr}`)
        const row = find(persistenceId, seqNr)
        const scripted = options.loadEvent?.(row, asked.loads.length)
        if (scripted !== undefined) return scripted
        return row === undefined ? { code: Grpc.status.NOT_FOUND } : loaded(row)
      },
      ...(options.version === "1.6.19"
        ? {
          latestEventTimestamp: () => {
            const newest = rows.reduce((newest, { timestamp }) => Math.max(newest, timestamp), 0)
            return newest === 0 ? {} : { timestamp: toTimestampMessage(Timestamp.make(newest)) }
          },
          currentEventsByPersistenceId: (call, { fromSeqNr, persistenceId, toSeqNr }) => {
            asked.currents.push(`${persistenceId} ${fromSeqNr} ${toSeqNr}`)
            const found = rows.filter((row) =>
              row.persistenceId === persistenceId && row.sequenceNumber >= fromSeqNr && row.sequenceNumber <= toSeqNr
            )
            if (options.current !== undefined) return options.current(call, asked.currents.length, found)
            call.headers()
            call.send(...found.map((row) => answer(row)))
            call.end()
          }
        }
        : {
          latestEventTimestamp: () => ({ code: Grpc.status.UNIMPLEMENTED })
        })
    }
    const { address, drain } = yield* FakeProducer.listen(handlers)
    const network = yield* TcpProxy.make(Number(address.slice(address.lastIndexOf(":") + 1)))

    const append: AkkaProducer["append"] = (entityId, count = 1, { at, change, from, isPublic, isShown } = {}) => {
      const persistenceId = idOf(entityId)
      const next = from ??
        rows.reduce((last, row) => row.persistenceId === persistenceId ? Math.max(last, row.sequenceNumber) : last, 0) +
          1
      const added = Array.from({ length: count }, (_, i): Row => {
        const sequenceNumber = next + i
        now = at ?? now + 1000
        return {
          persistenceId,
          slice: Slice.ofPersistenceId(PersistenceId.parse(persistenceId)),
          sequenceNumber,
          timestamp: now,
          text: isPublic === false ? undefined : `e${sequenceNumber}`,
          isShown: isShown ?? true,
          change
        }
      })
      rows.push(...added)
      return added
    }
    const show: AkkaProducer["show"] = (rows, from) => {
      for (const { init, send } of open.values()) {
        const inRange = rows.filter(({ slice }) => slice >= init.sliceMin && slice <= init.sliceMax)
        send(...inRange.map((row) => answer(row, from)))
      }
    }
    return {
      address: `127.0.0.1:${network.port}`,
      network,
      drain,
      asked,
      rows,
      append,
      show,
      write: (entityId, count, options) => {
        const added = append(entityId, count, options)
        show(added)
        return added
      },
      send: (...answers) => {
        for (const call of open.values()) call.send(...answers)
      },
      fail: (code, details = "as the script says") => {
        for (const call of open.values()) call.fail(code, details)
        open.clear()
      },
      end: () => {
        for (const call of open.values()) call.end()
        open.clear()
      },
      streams: () => open.size
    }
  })

const loaded = (row: Row) => ({ message: answer(row).message as any })
