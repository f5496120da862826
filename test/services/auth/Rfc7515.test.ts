import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as TestClock from "effect/testing/TestClock"
import { fromPublicKeys, fromSecrets, type KeySet } from "../../../src/services/auth/KeySet.ts"
import { fixed } from "../../../src/services/auth/RefreshingKeys.ts"
import * as TokenVerifier from "../../../src/services/auth/TokenVerifier.ts"
import { refused } from "./tokenSuite.ts"

/**
 * The signed tokens of RFC 7515, appendix A. They have no audience and no subject: a verifier that accepts the signature
 * refuses the audience.
 */

const payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

interface Vector {
  readonly alg: string
  readonly keys: KeySet
  readonly header: string
  readonly signature: string
}

const vectors: Record<string, Vector> = {
  "A.1": {
    alg: "HS256",
    keys: fromSecrets([
      Result.getOrThrow(
        Base64Url.decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
      )
    ]),
    header: "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
    signature: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
  },
  "A.2": {
    alg: "RS256",
    keys: fromPublicKeys([
      {
        kty: "RSA",
        n: "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
        e: "AQAB"
      }
    ]),
    header: "eyJhbGciOiJSUzI1NiJ9",
    signature:
      "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
  },
  "A.3": {
    alg: "ES256",
    keys: fromPublicKeys([
      {
        kty: "EC",
        crv: "P-256",
        x: "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        y: "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
      }
    ]),
    header: "eyJhbGciOiJFUzI1NiJ9",
    signature: "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
  }
}

const ask = ({ alg, keys }: Vector, token: string, algorithms: ReadonlyArray<string> = [alg]) =>
  Effect.flatMap(
    TokenVerifier.make(fixed(keys), { issuer: "joe", audience: "nobody", algorithms, clockSkew: 0 }),
    ({ authenticate }) => Effect.exit(authenticate({ token, request: new Request("https://dormouse.test/rpc") }))
  )

describe("A5: the tokens of RFC 7515", () => {
  for (const [name, vector] of Object.entries(vectors)) {
    it.effect(`${name}, ${vector.alg}, are verified`, () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(1_300_819_379_000)
        const { header, signature } = vector
        expect(yield* ask(vector, `${header}.${payload}.${signature}`)).toEqual(refused("audience"))
        // Each character counts, but for the bits of the last one that are not used.
        for (const at of [0, 10, signature.length - 3]) {
          const changed = `${signature.slice(0, at)}${signature[at] === "A" ? "B" : "A"}${signature.slice(at + 1)}`
          expect(yield* ask(vector, `${header}.${payload}.${changed}`)).toEqual(refused("signature"))
        }
        for (const other of Object.values(vectors)) {
          if (other === vector) continue
          const swapped = yield* ask(vector, `${other.header}.${payload}.${other.signature}`)
          expect(swapped).toEqual(refused("algorithm"))
        }
      })
    )
  }

  it.effect("A.5, without a signature, is refused", () =>
    Effect.gen(function* () {
      for (const vector of Object.values(vectors)) {
        expect(yield* ask(vector, `eyJhbGciOiJub25lIn0.${payload}.`)).toEqual(refused("algorithm"))
        // Even a verifier that is told to allow it has no key for it.
        const exit = yield* ask(vector, `eyJhbGciOiJub25lIn0.${payload}.`, ["none"])
        expect(Exit.isSuccess(exit) && Option.isSome(exit.value)).toBe(false)
      }
    })
  )
})
