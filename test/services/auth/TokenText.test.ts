import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Auth } from "effect-dormouse/auth"
import { isUnambiguous } from "../../../src/services/auth/TokenText.ts"
import { forAll, forAllAsync, type Random, Violation } from "../../random.ts"
import { sign } from "./signing.ts"
import { tokenLayers } from "./tokenLayers.ts"
import { payload } from "./tokenSuite.ts"

/** Tokens that were changed at random, and JSON with names that occur twice. */

describe("A5: names in JSON, at random", () => {
  const names = ["a", "b", 'a"', "a\\", "é", "{", "", ","]

  /** A JSON text, and whether an object in it has a name twice. */
  const make = (random: Random, depth: number): readonly [text: string, isTwice: boolean] => {
    const kind = depth > 3 ? 2 : random.int(3)
    if (kind === 2) return [random.pick(["1", "null", '"{"', '"a\\"b,"', '"\\\\"', "[]", "{}", "-1.5e3"]), false]
    const parts = random.array(random.int(4), () => make(random, depth + 1))
    const isInside = parts.some(([, isTwice]) => isTwice)
    if (kind === 1) return [`[${parts.map(([text]) => text).join(random.pick([",", " , "]))}]`, isInside]
    const used = parts.map(() => random.pick(names))
    const members = parts.map(([text], i) => {
      const name = JSON.stringify(used[i])
      // The same name, written in another way.
      const written = random.chance(0.5) ? name.replace(/^"a/, '"\\u0061') : name
      return `${written}${random.pick([":", " : "])}${text}`
    })
    return [`{${members.join(",")}}`, isInside || new Set(used).size < used.length]
  }

  const check = (judge: (json: string) => boolean) =>
    forAll(500, (random) => {
      const [text, isTwice] = make(random, 0)
      JSON.parse(text)
      if (judge(text) === isTwice) throw new Violation(`${text} has ${isTwice ? "a" : "no"} name twice`)
    })

  it("are found when they occur twice", () => check(isUnambiguous))

  it("the check finds a judge that compares the names as they are written, and one that knows no objects", () => {
    expect(() => check((json) => isUnambiguous(json.replaceAll("\\u0061", "x")))).toThrow(Violation)
    expect(() => check(() => true)).toThrow(Violation)
  })
})

describe("A5: a token that was changed at random", () => {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.+/= é\u0000"
  const change = (random: Random, token: string): string => {
    const at = random.int(token.length)
    const letter = random.pick([...letters])
    const [header = "", body = "", end = ""] = token.split(".")
    return random.pick([
      () => token.slice(0, at) + letter + token.slice(at + 1),
      () => token.slice(0, at) + letter + token.slice(at),
      () => token.slice(0, at) + token.slice(at + 1 + random.int(5)),
      () => token.slice(0, at),
      () => random.shuffle([header, body, end]).join("."),
      () => [header, header, end].join("."),
      () => token + token.slice(at)
    ])()
  }

  it("is never accepted, and never makes the verifier fail in another way", async () => {
    const harness = await tokenLayers["layerJwks, ES256"]!()
    const { authenticate } = Context.get(
      await Effect.runPromise(Effect.scoped(Layer.build(harness.layer))),
      Auth.Authenticator
    )
    const request = new Request("https://dormouse.test/rpc")
    const lasting = { ...payload, exp: 9_999_999_999, iat: 0 }
    const token = await Effect.runPromise(sign(harness.signer, lasting))
    // The control: it is accepted as it is.
    expect(Option.isSome(await Effect.runPromise(authenticate({ token, request })))).toBe(true)
    await forAllAsync(300, async (random) => {
      const changed = change(random, token)
      const outcome = await Effect.runPromise(
        Effect.match(authenticate({ token: changed, request }), {
          onFailure: ({ _tag }) => _tag,
          onSuccess: Option.isSome
        })
      )
      if (changed !== token && outcome === true) throw new Violation(`${changed} is accepted`)
      if (outcome !== true && outcome !== "Unauthenticated" && outcome !== false) throw new Violation(String(outcome))
    })
  })
})
