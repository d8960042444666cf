/* oxlint-disable eslint/no-restricted-globals -- a suite's databases outlive it, so no two runs may have the same names */

/** @internal An id that nobody else has. */
export const freshId = (): string => crypto.randomUUID()

/** @internal A name that nobody else has, which begins so. */
export const freshNameOf = (prefix: string): string => `${prefix}-${freshId().slice(0, 8)}`
