/** @internal The version of the extensions that this release speaks with others of its kind. It speaks no other. */
export const protocolVersion = 4

/** @internal Why the two sides of a stream do not understand each other, if they do not. */
export const versionProblem = (peer: "consumer" | "producer", version: number): string | undefined =>
  version === protocolVersion
    ? undefined
    : `the ${peer} speaks version ${version} of Sluice's extensions, and this side version ${protocolVersion}: ` +
      "run releases on both sides that speak the same"
