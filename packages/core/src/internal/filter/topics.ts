import { textProblem } from "../../InvalidInput.ts"

const separator = "/"

/** The levels of an expression: empty ones at its end do not count, so that `+/` is `+`. */
const levelsOf = (expression: string): Array<string> => {
  const levels = expression.split(separator)
  while (levels.length > 1 && levels.at(-1) === "") levels.pop()
  return levels
}

/** @internal What is wrong with a topic expression, if something is. */
export const topicProblem = (expression: string): string | undefined => {
  if (expression === "") return "is empty"
  const problem = textProblem(expression)
  if (problem !== undefined) return problem
  const levels = expression.split(separator)
  for (const [i, level] of levels.entries()) {
    if (level.includes("#") && (level !== "#" || i !== levels.length - 1)) {
      return "has '#' elsewhere than as its last level"
    }
    if (level.includes("+") && level !== "+") return "has '+' beside other characters of a level"
  }
  return undefined
}

/** What follows a level of an expression: by the text of the next level, by `+`, by `#`, or nothing. */
interface Node {
  readonly next: Map<string, Node>
  any: Node | undefined
  rest: string | undefined
  end: string | undefined
}

const makeNode = (): Node => ({ next: new Map(), any: undefined, rest: undefined, end: undefined })

const childOf = (node: Node, level: string): Node => {
  if (level === "+") return node.any ??= makeNode()
  const child = node.next.get(level) ?? makeNode()
  node.next.set(level, child)
  return child
}

const search = (node: Node, levels: ReadonlyArray<string>, at: number): string | undefined => {
  if (at === levels.length) return node.end
  if (node.rest !== undefined) return node.rest
  const next = node.next.get(levels[at]!)
  return (next && search(next, levels, at + 1)) ?? (node.any && search(node.any, levels, at + 1))
}

/**
 * @internal The expression that a topic is matched by, if one does. An expression without wildcards is compared as it is; in one
 * with wildcards `+` is one level and a last `#` one or more, and slashes at the end of the topic do not count.
 */
export const compileTopics = (expressions: ReadonlyArray<string>): (topic: string) => string | undefined => {
  const equal = new Set<string>()
  const root = makeNode()
  let hasWildcards = false
  for (const expression of expressions) {
    const levels = levelsOf(expression)
    if (!levels.includes("+") && levels.at(-1) !== "#") {
      equal.add(expression)
      continue
    }
    hasWildcards = true
    const hasRest = levels.at(-1) === "#"
    let node = root
    for (const level of hasRest ? levels.slice(0, -1) : levels) node = childOf(node, level)
    if (hasRest) node.rest ??= expression
    else node.end ??= expression
  }
  return (topic) => {
    if (equal.has(topic)) return topic
    if (!hasWildcards) return undefined
    let end = topic.length
    while (end > 0 && topic[end - 1] === separator) end--
    return search(root, topic.slice(0, end).split(separator), 0)
  }
}
