import { RE2JS, RE2Set } from "re2js"
import { textProblem } from "../../InvalidInput.ts"

/** @internal Matches every entity id, those with line breaks included, where Java's `.*` does not. */
export const everything = ".*"

/** @internal How large the programs of all expressions of a filter may be: what one event can cost grows with them. */
export const maxProgramSize = 5_000

/** The properties of characters that both know. Scripts have other names in Java. */
const category = /^(?:[A-Z][a-z]?|LC)$/

/** With a leading zero it repeats in Java alone. */
const repeat = /^\{(?:0|[1-9]\d*)(?:,(?:0|[1-9]\d*)?)?\}/

const groupName = /^\(\?<[a-zA-Z][a-zA-Z0-9]*>/

/** The constructs that RE2 and Java both accept, but understand differently; and those of RE2 that Java refuses. */
const differenceOf = (expression: string): string | undefined => {
  let inClass = false
  for (let i = 0; i < expression.length; i++) {
    const rest = expression.slice(i, i + 4)
    if (rest.startsWith("\\")) {
      const escaped = rest[1]
      if (escaped === "Q") {
        const end = expression.indexOf("\\E", i)
        if (end < 0) return "has '\\Q' without '\\E'"
        if (end === i + 2) return "has '\\Q\\E', which quotes nothing"
        i = end + 1
        continue
      }
      if (escaped === "v") return "has '\\v', which is one character here and a class of them in Java"
      if (escaped !== undefined && escaped >= "1" && escaped <= "9") return "refers back to a group"
      if (escaped === "0") return "has '\\0', of which Java reads more digits: write '\\x{'"
      if (/^\\[pPx]\{/.test(rest)) {
        if (rest[3] === "^") return "has '\\p{^', which Java does not know: write '\\P{'"
        const end = expression.indexOf("}", i)
        if (escaped !== "x" && end > 0 && !category.test(expression.slice(i + 3, end))) {
          return `has '${expression.slice(i, end + 1)}', which is not a general category such as '\\p{Lu}'`
        }
        i = Math.max(i, end - 1)
      }
      i++
    } else if (inClass) {
      if (rest.startsWith("[")) return "has '[' within a class, a union of classes in Java: write '\\['"
      if (rest.startsWith("&&")) return "has '&&' within a class, an intersection in Java"
      if (rest.startsWith("]")) inClass = false
    } else if (rest.startsWith("[")) {
      inClass = true
      if (expression[i + 1] === "^") i++
      if (expression[i + 1] === "]") return "has ']' as the first of a class: write '\\]'"
    } else if (rest.startsWith("{")) {
      if (!repeat.test(expression.slice(i, i + 16))) return "has '{' that repeats nothing: write '\\{'"
    } else if (rest.startsWith("(?P")) {
      return "names a group by '(?P<': write '(?<'"
    } else if (/^\(\?<[^=!]/.test(rest)) {
      if (!groupName.test(expression.slice(i))) return "names a group by other than letters and digits of ASCII"
    } else if (/^\(\?[a-zA-Z-]/.test(rest)) {
      if (/^\(\?[a-zA-Z-]*U/.test(expression.slice(i, i + 16))) {
        return "has the flag 'U', which has another meaning in Java"
      }
    }
  }
  return undefined
}

/** Of so many expressions the size is kept: those of a filter are checked again with each change of it. */
const keptSizes = 1_000

const sizes = new Map<string, number | string>()

const sizeOrProblem = (expression: string): number | string => {
  const known = sizes.get(expression)
  if (known !== undefined) return known
  const found = measure(expression)
  if (expression.length <= 200) {
    if (sizes.size === keptSizes) sizes.clear()
    sizes.set(expression, found)
  }
  return found
}

const measure = (expression: string): number | string => {
  const problem = textProblem(expression) ?? differenceOf(expression)
  if (problem !== undefined) return problem
  try {
    return RE2JS.compile(expression).programSize()
  } catch (error) {
    return error instanceof Error
      ? error.message.replace("error parsing regexp: ", "cannot be parsed: ")
      : String(error)
  }
}

/** @internal What is wrong with a regular expression, if something is. */
export const expressionProblem = (expression: string): string | undefined => {
  const size = sizeOrProblem(expression)
  if (typeof size === "string") return size
  return size > maxProgramSize ? `is too large: ${size} steps of ${maxProgramSize}` : undefined
}

/** @internal Whether the programs of expressions, each of which is correct, are too large together. */
export const areTooLarge = (expressions: ReadonlyArray<string>): boolean => {
  let total = 0
  for (const expression of expressions) {
    const size = sizeOrProblem(expression)
    if (typeof size === "number" && (total += size) > maxProgramSize) return true
  }
  return false
}

/** @internal The first expression that matches a whole text, if one does, in time that is linear in its length. */
export const compileExpressions = (expressions: ReadonlyArray<string>): (text: string) => string | undefined => {
  if (expressions.includes(everything)) return () => everything
  if (expressions.length === 0) return () => undefined
  const set = new RE2Set(RE2Set.ANCHOR_BOTH)
  for (const expression of expressions) set.add(expression)
  set.compile()
  return (text) => {
    const [first] = set.match(text)
    return first === undefined ? undefined : expressions[first]
  }
}
