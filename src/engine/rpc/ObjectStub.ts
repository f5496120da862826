/**
 * A tenant's object as the Worker sees it.
 * Everything that crosses between the two is in this interface.
 */
import type { Plan, TargetData } from "../../contract/MigrationPlan.ts"
import type { TenantMigration, TenantUpdate } from "../../services/TenantGate.ts"
import type { RequestSession } from "./SessionHeader.ts"

/** What an object answers to a body of requests. */
export interface ObjectAnswer {
  readonly status: number
  /** The text of the messages, or of the error. */
  readonly body: string
  /** Milliseconds after which calls that were refused may be accepted. */
  readonly retryAfter?: number
}

/** A request for the value of a query. */
export interface ValueRequest {
  readonly tag: string
  /** The encoded payload. It was checked to be within the limits of requests. */
  readonly payload: unknown
  /** The hashes of the values that the caller has. `*` stands for any. */
  readonly have: ReadonlyArray<string>
}

/** The value of a query: 200 with its JSON, 304 when the caller has it. Otherwise `body` is the JSON of the failed exit. */
export interface ObjectValue extends ObjectAnswer {
  /** Stands for the value. */
  readonly hash?: string
  /** Whether the value may be another one for another caller. */
  readonly isPersonal?: boolean
}

/** A tenant's object. Each method rejects when the object cannot be reached or cannot start. */
export interface ObjectStub {
  /**
   * Answers the requests in the text of a body. `isRewritten` says that the text was made of requests within the limits,
   * and is not what their client sent.
   */
  readonly call: (session: RequestSession, body: string, isRewritten?: boolean) => Promise<ObjectAnswer>
  /** The value of a query. */
  readonly readQuery: (session: RequestSession, request: ValueRequest) => Promise<ObjectValue>
  /** Opens a socket: a response with status 101. */
  readonly connect: (session: RequestSession, headers: Record<string, string>) => Promise<Response>
  /** What each live query reads and costs. */
  readonly explain: (session: RequestSession) => Promise<unknown>
  /** What a start changes in the database: of the version that runs, or of one that declares `target`. Changes nothing. */
  readonly plan: (target?: TargetData) => Promise<Plan>
  /** Tells the object its name and state. Only for objects of apps with a registry of tenants. */
  readonly update?: (update: TenantUpdate) => Promise<void>
  /** Starts the object, and answers how far its migration is. Only for objects of apps with a registry of tenants. */
  readonly migrate?: () => Promise<TenantMigration>
}
