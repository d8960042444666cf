/**
 * What happens to the regions, and when.
 */
import { Clock, Deferred, Effect, Record, Schedule, Schema } from "effect"
import type { DataFolder } from "../../kit/src/DataFolder.ts"
import { Display } from "../../kit/src/Display.ts"
import * as Supervisor from "../../kit/src/Supervisor.ts"
import * as Cart from "./Cart.ts"
import * as Databases from "./Databases.ts"
import * as Link from "./Link.ts"
import * as Shoppers from "./Shoppers.ts"
import * as Status from "./Status.ts"
import * as Verification from "./Verification.ts"

export interface Options {
  /** Seconds. */
  readonly duration: number
  /** Commands a second, in all regions together. */
  readonly rate: number
  readonly httpPorts: Databases.Each<number>
  /** Where the regions offer each other their events. */
  readonly ports: Databases.Each<number>
}

/** What was waited for does not come. */
export class NotInTime extends Schema.TaggedError<NotInTime>()("NotInTime", { what: Schema.String }) {
  override get message(): string {
    return `${patience} s were not enough ${this.what}: is the --rate too high for this machine?`
  }
}

/** Seconds. */
const patience = 180

/** When what happens, as a share of the duration. */
const plan = { usCut: 0.1, usHealed: 0.3, allCut: 0.45, apDies: 0.5, apReturns: 0.6, allHealed: 0.8 }

const seconds = Effect.map(Clock.currentTimeMillis, (now) => now / 1000)

const inTime = (what: string) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.timeoutOrElse(effect, {
    duration: `${patience} seconds`,
    orElse: () => Effect.fail(new NotInTime({ what }))
  })

const show = (content: Cart.Content): string =>
  Object.entries(content).map(([sku, quantity]) => `${quantity} ${sku}`).join(", ") || "nothing"

export const run = Effect.fn("Scenario.run")(
  function*({ duration, httpPorts, ports, rate }: Options, folder: DataFolder) {
    const display = yield* Display
    const { say } = display
    const databases = yield* Databases.make(Record.map(httpPorts, (_, region) => folder.of(region).database))

    const links = yield* Effect.forEach(
      Cart.regions.flatMap((from) => Cart.regions.map((to) => ({ from, to }))).filter(({ from, to }) => from !== to),
      ({ from, to }) => Effect.map(Link.make(ports[from]), (link) => ({ from, to, link }))
    )
    const cut = (...regions: ReadonlyArray<Cart.Region>) =>
      Effect.forEach(
        links.filter(({ from, to }) => regions.includes(from) || regions.includes(to)),
        ({ link }) => link.cut,
        { discard: true }
      )

    const processes = yield* Effect.all(Record.map(httpPorts, (httpPort, region) =>
      Supervisor.make({
        name: `region ${region}`,
        entry: new URL("region.ts", import.meta.url),
        environment: {
          REGION: region,
          DATABASE: folder.of(region).database,
          HTTP_PORT: String(httpPort),
          PORT: String(ports[region]),
          ...Object.fromEntries(
            links.filter(({ to }) => to === region).map(({ from, link }) => [
              from.toUpperCase(),
              `127.0.0.1:${link.port}`
            ])
          ),
          // its own
          [region.toUpperCase()]: `127.0.0.1:${ports[region]}`
        },
        log: folder.of(region).log
      })))
    const start = (region: Cart.Region) =>
      Effect.flatMap(processes[region].start, (pid) => say(`region ${region} started, pid ${pid}`))

    const shoppers = yield* Shoppers.make({
      rate,
      addresses: Record.map(httpPorts, (port) => `http://127.0.0.1:${port}`)
    })
    const shopping = yield* Deferred.make<void, Effect.Error<typeof shoppers.shop>>()
    /** When all regions were ready. */
    let begin: number | undefined

    const look = Effect.gen(function*() {
      const progress = yield* databases.progress
      const now = yield* seconds
      const states = yield* Effect.all(Record.map(processes, ({ state }) => state))
      yield* display.show(Status.draw({
        elapsed: now - (begin ?? now),
        duration,
        regions: Record.map(states, (process, region) => ({
          process,
          events: Databases.count(progress.heads[region])
        })),
        links: progress.pairs.map((pair) => ({
          from: pair.from,
          to: pair.to,
          isCut: links.some(({ from, link, to }) => from === pair.from && to === pair.to && link.isCut()),
          lag: Databases.lag(progress, pair)
        }))
      }))
    })

    const until = Effect.fnUntraced(function*(share: number) {
      yield* Effect.sleep(`${Math.max(0, begin! + share * duration - (yield* seconds))} seconds`)
    })

    /** Waits until every region has what there is now in the others. */
    const converge = Effect.gen(function*() {
      const now = yield* databases.progress
      yield* databases.progress.pipe(
        Effect.repeat({
          until: ({ pairs }) => pairs.every((pair) => Databases.lag(now, pair) === 0),
          schedule: Schedule.spaced("100 millis")
        }),
        inTime("for all regions to have what the others have")
      )
    })

    /** Heals all links, and tells in how many milliseconds what was written before was everywhere. */
    const heal = Effect.gen(function*() {
      const start = yield* seconds
      yield* Effect.forEach(links, ({ link }) => link.heal, { discard: true })
      yield* converge
      const took = Math.round(((yield* seconds) - start) * 1000)
      yield* say(`all links are healed: ${took} ms later, what was written before is in all regions`)
      return took
    })

    /** The carts that were changed on more than one side since then, that which was changed most first. */
    const changedSince = (since: number, sides: Databases.Each<number>) =>
      Map.groupBy(
        shoppers.acknowledged.filter(({ at, cart }) => at > since * 1000 && Cart.homeOf(cart) === undefined),
        ({ cart }) => cart
      ).entries().filter(([, commands]) => new Set(commands.map(({ region }) => sides[region])).size > 1)
        .toArray().toSorted(([, a], [, b]) => b.length - a.length).map(([cart]) => cart)

    /** Waits until there are such carts. */
    const changedOnSides = (since: number, sides: Databases.Each<number>) =>
      Effect.sync(() => changedSince(since, sides)).pipe(
        Effect.repeat({ until: (carts) => carts.length > 0, schedule: Schedule.spaced("20 millis") }),
        inTime("for a cart to be changed on several sides")
      )

    const contentsOf = (cart: string) =>
      Effect.forEach(
        Cart.regions,
        (region) => Effect.map(shoppers.look(cart, region), (content) => `${region} has ${show(content)}`),
        { concurrency: "unbounded" }
      )

    const play = Effect.gen(function*() {
      yield* Effect.forEach(Cart.regions, start, { concurrency: "unbounded" })
      begin = yield* seconds
      yield* Effect.forkScoped(Deferred.into(shoppers.shop, shopping))

      yield* until(plan.usCut)
      const alone = yield* seconds
      yield* cut("us")
      yield* say("the links to and from us are cut, and people go on shopping on both sides")
      const elsewhere = yield* Effect.flip(shoppers.look("de-0", "us"))
      yield* say(`us says of a German cart: ${elsewhere.message}`)
      yield* until(plan.usHealed)
      const twice = yield* changedOnSides(alone, { eu: 1, us: 2, ap: 1 })
      yield* say(`${twice.length} carts were changed on both sides of the cut`)
      const first = yield* heal

      yield* until(plan.allCut)
      const apart = yield* seconds
      yield* cut(...Cart.regions)
      yield* say("all links are cut")
      yield* until(plan.apDies)
      yield* processes.ap.kill
      yield* say("kill -9: region ap is dead, and nobody shops there")
      yield* until(plan.apReturns)
      yield* start("ap")
      const returned = yield* seconds
      yield* Effect.sync(() => shoppers.acknowledged.some(({ at, region }) => region === "ap" && at > returned * 1000))
        .pipe(
          Effect.repeat({ until: (answered) => answered, schedule: Schedule.spaced("20 millis") }),
          inTime("for ap to take commands again")
        )
      yield* say("ap reaches nobody, and takes commands")
      yield* until(plan.allHealed)
      const changed = yield* changedOnSides(apart, { eu: 1, us: 2, ap: 3 })
      yield* say(`${changed.length} carts were changed on several sides of the cuts`)
      yield* say(`of ${changed[0]}, ${(yield* contentsOf(changed[0]!)).join("; ")}`)
      const second = yield* heal

      yield* until(1)
      yield* shoppers.close
      yield* inTime("for the last answers")(Deferred.await(shopping))
      yield* say("the shop is closed: everybody has an answer")
      yield* converge
      yield* say("all regions have everything")
      yield* say(`of ${changed[0]}, ${(yield* contentsOf(changed[0]!)).join("; ")}`)

      const commands = Map.groupBy(shoppers.acknowledged, ({ cart }) => cart)
      const reports = yield* Effect.forEach(shoppers.carts, (cart) =>
        Effect.gen(function*() {
          const home = Cart.homeOf(cart)
          return Verification.compare({
            cart,
            acknowledged: (commands.get(cart) ?? []).map(({ region, sequenceNumber }) => ({
              origin: region,
              originSequenceNumber: sequenceNumber
            })),
            events: yield* databases.events(cart),
            contents: yield* Effect.forEach(home === undefined ? Cart.regions : [home], (region) =>
              shoppers.look(cart, region))
          })
        }), { concurrency: 8 })
      return { ...Verification.sum(reports), healed: Math.max(first, second) }
    })

    const watch = Effect.andThen(Effect.repeat(look, Schedule.spaced(display.interval)), Effect.never)

    /** Ends only where somebody cannot go on shopping. */
    const unserved = Effect.andThen(Deferred.await(shopping), Effect.never)
    const failures = Object.values(processes).map(({ failure }) => failure)

    const report = yield* Effect.raceAllFirst([play, watch, unserved, display.closed, ...failures])
    yield* Effect.forEach(Object.values(processes), ({ stop }) => stop, { concurrency: "unbounded", discard: true })
    yield* look
    return report
  }
)
