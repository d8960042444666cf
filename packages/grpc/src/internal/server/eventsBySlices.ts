import * as Grpc from "@grpc/grpc-js"
import type { EncodedElement, EncodedEnvelope } from "@sluice/core/Envelope"
import { type Feed, Health, timestamps } from "@sluice/core/Feed"
import { JournalReplaced } from "@sluice/core/Journal"
import * as LogsIdentity from "@sluice/core/LogsIdentity"
import * as MetricAttributes from "@sluice/core/MetricAttributes"
import * as PersistenceId from "@sluice/core/PersistenceId"
import { ReadBudget } from "@sluice/core/ReadBudget"
import type { Selection } from "@sluice/core/Selection"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { Headers, IncomingCall } from "../../Call.ts"
import type { Caller } from "../../Caller.ts"
import * as StreamMetrics from "../../StreamMetrics.ts"
import type { InitReq } from "../generated/akka/projection/grpc/event_producer_pb.ts"
import { ofCaller } from "../wire/failedAt.ts"
import { batchPieces, eventPieces } from "../wire/frames.ts"
import { protocolVersion, versionProblem } from "../wire/protocolVersion.ts"
import {
  disruptionOf,
  invalidArgument,
  missingHeader,
  notOffered,
  parse,
  quotable,
  replicaHeader,
  Status,
  strangerHeader,
  topicPrefixHeader,
  wrongReplica
} from "../wire/status.ts"
import { admit, callerOf, droppingFor, nameOf, strangerOf, untilRefused } from "./callerOf.ts"
import { type CallRequests, readRequests } from "./CallRequests.ts"
import { CallWriter } from "./CallWriter.ts"
import { consumerStartOf, needsTime } from "./consumerStart.ts"
import * as Fence from "./Fence.ts"
import { holdingBack } from "./holdingBack.ts"
import type { OfferedStream } from "./OfferedStream.ts"
import type { SendBudget, Share } from "./SendBudget.ts"
import { within } from "./serverCall.ts"

/** @internal Refuses whoever expects another replica, before it learns anything of this one's journal. */
export const lookUp = (
  streams: ReadonlyMap<string, OfferedStream>,
  id: string,
  headers: Headers
): Effect.Effect<OfferedStream, Status> => {
  const stream = streams.get(id)
  if (stream === undefined) return Effect.fail(notOffered(id, [...streams.keys()]))
  const expected = headers[replicaHeader]
  return stream.replica === undefined || expected === undefined || expected === encodeURIComponent(stream.replica.id)
    ? Effect.succeed(stream)
    : Effect.fail(wrongReplica(stream.replica.id, expected))
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

/** For how long, in milliseconds, a source is not asked again for which too many replays wait. */
const askAgain = 50

/** Asks the source for what the consumer has asked for. A stream whose source cannot be asked has nothing to replay. */
const replaying = (stream: OfferedStream, feed: Feed<unknown>, { replays }: CallRequests) =>
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
    const stream = yield* Effect.flatMap(requests.init, ({ streamId }) => lookUp(streams, streamId, call.headers))
    const caller = yield* Effect.map(requests.init, ({ replicaInfo }) => callerOf(call, replicaInfo))
    yield* stream.within(
      Effect.raceFirst(serve(stream, caller, budget, call, requests), requests.changing).pipe(
        Effect.catchCause((cause) => Effect.failCause(ofCaller(nameOf(caller), cause)))
      )
    )
  })
}

/** What is added to the identity of the journal, so that it is that of the logs which the stream shows, where they are known. */
const logsOf = ({ entityType, supersedes }: OfferedStream): string =>
  entityType === undefined ? "" : LogsIdentity.suffix({ log: supersedes ? "states" : "events", entityType })

const announce = (
  call: IncomingCall,
  stream: OfferedStream,
  journal: string,
  more: Headers = {}
): void => {
  call.sendHeaders({
    "sluice-protocol": String(protocolVersion),
    "sluice-journal": journal === timestamps ? journal : `${journal}${logsOf(stream)}`,
    "sluice-supersedes": String(stream.supersedes),
    ...topicPrefixOf(stream),
    ...more
  })
}

/** @internal What a consumer of the stream is told by, of the tags that are topics. */
export const topicPrefixOf = ({ topicPrefix }: OfferedStream): Headers =>
  topicPrefix === undefined ? {} : { [topicPrefixHeader]: encodeURIComponent(topicPrefix) }

/** Begins the stream as its consumer asks for it. */
const open = (stream: OfferedStream, call: IncomingCall, init: InitReq, share: Share, selection: Selection) =>
  Effect.gen(function*() {
    const range = yield* parse("slice range", () => SliceRange.make(init.sliceMin, init.sliceMax))
    const problem = init.sluice && versionProblem("consumer", init.sluice.protocol)
    if (problem !== undefined) return yield* Effect.fail(new Status(Grpc.status.FAILED_PRECONDITION, problem))
    return yield* Effect.gen(function*() {
      // others have their turn, and a call that is gone says so, before it is opened
      yield* Effect.yieldNow
      const now = needsTime(init) ? yield* stream.now : Timestamp.make(0)
      const { start, treat } = yield* parse("offset", () => consumerStartOf(init, now, logsOf(stream)))
      const feed = yield* Effect.provideService(stream.open({ range, start, selection }), ReadBudget, share.reading)
      // to whoever has read nothing
      const isMissing = start.offsets.size === 0 && (yield* Effect.orElseSucceed(stream.isMissing, () => false))
      return { feed, treat, isPlain: init.sluice === undefined, isMissing }
    }).pipe(
      stream.opening.withPermits(1),
      // the consumer compares the journals as well, and fails for good
      Effect.tapError((error) =>
        Effect.sync(() => {
          if (error instanceof JournalReplaced) announce(call, stream, error.actual)
        })
      )
    )
  })

const serve = (
  stream: OfferedStream,
  caller: Caller,
  budget: SendBudget,
  call: IncomingCall,
  requests: CallRequests
): Effect.Effect<void, unknown> =>
  Effect.gen(function*() {
    const filter = requests.filter.for(stream)
    const dropping = droppingFor(stream, caller)
    const fence = yield* Fence.fenceOf(stream, caller)
    const stranger = strangerOf(stream, caller)
    if (stranger?.said !== undefined) yield* Effect.logWarning(stranger.said)
    yield* admit(stream, caller)
    const share = yield* budget.share(call.peer)
    const writer = new CallWriter(call, share)
    const health: Health = {
      disrupted: (cause) => writer.tell(disruptionOf(cause)),
      restored: () => writer.tell("")
    }
    const { feed, isMissing, isPlain, treat } = yield* Effect.flatMap(requests.init, (init) =>
      Effect.provideService(
        open(stream, call, init, share, fence === undefined ? filter : Fence.within(fence, filter)),
        Health,
        health
      ))
    requests.forget()
    announce(call, stream, feed.journal, {
      ...(isMissing && { [missingHeader]: "1" }),
      ...(stranger !== undefined && { [strangerHeader]: "1" })
    })
    const metered = MetricAttributes.add(yield* Effect.context(), "stream", stream.id)
    const connected = (change: number) => Effect.sync(() => StreamMetrics.consumers.modifyUnsafe(change, metered))
    yield* Effect.acquireRelease(connected(1), () => connected(-1))
    yield* Effect.acquireRelease(
      Effect.sync(() => requests.passBeats((beat) => writer.echo(beat))),
      () => Effect.sync(() => requests.passBeats(() => {}))
    )
    // whatever its consumer has seen, it has asked for what is replayed
    const treated = (envelope: EncodedEnvelope) =>
      fence?.hides(envelope) === true ? "skip" : filter.isReplayed(envelope) ? "send" : treat(envelope)
    const pieces = (elements: ReadonlyArray<EncodedElement>) =>
      isPlain ? eventPieces(elements, treated) : batchPieces(elements, fence?.now)
    const write = (elements: ReadonlyArray<EncodedElement>) => {
      StreamMetrics.sent.updateUnsafe(elements.length, metered)
      StreamMetrics.sentBatch.updateUnsafe(elements.length, metered)
      return Effect.andThen(writer.write(pieces(elements)), stream.gap.wrote)
    }
    // how a consumer of another kind is sent an event is known only as it is read
    const { send, sendHeld } = dropping === undefined || isPlain
      ? { send: write, sendHeld: Effect.never }
      : holdingBack(write, share.clock)
    const sending = Stream.runForEachArray(feed.envelopes, (all) => send(dropping === undefined ? all : dropping(all)))
    yield* Effect.raceFirst(within(call, share, Effect.raceFirst(sending, sendHeld)), replaying(stream, feed, requests))
      .pipe(
        Effect.provideService(Health, health),
        Effect.raceFirst(untilRefused(stream, caller, share.clock))
      )
    // OK would tell a JVM consumer that there will be no events any more
    return yield* Effect.fail(new Status(Grpc.status.UNAVAILABLE, "the source of the stream has ended"))
  }).pipe(Effect.scoped)
