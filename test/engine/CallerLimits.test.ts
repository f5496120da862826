import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import type { App } from "effect-dormouse"
import { Auth } from "effect-dormouse/auth"
import { TestApp, type TestAppOptions } from "effect-dormouse/testing"
import { afterAll, describe, expect, it } from "vitest"
import { CallRates, configured, networkOf } from "../../src/engine/rpc/CallRates.ts"
import { defaults } from "../../src/protocol/CallerLimits.ts"
import { ping } from "../../src/protocol/Ping.ts"
import { errorOf, newTenant, Peer, post, request } from "../deployment/Deployment.ts"
import { type MemoryDeployment, memory } from "../deployment/memory.ts"
import { forAll } from "../random.ts"
import { DoorsApi, doors, openDoors, ran, smallDoors, smallLimits } from "../worker/doors.ts"
import { anHour, type Doors, suite } from "./callerLimitCases.ts"

const deployments: Array<MemoryDeployment> = []
afterAll(async () => {
  for (const deployment of deployments) await deployment.close()
})
const deploy = async (app: App.App<any>, options?: TestAppOptions) => {
  const deployment = await memory(app, options)
  deployments.push(deployment)
  return deployment
}

/** Objects in memory, without the Worker in front of them. */
const doorsOf =
  ({ object }: MemoryDeployment) =>
  (tenant: string): Doors => ({
    connect: (session) =>
      new Promise((resolve, reject) => {
        const socket = object(tenant).connect(async () => session)
        const peer = new Peer(socket as never)
        socket.addEventListener("message", ({ data }) => {
          resolve(peer)
          peer.received(data as string)
        })
        socket.addEventListener("close", ({ code, reason }) => {
          peer.ended(code ?? 1005, reason ?? "")
          // A socket that is refused is closed right after it was opened.
          if (code === 1013) resolve(undefined)
          else reject(new Error(`closed with ${code}`))
        })
        // Only a socket that was accepted is answered.
        socket.addEventListener("open", () => socket.send(ping))
      }),
    call: (session, text) => object(tenant).stub.call(session, text),
    evict: () => object(tenant).evict()
  })

suite("Limits of callers in memory", {
  small: doorsOf(await deploy(smallDoors)),
  open: doorsOf(await deploy(openDoors))
})

describe("A21: the Worker", () => {
  const often = (times: number) => JSON.stringify(request("1", "visit.often", { by: "ada", times }))
  const identity = { subject: "ada", claims: {} }

  it("A21: refuses with 429 and Retry-After, before an object is called or an action runs", async () => {
    const deployment = await deploy(smallDoors, { identity })
    const tenant = newTenant("worker")
    ran.actions = 0
    for (let i = 0; i < 10; i++) expect((await post(deployment, tenant, often(0))).status).toBe(200)
    const refused = await post(deployment, tenant, often(0))
    expect(refused.status).toBe(429)
    expect(refused.headers.get("retry-after")).toEqual(anHour)
    const [message] = (await refused.json()) as ReadonlyArray<any>
    expect(errorOf(message.exit)).toMatchObject({
      reason: { _tag: "TooManyRequests", retryAfter: expect.any(Number) }
    })
    expect(ran.actions).toBe(10)
    expect((await post(deployment, tenant, JSON.stringify(request("1", "visits", {})))).status).toBe(429)
    const socket = await deployment.connect(tenant)
    await socket.until(() => socket.closed)
    expect(socket.closed).toMatchObject({ code: 1013, reason: expect.stringContaining("callsPerIdentity") })
    expect(deployment.starts(tenant)).toBe(0)
    // The tenants have limits of their own.
    expect((await post(deployment, newTenant("worker"), often(0))).status).toBe(200)
  })

  it("A21: an action counts once, whatever it calls", async () => {
    const deployment = await deploy(smallDoors, { identity })
    const tenant = newTenant("worker")
    ran.visits = 0
    for (let i = 0; i < 3; i++) expect((await post(deployment, tenant, often(6))).status).toBe(200)
    expect(ran.visits).toBe(18)
  })

  it("A21: counts by the address that the platform reports, and not by what a client says", async () => {
    const deployment = await deploy(smallDoors, { addressOf: (request) => request.headers.get("x-test") ?? undefined })
    const tenant = newTenant("worker")
    const from = (address: string, headers = {}) =>
      post(deployment, tenant, JSON.stringify(request("1", "visits", {})), { "x-test": address, ...headers })
    const statuses: Array<number> = []
    for (let i = 0; i < 16; i++) {
      statuses.push((await from("192.0.2.1", { "x-forwarded-for": `192.0.2.${i}`, "x-real-ip": `${i}` })).status)
    }
    expect(statuses).toEqual([...Array(15).fill(200), 429])
    expect((await from("192.0.2.2")).status).toBe(200)
  })

  it("A21: tokens that are refused are counted by their address, and calls that are accepted are not touched", async () => {
    const deployment = await deploy(smallDoors, {
      auth: Auth.layerFirst(Auth.layerTest, Auth.layerAnonymous),
      enter: () => true,
      addressOf: (request) => request.headers.get("x-test") ?? undefined
    })
    const body = JSON.stringify(request("1", "visits", {}))
    const guess = async (address: string, token = "guessed") => {
      const headers = { "x-test": address, authorization: `Bearer ${token}` }
      const { headers: answered, status } = await post(deployment, newTenant("guesses"), body, headers)
      return [status, answered.get("retry-after")]
    }
    for (let i = 0; i < 15; i++) expect(await guess("192.0.2.1", `guess-${i}`)).toEqual([401, null])
    expect(await guess("192.0.2.1")).toEqual([429, anHour])
    expect(await guess("192.0.2.2")).toEqual([401, null])
    expect(await guess("192.0.2.1", Auth.testToken({ subject: "ada" }))).toEqual([200, null])
    // Without a token there is nothing to guess.
    expect((await post(deployment, newTenant("guesses"), body, { "x-test": "192.0.2.1" })).status).toBe(200)
  })

  it("A21: without identity and address nobody is counted", async () => {
    const deployment = await deploy(smallDoors)
    const tenant = newTenant("worker")
    for (let i = 0; i < 20; i++) expect((await post(deployment, tenant, often(0))).status).toBe(200)
  })
})

describe("A21: windows", () => {
  const run = (test: Effect.Effect<void, unknown, any>, limits = smallLimits) =>
    Effect.runPromise(
      Effect.scoped(test).pipe(
        Effect.provide(TestApp.layer(doors(limits)).pipe(Layer.provideMerge(TestClock.layer())))
      ) as Effect.Effect<void, unknown>
    )

  it("A21: a caller who was refused is accepted after the time that it was told", () =>
    run(
      Effect.gen(function* () {
        const client = yield* TestApp.client(DoorsApi, { as: { subject: "ada" } })
        for (let i = 0; i < 10; i++) yield* client.mutate("visit", { by: "ada" })
        const refused: any = yield* Effect.flip(client.mutate("visit", { by: "ada" }))
        expect(refused.reason).toMatchObject({ _tag: "TooManyRequests", retryAfter: 3_600_000 })
        yield* TestClock.adjust(refused.reason.retryAfter - 1)
        expect(yield* Effect.flip(client.mutate("visit", { by: "ada" }))).toMatchObject({ reason: { retryAfter: 1 } })
        yield* TestClock.adjust(1)
        yield* client.mutate("visit", { by: "ada" })
        expect(yield* client.query("visits", {})).toBe(11)
      })
    ))

  it("A21: an identity is counted over all of its tokens, and others are not touched", () =>
    run(
      Effect.gen(function* () {
        for (let i = 0; i < 10; i++) {
          const client = yield* TestApp.client(DoorsApi, { as: { subject: "ada", session: `s${i}` } })
          yield* client.mutate("visit", { by: "ada" })
        }
        const again = yield* TestApp.client(DoorsApi, { as: { subject: "ada", claims: { other: true } } })
        expect(yield* Effect.flip(again.mutate("visit", { by: "ada" }))).toMatchObject({
          reason: { _tag: "TooManyRequests" }
        })
        const bo = yield* TestApp.client(DoorsApi, { as: { subject: "bo" } })
        yield* bo.mutate("visit", { by: "bo" })
      })
    ))

  it("A23: what is counted is bounded by the callers of the last window", () =>
    forAll(20, (random) => {
      const rates = new CallRates({
        callsPerIdentity: { limit: 5, window: "1 minute" },
        callsPerAddress: { limit: Number.POSITIVE_INFINITY, window: "1 minute" }
      })
      for (let i = 0; i < 3000; i++) {
        // A hundred new callers in a second; each call lets its window grow by 12 s.
        rates.charge({ identity: `caller ${i}`, address: "a" }, 1, i * 10)
        if (random.chance(0.2)) rates.charge({ identity: "often", address: "a" }, 1, i * 10)
      }
      expect(rates.size).toBeLessThan(2000)
    }))

  it("A21: in no window more calls are accepted than twice the limit, and on average no more than the limit", () =>
    forAll(50, (random) => {
      const limit = 1 + random.int(20)
      const rates = new CallRates({
        callsPerIdentity: { limit, window: 1000 },
        callsPerAddress: { limit: Number.POSITIVE_INFINITY, window: 1000 }
      })
      const times: Array<number> = []
      let now = 0
      for (let i = 0; i < 500; i++) {
        now += random.pick([0, 1, random.int(50), random.int(400)])
        const refused = rates.charge({ identity: "ada", address: undefined }, 1, now)
        if (refused === undefined) times.push(now)
        else {
          // The time that it was told is enough.
          const told = now + refused.retryAfter
          if (random.chance(0.1)) {
            now = told
            expect(rates.charge({ identity: "ada", address: undefined }, 1, now)).toBeUndefined()
            times.push(now)
          }
        }
      }
      for (const time of times) {
        expect(times.filter((other) => other >= time && other < time + 1000).length).toBeLessThanOrEqual(2 * limit)
      }
      expect(times.length).toBeLessThanOrEqual(limit * (now / 1000 + 1))
    }))
})

describe("A23: the environment", () => {
  const configure = (env: Record<string, string>) =>
    Effect.provideService(configured(defaults), ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(env))

  it("A23: overrides each limit", async () => {
    expect(await Effect.runPromise(configure({}))).toEqual({
      ...defaults,
      callsPerIdentity: { limit: 12_000, window: Duration.minutes(1) },
      callsPerAddress: { limit: 120_000, window: Duration.minutes(1) }
    })
    const given = {
      DORMOUSE_LIVE_QUERIES_PER_SOCKET: "1",
      DORMOUSE_SOCKETS_PER_IDENTITY: "2",
      DORMOUSE_SOCKETS_PER_ADDRESS: "3",
      DORMOUSE_CALLS_PER_IDENTITY: "4",
      DORMOUSE_CALLS_PER_IDENTITY_WINDOW: "5 seconds",
      DORMOUSE_CALLS_PER_ADDRESS: "Infinity"
    }
    const expected = {
      liveQueriesPerSocket: 1,
      socketsPerIdentity: 2,
      socketsPerAddress: 3,
      callsPerIdentity: { limit: 4, window: Duration.seconds(5) },
      callsPerAddress: { limit: Number.POSITIVE_INFINITY, window: Duration.minutes(1) }
    }
    expect(await Effect.runPromise(configure(given))).toEqual(expected)
    const fromProcess = ConfigProvider.fromEnv({ env: given })
    const read = Effect.provideService(configured(defaults), ConfigProvider.ConfigProvider, fromProcess)
    expect(await Effect.runPromise(read)).toEqual(expected)
  })

  it.each(["0", "-1", "many", "NaN"])(
    "A23: a limit of %s is refused, and nothing is answered with it",
    async (value) => {
      const exit = await Effect.runPromise(Effect.exit(configure({ DORMOUSE_CALLS_PER_IDENTITY: value })))
      expect(exit._tag).toBe("Failure")
    }
  )

  it("A23: is read by object and Worker", () => {
    const provider = ConfigProvider.fromUnknown({ DORMOUSE_CALLS_PER_IDENTITY: "2" })
    const test = Effect.gen(function* () {
      const { object } = yield* TestApp
      const session = { tenant: "main", identity: { subject: "ada", claims: {} } }
      const call = () => object().stub.call(session, JSON.stringify(request("1", "visits", {})))
      const inObject: Array<number> = []
      for (let i = 0; i < 3; i++) inObject.push((yield* Effect.promise(call)).status)
      expect(inObject).toEqual([200, 200, 429])
      const client = yield* TestApp.client(DoorsApi, { as: { subject: "bo" } })
      const act = client.act("visit.often", { by: "bo", times: 0 })
      yield* act
      yield* act
      expect(yield* Effect.flip(act)).toMatchObject({ reason: { _tag: "TooManyRequests" } })
    })
    return Effect.runPromise(
      Effect.scoped(test).pipe(
        Effect.provide(TestApp.layer(smallDoors).pipe(Layer.provide(ConfigProvider.layer(provider))))
      )
    )
  })

  it("A23: an object does not start under a limit that cannot be read", () => {
    const provider = ConfigProvider.fromUnknown({ DORMOUSE_LIVE_QUERIES_PER_SOCKET: "many" })
    const test = Effect.flatMap(TestApp, ({ object }) => Effect.tryPromise(() => object().engine()))
    const backend = TestApp.layer(smallDoors).pipe(Layer.provide(ConfigProvider.layer(provider)))
    return expect(Effect.runPromise(Effect.provide(test, backend))).rejects.toThrow()
  })

  it("A21: addresses are reduced to their network", () => {
    expect(networkOf("192.0.2.1")).toBe("192.0.2.1")
    expect(networkOf("::ffff:192.0.2.1")).toBe("192.0.2.1")
    for (const address of ["2001:db8::1", "2001:0DB8:0:0:ffff::", "2001:db8:0:0:1:2:3:4"]) {
      expect(networkOf(address)).toBe("2001:db8:0:0::/64")
    }
    expect(networkOf("::1")).toBe("0:0:0:0::/64")
    expect(networkOf("2001:db8:1::")).toBe("2001:db8:1:0::/64")
  })
})
