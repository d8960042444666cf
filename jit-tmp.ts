import { codec, encoded, item, parse } from "./test/bench/events.ts"
const N = 100000
const time = (n: string, f: () => unknown) => {
  for (let i = 0; i < 20000; i++) f()
  let best = 1e9
  for (let k = 0; k < 7; k++) {
    const t = process.cpuUsage()
    for (let i = 0; i < N; i++) f()
    const u = process.cpuUsage(t)
    best = Math.min(best, (u.user + u.system) / N)
  }
  console.log(n, best.toFixed(3), "us")
}
const bytes = encoded(5), payload = codec.encodeUnsafe(item(5)), it = item(5)
time("parse", () => parse(bytes))
time("codec decode", () => codec.decodeUnsafe(payload))
time("codec encode", () => codec.encodeUnsafe(it))
