package peer;

import akka.actor.typed.ActorSystem;
import akka.actor.typed.javadsl.Behaviors;
import akka.persistence.typed.ReplicaId;
import akka.persistence.typed.crdt.Counter;
import akka.persistence.typed.crdt.ORSet;
import akka.serialization.Serialization;
import akka.serialization.SerializationExtension;
import akka.serialization.Serializers;
import akka.util.ByteString;
import com.typesafe.config.ConfigFactory;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.math.BigInteger;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashSet;
import java.util.stream.Collectors;

/**
 * Akka's CRDTs as bytes. `write` prints what its serializer makes of some, a line each: a name, the serializer's id and manifest, and the bytes in hex. `apply` reads such lines
 * without names, applies these deltas of a set, and prints after each what its serializer makes of it, and the elements of the set.
 */
final class Crdts {
  private final Serialization serialization;

  private Crdts(Serialization serialization) { this.serialization = serialization; }

  static void run(Options options) throws Exception {
    ActorSystem<Void> system = ActorSystem.create(Behaviors.empty(), "crdts", ConfigFactory.parseString(
        "akka.fail-mixed-versions = off\nakka.loglevel = WARNING\nakka.actor.allow-java-serialization = off").withFallback(ConfigFactory.load()));
    try {
      Crdts crdts = new Crdts(SerializationExtension.get(system));
      if (options.get("mode", "write").equals("apply")) crdts.apply(); else crdts.write();
    } finally {
      system.terminate();
    }
  }

  private static final String[] NUMBERS = {"0", "1", "-1", "127", "128", "-128", "-129", "255", "256", "9007199254740993", "-9223372036854775809", "340282366920938463463374607431768211456"};

  private void write() {
    for (String number : NUMBERS) {
      print("counter " + number, Counter.empty().applyOperation(new Counter.Updated(new BigInteger(number))));
      print("counter-delta " + number, new Counter.Updated(new BigInteger(number)));
    }
    sets("string", "tea", "milk", "é\uD83C\uDF75");
    sets("int", 7, -7, Integer.MIN_VALUE);
    sets("long", 7L, -7L, 9007199254740991L);
    sets("other", true, false, ByteString.fromString("tea"));
  }

  private <A> void sets(String type, A a, A b, A c) {
    ORSet<A> eu = ORSet.empty(ReplicaId.apply("eu"));
    ORSet<A> us = ORSet.empty(ReplicaId.apply("us"));
    print(type + " empty", eu);
    print(type + " remove-unseen", eu.remove(a));
    print(type + " clear-empty", eu.clear());
    ORSet.DeltaOp addA = eu.add(a);
    print(type + " add", addA);
    eu = eu.applyOperation(addA);
    us = us.applyOperation(addA);
    ORSet.DeltaOp addUs = us.add(a);
    print(type + " add-again", addUs);
    eu = eu.applyOperation(addUs);
    us = us.applyOperation(addUs);
    ORSet.DeltaOp all = eu.addAll(new LinkedHashSet<>(Arrays.asList(b, c)));
    print(type + " add-all", all);
    eu = eu.applyOperation(all);
    us = us.applyOperation(all);
    print(type + " state", us);
    ORSet.DeltaOp removed = us.remove(b);
    print(type + " remove", removed);
    print(type + " remove-all", us.removeAll(new LinkedHashSet<>(Arrays.asList(b, c))));
    print(type + " clear", us.clear());
    us = us.applyOperation(removed);
    print(type + " state-removed", us);
  }

  private void print(String name, Object object) { System.out.println(name + " " + encode(object)); }

  private String encode(Object object) {
    var serializer = serialization.findSerializerFor(object);
    return serializer.identifier() + ":" + Serializers.manifestFor(serializer, object) + " " + HexFormat.of().formatHex(serializer.toBinary(object));
  }

  private void apply() throws Exception {
    ORSet<Object> set = ORSet.empty(ReplicaId.apply("jvm"));
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
    for (String line; (line = in.readLine()) != null; ) {
      String[] parts = line.split(" ");
      byte[] bytes = parts.length < 2 ? new byte[0] : HexFormat.of().parseHex(parts[1]);
      String[] manifest = parts[0].split(":");
      Object delta = serialization.deserialize(bytes, Integer.parseInt(manifest[0]), manifest[1]).get();
      set = set.applyOperation((ORSet.DeltaOp) delta);
      System.out.println(encode(delta) + " " + set.getElements().stream().map(String::valueOf).sorted().collect(Collectors.joining(",")));
    }
  }
}
