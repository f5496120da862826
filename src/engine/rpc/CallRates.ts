/**
 * Counts the calls of each caller, in memory: a call costs two look-ups in a map, and nothing is written. Object and Worker
 * have one each. A21: calls beyond the limit run nothing. After a start all windows begin anew.
 */
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { TooManyRequests } from "../../protocol/CallError.ts"
import type { CallerLimits, CallRate } from "../../protocol/CallerLimits.ts"
import { type EncodedExit, failed } from "../../protocol/Exit.ts"
import * as FixedWindow from "../../services/rateLimits/FixedWindow.ts"
import type { RequestSession } from "./SessionHeader.ts"

/**
 * A value, or that of its variable in the environment. Without `Config` and `Effect.all`, which would be 2 KB of every
 * Worker.
 */
const variable = Effect.fnUntraced(function* <A>(name: string, given: A, parse: (text: string) => A | undefined) {
  const node = yield* Effect.orDie((yield* ConfigProvider.ConfigProvider).load([name]))
  if (node?.value === undefined) return given
  return parse(node.value) ?? (yield* Effect.die(new Error(`the variable ${name} is not a limit: ${node.value}`)))
})

const parseCount = (text: string) => (Number(text) >= 1 ? Number(text) : undefined)

// What is not the text of a duration is refused by `fromInput`.
const parseWindow = (text: string) => Option.getOrUndefined(Duration.fromInput(text as Duration.Input))

/** The variable of a limit: that of `callsPerIdentity` is `DORMOUSE_CALLS_PER_IDENTITY`. */
const nameOf = (limit: keyof CallerLimits) => `DORMOUSE_${limit.replace(/[A-Z]/g, "_$&").toUpperCase()}`

/** The limits of an app, with those that the environment overrides. A value that is no limit is a defect. */
export const configured: (given: CallerLimits) => Effect.Effect<CallerLimits> = Effect.fnUntraced(function* (given) {
  const count = (limit: "liveQueriesPerSocket" | "socketsPerIdentity" | "socketsPerAddress") =>
    variable(nameOf(limit), given[limit], parseCount)
  const rate = Effect.fnUntraced(function* (limit: "callsPerIdentity" | "callsPerAddress") {
    const name = nameOf(limit)
    return {
      limit: yield* variable(name, given[limit].limit, parseCount),
      window: yield* variable(`${name}_WINDOW`, Duration.fromInputUnsafe(given[limit].window), parseWindow)
    }
  })
  return {
    liveQueriesPerSocket: yield* count("liveQueriesPerSocket"),
    socketsPerIdentity: yield* count("socketsPerIdentity"),
    socketsPerAddress: yield* count("socketsPerAddress"),
    callsPerIdentity: yield* rate("callsPerIdentity"),
    callsPerAddress: yield* rate("callsPerAddress")
  }
})

/** Whom to count. An anonymous caller has no identity, and a caller in memory no address. */
export interface CallerKeys {
  readonly identity: string | undefined
  readonly address: string | undefined
}

/** Under which keys a caller counts. */
export const keysOf = ({ address, identity: { subject }, tenant }: RequestSession): CallerKeys => ({
  identity: subject === null ? undefined : `${tenant} identity ${subject}`,
  address: address === undefined ? undefined : `${tenant} address ${networkOf(address)}`
})

/** Under which key refused tokens count: calls that are accepted from the same address are not touched. */
export const refusedAt = (address: string | undefined): CallerKeys => ({
  identity: undefined,
  address: address === undefined ? undefined : `refused ${networkOf(address)}`
})

/** Under which key requests for files count: they have no caller. */
export const filesAt = (address: string | undefined): CallerKeys => ({
  identity: undefined,
  address: address === undefined ? undefined : `files ${networkOf(address)}`
})

/** The network of an address: one customer has an IPv4 address, or 64 bits of IPv6 addresses. */
export const networkOf = (address: string): string => {
  if (!address.includes(":")) return address
  const [, mapped] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address) ?? []
  if (mapped !== undefined) return mapped
  const [head = [], tail = []] = address.split("::").map((half) => (half === "" ? [] : half.split(":")))
  // `::` stands for as many zeros as are missing.
  const groups = [...head, ...Array.from({ length: 8 - head.length - tail.length }, () => "0"), ...tail].slice(0, 4)
  return `${groups.map((group) => Number.parseInt(group, 16).toString(16)).join(":")}::/64`
}

/** Calls that are refused, and when a retry may be accepted. */
export interface TooMany {
  readonly limit: "callsPerIdentity" | "callsPerAddress" | "socketsPerIdentity" | "socketsPerAddress"
  readonly max: number
  /** Milliseconds. */
  readonly retryAfter: number
}

/** The reason of a refusal, in words. */
export const describeTooMany = ({ limit, max, retryAfter }: TooMany): string =>
  `limit ${limit} is ${max}; retry after ${Math.ceil(retryAfter / 1000)} s`

/** The exit of a call that is refused. */
export const tooManyExit = ({ retryAfter }: TooMany): EncodedExit => failed(new TooManyRequests({ retryAfter }))

/** The headers of a response that refuses calls. */
export const retryHeaders = (retryAfter: number): Record<string, string> => ({
  "retry-after": String(Math.ceil(retryAfter / 1000))
})

interface Rate {
  readonly name: "callsPerIdentity" | "callsPerAddress"
  readonly limit: number
  readonly window: number
  /** Milliseconds after which a call counts as returned. */
  readonly interval: number
}

/** What is counted of a caller. */
interface Counter {
  window: FixedWindow.FixedWindow
}

const rateOf = (name: Rate["name"], { limit, window }: CallRate): Rate | undefined => {
  if (limit === Number.POSITIVE_INFINITY) return undefined
  const millis = Math.max(1, Duration.toMillis(window))
  return { name, limit, window: millis, interval: millis / limit }
}

/** Counters that each new one looks at, to find those that have expired. */
const sweptPerKey = 2

/** The calls of all callers that were counted here. */
export class CallRates {
  private readonly identity: Rate | undefined
  private readonly address: Rate | undefined
  private readonly counters = new Map<string, Counter>()

  constructor(limits: Pick<CallerLimits, "callsPerIdentity" | "callsPerAddress">) {
    this.identity = rateOf("callsPerIdentity", limits.callsPerIdentity)
    this.address = rateOf("callsPerAddress", limits.callsPerAddress)
  }

  /** How many callers are counted. */
  get size(): number {
    return this.counters.size
  }

  /** Counts so many calls of a caller, all or none. Returns why none were. */
  charge({ address, identity }: CallerKeys, calls: number, now: number): TooMany | undefined {
    const ofIdentity = identity === undefined ? undefined : this.counters.get(identity)
    const ofAddress = address === undefined ? undefined : this.counters.get(address)
    const byIdentity = decide(this.identity, identity, ofIdentity, calls, now)
    const byAddress = decide(this.address, address, ofAddress, calls, now)
    const refused = refusalOf(this.identity, byIdentity) ?? refusalOf(this.address, byAddress)
    if (refused !== undefined) return refused
    this.keep(identity, ofIdentity, byIdentity, now)
    this.keep(address, ofAddress, byAddress, now)
    return undefined
  }

  private keep(key: string | undefined, counter: Counter | undefined, next: Counted | undefined, now: number): void {
    if (key === undefined || next?.state === undefined) return
    if (counter !== undefined) {
      counter.window = next.state
      return
    }
    this.sweep(now)
    this.counters.set(key, { window: next.state })
  }

  /** Looks at the counters that were not looked at for longest. Each new one looks at two, so that expired ones run out. */
  private sweep(now: number): void {
    for (let i = 0; i < sweptPerKey; i++) {
      const [oldest] = this.counters
      if (oldest === undefined) return
      const [key, counter] = oldest
      this.counters.delete(key)
      if (counter.window.expires > now) this.counters.set(key, counter)
    }
  }
}

type Counted = ReturnType<typeof FixedWindow.take>

const decide = (
  rate: Rate | undefined,
  key: string | undefined,
  counter: Counter | undefined,
  calls: number,
  now: number
): Counted | undefined =>
  rate === undefined || key === undefined
    ? undefined
    : FixedWindow.take(counter?.window, now, calls, rate.limit, rate.interval)

const refusalOf = (rate: Rate | undefined, counted: Counted | undefined): TooMany | undefined => {
  if (rate === undefined || counted === undefined || counted.answer[0] <= rate.limit) return undefined
  const { limit, name, window } = rate
  // More calls than the limit at once are refused, even by an empty window.
  return { limit: name, max: limit, retryAfter: Math.max(1, Math.ceil(counted.answer[1] || window)) }
}
