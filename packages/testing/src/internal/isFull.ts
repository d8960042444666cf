/**
 * @internal
 * Whether everything is tested that can be: all seeds of what is random, all combinations of what does not depend on each other, and MySQL also
 * where MariaDB stands for it. It takes twice as long.
 */
export const isFull = process.env["SLUICE_TEST"] === "full"
