/**
 * Where a database server is, as it may be logged.
 *
 * @since 0.1.0
 */

/**
 * The host and the port, or the socket, of a server. Who knows them is the driver: each has its own order of what a URL, the other options and
 * the environment say.
 *
 * **Example** (A host, and a socket)
 *
 * ```ts
 * import * as ServerAddress from "@sluice/sql/adapter/ServerAddress"
 *
 * ServerAddress.format("db.example.org", 5432) // => "db.example.org:5432"
 * ServerAddress.format("/run/postgresql", 5432) // => "/run/postgresql"
 * ```
 *
 * @category formatting
 * @since 0.1.0
 */
export const format = (host: string, port: number): string =>
  host.startsWith("/") ? host : host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`
