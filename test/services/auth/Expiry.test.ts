import { expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import { Auth } from "effect-dormouse/auth"
import { Transactor } from "effect-dormouse/storage"
import { TestApp, type TestAppOptions } from "effect-dormouse/testing"
import { vi } from "vitest"
import { LiveQueries } from "../../../src/engine/object/LiveQueries.ts"
import { SessionEnds } from "../../../src/engine/object/SessionEnds.ts"
import { SocketSession } from "../../../src/engine/object/SocketSession.ts"
import { errorOf, Peer } from "../../deployment/Deployment.ts"
import { turns } from "../../deployment/memory.ts"
import { forAllAsync, type Random, Violation } from "../../random.ts"
import * as Sessions from "../../worker/sessions.ts"

/** Sessions under virtual time: expiry between any two steps, downgrade, deadlines, and random histories. */

const settled = Effect.promise(turns)

/** Opens a socket with a token. */
const connect = (token: string) =>
  Effect.gen(function* () {
    const { transport, url } = yield* TestApp
    const open = yield* Effect.provide(Socket.WebSocketConstructor, transport)
    const socket = open(`${url.replace("http", "ws")}/rpc`, { protocols: ["dormouse", `dormouse.bearer.${token}`] })
    const peer = new Peer(socket)
    socket.addEventListener("message", ({ data }) => peer.received(data as string))
    socket.addEventListener("close", ({ code, reason }) => peer.ended(code ?? 1005, reason ?? ""))
    yield* settled
    return peer
  })

/** Sends a request and waits until everything that follows from it has happened. Returns its id. */
const ask = (peer: Peer, tag: string, payload: unknown = {}) =>
  Effect.gen(function* () {
    const id = peer.ask(tag, payload)
    yield* settled
    return id
  })

const backend = (options: TestAppOptions = {}) =>
  TestApp.layer(Sessions.app, {
    auth: Sessions.authOr(Auth.layerAnonymous),
    enter: Sessions.enter,
    ...options
  })

const run = (effect: Effect.Effect<void, never, TestApp>, options?: TestAppOptions): Promise<void> =>
  effect.pipe(
    Effect.provide(backend(options)),
    Effect.provide(TestClock.layer()),
    Effect.provide(Logger.layer([])),
    Effect.runPromise
  )

const ada = (expires: number | null) => Auth.testToken({ subject: "ada", session: "s1", expires })
const bob = Auth.testToken({ subject: "bob", session: "s2" })
const expired = { code: 4401, reason: "unauthenticated: expired" }
const valueOf = (peer: Peer, id: string): any => (peer.exits(id)[0] as any)?.value
const reasonOf = (peer: Peer, id: string) => errorOf(peer.exits(id)[0])?.reason

it("A10: from the expiry on no message is handled, and no frame, answer or chunk leaves", () =>
  run(
    Effect.gen(function* () {
      const { object } = yield* TestApp
      const [asking, watching, streaming] = [
        yield* connect(ada(1000)),
        yield* connect(ada(1000)),
        yield* connect(ada(1000))
      ]
      const lasting = yield* connect(ada(null))
      for (const peer of [watching, lasting]) yield* ask(peer, "live:who")
      const stream = yield* ask(streaming, "act.who")
      const before = streaming.items(stream).length
      expect(before).toBeGreaterThan(0)
      for (const peer of [watching, lasting]) peer.send({ _tag: "Ack", requestId: "request-0" })
      yield* settled
      yield* TestClock.adjust(999)
      expect(valueOf(asking, yield* ask(asking, "who"))).toEqual({ subject: "ada", entries: 0 })
      yield* TestClock.adjust(1)
      expect([asking.closed, watching.closed, streaming.closed]).toEqual([undefined, undefined, undefined])
      const late = yield* ask(asking, "enter")
      expect([asking.closed, asking.exits(late)]).toEqual([expired, []])
      expect(object().database.prepare("SELECT name FROM sqlite_master WHERE name = 'entries'").all()).toEqual([])
      // The first commit would send a frame.
      yield* ask(lasting, "enter")
      expect([watching.closed, watching.items("request-0").length]).toEqual([expired, 1])
      expect(lasting.items("request-0")).toHaveLength(2)
      streaming.send({ _tag: "Ack", requestId: stream })
      yield* settled
      expect([streaming.closed, streaming.items(stream).length]).toEqual([expired, before])
    })
  ))

it("A10: an author may have the caller become anonymous instead, which the client is told", () =>
  run(
    Effect.gen(function* () {
      const { object } = yield* TestApp
      const peer = yield* connect(ada(1000))
      const other = yield* connect(bob)
      const who = yield* ask(peer, "live:who")
      const count = yield* ask(peer, "live:count")
      const member = yield* ask(peer, "live:member")
      const stream = yield* ask(peer, "act.who")
      for (const requestId of [who, count, member]) peer.send({ _tag: "Ack", requestId })
      yield* settled
      yield* TestClock.adjust(1000)
      yield* ask(other, "enter")
      expect(peer.closed).toBe(undefined)
      const told = peer.messages.findIndex(({ _tag }: any) => _tag === "SignedOut")
      expect(peer.messages[told]).toEqual({ _tag: "SignedOut", problem: "expired" })
      expect(JSON.stringify(peer.messages.slice(told))).not.toContain("ada")
      expect(peer.items(who).at(-1).value).toEqual({ subject: null, entries: 1 })
      expect(peer.items(count)).toHaveLength(2)
      expect(reasonOf(peer, member)).toEqual({ _tag: "Unauthenticated", problem: "missing" })
      peer.send({ _tag: "Ack", requestId: stream })
      yield* settled
      expect(reasonOf(peer, stream)).toEqual({ _tag: "Unauthenticated", problem: "expired" })
      // It stays so after a wake, and a new token signs in again.
      yield* Effect.promise(() => object().evict())
      expect(valueOf(peer, yield* ask(peer, "enter"))).toBe(null)
      yield* ask(peer, "dormouse.authenticate", { token: bob })
      expect(valueOf(peer, yield* ask(peer, "enter"))).toBe("bob")
    }),
    { expired: "anonymous" }
  ))

it("A10: no timer runs for an expiry, and none for a token that was verified", () =>
  run(
    Effect.gen(function* () {
      const { object } = yield* TestApp
      const peer = yield* connect(ada(1000))
      yield* ask(peer, "dormouse.authenticate", { token: ada(2000) })
      const { starts } = object()
      yield* Effect.promise(() => object().evict())
      yield* TestClock.adjust("1 hour")
      yield* settled
      expect([object().starts, peer.closed]).toEqual([starts, undefined])
    })
  ))

it("A11: a token that is not verified within 10 s is Unavailable, and calls continue meanwhile", () =>
  run(
    Effect.gen(function* () {
      const peer = yield* connect(ada(null))
      const id = yield* ask(peer, "dormouse.authenticate", { token: "hang" })
      yield* TestClock.adjust(9999)
      yield* settled
      expect(valueOf(peer, yield* ask(peer, "who"))).toMatchObject({ subject: "ada" })
      expect(peer.exits(id)).toEqual([])
      yield* TestClock.adjust(1)
      yield* settled
      expect(reasonOf(peer, id)).toMatchObject({ _tag: "Unavailable" })
      expect(valueOf(peer, yield* ask(peer, "who"))).toMatchObject({ subject: "ada" })
    })
  ))

it("A11: an eviction ends a request that was not answered with CallLost, and the token is not taken", () =>
  run(
    Effect.gen(function* () {
      const { object } = yield* TestApp
      const peer = yield* connect(ada(null))
      const id = yield* ask(peer, "dormouse.authenticate", { token: "hang" })
      yield* Effect.promise(() => object().evict())
      expect(valueOf(peer, yield* ask(peer, "who"))).toMatchObject({ subject: "ada" })
      expect(reasonOf(peer, id)).toEqual({ _tag: "CallLost" })
      // The control: a request that was answered before is not lost, and its token is kept.
      const second = yield* ask(peer, "dormouse.authenticate", { token: bob })
      yield* Effect.promise(() => object().evict())
      expect(valueOf(peer, yield* ask(peer, "who"))).toMatchObject({ subject: "bob" })
      expect(peer.exits(second)).toHaveLength(1)
    })
  ))

it("A12: revocations that no token can outlive are deleted, and older tokens count as expired", () =>
  run(
    Effect.gen(function* () {
      const { object } = yield* TestApp
      const rows = () => object().database.prepare("SELECT subject FROM _dormouse_revocations ORDER BY 1").all()
      yield* TestApp.run(Effect.flatMap(Transactor, ({ write }) => write(Auth.revoke({ subject: "ada" }))))
      expect(rows()).toEqual([{ subject: "ada" }])
      yield* TestClock.adjust("1 hour")
      yield* TestApp.run(Effect.flatMap(Transactor, ({ write }) => write(Auth.revoke({ subject: "bob" }))))
      expect(rows()).toEqual([{ subject: "bob" }])
      const old = yield* connect(Auth.testToken({ subject: "carol", issued: 0 }))
      yield* ask(old, "who")
      expect(old.closed).toEqual(expired)
      const young = yield* connect(Auth.testToken({ subject: "carol", issued: 1 }))
      expect(valueOf(young, yield* ask(young, "who"))).toMatchObject({ subject: "carol" })
    }),
    { maxTokenLifetime: "1 hour" }
  ))

// --- random histories

/** What a socket may be sent: for whom, and until when. */
interface Model {
  subject: string | null
  expires: number
  session: string
}

/** Runs a random history of one socket beside a second one, and checks for whom each of its frames was computed. */
const history = (random: Random): Effect.Effect<void, never, TestApp> =>
  Effect.gen(function* () {
    const { object } = yield* TestApp
    const time = yield* Clock.currentTimeMillis
    const model: Model = { subject: "user 0", expires: time + 1000, session: "s0" }
    const token = ({ expires, session, subject }: Model) => Auth.testToken({ subject: subject!, expires, session })
    const peer = yield* connect(token(model))
    const other = yield* connect(bob)
    let seen = 0
    let isOver = false
    const check = Effect.gen(function* () {
      yield* settled
      const now = yield* Clock.currentTimeMillis
      for (const message of peer.messages.slice(seen)) {
        for (const [, subject] of JSON.stringify(message).matchAll(/"(user \d+)"/g)) {
          if (subject !== model.subject) throw new Violation(`${subject} instead of ${model.subject}`)
          if (now >= model.expires) throw new Violation(`a message for ${subject} after its expiry`)
          if (isOver) throw new Violation(`a message for ${subject} after its session was revoked`)
        }
      }
      seen = peer.messages.length
    })
    yield* ask(peer, "live:who")
    yield* check
    for (let step = 1; step <= 20 && peer.closed === undefined; step++) {
      const kind = random.int(8)
      if (kind === 0) yield* TestClock.adjust(random.int(600))
      else if (kind === 1) yield* ask(other, "enter")
      else if (kind === 2) peer.send({ _tag: "Ack", requestId: "request-0" })
      else if (kind === 3) yield* ask(peer, "who")
      else if (kind === 4) yield* Effect.promise(() => object().evict())
      else if (kind === 5 || kind === 6) {
        const now = yield* Clock.currentTimeMillis
        const isUnderWay = random.int(3) === 0
        const next = { subject: `user ${random.int(3)}`, expires: now + random.int(1500), session: `s${step}` }
        // A token that is never verified, which the next one replaces.
        if (isUnderWay) peer.ask("dormouse.authenticate", { token: "hang" })
        yield* check
        const isExpired = now >= model.expires
        peer.ask("dormouse.authenticate", { token: token(next) })
        if (!isExpired && next.expires > now) Object.assign(model, next)
      } else if (random.int(4) === 0) {
        yield* ask(other, "revoke", { subject: model.subject, session: model.session })
        isOver = true
      }
      yield* check
    }
  })

it("A10, A11: whatever happens, no message is for another caller than the token's, or after its end", () =>
  forAllAsync(60, (random) => run(history(random))))

const broken: ReadonlyArray<readonly [string, () => () => void]> = [
  [
    "forgets expiries and revocations",
    () => {
      const spy = vi.spyOn(SessionEnds.prototype, "endOf").mockReturnValue(undefined)
      return () => spy.mockRestore()
    }
  ],
  [
    "forgets revocations",
    () => {
      const spy = vi.spyOn(SessionEnds.prototype, "committed").mockReturnValue(undefined)
      return () => spy.mockRestore()
    }
  ],
  [
    "keeps the live queries of the former caller",
    () => {
      const spy = vi.spyOn(LiveQueries.prototype, "changeCaller").mockImplementation((_, change) => change())
      return () => spy.mockRestore()
    }
  ],
  [
    "does not save the new session",
    () => {
      // Only the first state of a socket is saved.
      const { save } = SocketSession.prototype
      const saved = new WeakSet<SocketSession>()
      SocketSession.prototype.save = function (maxRows) {
        const isFirst = !saved.has(this)
        saved.add(this)
        return isFirst ? save.call(this, maxRows) : 0
      }
      return () => {
        SocketSession.prototype.save = save
      }
    }
  ]
]

it.each(broken)("a server that %s violates the histories (the control)", async (_, breaks) => {
  const repair = breaks()
  try {
    await expect(forAllAsync(1000, (random) => run(history(random)))).rejects.toThrow(Violation)
  } finally {
    repair()
  }
})
