import type { Peer } from "../deployment/Deployment.ts"
import type { Issuer } from "./callers.ts"
import type { Sent } from "./requests.ts"

/** What answers a request: a response, or a socket. */
export type Answer = { readonly response: Response } | { readonly peer: Peer }

/** A deployment as the fuzzer sees it: everything that reaches its front door, and what it lets through. */
export interface Door {
  readonly issuer: Issuer
  /** A request as the platform's own client sends it. */
  readonly normalized?: (request: Sent) => Sent
  /** Sends a request. */
  readonly send: (request: Sent) => Promise<Answer>
  /** How many events have reached the object of a tenant. */
  readonly reached: (tenant: string) => number
  /** Whether the app declares who may be calling: claims of other names then do not get in. */
  readonly isDeclared: boolean
  /** Whether `reached` counts nothing but what the Worker does for a request before it is answered. */
  readonly isExact: boolean
  /** Evicts the heap of a tenant's object. Its sockets stay open. */
  readonly evict?: (tenant: string) => Promise<void>
  /** What is left in the object of a tenant, once nothing is under way there: open sockets, and live queries. */
  readonly left?: (tenant: string) => Promise<{ readonly sockets: number; readonly queries: number }>
  readonly close: () => Promise<void>
}
