/// <reference types="node" />
import { isDeepStrictEqual } from "node:util"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Api, App, type Auth, Mutation, Query, Storage } from "effect-dormouse"
import { afterEach, describe, expect, it, vi } from "vitest"
import { Subscription } from "../../src/engine/object/LiveQueries.ts"
import { ObjectHttp } from "../../src/engine/object/ObjectHttp.ts"
import { QueryResult } from "../../src/engine/object/QueryResult.ts"
import * as Patch from "../../src/protocol/Patch.ts"
import { ReadRecorder } from "../../src/services/storage/ReadSet.ts"
import { request } from "../deployment/Deployment.ts"
import { forAllAsync, type Random, runMore, Violation } from "../random.ts"
import {
  databaseFor,
  deniedAs,
  identities,
  keys,
  type RandomRead,
  randomRead,
  randomRow,
  told
} from "../services/policyCases.ts"
import { guards } from "../services/policyGuards.ts"
import { PolicyOracle, type Row, type TableName } from "../services/policyOracle.ts"
import { type EngineHarness, KeepingSocket, makeEngine } from "./EngineHarness.ts"

/**
 * Random policies, rows, callers and writes: every frame of a live query leads to the value that the oracle of the policies
 * gives, and its text has nothing that its caller may not read.
 */

const PolicyApi = Api.make(
  Query.make("read", { payload: { n: Schema.Int }, success: Schema.Json }),
  Mutation.make("write", { payload: { n: Schema.Int }, success: Schema.Json })
)

type Rows = PolicyOracle["rows"]

/** The database after a commit. */
interface State {
  readonly version: number
  readonly rows: Rows
}

/** What is sent to a caller; `check` sees each message as it leaves. */
class WatchedSocket extends KeepingSocket {
  private readonly check: (text: string) => void

  constructor(check: (text: string) => void) {
    super()
    this.check = check
  }

  override send(text: string): void {
    this.check(text)
    super.send(text)
  }
}

/** A live query of a caller. */
interface Watched {
  readonly id: string
  readonly n: number
  json: Schema.Json | undefined
  frames: number
  unacknowledged: number
}

/** A caller with a socket. */
interface Watcher {
  readonly me: Auth.Identity
  readonly socket: WatchedSocket
  readonly queries: Map<string, Watched>
  /** Whether its acknowledgements are late. */
  readonly isSlow: boolean
}

const asJson = (value: unknown): any => JSON.parse(JSON.stringify(value))
const markers = /mark[0-9a-z]{3,}/g

/** What a caller may see of a state: rows, and what it is refused. Its answers depend on nothing else. */
interface View {
  readonly text: string
  readonly answer: (read: RandomRead) => unknown
  readonly isRefused: (read: RandomRead) => boolean | undefined
  readonly close: () => void
}

class World {
  /** Frames that were checked, patches among them, and how often a caller could not see what was written. */
  readonly counts = { frames: 0, patches: 0, unseen: 0 }
  private readonly random: Random
  private readonly oracle: PolicyOracle
  private readonly callers: ReadonlyArray<Auth.Identity>
  private readonly isPrompt: boolean
  private readonly reads: Array<RandomRead> = []
  private write: Effect.Effect<any, any, any> = Effect.void
  private readonly states: Array<State> = []
  private readonly watchers: Array<Watcher> = []
  private readonly views = new Map<Auth.Identity, { readonly state: State; readonly view: View }>()
  private harness!: EngineHarness
  /** What was found wrong while the engine was sending: it may not see exceptions. */
  private violation: Violation | undefined

  private constructor(random: Random) {
    this.random = random
    this.oracle = new PolicyOracle(random)
    this.callers = identities(random)
    // Otherwise the flush has a later turn than the commit: an acknowledgement that comes between can be answered with a
    // frame about the state before the commit, which its version tells.
    this.isPrompt = random.chance(0.5)
  }

  static async make(random: Random): Promise<World> {
    const world = new World(random)
    const { oracle } = world
    const app = App.make({
      api: PolicyApi,
      tables: Object.values(oracle.tables),
      policies: oracle.policies,
      limits: { callsPerIdentity: { limit: 1_000_000, window: "1 minute" } },
      handlers: PolicyApi.toLayer({
        read: ({ n }) => {
          const read = world.reads[n]!
          return Effect.map(Effect.exit(read.on(oracle.tables[read.table])), (exit: any) => asJson(told(exit)))
        },
        write: () => Effect.map(Effect.result(world.write), (result) => Result.isSuccess(result))
      })
    } as any) as unknown as App.App<any>
    world.harness = await makeEngine(app, world.isPrompt ? {} : { smallFlush: 0, queriesPerSlice: 1 + random.int(3) })
    const { live } = world.harness.engine
    const committed = live.committed.bind(live)
    live.committed = (writes) => {
      committed(writes)
      world.note()
    }
    // The first write creates the tables.
    const rows: Rows = { items: new Map(), grants: new Map(), links: new Map() }
    world.states.push({ version: live.currentVersion, rows })
    return world
  }

  /** Notes the rows that the database has. */
  private note(): void {
    const { engine, sqlite } = this.harness
    const rows: Rows = { items: new Map(), grants: new Map(), links: new Map() }
    for (const table of ["items", "grants", "links"] as const) {
      for (const stored of sqlite.prepare(`SELECT * FROM ${table}`).all() as ReadonlyArray<any>) {
        const { o, ...row } = stored
        if (table === "items") Object.assign(row, { f: row.f === 1 }, o === null ? {} : { o })
        rows[table].set(row.id, row)
      }
    }
    this.states.push({ version: engine.live.currentVersion, rows })
  }

  private get state(): State {
    return this.states.at(-1)!
  }

  /** What a caller may see after a commit. */
  private view(me: Auth.Identity, state: State): View {
    const known = this.views.get(me)
    if (known?.state === state) return known.view
    const { oracle } = this
    Object.assign(oracle.rows, state.rows)
    const tables = ["items", "grants", "links"] as const
    const rows = tables.map((table) =>
      [...oracle.rows[table].values()]
        .filter((row) => oracle.allows(table, "read", row, me))
        .map((row) => Object.entries(oracle.shown(table, row, me)).toSorted())
        .toSorted()
    )
    const refusals = Object.keys(oracle.indexes.items).map(
      (index) => [index, oracle.isRefused("items", index, me)] as const
    )
    const refused = new Map(refusals)
    const text = JSON.stringify([rows, refusals.map(([index, refusal]) => [index, String(refusal)])])
    const isSame = known?.view.text === text
    const reduced = isSame ? undefined : databaseFor(oracle, me)
    if (!isSame) known?.view.close()
    const view: View = isSame
      ? known.view
      : {
          text,
          answer: (read) => asJson(told(reduced!.app.run(read.on(oracle.plain[read.table])).exit)),
          isRefused: ({ index, table }) => (table === "items" && index !== undefined ? refused.get(index) : false),
          close: reduced!.close
        }
    this.views.set(me, { state, view })
    return view
  }

  /** A caller is shown what the oracle says. */
  private checkValue(what: string, json: unknown, me: Auth.Identity, n: number, state: State): void {
    const read = this.reads[n]!
    const view = this.view(me, state)
    const isRefused = view.isRefused(read)
    const refusal = deniedAs(read.table, "read")
    if (isRefused !== false && isDeepStrictEqual(json, refusal)) return
    const expected = isRefused === true ? refusal : view.answer(read)
    if (isDeepStrictEqual(json, expected)) return
    throw new Violation(
      `${what} of ${me.subject} by ${read.table}.${read.index}: ${JSON.stringify(json)} instead of ${JSON.stringify(expected)}`
    )
  }

  /** A text that a caller is sent has only what it may read. */
  private checkText(what: string, text: string, me: Auth.Identity, state: State): void {
    const seen = this.view(me, state).text
    for (const [found] of text.matchAll(markers)) {
      if (!seen.includes(found)) throw new Violation(`${what} tells ${me.subject} ${found}: ${text}`)
    }
  }

  /** Opens a socket of a caller. */
  private connect(me: Auth.Identity, isSlow: boolean): Watcher {
    const { engine, sockets } = this.harness
    const socket = new WatchedSocket((text) => {
      try {
        this.received(watcher, text)
      } catch (error) {
        if (!(error instanceof Violation)) throw error
        this.violation ??= error
      }
    })
    const watcher: Watcher = { me, socket, queries: new Map(), isSlow }
    sockets.add(socket)
    engine.sockets.open(socket, { tenant: "main", identity: me })
    this.watchers.push(watcher)
    return watcher
  }

  /** Checks a message in the moment in which it leaves. */
  private received({ me, queries }: Watcher, text: string): void {
    const parsed = JSON.parse(text)
    let { state } = this
    for (const message of Array.isArray(parsed) ? parsed : [parsed]) {
      if (message._tag !== "Chunk") continue
      const query = queries.get(message.requestId)!
      query.unacknowledged++
      for (const frame of message.values) {
        query.frames++
        this.counts.frames++
        state = this.states.findLast(({ version }) => version <= frame.version)!
        if (this.isPrompt && state !== this.state)
          throw new Violation("a frame is about a state before the last commit")
        if (frame._tag === "Snapshot") query.json = frame.value
        if (frame._tag === "Patch") {
          this.counts.patches++
          const patched = Patch.apply(query.json!, frame.ops)
          if (Result.isFailure(patched)) throw new Violation(`a patch does not fit: ${patched.failure.message}`)
          query.json = patched.success
        }
        this.checkValue("a frame", query.json, me, query.n, state)
      }
    }
    this.checkText("a message", text, me, state)
  }

  private message({ socket }: Watcher, message: object): void {
    this.harness.engine.sockets.message(socket, JSON.stringify(message))
    if (this.violation !== undefined) throw this.violation
  }

  private subscribe(watcher: Watcher): void {
    const { random } = this
    // Often a query that another caller watches already.
    const isNew = this.reads.length === 0 || random.chance(0.4)
    if (isNew) {
      // Of some, the one that tells the most: many find nothing.
      const { me } = watcher
      const lengths = random.array(6, () => {
        const read = randomRead(random, this.oracle.indexes)
        return [JSON.stringify(this.view(me, this.state).answer(read)).length, read] as const
      })
      this.reads.push(lengths.toSorted(([a], [b]) => b - a)[0]![1])
    }
    const n = isNew ? this.reads.length - 1 : random.int(this.reads.length)
    const id = `q${watcher.queries.size}`
    watcher.queries.set(id, { id, n, json: undefined, frames: 0, unacknowledged: 0 })
    const headers: ReadonlyArray<readonly [string, string]> = watcher.isSlow ? [] : [["dormouse-prompt", "1"]]
    this.message(watcher, request(id, "live:read", { n }, headers))
  }

  private acknowledge(watcher: Watcher): void {
    for (const query of watcher.queries.values()) {
      while (query.unacknowledged > 0) {
        query.unacknowledged--
        this.message(watcher, { _tag: "Ack", requestId: query.id })
      }
    }
  }

  /** Runs everything that is pending. `all` callers acknowledge, or only the prompt ones. */
  private settle(all: boolean): void {
    const acknowledging = this.watchers.filter(({ isSlow }) => all || !isSlow)
    do {
      for (const watcher of acknowledging) this.acknowledge(watcher)
      this.harness.idle()
      if (this.violation !== undefined) throw this.violation
    } while (acknowledging.some(({ queries }) => [...queries.values()].some((query) => query.unacknowledged > 0)))
  }

  /** The answer to a call over HTTP, as text. */
  private async ask(me: Auth.Identity, n: number): Promise<string> {
    const { engine, idle } = this.harness
    const answer = engine.http.call({ tenant: "main", identity: me }, JSON.stringify(request("1", "read", { n })))
    idle()
    return (await answer).body
  }

  /** A change by a caller under the policies, or by the system past them. */
  private change(): { readonly by: Auth.Identity } {
    const { oracle, random } = this
    const by = random.pick(this.callers)
    const table = random.pick<TableName>(["items", "items", "items", "grants", "grants", "links"])
    const id = random.pick(keys[table])
    const { id: _, ...row } = randomRow(random, table, id)
    const on = oracle.tables[table]
    const some = Object.fromEntries(Object.entries(row).filter(() => random.chance(0.4)))
    const write = random.pick<() => Effect.Effect<any, any, any>>([
      () => on.upsert({ id, ...row }),
      () => on.patch(id, some),
      () => on.patch(id, some),
      () => on.delete(id)
    ])()
    this.write = random.chance(0.6) ? Storage.unrestricted(write) : write
    return { by }
  }

  /** Writes, and checks what each caller is sent because of it. */
  private async step(writers: ReadonlyMap<Auth.Identity, Watcher>): Promise<void> {
    const { random } = this
    const { by } = this.change()
    const { state } = this
    const watched = this.watchers.filter(({ queries }) => queries.size > 0)
    const before: Array<{
      readonly watcher: Watcher
      readonly query: Watched
      view: string
      frames: number
      body: string
    }> = []
    for (const watcher of watched) {
      const query = random.pick([...watcher.queries.values()])
      const body = await this.ask(watcher.me, query.n)
      this.checkText("an answer", body, watcher.me, this.state)
      before.push({ watcher, query, view: this.view(watcher.me, this.state).text, frames: query.frames, body })
    }
    this.message(writers.get(by)!, request("w", "write", { n: 0 }))
    // Acknowledgements come between the commit and its flush, and between two turns of the flush.
    for (const watcher of this.watchers) {
      if (!watcher.isSlow || random.chance(0.3)) continue
      this.acknowledge(watcher)
      if (random.chance(0.5)) this.harness.nextTurn()
    }
    this.settle(false)
    for (const { body, frames, query, view, watcher } of before) {
      const { me } = watcher
      const now = this.view(me, this.state)
      if (now.text !== view || now.isRefused(this.reads[query.n]!) === undefined) continue
      if (this.state !== state) this.counts.unseen++
      const read = JSON.stringify(this.reads[query.n])
      if (!watcher.isSlow && query.frames !== frames) {
        throw new Violation(`a frame came to ${me.subject} for ${read}, though nothing changed that it may read`)
      }
      const after = await this.ask(me, query.n)
      if (after !== body) throw new Violation(`${me.subject} is answered ${after} instead of ${body} for ${read}`)
    }
  }

  async run(steps: number): Promise<void> {
    const { random } = this
    for (const [table, count] of [
      ["grants", 4],
      ["items", 7],
      ["links", 3]
    ] as const) {
      for (const id of random.shuffle(keys[table]).slice(0, count))
        await this.setUp(table, randomRow(random, table, id))
    }
    const writers = new Map(this.callers.map((me) => [me, this.connect(me, false)]))
    for (const me of this.callers) {
      const watcher = this.connect(me, random.chance(0.5))
      for (let i = 0; i < 4; i++) this.subscribe(watcher)
    }
    this.settle(true)
    for (let i = 0; i < steps; i++) {
      await this.step(writers)
      if (random.chance(0.3)) this.settle(true)
    }
    this.settle(true)
    for (const { me, queries } of this.watchers) {
      for (const { json, n } of queries.values()) this.checkValue("the last value", json, me, n, this.state)
    }
  }

  private async setUp(table: TableName, row: Row): Promise<void> {
    this.write = Storage.unrestricted(this.oracle.tables[table].upsert(row))
    const { engine, idle } = this.harness
    const session = { tenant: "main", identity: { subject: null, claims: {} } }
    const answer = engine.http.call(session, JSON.stringify(request("1", "write", { n: 0 })))
    idle()
    await answer
  }

  async close(): Promise<void> {
    for (const { view } of this.views.values()) view.close()
    await this.harness.close()
  }
}

const check = async (random: Random): Promise<World["counts"]> => {
  const world = await World.make(random)
  try {
    await world.run(20)
    return world.counts
  } finally {
    await world.close()
  }
}

describe("frames under random policies", () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  it("P1 P4 P6: each frame leads to what the policies allow, and tells nothing else", async () => {
    const total = { frames: 0, patches: 0, unseen: 0 }
    const run = async (random: Random) => {
      const { frames, patches, unseen } = await check(random)
      total.frames += frames
      total.patches += patches
      total.unseen += unseen
    }
    await forAllAsync(9, run)
    await runMore([9, 90], () => Math.min(total.patches, total.unseen) <= 50, run)
    console.log(JSON.stringify(total))
    expect(total.patches).toBeGreaterThan(50)
    expect(total.unseen).toBeGreaterThan(50)
  })

  describe("controls: the same check fails if", () => {
    const mustFail = (message?: RegExp) => {
      const failed = expect(forAllAsync(1000, check)).rejects
      return message === undefined ? failed.toThrow(Violation) : failed.toThrow(message)
    }

    it("P1: scans are not restricted", async () => {
      vi.spyOn(guards(), "access").mockReturnValue(true)
      await mustFail()
    })

    it("P6: fields are not hidden", async () => {
      vi.spyOn(guards(), "hiddenFields").mockReturnValue([])
      await mustFail()
    })

    it("P4: the rows that conditions look up are not recorded", async () => {
      const { lookup } = guards()
      const { range } = ReadRecorder.prototype
      let isLookup = false
      vi.spyOn(guards(), "lookup").mockImplementation(function (this: unknown, ...args: Array<any>) {
        isLookup = true
        try {
          return lookup.apply(this, args)
        } finally {
          isLookup = false
        }
      })
      vi.spyOn(ReadRecorder.prototype, "range").mockImplementation(function (this: ReadRecorder, table, index, read) {
        if (!isLookup) range.call(this, table, index, read)
      })
      await mustFail()
    })

    it("P4: the caller is not recorded", async () => {
      vi.spyOn(ReadRecorder.prototype, "identity").mockImplementation(() => {})
      await mustFail()
    })

    it("P1: the text of a frame has the value before", async () => {
      const { frameFrom } = QueryResult.prototype
      vi.spyOn(QueryResult.prototype, "frameFrom").mockImplementation(function (this: QueryResult, base, version) {
        const frame = frameFrom.call(this, base, version)
        const text = (id: string) => `${frame.text(id).slice(0, -1)},"before":${base?.text ?? null}}`
        return Object.assign(Object.create(frame), { text })
      })
      await mustFail(/ tells /)
    })

    it("P1: a frame is sent after each run, whether or not the result changed", async () => {
      vi.spyOn(Subscription.prototype, "isDue", "get").mockReturnValue(true)
      await mustFail(/though nothing changed/)
    })

    it("P1: an answer has the version of the database", async () => {
      const { call } = ObjectHttp.prototype
      vi.spyOn(ObjectHttp.prototype, "call").mockImplementation(async function (this: any, ...args) {
        const { version } = this.options.live
        const { body, status } = await call.apply(this, args)
        return { status, body: `${body} ${version}` }
      })
      await mustFail(/is answered/)
    })
  })
})
