/**
 * The handlers of the admin rpcs, for one request that has the key.
 * They find the tenant's object, without creating a tenant, and have it do what was asked for.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { AdminApi, IdentityInvalid, ImportRefused, NoRegistry, type RunResult } from "../../admin/AdminApi.ts"
import type * as Api from "../../contract/Api.ts"
import { anonymous, type Identity } from "../../contract/Auth.ts"
import type { CallsOf } from "../../contract/Calls.ts"
import { kindOf } from "../../contract/Kind.ts"
import { StorageError } from "../../contract/Storage.ts"
import { CallError, Unavailable } from "../../protocol/CallError.ts"
import { unavailable, unknownRpc } from "../../protocol/Exit.ts"
import { livePrefix } from "../../protocol/Frame.ts"
import { AdminTransactions } from "../../services/admin/AdminTransactions.ts"
import { describe, inOrder } from "../../services/admin/TableOrder.ts"
import { deployment } from "../../system/Names.ts"
import { NoSuchTenant } from "../../system/TenantsApi.ts"
import type { ObjectStub } from "../rpc/ObjectStub.ts"
import type { RequestSession } from "../rpc/SessionHeader.ts"
import { callsTo } from "./ActionRunner.ts"
import type { AdminRequest } from "./AdminAccess.ts"

type Transactions = CallsOf<Api.RpcsOf<typeof AdminTransactions>>

/** The handlers of the contract. */
export const handlers = (asked: AdminRequest) => {
  const { app, exists, host } = asked
  const { tenancy } = host
  const { limits } = app

  /** The name of the object of a tenant. */
  const nameOf = (tenant: string): Effect.Effect<string, NoSuchTenant | CallError> => {
    const missing = Effect.fail(new NoSuchTenant({ name: tenant }))
    if (tenancy === undefined) return exists(tenant) ? Effect.succeed(tenant) : missing
    const found = tenancy.operate.find(tenant, (work) => host.waitUntil(work))
    return Effect.flatMap(found, (object) => (object === undefined ? missing : Effect.succeed(object)))
  }

  /** The object of a tenant, and a session there. */
  const enter = (tenant: string, identity: Identity) =>
    Effect.map(nameOf(tenant), (object) => {
      const session: RequestSession = { tenant, ...(tenancy !== undefined && { object }), identity, fromAction: true }
      return { object: host.object(object), session }
    })

  /** The transactions of the admin's in the object of a tenant. */
  const inObject = (tenant: string): Effect.Effect<Transactions, NoSuchTenant | CallError> =>
    Effect.map(enter(tenant, deployment), ({ object, session }) => {
      // Its text may be longer than that of a client.
      const stub: Pick<ObjectStub, "call"> = { call: (session, body) => object.call(session, body, true) }
      const { call } = callsTo(AdminTransactions, stub, session)
      return { query: call, mutate: call }
    })

  /** What an import was refused for at the end of a transaction, which may be about any of its lines. */
  const orLine =
    (line: number) =>
    <A, E>(effect: Effect.Effect<A, E | StorageError>): Effect.Effect<A, E | ImportRefused> =>
      Effect.catchIf(effect, isStorageError, ({ reason }) =>
        Effect.fail(
          new ImportRefused({ line, detail: `of the lines from here on, one cannot be written: ${reason.message}` })
        )
      )

  const registry = Effect.suspend(() =>
    tenancy === undefined ? Effect.fail(new NoRegistry()) : Effect.succeed(tenancy.operate)
  )
  const change =
    (to: "suspend" | "resume" | "delete") =>
    ({ tenant }: { readonly tenant: string }) =>
      Effect.flatMap(registry, (operate) =>
        Effect.catchTag(operate.change({ to, name: tenant }), "TenantExists", (error) => Effect.die(error))
      )

  return AdminApi.of({
    describe: () =>
      Effect.succeed({
        tables: inOrder(app.tables).map(describe),
        batch: {
          lines: Math.max(1, Math.min(1000, Math.floor(Math.min(limits.rowsWritten, limits.rowsRead) / 4))),
          characters: 1_000_000
        },
        hasRegistry: tenancy !== undefined
      }),

    sql: ({ tenant, write = false, ...statement }) =>
      Effect.flatMap(inObject(tenant), ({ mutate, query }) =>
        write ? mutate("~admin.write", statement) : query("~admin.read", statement)
      ),

    explain: ({ tenant }) =>
      Effect.flatMap(enter(tenant, deployment), ({ object, session }) =>
        Effect.tryPromise({
          try: async () => decodeExplanations(await object.explain(session)),
          catch: () => unreached
        })
      ),

    plan: ({ target, tenant }) =>
      Effect.flatMap(enter(tenant, deployment), ({ object }) =>
        Effect.tryPromise({ try: () => object.plan(target), catch: () => unreached })
      ),

    run: ({ as = anonymous, payload, tag, tenant }) =>
      Effect.gen(function* () {
        const claims = asked.readClaims(as)
        if (claims === undefined) return yield* new IdentityInvalid()
        const rpc = app.api.requests.get(tag)
        const kind = rpc && kindOf(rpc)
        if (kind === undefined || kind === "topic" || tag.startsWith(livePrefix)) {
          return { values: [], exit: decodeJson(unknownRpc(tag)) }
        }
        const { object, session } = yield* enter(tenant, { subject: as.subject, claims })
        const request = { _tag: "Request", id: "0", tag, payload, headers: [] } as const
        if (kind === "action") {
          const { run } = yield* Effect.promise(() => host.actions())
          return resultOf(yield* run({ requests: [request], session, object, resultBytes: limits.resultBytes }))
        }
        const answer = yield* Effect.tryPromise({
          try: () => object.call(session, JSON.stringify(request), true),
          catch: () => unreached
        })
        return resultOf(yield* Effect.try({ try: () => JSON.parse(answer.body), catch: () => unreached }))
      }),

    export: ({ cursor, tenant }) => Effect.flatMap(inObject(tenant), ({ query }) => query("~admin.page", { cursor })),

    "import.begin": ({ again = false, id, tenant }) =>
      Effect.flatMap(inObject(tenant), ({ mutate, query }) =>
        Effect.andThen(again ? mutate("~admin.forget", { id }) : Effect.void, query("~admin.imported", { id }))
      ),
    "import.batch": ({ tenant, ...batch }) =>
      Effect.flatMap(inObject(tenant), ({ mutate }) => orLine(batch.after + 1)(mutate("~admin.import", batch))),
    "import.finish": ({ tenant, ...asked }) =>
      Effect.flatMap(inObject(tenant), ({ mutate }) => orLine(1)(mutate("~admin.finish", asked))),

    "tenants.list": (page) => Effect.flatMap(registry, (operate) => operate.list(page)),
    "tenants.create": ({ tenant }) =>
      Effect.flatMap(registry, (operate) =>
        Effect.catchTag(operate.change({ to: "create", name: tenant }), "NoSuchTenant", (error) => Effect.die(error))
      ),
    "tenants.suspend": change("suspend"),
    "tenants.resume": change("resume"),
    "tenants.delete": change("delete")
  })
}

const unreached = new CallError({ reason: new Unavailable({ detail: "the tenant's object did not answer" }) })

const isStorageError = (error: unknown): error is StorageError => error instanceof StorageError

const decodeJson = Schema.decodeUnknownSync(Schema.Json)
const decodeExplanations = Schema.decodeUnknownSync(Schema.Array(Schema.Json))

/** The values and the exit among the messages that answer a call. */
const resultOf = (messages: unknown): RunResult => {
  const values: Array<Schema.Json> = []
  let exit = decodeJson(unavailable("the tenant's object did not answer"))
  for (const message of Array.isArray(messages) ? messages : []) {
    if (message?._tag === "Chunk") values.push(...message.values)
    if (message?._tag === "Exit") exit = decodeJson(message.exit)
  }
  return { values, exit }
}
