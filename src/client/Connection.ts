import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Random from "effect/Random"
import * as Socket from "effect/socket/Socket"
import { ping } from "../protocol/Messages.ts"
import { ConnectionState } from "./ConnectionState.ts"
import { Observable } from "./Observable.ts"
import { Signals, signal } from "./Signals.ts"

export interface Options {
  /** Opens a socket; run anew for each attempt, so that a token can be fresh. */
  readonly socket: Effect.Effect<Socket.Socket, unknown>
  /** A socket has opened: `send` writes to it until `onClose`. */
  readonly onOpen: (send: (text: string) => void) => void
  readonly onClose: () => void
  /** A message, parsed; answers whether it was one that a server may send. */
  readonly onMessage: (message: unknown) => boolean
  /** The server does not want this client. */
  readonly onRefused: (reason: string) => void
}

/** How long nothing may come in before the connection is asked for a sign of life. */
const heartbeat = Duration.seconds(20)
/** How long that sign may take. */
const patience = Duration.seconds(10)
const firstDelay = 250
const longestDelay = 16_000

/** Codes by which a server says that trying again will not help. */
const isRefusal = (code: number): boolean => code === 1008 || (code >= 4400 && code < 4500)

/**
 * The one socket of a client, kept open while it is wanted: it reconnects with growing, jittered delays, at once when
 * the device says that it may help, and notices a connection that died in silence.
 */
export interface Connection {
  readonly state: Observable<ConnectionState>
  /** Whether a socket should be open. */
  readonly want: (wanted: boolean) => void
  /** Gives up the socket that is open, as one that cannot be trusted, and connects anew. */
  readonly reset: () => void
}

export const make = Effect.fnUntraced(function* (options: Options) {
  const state = new Observable<ConnectionState>(ConnectionState.Idle())
  const signals = yield* Signals
  const wanted = yield* Latch.make(false)
  let isWanted = false
  let attempts = 0
  /** When the connection was lost that is not restored yet. */
  let since: number | undefined
  let session: Deferred.Deferred<void> | undefined

  const open = Effect.gen(function* () {
    const socket = yield* options.socket
    const writer = yield* socket.writer
    const { pull } = yield* socket.reader
    const services = yield* Effect.context<never>()
    const ended = yield* Deferred.make<void>()
    session = ended
    let lastHeard = yield* Clock.currentTimeMillis
    const send = (text: string) => {
      Effect.runForkWith(services)(Effect.ignore(writer.write(text)))
    }
    attempts = 0
    since = undefined
    state.set(ConnectionState.Live())
    options.onOpen(send)
    const read = Effect.gen(function* () {
      while (true) {
        const texts = yield* pull
        lastHeard = yield* Clock.currentTimeMillis
        for (const text of texts) {
          // Garbage means that this is not the server we know; its state cannot be trusted.
          if (!options.onMessage(parse(text))) return
        }
      }
    })
    const watch = Effect.gen(function* () {
      while (true) {
        yield* Effect.sleep(heartbeat)
        const since = (yield* Clock.currentTimeMillis) - lastHeard
        if (since < Duration.toMillis(heartbeat)) continue
        const asked = yield* Clock.currentTimeMillis
        send(ping)
        yield* Effect.sleep(patience)
        if (lastHeard < asked) return
      }
    })
    yield* Effect.raceAllFirst([read, watch, Deferred.await(ended), signal(signals, "offline")])
  }).pipe(
    Effect.scoped,
    Effect.ensuring(
      Effect.sync(() => {
        if (session === undefined) return
        session = undefined
        options.onClose()
      })
    )
  )

  const loop = Effect.gen(function* () {
    while (true) {
      if (!isWanted) {
        state.set(ConnectionState.Idle())
        yield* wanted.await
      }
      if (state.value._tag === "Idle") state.set(ConnectionState.Connecting())
      const exit = yield* Effect.exit(open)
      if (!isWanted) continue
      const refusal = refusalOf(exit)
      if (refusal !== undefined) {
        state.set(ConnectionState.Refused({ reason: refusal }))
        options.onRefused(refusal)
        isWanted = false
        wanted.closeUnsafe()
        yield* wanted.await
        continue
      }
      since ??= yield* Clock.currentTimeMillis
      const isOnline = signals.isOnline()
      state.set(isOnline ? ConnectionState.Stale({ since }) : ConnectionState.Offline({ since }))
      const delay = Math.min(longestDelay, firstDelay * 2 ** attempts++)
      const jitter = yield* Random.nextBetween(0.5, 1)
      yield* Effect.raceFirst(Effect.sleep(Duration.millis(Math.round(delay * jitter))), signal(signals, "wake"))
    }
  })
  const fiber = yield* Effect.forkScoped(loop)
  yield* Effect.addFinalizer(() => Fiber.interrupt(fiber))

  return {
    state,
    want(next) {
      if (isWanted === next) return
      isWanted = next
      if (next) wanted.openUnsafe()
      else {
        wanted.closeUnsafe()
        if (session !== undefined) Deferred.doneUnsafe(session, Exit.void)
      }
    },
    reset() {
      if (session !== undefined) Deferred.doneUnsafe(session, Exit.void)
    }
  } satisfies Connection as Connection
})

const parse = (text: string | Uint8Array): unknown => {
  try {
    return JSON.parse(typeof text === "string" ? text : new TextDecoder().decode(text))
  } catch {
    return undefined
  }
}

const refusalOf = (exit: Exit.Exit<unknown, unknown>): string | undefined => {
  const error = Exit.findErrorOption(exit)
  if (error._tag === "None" || !Socket.isSocketError(error.value)) return undefined
  const { reason } = error.value
  return reason._tag === "SocketCloseError" && isRefusal(reason.code)
    ? `${reason.code}${reason.closeReason ? ` ${reason.closeReason}` : ""}`
    : undefined
}
