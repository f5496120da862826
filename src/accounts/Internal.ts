/**
 * The mutations that only the actions of accounts may call. They are part of the contract, because an action reaches data in no
 * other way, but each call carries a proof: a hash that needs the app's secret.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Api from "../contract/Api.ts"
import { forbidden } from "../contract/Auth.ts"
import { Calls } from "../contract/CallsTag.ts"
import * as Mutation from "../contract/Mutation.ts"
import type { CallError } from "../protocol/CallError.ts"
import { AccountId, SessionId } from "./contract/AccountsApi.ts"
import * as Secrets from "./Secrets.ts"

/** How long a proof is accepted, in milliseconds: the clocks of Worker and object may differ. */
const freshness = 60_000

/** A call with its proof. */
const Proved = {
  /** The payload, as JSON: the proof is of this text. */
  body: Schema.String,
  at: Schema.Number,
  proof: Schema.String
}

/** What a mutation takes and gives, besides its rpc. */
interface Operation<Tag extends string, Body extends Schema.Top, Success extends Schema.Top> {
  readonly tag: Tag
  readonly body: Body
  readonly rpc: Mutation.Mutation<Tag, Schema.Struct<typeof Proved>, Success, Schema.Never>
}

const operation = <Tag extends string, Body extends Schema.Codec<any, any>, Success extends Schema.Top>(
  tag: Tag,
  body: Body,
  success: Success
): Operation<Tag, Body, Success> => ({ tag, body, rpc: Mutation.make(tag, { payload: Proved, success }) })

/** A session that is to begin: hashes of its first refresh token. */
const NewSession = Schema.Struct({ family: Schema.String, current: Schema.String, device: Schema.String })

/** A session of an account, with the claims of its tokens. */
const Opened = Schema.TaggedStruct("Opened", {
  account: AccountId,
  session: SessionId,
  claims: Schema.Record(Schema.String, Schema.Json),
  merged: Schema.optionalKey(AccountId)
})

/** Charges attempts. A charge stays when a later one is refused. */
export const chargeAttempts = operation(
  "accounts.internal.charge",
  Schema.Array(Schema.Struct({ key: Schema.String, limit: Schema.Number, window: Schema.Number })),
  Schema.Void
)

/** Begins a session, in the account that the decision names. */
export const enter = operation(
  "accounts.internal.enter",
  Schema.Struct({
    proof: Schema.Literals(["anonymous", "signUp", "signIn", "verified"]),
    method: Schema.String,
    subject: Schema.String,
    /** The secret that was compared with. Nobody is signed in if it is another one by now. */
    expected: Schema.NullOr(Schema.String),
    /** The secret to store: the hash of a password, or the key and the counter of a passkey. */
    secret: Schema.NullOr(Schema.String),
    session: NewSession
  }),
  Schema.Union([
    Opened,
    Schema.TaggedStruct("Refused", { reason: Schema.Literals(["NameTaken", "AlreadyLinked", "InvalidCredentials"]) })
  ])
)

/** Exchanges a refresh token. A reuse ends the session, so it is no failure: that would roll back. */
export const rotate = operation(
  "accounts.internal.rotate",
  Schema.Struct({ family: Schema.String, presented: Schema.String, next: Schema.String, sealed: Schema.String }),
  Schema.Union([
    Schema.Struct({ ...Opened.fields, repeated: Schema.NullOr(Schema.String) }),
    Schema.TaggedStruct("Ended", {})
  ])
)

/** The account of a session, with its passkeys and the name that it has. */
export const findOwnPasskeys = operation(
  "accounts.internal.findOwnPasskeys",
  Schema.Struct({ family: Schema.String, presented: Schema.String }),
  Schema.NullOr(
    Schema.Struct({
      account: AccountId,
      name: Schema.NullOr(Schema.String),
      passkeys: Schema.Array(Schema.Struct({ id: Schema.String, secret: Schema.String }))
    })
  )
)

/** Adds a passkey to the account of a session, and begins a session of it. */
export const addPasskey = operation(
  "accounts.internal.addPasskey",
  Schema.Struct({
    family: Schema.String,
    presented: Schema.String,
    account: AccountId,
    id: Schema.String,
    secret: Schema.String,
    session: NewSession
  }),
  Schema.Union([Opened, Schema.TaggedStruct("Refused", { reason: Schema.Literals(["Ended", "AlreadyLinked"]) })])
)

/** A passkey with its account. */
export const findPasskey = operation(
  "accounts.internal.findPasskey",
  Schema.Struct({ id: Schema.String }),
  Schema.NullOr(Schema.Struct({ account: AccountId, secret: Schema.String }))
)

/** The stored hash of a password. */
export const findPassword = operation(
  "accounts.internal.findPassword",
  Schema.Struct({ subject: Schema.String }),
  Schema.Struct({ secret: Schema.NullOr(Schema.String) })
)

/** The password of a session's account, and whether it may be set without the one until now. */
export const findOwnPassword = operation(
  "accounts.internal.findOwnPassword",
  Schema.Struct({ family: Schema.String, presented: Schema.String }),
  Schema.NullOr(Schema.Struct({ name: Schema.String, secret: Schema.NullOr(Schema.String), isFresh: Schema.Boolean }))
)

/** Stores the hash of a new password, and ends all other sessions of the account. */
export const storePassword = operation(
  "accounts.internal.storePassword",
  Schema.Struct({
    family: Schema.String,
    presented: Schema.String,
    expected: Schema.NullOr(Schema.String),
    secret: Schema.String
  }),
  Schema.Boolean
)

/** Begins a sign-in that is completed elsewhere. */
export const beginFlow = operation(
  "accounts.internal.beginFlow",
  Schema.Struct({
    id: Schema.String,
    method: Schema.String,
    subject: Schema.String,
    challenge: Schema.String,
    lifetime: Schema.Number
  }),
  Schema.Void
)

/** Takes what was begun, once. `challenge` is that of the browser, or null if any browser may complete it. */
export const takeFlow = operation(
  "accounts.internal.takeFlow",
  Schema.Struct({ id: Schema.String, method: Schema.String, challenge: Schema.NullOr(Schema.String) }),
  Schema.NullOr(Schema.Struct({ subject: Schema.String }))
)

/** The mutations that only the actions of accounts may call. */
export class InternalApi extends Api.make(
  chargeAttempts.rpc,
  enter.rpc,
  rotate.rpc,
  findOwnPasskeys.rpc,
  addPasskey.rpc,
  findPasskey.rpc,
  findPassword.rpc,
  findOwnPassword.rpc,
  storePassword.rpc,
  beginFlow.rpc,
  takeFlow.rpc
) {}

const proofOf = (secret: Redacted.Redacted<string>, tag: string, at: number, body: string): string =>
  Secrets.derive(secret, `${tag}\n${at}\n${body}`)

/** Calls an operation from an action, with a proof. */
export const call = <Tag extends string, Body extends Schema.Codec<any, any>, Success extends Schema.Top>(
  secret: Redacted.Redacted<string>,
  { body, tag }: Operation<Tag, Body, Success>,
  payload: Body["Type"]
): Effect.Effect<Success["Type"], CallError, Calls> =>
  Effect.gen(function* () {
    const text = JSON.stringify(yield* Effect.orDie(Schema.encodeEffect(body)(payload)))
    const at = yield* Clock.currentTimeMillis
    const { call } = yield* Calls
    return yield* call(tag, { body: text, at, proof: proofOf(secret, tag, at, text) })
  })

/** The handler of an operation, which refuses a call without a proof. */
export const handler =
  <Tag extends string, Body extends Schema.Codec<any, any>, Success extends Schema.Top, E, R>(
    secret: Redacted.Redacted<string>,
    { body, tag }: Operation<Tag, Body, Success>,
    handle: (payload: Body["Type"], now: number) => Effect.Effect<Success["Type"], E, R>
  ) =>
  (proved: {
    readonly body: string
    readonly at: number
    readonly proof: string
  }): Effect.Effect<Success["Type"], E | CallError, R> =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const isFresh = Math.abs(now - proved.at) <= freshness
      if (!isFresh || !Secrets.equal(proved.proof, proofOf(secret, tag, proved.at, proved.body))) {
        return yield* forbidden
      }
      return yield* handle(
        yield* Effect.orDie(Schema.decodeUnknownEffect(Schema.fromJsonString(body))(proved.body)),
        now
      )
    })
