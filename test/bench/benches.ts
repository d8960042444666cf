/** All that there are, in the order in which they run. */
import type { Bench } from "./Bench.ts"
import * as akka from "./benches/akka.ts"
import * as append from "./benches/append.ts"
import { catchUpRead } from "./benches/catchUpRead.ts"
import * as emmett from "./benches/emmett.ts"
import * as endToEnd from "./benches/endToEnd.ts"
import * as entities from "./benches/entities.ts"
import { entityAcross } from "./benches/entityAcross.ts"
import * as exactlyOnce from "./benches/exactlyOnce.ts"
import * as filter from "./benches/filter.ts"
import { filtered } from "./benches/filtered.ts"
import { filterUpdate } from "./benches/filterUpdate.ts"
import { growth } from "./benches/growth.ts"
import { idleProjections } from "./benches/idleProjections.ts"
import * as live from "./benches/live.ts"
import { managementCost } from "./benches/managementCost.ts"
import { offsetCommit } from "./benches/offsetCommit.ts"
import { readerMemory } from "./benches/readerMemory.ts"
import { replay } from "./benches/replay.ts"
import * as replication from "./benches/replication.ts"
import { rescale } from "./benches/rescale.ts"
import { soak } from "./benches/soak.ts"
import { tail } from "./benches/tail.ts"

export const benches: ReadonlyArray<Bench> = [
  append.append32,
  append.append512,
  append.append1,
  append.appendBatch,
  entities.entity32,
  entities.entity512,
  entities.entity1,
  entityAcross,
  entities.entityActivation,
  entities.entityMemory,
  catchUpRead,
  readerMemory,
  tail,
  offsetCommit,
  exactlyOnce.exactlyOnce,
  exactlyOnce.exactlyOnceBulk100,
  exactlyOnce.exactlyOnceBulk500,
  filter.evaluation,
  endToEnd.wire,
  endToEnd.endToEnd,
  endToEnd.exactlyOnce,
  live.live,
  live.fanOut,
  filtered,
  filterUpdate,
  replay,
  rescale,
  replication.live,
  replication.heal,
  replication.command1,
  replication.command512,
  idleProjections,
  managementCost,
  emmett.emmettAppend,
  emmett.emmettCatchUp,
  emmett.emmettLive,
  akka.akkaAppend,
  akka.akkaCatchUp,
  akka.akkaExactlyOnce,
  akka.fromAkka,
  akka.entityJvm,
  growth,
  soak
]
