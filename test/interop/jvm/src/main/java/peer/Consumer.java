package peer;

import akka.Done;
import akka.actor.typed.ActorSystem;
import akka.actor.typed.Behavior;
import akka.actor.typed.Props;
import akka.actor.typed.SpawnProtocol;
import akka.actor.typed.javadsl.AskPattern;
import akka.actor.typed.ActorRef;
import akka.grpc.GrpcClientSettings;
import akka.japi.Pair;
import akka.persistence.query.Offset;
import akka.persistence.query.TimestampOffset;
import akka.persistence.query.typed.EventEnvelope;
import akka.projection.Projection;
import akka.projection.ProjectionBehavior;
import akka.projection.ProjectionId;
import akka.projection.eventsourced.javadsl.EventSourcedProvider;
import akka.projection.grpc.consumer.GrpcQuerySettings;
import akka.projection.grpc.consumer.javadsl.GrpcReadJournal;
import akka.projection.javadsl.Handler;
import akka.projection.r2dbc.javadsl.R2dbcHandler;
import akka.projection.r2dbc.javadsl.R2dbcProjection;
import akka.projection.r2dbc.javadsl.R2dbcSession;
import akka.stream.javadsl.Sink;
import com.google.protobuf.Any;
import com.google.protobuf.StringValue;
import com.google.protobuf.WrappersProto;
import com.google.protobuf.StructProto;
import io.r2dbc.spi.Statement;
import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;

/**
 * A JVM consumer of an EventProducerService, in one of four ways (`--mode`):
 * `read` (the bare query), `at-least-once`, `exactly-once` (one transaction an event), `grouped` (one a group).
 *
 * <p>The exactly-once modes store each event as a row of the table `received`, in the order in which they handle them, or
 * count events per entity in the table `projected` (`--counts yes`). The clock starts after `--warm` events.
 */
final class Consumer {
  private final boolean print;
  private final long expect, warm;
  private final boolean counts;
  private final Map<String, Long> last = new HashMap<>();
  private final long[] latencies = new long[1_000_000];
  private long count, doubled, gaps, start;
  int skip;
  final CompletableFuture<Void> done = new CompletableFuture<>();

  Consumer(Options o) {
    print = o.get("print", "yes").equals("yes"); expect = o.getInt("expect", 0); warm = o.getInt("warm", 0); counts = o.get("counts", "no").equals("yes");
  }

  /** Called once for each envelope that a handler processed. */
  synchronized void seen(EventEnvelope<Object> e) {
    long now = System.nanoTime();
    if (count == warm) start = now;
    String event = text(e.event());
    long seqNr = e.sequenceNr(), before = last.getOrDefault(e.persistenceId(), 0L);
    if (seqNr <= before) doubled++;
    else { if (seqNr > before + 1) gaps++; last.put(e.persistenceId(), seqNr); }
    int at = event.indexOf("\"at\":");
    if (at > 0 && count < latencies.length) {
      Instant i = Instant.now();
      latencies[(int) count] = i.getEpochSecond() * 1_000_000 + i.getNano() / 1000 - Long.parseLong(event.substring(at + 5, event.indexOf(',', at)));
    }
    count++;
    if (print) System.out.println("event " + e.persistenceId() + " " + seqNr + " " + e.event().getClass().getName() + " " + event.replace('\n', ' ') + " tags=" + e.getTags());
    if (count == expect) done.complete(null);
  }

  private static String text(Object event) {
    if (event instanceof StringValue) return ((StringValue) event).getValue();
    // what no descriptor is known of arrives as it was sent
    if (event instanceof Any) return ((Any) event).getTypeUrl() + " " + ((Any) event).getValue().toStringUtf8();
    return String.valueOf(event);
  }

  synchronized void report() {
    double s = (System.nanoTime() - start) / 1e9;
    int n = (int) Math.min(count, latencies.length);
    long[] l = java.util.Arrays.copyOfRange(latencies, Math.min(skip, n), n); n = l.length;
    java.util.Arrays.sort(l);
    System.out.printf("received=%d doubled=%d gaps=%d entities=%d seconds=%.2f rate=%.0f", count, doubled, gaps, last.size(), s, (count - warm) / s);
    if (n > 0) System.out.printf(" latency_us p50=%d p90=%d p99=%d max=%d", l[n / 2], l[(int) (n * .9)], l[(int) (n * .99)], l[n - 1]);
    System.out.println();
  }

  static void run(Options o) throws Exception {
    ActorSystem<SpawnProtocol.Command> system = ActorSystem.create(SpawnProtocol.create(), "consumer", o.config());
    String mode = o.get("mode", "read"), name = o.get("name", "jvm-peer");
    int ranges = o.getInt("ranges", 1);
    if (!mode.equals("read")) {
      Database.createTables(system);
      Database.execute(system, "CREATE TABLE IF NOT EXISTS projected(persistence_id TEXT PRIMARY KEY, n BIGINT NOT NULL)");
      // no unique key: a doubled event has to show
      Database.execute(system, "CREATE TABLE IF NOT EXISTS received(ordinal BIGSERIAL PRIMARY KEY, persistence_id TEXT NOT NULL, seq_nr BIGINT NOT NULL, "
          + "slice INT NOT NULL, timestamp_us BIGINT NOT NULL, class TEXT NOT NULL, event TEXT NOT NULL, tags TEXT NOT NULL)");
    }
    Consumer consumer = new Consumer(o);
    consumer.skip = o.getInt("skip", 0);
    GrpcReadJournal journal = GrpcReadJournal.create(system, GrpcQuerySettings.create(o.get("stream-id", "cart")),
        GrpcClientSettings.connectToServiceAt(o.get("host", "127.0.0.1"), o.getInt("port", 8101), system).withTls(false),
        List.of(WrappersProto.getDescriptor(), StructProto.getDescriptor()));
    System.out.println("ready");
    for (Pair<Integer, Integer> r : journal.sliceRanges(ranges)) {
      if (mode.equals("read")) {
        journal.<Object>eventsBySlices(journal.streamId(), r.first(), r.second(), Offset.noOffset())
            .filter(e -> !"BT".equals(e.source()) && !e.filtered() && e.eventOption().isDefined())
            .runWith(Sink.foreach(consumer::seen), system)
            .whenComplete((x, e) -> { if (e != null) { System.out.println("failed " + e); consumer.done.complete(null); } });
      } else {
        String key = journal.streamId() + "-" + r.first() + "-" + r.second();
        AskPattern.ask(system, (ActorRef<ActorRef<ProjectionBehavior.Command>> a) -> new SpawnProtocol.Spawn<>(
            (Behavior<ProjectionBehavior.Command>) ProjectionBehavior.create(consumer.projection(mode, ProjectionId.of(name, key),
                EventSourcedProvider.<Object>eventsBySlices(system, journal, journal.streamId(), r.first(), r.second()), o, system)),
            key, Props.empty(), a), Duration.ofSeconds(10), system.scheduler());
      }
    }
    try { consumer.done.get(o.getInt("seconds", 3600), java.util.concurrent.TimeUnit.SECONDS); }
    catch (java.util.concurrent.TimeoutException e) { System.out.println("timeout"); }
    consumer.report();
    system.terminate();
    system.getWhenTerminated().toCompletableFuture().get();
  }

  private Projection<EventEnvelope<Object>> projection(String mode, ProjectionId id, akka.projection.javadsl.SourceProvider<Offset, EventEnvelope<Object>> source, Options o, ActorSystem<?> system) {
    switch (mode) {
      case "at-least-once":
        return R2dbcProjection.atLeastOnceAsync(id, Optional.empty(), source, () -> new Handler<EventEnvelope<Object>>() {
          @Override public CompletionStage<Done> process(EventEnvelope<Object> e) { seen(e); return CompletableFuture.completedFuture(Done.getInstance()); }
        }, system);
      case "exactly-once":
        return R2dbcProjection.exactlyOnce(id, Optional.empty(), source, () -> new R2dbcHandler<EventEnvelope<Object>>() {
          @Override public CompletionStage<Done> process(R2dbcSession session, EventEnvelope<Object> e) {
            return session.updateOne(store(session, List.of(e))).thenApply(x -> { seen(e); return Done.getInstance(); });
          }
        }, system);
      case "grouped":
        return R2dbcProjection.groupedWithin(id, Optional.empty(), source, () -> new R2dbcHandler<List<EventEnvelope<Object>>>() {
          @Override public CompletionStage<Done> process(R2dbcSession session, List<EventEnvelope<Object>> group) {
            Statement s = store(session, group);
            return session.updateOne(s).thenApply(x -> { group.forEach(Consumer.this::seen); return Done.getInstance(); });
          }
        }, system).withGroup(o.getInt("group", 500), Duration.ofMillis(100));
      default:
        throw new IllegalArgumentException("--mode " + mode);
    }
  }

  private static Statement count(R2dbcSession session, List<EventEnvelope<Object>> envelopes) {
    Map<String, Integer> counts = new java.util.TreeMap<>();
    for (EventEnvelope<Object> e : envelopes) counts.merge(e.persistenceId(), 1, Integer::sum);
    return session.createStatement("INSERT INTO projected SELECT * FROM unnest($1::text[], $2::bigint[]) ON CONFLICT (persistence_id) DO UPDATE SET n = projected.n + EXCLUDED.n")
        .bind(0, counts.keySet().toArray(new String[0])).bind(1, counts.values().stream().map(Long::valueOf).toArray(Long[]::new));
  }

  /** A row per event, in one statement. */
  private Statement store(R2dbcSession session, List<EventEnvelope<Object>> envelopes) {
    if (counts) return count(session, envelopes);
    int n = envelopes.size();
    String[] ids = new String[n], classes = new String[n], events = new String[n], tags = new String[n];
    Long[] seqNrs = new Long[n], timestamps = new Long[n];
    Integer[] slices = new Integer[n];
    for (int i = 0; i < n; i++) {
      EventEnvelope<Object> e = envelopes.get(i);
      Instant timestamp = ((TimestampOffset) e.offset()).timestamp();
      ids[i] = e.persistenceId();
      seqNrs[i] = e.sequenceNr();
      slices[i] = e.slice();
      timestamps[i] = timestamp.getEpochSecond() * 1_000_000 + timestamp.getNano() / 1000;
      classes[i] = e.event().getClass().getName();
      events[i] = text(e.event());
      tags[i] = String.join(",", new java.util.TreeSet<>(e.getTags()));
    }
    return session.createStatement("INSERT INTO received(persistence_id, seq_nr, slice, timestamp_us, class, event, tags) "
            + "SELECT * FROM unnest($1::text[], $2::bigint[], $3::int[], $4::bigint[], $5::text[], $6::text[], $7::text[])")
        .bind(0, ids).bind(1, seqNrs).bind(2, slices).bind(3, timestamps).bind(4, classes).bind(5, events).bind(6, tags);
  }
}
