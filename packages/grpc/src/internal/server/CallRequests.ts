import * as Grpc from "@grpc/grpc-js"
import * as EventFilter from "@sluice/core/EventFilter"
import type { Replay } from "@sluice/core/Feed"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Queue from "effect/Queue"
import type { IncomingCall } from "../../Call.ts"
import type {
  FilterCriteria,
  InitReq,
  ReplayReq,
  StreamIn
} from "../generated/akka/projection/grpc/event_producer_pb.ts"
import { StreamInSchema } from "../generated/akka/projection/grpc/event_producer_pb.ts"
import { bufferOf } from "../wire/bufferOf.ts"
import { decodeRequest, TooManyFields } from "../wire/decodeRequest.ts"
import { invalidArgument, Status, wrong } from "../wire/status.ts"
import { CallFilter } from "./CallFilter.ts"

/** Of so many entities a replay may wait before the source is asked for it: more than a filter can include. */
const maxWaiting = EventFilter.maxCriteria + 1_000

/** @internal What the consumer of a call asks for. */
export interface CallRequests {
  readonly init: Effect.Effect<InitReq, Status>
  readonly filter: CallFilter
  /** What is to be replayed. */
  readonly replays: Queue.Dequeue<Replay | EventFilter.IncludedEntity>
  /** Passes the consumer's beats on from now on, and the last one that has come before. */
  readonly passBeats: (pass: (beat: bigint) => void) => void
  /** Lets go of the init, which may be large, when nothing of it is needed any more. */
  readonly forget: () => void
  /** Does what is asked for after the init. Ends with what was wrong. */
  readonly changing: Effect.Effect<never, Status>
}

/**
 * @internal
 * Reads the consumer's side of a call. Every message is looked at as it comes, so that nothing that the consumer counts on is ignored. A change of a
 * large filter costs milliseconds: all that have come are one change, and there is one in a turn of the event loop.
 */
export const readRequests = (call: Pick<IncomingCall, "receive">, filter = new CallFilter()): CallRequests => {
  let init = Deferred.makeUnsafe<InitReq, Status>()
  const broken = Deferred.makeUnsafe<never, Status>()
  const replays = Effect.runSync(Queue.dropping<Replay | EventFilter.IncludedEntity>(maxWaiting))
  let beat: bigint | undefined
  let passBeat = (received: bigint): void => void (beat = received)
  let initialised = false
  let isPlain = false
  let criteria: Array<FilterCriteria> = []
  let replayRequests: Array<ReplayReq> = []
  const pending = Latch.makeUnsafe(false)
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
  const changeAll = Effect.sync(() => {
    const [all, requests] = [criteria, replayRequests]
    criteria = []
    replayRequests = []
    pending.closeUnsafe()
    change("filter", () => filter.change(all))
    for (const request of requests) change("replay", () => filter.replay(request))
  })
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
        for (const criterion of message.value.criteria) criteria.push(criterion)
        return pending.openUnsafe()
      case "replay":
        replayRequests.push(message.value)
        return pending.openUnsafe()
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
    changing: Effect.raceFirst(
      Deferred.await(broken),
      Effect.forever(Effect.andThen(pending.await, Effect.andThen(changeAll, Effect.yieldNow)))
    )
  }
}
