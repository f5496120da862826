/// <reference types="node" />
import { DatabaseSync } from "node:sqlite"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as EffectRandom from "effect/Random"
import * as Scope from "effect/Scope"
import type { App } from "effect-dormouse"
import { ActionHost } from "../../src/engine/object/ActionRelay.ts"
import * as TenantEngine from "../../src/engine/object/TenantEngine.ts"
import * as MemoryDatabase from "../../src/layers/memory/Database.ts"
import { Alarm } from "../../src/services/Alarm.ts"
import { Background } from "../../src/services/Background.ts"
import { Database } from "../../src/services/Database.ts"
import { type HostSocket, SocketHost } from "../../src/services/SocketHost.ts"

/** The keys of a table's rows; none before the first write, which creates the table. */
export const idsIn = (sqlite: DatabaseSync, table: string): ReadonlyArray<string | number> =>
  sqlite.prepare("SELECT 1 FROM sqlite_master WHERE name = ?").get(table) === undefined
    ? []
    : sqlite
        .prepare(`SELECT id FROM ${table}`)
        .all()
        .map(({ id }) => id as string | number)

/** A clock that stands still, and randomness that always draws the same: two runs of a call are equal to the byte. */
export const fixedContext = Layer.mergeAll(
  Logger.layer([]),
  Layer.succeed(EffectRandom.Random, { nextIntUnsafe: () => 123_456_789, nextDoubleUnsafe: () => 0.5 }),
  Layer.succeed(Clock.Clock, {
    currentTimeMillisUnsafe: () => 1_700_000_000_000,
    currentTimeMillis: Effect.succeed(1_700_000_000_000),
    currentTimeNanosUnsafe: () => 1_700_000_000_000_000_000n,
    currentTimeNanos: Effect.succeed(1_700_000_000_000_000_000n),
    monotonicTimeNanosUnsafe: () => 0n,
    monotonicTimeNanos: Effect.succeed(0n),
    sleep: () => Effect.never
  })
)

/** An engine over an empty database, without any platform around it: what it defers runs when the test says so. */
export interface EngineHarness {
  readonly engine: TenantEngine.TenantEngine
  readonly sqlite: DatabaseSync
  readonly context: Context.Context<never>
  readonly sockets: Set<HostSocket>
  /** The timers that run. The test runs them. */
  readonly timers: Set<{ readonly millis: number; readonly task: () => void }>
  /** The times to which the alarm was set. */
  readonly alarms: Array<number>
  /** Runs the tasks that are deferred now, as the next turn of the event loop does. */
  readonly nextTurn: () => void
  /** Runs the tasks for an idle object that are there now. */
  readonly idleTurn: () => void
  /** Runs the deferred tasks, and then those for an idle object, until there are none. */
  readonly idle: () => void
  readonly close: () => Promise<void>
}

export const makeEngine = async (
  app: App.App<any>,
  options: Partial<TenantEngine.TenantEngineOptions> & {
    readonly layer?: Layer.Layer<never>
    /** A database that another engine has left, with the sockets that are open. */
    readonly sqlite?: DatabaseSync
    readonly sockets?: Set<HostSocket>
  } = {}
): Promise<EngineHarness> => {
  const { layer = Layer.empty, sockets = new Set<HostSocket>(), sqlite: given, ...engineOptions } = options
  const scope = Scope.makeUnsafe()
  const sqlite = given ?? new DatabaseSync(":memory:", { enableForeignKeyConstraints: true })
  const alarms: Array<number> = []
  const tasks: Array<() => void> = []
  const idleTasks = new Set<() => void>()
  const defer = (task: () => void) => void tasks.push(task)
  const timers: EngineHarness["timers"] = new Set()
  let ids = 0
  const context = await Effect.runPromise(Scope.provide(Layer.build(Layer.merge(fixedContext, layer)), scope))
  const host = Layer.mergeAll(
    Layer.succeed(Database, MemoryDatabase.make(sqlite)),
    Layer.succeed(Background, {
      defer,
      whenIdle: (task) => void idleTasks.add(task),
      after: (millis, task) => {
        const timer = { millis, task }
        timers.add(timer)
        return () => timers.delete(timer)
      },
      waitUntil: () => {}
    }),
    Layer.succeed(SocketHost, { sockets: () => sockets, newId: () => `socket-${ids++}` }),
    Layer.succeed(Alarm, { set: (at) => void alarms.push(at), confirm: (at) => void alarms.push(at) }),
    Layer.succeed(ActionHost, {
      runAction: () => {
        throw new Error("no actions here")
      },
      renewSession: () => Promise.reject(new Error("no Worker here"))
    })
  )
  const engine = await Effect.runPromiseWith(context)(
    TenantEngine.make(app, { now: () => 1, ...engineOptions }).pipe(Effect.provide(host), Scope.provide(scope))
  )
  const idleTurn = () => {
    for (const task of idleTasks) {
      idleTasks.delete(task)
      task()
    }
  }
  return {
    engine,
    sqlite,
    context,
    sockets,
    timers,
    alarms,
    nextTurn: () => {
      for (const task of tasks.splice(0)) task()
    },
    idleTurn,
    idle: () => {
      while (tasks.length + idleTasks.size > 0) {
        while (tasks.length > 0) tasks.shift()!()
        idleTurn()
      }
    },
    close: async () => {
      await Effect.runPromise(Scope.close(scope, Exit.void))
      if (given === undefined) sqlite.close()
    }
  }
}

/** A socket that keeps what was sent to it. */
export class KeepingSocket implements HostSocket {
  readonly messages: Array<any> = []
  closed: { readonly code: number; readonly reason: string } | undefined
  private attached: unknown = null

  send(text: string): void {
    const parsed = JSON.parse(text)
    this.messages.push(...(Array.isArray(parsed) ? parsed : [parsed]))
  }

  close(code: number, reason: string): void {
    this.closed = { code, reason }
  }

  pingedAt() {
    return undefined
  }

  attachment(): unknown {
    return this.attached
  }

  attach(value: unknown): void {
    this.attached = value
  }
}
