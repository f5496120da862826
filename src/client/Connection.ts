import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import { ping } from "../protocol/Messages.ts"
import { ConnectionState } from "./ConnectionState.ts"
import { DeviceStatus, deviceEvent } from "./DeviceStatus.ts"
import { Observable } from "./Observable.ts"
import { parse } from "./ServerMessage.ts"

export interface ConnectionOptions {
  /** Opens a socket; run anew for each attempt, so that a token can be fresh. */
  readonly socket: Effect.Effect<Socket.Socket, unknown>
  /** A socket has opened: `send` writes to it until `onClose`. */
  readonly onOpen: (send: (text: string) => void) => void
  readonly onClose: () => void
  /** A message, parsed; answers whether it was one that a server may send. */
  readonly onMessage: (message: Schema.Json | undefined) => boolean
  /** The server does not want this client. */
  readonly onRefused: (reason: string) => void
  /** The server closed the connection because of a message that was too large. */
  readonly onTooLarge: (reason: string) => void
}

/** How long nothing may come in before the connection is asked for a sign of life. */
const heartbeat = Duration.seconds(20)
/** How long that sign may take. */
const pongTimeout = Duration.seconds(10)
const firstDelay = 250
const longestDelay = 16_000

/** The code by which a server says that a message was too large. */
const tooLarge = 1009

/** Codes by which a server says that trying again will not help. */
const isRefusal = (code: number): boolean => code === 1008 || (code >= 4400 && code < 4500)

/**
 * The one socket of a client, kept open while it is wanted: it reconnects with growing, jittered delays, at once when
 * the device says that it may help, and notices a connection that died in silence.
 */
export interface Connection {
  readonly state: Observable<ConnectionState>
  /** Whether a socket should be open. */
  readonly setWanted: (wanted: boolean) => void
  /** Gives up the socket that is open, as one that cannot be trusted, and connects anew. */
  readonly reset: () => void
  /** Whether what is shown is what the server has. Only then is an open connection `Live`. */
  readonly setCurrent: (isCurrent: boolean) => void
}

export const make = Effect.fnUntraced(function* (
  options: ConnectionOptions
): Effect.fn.Return<Connection, never, Scope> {
  const state = new Observable<ConnectionState>(ConnectionState.Idle())
  const device = yield* DeviceStatus
  const clock = yield* Clock.Clock
  const wanted = yield* Latch.make(false)
  const released = yield* Latch.make(true)
  let isWanted = false
  let isCurrent = true
  /** How often in a row connecting was of no use. */
  let attempts = 0
  /** The same as of when the socket was opened: for when it proves to be of no use after all. */
  let attemptsBefore = 0
  /** When what is shown ceased to be what the server has. */
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

  /** Ends when the socket is not wanted any more, which a change from one live query to another does not mean. */
  const unwanted = Effect.gen(function* () {
    do {
      yield* released.await
      yield* Effect.yieldNow
    } while (isWanted)
  })

  const open = Effect.gen(function* () {
    const socket = yield* options.socket
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
          // Garbage means that this is not the server we know; its state cannot be trusted.
          if (
            options.onMessage(parse(typeof text === "string" ? text : new TextDecoder().decode(text))) &&
            !Deferred.isDoneUnsafe(ended)
          )
            continue
          attempts = attemptsBefore
          return
        }
      }
    })
    const watch = Effect.gen(function* () {
      while (true) {
        // A device that was asleep may have lost its connection without hearing of it.
        const isWoken = yield* Effect.raceFirst(
          Effect.as(Effect.sleep(heartbeat), false),
          Effect.as(deviceEvent(device, "wake"), true)
        )
        const asked = yield* Clock.currentTimeMillis
        if (!isWoken && asked - lastHeard < Duration.toMillis(heartbeat)) continue
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
    // The connection is made anew whatever went wrong, but a defect is nobody's intention.
    Effect.tapCauseIf(Cause.hasDies, (cause) => {
      attempts = attemptsBefore
      return Effect.logError("the connection failed", cause)
    })
  )

  const loop = Effect.gen(function* () {
    while (true) {
      if (!isWanted) {
        attempts = 0
        since = undefined
        setState(ConnectionState.Idle())
        yield* wanted.await
      }
      if (state.value._tag === "Idle" || state.value._tag === "Refused") setState(ConnectionState.Connecting())
      const exit = yield* Effect.exit(Effect.raceFirst(Effect.as(open, "lost"), Effect.as(unwanted, "unwanted")))
      if (Exit.isSuccess(exit) && exit.value === "unwanted") continue
      const { code, reason } = closeOf(exit)
      if (isRefusal(code)) {
        const refusal = reason === "" ? String(code) : `${code} ${reason}`
        // Whoever is told may want a connection again at once.
        setWanted(false)
        setState(ConnectionState.Refused({ reason: refusal }))
        options.onRefused(refusal)
        yield* wanted.await
        continue
      }
      if (code === tooLarge) options.onTooLarge(reason)
      markStale()
      // A device that says it has no network may be wrong, but seldom is.
      const delay = device.isOnline() ? Math.min(longestDelay, firstDelay * 2 ** attempts++) : longestDelay
      const jitter = yield* Random.nextBetween(0.5, 1)
      yield* Effect.raceAllFirst([
        Effect.sleep(Duration.millis(Math.round(delay * jitter))),
        deviceEvent(device, "wake"),
        unwanted
      ])
    }
  })

  const setWanted = (next: boolean) => {
    if (isWanted === next) return
    isWanted = next
    if (next) {
      released.closeUnsafe()
      wanted.openUnsafe()
    } else {
      wanted.closeUnsafe()
      released.openUnsafe()
    }
  }

  yield* Effect.acquireRelease(
    Effect.sync(() =>
      device.listen(() => {
        if (state.value._tag === "Stale" || state.value._tag === "Offline") markStale()
      })
    ),
    (end) => Effect.sync(end)
  )
  const fiber = yield* Effect.forkScoped(loop)
  yield* Effect.addFinalizer(() => Fiber.interrupt(fiber))

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

/** What the server closed the connection with. */
const closeOf = (exit: Exit.Exit<unknown, unknown>): { readonly code: number; readonly reason: string } => {
  const error = Option.getOrUndefined(Exit.findErrorOption(exit))
  return Socket.isSocketError(error) && error.reason._tag === "SocketCloseError"
    ? { code: error.reason.code, reason: error.reason.closeReason ?? "" }
    : { code: 1006, reason: "" }
}
