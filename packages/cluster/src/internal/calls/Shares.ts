/**
 * @internal
 * Room that several share, without knowing of each other. Each leaves as much as it takes itself: one that is alone has half of it, two have a third each, and one that comes
 * later finds some, whatever the others do. One that has nothing may take what there is. Pure.
 */
export class Shares {
  readonly #most: number
  readonly #of = new Map<string, number>()
  #taken = 0

  constructor(most: number) {
    this.#most = most
  }

  /** How much all of them have. */
  get taken(): number {
    return this.#taken
  }

  hasSome(who: string): boolean {
    return this.#of.has(who)
  }

  hasRoom(who: string, amount: number): boolean {
    const has = this.#of.get(who) ?? 0
    const left = this.#most - this.#taken
    return has === 0 ? amount <= left : has + amount <= left
  }

  take(who: string, amount: number): void {
    this.#taken += amount
    this.#of.set(who, (this.#of.get(who) ?? 0) + amount)
  }

  give(who: string, amount: number): void {
    this.#taken -= amount
    // who has nothing may have been given nothing several times
    const has = (this.#of.get(who) ?? 0) - amount
    if (has === 0) this.#of.delete(who)
    else this.#of.set(who, has)
  }
}
