import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"

/** @internal Ends a server and removes its folder when this process is gone, however it ended. */
export interface ServerGuard {
  /** The server runs as this process, and is to be ended by this signal. */
  readonly watch: (pid: number, signal: NodeJS.Signals) => void
  /** No server runs. */
  readonly forget: () => void
}

/**
 * It is told on standard input which process the server is. Nobody else has the other end, so its input ends when this process
 * does. A server that is frozen is thawed, as it could not end by itself.
 */
const script = `
trap '' HUP INT TERM
pid=
while read -r p s; do pid=$p signal=$s; done
if [ -n "$pid" ]; then
  children=$(cat /proc/$pid/task/$pid/children || ps -A -o ppid= -o pid= | awk -v p=$pid '$1 == p { print $2 }')
  kill -s $signal $pid
  kill -s CONT $pid $children
  for i in 1 2 3 4 5 6 7 8 9 10; do kill -s 0 $pid && sleep 0.5; done
  kill -s KILL $pid $children
fi
for i in 1 2 3 4 5; do rm -rf "$0" && exit; sleep 0.5; done`

/** @internal Guards until the scope ends. It has a session of its own, or a terminal's Ctrl-C would end it first. */
export const make = (folder: string): Effect.Effect<ServerGuard, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const guard = spawn("sh", ["-c", script, folder], {
          cwd: "/",
          detached: true,
          stdio: ["pipe", "ignore", "ignore"]
        })
        guard.unref()
        guard.on("error", () => {})
        guard.stdin.on("error", () => {})
        return guard
      }),
      (guard) => Effect.sync(() => guard.kill("SIGKILL"))
    ),
    ({ stdin }) => ({
      watch: (pid, signal) => void stdin.write(`${pid} ${signal.slice("SIG".length)}\n`),
      forget: () => void stdin.write("\n")
    })
  )
