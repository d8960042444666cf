import * as Net from "node:net"

/** @internal What leads to a server. */
export interface Address {
  /** A name or a number; that of IPv6 without its brackets. */
  readonly host: string
  readonly port: number
}

const largestPort = 65535

const wrong = (shown: string, problem: string): RangeError => new RangeError(`'${shown}' is no address: ${problem}`)

/** @internal The address that `host:port` says, with IPv6 in brackets. Throws a `RangeError` that says what to write instead. */
export const parseAddress = (text: string): Address => {
  // a setting that is not there, such as `process.env.EU!`
  if (typeof text !== "string") throw wrong(String(text), "it is a text, such as 'localhost:8101'")
  const at = text.lastIndexOf("@")
  if (at >= 0) {
    // what is before it may be a password
    throw wrong(`…${text.slice(at)}`, "it takes no user and no password; what a producer asks for goes into 'headers'")
  }
  const scheme = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/i.exec(text)
  if (scheme !== null) {
    const rest = `write '${scheme[2]!.replace(/[/?#].*$/, "")}'`
    const tls = scheme[1]!.toLowerCase() === "https"
      ? ", and configure 'tls'"
      : "; whether it is encrypted is what 'tls' says"
    throw wrong(text, `it is 'host:port', without '${scheme[1]}://': ${rest}${tls}`)
  }
  if (/\s/.test(text)) throw wrong(text, "it has white space in it")
  if (/[/?#]/.test(text)) {
    throw wrong(text, `it is 'host:port' and nothing else: leave out '${/[/?#].*$/.exec(text)![0]}'`)
  }
  if (Net.isIPv6(text)) throw wrong(text, `IPv6 stands in brackets, and a port follows, such as '[${text}]:8101'`)
  const parts = /^(?:\[([^\][]*)\]|([^\][:]*))(?::(.*))?$/.exec(text)
  if (parts === null) throw wrong(text, "it is 'host:port', with IPv6 in brackets, such as '[::1]:8101'")
  const [, ipv6, name, port] = parts
  if (ipv6 !== undefined && !Net.isIPv6(ipv6)) throw wrong(text, `'${ipv6}' is no IPv6, which alone stands in brackets`)
  const host = ipv6 ?? name!
  if (host === "") throw wrong(text, "it has no host: write 'host:port'")
  if (port === undefined) throw wrong(text, `it has no port: write it behind the host, such as '${text}:8101'`)
  return { host, port: portOf(text, port) }
}

const portOf = (text: string, port: string): number => {
  const number = /^\d{1,5}$/.test(port) ? Number(port) : 0
  if (number >= 1 && number <= largestPort) return number
  throw wrong(text, `'${port}' is no port, which is a number from 1 to ${largestPort}`)
}

/** @internal What a server listens on, as text, and what is wrong with it, if anything is. */
export const endpointOf = ({ host, port }: Address): { readonly address: string; readonly problem?: string } => {
  const isIPv6 = Net.isIPv6(host)
  // what is before it may be a password
  const shown = isIPv6 ? `[${host}]` : host.replace(/^.*@/s, "…@")
  const address = `${shown}:${port}`
  if (!Number.isInteger(port) || port < 0 || port > largestPort) {
    return { address, problem: `'port' has to be an integer from 0, for any that is free, to ${largestPort}` }
  }
  if (isIPv6 || !/^$|[\s:/?#@\][]/.test(host)) return { address }
  const alone = "'host' has to be a name or a number alone, such as '0.0.0.0', '::' or 'localhost'"
  return { address, problem: `${alone}: 'port' says the port, and 'tls' whether it is encrypted` }
}
