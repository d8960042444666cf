/** All that there are, in the order in which they run. */
import type { Bench } from "./Bench.ts"
import * as append from "./benches/append.ts"
import { catchUpRead } from "./benches/catchUpRead.ts"
import * as exactlyOnce from "./benches/exactlyOnce.ts"
import { offsetCommit } from "./benches/offsetCommit.ts"
import { readerMemory } from "./benches/readerMemory.ts"
import { tail } from "./benches/tail.ts"

export const benches: ReadonlyArray<Bench> = [
  append.append32,
  append.append512,
  append.append1,
  append.appendBatch,
  catchUpRead,
  readerMemory,
  tail,
  offsetCommit,
  exactlyOnce.exactlyOnce,
  exactlyOnce.exactlyOnceBulk100,
  exactlyOnce.exactlyOnceBulk500
]
