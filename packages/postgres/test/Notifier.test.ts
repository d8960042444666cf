import { assert, it } from "@effect/vitest"
import * as Slice from "@sluice/core/Slice"
import type { Message } from "@sluice/sql/adapter/StorageSignals"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import { Notifier } from "../src/internal/Notifier.ts"

const message = (entityType: string, slice: number): Message => ({
  kind: "events",
  entityType,
  slices: new Set([Slice.make(slice)])
})

/** A connection that keeps what it is told to send, and answers as it is told to. */
class FakeClient {
  readonly sent: Array<ReadonlyArray<string>> = []
  /** Whether others listen. */
  isHeard = true
  answer: () => Promise<void> = () => Promise.resolve()
  readonly query: any = async ({ values }: { readonly values: readonly [string, ReadonlyArray<string>] }) => {
    this.sent.push(values[1])
    const rowCount = this.isHeard ? values[1].length : 0
    await this.answer()
    return { rowCount }
  }
}

it.live("what is told while there is no connection is sent with the next one", () =>
  Effect.gen(function*() {
    const notifier = new Notifier("channel", "me")
    notifier.tell(message("a", 1))
    notifier.tell(message("b", 2))
    assert.isFalse(notifier.isConnected)
    const client = new FakeClient()
    notifier.connected(client)
    yield* Wait.until("both to be sent", () => client.sent.length === 1)
    // and a greeting
    assert.strictEqual(client.sent[0]!.length, 3)
  }))

it.live("what is told while a notification is under way goes together with the next", () =>
  Effect.gen(function*() {
    const notifier = new Notifier("channel", "me")
    const client = new FakeClient()
    const { promise, resolve } = Promise.withResolvers<void>()
    client.answer = () => promise
    notifier.connected(client)
    notifier.tell(message("a", 1))
    for (let slice = 2; slice < 10; slice++) notifier.tell(message("a", slice))
    assert.strictEqual(client.sent.length, 1)
    resolve()
    yield* Wait.until("the rest to be sent", () => client.sent.length === 2)
    // of one entity type in one payload
    assert.strictEqual(client.sent[1]!.length, 1)
  }))

it.live("a connection that is lost stops nothing: the next one is used", () =>
  Effect.gen(function*() {
    const notifier = new Notifier("channel", "me")
    const broken = new FakeClient()
    broken.answer = () => Promise.reject(new Error("lost"))
    notifier.connected(broken)
    notifier.tell(message("a", 1))
    assert.strictEqual(broken.sent.length, 1)
    notifier.disconnected()
    const client = new FakeClient()
    yield* Effect.promise(() => Promise.resolve())
    notifier.tell(message("b", 2))
    notifier.connected(client)
    yield* Wait.until("the next to be sent", () => client.sent.length === 1)
    assert.strictEqual(broken.sent.length, 1)
  }))

it.live("what is left is sent before the end, and nothing after it", () =>
  Effect.gen(function*() {
    const notifier = new Notifier("channel", "me")
    const client = new FakeClient()
    const { promise, resolve } = Promise.withResolvers<void>()
    client.answer = () => promise
    notifier.connected(client)
    notifier.tell(message("a", 1))
    notifier.tell(message("a", 2))
    const finished = notifier.finish()
    assert.isFalse(notifier.isConnected)
    assert.strictEqual(client.sent.length, 2)
    notifier.tell(message("a", 3))
    resolve()
    yield* Effect.promise(() => finished)
    assert.strictEqual(client.sent.length, 2)
  }))

const hello = "[\"me\",\"hello\",\"\"]"

it.live("who is alone tells nothing until somebody says hello, and says it then as well", () =>
  Effect.gen(function*() {
    const notifier = new Notifier("channel", "me")
    const client = new FakeClient()
    client.isHeard = false
    notifier.connected(client)
    assert.deepStrictEqual(client.sent, [[hello]])
    yield* Wait.until("it to know", () => notifier.isAlone)
    const before = client.sent.length
    notifier.tell(message("a", 2))
    assert.strictEqual(client.sent.length, before)
    client.isHeard = true
    notifier.heard()
    notifier.tell(message("a", 3))
    yield* Wait.until("what is new to be told", () => client.sent.flat().some((payload) => payload.includes("3]")))
    assert.include(client.sent.slice(before).flat(), hello)
    assert.isFalse(client.sent.flat().some((payload) => payload.includes("2]")))
    // not once more: nothing was kept from whoever says it now
    const greetings = client.sent.flat().filter((payload) => payload === hello).length
    notifier.heard()
    notifier.tell(message("a", 4))
    yield* Wait.until("the last to be told", () => client.sent.flat().some((payload) => payload.includes("4]")))
    assert.strictEqual(client.sent.flat().filter((payload) => payload === hello).length, greetings)
  }))

it.live("who hears a hello before the answer that nobody listens is not alone", () =>
  Effect.gen(function*() {
    const notifier = new Notifier("channel", "me")
    const client = new FakeClient()
    const { promise, resolve } = Promise.withResolvers<void>()
    client.answer = () => promise
    client.isHeard = false
    notifier.connected(client)
    notifier.heard()
    resolve()
    // it has the answer by then
    yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
    assert.isFalse(notifier.isAlone)
    notifier.tell(message("a", 1))
    yield* Wait.until("it to be told", () => client.sent.length === 2)
  }))

it.live("who was alone on one connection says hello on the next", () =>
  Effect.gen(function*() {
    const notifier = new Notifier("channel", "me")
    const client = new FakeClient()
    client.isHeard = false
    notifier.connected(client)
    yield* Wait.until("it to know", () => notifier.isAlone)
    notifier.disconnected()
    notifier.tell(message("a", 1))
    const next = new FakeClient()
    notifier.connected(next)
    yield* Wait.until("all to be told", () => next.sent.flat().length === 2)
    assert.strictEqual(next.sent[0]![0], hello)
  }))

it.live("a greeting that is refused is tried again", () =>
  Effect.gen(function*() {
    const notifier = new Notifier("channel", "me")
    const client = new FakeClient()
    client.answer = () => Promise.reject(new Error("too many notifications in the NOTIFY queue"))
    notifier.connected(client)
    assert.deepStrictEqual(client.sent, [[hello]])
    client.answer = () => Promise.resolve()
    yield* Wait.until("it to be said", () => client.sent.length === 2)
    assert.deepStrictEqual(client.sent[1], [hello])
  }))
