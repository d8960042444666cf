import * as Grpc from "@grpc/grpc-js"
import type { EncodedElement, EncodedEnvelope } from "@sluice/core/Envelope"
import * as EventFilter from "@sluice/core/EventFilter"
import { type Feed, Health, type Replay } from "@sluice/core/Feed"
import { JournalReplaced } from "@sluice/core/Journal"
import * as PersistenceId from "@sluice/core/PersistenceId"
import { ReadBudget } from "@sluice/core/ReadBudget"
import type { Selection } from "@sluice/core/Selection"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { Headers, IncomingCall } from "../../Call.ts"
import * as StreamMetrics from "../../StreamMetrics.ts"
import type { InitReq, StreamIn } from "../generated/akka/projection/grpc/event_producer_pb.ts"
import { StreamInSchema } from "../generated/akka/projection/grpc/event_producer_pb.ts"
import { bufferOf } from "../wire/bufferOf.ts"
import { decodeRequest, TooManyFields } from "../wire/decodeRequest.ts"
import { batchPieces, eventPieces } from "../wire/frames.ts"
import { disruptionOf, invalidArgument, missingHeader, notOffered, quotable, Status } from "../wire/status.ts"
import { CallFilter } from "./CallFilter.ts"
import { CallWriter } from "./CallWriter.ts"
import { consumerStartOf, needsTime } from "./consumerStart.ts"
import * as Fence from "./Fence.ts"
import type { OfferedStream } from "./OfferedStream.ts"
import type { SendBudget, Share } from "./SendBudget.ts"
import { within } from "./serverCall.ts"

/**
 * @internal
 * The highest version of the extension fields that this side speaks: from 2 on the producer sends batches, from 3 on it says every few
 * seconds that it is there, and from 4 on it echoes the consumer's beats in place of that.
 */
export const protocolVersion = 4

/** @internal */
export const lookUp = (
  streams: ReadonlyMap<string, OfferedStream>,
  id: string
): Effect.Effect<OfferedStream, Status> => {
  const stream = streams.get(id)
  return stream === undefined ? Effect.fail(notOffered(id, [...streams.keys()])) : Effect.succeed(stream)
}

/** @internal Refuses entities of other types than those of the stream: whoever offers a stream offers nothing else of its journal. */
export const checkType = (
  { entityType, id }: OfferedStream,
  persistenceId: PersistenceId.PersistenceId
): Effect.Effect<void, Status> => {
  const found = PersistenceId.entityType(persistenceId)
  return entityType === undefined || entityType === found
    ? Effect.void
    : Effect.fail(invalidArgument(`the stream '${id}' has no events of the entity type '${quotable(found)}'`))
}

type Requests = ReturnType<typeof readRequests>

/** Of so many entities a replay may wait before the source is asked for it: more than a filter can include. */
const maxWaiting = EventFilter.maxCriteria + 1_000

/** For how long, in milliseconds, a source is not asked again for which too many replays wait. */
const askAgain = 50

const wrong = (what: string) => (error: unknown): Status =>
  invalidArgument(`${what}: ${error instanceof Error ? error.message : String(error)}`)

/** @internal Runs what may throw at the other side's input. */
export const parse = <A>(what: string, f: () => A): Effect.Effect<A, Status> =>
  Effect.try({ try: f, catch: wrong(what) })

/**
 * The consumer's side of the call. Every message is looked at as it comes, so that nothing that the consumer counts on is
 * ignored; `broken` ends with what was wrong.
 */
const readRequests = (call: IncomingCall): {
  readonly init: Effect.Effect<InitReq, Status>
  readonly filter: CallFilter
  /** What is to be replayed. */
  readonly replays: Queue.Dequeue<Replay | EventFilter.IncludedEntity>
  /** Passes the consumer's beats on from now on, and the last one that has come before. */
  readonly passBeats: (pass: (beat: bigint) => void) => void
  /** Lets go of the init, which may be large, when nothing of it is needed any more. */
  readonly forget: () => void
  readonly broken: Effect.Effect<never, Status>
} => {
  let init = Deferred.makeUnsafe<InitReq, Status>()
  const broken = Deferred.makeUnsafe<never, Status>()
  const filter = new CallFilter()
  const replays = Effect.runSync(Queue.dropping<Replay | EventFilter.IncludedEntity>(maxWaiting))
  let beat: bigint | undefined
  let passBeat = (received: bigint): void => void (beat = received)
  let initialised = false
  let isPlain = false
  const fail = (status: Status) => {
    Deferred.doneUnsafe(init, Effect.fail(status))
    Deferred.doneUnsafe(broken, Effect.fail(status))
  }
  /** Changes the filter, or asks for replays. What is wrong ends the stream. */
  const change = (what: string, wanted: () => ReadonlyArray<Replay | EventFilter.IncludedEntity>): void => {
    try {
      // another Sluice service asks for what it misses by a call of its own
      for (const replay of wanted()) {
        if (!isPlain || Queue.offerUnsafe(replays, replay)) continue
        return fail(new Status(Grpc.status.RESOURCE_EXHAUSTED, `more than ${maxWaiting} replays wait`))
      }
    } catch (error) {
      fail(wrong(what)(error))
    }
  }
  const received = (bytes: Buffer) => {
    let message: StreamIn["message"]
    try {
      message = decodeRequest(StreamInSchema, bytes).message
    } catch (error) {
      return fail(invalidArgument(error instanceof TooManyFields ? error.message : "a message that is no StreamIn"))
    }
    if (!initialised && message.case !== "init") {
      return fail(invalidArgument(`the first message has to be init, not ${message.case ?? "an unknown one"}`))
    }
    switch (message.case) {
      case "init":
        if (initialised) return fail(invalidArgument("a second init"))
        initialised = true
        isPlain = message.value.sluice === undefined
        change("filter", () => filter.change(message.value.filter))
        return Deferred.doneUnsafe(init, Effect.succeed(message.value))
      case "filter":
        return change("filter", () => filter.change(message.value.criteria))
      case "replay":
        return change("replay", () => filter.replay(message.value))
      case "sluiceBeat":
        return passBeat(message.value.number)
        // acks say nothing to this producer, and what is unknown comes from a later version
    }
  }
  call.receive((bytes) => void received(bufferOf(bytes)), () => {
    if (!initialised) fail(invalidArgument("the stream was closed before its init"))
  })
  return {
    init: Effect.suspend(() => Deferred.await(init)),
    filter,
    replays,
    passBeats: (pass) => {
      passBeat = pass
      if (beat !== undefined) pass(beat)
    },
    forget: () => {
      init = Deferred.makeUnsafe()
    },
    broken: Deferred.await(broken)
  }
}

/** Asks the source for what the consumer has asked for. A stream whose source cannot be asked has nothing to replay. */
const replaying = (stream: OfferedStream, feed: Feed<unknown>, { replays }: Requests) =>
  Effect.forever(Effect.gen(function*() {
    const wanted = yield* Queue.take(replays)
    const request = "persistenceId" in wanted ? wanted : {
      persistenceId: yield* parse("filter", () => PersistenceId.make(stream.entityType ?? stream.id, wanted.entityId)),
      from: SequenceNumber.make(wanted.from)
    }
    yield* checkType(stream, request.persistenceId)
    const { replay } = feed
    if (replay === undefined) return
    while (!(yield* replay(request))) yield* Effect.sleep(askAgain)
  }))

/** @internal Serves a call: it ends when the consumer goes away, or with a `Status`. */
export const eventsBySlices = (
  streams: ReadonlyMap<string, OfferedStream>,
  budget: SendBudget,
  call: IncomingCall
): Effect.Effect<void, unknown> => {
  // listens at once, as messages do not wait
  const requests = readRequests(call)
  return Effect.gen(function*() {
    const stream = yield* Effect.flatMap(requests.init, ({ streamId }) => lookUp(streams, streamId))
    yield* stream.within(Effect.raceFirst(serve(stream, budget, call, requests), requests.broken))
  })
}

const announce = (
  call: IncomingCall,
  { supersedes }: OfferedStream,
  version: number,
  journal: string,
  more: Headers = {}
): void => {
  call.sendHeaders({
    "sluice-protocol": String(version),
    "sluice-journal": journal,
    "sluice-supersedes": String(supersedes),
    ...more
  })
}

/** Begins the stream as its consumer asks for it. */
const open = (stream: OfferedStream, call: IncomingCall, init: InitReq, share: Share, selection: Selection) =>
  Effect.gen(function*() {
    const range = yield* parse("slice range", () => SliceRange.make(init.sliceMin, init.sliceMax))
    const version = Math.max(1, Math.min(init.sluice?.protocol ?? 1, protocolVersion))
    return yield* Effect.gen(function*() {
      // others have their turn, and a call that is gone says so, before it is opened
      yield* Effect.yieldNow
      const now = needsTime(init) ? yield* stream.now : Timestamp.make(0)
      const { start, treat } = yield* parse("offset", () => consumerStartOf(init, now))
      const feed = yield* Effect.provideService(stream.open({ range, start, selection }), ReadBudget, share.reading)
      // to whoever has read nothing
      const isMissing = start.offsets.size === 0 && (yield* Effect.orElseSucceed(stream.isMissing, () => false))
      return { feed, treat, version, isMissing }
    }).pipe(
      stream.opening.withPermits(1),
      // the consumer compares the journals as well, and fails for good
      Effect.tapError((error) =>
        Effect.sync(() => {
          if (error instanceof JournalReplaced) announce(call, stream, version, error.actual)
        })
      )
    )
  })

const serve = (
  stream: OfferedStream,
  budget: SendBudget,
  call: IncomingCall,
  requests: Requests
): Effect.Effect<void, unknown> =>
  Effect.gen(function*() {
    const { filter } = requests
    const fence = yield* Fence.fenceOf(stream, call)
    const share = yield* budget.share(call.peer)
    const writer = new CallWriter(call, share)
    const health: Health = {
      disrupted: (cause) => writer.tell(disruptionOf(cause)),
      restored: () => writer.tell("")
    }
    const { feed, isMissing, treat, version } = yield* Effect.flatMap(requests.init, (init) =>
      Effect.provideService(
        open(stream, call, init, share, fence === undefined ? filter : Fence.within(fence, filter)),
        Health,
        health
      ))
    requests.forget()
    announce(call, stream, version, feed.journal, isMissing ? { [missingHeader]: "1" } : {})
    const context = yield* Effect.context()
    const attributes = { stream: stream.id }
    const sent = Metric.withAttributes(StreamMetrics.sent, attributes)
    const sentBatch = Metric.withAttributes(StreamMetrics.sentBatch, attributes)
    const consumers = Metric.withAttributes(StreamMetrics.consumers, attributes)
    yield* Effect.acquireRelease(Metric.modify(consumers, 1), () => Metric.modify(consumers, -1))
    if (version === 3) yield* Effect.forkScoped(writer.beat)
    yield* Effect.acquireRelease(
      Effect.sync(() => requests.passBeats((beat) => writer.echo(beat))),
      () => Effect.sync(() => requests.passBeats(() => {}))
    )
    // whatever its consumer has seen, it has asked for what is replayed
    const treated = (envelope: EncodedEnvelope) =>
      fence?.hides(envelope) === true ? "skip" : filter.isReplayed(envelope) ? "send" : treat(envelope)
    const pieces = (elements: ReadonlyArray<EncodedElement>) =>
      version >= 2 ? batchPieces(elements, fence?.now) : eventPieces(elements, treated)
    const sending = Stream.runForEachArray(feed.envelopes, (elements) => {
      sent.updateUnsafe(elements.length, context)
      sentBatch.updateUnsafe(elements.length, context)
      return writer.write(pieces(elements))
    })
    yield* Effect.raceFirst(within(call, share, sending), replaying(stream, feed, requests)).pipe(
      Effect.provideService(Health, health)
    )
    // OK would tell a JVM consumer that there will be no events any more
    return yield* Effect.fail(new Status(Grpc.status.UNAVAILABLE, "the source of the stream has ended"))
  }).pipe(Effect.scoped)
