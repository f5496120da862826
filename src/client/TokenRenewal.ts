/**
 * Sends a fresh token over the open socket before the one that it has expires.
 * A refresh that fails is tried again while the old token lasts. Calls never wait for it.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import { type Authenticated, authenticateTag } from "../protocol/Authenticate.ts"
import { isObject, requestIdOf, type ServerMessage } from "./ServerMessage.ts"

/** The part of a token's remaining time after which it is replaced, at least and at most. */
const [earliest, latest] = [0.7, 0.85]
/** Milliseconds before a refresh that failed is tried again. Doubles with each failure, up to `longestDelay`. */
const firstDelay = 1000
const longestDelay = 3_600_000
/** Milliseconds within which a token must be there, and then an answer. The server answers within 10 s. */
const patience = 12_000
/** Milliseconds. The longest delay of a timer: a token may last longer than a timer can. */
const longestTimer = 2 ** 31 - 1

const decodeAnswer = Schema.decodeUnknownOption(
  Schema.Struct({ expires: Schema.NullOr(Schema.Finite), now: Schema.Finite })
)

/** The renewals of the token of one client. */
export interface TokenRenewal {
  /** A socket has opened, with the token that was asked for last. */
  readonly opened: (send: (text: string) => void) => void
  readonly closed: () => void
  readonly owns: (message: ServerMessage) => boolean
  readonly receive: (message: ServerMessage) => void
  /** Sends a fresh token now, if a socket is open. Succeeds with whether the server accepted it. */
  readonly refresh: Effect.Effect<boolean>
}

/** Makes the renewals of a client. `last` is the token that was asked for last; `token` asks for a fresh one. */
export const make = Effect.fnUntraced(function* (
  token: Effect.Effect<string | undefined>,
  last: () => string | undefined
) {
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  let send: ((text: string) => void) | undefined
  let fiber: Fiber.Fiber<unknown> | undefined
  let next = 0
  const waiting = new Map<string, Deferred.Deferred<Schema.Json | undefined>>()

  /** Sends a token. Returns the milliseconds until it expires; `undefined` if the server did not accept it. */
  const exchange = Effect.fnUntraced(function* (token: string | undefined) {
    const id = `auth-${next++}`
    const answer = Deferred.makeUnsafe<Schema.Json | undefined>()
    waiting.set(id, answer)
    const payload = { token: token ?? null }
    send?.(JSON.stringify({ _tag: "Request", id, tag: authenticateTag, payload, headers: [] }))
    const exit = yield* Effect.ensuring(
      Deferred.await(answer),
      Effect.sync(() => waiting.delete(id))
    )
    const decoded = isObject(exit) && exit["_tag"] === "Success" ? decodeAnswer(exit["value"]) : undefined
    if (decoded?._tag !== "Some") return undefined
    const { expires, now }: Pick<Authenticated, "expires" | "now"> = decoded.value
    return expires === null ? Number.POSITIVE_INFINITY : expires - now
  })

  const limited = (left: Effect.Effect<number | undefined>) =>
    Effect.map(Effect.exit(Effect.timeoutOption(left, patience)), (exit) =>
      Exit.isSuccess(exit) && exit.value._tag === "Some" ? exit.value.value : undefined
    )
  const fresh = limited(Effect.flatMap(token, exchange))

  /** Replaces a token that lasts for so many milliseconds, and then each one after it. */
  const renew = Effect.fnUntraced(function* (first: number | undefined) {
    let left = first
    for (let failures = 0; ; ) {
      const part = yield* Random.nextBetween(earliest, latest)
      const delay = left === undefined ? Math.min(longestDelay, firstDelay * 2 ** failures++) : left
      if (left !== undefined) failures = 0
      if (delay === Number.POSITIVE_INFINITY) return
      yield* Effect.sleep(Math.min(longestTimer, Math.max(firstDelay, Math.round(delay * part))))
      left = yield* fresh
    }
  })

  const restart = (left: Effect.Effect<number | undefined>) => {
    stop()
    if (send !== undefined) fiber = fork(Effect.flatMap(left, renew))
  }
  const stop = () => {
    fiber?.interruptUnsafe()
    fiber = undefined
  }
  yield* Effect.addFinalizer(() => Effect.sync(stop))

  const renewal: TokenRenewal = {
    opened(write) {
      send = write
      // The server says when the token of the handshake expires.
      restart(limited(Effect.suspend(() => exchange(last()))))
    },
    closed() {
      send = undefined
      stop()
      for (const answer of waiting.values()) Deferred.doneUnsafe(answer, Exit.succeed(undefined))
    },
    owns: (message) => requestIdOf(message).startsWith("auth-"),
    receive(message) {
      const answer = waiting.get(requestIdOf(message))
      if (answer !== undefined && message._tag === "Exit") Deferred.doneUnsafe(answer, Exit.succeed(message["exit"]))
    },
    refresh: Effect.suspend(() => {
      if (send === undefined) return Effect.succeed(true)
      return Effect.map(
        Effect.tap(fresh, (left) => Effect.sync(() => restart(Effect.succeed(left)))),
        (left) => left !== undefined
      )
    })
  }
  return renewal
})
