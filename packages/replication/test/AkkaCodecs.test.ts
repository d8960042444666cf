import { create } from "@bufbuild/protobuf"
import { BoolValueSchema, StringValueSchema } from "@bufbuild/protobuf/wkt"
import { assert, describe, it } from "@effect/vitest"
import type * as EventCodec from "@sluice/core/EventCodec"
import * as AkkaCodecs from "@sluice/replication/AkkaCodecs"
import * as Counter from "@sluice/replication/Counter"
import * as OrSet from "@sluice/replication/OrSet"
import * as Equal from "effect/Equal"
import * as Schema from "effect/Schema"
import * as Fs from "node:fs"

/** What Akka's serializer has written (2.8.1): `npm run test:interop -- --only crdts` compares it with what it writes. */
const golden = new Map(
  Fs.readFileSync(new URL("golden/akka.txt", import.meta.url), "utf8").trim().split("\n").map((line) => {
    const [, name, manifest, hex] = /^(.*) (40:\w\w) ([0-9a-f]*)$/.exec(line)!
    return [name!, { manifest: `ser.akka.io/${manifest}`, hex: hex! }]
  })
)

const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"))

/** What Akka has written is read as the value, and the value is written as the same bytes. */
const same = <A>(codec: EventCodec.EventCodec<A>, name: string, value: A) => {
  const { hex, manifest } = golden.get(name)!
  assert.deepStrictEqual(codec.decodeUnsafe({ manifest, bytes: bytes(hex) }), value, name)
  const written = codec.encodeUnsafe(value)
  assert.strictEqual(written.manifest, manifest, name)
  assert.strictEqual(Buffer.from(written.bytes).toString("hex"), hex, name)
}

describe("a Counter", () => {
  const names = [...golden.keys()].filter((name) => name.startsWith("counter "))
  it.each(names.map((name) => name.slice("counter ".length)))("of %s is as Akka writes it", (number) => {
    same(AkkaCodecs.counterState, `counter ${number}`, { value: BigInt(number) })
    same(AkkaCodecs.counter, `counter-delta ${number}`, Counter.increment(BigInt(number)))
  })

  it.prop("is read as it was written", [Schema.BigInt], ([value]) => {
    assert.strictEqual(
      AkkaCodecs.counter.decodeUnsafe(AkkaCodecs.counter.encodeUnsafe(Counter.increment(value))).amount,
      value
    )
  })

  it("is not read from what is no number, or a huge one", () => {
    for (const hex of ["", "0a00", "0a05", "ff", `0a9103${"01".repeat(401)}`]) {
      assert.throws(() => AkkaCodecs.counter.decodeUnsafe({ manifest: "ser.akka.io/40:AB", bytes: bytes(hex) }))
    }
    assert.throws(
      () => AkkaCodecs.counter.decodeUnsafe({ manifest: "ser.akka.io/40:AA", bytes: bytes("0a0101") }),
      "40:AB"
    )
    assert.throws(() => AkkaCodecs.counter.encodeUnsafe(Counter.increment(BigInt(2) ** BigInt(4_000))), "at most")
  })
})

const check = <Name extends keyof AkkaCodecs.Elements>(
  type: Name,
  a: AkkaCodecs.Elements[Name],
  b: AkkaCodecs.Elements[Name],
  c: AkkaCodecs.Elements[Name]
) => {
  type Element = AkkaCodecs.Elements[Name]
  const codec = AkkaCodecs.orSet(type)
  const states = AkkaCodecs.orSetState(type, "us")
  const read = <A>(codec: EventCodec.EventCodec<A>, name: string): A => {
    const { hex, manifest } = golden.get(`${type} ${name}`)!
    return codec.decodeUnsafe({ manifest, bytes: bytes(hex) })
  }
  const isWritten = <A>(codec: EventCodec.EventCodec<A>, value: A, name: string) => {
    const { hex, manifest } = golden.get(`${type} ${name}`)!
    const written = codec.encodeUnsafe(value)
    assert.strictEqual(written.manifest, manifest, name)
    assert.strictEqual(Buffer.from(written.bytes).toString("hex"), hex, name)
  }

  it(`of ${type} writes what Akka writes`, () => {
    const empty: OrSet.OrSet<Element> = OrSet.empty
    isWritten(AkkaCodecs.orSetState(type, "eu"), empty, "empty")
    isWritten(codec, OrSet.remove(empty, "eu", a), "remove-unseen")
    isWritten(codec, OrSet.clear(empty, "eu"), "clear-empty")
    isWritten(codec, OrSet.add(empty, "eu", a), "add")
    // Akka counts on from the numbers of others: where this is the first addition of "us", the number is 2
    const two = OrSet.addAll(empty, "us", [b, a]).elements[1]!
    isWritten(codec, { _tag: "OrSetAdded", replica: "us", elements: [two] }, "add-again")
    const eu = [read(codec, "add"), read(codec, "add-again")].reduce(OrSet.apply, empty)
    isWritten(codec, OrSet.addAll(eu, "eu", [b, c]), "add-all")
    const us = OrSet.apply(eu, OrSet.addAll(eu, "eu", [b, c]))
    isWritten(states, us, "state")
    isWritten(codec, OrSet.remove(us, "us", b), "remove")
    isWritten(codec, OrSet.removeAll(us, "us", [b, c]), "remove-all")
    isWritten(codec, OrSet.clear(us, "us"), "clear")
    isWritten(states, OrSet.apply(us, OrSet.remove(us, "us", b)), "state-removed")
  })

  it(`of ${type} reads what Akka writes`, () => {
    const names = [...golden.keys()].filter((name) => name.startsWith(`${type} `))
    for (const name of names.map((name) => name.slice(type.length + 1))) {
      if (name.startsWith("state")) isWritten(states, read(states, name), name)
      else if (name !== "empty") isWritten(codec, read(codec, name), name)
    }
    const empty: OrSet.OrSet<Element> = OrSet.empty
    const state = ["add", "add-again", "add-all"].map((name) => read(codec, name)).reduce(OrSet.apply, empty)
    assert.sameMembers([...OrSet.values(state)], [a, b, c])
    assert.isTrue(Equal.equals(state, read(states, "state")))
    const after = (name: string) => OrSet.values(OrSet.apply(state, read(codec, name)))
    assert.sameMembers([...after("remove")], [a, c])
    assert.sameMembers([...after("remove-all")], [a])
    assert.deepStrictEqual(after("clear"), [])
    assert.isTrue(Equal.equals(OrSet.apply(state, read(codec, "remove")), read(states, "state-removed")))
  })

  for (const other of ["string", "int", "long", "other"]) {
    if (other === type) continue
    it(`of ${type} refuses elements of type ${other}, and says so`, () => {
      for (
        const [name, decode] of [["add", codec], ["remove", codec], ["remove-all", codec], ["state", states]] as const
      ) {
        const { hex, manifest } = golden.get(`${other} ${name}`)!
        let error: unknown
        try {
          decode.decodeUnsafe({ manifest, bytes: bytes(hex) })
        } catch (thrown) {
          error = thrown
        }
        assert.instanceOf(error, AkkaCodecs.UnsupportedElements)
        assert.include(error.message, `elements of type '${other}', and this codec reads '${type}'`)
      }
    })
  }
}

const notWritten = <Name extends keyof AkkaCodecs.Elements>(name: Name, element: AkkaCodecs.Elements[Name]) => {
  assert.throws(() => AkkaCodecs.orSet(name).encodeUnsafe(OrSet.add(OrSet.empty, "eu", element)), TypeError)
}

/** A version vector as the field of a set. */
const vector = (hex: string) => `12${(hex.length / 2).toString(16).padStart(2, "0")}${hex}`

describe("an OrSet", () => {
  check("string", "tea", "milk", "é🍵")
  check("int", 7, -7, -(2 ** 31))
  check("long", 7, -7, Number.MAX_SAFE_INTEGER)

  it("does not write elements of another type", () => {
    notWritten("string", "\ud800")
    notWritten("int", 2 ** 31)
    notWritten("int", 0.5)
    notWritten("long", 2 ** 53)
    notWritten("long", Number.NaN)
  })

  it("is not written as Akka's where a removal has come before what it has seen", () => {
    const added = OrSet.apply(OrSet.empty, OrSet.add(OrSet.empty, "eu", "tea"))
    const set: OrSet.OrSet<string> = OrSet.apply(OrSet.empty, OrSet.remove(added, "us", "tea"))
    assert.throws(() => AkkaCodecs.orSetState("string", "eu").encodeUnsafe(set), "write the set as JSON")
  })

  it("is not read from what is no set", () => {
    const codec = AkkaCodecs.orSet("string")
    const one = "0a060a0265751001"
    const dots = `1a08${one}`
    const element = "2203746561"
    const good = `0a026575${vector(one)}${dots}${element}`
    assert.strictEqual(codec.decodeUnsafe({ manifest: "ser.akka.io/40:CB", bytes: bytes(good) })._tag, "OrSetAdded")
    const bad: ReadonlyArray<readonly [manifest: string, hex: string, error: string]> = [
      ["CB", `0a027573${vector(one)}${dots}${element}`, "not one dot"],
      ["CB", `0a026575${vector(one)}${element}`, "1 elements and the dots of 0"],
      ["CB", `0a026575${vector(one)}${dots}`, "0 elements and the dots of 1"],
      ["CB", `0a026575${vector(one)}1a110a0f0a02657510ffffffffffffffffff01${element}`, "no sequence number"],
      ["CB", `0a026575${vector(one)}1a0f0a0d0a02657510ffffffffffffff7f${element}`, "no safe integer"],
      ["CC", `0a026575${dots}${element}`, "without 'vvector'"],
      ["CC", `0a026575${vector(one + one)}${dots}${element}`, "two entries of replica 'eu'"],
      ["CD", `0a0265751200${dots}${element}`, "has not seen"],
      ["CD", `0a026575${vector(one)}${dots}${dots}${element}${element}`, "twice"],
      ["CE", "0a020801", "without 'underlying'"],
      [
        "CE",
        `0a${(good.length / 2 + 4).toString(16)}080912${(good.length / 2).toString(16)}${good}`,
        "without 'operation'"
      ],
      ["CB", good.slice(0, -2), "premature EOF"],
      ["CA", good, "the manifest is unknown here"]
    ]
    for (const [manifest, hex, error] of bad) {
      assert.throws(() => codec.decodeUnsafe({ manifest: `ser.akka.io/40:${manifest}`, bytes: bytes(hex) }), error)
    }
  })
})

describe("a protobuf message", () => {
  const name = "com.google.protobuf.StringValue"
  const codec = AkkaCodecs.protobuf({ [name]: StringValueSchema })
  const tea = create(StringValueSchema, { value: "tea" })

  it("is written by the name of its Java class, and read by either name", () => {
    const payload = codec.encodeUnsafe(tea)
    assert.deepStrictEqual([payload.manifest, Buffer.from(payload.bytes).toString("hex")], [
      `ser.akka.io/2:${name}`,
      "0a03746561"
    ])
    for (const manifest of [payload.manifest, "type.googleapis.com/google.protobuf.StringValue"]) {
      assert.deepStrictEqual(codec.decodeUnsafe({ manifest, bytes: payload.bytes }), tea)
    }
  })

  it("is refused where its class is not known", () => {
    assert.throws(() => codec.encodeUnsafe(create(BoolValueSchema) as any), "no Java class is known of the message")
    assert.throws(
      () => codec.decodeUnsafe({ manifest: "ser.akka.io/2:com.google.protobuf.BoolValue", bytes: bytes("0801") }),
      "the manifest is unknown here"
    )
    assert.throws(() => codec.decodeUnsafe({ manifest: `ser.akka.io/2:${name}`, bytes: bytes("ff") }))
  })

  it("has one class alone", () => {
    assert.throws(() => AkkaCodecs.protobuf({ [name]: StringValueSchema, Other: StringValueSchema }), "Two classes")
  })
})
