import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Auth } from "effect-dormouse/auth"
import { type Signer, secretSigner, sign } from "../services/auth/signing.ts"
import { ada, type Caller, callers, claimsOf, type Issuer, keeper } from "./callers.ts"

/** Tokens that are signed with a secret, and tokens that are nearly right. */

const secret = "a secret of the front door, of more than 32 bytes"
const options = { issuer: "https://issuer.test", audience: "door" }
const hour = 3600

/** The tokens of `Auth.layerSecret`. */
export const makeSigned = async (): Promise<Issuer> => {
  const signer = await secretSigner(secret)
  const now = Math.floor(Date.now() / 1000)
  const payload = (caller: Caller) => ({
    iss: options.issuer,
    aud: options.audience,
    sub: caller.subject,
    iat: now,
    exp: now + 24 * hour,
    ...claimsOf(caller)
  })
  const token = (changes: object, header: object = {}, by: Signer = signer): Promise<string> =>
    Effect.runPromise(sign(by, { ...payload(ada), ...changes }, header))
  const tokens = new Map<Caller, string>()
  for (const caller of [...callers, keeper]) tokens.set(caller, await token(payload(caller)))
  const good = tokens.get(ada) ?? ""
  const other = await secretSigner(`${secret}!`)
  const unsigned = [await token({}, { alg: "none" }), await token({}, { alg: "RS256" })]
  const refused = [
    await token({ exp: now - 1 }),
    await token({ exp: undefined }),
    await token({ sub: undefined }),
    await token({ sub: "" }),
    await token({ aud: "another" }),
    await token({ aud: undefined }),
    await token({ iss: "https://elsewhere.test" }),
    await token({ nbf: now + hour }),
    await token({ secret: 1 }),
    await token({}, {}, other),
    ...unsigned,
    ...unsigned.map((text) => text.replace(/[^.]*$/, "")),
    // The signature of another caller's token.
    good.replace(/[^.]*$/, (tokens.get(keeper) ?? "").split(".")[2] ?? ""),
    ...lastDigits(good)
  ]
  const layer = Auth.layerSecret({ ...options, secret: Redacted.make(secret) })
  return {
    layer: Auth.layerFirst(Layer.orDie(layer), Auth.layerAnonymous),
    tokenOf: (caller) => tokens.get(caller) ?? "",
    refused: new Map(refused.map((text) => [text, 401])),
    isStrict: true
  }
}

/** The token with another last digit, some of which stand for the same bytes: a reader of one form refuses them. */
const lastDigits = (token: string): ReadonlyArray<string> =>
  [..."AEIMQUYcgkosw048BCDFGHabdefhijlmnpqrtuvxyz"]
    .map((digit) => `${token.slice(0, -1)}${digit}`)
    .filter((text) => text !== token)
