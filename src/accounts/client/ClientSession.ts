/**
 * The session of a client: keeps the refresh token in a storage, and yields an access token whenever one is needed.
 * One refresh runs at a time, and tabs that share a storage share the session.
 */
import { sha256 } from "@noble/hashes/sha2.js"
import * as Clock from "effect/Clock"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import type { ConnectionRefused, OutcomeUnknown } from "../../client/ClientError.ts"
import type { Client } from "../../client/ClientTypes.ts"
import type { OutcomePending } from "../../client/OutcomePending.ts"
import type * as Api from "../../contract/Api.ts"
import type { CallError } from "../../protocol/CallError.ts"
import { AccountId, type AccountsApi, SessionId, type Tokens } from "../contract/AccountsApi.ts"

/** Where a session is kept: `localStorage` is one. A storage that cannot write keeps the session for this page. */
export interface SessionStorage {
  readonly getItem: (key: string) => string | null | Promise<string | null>
  readonly setItem: (key: string, value: string) => void | Promise<void>
  readonly removeItem: (key: string) => void | Promise<void>
}

/** How a session is kept. */
export interface SessionOptions {
  /** The name under which the session is stored; `dormouse/session` unless given. */
  readonly key?: string
  /** What this client runs on, for the list of sessions. */
  readonly device?: string
  /** Runs when the session that the client had was ended or has expired. An anonymous account takes its place. */
  readonly onEnded?: Effect.Effect<void>
}

/** Who is signed in. */
export interface SignedIn {
  readonly account: AccountId
  readonly session: SessionId
}

/** The session of a client. */
export interface Session {
  /** An access token that is accepted for a while: `token` of `Client.make`. Makes an anonymous account if there is none. */
  readonly token: Effect.Effect<string>
  /** Who is signed in, if anybody is. Nothing is sent. */
  readonly signedIn: Effect.Effect<Option.Option<SignedIn>>
  /** Keeps the session that a sign-in began. Later tokens are of that session. */
  readonly keep: (tokens: Tokens) => Effect.Effect<void>
  /** The refresh token, for `accounts.password.set`. */
  readonly refreshToken: Effect.Effect<Option.Option<Redacted.Redacted<string>>>
  /** A new secret, kept here, whose hash goes with `accounts.link.send` and `accounts.provider.begin`. */
  readonly challenge: Effect.Effect<string>
  /** The secret of the last `challenge`, which completes what was begun. Empty if this client has begun nothing. */
  readonly verifier: Effect.Effect<Redacted.Redacted<string>>
  /** Ends the session here and at the server. */
  readonly signOut: Effect.Effect<void, CallError | ConnectionRefused | OutcomeUnknown | OutcomePending>
}

const Stored = Schema.fromJsonString(
  Schema.Struct({
    account: AccountId,
    session: SessionId,
    accessToken: Schema.String,
    /** By the clock of this client. */
    expires: Schema.Number,
    refreshToken: Schema.String
  })
)
type Stored = typeof Stored.Type
const decode = Schema.decodeUnknownOption(Stored)
const encode = Schema.encodeSync(Stored)

/** The part of a token's time in which it is not used any more: it has to arrive while it is accepted. */
const reserve = 0.1

/**
 * The session of a client.
 *
 *     const accounts = yield* Client.make(Accounts.AccountsApi, { url })
 *     const session = yield* Accounts.session(accounts, localStorage)
 *     const chat = yield* Client.make(ChatApi, { url, token: session.token })
 *
 * `client` is a client without a token. Sign in with the client that has one, so that an anonymous account is kept.
 */
export const session = (
  client: Client<Api.RpcsOf<typeof AccountsApi>>,
  storage: SessionStorage,
  { device, key = "dormouse/session", onEnded = Effect.void }: SessionOptions = {}
): Effect.Effect<Session> =>
  Effect.sync(() => {
    const one = Semaphore.makeUnsafe(1)
    const verifierKey = `${key}/verifier`
    /** What the storage could not keep. */
    const unstored = new Map<string, string>()
    const read = (name: string) =>
      Effect.tryPromise(async () => storage.getItem(name)).pipe(
        Effect.orElseSucceed(() => null),
        Effect.map((text) => text ?? unstored.get(name) ?? null)
      )
    const write = (name: string, text: string) =>
      Effect.tryPromise(async () => storage.setItem(name, text)).pipe(
        Effect.andThen(Effect.sync(() => unstored.delete(name))),
        Effect.catch(() => Effect.sync(() => unstored.set(name, text))),
        Effect.asVoid
      )
    const remove = (name: string) =>
      Effect.tryPromise(async () => storage.removeItem(name)).pipe(
        Effect.ignore,
        Effect.andThen(Effect.sync(() => void unstored.delete(name)))
      )
    const stored = Effect.map(read(key), decode)

    const store = ({ accessToken, account, expiresIn, refreshToken, session }: Tokens) =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        const kept: Stored = {
          account,
          session,
          accessToken: Redacted.value(accessToken),
          expires: now + expiresIn * (1 - reserve),
          refreshToken: Redacted.value(refreshToken)
        }
        yield* write(key, encode(kept))
        return kept.accessToken
      })

    const anonymous = Effect.gen(function* () {
      const tokens = yield* client.act("accounts.anonymous", device === undefined ? {} : { device })
      // Another tab may have been faster: then all tabs have its account.
      return Option.isSome(yield* stored) ? yield* obtain : yield* store(tokens)
    })

    /** Whether the storage still has the session. Another tab may have signed in or out meanwhile. */
    const isStill = (refreshToken: string) =>
      Effect.map(stored, (now) => Option.isSome(now) && now.value.refreshToken === refreshToken)

    const refresh = Effect.fnUntraced(function* ({ refreshToken }: Stored) {
      const refreshed = client.act("accounts.refresh", { refreshToken: Redacted.make(refreshToken) })
      const answer = yield* refreshed.pipe(
        Effect.map(Option.some),
        Effect.catchTag("SessionEnded", () => Effect.succeed(Option.none()))
      )
      if (!(yield* isStill(refreshToken))) return yield* obtain
      if (Option.isSome(answer)) return yield* store(answer.value)
      yield* remove(key)
      yield* onEnded
      return yield* anonymous
    })

    const obtain: Effect.Effect<string, CallError | ConnectionRefused> = Effect.suspend(() =>
      Effect.flatMap(
        stored,
        Option.match({
          onNone: () => anonymous,
          onSome: (kept) =>
            Effect.flatMap(Clock.currentTimeMillis, (now) =>
              now < kept.expires ? Effect.succeed(kept.accessToken) : refresh(kept)
            )
        })
      )
    )

    const newVerifier = Effect.sync(() => Base64Url.encode(SecureRandom.randomBytesUnsafe(32)))

    return {
      // The client tries again when it cannot have a token.
      token: Effect.orDie(one.withPermit(obtain)),
      signedIn: Effect.map(
        stored,
        Option.map(({ account, session }) => ({ account, session }))
      ),
      keep: (tokens) => one.withPermit(Effect.asVoid(store(tokens))),
      refreshToken: Effect.map(
        stored,
        Option.map(({ refreshToken }) => Redacted.make(refreshToken))
      ),
      challenge: Effect.gen(function* () {
        const verifier = yield* newVerifier
        yield* write(verifierKey, verifier)
        return Base64Url.encode(sha256(new TextEncoder().encode(verifier)))
      }),
      verifier: Effect.map(read(verifierKey), (verifier) => Redacted.make(verifier ?? "")),
      signOut: one.withPermit(
        Effect.gen(function* () {
          const kept = yield* stored
          if (Option.isNone(kept)) return
          const { refreshToken } = kept.value
          yield* remove(key)
          yield* client.mutate("accounts.signOut", { refreshToken: Redacted.make(refreshToken) })
        })
      )
    }
  })
