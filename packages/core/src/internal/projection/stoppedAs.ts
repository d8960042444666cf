import * as Cause from "effect/Cause"
import { WorkerStopped } from "../../ProjectionError.ts"
import type { WorkerStatus } from "../../WorkerStatus.ts"

/** @internal The error that says why a worker has stopped, which its status tells. */
export const stoppedAs = ({ failure, projection, range }: WorkerStatus): WorkerStopped =>
  new WorkerStopped({ projection, range, event: failure!.event, cause: Cause.squash(failure!.cause) })
