package peer;

import akka.NotUsed;
import akka.actor.typed.ActorRef;
import akka.actor.typed.ActorSystem;
import akka.actor.typed.javadsl.Behaviors;
import akka.cluster.sharding.typed.scaladsl.EntityRef;
import akka.cluster.typed.Cluster;
import akka.cluster.typed.Join;
import akka.grpc.GrpcClientSettings;
import akka.http.scaladsl.Http$;
import akka.http.scaladsl.model.HttpRequest;
import akka.http.scaladsl.model.HttpResponse;
import akka.persistence.query.Offset;
import akka.persistence.query.PersistenceQuery;
import akka.persistence.query.typed.EventEnvelope;
import akka.persistence.r2dbc.query.javadsl.R2dbcReadJournal;
import akka.persistence.typed.ReplicaId;
import akka.persistence.typed.crdt.ORSet;
import akka.persistence.typed.internal.ReplicatedEventMetadata;
import akka.persistence.typed.javadsl.CommandHandler;
import akka.persistence.typed.javadsl.EventHandler;
import akka.persistence.typed.javadsl.ReplicatedEventSourcedBehavior;
import akka.persistence.typed.javadsl.ReplicationContext;
import akka.projection.grpc.producer.EventProducerSettings;
import akka.projection.grpc.producer.scaladsl.EventProducer;
import akka.projection.grpc.replication.scaladsl.Replica;
import akka.projection.grpc.replication.scaladsl.ReplicatedBehaviors;
import akka.projection.grpc.replication.scaladsl.Replication;
import akka.projection.grpc.replication.scaladsl.ReplicationSettings;
import akka.projection.r2dbc.scaladsl.R2dbcReplication;
import akka.serialization.SerializationExtension;
import akka.serialization.Serializers;
import akka.util.Timeout;
import com.google.protobuf.StringValue;
import com.typesafe.config.ConfigFactory;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Scanner;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import scala.concurrent.duration.FiniteDuration;
import scala.jdk.javaapi.CollectionConverters;
import scala.jdk.javaapi.FutureConverters;
import scala.reflect.ClassTag$;

/**
 * A replica of the entity type `thing`, whose entities are replicated over gRPC. Entity `thing-E` has events of one form: texts, protobuf messages or deltas of a set, as `E % 3` is 0, 1 or 2.
 * `--others us=8102,ap=8103` are the other replicas.
 *
 * <p>It writes in turn to all entities, at `--rate` a second, and prints `wrote E SEQ_NR` for each event. On standard input `stop` ends the writing, answered by `stopped`, and `dump` prints all
 * that it has, ended by `dumped`: a line `event E ORIGIN ORIGIN_SEQ_NR SERIALIZER:MANIFEST HEX VERSION` for each event, and `state E COUNT MD5` for each entity.
 *
 * <p>It takes the Scala API: with `R2dbcReplication` of the Java API, 1.4.0 cannot ask for the time of an event, nor load one, and its streams fail when they have to.
 */
final class ReplicaSide {
  interface Command {}
  record Write(int n, ActorRef<Long> replyTo) implements Command {}
  record Get(ActorRef<State> replyTo) implements Command {}

  /** What all replicas have in common in the end. The number of events counts those of all origins. */
  record State(long count, TreeSet<String> texts, ORSet<String> set) {
    State after(Object event) {
      TreeSet<String> more = new TreeSet<>(texts);
      ORSet<String> changed = set;
      if (event instanceof ORSet.DeltaOp) changed = set.applyOperation((ORSet.DeltaOp) event);
      else more.add(event instanceof StringValue ? ((StringValue) event).getValue() : (String) event);
      return new State(count + 1, more, changed);
    }

    String digest() throws Exception {
      Set<String> all = new TreeSet<>(texts);
      all.addAll(set.getElements());
      return HexFormat.of().formatHex(MessageDigest.getInstance("MD5").digest(String.join("\n", all).getBytes("UTF-8")));
    }
  }

  static final class Entity extends ReplicatedEventSourcedBehavior<Command, Object, State> {
    Entity(ReplicationContext context) { super(context); }

    @Override public State emptyState() {
      return new State(0, new TreeSet<>(), ORSet.empty(getReplicationContext().replicaId()));
    }

    private Object decide(State state, int n) {
      String text = getReplicationContext().replicaId().id() + " " + n + ": Grüße";
      switch (Integer.parseInt(getReplicationContext().entityId().substring("thing-".length())) % 3) {
        case 0: return text;
        case 1: return StringValue.of(text);
        default:
          // what another replica has added may be removed before it is there: Akka's set would keep it then
          Set<String> elements = new TreeSet<>(state.set.getElements());
          elements.removeIf(element -> !element.startsWith(getReplicationContext().replicaId().id() + " "));
          return n % 3 == 2 && !elements.isEmpty() ? state.set.remove(elements.iterator().next()) : state.set.add(text);
      }
    }

    @Override public CommandHandler<Command, Object, State> commandHandler() {
      return newCommandHandlerBuilder().forAnyState()
          .onCommand(Write.class, (state, c) -> Effect().persist(decide(state, c.n)).thenReply(c.replyTo, s -> s.count))
          .onCommand(Get.class, (state, c) -> Effect().reply(c.replyTo, state)).build();
    }

    @Override public EventHandler<State, Object> eventHandler() {
      return newEventHandlerBuilder().forAnyState().onAnyEvent(State::after);
    }
  }

  private final ActorSystem<?> system;
  private final Replication<Command> replication;
  private volatile boolean writing = true;

  private ReplicaSide(ActorSystem<?> system, Replication<Command> replication) { this.system = system; this.replication = replication; }

  static void run(Options o) throws Exception {
    ActorSystem<NotUsed> system = ActorSystem.create(Behaviors.empty(), "replica", ConfigFactory.parseString(String.join("\n",
        "akka.actor.provider = cluster", // of one node
        "akka.remote.artery.canonical { hostname = 127.0.0.1, port = 0 }",
        "akka.cluster.jmx.enabled = off")).withFallback(o.config()));
    Cluster.get(system).manager().tell(Join.create(Cluster.get(system).selfMember().address()));
    Database.createTables(system);
    Set<Replica> others = new LinkedHashSet<>();
    for (String other : o.get("others", "").split(",")) {
      String[] parts = other.split("=");
      others.add(Replica.apply(new ReplicaId(parts[0]), 4,
          GrpcClientSettings.connectToServiceAt("127.0.0.1", Integer.parseInt(parts[1]), system).withTls(false)));
    }
    ReplicationSettings<Command> settings = ReplicationSettings.<Command>apply("thing", new ReplicaId(o.get("id", "jvm")), EventProducerSettings.apply(system),
        CollectionConverters.asScala(others).<Replica>toSet(), FiniteDuration.apply(10, TimeUnit.SECONDS), 8,
        R2dbcReplication.apply(system), ClassTag$.MODULE$.apply(Command.class));
    Replication<Command> replication = Replication.<Command, Object, State>grpcReplication(settings,
        (ReplicatedBehaviors<Command, Object, State> behaviors) -> behaviors.setup(context -> new Entity((ReplicationContext) context).createEventSourcedBehavior()), system);
    scala.PartialFunction<HttpRequest, scala.concurrent.Future<HttpResponse>> service = EventProducer.grpcServiceHandler(replication.eventProducerService(), system);
    FutureConverters.asJava(Http$.MODULE$.apply(system).newServerAt("127.0.0.1", o.getInt("port", 8101)).bind(service)).toCompletableFuture().get();
    System.out.println("ready");
    ReplicaSide side = new ReplicaSide(system, replication);
    int entities = o.getInt("entities", 30), rate = o.getInt("rate", 100);
    Thread writer = new Thread(() -> side.write(entities, rate));
    writer.start();
    Scanner lines = new Scanner(System.in);
    while (lines.hasNextLine()) {
      switch (lines.nextLine()) {
        case "stop": side.writing = false; writer.join(); System.out.println("stopped"); break;
        case "dump": side.dump(entities); System.out.println("dumped"); break;
        default:
      }
    }
    System.exit(0);
  }

  private <A> CompletionStage<A> ask(int entity, java.util.function.Function<ActorRef<A>, Command> command) {
    EntityRef<Command> ref = replication.entityRefFactory().apply("thing-" + entity);
    return FutureConverters.asJava(ref.<A>ask(command::apply, Timeout.create(Duration.ofSeconds(30))));
  }

  private void write(int entities, int rate) {
    // another text each time that it is started
    int n = (int) (System.currentTimeMillis() / 100 % 10_000_000) * 100;
    Semaphore permits = new Semaphore(32);
    long start = System.nanoTime();
    for (int k = 0; writing && rate > 0; k++) {
      try {
        long wait = start + (long) (k * 1e9 / rate) - System.nanoTime();
        if (wait > 0) TimeUnit.NANOSECONDS.sleep(wait);
        permits.acquire();
      } catch (InterruptedException e) { return; }
      int entity = (k + n) % entities, number = n + k;
      this.<Long>ask(entity, replyTo -> new Write(number, replyTo)).whenComplete((seqNr, error) -> {
        permits.release();
        if (error == null) System.out.println("wrote " + entity + " " + seqNr);
      });
    }
    permits.acquireUninterruptibly(32);
  }

  private void dump(int entities) throws Exception {
    var serialization = SerializationExtension.get(system);
    R2dbcReadJournal journal = PersistenceQuery.get(system).getReadJournalFor(R2dbcReadJournal.class, R2dbcReadJournal.Identifier());
    List<EventEnvelope<Object>> events = new ArrayList<>();
    journal.<Object>currentEventsBySlices("thing", 0, 1023, Offset.noOffset())
        .filter(e -> e.eventOption().isDefined()).runForeach(events::add, system).toCompletableFuture().get();
    for (EventEnvelope<Object> e : events) {
      ReplicatedEventMetadata from = (ReplicatedEventMetadata) e.getEventMetaData().get();
      var serializer = serialization.findSerializerFor(e.event());
      String manifest = Serializers.manifestFor(serializer, e.event());
      TreeMap<String, Object> version = new TreeMap<>();
      CollectionConverters.asJava(from.version().versionsIterator()).forEachRemaining(v -> version.put(v._1(), v._2()));
      System.out.println("event " + e.persistenceId().split("\\|")[1].substring("thing-".length()) + " " + from.originReplica().id() + " " + from.originSequenceNr() + " "
          + serializer.identifier() + (manifest.isEmpty() ? "" : ":" + manifest) + " " + HexFormat.of().formatHex(serializer.toBinary(e.event())) + " "
          + version.entrySet().stream().map(v -> v.getKey() + "=" + v.getValue()).collect(Collectors.joining(",")));
    }
    for (int entity = 0; entity < entities; entity++) {
      State state = this.<State>ask(entity, Get::new).toCompletableFuture().get();
      System.out.println("state " + entity + " " + state.count + " " + state.digest());
    }
  }
}
