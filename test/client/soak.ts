import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { Outbox } from "effect-dormouse/client"
import type { Random } from "../random.ts"
import {
  History,
  type MarkRow,
  type MarksClient,
  outcomeOf,
  type StockClient,
  StockUser,
  type Tally,
  User
} from "./users.ts"

/**
 * A soak: users with Dormouse's client, with and without an outbox, and users with Effect's own client call, mutate and
 * watch one object, while it is evicted and lost and connections are cut and held. At quiet points, and in the end, what
 * they show and what they were answered is compared with the database.
 */

/** Where a soak runs. */
export interface World {
  /** A client of Dormouse. */
  readonly client: (options: { readonly outbox?: Outbox.Outbox }) => Effect.Effect<MarksClient, never, Scope.Scope>
  /** A client of Effect. */
  readonly stock: (kind: "http" | "socket") => Effect.Effect<StockClient, never, Scope.Scope>
  /** How many mutations the database has now, where that can be known at once. */
  readonly tick?: () => number
  /** What the database has. */
  readonly database: Effect.Effect<{ readonly rows: ReadonlyArray<MarkRow>; readonly tick: number }>
  /** Lets some messages arrive, or some time pass. */
  readonly pass: (random: Random) => Effect.Effect<void>
  /** What can go wrong, by name. */
  readonly disturbances: Readonly<Record<string, (random: Random) => Effect.Effect<void>>>
  /** Breaks the server before each step, to prove that a check can fail. */
  readonly sabotage?: Effect.Effect<void>
  /** Ends all disturbances: connections can be made, and nothing is held. */
  readonly calm: Effect.Effect<void>
  /**
   * Lets time pass at a quiet point, after so many looks, the latest of which found only values that are wrong. Returns
   * whether there is time for another.
   */
  readonly wait: (looks: number, wrongLooks: number) => Effect.Effect<boolean>
}

/** A user whose mutations outlive its pages. */
interface PagedUser {
  readonly user: User
  readonly storage: Context.Service.Shape<typeof Outbox.OutboxStorage>
  scope: Scope.Closeable
}

/** How long and how rough a soak is. */
export interface Options {
  /** There is a quiet point after each 60. */
  readonly steps: number
  /** How often what can go wrong does, from 0 to 1. Either often or not, at random, unless given. */
  readonly roughness?: number
}

const stepsToQuiet = 60

/** Runs a soak. Fails with the first violation and the steps that led to it. */
export const soak = (world: World, random: Random, tally: Tally, options: Options) =>
  Effect.gen(function* () {
    const { roughness = random.pick([0.2, 1]), steps } = options
    const history = new History(world.tick ?? ((): number => history.seen), tally)
    const scope = yield* Effect.scope

    const openPage = (paged: Pick<PagedUser, "storage" | "user">) =>
      Effect.gen(function* () {
        const page = yield* Scope.fork(scope)
        const onReplayed = ({ exit, payload }: Outbox.Replayed) =>
          Effect.sync(() => {
            const { marker } = payload as MarkRow
            const call = paged.user.calls.find((call) => call.marker === marker)
            if (call === undefined) return history.broken(`a page sent ${marker}, which nobody called`)
            call.outcome = outcomeOf(exit)
            history.count("replayed")
            history.ended(call, exit)
          })
        const outbox = Outbox.make({ storage: paged.storage, onReplayed })
        paged.user.client = yield* Scope.provide(world.client({ outbox }), page)
        return page
      })

    /** Closes the page of a user. The next one sends what it left. */
    const turnPage = (paged: PagedUser) =>
      Effect.gen(function* () {
        const { storage, user } = paged
        for (const query of [...user.watched]) query.end()
        const left = user.calls.filter(({ outcome }) => outcome === "pending")
        yield* Scope.close(paged.scope, Exit.void)
        for (const call of left) yield* Fiber.interrupt(call.fiber)
        const stored = new Set((yield* storage.entries).map(({ payload }) => (payload as MarkRow).marker))
        for (const call of left) {
          // Nobody waits until the values of the next page contain it.
          call.isPatient = false
          // What is not stored any more has ended, and the page was closed before it said how.
          if (call.outcome === "pending" || call.outcome === "interrupted") {
            call.outcome = stored.has(call.marker) ? "pending" : "interrupted"
          }
        }
        paged.scope = yield* openPage(paged)
      })

    const plain = new User(history, "p", yield* world.client({}))
    const storage = Context.get(yield* Layer.build(Outbox.layerMemory), Outbox.OutboxStorage)
    const withOutbox = new User(history, "q", plain.client)
    const paged: PagedUser = { user: withOutbox, storage, scope: yield* openPage({ user: withOutbox, storage }) }
    history.users.push(plain, withOutbox)
    for (const name of ["s", "t"]) {
      const clients = { http: yield* world.stock("http"), socket: yield* world.stock("socket") }
      history.stock.push(new StockUser(history, name, clients))
    }
    yield* Effect.addFinalizer(() =>
      Effect.gen(function* () {
        for (const { watched } of history.users) for (const query of [...watched]) query.end()
        for (const user of history.stock) for (const query of [...user.watched]) yield* user.unwatch(query)
      })
    )

    /** What keeps the present moment from being quiet: something is under way, or a value is wrong. */
    const unrest = Effect.gen(function* () {
      if (history.failure !== undefined) throw history.failure
      const [call] = history.pending
      if (call !== undefined) return { what: `${call.marker} never ended`, isWrong: false }
      const [entry] = yield* storage.entries
      if (entry !== undefined) return { what: `${JSON.stringify(entry.payload)} is in the outbox`, isWrong: false }
      const disconnected = history.disconnected()
      if (disconnected !== undefined) return { what: disconnected, isWrong: false }
      const { rows, tick } = yield* world.database
      const what = history.difference(rows, tick)
      return what === undefined ? undefined : { what, isWrong: true }
    })
    const quiet = Effect.gen(function* () {
      history.trace.push("calm")
      yield* world.calm
      let found = yield* unrest
      for (let looks = 1, wrong = 0; found !== undefined; looks++) {
        wrong = found.isWrong ? wrong + 1 : 0
        if (!(yield* world.wait(looks, wrong))) history.wrong(`at a quiet point, ${found.what}`)
        found = yield* unrest
      }
      const { rows, tick } = yield* world.database
      history.checkRows(rows)
      history.checkValues(rows, tick)
      history.checkStates()
      history.checkVanished()
      history.count("quiet")
    })

    for (let i = 0; i < steps; i++) {
      if (world.sabotage !== undefined) yield* world.sabotage
      const event = random.int(100)
      const user = random.pick(history.users)
      const stock = random.pick(history.stock)
      const log = (what: string) => {
        history.trace.push(`${i} ${what}`)
        history.count(what.split(" ")[0]!)
      }
      if (event < 40) {
        yield* world.pass(random)
      } else if (event < 52) {
        log(`mutate ${user.name}`)
        yield* user.mutate(random)
      } else if (event < 62) {
        log(`mutate ${stock.name}`)
        yield* stock.mutate(random)
      } else if (event < 68) {
        log(`ask ${stock.name}`)
        yield* stock.ask(random)
      } else if (event < 74) {
        log(`watch ${user.name}`)
        if (user.watched.size < 5) user.watch(random)
      } else if (event < 78) {
        log(`watch ${stock.name}`)
        if (stock.watched.size < 4) yield* stock.watch(random)
      } else if (event < 80) {
        log(`unwatch ${user.name}`)
        random.pick([...user.watched, undefined])?.end()
      } else if (event < 82) {
        log(`unwatch ${stock.name}`)
        const query = random.pick([...stock.watched, undefined])
        if (query !== undefined) yield* stock.unwatch(query)
      } else if (event < 84) {
        const call = random.pick([...plain.calls, undefined])
        log(`interrupt ${call?.marker}`)
        if (call?.outcome === "pending") yield* Effect.forkDetach(Fiber.interrupt(call.fiber))
      } else if (event < 86) {
        log("page")
        yield* turnPage(paged)
      } else if (!random.chance(roughness)) {
        yield* world.pass(random)
      } else {
        const name = random.pick(Object.keys(world.disturbances))
        log(name)
        yield* world.disturbances[name]!(random)
      }
      history.checkVanished()
      if ((i + 1) % stepsToQuiet === 0) yield* quiet
    }
    yield* quiet
  })
