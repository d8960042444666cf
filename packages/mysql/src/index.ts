/**
 * @since 0.1.0
 */
export * as MysqlOptions from "./MysqlOptions.ts"
export * as MysqlStorage from "./MysqlStorage.ts"
