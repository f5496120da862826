import { expect, it } from "vitest"
import { between, placeAfter } from "../src/position.ts"

it("places an item after another one, and leaves itself out", () => {
  const first = between(null, null)
  const second = between(first, null)
  const third = between(second, null)
  const items = [
    { id: "a", position: first },
    { id: "b", position: second },
    { id: "c", position: third }
  ]
  const middle = placeAfter(items, "c", "a")
  expect(first < middle && middle < second).toBe(true)
  const end = placeAfter(items, "a", "b")
  expect(second < end && end < third).toBe(true)
  expect(placeAfter(items, "b", null) < first).toBe(true)
  expect(placeAfter(items, null, "c") > third).toBe(true)
})
