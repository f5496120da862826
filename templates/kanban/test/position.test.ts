import { expect, it } from "vitest"
import { between, placeAfter } from "../src/position.ts"

it("finds a key between any two keys", () => {
  const keys = [between(null, null)]
  for (let i = 0; i < 2000; i++) {
    // Before the first, after the last, and again and again at the same place.
    const at = [0, keys.length, 1, Math.floor(keys.length / 2)][i % 4]!
    const key = between(keys[at - 1] ?? null, keys[at] ?? null)
    expect(at === 0 || keys[at - 1]! < key, `${key} after ${keys[at - 1]}`).toBe(true)
    expect(at === keys.length || key < keys[at]!, `${key} before ${keys[at]}`).toBe(true)
    keys.splice(at, 0, key)
  }
})

it("places an item after another one, and leaves itself out", () => {
  const items = ["a", "b", "c"].map((id, i) => ({ id, position: String(i + 1) }))
  expect(placeAfter(items, "c", "a") < "2").toBe(true)
  expect(placeAfter(items, "a", "b") > "2").toBe(true)
  expect(placeAfter(items, "b", null) < "1").toBe(true)
})
