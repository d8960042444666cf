/** The real MySQL, beside MariaDB, which is what a Debian has. */
import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"

const installer = fileURLToPath(new URL("../../scripts/install-mysql", import.meta.url))

/** For everybody, if it can be: the server does not run as root. */
const folder = process.getuid?.() === 0
  ? "/var/cache/sluice/mysql"
  : Path.join(process.env["XDG_CACHE_HOME"] ?? Path.join(Os.homedir(), ".cache"), "sluice", "mysql")

/** Whether tests are to do without it. */
export const isSkipped = process.env["SLUICE_SKIP_MYSQL"] === "1"

const isMysql = (file: string): boolean => {
  try {
    return !execFileSync(file, ["--no-defaults", "--version"], { encoding: "utf8" }).includes("MariaDB")
  } catch {
    return false
  }
}

/** The file of a `mysqld`: what `MYSQLD` names, or is installed, or was unpacked before, or is unpacked now. */
export const find = (): string => {
  const named = process.env["MYSQLD"]
  if (named !== undefined) return named
  const installed = [...(process.env["PATH"] ?? "").split(Path.delimiter), "/usr/sbin", "/usr/local/sbin"]
    .map((folder) => Path.join(folder, "mysqld"))
    .find((file) => Fs.existsSync(file) && isMysql(file))
  if (installed !== undefined) return installed
  const unpacked = Path.join(folder, "mysqld")
  if (!Fs.existsSync(unpacked)) unpack()
  return unpacked
}

const unpack = (): void => {
  console.error(`unpacking MySQL into ${folder}`)
  try {
    execFileSync(installer, [folder], { stdio: ["ignore", "ignore", "inherit"] })
  } catch (cause) {
    throw new Error(
      "There is no MySQL, and it could not be had: install one, or name its mysqld in MYSQLD, or leave its tests out with SLUICE_SKIP_MYSQL=1",
      { cause }
    )
  }
}
