import type { Peer } from "../calls/Connections.ts"

/**
 * @internal
 * What a process of the cluster is called in Effect Cluster's place of a host: a secret that only who reads the database knows, and that no other start of a process has, and
 * where it can be reached.
 */
export const hostOf = (secret: string, host: string): string => `${secret}@${host}`

/** @internal A process by what it is called in the database, where it is one. */
export const parse = (address: string): Peer | undefined => {
  const at = address.indexOf("@")
  const colon = address.lastIndexOf(":")
  const port = Number(address.slice(colon + 1))
  if (at <= 0 || colon <= at + 1 || !(Number.isInteger(port) && port > 0 && port < 65_536)) return undefined
  return { name: address, host: address.slice(at + 1, colon), port }
}

/** @internal Where a process can be reached, of what it is called in Effect Cluster's place of a host. */
export const reachedAt = (host: string): string => host.slice(host.indexOf("@") + 1)
