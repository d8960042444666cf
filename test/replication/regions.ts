/** Replicas in one process, each with a storage and a server of its own, and links between them that can be cut. */
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import type * as EventFilter from "@sluice/core/EventFilter"
import * as Journal from "@sluice/core/Journal"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import type { SnapshotStore } from "@sluice/core/SnapshotStore"
import * as EntityClient from "@sluice/entity/EntityClient"
import type * as EventProducer from "@sluice/grpc/EventProducer"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import * as Replica from "@sluice/replication/Replica"
import * as ReplicatedEventSourced from "@sluice/replication/ReplicatedEventSourced"
import * as Replication from "@sluice/replication/Replication"
import * as Wait from "@sluice/testing/Wait"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { Notes } from "../../packages/replication/test/kit/Notes.ts"
import * as Switchboard from "../kit/Switchboard.ts"

export type Storage = Layer.Layer<Journal.Journal | SnapshotStore | Projection.Stores, unknown>

/** Nobody listens there. */
const nowhere = 1

const isBetween = (a: string, b: string) => ({ from, to }: { readonly from: string; readonly to: string }) =>
  from === a && to === b || from === b && to === a

/** A replica that serves, and does not consume yet. */
const serving = Effect.fnUntraced(function*(
  notes: Notes,
  id: string,
  storage: Storage,
  isPlain: boolean,
  select: EventProducer.Options["select"],
  order: Replication.ConsumerOptions["order"]
) {
  const context = yield* Layer.build(
    Layer.fresh(
      Replication.producer(notes, { select, order }).pipe(
        Layer.provideMerge(isPlain ? ReplicatedEventSourced.layerPlain(notes) : ReplicatedEventSourced.layer(notes)),
        Layer.provideMerge([Replica.layer(id), GrpcServer.layer({ port: 0 }), storage, ProjectionRegistry.layer])
      )
    )
  )
  return { id, context, port: Context.get(context, GrpcServer.GrpcServer).port }
})

/** Replicas with these storages. Each consumes those that `links` names, which are all others by default. */
export const start = Effect.fnUntraced(function*(
  notes: Notes,
  storages: Readonly<Record<string, Storage>>,
  {
    answers = (_, to) => to,
    filterOf = () => undefined,
    given = (_, runner) => runner,
    isPlain = false,
    links = () => true,
    order,
    orderOf = () => order,
    select,
    selectOf = () => select
  }: {
    /** Which replica is at the address that one has for another, until `swap` says otherwise. */
    readonly answers?: (from: string, to: string) => string
    readonly isPlain?: boolean
    readonly links?: (from: string, to: string) => boolean
    readonly select?: EventProducer.Options["select"]
    /** What each offers, where they differ. */
    readonly selectOf?: (id: string) => EventProducer.Options["select"]
    /** What each takes from the others at first. */
    readonly filterOf?: (id: string) => EventFilter.EventFilter | undefined
    readonly order?: Replication.ConsumerOptions["order"]
    /** That of each, where they differ. */
    readonly orderOf?: (id: string) => Replication.ConsumerOptions["order"]
    /** What a replica gives events to, in place of its entities. */
    readonly given?: (id: string, entities: EntityClient.Runner) => EntityClient.Runner
  } = {}
) {
  const ids = Object.keys(storages)
  const servers = yield* Effect.forEach(
    ids,
    (id) => serving(notes, id, storages[id]!, isPlain, selectOf(id), orderOf(id))
  )
  const lines: Array<
    { readonly from: string; readonly to: string; readonly port: number; readonly line: Switchboard.Switchboard }
  > = []
  const replicas = yield* Effect.forEach(servers, ({ context, id }) =>
    Effect.gen(function*() {
      const remotes: Record<string, Replication.Remote> = {}
      for (const other of servers) {
        if (other.id === id || !links(id, other.id)) continue
        const line = yield* Switchboard.start(servers.find((server) => server.id === answers(id, other.id))!.port)
        lines.push({ from: id, to: other.id, port: other.port, line })
        remotes[other.id] = { address: `localhost:${line.port}` }
      }
      const options = { replicas: remotes, consumers: 2, filter: filterOf(id), order: orderOf(id) }
      const runs = EntityClient.Runs(notes.name)
      const consuming = Context.add(context, runs, given(id, Context.get(context, runs)))
      yield* Effect.provideContext(Layer.build(Replication.consumer(notes, options)), consuming)
      const client = yield* Effect.provideContext(ReplicatedEventSourced.client(notes), context)
      return {
        id,
        context,
        remotes: Object.keys(remotes),
        options: { replicas: remotes, order: orderOf(id) },
        notes: client,
        projections: Replication.projections(notes, id, options),
        /** Changes what is taken from the others, all at once. */
        take: (
          change: (filter: EventFilter.EventFilter) => EventFilter.EventFilter,
          history?: ConsumerFilter.HistoryPolicy
        ) =>
          Journal.transaction(
            Effect.forEach(
              Replication.projections(notes, id, options),
              (projection) => ConsumerFilter.update(projection, change, { by: "ada", history }),
              { discard: true }
            )
          ).pipe(Effect.provideContext(context)),
        /** Has it consume nothing of another one, from when this ends. */
        pause: (remote: string) =>
          Effect.gen(function*() {
            const projection = `RES_${notes.name}_${id}_${remote}`
            yield* ProjectionManagement.pause(projection)
            yield* Wait.until(
              `${id} to consume nothing of ${remote}`,
              Effect.map(
                ProjectionStatus.status(projection),
                (workers) => workers.length > 0 && workers.every(({ state }) => state === "Paused")
              ),
              { atMost: "60 seconds" }
            )
          }).pipe(Effect.provideContext(context)),
        resume: (remote: string) =>
          Effect.provideContext(ProjectionManagement.resume(`RES_${notes.name}_${id}_${remote}`), context),
        /** Has everything come again. */
        rewind: Effect.forEach(
          Replication.projections(notes, id, options),
          (projection) => Projection.rewind(projection, "beginning"),
          { discard: true }
        ).pipe(Effect.provideContext(context)),
        /** What the journal has of an entity. */
        events: (entity: string) =>
          Stream.runCollect(Journal.read(notes.entityType, `${entity}|${id}`)).pipe(
            Effect.map((events) =>
              Array.from(events, ({ replication }) => `${replication!.origin}#${replication!.originSequenceNumber}`)
            ),
            Effect.provideContext(context)
          )
      }
    }))
  return {
    replicas,
    ports: new Map(servers.map(({ id, port }) => [id, port])),
    /** Cuts what two consume of each other. */
    cut: (a: string, b: string) =>
      Effect.forEach(lines.filter(isBetween(a, b)), ({ line }) => Effect.andThen(line.lead(nowhere), line.cut), {
        discard: true
      }),
    heal: (a: string, b: string) =>
      Effect.forEach(lines.filter(isBetween(a, b)), ({ line, port }) => line.lead(port), { discard: true }),
    /** Has the address of one lead a replica to another. */
    swap: (from: string, to: string, another: string) =>
      Effect.forEach(
        lines.filter((line) => line.from === from && line.to === to),
        ({ line }) => Effect.andThen(line.lead(servers.find(({ id }) => id === another)!.port), line.cut),
        { discard: true }
      ),
    /** Waits until one has so many events of an entity. */
    settledAt: ({ events, id }: Pick<(typeof replicas)[number], "events" | "id">, entity: string, count: number) =>
      Wait.until(
        `${count} events of ${entity} at ${id}`,
        Effect.map(events(entity), ({ length }) => length >= count),
        { atMost: "2 minutes" }
      ),
    /** Waits until each has all that the others have, and nobody is behind. */
    settled: (entities: ReadonlyArray<string>, count: (entity: string) => number) =>
      Effect.forEach(replicas, ({ context, events, id, remotes }) =>
        Effect.gen(function*() {
          for (const entity of entities) {
            yield* Wait.until(
              `all ${count(entity)} events of ${entity} at ${id}`,
              Effect.map(events(entity), (found) => found.length >= count(entity)),
              { atMost: "2 minutes" }
            )
          }
          for (const remote of remotes) {
            yield* Wait.end(
              `${id} to be up to date with ${remote}`,
              // a link that was healed a moment ago may not lead anywhere yet
              ProjectionStatus.caughtUp(`RES_${notes.name}_${id}_${remote}`).pipe(
                Effect.retry({
                  while: ({ _tag }) => _tag === "SourceFailed",
                  schedule: Schedule.spaced("100 millis"),
                  times: 600
                }),
                Effect.provideContext(context)
              )
            )
          }
        }), { discard: true })
  }
})
