import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { KeyStore } from "../../../src/services/KeyStore.ts"

/** What every store of signing keys does. */

export const key = (id: string, after: string | null) => ({
  id,
  jwk: Redacted.make(`{"of":"${id}"}`),
  retiresAt: 1000,
  after
})

const ids = (keys: ReadonlyArray<{ readonly id: string }>) => keys.map(({ id }) => id)

export const keyStoreSuite = (name: string, layer: Layer.Layer<KeyStore>) =>
  describe(`A9: ${name}`, () => {
    const test = (name: string, run: (store: KeyStore["Service"]) => Effect.Effect<void, unknown>) =>
      it.effect(name, () => Effect.flatMap(KeyStore, run).pipe(Effect.orDie, Effect.provide(layer)))

    test("keeps keys in the order in which they were added, until they are removed", (store) =>
      Effect.gen(function* () {
        expect(yield* store.list).toEqual([])
        yield* store.add(key("b", null))
        expect(ids(yield* store.add(key("a", "b")))).toEqual(["b", "a"])
        const [first] = yield* store.list
        expect(first).toMatchObject({ id: "b", retiresAt: 1000, createdAt: expect.any(Number) })
        expect(Redacted.value(first!.jwk)).toBe('{"of":"b"}')
        expect(String(first!.jwk)).not.toContain("of")
        expect(ids(yield* store.remove("b"))).toEqual(["a"])
        expect(ids(yield* store.remove("b"))).toEqual(["a"])
        expect(ids(yield* store.list)).toEqual(["a"])
      }))

    test("adds the key of one of those who add the next key at the same time", (store) =>
      Effect.gen(function* () {
        const add = (id: string, after: string | null) => store.add(key(id, after))
        const all = (after: string | null, names: ReadonlyArray<string>) =>
          Effect.forEach(names, (id) => add(id, after), { concurrency: "unbounded" })
        const first = yield* all(null, ["a", "b", "c"])
        expect(new Set(first.map((keys) => ids(keys).join())).size).toBe(1)
        expect(first[0]).toHaveLength(1)
        const { id } = first[0]![0]!
        const second = yield* all(id, ["d", "e"])
        expect(second.map((keys) => keys.length)).toEqual([2, 2])
        // Somebody who knows an older state adds nothing, and learns the newer one.
        expect(yield* add("f", id)).toEqual(yield* store.list)
        expect(yield* add("f", null)).toEqual(yield* store.list)
      }))
  })
