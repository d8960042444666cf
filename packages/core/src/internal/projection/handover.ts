/**
 * How slices go from one worker to the next, in this process and in others: the next one begins once the one before has ended what it had in hand, or is
 * overdue. It is the only limit there is.
 */

/** @internal After so many milliseconds, what a worker whose slices are others' still has in hand is interrupted. */
export const interruptAfter = 20_000

/** @internal After so many, a worker that cannot be interrupted is waited for no longer. */
export const overdueAfter = 30_000
