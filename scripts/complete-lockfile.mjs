// Adds the optional packages for other platforms that the registry in use does not have to package-lock.json.
// `npm install` leaves them out, and `npm ci` then refuses the lockfile as incomplete.
import { readFileSync, writeFileSync } from "node:fs"

const file = new URL("../package-lock.json", import.meta.url)
const lock = JSON.parse(readFileSync(file, "utf8"))
const platforms = ["darwin", "linux", "win32", "freebsd", "openbsd", "netbsd", "android", "openharmony", "sunos", "aix"]
const cpus = ["x64", "arm64", "arm", "ia32", "ppc64", "riscv64", "s390x", "loong64", "mips64el"]
const added = []
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const found = `${path}/node_modules/${name}` in lock.packages || `node_modules/${name}` in lock.packages
    if (found || !/^\d+\.\d+\.\d+/.test(version)) continue
    const words = name.split(/[-/]/).map((word) =>
      word.replace(/^armv7$|^arm$/, "arm").replace(/^x86_64$/, "x64").replace(/^aarch64$/, "arm64")
    )
    const os = platforms.filter((platform) => words.includes(platform))
    const cpu = cpus.filter((cpu) => words.includes(cpu))
    lock.packages[`node_modules/${name}`] = {
      version,
      ...(cpu.length > 0 ? { cpu } : {}),
      ...(entry.dev ? { dev: true } : {}),
      ...(words.includes("musl") || words.includes("musleabihf") ? { libc: ["musl"] } : {}),
      optional: true,
      ...(os.length > 0 ? { os } : {})
    }
    added.push(`${name}@${version} ${os} ${cpu}`)
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
writeFileSync(file, JSON.stringify(lock, null, 2) + "\n")
console.log(added.join("\n"))
