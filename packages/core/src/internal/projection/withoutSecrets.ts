/** What secrets are called, also as a part of a longer name. */
const names =
  "pass|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|authorization|signature|cookie|session"

/** How a client says who it is, in a header. */
const schemes = "bearer|basic|digest|negotiate"

const named = new RegExp(
  // how it is called, and in JSON and its like the quote after that
  `((?:${names}|\\bsig)[\\w-]{0,20}[\\\\"'\`\\]]{0,4}\\s{0,3}(?:=>|[=:])\\s{0,3})` +
    // what is quoted, or all until the next space
    `(?:"(?:[^"\\\\]|\\\\.)*"?|'(?:[^'\\\\]|\\\\.)*'?|(?:(?:${schemes})\\s{1,3})?\\S+)`,
  "gi"
)

const urls = /:\/\/\S+/g

/** After the last `@` comes the host: a password may have that sign, too. */
const withoutUser = (url: string): string => {
  const at = url.lastIndexOf("@")
  return at < 0 ? url : `://…${url.slice(at)}`
}

const ofHeaders = new RegExp(`\\b(${schemes})\\s{1,3}\\S+`, "gi")

/** JSON Web Tokens, which begin with an encoded `{"`. */
const tokens = /\beyJ[\w-]+\.[\w.-]*/g

/**
 * @internal
 * A text without what looks like a secret: what a URL has before its host, what stands after a name such as `password`, in JSON, in a query or as
 * an assignment, and what comes after `Bearer`. It leaves out too much rather than too little. It cannot know all secrets.
 */
export const withoutSecrets = (text: string): string =>
  text
    .replace(named, "$1…")
    .replace(urls, withoutUser)
    .replace(ofHeaders, "$1 …")
    .replace(tokens, "…")
