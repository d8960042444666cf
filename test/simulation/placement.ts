/** A placement of workers as a cluster has it: each process leases some, and others get them when it gives them up, or is not heard of for a while. */
import type * as OffsetStore from "@sluice/core/OffsetStore"
import * as Placement from "@sluice/core/Placement"
import * as Projection from "@sluice/core/Projection"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Simulation from "@sluice/testing/Simulation"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"

/** After so many milliseconds without a word the others take a process for dead. */
const lease = 3000

/** How often a process says that it is there, and looks at who else is, in milliseconds. */
const beat = 500
const look = 200

interface Member {
  readonly process: number
  until: number
  /** What it has the locks of. */
  readonly held: Set<string>
}

/** Slices that a worker of a process has, or has had. */
interface Leased {
  readonly member: Member
  readonly source: string
  readonly range: SliceRange.SliceRange
}

export interface Leases {
  /** The placement of a process that has just started, and what keeps its leases. */
  readonly join: (process: number) => Effect.Effect<{
    readonly placement: Placement.Placement
    readonly alive: Effect.Effect<never>
  }>
  /** Gives each worker to the process after the one that it has. */
  readonly move: Effect.Effect<void>
}

/** With `isStrict` nobody gets a worker that another one still has the lease of; else two have it for a while. */
export const makeLeases = (isStrict: boolean): Effect.Effect<Leases, never, Simulation.Simulation> =>
  Effect.map(Simulation.Simulation, ({ elapsed }) => {
    const members = new Map<number, Member>()
    const locks = new Map<string, Member>()
    const ranges = new Set<Leased>()
    let moved = 0

    /** The others that are there, and whether this one is. */
    const present = (now: number) =>
      [...members.values()].filter(({ until }) => until > now).toSorted((a, b) => a.process - b.process)

    const lock = (member: Member, key: string, now: number): boolean => {
      const owner = locks.get(key)
      const isFree = owner === undefined || owner === member || owner.until <= now || !isStrict
      if (isFree) {
        owner?.held.delete(key)
        locks.set(key, member)
        member.held.add(key)
      }
      return isFree
    }

    const unlock = (member: Member, key: string): void => {
      member.held.delete(key)
      if (locks.get(key) === member) locks.delete(key)
    }

    const assigned = (member: Member): Placement.Placement["assigned"] => (projection, workers) =>
      Stream.suspend(() => {
        const keys = Array.from({ length: workers }, (_, i) => `${projection} ${workers} ${i}`)
        let last: ReadonlySet<number> | undefined
        const decide = (now: number): ReadonlySet<number> => {
          const all = present(now)
          const next = new Set<number>()
          for (const [i, key] of keys.entries()) {
            const isMine = all.length > 0 && all[(i + moved) % all.length] === member
            if (isMine && lock(member, key, now)) next.add(i)
          }
          return next
        }
        const isSame = (next: ReadonlySet<number>) => last?.size === next.size && [...last].every((i) => next.has(i))
        const next: Effect.Effect<ReadonlySet<number>> = Effect.flatMap(elapsed, (now) => {
          // what it was told to give up has ended
          for (const [i, key] of keys.entries()) if (last !== undefined && !last.has(i)) unlock(member, key)
          const decided = decide(now)
          if (isSame(decided)) return Effect.andThen(Effect.sleep(look), next)
          last = decided
          return Effect.succeed(decided)
        })
        return Stream.ensuring(
          Stream.fromEffectRepeat(next),
          Effect.sync(() => keys.forEach((key) => unlock(member, key)))
        )
      })

    /** Ends once no process that is there has any of the slices. */
    const leaseOf = (member: Member): Placement.Placement["lease"] => ({ source }: OffsetStore.OffsetKey, range) => {
      const own: Leased = { member, source, range }
      const isTaken = (now: number) =>
        [...ranges].some((other) =>
          other.member !== member && other.member.until > now && other.source === source &&
          SliceRange.overlaps(other.range, range)
        )
      const take: Effect.Effect<void> = Effect.flatMap(elapsed, (now) => {
        if (isTaken(now)) return Effect.andThen(Effect.sleep(look), take)
        ranges.add(own)
        return Effect.void
      })
      const giveUp = Effect.sync(() => void ranges.delete(own))
      return Effect.as(
        Effect.acquireRelease(take, () => giveUp, { interruptible: true }),
        { overdue: [], giveUp: () => giveUp }
      )
    }

    return {
      join: (process) =>
        Effect.sync(() => {
          const member: Member = { process, until: 0, held: new Set() }
          const renew = Effect.map(elapsed, (now) => {
            member.until = now + lease
            members.set(process, member)
          })
          return {
            placement: { assigned: assigned(member), ...(isStrict && { lease: leaseOf(member) }) },
            alive: Effect.forever(Effect.andThen(renew, Effect.sleep(beat)))
          }
        }),
      move: Effect.sync(() => void moved++)
    }
  })

/** Runs a projection in a process that has just started, with the workers that it leases, for as long as the process. */
export const launch = <E, R>(leases: Leases, process: number, projection: Projection.Projection<E, R>) =>
  Effect.flatMap(leases.join(process), ({ alive, placement }) =>
    Effect.provideService(
      Effect.all([alive, Layer.launch(Projection.layer(projection))], { concurrency: "unbounded" }),
      Placement.Placement,
      placement
    ))
