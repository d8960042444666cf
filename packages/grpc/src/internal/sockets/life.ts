/** For how long, in milliseconds, nothing comes on a connection that is lost, if nobody says otherwise. */
const usualSilence = 20_000

/** How often it is looked at meanwhile. Each is a turn of its own: after a pause of this process what has come is read first. */
const ticks = 4

/**
 * @internal
 * What the library does to a connection that is idle: it pings, and gives it up when no answer has come. But answers wait behind all that
 * was sent before, on a slow link for minutes. So it pings, and whether the other side lives is told by any byte that comes.
 */
export const keepalive = (silence = usualSilence) => ({
  "grpc.keepalive_time_ms": silence / 2,
  "grpc.keepalive_timeout_ms": 600_000
})

/** @internal For how long, in milliseconds, whoever has accepted a connection may take for its first answer. */
export const answerWithin = (silence = usualSilence): number => Math.min(silence, 10_000)

/** @internal Ends a connection on which nothing comes any more. */
export const endSilent = (received: () => number, end: () => void, silence = usualSilence): () => void => {
  let before = received()
  let silent = 0
  const timer = setInterval(() => {
    const now = received()
    silent = now === before ? silent + 1 : 0
    before = now
    if (silent < ticks) return
    stop()
    end()
  }, silence / ticks).unref()
  const stop = () => clearInterval(timer)
  return stop
}
