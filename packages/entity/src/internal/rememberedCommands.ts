import type { Position } from "@sluice/core/Position"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import type { Timestamp } from "@sluice/core/Timestamp"

/** @internal What is remembered of a command that was executed. */
export interface RememberedCommand {
  readonly commandId: string
  /** The name of the command. */
  readonly tag: string
  /** Tells its payload from others. */
  readonly fingerprint: string
  /** The reply, as JSON. */
  readonly reply: string
  /** How many events it had, and where the last of them stands. */
  readonly count: number
  readonly sequenceNumber: SequenceNumber
  readonly position: Position
  readonly timestamp: Timestamp
}

/** What an entry takes beside its texts, at most. */
const overhead = 100

const sizeOf = ({ commandId, fingerprint, reply, tag }: RememberedCommand): number =>
  commandId.length + tag.length + fingerprint.length + reply.length + overhead

/**
 * @internal
 * The newest commands of an entity, by their ids: so many of them at most, and of so many characters. The newest one is remembered however large it is.
 */
export class RememberedCommands {
  readonly #limit: number
  readonly #maxSize: number
  /** From the oldest to the newest. */
  #commands: Map<string, RememberedCommand> | undefined
  #size = 0
  #forgottenAt = -Infinity

  constructor(limit: number, maxSize: number) {
    this.#limit = limit
    this.#maxSize = maxSize
  }

  get count(): number {
    return this.#commands?.size ?? 0
  }

  get size(): number {
    return this.#size
  }

  /** When the newest of those was executed that are forgotten. Where none are to be remembered, a command may have been executed at any time. */
  get forgottenAt(): number {
    return this.#limit === 0 ? Infinity : this.#forgottenAt
  }

  /** Those that were executed until then may be forgotten. */
  forget(until: Timestamp): void {
    this.#forgottenAt = Math.max(this.#forgottenAt, until)
  }

  get(commandId: string): RememberedCommand | undefined {
    return this.#commands?.get(commandId)
  }

  /** The one that was remembered last. */
  get newest(): RememberedCommand | undefined {
    return Array.from(this.#commands?.values() ?? []).at(-1)
  }

  /** Remembers a command as the newest one, and forgets the oldest ones that there is no room for. */
  add(command: RememberedCommand): void {
    if (this.#limit === 0) return
    const commands = this.#commands ??= new Map()
    this.#remove(command.commandId)
    commands.set(command.commandId, command)
    this.#size += sizeOf(command)
    for (const { commandId, timestamp } of commands.values()) {
      if (commands.size <= this.#limit && (this.#size <= this.#maxSize || commands.size === 1)) break
      this.#remove(commandId)
      this.forget(timestamp)
    }
  }

  #remove(commandId: string): void {
    const command = this.#commands!.get(commandId)
    if (command === undefined) return
    this.#commands!.delete(commandId)
    this.#size -= sizeOf(command)
  }

  /** All of them as a text, from the oldest to the newest, and what is known of those that are forgotten; undefined where there is none. */
  encode(): string | undefined {
    if (this.count === 0 && this.#forgottenAt === -Infinity) return undefined
    const commands: Array<unknown> = Array.from(this.#commands?.values() ?? [], (_) => [
      _.commandId,
      _.tag,
      _.fingerprint,
      _.reply,
      _.count,
      _.sequenceNumber,
      _.position,
      _.timestamp
    ])
    // it comes first, where there is any
    if (this.#forgottenAt !== -Infinity) commands.unshift(this.#forgottenAt)
    return JSON.stringify(commands)
  }

  /** Remembers what was encoded. Throws where the text is none. */
  decode(text: string): void {
    const commands: unknown = JSON.parse(text)
    if (!Array.isArray(commands)) throw new TypeError("no commands")
    const isForgetful = Number.isSafeInteger(commands[0])
    if (isForgetful) this.forget(commands[0])
    for (const command of isForgetful ? commands.slice(1) : commands) this.add(decoded(command))
  }
}

const decoded = (fields: unknown): RememberedCommand => {
  if (!Array.isArray(fields)) throw new TypeError("no command")
  const texts = fields.slice(0, 4) as ReadonlyArray<string>
  const numbers = fields.slice(4, 8) as ReadonlyArray<number>
  if (texts.length < 4 || numbers.length < 4) throw new TypeError("a command without its parts")
  if (!texts.every((_) => typeof _ === "string") || !numbers.every(Number.isSafeInteger)) {
    throw new TypeError("a command of another kind")
  }
  const [commandId, tag, fingerprint, reply] = texts as [string, string, string, string]
  const [count, sequenceNumber, position, timestamp] = numbers as [number, SequenceNumber, Position, Timestamp]
  return { commandId, tag, fingerprint, reply, count, sequenceNumber, position, timestamp }
}
