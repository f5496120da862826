/**
 * The one socket of a client: opens it while it is wanted, reconnects with backoff, and detects a dead connection.
 * Its users decide what is sent over the socket; this file only opens, watches and replaces it.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import { ping } from "../protocol/Ping.ts"
import { ConnectionState } from "./ConnectionState.ts"
import { DeviceStatus, deviceEvent } from "./DeviceStatus.ts"
import { Observable } from "./Observable.ts"
import { parse } from "./ServerMessage.ts"

/** How a socket is opened, and what is called when something happens to it. */
export interface ConnectionOptions {
  /** Opens a socket. Run again for each attempt, so that the token can be a fresh one. */
  readonly socket: Effect.Effect<Socket.Socket, unknown>
  /** Whether another attempt may have another token: a socket that was closed because its token expired is then reopened. */
  readonly hasFreshTokens?: boolean
  /** A socket has opened. `send` writes to it until `onClose`. */
  readonly onOpen: (send: (text: string) => void) => void
  /** The socket has closed. Every `onOpen` is followed by one `onClose`. */
  readonly onClose: () => void
  /** A message arrived, parsed; `undefined` if it is not JSON. Returns whether a server may send it. */
  readonly onMessage: (message: Schema.Json | undefined) => boolean
  /** The server refused this client. No reconnect follows until a socket is wanted again. */
  readonly onRefused: (reason: string) => void
  /** The server closed the connection because a message was too large. `reason` names the limit. */
  readonly onTooLarge: (reason: string) => void
}

/** Milliseconds. After this time without a message the client sends a ping. */
const heartbeat = 20_000
/** Milliseconds. The connection is dead if no message arrives within this time after a ping. */
const pongTimeout = 10_000
/** Milliseconds within which the token must be there. The handshake has a limit of its own. */
const openTimeout = 10_000
/** Milliseconds before the first reconnect. Doubles with each failed attempt. */
const firstDelay = 250
/** Milliseconds. The longest delay, and the delay while the device reports no network. */
const longestDelay = 16_000

/** The close code for a message that was too large. */
const tooLarge = 1009

/** The close code for a token that is not accepted (any more). */
const unauthenticated = 4401

/** Close codes by which the server says that a retry will not help. */
const isRefusal = (code: number): boolean => code === 1008 || (code >= 4400 && code < 4500)

/**
 * The socket of a client. While it is wanted it reconnects with growing, jittered delays, and at once when the device
 * reports that it may help. A connection without traffic is pinged, and replaced when no pong arrives.
 */
export interface Connection {
  /** The state, with listeners. */
  readonly state: Observable<ConnectionState>
  /** Sets whether a socket should be open. */
  readonly setWanted: (wanted: boolean) => void
  /** Closes the current socket, whose server cannot be trusted, and reconnects. */
  readonly reset: () => void
  /** Sets whether every live value is the server's current value. Only then is an open connection `Live`. */
  readonly setCurrent: (isCurrent: boolean) => void
}

/** Makes a connection. Its socket is not wanted yet. It closes with the scope. */
export const make = Effect.fnUntraced(function* (
  options: ConnectionOptions
): Effect.fn.Return<Connection, never, Scope> {
  const state = new Observable<ConnectionState>(ConnectionState.Idle())
  const device = yield* DeviceStatus
  const clock = yield* Clock.Clock
  const wanted = new Observable(false)
  let isCurrent = true
  /** Attempts in a row that gave no useful connection: one on which a valid message arrived. */
  let attempts = 0
  /** Whether the last connection ended with an expired token, and no valid message has arrived since. */
  let wasExpired = false
  /** `attempts` when the socket opened. Restored when its server turns out not to be useful. */
  let attemptsBefore = 0
  /** When the live values ceased to be the server's current ones, in milliseconds. */
  let since: number | undefined
  let session: Deferred.Deferred<void> | undefined

  const setState = (next: ConnectionState) => {
    if (!Equal.equals(state.value, next)) state.set(next)
  }

  const markStale = () => {
    since ??= clock.currentTimeMillisUnsafe()
    setState(device.isOnline() ? ConnectionState.Stale({ since }) : ConnectionState.Offline({ since }))
  }

  const showFreshness = () => {
    if (isCurrent) {
      since = undefined
      setState(ConnectionState.Live())
    } else if (state.value._tag === "Live") markStale()
  }

  /**
   * Completes when the socket is no longer wanted. Replacing one live query by another in one turn keeps the socket.
   */
  const unwanted = Effect.gen(function* () {
    do {
      yield* wanted.until((isWanted) => !isWanted)
      yield* Effect.yieldNow
    } while (wanted.value)
  })

  const untilWanted = wanted.until((isWanted) => isWanted)

  /** Opens a socket and reads it until it closes, its server cannot be trusted, or it is dead. */
  const open = Effect.gen(function* () {
    const socket = yield* Effect.timeout(options.socket, openTimeout)
    const writer = yield* socket.writer
    const { pull } = yield* socket.reader
    const services = yield* Effect.context<never>()
    const ended = yield* Deferred.make<void>()
    session = ended
    attemptsBefore = attempts
    let lastHeard = yield* Clock.currentTimeMillis
    const send = (text: string) => {
      Effect.runForkWith(services)(Effect.ignore(writer.write(text)))
    }
    isCurrent = true
    options.onOpen(send)
    showFreshness()
    const read = Effect.gen(function* () {
      while (true) {
        const texts = yield* pull
        lastHeard = yield* Clock.currentTimeMillis
        for (const text of texts) {
          attempts = 0
          const message = parse(typeof text === "string" ? text : new TextDecoder().decode(text))
          // After an invalid message nothing else that this server sends can be trusted either.
          if (options.onMessage(message) && !Deferred.isDoneUnsafe(ended)) {
            wasExpired = false
            continue
          }
          attempts = attemptsBefore
          return
        }
      }
    })
    const watch = Effect.gen(function* () {
      while (true) {
        // A device that slept may have lost its connection without a close event: ping when it wakes.
        const isWoken = yield* Effect.raceFirst(
          Effect.as(Effect.sleep(heartbeat), false),
          Effect.as(deviceEvent(device, "wake"), true)
        )
        const asked = yield* Clock.currentTimeMillis
        if (!isWoken && asked - lastHeard < heartbeat) continue
        send(ping)
        yield* Effect.sleep(pongTimeout)
        if (lastHeard < asked) return
      }
    })
    yield* Effect.raceAllFirst([read, watch, Deferred.await(ended), deviceEvent(device, "offline")])
  }).pipe(
    Effect.scoped,
    Effect.ensuring(
      Effect.sync(() => {
        if (session === undefined) return
        session = undefined
        options.onClose()
      })
    ),
    // A defect is a bug: log it. The loop reconnects after a defect as after any other loss.
    Effect.tapCauseIf(Cause.hasDies, (cause) => {
      attempts = attemptsBefore
      return Effect.logError("the connection failed", cause)
    })
  )

  const loop = Effect.gen(function* () {
    while (true) {
      if (!wanted.value) {
        attempts = 0
        since = undefined
        setState(ConnectionState.Idle())
        yield* untilWanted
      }
      if (state.value._tag === "Idle" || state.value._tag === "Refused") {
        if (device.isOnline()) setState(ConnectionState.Connecting())
        else markStale()
      }
      const exit = yield* Effect.exit(Effect.raceFirst(Effect.as(open, "lost"), Effect.as(unwanted, "unwanted")))
      if (Exit.isSuccess(exit) && exit.value === "unwanted") continue
      const { code, reason } = closeOf(exit)
      const isExpired = code === unauthenticated && reason.endsWith("expired") && options.hasFreshTokens === true
      // Once: a fresh token that is expired as well is refused.
      const isRetried = isExpired && !wasExpired
      wasExpired = isExpired
      if (isRefusal(code) && !isRetried) {
        const refusal = reason === "" ? String(code) : `${code} ${reason}`
        // Before the listeners are called: one of them may start a live query, which wants a socket again.
        setWanted(false)
        setState(ConnectionState.Refused({ reason: refusal }))
        options.onRefused(refusal)
        yield* untilWanted
        continue
      }
      if (code === tooLarge) options.onTooLarge(reason)
      markStale()
      // Without a network, still retry with the longest delay: the device's report can be wrong.
      const delay = device.isOnline() ? Math.min(longestDelay, firstDelay * 2 ** attempts++) : longestDelay
      const jitter = yield* Random.nextBetween(0.5, 1)
      yield* Effect.raceAllFirst([Effect.sleep(Math.round(delay * jitter)), deviceEvent(device, "wake"), unwanted])
    }
  })

  const setWanted = (next: boolean) => {
    if (wanted.value !== next) wanted.set(next)
  }

  yield* Effect.acquireRelease(
    Effect.sync(() =>
      device.listen(() => {
        const { _tag } = state.value
        if (_tag === "Stale" || _tag === "Offline" || (_tag === "Connecting" && !device.isOnline())) markStale()
      })
    ),
    (end) => Effect.sync(end)
  )
  const fiber = yield* Effect.forkScoped(loop)
  yield* Effect.addFinalizer(() =>
    Effect.andThen(
      Fiber.interrupt(fiber),
      Effect.sync(() => {
        if (state.value._tag === "Live" || state.value._tag === "Connecting") markStale()
      })
    )
  )

  return {
    state,
    setWanted,
    reset() {
      if (session !== undefined) Deferred.doneUnsafe(session, Exit.void)
    },
    setCurrent(next) {
      isCurrent = next
      if (session !== undefined) showFreshness()
    }
  }
})

/** The code and the reason with which the server closed the socket; 1006 when it closed without either. */
const closeOf = (exit: Exit.Exit<unknown, unknown>): { readonly code: number; readonly reason: string } => {
  const error = Option.getOrUndefined(Exit.findErrorOption(exit))
  return Socket.isSocketError(error) && error.reason._tag === "SocketCloseError"
    ? { code: error.reason.code, reason: error.reason.closeReason ?? "" }
    : { code: 1006, reason: "" }
}
