import { createHash } from "node:crypto"

/**
 * @internal
 * The name of a prepared statement. It says which SQL it is, as services with tables of their own may share sessions, and names stay in
 * them.
 */
export const statementName = (name: string, text: string): string =>
  `${name} ${createHash("sha256").update(text).digest("hex").slice(0, 32)}`
