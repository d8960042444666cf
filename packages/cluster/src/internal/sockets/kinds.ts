/** @internal What a frame is. Numbers are not used again for something else. */
export const kinds = {
  /** The first frame of whoever connects: which process it wants. */
  hello: 1,
  /** The answer to it: commands may come. */
  welcome: 2,
  /** The other answer: the connection is closed, and why. */
  refused: 3,
  command: 4,
  reply: 5,
  /** Whoever has sent the command does not wait for its reply any more. */
  cancel: 6,
  /** Somebody is there. */
  beat: 7
} as const

/** @internal The version of what is said between processes. */
export const protocol = "sluice-entities/1"

/** @internal The largest command, and the largest reply, in bytes. */
export const maxBytes = 4 * 1024 * 1024

/** @internal Before they have said hello, others are no more than strangers. */
export const maxHelloBytes = 4 * 1024

/** @internal For how long, in milliseconds, a connection may take to be made, be it by TCP, TLS or hello. */
export const connectWithin = 5_000
