/**
 * The admin side of a deployment: who may operate it, and the door of its rpcs in the Worker.
 * Nothing is answered without the key. What needs rows runs in the tenant's object, in its transactions.
 */
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import type { Scope } from "effect/Scope"
import { AdminApi } from "../../admin/AdminApi.ts"
import { extend } from "../../services/admin/AdminTransactions.ts"
import { equal } from "../../services/EqualTexts.ts"
import { runBatch } from "../rpc/HttpBatch.ts"
import { errorResponse, joinMessages, messagesResponse, readRequests } from "../rpc/HttpBody.ts"
import * as RpcTransport from "../rpc/RpcTransport.ts"
import type { AdminAccess, AdminRequest } from "./AdminAccess.ts"
import { handlers } from "./AdminHandlers.ts"
import { tokenOf } from "./Refusal.ts"

export type { AdminAccess } from "./AdminAccess.ts"

/** Who may operate a deployment. */
export interface AdminOptions {
  /** The secret that admits: 16 characters of ASCII or more, without spaces. With any other there are no admin rpcs. */
  readonly key: Config.Config<Redacted.Redacted>
}

/** What a key must be: it stands in a header, and nobody should guess it. */
const isKey = (secret: string): boolean => /^[\x21-\x7e]{16,}$/.test(secret)

/** Bytes of one request: a batch of an import, whose text is escaped. */
const requestBytes = 32 * 1024 * 1024

/** Who may operate a deployment, for `Cloudflare.serve(app, { admin })`. */
export const make = ({ key }: AdminOptions): AdminAccess => ({
  extend,
  respond: async (asked) => {
    const { host, refuse, request } = asked
    const secret = await host.run(readKey(key))
    if (secret === undefined) return errorResponse(404, "not found")
    if (!equal(tokenOf(request) ?? "", secret)) return (await refuse()) ?? new Response(null, { status: 401 })
    if (request.method !== "POST") return errorResponse(405, "use POST", { allow: "POST" })
    return answer(asked)
  }
})

/** The key, or nothing when it is not set as it must be. The log says why. */
const readKey = (key: AdminOptions["key"]): Effect.Effect<string | undefined> =>
  Effect.matchEffect(key, {
    onFailure: (error) => Effect.as(Effect.logWarning("the admin key is not set", error), undefined),
    onSuccess: (key) => {
      const secret = Redacted.value(key)
      if (isKey(secret)) return Effect.succeed(secret)
      const problem = "the admin key must have 16 characters or more of ASCII, without spaces"
      return Effect.as(Effect.logWarning(problem), undefined)
    }
  })

/** Answers the calls in a request that has the key. */
const answer = async (asked: AdminRequest): Promise<Response> => {
  const { app, host, request } = asked
  const body = await readRequests(request, { ...app.limits, requestBytes })
  if (body instanceof Response) return body
  const messages: Effect.Effect<ReadonlyArray<FromServerEncoded>, never, Scope> = Effect.gen(function* () {
    const context = yield* Layer.build(AdminApi.toLayer(handlers(asked)))
    const server = yield* Effect.provideContext(RpcTransport.make(AdminApi), context)
    return yield* Effect.promise((signal) => runBatch(server, body.requests, { context: Context.empty(), signal }))
  })
  const answers = await host.run(Effect.scoped(messages))
  return messagesResponse(joinMessages(answers.map((message) => JSON.stringify(message))))
}
