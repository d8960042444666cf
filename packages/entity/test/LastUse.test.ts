import { assert, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import { LastUse, type Used } from "../src/internal/LastUse.ts"

class One implements Used<One> {
  readonly name: number
  usedAt = 0
  before: One | undefined
  after: One | undefined
  constructor(name: number) {
    this.name = name
  }
}

const which = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 }))

it.prop(
  "what is not used stands in the order of its last use",
  [Arbitrary.array(Arbitrary.schema(which), { maxLength: 100 })],
  ([names]) => {
    const all = Array.from({ length: 10 }, (_, i) => new One(i))
    const order = new LastUse<One>()
    let model: Array<One> = []
    for (const [now, name] of names.entries()) {
      const one = all[name]!
      if (model.includes(one)) {
        order.remove(one)
        model = model.filter((_) => _ !== one)
      } else {
        order.add(one, now)
        assert.strictEqual(one.usedAt, now)
        model.push(one)
      }
      assert.strictEqual(order.size, model.length)
      assert.strictEqual(order.oldest, model[0])
    }
    while (model.length > 0) {
      const one = model.shift()!
      assert.strictEqual(order.oldest, one)
      order.remove(one)
      assert.deepStrictEqual([one.before, one.after], [undefined, undefined], "it keeps nothing alive")
    }
    assert.isUndefined(order.oldest)
  }
)
