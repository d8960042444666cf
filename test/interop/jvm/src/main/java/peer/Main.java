package peer;

/** `produce`, `consume`, `replica` or `crdts`, with `--name value` options; see README.md. */
public final class Main {
  public static void main(String[] args) throws Exception {
    Options options = Options.parse(args, 1);
    switch (args.length == 0 ? "" : args[0]) {
      case "produce": Producer.run(options); break;
      case "consume": Consumer.run(options); break;
      case "replica": ReplicaSide.run(options); break;
      case "crdts": Crdts.run(options); break;
      case "build": break;
      default: System.err.println("usage: produce|consume|replica|crdts --name value ..."); System.exit(2);
    }
    System.exit(0);
  }
}
