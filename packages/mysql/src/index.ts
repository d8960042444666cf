/**
 * @since 0.1.0
 */
export * as MysqlStorage from "./MysqlStorage.ts"
