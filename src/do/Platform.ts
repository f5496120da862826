/**
 * What the classes of a deployment show of the Workers platform, as types of our own: their declarations need no others.
 * The platform's own types, and those that wrangler generates, fit them.
 */
import type { DurableObjectSql } from "../layers/cloudflare/Database.ts"
import type { ObjectSocket } from "../layers/cloudflare/SocketHost.ts"

declare global {
  namespace Cloudflare {
    /** The bindings of a Worker. `wrangler types` declares yours. */
    interface Env {}
  }
}

/**
 * `ctx` of an object. A class that needs more of it declares it again:
 * `declare protected readonly ctx: DurableObjectState`.
 */
export interface ObjectState {
  readonly id: { toString(): string; readonly name?: string | undefined }
  readonly storage: DurableObjectSql & ObjectStorage
  readonly exports?: unknown
  waitUntil(work: Promise<any>): void
  blockConcurrencyWhile<A>(body: () => Promise<A>): Promise<A>
  acceptWebSocket(socket: ObjectSocket): void
  getWebSockets(): Array<ObjectSocket>
  getWebSocketAutoResponseTimestamp(socket: ObjectSocket): Date | null
  setWebSocketAutoResponse(pair?: { readonly request: string; readonly response: string }): void
  abort(reason?: string): void
}

/** What is used of an object's storage besides SQL. */
interface ObjectStorage {
  readonly sql: { readonly databaseSize: number }
  deleteAll(): Promise<void>
  getAlarm(): Promise<number | null>
  setAlarm(at: number): Promise<void>
  deleteAlarm(): Promise<void>
}

/** `ctx` of the Worker. A class that needs more of it declares it again: `declare protected readonly ctx: ExecutionContext`. */
export interface WorkerContext<Props = unknown> {
  readonly exports?: unknown
  readonly props?: Props
  waitUntil(work: Promise<any>): void
  passThroughOnException(): void
}

/** `DurableObject` of `cloudflare:workers`, which is the class behind it. */
declare abstract class ObjectBase {
  /** By this the platform's types know a class of Durable Objects. */
  readonly __DURABLE_OBJECT_BRAND: never
  protected readonly ctx: ObjectState
  protected readonly env: Cloudflare.Env
  constructor(ctx: ObjectState, env: Cloudflare.Env)
  fetch(request: Request): Response | Promise<Response>
  webSocketMessage(socket: ObjectSocket, data: string | ArrayBuffer): void | Promise<void>
  webSocketClose(socket: ObjectSocket, code: number, reason: string, wasClean: boolean): void | Promise<void>
  webSocketError(socket: ObjectSocket, error: unknown): void | Promise<void>
  alarm?(info?: any): void | Promise<void>
}

/** `WorkerEntrypoint` of `cloudflare:workers`, which is the class behind it. */
declare abstract class WorkerBase<Props = unknown> {
  /** By this the platform's types know a class of Workers. */
  readonly __WORKER_ENTRYPOINT_BRAND: never
  protected readonly ctx: WorkerContext<Props>
  protected readonly env: Cloudflare.Env
  constructor(ctx: WorkerContext, env: Cloudflare.Env)
  fetch(request: Request): Response | Promise<Response>
  email?(message: any): void | Promise<void>
  queue?(batch: any): void | Promise<void>
  scheduled?(controller: any): void | Promise<void>
  tail?(events: any): void | Promise<void>
}

export type { ObjectBase, ObjectSocket, WorkerBase }
