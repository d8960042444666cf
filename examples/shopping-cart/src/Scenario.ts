/**
 * What happens to the two services, and when.
 */
import { EventFilter, Offset } from "@sluice/core"
import { Clock, Deferred, Effect, Ref, Schedule, Schema } from "effect"
import type { DataFolder } from "../../kit/src/DataFolder.ts"
import { Display } from "../../kit/src/Display.ts"
import * as Supervisor from "../../kit/src/Supervisor.ts"
import * as Cart from "./Cart.ts"
import * as Commands from "./Commands.ts"
import * as Databases from "./Databases.ts"
import * as LeftOut from "./LeftOut.ts"
import { Meter } from "./Meter.ts"
import * as Shoppers from "./Shoppers.ts"
import * as Status from "./Status.ts"
import * as Verification from "./Verification.ts"

export interface Options {
  /** Seconds. */
  readonly duration: number
  /** Events a second. */
  readonly rate: number
  readonly port: number
  readonly httpPort: number
}

/** What was waited for does not come. */
export class NotInTime extends Schema.TaggedError<NotInTime>()("NotInTime", {
  what: Schema.String,
  lag: Schema.Int
}) {
  override get message(): string {
    return `${patience} s were not enough ${this.what}, and ${this.lag} events are not processed: ` +
      "is the --rate too high for this machine?"
  }
}

/** Seconds. */
const patience = 60

/** When what happens, as a share of the duration. */
const plan = {
  analyticsDies: 0.15,
  analyticsReturns: 0.3,
  largeOnly: 0.45,
  oneSmall: 0.6,
  cartDies: 0.75,
  cartReturns: 0.85
}

export const run = Effect.fn("Scenario.run")(
  function*({ duration, httpPort, port, rate }: Options, folder: DataFolder) {
    const display = yield* Display
    const files = { cart: folder.of("cart"), analytics: folder.of("analytics") }
    const databases = yield* Databases.open({ cart: files.cart.database, analytics: files.analytics.database })
    const cart = yield* Supervisor.make({
      name: "cart service",
      entry: new URL("cartService.ts", import.meta.url),
      environment: { DATABASE: files.cart.database, PORT: String(port), HTTP_PORT: String(httpPort) },
      log: files.cart.log
    })
    const analytics = yield* Supervisor.make({
      name: "analytics service",
      entry: new URL("analyticsService.ts", import.meta.url),
      environment: { DATABASE: files.analytics.database, CART_SERVICE: `127.0.0.1:${port}` },
      log: files.analytics.log
    })

    const shoppers = yield* Shoppers.make({ rate, addresses: [`http://127.0.0.1:${httpPort}`] })
    const shopping = yield* Deferred.make<void, Effect.Error<typeof shoppers.shop>>()

    /** The journal's heads when a service came back, and how far the analytics service was then. */
    const target = yield* Ref.make<Databases.Progress | undefined>(undefined)
    const meter = new Meter()
    const draw = Status.drawing()
    const seconds = Effect.map(Clock.currentTimeMillis, (now) => now / 1000)
    /** When both services were ready. */
    const begin = yield* Ref.make<number | undefined>(undefined)

    const show = Effect.gen(function*() {
      const progress = yield* databases.progress
      const now = yield* seconds
      const appended = Databases.count(progress.heads)
      const processed = Databases.count(progress.offsets)
      const behind = yield* Ref.get(target)
      yield* display.show(draw({
        elapsed: now - ((yield* Ref.get(begin)) ?? now),
        duration,
        cart: yield* cart.state,
        analytics: yield* analytics.state,
        ...meter.add({ time: now, appended, processed }),
        appended,
        processed,
        lag: Databases.lag(progress),
        catchingUp: behind === undefined || Databases.lag(behind) === 0 ? undefined : {
          done: Databases.lag(behind) - Offset.lag(behind.heads, progress.offsets),
          total: Databases.lag(behind)
        }
      }))
    })

    const until = Effect.fnUntraced(function*(share: number) {
      const due = (yield* Ref.get(begin))! + share * duration
      yield* Effect.sleep(`${Math.max(0, due - (yield* seconds))} seconds`)
    })

    const waitFor = (what: string, condition: (progress: Databases.Progress) => boolean) =>
      databases.progress.pipe(
        Effect.repeat({ until: condition, schedule: Schedule.spaced("20 millis") }),
        Effect.timeoutOrElse({
          duration: `${patience} seconds`,
          orElse: () =>
            Effect.flatMap(databases.progress, (progress) =>
              Effect.fail(new NotInTime({ what, lag: Databases.lag(progress) })))
        })
      )

    /** Waits until the analytics service has processed what there is now. */
    const catchUp = Effect.gen(function*() {
      const start = yield* seconds
      const behind = yield* databases.progress
      yield* Ref.set(target, behind)
      yield* Effect.raceFirst(
        waitFor("to catch up", ({ offsets }) => Offset.lag(behind.heads, offsets) === 0),
        // it does not take long: the display's own interval would miss it
        Effect.repeat(show, Schedule.spaced("200 millis"))
      )
      yield* Ref.set(target, undefined)
      return { events: Databases.lag(behind), seconds: (yield* seconds) - start }
    })

    const play = Effect.gen(function*() {
      yield* display.say(`cart service started, pid ${yield* cart.start}`)
      yield* display.say(`analytics service started, pid ${yield* analytics.start}`)

      yield* Ref.set(begin, yield* seconds)
      yield* Effect.forkScoped(Deferred.into(shoppers.shop, shopping))

      yield* until(plan.analyticsDies)
      yield* analytics.kill
      yield* display.say("kill -9: the analytics service is dead, and its lag grows")
      yield* until(plan.analyticsReturns)
      yield* display.say(`analytics service started again, pid ${yield* analytics.start}`)
      const missed = yield* catchUp
      yield* display.say(
        `it has caught up ${missed.events.toLocaleString("en-US")} events in ${missed.seconds.toFixed(1)} s`
      )

      yield* until(plan.largeOnly)
      const large = EventFilter.excludeAll.pipe(EventFilter.includeTags(Cart.large))
      yield* databases.ask(() => large, "only canteens count")
      yield* display.say("the analytics service asks for large carts only from now on")
      yield* until(plan.oneSmall)
      const small = yield* LeftOut.longest(databases)
      if (small !== undefined) {
        const { heads } = yield* databases.progress
        yield* waitFor("to see what is left out", ({ offsets }) => Offset.lag(heads, offsets) === 0)
        yield* databases.ask(EventFilter.includeEntityIds(small.id), "this one as well")
        yield* display.say(`now it asks for the small cart ${small.id} as well`)
        const came = yield* LeftOut.arrival(databases, small).pipe(
          Effect.repeat({ until: (came) => came !== undefined, schedule: Schedule.spaced("20 millis") }),
          Effect.timeoutOrElse({
            duration: `${patience} seconds`,
            orElse: () => Effect.fail(new NotInTime({ what: `for the past of ${small.id}`, lag: small.count }))
          })
        )
        yield* display.say(
          `${came!.count} of its events that were left out have come before event ${came!.before}, ` +
            (came!.inOrder ? "in order" : "which is wrong: not in order")
        )
      }

      yield* until(plan.cartDies)
      yield* cart.kill
      yield* display.say("kill -9: the cart service is dead, and nobody can shop")
      yield* until(plan.cartReturns)
      const before = yield* databases.progress
      yield* display.say(`cart service started again, pid ${yield* cart.start}`)
      const start = yield* seconds
      yield* waitFor("for new events to arrive", ({ offsets }) => Offset.lag(offsets, before.heads) > 0)
      yield* display.say(`its events arrive again, after ${((yield* seconds) - start).toFixed(1)} s`)

      yield* until(1)
      yield* shoppers.close
      yield* Deferred.await(shopping).pipe(
        Effect.timeoutOrElse({
          duration: `${patience} seconds`,
          orElse: () =>
            Effect.flatMap(
              databases.progress,
              (progress) => Effect.fail(new NotInTime({ what: "for the last answers", lag: Databases.lag(progress) }))
            )
        })
      )
      yield* display.say("the shop is closed: everybody has an answer")
      yield* waitFor("to come to the end", (progress) => Databases.lag(progress) === 0)
      yield* display.say("the lag is 0")
    })

    const watch = Effect.repeat(show, Schedule.spaced(display.interval))

    /** Ends only where somebody cannot go on shopping. */
    const unserved = Effect.andThen(Deferred.await(shopping), Effect.never)

    yield* Effect.raceAllFirst([play, watch, unserved, cart.failure, analytics.failure, display.closed])
    yield* Effect.all([analytics.stop, cart.stop], { concurrency: "unbounded" })
    yield* show
    return {
      ...yield* Verification.verify(databases),
      commands: yield* Commands.verify(databases.cart, shoppers.acknowledged),
      repeated: yield* shoppers.repeated
    }
  }
)
