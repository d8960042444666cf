/**
 * URLs that lead to a database.
 *
 * @since 0.1.0
 */

/**
 * Throws for a URL without a scheme, and for one of something else: its server would be waited for in vain, as each waits for another's first word.
 *
 * @category validation
 * @since 0.1.0
 */
export const checkScheme = (url: string, schemes: ReadonlyArray<string>): void => {
  const scheme = /^\s*([a-z][a-z0-9+.-]*):\/\//i.exec(url)?.[1]
  if (scheme !== undefined && schemes.includes(scheme.toLowerCase())) return
  const expected = schemes.map((scheme) => `'${scheme}://'`).join(" or ")
  // what stands there instead may be a password
  const begins = scheme === undefined ? "has no scheme: it has to begin" : `begins with '${scheme}://', and not`
  throw Object.assign(new TypeError(`the URL ${begins} with ${expected}`), { code: "ERR_INVALID_URL" })
}
