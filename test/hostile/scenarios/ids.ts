import { load, type Scenario } from "../Scenario.ts"

/** Ids that only differ in what some collations do not look at, or that need care in SQL. */
const ids = [
  "a",
  "A",
  "a ",
  "A ",
  " a",
  "a  ",
  "a\t",
  "a\n",
  "á",
  "a\u0301",
  "Á",
  "ss",
  "ß",
  "ẞ",
  "i",
  "İ",
  "ı",
  "0",
  "00",
  "0.0",
  "1e0",
  "a'",
  "a\"",
  "a`",
  "a\\",
  "a\\'",
  "a%",
  "a_",
  "a?",
  "a$1",
  "a--",
  "a;",
  "🍵",
  "🍶",
  "\uffff",
  "|",
  "a|b"
]

export const strangeIds: Scenario = {
  name: "ids that differ in case and blanks",
  run: (environment) =>
    load(environment, {
      space: "h_ids",
      workers: 2,
      appenders: 16,
      entities: ids,
      mix: { append: 8, expect: 2, commit: 1 },
      during: (crew) => environment.while(crew, 300)
    })
}
