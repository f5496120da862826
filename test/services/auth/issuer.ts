import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import type { Signer } from "./signing.ts"

/** An issuer of tokens, which publishes its keys or answers as the test says. */

export const issuer = "https://issuer.test"
export const audience = "https://api.test"
export const jwksUrl = `${issuer}/keys.json`

export class Issuer {
  keys: ReadonlyArray<unknown>
  /** How it answers a request for its keys; with the keys unless set. */
  answer: (() => Effect.Effect<Response, "down">) | undefined
  /** Its configuration (OpenID Connect Discovery). */
  configuration: object = { issuer, jwks_uri: jwksUrl }
  /** The requests it got. */
  readonly requests: Array<string> = []

  constructor(...signers: ReadonlyArray<Signer>) {
    this.keys = signers.map(({ jwk }) => jwk)
  }

  publish(...signers: ReadonlyArray<Signer>): void {
    this.keys = signers.map(({ jwk }) => jwk)
  }

  /** The HTTP client that reaches it, and nothing else. */
  readonly http: Layer.Layer<HttpClient.HttpClient> = Layer.succeed(
    HttpClient.HttpClient,
    HttpClient.make((request, url) =>
      Effect.suspend(() => {
        this.requests.push(url.href)
        return this.respond(url).pipe(
          Effect.map((response) => HttpClientResponse.fromWeb(request, response)),
          Effect.mapError(
            (description) =>
              new HttpClientError.HttpClientError({
                reason: new HttpClientError.TransportError({ request, description })
              })
          )
        )
      })
    )
  )

  private respond(url: URL): Effect.Effect<Response, "down"> {
    if (url.pathname === "/.well-known/openid-configuration") {
      return Effect.succeed(Response.json(this.configuration))
    }
    return this.answer?.() ?? Effect.succeed(Response.json({ keys: this.keys }))
  }
}
