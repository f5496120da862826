/**
 * What gateway and objects ask the admin side of a deployment.
 * Apart from `Admin.ts`, which implements it: an app without an admin key does not have that.
 */
import type * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type { App } from "../../contract/App.ts"
import type { Identity } from "../../contract/Auth.ts"
import type { ObjectStub } from "../rpc/ObjectStub.ts"
import type { ActionRunner } from "./ActionRunner.ts"
import type { Tenancy } from "./Tenancy.ts"

/** Who may operate a deployment, as the author declares it with `Admin.make`. */
export interface AdminAccess {
  /** The app as objects run it. */
  readonly extend: <Rpcs extends Rpc.Any>(app: App<Rpcs>) => App<Rpcs>
  /** Answers a request to the admin path. */
  readonly respond: (request: AdminRequest) => Promise<Response>
}

/** A request to the admin path. */
export interface AdminRequest {
  readonly request: Request
  readonly app: App<any>
  readonly host: AdminHost
  /** Whether there can be a tenant of this name, in a deployment without a registry. */
  readonly exists: (tenant: string) => boolean
  /** The claims that the app declares; `undefined` when they do not fit. */
  readonly readClaims: (identity: Identity) => Identity["claims"] | undefined
  /** Counts a request that is refused. Returns the response when there were too many. */
  readonly refuse: () => Promise<Response | undefined>
}

/** What the platform does for the admin side. */
export interface AdminHost {
  readonly object: (name: string) => ObjectStub
  readonly tenancy?: Tenancy | undefined
  readonly actions: () => Promise<ActionRunner>
  readonly waitUntil: (work: Promise<unknown>) => void
  readonly run: <A>(effect: Effect.Effect<A>) => Promise<A>
}

/** Whether a path is that of the admin rpcs. The stock client ends it with a slash. */
export const isAdminPath = (path: string): boolean => path === "/admin/rpc" || path === "/admin/rpc/"
