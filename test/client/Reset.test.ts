/// <reference types="node" />
import { createServer } from "node:http"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Action, Api, Mutation, Query } from "effect-dormouse"
import { Client } from "effect-dormouse/client"

/** A real server that takes a request and then destroys its connection, as a server does that ends. */

class ResetApi extends Api.make(
  Query.make("read", { payload: {}, success: Schema.Int }),
  Mutation.make("write", { payload: {}, success: Schema.Int }),
  Action.make("act", { payload: {}, success: Schema.Int })
) {}

/** Takes requests, and answers those after the first `resets`. */
const serve = (resets: number) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly url: string; readonly requests: Array<any>; readonly close: () => void }>((resume) => {
      const requests: Array<any> = []
      const server = createServer((request, response) => {
        let text = ""
        request.on("data", (chunk) => {
          text += chunk
        })
        request.on("end", () => {
          const message = JSON.parse(text)
          requests.push(message)
          if (requests.length <= resets) return request.socket.resetAndDestroy()
          const exit = { _tag: "Exit", requestId: message.id, exit: { _tag: "Success", value: requests.length } }
          response.setHeader("content-type", "application/json").end(JSON.stringify([exit]))
        })
      })
      server.listen(0, "127.0.0.1", () => {
        const { port } = server.address() as { readonly port: number }
        const close = () => {
          server.closeAllConnections()
          server.close()
        }
        resume(Effect.succeed({ url: `http://127.0.0.1:${port}`, requests, close }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )

const begin = Effect.fnUntraced(function* (resets: number) {
  const server = yield* serve(resets)
  return { ...server, client: yield* Client.make(ResetApi, { url: server.url }) }
})

it.live("C7: a query whose connection is reset is sent again, twice at most", () =>
  Effect.gen(function* () {
    const { client, requests } = yield* begin(2)
    expect(yield* client.query("read", {})).toBe(3)
    expect(requests.map(({ tag }) => tag)).toEqual(["read", "read", "read"])
    const other = yield* begin(3)
    const failure = yield* Effect.flip(other.client.query("read", {}))
    expect(failure).toMatchObject({ _tag: "CallError", reason: { _tag: "Unavailable" } })
    expect(other.requests).toHaveLength(3)
  }).pipe(Effect.scoped)
)

it.live("C7: a mutation whose connection is reset is sent again under its number", () =>
  Effect.gen(function* () {
    const { client, requests } = yield* begin(2)
    expect(yield* client.mutate("write", {})).toBe(3)
    expect(requests).toHaveLength(3)
    expect(new Set(requests.map(({ headers }) => JSON.stringify(headers))).size).toBe(1)
    expect(JSON.stringify(requests[0].headers)).toContain("dormouse-mutation")
  }).pipe(Effect.scoped)
)

it.live("C7: an action whose connection is reset is not sent again, and fails with `Unavailable`", () =>
  Effect.gen(function* () {
    const { client, requests } = yield* begin(2)
    const failure = yield* Effect.flip(client.act("act", {}))
    expect(failure).toMatchObject({ _tag: "CallError", reason: { _tag: "Unavailable" } })
    expect(requests).toHaveLength(1)
  }).pipe(Effect.scoped)
)
