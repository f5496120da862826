import { type Random, Violation } from "../random.ts"
import { type Admitted, type Decision, decide, doorHost, tenants, unreachable } from "./callers.ts"
import { checkMessages, checkText, ensure, type Reader } from "./checks.ts"
import type { Answer, Door } from "./Door.ts"
import { Keeper } from "./Keeper.ts"
import type { Thread } from "./messages.ts"
import { callsIn, TenantModel } from "./model.ts"
import { OpenSocket } from "./OpenSocket.ts"
import { type Sent, sent } from "./requests.ts"

/** Sends random requests and frames to a front door, and checks each answer and what is left behind. */

/** Milliseconds after which a refused socket counts as open. */
const patience = 30_000

/** How many sockets are open at once. */
const maxSockets = 6

/** What a round has sent, and what came of it: statuses, close codes, and how many calls succeeded. */
export class Tally {
  /** Requests and frames. */
  sent = 0
  readonly outcomes = new Map<string, number>()

  add(outcome: string, count = 1): void {
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + count)
  }
}

/** One round of the fuzzer. */
class Round {
  private readonly door: Door
  private readonly thread: Thread
  private readonly keepers = new Map<string, Keeper>()
  private readonly models = new Map<string, TenantModel>()
  private readonly sockets: Array<OpenSocket> = []
  private readonly tally: Tally
  /** How often the objects that nobody may reach were, by other tests of this process. */
  private readonly reachedBefore: ReadonlyMap<string, number>

  constructor(door: Door, random: Random, tally: Tally) {
    this.door = door
    this.tally = tally
    this.reachedBefore = new Map(unreachable.map((tenant) => [tenant, door.reached(tenant)]))
    this.thread = { random, ids: [], numbered: [], badTokens: [...door.issuer.refused.keys()], next: 0 }
    for (const tenant of tenants) {
      this.keepers.set(tenant, new Keeper(door, tenant))
      this.models.set(tenant, new TenantModel(tenant))
    }
  }

  async start(): Promise<void> {
    for (const keeper of this.keepers.values()) await keeper.reset()
  }

  async step(): Promise<void> {
    const { random } = this.thread
    if (random.chance(0.01)) await this.door.evict?.(random.pick(tenants))
    const kind = random.int(20)
    if (kind < 10) await this.requests(random.chance(0.9) ? 1 : 1 + random.int(4))
    else if (kind < 12 && this.sockets.length < maxSockets) await this.requests(1, true)
    else if (kind < 19 && this.sockets.length > 0) await this.frames()
    else if (this.sockets.length > 0) await this.endSocket()
  }

  /** Sends requests at once. */
  private async requests(count: number, isSocket = false): Promise<void> {
    const all = this.thread.random.array(count, () => this.prepare(isSocket))
    const before = tenants.map((tenant) => this.door.reached(tenant))
    const reaching = new Set<string>()
    await Promise.all(
      all.map(async (prepared) => {
        const answer = await this.door.send(prepared.request)
        if (!(await this.checkAnswer(prepared, answer))) return
        reaching.add(prepared.tenant)
        const { decision } = prepared
        if (!("peer" in answer) || "statuses" in decision) return
        this.sockets.push(new OpenSocket(answer.peer, this.readerOf(decision), this.models.get(decision.tenant)!))
      })
    )
    this.checkReached(before, reaching)
  }

  private readerOf({ caller, tenant }: Admitted): Reader {
    return { caller, tenant, isDeclared: this.door.isDeclared }
  }

  private prepare(isSocket: boolean): Prepared {
    this.tally.sent++
    const made = sent(this.thread, this.door.issuer, isSocket)
    const request = this.door.normalized?.(made) ?? made
    const url = new URL(`https://${doorHost}${request.path}`)
    const headers = new Headers(request.headers as Array<[string, string]>)
    const decision = decide(this.door.issuer, url, headers)
    return { request, url, headers, decision, tenant: "tenant" in decision ? decision.tenant : "" }
  }

  /** No object is reached but for callers who were let in, with requests that it can answer. */
  private checkReached(before: ReadonlyArray<number>, reaching: ReadonlySet<string>): void {
    tenants.forEach((tenant, i) => {
      if (reaching.has(tenant) || (!this.door.isExact && tenant !== "door-sealed")) return
      ensure(this.door.reached(tenant) === before[i], () => `the object of ${tenant} is reached`)
    })
  }

  /** Checks an answer. Returns whether the request may have reached the object of its tenant. */
  private async checkAnswer(prepared: Prepared, answer: Answer): Promise<boolean> {
    const { decision, request, url } = prepared
    try {
      if ("peer" in answer) {
        const isOpen = await checkSocket(prepared, answer.peer)
        this.tally.add(isOpen ? "open" : String(answer.peer.closed?.code))
        return isOpen
      }
      const { headers, status } = answer.response
      this.tally.add(String(status))
      const text = await answer.response.text()
      const reader = "tenant" in decision ? this.readerOf(decision) : undefined
      checkText(`${JSON.stringify([...headers])} ${text}`, reader)
      if (url.pathname === "/rpc/time" && request.method === "GET") {
        ensure(status === 200 && Number.isInteger(parse(text)), () => text)
        return false
      }
      if (isExplain(prepared) && "tenant" in decision) {
        ensure(status === 200 && (request.method === "HEAD" || Array.isArray(parse(text))), () => `${status} ${text}`)
        return true
      }
      const isPath = isRpc(url) || isExplain(prepared)
      // Where the platform drops the body of an answer to HEAD, the status is all there is.
      if (request.method === "HEAD" && text === "") {
        const statuses = !isPath ? [404] : "statuses" in decision ? decision.statuses : [405]
        ensure(statuses.includes(status), () => `the status is ${status}, not one of ${statuses}`)
        return false
      }
      if (!isPath) return refused(text, status, [404])
      if ("statuses" in decision) return refused(text, status, decision.statuses)
      if (request.method.toUpperCase() === "GET") return refused(text, status, [426])
      // Methods are normalized: `post` is `POST`.
      if (request.method.toUpperCase() !== "POST") return refused(text, status, [405])
      return this.checkBody(prepared, decision, status, text)
    } catch (cause) {
      if (!(cause instanceof Violation)) throw cause
      throw new Violation(`${cause.message}\nafter ${JSON.stringify(request).slice(0, 2000)}`)
    }
  }

  private checkBody({ request }: Prepared, decision: Admitted, status: number, text: string): boolean {
    const model = this.models.get(decision.tenant)!
    const body = decodeBody(request.body)
    const calls = body === undefined ? undefined : callsIn(body)
    const answer = parse(text)
    if (!Array.isArray(answer)) return refused(text, status, [400, 413])
    ensure([200, 404, 413].includes(status), () => `${status} ${text}`)
    if (calls === undefined) throw new Violation(`a body that is not JSON is answered: ${text}`)
    if (status === 200) model.accept(decision.caller.subject, calls)
    for (const row of checkMessages(calls, answer, decision.caller, status)) {
      ensure(status === 200, () => `${status} answers a call that ran`)
      model.tell(row)
      this.tally.add("rows")
    }
    return status === 200
  }

  private async frames(): Promise<void> {
    const { random } = this.thread
    const socket = random.pick(this.sockets)
    this.tally.sent += await socket.burst(this.thread)
    if (socket.peer.closed === undefined) return
    this.sockets.splice(this.sockets.indexOf(socket), 1)
    this.tally.add(String(socket.peer.closed.code))
  }

  private async endSocket(): Promise<void> {
    const socket = this.thread.random.pick(this.sockets)
    this.sockets.splice(this.sockets.indexOf(socket), 1)
    socket.check()
    await socket.end(this.thread)
  }

  /** Checks that every object answers, and that its rows are what they must be. */
  async check(): Promise<void> {
    for (const socket of this.sockets) socket.check()
    for (const [tenant, keeper] of this.keepers) this.models.get(tenant)!.check(await keeper.rows())
  }

  /** Closes everything, and checks that nothing is left. */
  async end(): Promise<void> {
    await this.check()
    for (const [tenant, before] of this.reachedBefore) {
      ensure(this.door.reached(tenant) === before, () => `the object of ${tenant} is reached`)
    }
    while (this.sockets.length > 0) await this.endSocket()
    for (const keeper of this.keepers.values()) keeper.close()
    const { left } = this.door
    if (left === undefined) return
    for (const tenant of tenants) {
      let found: unknown
      for (let i = 0; i < 100; i++) {
        const { queries, sockets } = await left(tenant)
        found = { queries, sockets }
        if (queries === 0 && sockets === 0) break
        await new Promise((resolve) => setImmediate(resolve))
      }
      ensure(JSON.stringify(found) === '{"queries":0,"sockets":0}', () => `${tenant} has ${JSON.stringify(found)} left`)
    }
  }
}

interface Prepared {
  readonly request: Sent
  readonly url: URL
  readonly headers: Headers
  readonly decision: Decision
  readonly tenant: string
}

const isRpc = ({ pathname }: URL): boolean => pathname === "/rpc" || pathname === "/rpc/"
const isExplain = ({ headers, url }: Prepared): boolean =>
  url.pathname === "/rpc/explain" && headers.get("x-explain") === "yes"

/** Checks that a request is refused with one of these statuses, and with an error. Returns false: it reaches no object. */
const refused = (text: string, status: number, statuses: ReadonlyArray<number>): false => {
  ensure(statuses.includes(status), () => `the status is ${status}, not one of ${statuses}: ${text.slice(0, 500)}`)
  const { error } = parse(text)
  ensure(typeof error === "string" && error !== "", () => text)
  // A tenant that exists is not told apart from one that does not.
  if (status === 404 && statuses.length === 1) {
    ensure(text === '{"error":"no such tenant"}' || text === '{"error":"not found"}', () => text)
  }
  return false
}

/** Checks a socket that was opened, or closed as it was opened. Returns whether it reached the object. */
const checkSocket = async ({ decision, headers, request, url }: Prepared, peer: any): Promise<boolean> => {
  const isUpgrade = request.method === "GET" && headers.get("upgrade")?.toLowerCase() === "websocket"
  ensure(isUpgrade && isRpc(url), () => "a request that asks for none gets a socket")
  if ("tenant" in decision) {
    ensure(peer.closed === undefined, () => `a caller who may enter is refused: ${JSON.stringify(peer.closed)}`)
    return true
  }
  await peer
    .until(() => peer.closed, patience)
    .catch(() => ensure(false, () => "a caller who is refused keeps its socket"))
  const { code, reason } = peer.closed
  checkText(reason)
  const codes = decision.statuses.map((status) => (status < 500 ? 4000 + status : 1011))
  ensure(codes.includes(code), () => `the socket is closed with ${code}, not one of ${codes}`)
  ensure(peer.messages.length === 0, () => "a refused socket gets messages")
  return false
}

const parse = (text: string): any => {
  try {
    return JSON.parse(text)
  } catch {
    throw new Violation(`an answer is not JSON: ${JSON.stringify(text.slice(0, 500))}`)
  }
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false })
const encoder = new TextEncoder()
/** The text of a body, which has no byte order mark any more. */
const decodeBody = (body: Sent["body"]): string | undefined => {
  try {
    return decoder.decode(typeof body === "string" ? encoder.encode(body) : body)
  } catch {
    return undefined
  }
}

/** One round of so many steps: a function of its random source. */
export const round = async (door: Door, random: Random, steps: number, tally: Tally): Promise<void> => {
  const round = new Round(door, random, tally)
  await round.start()
  for (let step = 0; step < steps; step++) {
    await round.step()
    if (step % 100 === 99) await round.check()
  }
  await round.end()
}
