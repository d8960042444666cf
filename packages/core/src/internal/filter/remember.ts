/**
 * @internal
 * A pure function that keeps its results for the texts that it was asked for lately: for `size` of them at least, and for twice as many at
 * most.
 */
export const remember = <A extends {}>(size: number, f: (text: string) => A): (text: string) => A => {
  let recent = new Map<string, A>()
  let older = new Map<string, A>()
  return (text) => {
    const known = recent.get(text)
    if (known !== undefined) return known
    const result = older.get(text) ?? f(text)
    if (recent.size === size) {
      older = recent
      recent = new Map()
    }
    recent.set(text, result)
    return result
  }
}
