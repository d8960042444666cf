import type { Move, OffsetKey } from "@sluice/core/OffsetStore"

/** So many are remembered; of more, some get another attempt. */
const maxRemembered = 1000

/**
 * @internal
 * The handlers' transactions in which a statement was ended by a time limit, or by somebody. The first time, the database may have been
 * slow, or its administrator impatient. If the next attempt from the same offset ends like that as well, it is the handler's own fault.
 */
export class TimedOutHandlers {
  readonly #remembered = new Set<string>()

  /** Whether the attempt before ended like this one. */
  isAgain(key: OffsetKey, moves: ReadonlyArray<Move>): boolean {
    const id = idOf(key, moves)
    if (this.#remembered.delete(id)) return true
    if (this.#remembered.size >= maxRemembered) this.#remembered.clear()
    this.#remembered.add(id)
    return false
  }

  /** The attempt has ended well. */
  done(key: OffsetKey, moves: ReadonlyArray<Move>): void {
    if (this.#remembered.size > 0) this.#remembered.delete(idOf(key, moves))
  }
}

/** A group may be larger or smaller the next time, and begins at the same offset. */
const idOf = ({ projection, source }: OffsetKey, [first]: ReadonlyArray<Move>): string =>
  `${first?.slice} ${first?.from?.position} ${source} ${projection}`
