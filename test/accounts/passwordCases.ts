import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { expect, it } from "vitest"
import * as Password from "../../src/accounts/Password.ts"

/** Hashes of passwords, in Node and in workerd. */

const secret = (text: string) => Redacted.make(text)
const cheap: Password.Cost = { ln: 10, r: 8, p: 1 }
const run = Effect.runPromise

export const suite = (cost: Password.Cost) => {
  it("AC3: a password is hashed with scrypt and verified", async () => {
    const hash = await run(Password.hash(secret("correct horse"), cost))
    expect(hash).toMatch(/^\$scrypt\$ln=14,r=8,p=\d\$[^$=]{22}\$[^$=]{43}$/)
    expect(Password.parse(hash)?.cost).toEqual(cost)
    expect(await run(Password.verify(secret("correct horse"), hash, cheap))).toBe(true)
    const other = await run(Password.hash(secret("correct horse"), cheap))
    expect(await run(Password.verify(secret("correct horse"), other, cheap))).toBe(true)
    expect(await run(Password.verify(secret("correct horsf"), other, cheap))).toBe(false)
  })

  it("AC3: hashes have the parameters, a salt of their own, and are known to be outdated", async () => {
    const [a, b] = await run(Effect.all([Password.hash(secret("same"), cheap), Password.hash(secret("same"), cheap)]))
    expect(a).not.toBe(b)
    expect(Password.isOutdated(a, cheap)).toBe(false)
    expect(Password.isOutdated(a, { ...cheap, p: 2 })).toBe(true)
    // RFC 7914, the third test vector, in PHC format.
    const known =
      "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw"
    expect(Password.parse(known)?.cost).toEqual({ ln: 14, r: 8, p: 1 })
  })

  it("AC3: the same characters are the same password, and what is too long matches nothing", async () => {
    // U+212B is the sign of the unit, U+0041 U+030A the letter in two parts.
    const hash = await run(Password.hash(secret("\u212bngström"), cheap))
    expect(await run(Password.verify(secret("A\u030angstro\u0308m"), hash, cheap))).toBe(true)
    const empty = await run(Password.hash(secret(""), cheap))
    expect(await run(Password.verify(secret("x".repeat(1025)), empty, cheap))).toBe(false)
    const rules = { minimumLength: 8, name: "Ada Lovelace" }
    const problems = ["short", "ada lovelace", "é".repeat(513), "é".repeat(512), "12345678"]
    expect(problems.map((text) => Password.problemOf(secret(text), rules))).toEqual([
      "short",
      "name",
      "long",
      undefined,
      undefined
    ])
  })

  it("AC3: what is no hash of ours matches nothing and costs nothing", async () => {
    const broken = ["", "$scrypt$", "$scrypt$ln=30,r=8,p=1$AAAA$AAAA", "$argon2id$v=19$m=1,t=1,p=1$AAAA$AAAA"]
    for (const text of broken) {
      expect(Password.parse(text)).toBeUndefined()
      expect(await run(Password.verify(secret("password"), text, cheap))).toBe(false)
    }
  })
}
