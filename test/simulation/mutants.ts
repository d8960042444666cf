import type { Workload } from "./report.ts"

/** Mistakes that the product could have, as changes of its text. The simulator has to find each. */
export interface Mutant {
  readonly name: string
  /** Where, from the root of the repository. */
  readonly file: string
  /** Which workload finds it: that of projections by default. */
  readonly workload?: Workload | undefined
  /** The first seed that is tried, where it takes many to find it. */
  readonly from?: number | undefined
  /** Texts that the file has exactly once, and what they become. */
  readonly changes: ReadonlyArray<readonly [from: string, to: string]>
}

const core = "packages/core/src"
const entity = "packages/entity/src"
const replication = "packages/replication/src"

export const mutants: ReadonlyArray<Mutant> = [
  {
    name: "offsets move without compare-and-set",
    file: `${core}/internal/memory/offsetStore.ts`,
    from: 4,
    changes: [["if (position !== from.position || timestamp !== from.timestamp) {", "if (false) {"]]
  },
  {
    name: "two workers handle the same replay",
    file: `${core}/internal/memory/offsetStore.ts`,
    from: 17,
    changes: [["before.sequenceNumber >= first", "false"]]
  },
  {
    name: "a worker from before a rewind goes on",
    file: `${core}/internal/memory/offsetStore.ts`,
    from: 18,
    changes: [["if (sources.get(transaction, sourceKey(key))?.revision !== revision) {", "if (false) {"]]
  },
  {
    name: "offsets are stored before the handler has written, and not with it",
    file: `${core}/internal/projection/handling.ts`,
    changes: [[
      "return advance(self, elements, callAndDiscard(self, envelopes), () => monitor.handled(envelopes))",
      "return Effect.andThen(advance(self, elements, Effect.void, () => monitor.handled(envelopes)), " +
      "self.store.transact(self.key, self.basis, [], callAndDiscard(self, envelopes)))"
    ]]
  },
  {
    name: "what fails in a handler is saved as handled",
    file: `${core}/internal/projection/handling.ts`,
    from: 26,
    changes: [[
      "    return Effect.map(handOut(self, envelopes), () => {\n",
      "    tracker.advance(elements)\n    return Effect.map(handOut(self, envelopes), () => {\n"
    ]]
  },
  {
    name: "a gap is accepted",
    file: `${core}/LogCursor.ts`,
    from: 1429,
    changes: [[
      "return position < next ? \"alreadyDelivered\" : \"gap\"",
      "return position < next ? \"alreadyDelivered\" : \"next\""
    ]]
  },
  {
    name: "a wake-up is lost: a group that is not full waits for another event",
    file: `${core}/internal/projection/Grouping.ts`,
    from: 10,
    changes: [["if (!this.isEmpty && this.#groupDue === Infinity) {", "if (false) {"]]
  },
  {
    name: "what is undone is announced",
    file: `${core}/internal/memory/database.ts`,
    from: 8,
    changes: [[
      "if (!Exit.isSuccess(exit)) return\n",
      "if (!Exit.isSuccess(exit)) {\n" +
      "for (const event of own.transaction.draft.events) commits.publish(event.entityType, () => [event])\n" +
      "return\n}\n"
    ]]
  },
  {
    name: "events are announced before they are committed",
    file: `${core}/internal/memory/database.ts`,
    from: 8,
    changes: [[
      "([current, now]) => f(current!.own.transaction, Math.floor(now * 1000))",
      "([current, now]) => Effect.tap(f(current!.own.transaction, Math.floor(now * 1000)), () => Effect.sync(() => {\n" +
      "for (const event of current!.own.transaction.draft.events) commits.publish(event.entityType, () => [event])\n" +
      "}))"
    ]]
  },
  {
    name: "a fenced worker goes on",
    file: `${core}/internal/projection/handling.ts`,
    from: 6,
    changes: [[
      "store.transact(key, basis, tracker.moves, effect, self.nextEvent)",
      "Effect.catchTag(store.transact(key, basis, tracker.moves, effect, self.nextEvent), \"Fenced\", () => Effect.void)"
    ]]
  },
  {
    name: "a rewind leaves offsets as they are",
    file: `${core}/internal/memory/projectionManagement.ts`,
    from: 6,
    changes: [
      [
        "if (isExact) forget(transaction, key)\n              else forgetSkips(transaction, key)",
        "forgetSkips(transaction, key)"
      ],
      [
        "const to = start.offsets.get(slice) ?? Offset.beginning",
        "const to = start.offsets.get(slice) ?? known.offset"
      ]
    ]
  },
  {
    name: "an append that is sent again does not look for its events",
    file: `${core}/internal/memory/logs.ts`,
    from: 23,
    changes: [["if (request.recheck) {", "if (false) {"]]
  },
  {
    name: "an expected sequence number may be overtaken",
    file: `${core}/internal/memory/logs.ts`,
    from: 8,
    changes: [[
      "actual !== (expected === \"none\" ? 0 : expected)",
      "actual < (expected === \"none\" ? 0 : expected)"
    ]]
  },
  {
    name: "what a nested transaction has appended stays when it is undone",
    file: `${core}/internal/memory/database.ts`,
    from: 8,
    changes: [["own.transaction = savepoint", "void savepoint"]]
  },
  {
    name: "caught up is said of what is behind",
    file: `${core}/ProjectionStatus.ts`,
    from: 11,
    changes: [["status.pastLag === 0 &&\n          hasReached(status, heads)", "status.pastLag === 0"]]
  },
  {
    name: "a receipt is reached one event too early",
    file: `${core}/internal/projection/judgeReceipt.ts`,
    changes: [["slice.offset.position >= receipt.position\n", "slice.offset.position >= receipt.position - 1\n"]]
  },
  {
    name: "who waits for a receipt is forgotten when nobody else has waited for a moment",
    file: `${core}/internal/projection/ReceiptWatch.ts`,
    changes: [["      this.#isLooking = false\n", ""]]
  },
  {
    name: "lag is that of one worker",
    file: `${core}/ProjectionStatus.ts`,
    changes: [["lags.reduce((sum, lag) => sum + lag, 0)", "Math.min(...lags)"]]
  },
  {
    name: "an event is skipped, or put aside, when it has failed once",
    file: `${core}/internal/projection/handling.ts`,
    changes: [["if (tries === recovery.retries) return cause", "if (recovery.poison !== \"stop\") return cause"]]
  },
  {
    name: "an offset moves past an event that nobody puts aside",
    file: `${core}/internal/projection/handling.ts`,
    from: 26,
    changes: [["management.putAside(letter), () =>", "Effect.void, () =>"]]
  },
  {
    name: "what was put aside is handled by two at once",
    file: `${core}/internal/projection/handleDeadLetters.ts`,
    from: 85,
    changes: [[
      "      const now = yield* standing(self, listed)\n      if (now !== \"next\") return now\n      const letter = yield* management.discard(key, listed)\n      if (letter === undefined) return \"gone\"\n      if (wasDeleted(listed, letter)) return \"obsolete\"\n      yield* handling",
      "      yield* management.discard(key, listed)\n      yield* handling"
    ]]
  },
  {
    name: "what is cleared is remembered",
    file: `${core}/internal/memory/projectionManagement.ts`,
    from: 5,
    changes: [[
      "    forget(transaction, key)\n    for (const [id, row] of letters",
      "    for (const [id, row] of letters"
    ]]
  },
  {
    name: "a wake-up is lost: a follower forgets it after it has looked at the tail",
    file: `${core}/internal/reading/follow.ts`,
    from: 179,
    changes: [
      ["    latch.closeUnsafe()\n", ""],
      [
        "Effect.andThen(latch.await, pull(self))",
        "Effect.andThen(Effect.andThen(Effect.sync(() => latch.closeUnsafe()), latch.await), pull(self))"
      ]
    ]
  },
  {
    name: "a wake-up is lost: the tail wakes those who follow the first of its new events",
    file: `${core}/internal/reading/JournalTail.ts`,
    from: 6,
    changes: [[
      "if (taken.some(({ slice }) => SliceRange.contains(range, slice))) latch.openUnsafe()",
      "if (SliceRange.contains(range, taken[0]!.slice)) latch.openUnsafe()"
    ]]
  },
  {
    name: "a wake-up is lost: the tail listens only once it has found nothing",
    file: `${core}/internal/reading/JournalTails.ts`,
    from: 10,
    changes: [["Effect.andThen(changed, read)", "Effect.andThen(Effect.flatten(journal.changes(entityType)), read)"]]
  },
  {
    name: "a change of a state wakes nobody",
    file: `${core}/internal/memory/database.ts`,
    from: 5,
    changes: [["for (const entityType of transaction.states) states.changed(entityType)", ""]]
  },
  {
    name: "what a replay brings is passed",
    file: `${core}/ReadingState.ts`,
    changes: [["if (verdict === \"duplicate\") {", "if (verdict === \"accepted\" || verdict === \"duplicate\") {"]]
  },
  {
    name: "a source that goes past deleted events begins before them",
    file: `${core}/internal/reading/follow.ts`,
    from: 8,
    changes: [["start.pastDeleted === true ? yield*", "start.pastDeleted === undefined ? yield*"]]
  },
  {
    name: "a run that a selection leaves out is one position short",
    file: `${core}/internal/pipeline/LeftOut.ts`,
    changes: [["          run.position = position\n", "          run.position = (position - 1) as Position\n"]]
  },
  {
    name: "at most once, the offset is stored after the handler",
    file: `${core}/internal/projection/handling.ts`,
    from: 4,
    changes: [["self.projection.delivery._tag === \"AtMostOnce\"\n    ? handOver", "false\n    ? handOver"]]
  },
  {
    name: "at most once, a group is handed over in part",
    file: `${core}/internal/projection/handling.ts`,
    from: 10,
    changes: [[
      "Effect.matchCauseEffect(callAndDiscard(self, given), {",
      "Effect.matchCauseEffect(callAndDiscard(self, given.slice(0, 1)), {"
    ]]
  },
  {
    name: "events of a slice are handled at the same time",
    file: `${core}/internal/projection/SliceLanes.ts`,
    changes: [[
      "if (lane !== undefined) lane.elements.push(element)",
      "if (lane !== undefined && element._tag === \"Envelope\") this.#ready.push({ elements: [element], alone: 0 })\n      if (lane !== undefined) lane.elements.push(element)"
    ]]
  },
  {
    name: "what fails beside other events counts as handled",
    file: `${core}/internal/projection/handleInParallel.ts`,
    from: 78,
    changes: [["lanes.failed(envelopes[0], exit.value)", "lanes.handled(envelopes)"]]
  },
  {
    name: "what was handled beside other events comes again for a pause",
    file: `${core}/internal/projection/inHand.ts`,
    changes: [[
      "Effect.andThen(Scope.close(outcome.scope, Exit.void), Effect.sync(() => leaveAtEnd(self)))",
      "Scope.close(outcome.scope, Exit.void)"
    ]]
  },
  {
    name: "a handler that has started outlives its worker",
    file: `${core}/internal/projection/scopedInTime.ts`,
    changes: [["(exit) => release(scope, exit))", "() => Effect.void)"]]
  },
  {
    name: "an entity begins with the event that selects it",
    file: `${core}/ReadingState.ts`,
    workload: "network",
    changes: [["return last === 0 ? \"unproven\" : \"gap\"", "return last === 0 ? \"accepted\" : \"gap\""]]
  },
  {
    name: "a consumer takes a stream on which nothing comes for one that is alive",
    file: "packages/grpc/src/internal/client/producerClient.ts",
    workload: "network",
    from: 5,
    changes: [
      ["yield* call.keepAlive(", "yield* ((_: unknown) => Effect.void)("],
      ["watchStall(call,", "((..._: ReadonlyArray<unknown>) => Effect.void)(call,"]
    ]
  },
  {
    name: "what a producer hides for now is gone for good",
    file: `${core}/internal/projection/fillOfLog.ts`,
    workload: "network",
    from: 470,
    changes: [["isShown ? Stream.empty", "true ? Stream.empty"]]
  },
  {
    name: "a change of a filter fences nobody",
    file: `${core}/internal/memory/consumerFilter.ts`,
    workload: "filters",
    changes: [["if (restarts) {\n          for (const key", "if (false) {\n          for (const key"]]
  },
  {
    name: "a worker keeps the filter that it began with",
    file: `${core}/internal/projection/followFilter.ts`,
    workload: "filters",
    changes: [[
      "newest: newest ?? { filter: initial, version: undefined }",
      "newest: { filter: initial, version: undefined }"
    ]]
  },
  {
    name: "a change does not wait for at-least-once workers of other processes",
    file: `${core}/ConsumerFilter.ts`,
    workload: "filters",
    from: 103,
    changes: [["yield* filters.afterCommit(outlive(stored))", "yield* Effect.void"]]
  },
  {
    name: "what is to come now comes before the next event",
    file: `${core}/internal/memory/consumerFilter.ts`,
    workload: "filters",
    changes: [["if (history !== \"now\" && givesUp === undefined) return", "if (givesUp === undefined) return"]]
  },
  {
    name: "what is to be left behind comes before the next event",
    file: `${core}/internal/memory/consumerFilter.ts`,
    workload: "filters",
    from: 44,
    changes: [[
      "givenUp: [...kept, { version, until: sinceOf(offset) }]",
      "givenUp: kept"
    ]]
  },
  {
    name: "what is left behind is more than what was passed over",
    file: `${core}/internal/memory/consumerFilter.ts`,
    workload: "filters",
    from: 30,
    changes: [[
      "until: sinceOf(offset) }",
      "until: sinceOf(offset) + 60_000_000 as never }"
    ]]
  },
  {
    name: "what is left behind is of what was included before, too",
    file: `${core}/GivenUp.ts`,
    workload: "filters",
    from: 248,
    changes: [["after(subject) && !before(subject)", "after(subject)"]]
  },
  {
    name: "what is left behind comes when all that was passed over is looked through",
    file: `${core}/internal/projection/incarnation.ts`,
    workload: "filters",
    from: 43,
    changes: [["isPast && !givenUp.isEmpty", "isPast && false"]]
  },
  {
    name: "how far was looked back is stored before that is handled",
    file: `${core}/internal/projection/incarnation.ts`,
    workload: "filters",
    from: 10,
    changes: [[
      "  const judged = yield* judge(self, chunk.elements",
      "  if (chunk.progress !== undefined) self.past.take(chunk)\n" +
      "  if (chunk.progress !== undefined) yield* lookedBack(self)\n" +
      "  const judged = yield* judge(self, chunk.elements"
    ]]
  },
  {
    name: "how far was looked back is stored while some of it waits in a group",
    file: `${core}/internal/projection/incarnation.ts`,
    workload: "filters",
    from: 115,
    changes: [[
      "    yield* handleAll(self)\n    yield* saveNow(self)\n    yield* filter.lookedThrough(",
      "    yield* filter.lookedThrough("
    ]]
  },
  {
    name: "the sequence numbers that are stored of entities outlive a rewind",
    file: `${core}/Rewind.ts`,
    workload: "filters",
    from: 6,
    changes: [[
      "if (rewind.revision > revision && (since === undefined || rewind.since < since)) since = rewind.since",
      "void rewind"
    ]]
  },
  {
    name: "what a rewind has jumped over comes all the same",
    file: `${core}/Rewind.ts`,
    workload: "filters",
    from: 25,
    changes: [[
      "rewinds.some(({ jumpedFrom, since }) => jumpedFrom",
      "rewinds.some(({ jumpedFrom, since }) => false && jumpedFrom"
    ]]
  },
  {
    name: "what was jumped over does not come after a rewind to before it",
    file: `${core}/Rewind.ts`,
    workload: "filters",
    from: 1852,
    changes: [["rewind.since < since ? [rewind] :", "rewind.jumpedFrom || rewind.since < since ? [rewind] :"]]
  },
  {
    name: "what was left out before the place that a rewind leads to counts as handled",
    file: `${core}/Rewind.ts`,
    workload: "filters",
    from: 9,
    changes: [["if (completeUpTo === undefined || !isSame || !isAfter(to, completeUpTo)) {", "if (true) {"]]
  },
  {
    name: "what a handler has written is undone before the rewind, and not with it",
    file: `${core}/internal/projection/rewind.ts`,
    workload: "filters",
    from: 19,
    changes: [["let rewinding = undo\n", "yield* undo\n    let rewinding: typeof undo = Effect.void\n"]]
  },
  {
    name: "a consumer is sent what it does not select",
    file: "packages/grpc/src/internal/server/CallFilter.ts",
    workload: "network",
    changes: [["if (!isReplayed) return this.#passes(envelope)", "if (!isReplayed) return true"]]
  },
  {
    name: "a worker begins before the one has ended that had its slices",
    file: `${core}/internal/projection/WorkerSet.ts`,
    workload: "scaling",
    from: 8,
    changes: [["if (others.length === 0) return Effect.void", "if (others.length >= 0) return Effect.void"]]
  },
  {
    name: "a worker begins though one of another process has its slices",
    file: `${core}/internal/projection/WorkerSet.ts`,
    workload: "scaling",
    from: 92,
    changes: [["if (lease === undefined) return work", "if (lease !== null) return work"]]
  },
  {
    name: "workers of two processes handle the same events while they are scaled",
    file: `${core}/internal/memory/offsetStore.ts`,
    workload: "scaling",
    from: 4,
    changes: [["if (position !== from.position || timestamp !== from.timestamp) {", "if (false) {"]]
  },
  {
    name: "merged sources have their offsets in one place",
    file: `${core}/internal/memory/offsetStore.ts`,
    workload: "scaling",
    from: 5,
    changes: [[
      "sliceKey: (key, slice) => `${slice} ${textOf(key)}`",
      "sliceKey: (key, slice) => `${slice} ${key.projection}`"
    ]]
  },
  {
    name: "the offset of a flow is stored before what comes first is done",
    file: `${core}/internal/projection/FlowLanes.ts`,
    workload: "scaling",
    from: 19,
    changes: [[
      "if (element._tag === \"Envelope\" && !this.#behind.delete(element)) break",
      "if (element._tag === \"Envelope\" && !this.#behind.delete(element) && this.#behind.size === 0) break"
    ]]
  },
  {
    name: "later events of a parked entity are handled",
    file: `${core}/internal/projection/ParkedEntities.ts`,
    from: 85,
    changes: [[
      "return this.#ids.size > 0 && this.#ids.has(place.persistenceId) && this.#isParkable(place)",
      "return false"
    ]]
  },
  {
    name: "the workers of a dead process are shown as they were",
    file: `${core}/internal/projection/isLate.ts`,
    workload: "scaling",
    from: 20,
    changes: [["Math.abs(now - at) > missedIntervals * interval * 1000", "Math.abs(now - at) > Infinity"]]
  },
  {
    name: "workers that have left are still reported",
    file: `${core}/internal/projection/Heartbeats.ts`,
    workload: "scaling",
    changes: [["current.has(key) ? [] : [id])", "[])"]]
  },
  {
    name: "an entity appends whatever others have written",
    file: `${entity}/internal/eventSourcedBehaviour.ts`,
    workload: "entities",
    changes: [["persistenceId, expected, events: encoded", "persistenceId, expected: \"any\", events: encoded"]]
  },
  {
    name: "a state is kept where another has written",
    file: `${entity}/internal/handle.ts`,
    workload: "entities",
    changes: [["error._tag === \"Stale\" || error", "error"]]
  },
  {
    name: "command ids are lost when an entity is recovered",
    file: `${entity}/internal/recover.ts`,
    workload: "entities",
    changes: [["if (command !== undefined) {", "if (command === undefined) continue\n      if (false) {"]]
  },
  {
    name: "a snapshot forgets the command ids before it",
    file: `${entity}/internal/recover.ts`,
    workload: "entities",
    changes: [["if (text !== undefined) commands.decode(text)", "void text"]]
  },
  {
    name: "a version takes its place before it has come far enough",
    file: `${core}/internal/projection/buildVersion.ts`,
    workload: "versions",
    from: 13,
    changes: [[
      "versionLag(ends, progress, waitsFrom) <= version.lag",
      "versionLag(ends, progress, waitsFrom) <= version.lag + 3"
    ]]
  },
  {
    name: "a version is complete when it is in one of its slices",
    file: `${core}/internal/projection/versionLag.ts`,
    workload: "versions",
    from: 4,
    changes: [["sum += behind(head, offsets.get(slice))", "sum = behind(head, offsets.get(slice))"]]
  },
  {
    name: "a version that has dead letters takes its place",
    file: `${core}/internal/projection/versionLag.ts`,
    workload: "versions",
    from: 18,
    changes: [["found.isPaused || found.hasDeadLetters", "found.isPaused"]]
  },
  {
    name: "the workers of a version that is retired go on",
    file: `${core}/internal/memory/projectionManagement.ts`,
    workload: "versions",
    changes: [["    if (phase === \"Retired\") {\n", "    if (phase === \"Live\") {\n"]]
  },
  {
    name: "a version is still built once a later one is live",
    file: `${core}/ProjectionVersion.ts`,
    workload: "versions",
    from: 14,
    changes: [[
      "other.version < id.version && isAtWork(other.phase) ?",
      "other.version < id.version && other.phase === \"Live\" ?"
    ]]
  },
  {
    name: "a version is live though its readers are not led to it",
    file: `${core}/internal/memory/projectionManagement.ts`,
    workload: "versions",
    from: 6,
    changes: [[
      "Effect.timeoutOrElse(Effect.provideService(switching, Transaction, noTables), {",
      "Effect.timeoutOrElse(Effect.ignore(Effect.provideService(switching, Transaction, noTables)), {"
    ]]
  },
  {
    name: "readers are led to a version before the transaction that makes it live",
    file: `${core}/internal/projection/buildVersion.ts`,
    workload: "versions",
    changes: [[
      "(yield* management.complete(version, isComplete, switched, { ...issue, target }).pipe(",
      "(yield* Effect.andThen(management.complete({ ...version, version: 99 }, isComplete, Effect.void), " +
      "Effect.andThen(switched, management.complete(version, isComplete, Effect.void, { ...issue, target }))).pipe("
    ]]
  },
  {
    name: "a version is dropped while it is built",
    file: `${core}/internal/projection/buildVersion.ts`,
    workload: "versions",
    changes: [["if (one.phase !== \"Retired\") continue", "if (one.phase === \"Live\") continue"]]
  },
  {
    name: "a version that is retired is dropped at once",
    file: `${core}/internal/projection/buildVersion.ts`,
    workload: "versions",
    changes: [["if (now - since < patience) {", "if (now < since) {"]]
  },
  {
    name: "a version is cancelled though it has just become live",
    file: `${core}/internal/memory/projectionManagement.ts`,
    workload: "versions",
    from: 9,
    changes: [["if (version?.phase !== phase) return false", "if (version === undefined) return false"]]
  },
  {
    name: "a version takes its place though somebody has just paused or rewound it",
    file: `${core}/internal/memory/projectionManagement.ts`,
    workload: "versions",
    from: 8,
    changes: [["if (isLive && !isComplete(progress)) return false", "void isComplete(progress)"]]
  },
  {
    name: "a version takes its place though it has just been cancelled",
    file: `${core}/ProjectionVersion.ts`,
    workload: "versions",
    from: 47,
    changes: [[
      "version === id.version && phase === \"Building\")) return []",
      "version === id.version && phase !== \"Live\")) return []"
    ]]
  },
  {
    name: "the offsets of a version that is dropped stay",
    file: `${core}/internal/memory/projectionManagement.ts`,
    workload: "versions",
    changes: [["for (const key of sourcesOf(transaction, version.projection)) forgetAll(transaction, key)", ""]]
  },
  {
    name: "a version that is rewound before it begins is taken for a projection without versions",
    file: `${core}/internal/projection/rewind.ts`,
    workload: "versions",
    from: 4,
    changes: [["if (projection.version !== undefined) {", "if (projection.version === null) {"]]
  },
  {
    name: "what is to be skipped outlives a rewind",
    file: `${core}/internal/memory/projectionManagement.ts`,
    workload: "skips",
    changes: [["for (const table of [slices, entities, skips]) {", "for (const table of [slices, entities]) {"]]
  },
  {
    name: "an event is skipped again and again",
    file: `${core}/internal/projection/handling.ts`,
    workload: "skips",
    changes: [[
      "      management.endSkip(key, place),\n      (isThere)",
      "      Effect.succeed(management !== undefined),\n      (isThere)"
    ]]
  },
  {
    name: "what comes before an event that is skipped goes with it",
    file: `${core}/internal/projection/handling.ts`,
    workload: "skips",
    from: 2,
    changes: [["return handleSome(elements.slice(0, at)).pipe(", "return handleSome(elements.slice(0, 0)).pipe("]]
  },
  {
    name: "workers are not told what they are to skip",
    file: `${core}/internal/memory/projectionManagement.ts`,
    workload: "skips",
    changes: [[
      "command: \"Skip\", revision: store(transaction, key.projection) }",
      "command: \"Skip\", revision: commandOf(transaction, key.projection).revision }"
    ]]
  },
  {
    name: "what is to be skipped is forgotten as the source is asked for another event",
    file: `${core}/internal/projection/loadSkips.ts`,
    workload: "skips",
    changes: [[
      "const found = yield* fetch(provider, skip)",
      "const found = yield* fetch(provider, { ...skip, sequenceNumber: SequenceNumber.make(1) })"
    ]]
  },
  {
    name: "the number of workers changes before the last change has settled",
    file: `${core}/internal/projection/autoscaling.ts`,
    workload: "automatic",
    from: 68,
    changes: [["at - since >= settleFor && workers < bounds.max", "workers < bounds.max"]]
  },
  {
    name: "the number of workers falls as soon as it is quiet",
    file: `${core}/internal/projection/autoscaling.ts`,
    workload: "automatic",
    from: 2,
    changes: [[
      "quietSince !== undefined && at - quietSince >= quietFor && at - since >= quietFor",
      "quietSince !== undefined"
    ]]
  },
  {
    name: "what a worker can do is forgotten, so that a constant load ends in no number",
    file: `${core}/internal/projection/autoscaling.ts`,
    workload: "automatic",
    from: 5,
    changes: [[
      "at - capacity.at < rememberFor ? capacity.each : Infinity",
      "at - capacity.at < 60 ? capacity.each : Infinity"
    ]]
  },
  {
    name: "the number of workers has no bounds",
    file: `${core}/internal/projection/autoscaling.ts`,
    workload: "automatic",
    from: 6,
    changes: [["Math.min(max, Math.max(least, workers))", "Math.max(least, workers, max - max)"]]
  },
  {
    name: "the number of workers follows the lag though somebody has said how many there are to be",
    file: `${core}/internal/projection/scaleByLag.ts`,
    workload: "automatic",
    from: 5,
    changes: [["(command.workers === undefined || command.automatic)", "true"]]
  },
  {
    name: "the number of workers never falls",
    file: `${core}/internal/projection/autoscaling.ts`,
    workload: "automatic",
    from: 2,
    changes: [["if (isQuiet && half < workers", "if (isQuiet && half > workers"]]
  },
  {
    name: "the number of workers is set though there is a command since it was found",
    file: `${core}/internal/memory/projectionManagement.ts`,
    workload: "automatic",
    from: 8,
    changes: [["if (before?.revision !== at) return false", "if (before === undefined) return false"]]
  },
  {
    name: "an event that has come twice is stored twice",
    file: `${replication}/internal/replica.ts`,
    workload: "replicas",
    changes: [["return { _tag: isNew ? \"Stored\" : \"Duplicate\" }", "return { _tag: \"Stored\" }"]]
  },
  {
    name: "what has come is known by the clock, and not by the vector",
    file: `${replication}/internal/replica.ts`,
    workload: "replicas",
    changes: [
      ["  { seen, version: known }: Known,\n", "  { seen, version: known, time: latest }: Known,\n"],
      ["  const isNew = originSequenceNumber > last.number\n", "  const isNew = time! > latest\n"],
      ["if (!isRelayed && time !== undefined) {", "if (latest < 0) {"]
    ]
  },
  {
    name: "a recovery forgets the versions",
    file: `${entity}/internal/recover.ts`,
    workload: "replicas",
    changes: [[
      "if (replication !== undefined) progress.known = lineage!.after(progress.known, replication)",
      "void replication"
    ]]
  },
  {
    name: "a snapshot forgets the version",
    file: `${replication}/internal/replica.ts`,
    workload: "replicas",
    changes: [[
      "  return {\n    version,\n    seen: new Map(seen.map(",
      "  return {\n    version: new Map(version.size < 0 ? version : []),\n    seen: new Map(seen.map("
    ]]
  },
  {
    name: "a snapshot forgets what has come",
    file: `${replication}/internal/replica.ts`,
    workload: "replicas",
    changes: [["seen: Array.from(seen, (", "seen: Array.from(new Map<never, never>(seen.size < 0 ? [] : []), ("]]
  },
  {
    name: "an event has what the replica knows in its version, and not only what its origin knew",
    file: `${replication}/internal/replica.ts`,
    workload: "replicas",
    changes: [[
      "version: event.version,\n  concurrent",
      "version: VersionVector.merge(known.version, event.version),\n  concurrent"
    ]]
  },
  {
    name: "the time is that of the clock, also where it goes back",
    file: `${replication}/internal/replica.ts`,
    workload: "replicas",
    changes: [["Timestamp.make(Math.max(now, time + 1))", "Timestamp.make(Math.max(now, time - time))"]]
  },
  {
    name: "an event has the time when it came",
    file: `${replication}/internal/replica.ts`,
    workload: "replicas",
    changes: [["time: event.time ?? nextTime(known, now)\n", "time: nextTime(known, now)\n"]]
  },
  {
    name: "a replica is sent what comes to it on another way",
    file: `${replication}/Replication.ts`,
    workload: "replicas",
    changes: [["replication !== undefined && known.has(replication.origin)", "known.size < 0"]]
  },
  {
    name: "in causal order no more is sent than in another one",
    file: `${replication}/Replication.ts`,
    workload: "replicas",
    from: 13,
    changes: [[
      "order === \"causal\" ? [remote] : others",
      "order === \"causal\" && others.length === 0 ? [remote] : others"
    ]]
  },
  {
    name: "a replica is sent what comes to it on another way, and nothing else",
    file: `${replication}/Replication.ts`,
    workload: "replicas",
    changes: [[
      "replication !== undefined && known.has(replication.origin)",
      "replication !== undefined && !known.has(replication.origin)"
    ]]
  },
  {
    name: "nobody relays the events of others",
    file: `${replication}/Replication.ts`,
    workload: "replicas",
    changes: [[
      "return ({ replication }: Place) => replication !== undefined && known.has(replication.origin)",
      "return ({ replication }: Place) => replication !== undefined && (known.has(replication.origin) || replication.origin !== self)"
    ]]
  },
  {
    name: "what an entity could not take is never given to it again",
    file: `${replication}/internal/givingAgain.ts`,
    workload: "replicas",
    from: 3,
    changes: [[
      "const exit = yield* Effect.exit(Effect.all([giving, waiting]))",
      "const exit = yield* Effect.exit(Effect.andThen(Effect.never, Effect.all([giving, waiting])))"
    ]]
  },
  {
    name: "what an entity could not take is given up",
    file: `${replication}/Replication.ts`,
    workload: "replicas",
    from: 3,
    changes: [[
      "RecoveryStrategy.retryAndDeadLetter({ retries: 3, delay: \"200 millis\", queue: { overflow: \"holdBack\" } })",
      "RecoveryStrategy.retryAndSkip({ retries: 3, delay: \"200 millis\" })"
    ]]
  }
]
