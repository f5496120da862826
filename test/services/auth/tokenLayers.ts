import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Auth } from "effect-dormouse/auth"
import * as KeyStore from "../../../src/services/KeyStore.ts"
import { audience, Issuer, issuer, jwksUrl } from "./issuer.ts"
import { makeSigner, type Signer, secretSigner } from "./signing.ts"
import type { TokenHarness } from "./tokenSuite.ts"

/** The layers that verify signed tokens, for the suite that all of them pass. */

type Alg = "ES256" | "RS256" | "PS256" | "EdDSA"

/** Generating keys for RSA takes long: all tests have the same ones. */
const signers = new Map<string, Promise<Signer>>()
const signerOf = (alg: Alg, kid: string): Promise<Signer> => {
  const made = signers.get(`${alg} ${kid}`) ?? makeSigner(alg, kid)
  signers.set(`${alg} ${kid}`, made)
  return made
}

const jwks = (alg: Alg) => async (): Promise<TokenHarness> => {
  const [signer, stranger, other] = await Promise.all([
    signerOf(alg, "one"),
    signerOf(alg, "stranger"),
    signerOf("ES256", "other")
  ])
  const { http } = new Issuer(other, signer)
  const layer = Auth.layerJwks({ url: jwksUrl, issuer, audience }).pipe(Layer.provide(http))
  return { layer, signer, stranger, knowsKeys: true }
}

/** An issuer of its own, with a key that is there already. */
const local = async (): Promise<TokenHarness> => {
  const [signer, stranger] = await Promise.all([signerOf("ES256", "one"), signerOf("ES256", "stranger")])
  const store = Layer.tap(KeyStore.layerMemory, (built) =>
    Context.get(built, KeyStore.KeyStore).add({
      id: signer.kid,
      jwk: Redacted.make(signer.privateJwk),
      retiresAt: null,
      after: null
    })
  )
  const layer = Auth.layerLocalWith({ issuer, audience }).pipe(Layer.provide(Layer.orDie(store)))
  return { layer, signer, stranger, knowsKeys: true }
}

const secret = "a secret that both know, of 32 bytes"

/** Makes one layer each. */
export const tokenLayers: Record<string, () => Promise<TokenHarness>> = {
  "layerJwks, ES256": jwks("ES256"),
  "layerJwks, RS256": jwks("RS256"),
  "layerJwks, PS256": jwks("PS256"),
  "layerJwks, EdDSA": jwks("EdDSA"),
  layerLocal: local,
  layerSecret: async () => ({
    layer: Layer.orDie(Auth.layerSecret({ secret: Redacted.make(secret), issuer, audience })),
    signer: await secretSigner(secret),
    stranger: await secretSigner("another secret, also of 32 bytes"),
    knowsKeys: false
  })
}
