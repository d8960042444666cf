import type { EventCodec } from "@sluice/core/EventCodec"
import type { Payload } from "@sluice/core/Payload"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { difference, isSame } from "./render.ts"

/** @internal An event or a state as it was stored once. */
export interface Stored {
  /** The entity type that it is of; any where it does not say so. */
  readonly entityType?: string | undefined
  readonly kind: "event" | "state"
  readonly manifest: string
  /** The bytes, where they are JSON; otherwise `base64`. */
  readonly json?: unknown
  readonly base64?: string | undefined
}

/** @internal A fixture, and where it stands. */
export interface Fixture extends Stored {
  readonly place: string
}

const textDecoder = new TextDecoder("utf-8", { fatal: true })

/** @internal */
export const storedOf = (entityType: string, kind: Stored["kind"], { bytes, manifest }: Payload): Stored => {
  const about = { entityType, kind, manifest }
  try {
    return { ...about, json: JSON.parse(textDecoder.decode(bytes)) }
  } catch {
    return { ...about, base64: Buffer.from(bytes).toString("base64") }
  }
}

const payloadOf = ({ base64, json, manifest }: Stored): Payload => ({
  manifest,
  bytes: base64 === undefined ? new TextEncoder().encode(JSON.stringify(json)) : Buffer.from(base64, "base64")
})

/** @internal The fixtures of a folder, those that are in its files; none where there is no folder. */
export const readFolder = (folder: string): ReadonlyArray<Fixture> =>
  (Fs.existsSync(folder) ? Fs.readdirSync(folder) : []).filter((file) => file.endsWith(".json")).toSorted().map(
    (file) => {
      const place = Path.join(folder, file)
      return { ...JSON.parse(Fs.readFileSync(place, "utf8")) as Stored, place }
    }
  )

/** @internal Writes a fixture beside the others, whose files stay as they are. */
export const writeFixture = (folder: string, stored: Stored): string => {
  Fs.mkdirSync(folder, { recursive: true })
  const name = `${stored.kind}-${stored.manifest.replace(/^json\.sluice\//, "").replaceAll(/[^\w.-]/g, "_")}`
  for (let number = 1;; number++) {
    const place = Path.join(folder, `${name}-${number}.json`)
    if (Fs.existsSync(place)) continue
    Fs.writeFileSync(place, `${JSON.stringify(stored, undefined, 2)}\n`)
    return place
  }
}

/** @internal Why a fixture cannot be read as it has to be; undefined where it can. */
export const unreadable = (fixture: Fixture, codec: EventCodec<any>): string | undefined => {
  let value: unknown
  try {
    value = codec.decodeUnsafe(payloadOf(fixture))
  } catch (error) {
    return `it does not decode any more: ${error instanceof Error ? error.message : String(error)}`
  }
  try {
    const again = codec.decodeUnsafe(codec.encodeUnsafe(value))
    return isSame(value, again)
      ? undefined
      : `what it decodes to does not come back from the codec as it was (-, but +)\n${difference(value, again)}`
  } catch (error) {
    return `what it decodes to is refused by the codec: ${error instanceof Error ? error.message : String(error)}`
  }
}

/** @internal Whether one of the fixtures is the same. */
export const isAmong = (fixtures: ReadonlyArray<Stored>, { base64, json, kind, manifest }: Stored): boolean =>
  fixtures.some((_) => _.kind === kind && _.manifest === manifest && _.base64 === base64 && isSame(_.json, json))
