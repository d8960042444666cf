/**
 * Which SQLite file a storage is in, and within what limits.
 *
 * @since 0.1.0
 */
/**
 * Which file, and within what limits.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The file, which is created if need be, in a folder that exists. `:memory:` is a temporary one that ends with the layer. */
  readonly filename: string
  /** For how long to wait for another writer, in milliseconds; 5000 by default. */
  readonly lockTimeout?: number | undefined
  /** The largest event; `Journal.defaultMaxEventBytes` by default. */
  readonly maxEventBytes?: number | undefined
  /** What the names of Sluice's tables begin with; `sluice_` by default. */
  readonly tablePrefix?: string | undefined
  /** Whether to create the tables and bring them to the latest version, as is the default, or to fail if they are not. */
  readonly migrate?: boolean | undefined
}
