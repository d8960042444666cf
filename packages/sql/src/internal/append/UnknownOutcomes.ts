import type { AppendRequest } from "@sluice/core/Journal"
import { StorageError } from "@sluice/core/StorageError"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Arr from "effect/Array"

/**
 * @internal
 * The appends whose outcome is unknown, because the connection was lost before the answer. From then on such an append
 * looks for its own events first, wherever it is sent. No error of it says that nothing was written.
 */
export class UnknownOutcomes {
  readonly #requests = new WeakSet<AppendRequest>()

  /** The connection was lost before these were answered. */
  add(requests: Iterable<AppendRequest>): void {
    for (const request of requests) this.#requests.add(request)
  }

  /** The appends as they have to be sent. */
  prepare(requests: NonEmptyReadonlyArray<AppendRequest>): NonEmptyReadonlyArray<AppendRequest> {
    return Arr.map(requests, (request) => this.#requests.has(request) ? { ...request, recheck: true } : request)
  }

  /**
   * The error of an append. That it was refused the second time does not mean that nothing was written the first time.
   */
  explain<E>(request: AppendRequest, error: E | StorageError): E | StorageError {
    return error instanceof StorageError && this.#requests.has(request)
      ? new StorageError({ operation: error.operation, reason: "Unavailable", cause: error.cause })
      : error
  }
}
