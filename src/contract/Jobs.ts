/**
 * What an app has that schedules jobs and consumes queues, and what it needs of the engine that runs it.
 * `Jobs.make` of `effect-dormouse/jobs` makes it: an app without jobs does not bundle it.
 */
import type * as Context from "effect/Context"
import type * as Layer from "effect/Layer"
import type { EncodedExit } from "../protocol/Exit.ts"
import type * as Api from "./Api.ts"
import type { Identity } from "./Auth.ts"
import type { Calls } from "./CallsTag.ts"
import type { Declared } from "./Cron.ts"
import type { Consumer } from "./Queue.ts"
import type { Any, Expiring, SqlValue } from "./Transactional.ts"

/** The jobs and queues of an app. `R` is what the handlers of its queues require. */
export interface Jobs<out R = unknown> {
  readonly crons: ReadonlyArray<Declared>
  readonly queues: ReadonlyArray<Consumer<R>>
  /** The outbox of the handlers of queries and mutations. */
  readonly transactional: ReadonlyArray<Any>
  /** The rpcs by which an action writes the outbox, and their handlers in the object. */
  readonly api: Api.Declared<any>
  readonly handlers: Layer.Layer<never, never, any>
  /** The outbox of an action and what else jobs give it, over its calls of `api`. */
  readonly servicesOver: (calls: Calls["Service"]) => Context.Context<any>
  /** Begins to deliver, for one object: also the messages of queues that the app's other parts have. */
  readonly open: (host: JobsHost, broker?: Broker, more?: ReadonlyArray<Consumer<unknown>>) => JobsRuntime
}

/**
 * Carries the calls of some queues from objects to where their handlers run. It may lose, repeat, delay and reorder them: the
 * rows of the outbox say what there is to do, and a call that arrives only says where to ask for it.
 */
export interface Broker {
  /** The names of the queues that it carries. */
  readonly queues: ReadonlySet<string>
  /** Takes calls. Rejects when it did not take all of them. */
  readonly send: (queue: string, calls: ReadonlyArray<CarriedCall>) => Promise<void>
}

/** What a broker carries of a call: the object that has it, and its id. */
export interface CarriedCall {
  /** The tenant, as its callers name it. */
  readonly tenant: string
  /** The name of the tenant's object, when a registry of tenants gave it one of its own. */
  readonly object?: string | undefined
  readonly queue: string
  readonly call: string
}

/** The deliveries of one object, as its engine drives them. */
export interface JobsRuntime {
  /** The object has started. */
  readonly start: () => void
  /** The alarm went off, or the tenant may be used again. */
  readonly wake: () => void
  /** A transaction committed. `wrote` tells whether it wrote a table. */
  readonly committed: (wrote: (table: string) => boolean) => void
  /** A turn ends: what is set now is committed with it. */
  readonly endTurn: () => void
}

/** A call that was promised. */
export interface PromisedCall {
  readonly id: number
  /** The tag of the rpc. */
  readonly target: string
  readonly payload: unknown
  readonly caller: Identity
  /** The trace and the span of the call that promised it. */
  readonly span: readonly [traceId: string, spanId: string] | null
}

/** What a transaction does before and after the handler of a mutation that was promised. */
export interface Around {
  /** Throws when the call is not due any more: it was removed, or given another time. */
  readonly begin: () => void
  /** Ends the entry, with the services of the transaction. */
  readonly end: (context: Context.Context<any>) => void
}

/** What deliveries need of the object that they run in. */
export interface JobsHost {
  /** Reads rows of the outbox. */
  readonly rows: (sql: string, params: ReadonlyArray<SqlValue>) => ReadonlyArray<ReadonlyArray<SqlValue>>
  /** Whether nothing was ever written: there are no tables then. */
  readonly isUnwritten: () => boolean
  /** Runs a task after the first write. */
  readonly whenWritten: (task: () => void) => void
  /** Runs a body in a transaction, with its services. Nothing is returned when it was rolled back. */
  readonly transaction: <A>(body: (context: Context.Context<any>) => A) => A | undefined
  /** Runs a mutation in a transaction. Returns how it ended, a promise when middleware waits. */
  readonly mutate: (call: PromisedCall, around: Around) => EncodedExit | undefined | Promise<EncodedExit | undefined>
  /** Has an action run outside of the object. `undefined` when it ended without an exit. */
  readonly act: (call: PromisedCall, signal: AbortSignal) => Promise<EncodedExit | undefined>
  /** Rows of other services that the alarm deletes when they have ended. */
  readonly expiring: ReadonlyArray<Expiring>
  /** Sets the alarm; `confirm` unless it is set to this time already. */
  readonly alarm: { readonly set: (at: number) => void; readonly confirm: (at: number) => void }
  /** The tenant, as its callers name it, and its object. */
  readonly session: () => Pick<CarriedCall, "tenant" | "object">
  /** Runs a task in a later turn, after the commit of this one. */
  readonly defer: (task: () => void) => void
  /** Runs a task after some milliseconds. Returns the function that cancels it. */
  readonly after: (millis: number, task: () => void) => () => void
  /** Keeps the object awake until the promise settles. */
  readonly waitUntil: (work: Promise<unknown>) => void
  /** Milliseconds since the epoch. */
  readonly time: () => number
  /** Runs a body as a turn of the object. */
  readonly turn: (body: () => void) => void
  /** Whether anything may be delivered now: not for a tenant that is suspended. */
  readonly isOpen: () => boolean
  readonly log: (message: string, detail: unknown) => void
}
