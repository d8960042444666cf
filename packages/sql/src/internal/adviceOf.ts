import type { Dialect } from "../adapter/Dialect.ts"

type Advice = Readonly<Record<string, string>>

const noDatabase = "there is no such database: create it, or correct its name"
const noRight = "the user lacks a right for it: grant it, or connect as another user"
const noRoom = "the server takes no more connections: raise its limit, or lower 'poolSize'"
const noAnswer = "the host cannot be reached: correct host and port, or look for a firewall in between"
const notTrusted = "the server's certificate is of an authority that is not trusted: give that as 'tls.authority'"
const certificateTime = "or the clock of this machine is wrong"

const late =
  "no connection could be made in time: correct host and port, look for a firewall in between, or raise 'connectTimeout'"
const noneFree = "no connection of the pool was free in time: keep transactions short, or raise 'poolSize'"
const noPostgres = "no PostgreSQL answers there: correct host and port"
const noTls = "the server does not speak TLS: configure it there, or say 'tls: false' where the network is trusted"
const noPassword = "the server asks for a password, and none is configured: give one"

/** By the codes of sockets, of names, and of TLS, whatever the database. */
const connecting: Advice = {
  CERT_HAS_EXPIRED: `the server's certificate has expired, ${certificateTime}`,
  CERT_NOT_YET_VALID: `the server's certificate is not valid yet, ${certificateTime}`,
  DEPTH_ZERO_SELF_SIGNED_CERT: notTrusted,
  CONNECTION_ENDED:
    "the connection was ended before the session began: correct host and port if no PostgreSQL is there, or try again",
  EACCES: "this process may not connect there: correct the address, or the rights of the socket's file",
  EAI_AGAIN: "names of hosts cannot be looked up at the moment; try again",
  ECONNREFUSED: "nobody listens there: correct host and port, or start the server",
  EHOSTUNREACH: noAnswer,
  ENETUNREACH: noAnswer,
  ENOTFOUND: "there is no host of that name: correct it",
  ERR_INVALID_URL: "the URL is none: correct it, with special characters of user and password percent-encoded",
  ERR_SOCKET_BAD_PORT: "the port is none: correct it",
  ERR_TLS_CERT_ALTNAME_INVALID:
    "the server's certificate is for other names: connect by one of them, or issue one for this name",
  ETIMEDOUT: late,
  HANDSHAKE_NO_SSL_SUPPORT: noTls,
  NO_POSTGRES: noPostgres,
  PASSWORD_UNAVAILABLE: "the effect that is 'password' has failed",
  POOL_EXHAUSTED: noneFree,
  SELF_SIGNED_CERT_IN_CHAIN: notTrusted,
  UNABLE_TO_GET_ISSUER_CERT: notTrusted,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: notTrusted,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: notTrusted
}

/** Of PostgreSQL's driver, word for word, as these errors have no code. */
const uncoded: Advice = {
  "Connection terminated due to connection timeout": late,
  "SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a non-empty string": noPassword,
  "SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string": noPassword,
  "The server does not support SSL connections": noTls,
  "There was an error establishing an SSL connection": noPostgres,
  "timeout exceeded when trying to connect": noneFree,
  "timeout expired": late
}

const expired = "the password of the user has expired: set another"

const answers: Readonly<Record<Dialect, Advice>> = {
  postgres: {
    "28000":
      "the server does not let this user in from here, or there is no such user: create it, or allow it in pg_hba.conf",
    "28P01": "the user or the password is wrong: correct it",
    "3D000": noDatabase,
    "3F000": "there is no such schema, or the user may not use it: create it, correct its name, or grant USAGE on it",
    "42501": noRight,
    "53300": noRoom,
    "57P03": "the server is starting or stopping; try again"
  },
  mysql: {
    1040: noRoom,
    1044: "the user has no right to this database, or there is no such database: grant it, or correct its name",
    1045: "the user or the password is wrong, or the user may not come from here: correct it, or grant it",
    1049: noDatabase,
    1130: "the server lets nobody in from this machine: allow it, such as with another host of the user",
    1142: noRight,
    1143: noRight,
    1203: noRoom,
    1226: noRoom,
    1227: noRight,
    1370: noRight,
    1698: "the user or the password is wrong, or the user logs in another way: correct it",
    1820: expired,
    1862: expired
  },
  sqlite: {
    SQLITE_CANTOPEN:
      "the file cannot be opened: correct 'filename', or create its folder, or allow this process to enter it",
    SQLITE_NOTADB: "the file is no database, or an encrypted one: correct 'filename', or restore it from a backup"
  }
}

interface Fields {
  readonly code: string
  readonly errno: number
  readonly message: string
  readonly isAnswer: boolean
}

/** @internal What to do about an error, by its code, where more is known than its reason says. */
export const adviceOf = (dialect: Dialect, { code, errno, isAnswer, message }: Fields): string | undefined => {
  if (isAnswer) return answers[dialect][errno > 0 ? errno : code]
  return code === "" ? uncoded[message] : connecting[code]
}
