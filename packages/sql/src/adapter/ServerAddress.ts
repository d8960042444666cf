/**
 * Where a database server is, as it may be logged.
 *
 * @since 0.1.0
 */
import * as Redacted from "effect/Redacted"

/**
 * The host and the port, or the socket, of a server that is given by a URL or by its parts; never its user or password. Undefined where
 * neither says it.
 *
 * **Example** (Without the password)
 *
 * ```ts
 * import * as ServerAddress from "@sluice/sql/adapter/ServerAddress"
 *
 * ServerAddress.of({ url: "postgres://shop:secret@db.example.org/shop" }, 5432) // => "db.example.org:5432"
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const of = (
  options: {
    readonly url?: string | Redacted.Redacted | undefined
    readonly host?: string | undefined
    readonly port?: number | undefined
  },
  defaultPort: number
): string | undefined => {
  const { host, port, url } = options
  const parsed = url === undefined ? null : URL.parse(typeof url === "string" ? url : Redacted.value(url))
  const name = host ?? (parsed?.searchParams.get("host") || parsed?.hostname)
  if (!name) return undefined
  return name.startsWith("/") ? name : `${name}:${port ?? (parsed?.port || defaultPort)}`
}
