/**
 * Whether every command that was acknowledged was applied exactly once: straight from the journal's table, whatever the services think of it.
 */
import { type Database, type SluiceTables, Tables } from "@sluice/sql"
import { Effect } from "effect"
import * as Cart from "./Cart.ts"
import type { Acknowledged } from "./Shoppers.ts"

export interface Report {
  readonly acknowledged: number
  /** Acknowledged, and not in the journal where the receipt says. */
  readonly lost: number
  /** Applied again. */
  readonly doubled: number
  /** Numbers of events that are missing in a cart, or there twice. */
  readonly gaps: number
  /** All events of carts. */
  readonly events: number
}

export const isRight = ({ doubled, gaps, lost }: Report): boolean => lost + doubled + gaps === 0

const journal = Tables.make<SluiceTables.SluiceTables>()

/** The id of the command that an event is of, as entities keep it in the metadata of the command's last event. */
const commandIdOf = (metadata: string | null): string | undefined => {
  const command: string | undefined = JSON.parse(metadata ?? "{}")["sluice.command"]
  return command === undefined ? undefined : JSON.parse(command)[0]
}

/** By what one cart has, and what was acknowledged of it. */
export const compare = (
  events: ReadonlyArray<{ readonly sequenceNumber: number; readonly commandId: string | undefined }>,
  acknowledged: ReadonlyArray<{ readonly sequenceNumber: number; readonly commandId: string }>
): Omit<Report, "acknowledged" | "events"> => {
  const at = new Map<string, Set<number>>()
  let doubled = 0
  let gaps = 0
  events.forEach(({ commandId, sequenceNumber }, i) => {
    if (sequenceNumber !== i + 1) gaps++
    if (commandId === undefined) return
    const numbers = at.get(commandId)
    if (numbers === undefined) at.set(commandId, new Set([sequenceNumber]))
    else {
      doubled++
      numbers.add(sequenceNumber)
    }
  })
  const lost = acknowledged.filter(({ commandId, sequenceNumber }) => at.get(commandId)?.has(sequenceNumber) !== true)
  return { lost: lost.length, doubled, gaps }
}

export const verify = Effect.fn("Commands.verify")(
  function*(database: Database.Database["Service"], acknowledged: ReadonlyArray<Acknowledged>) {
    const of = Map.groupBy(acknowledged, ({ receipt }) => receipt.persistenceId as string)
    const carts = yield* database.run(
      journal.selectFrom("sluice_journal").select("persistence_id").distinct()
        .where("entity_type", "=", Cart.entityType.name)
    )
    const total = { acknowledged: acknowledged.length, lost: 0, doubled: 0, gaps: 0, events: 0 }
    for (const id of new Set([...of.keys(), ...carts.map((_) => _.persistence_id)])) {
      const rows = yield* database.run(
        journal.selectFrom("sluice_journal").select(["sequence_number", "metadata"])
          .where("persistence_id", "=", id).orderBy("sequence_number")
      )
      const found = compare(
        rows.map((_) => ({ sequenceNumber: _.sequence_number, commandId: commandIdOf(_.metadata) })),
        (of.get(id) ?? []).map(({ commandId, receipt }) => ({ commandId, sequenceNumber: receipt.sequenceNumber }))
      )
      total.lost += found.lost
      total.doubled += found.doubled
      total.gaps += found.gaps
      total.events += rows.length
    }
    return total satisfies Report
  }
)
