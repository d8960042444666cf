import { createHash } from "node:crypto"

/**
 * @internal
 * The name of a prepared statement. It is derived from the SQL: services with different tables may share sessions, in
 * which the names stay.
 */
export const statementName = (name: string, text: string): string =>
  `${name} ${createHash("sha256").update(text).digest("hex").slice(0, 32)}`
