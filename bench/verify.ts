/**
 * What it costs to verify a token: the first time, when its signature is computed, and again, when it is remembered. Through
 * the layers of Auth, in one process, without HTTP; prints medians in microseconds.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Auth } from "effect-dormouse/auth"
import { exportJWK, generateKeyPair, SignJWT } from "jose"

const issuer = "https://issuer.test"
const audience = "https://api.test"
const rounds = 1000
const request = new Request("https://dormouse.test/rpc")

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

const measure = async (
  alg: string,
  layer: Layer.Layer<Auth.Authenticator>,
  key: Parameters<SignJWT["sign"]>[0]
): Promise<void> => {
  const { authenticate } = Context.get(await Effect.runPromise(Effect.scoped(Layer.build(layer))), Auth.Authenticator)
  const verify = async (token: string) => {
    const started = performance.now()
    await Effect.runPromise(authenticate({ token, request }))
    return performance.now() - started
  }
  const times = { first: [] as Array<number>, again: [] as Array<number> }
  for (let round = 0; round < rounds; round++) {
    const token = await new SignJWT({ name: "Ada", tenants: ["acme"], jti: `${round}` })
      .setProtectedHeader({ alg, kid: "one" })
      .setIssuer(issuer)
      .setAudience(audience)
      .setSubject("ada")
      .setIssuedAt()
      .setExpirationTime("1 hour")
      .sign(key)
    const first = await verify(token)
    const again = await verify(token)
    if (round * 4 < rounds) continue
    times.first.push(first)
    times.again.push(again)
  }
  const text = (values: ReadonlyArray<number>) => (median(values) * 1000).toFixed(1)
  console.info(`${alg}: first ${text(times.first)}, again ${text(times.again)}`)
}

for (const alg of ["ES256", "RS256"]) {
  const { privateKey, publicKey } = await generateKeyPair(alg)
  const keys = [{ ...(await exportJWK(publicKey)), kid: "one", alg, use: "sig" }]
  const http = HttpClient.make((request) =>
    Effect.succeed(HttpClientResponse.fromWeb(request, Response.json({ keys })))
  )
  const layer = Auth.layerJwks({ url: `${issuer}/keys.json`, issuer, audience })
  await measure(alg, Layer.provide(layer, Layer.succeed(HttpClient.HttpClient, http)), privateKey)
}
const secret = "a secret that both know, of 32 bytes"
const layer = Auth.layerSecret({ secret: Redacted.make(secret), issuer, audience })
await measure("HS256", Layer.orDie(layer), new TextEncoder().encode(secret))
