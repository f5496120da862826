/**
 * What gateway and objects ask a registry of tenants: which tenants exist, who administers them, and where they are stored.
 * Apart from `Tenants.ts`, which implements it: an app without a registry does not have that.
 */
import type * as Effect from "effect/Effect"
import type { App } from "../../contract/App.ts"
import type * as Page from "../../contract/Page.ts"
import type { CallError } from "../../protocol/CallError.ts"
import type { Verified } from "../../services/Authenticator.ts"
import type { GateHost, TenantGate } from "../../services/TenantGate.ts"
import type { TenantChange } from "../../system/TenantRecords.ts"
import type { NoSuchTenant, Tenant, TenantExists } from "../../system/TenantsApi.ts"
import type { ObjectStub } from "../rpc/ObjectStub.ts"
import type { RequestSession } from "../rpc/SessionHeader.ts"
import type { ActionRunner } from "./ActionRunner.ts"

/** What a platform gives the registry: how to reach objects, by their names, and how to run effects. */
export interface TenancyHost {
  readonly object: (name: string) => ObjectStub
  readonly run: <A>(effect: Effect.Effect<A>) => Promise<A>
  /** The app that the tenants run. */
  readonly app: TenantApp
  /** Deletes the bytes of the files of an object, in an app that has files. */
  readonly removeFiles?: ((object: string) => Promise<void>) | undefined
}

/** The part of the tenants' app that the registry knows: what makes its version. */
export type TenantApp = Pick<App<any>, "tables" | "migrations" | "droppedTables">

/** A registry of tenants, as the author declares it with `Tenants.registry`. */
export interface TenantRegistry {
  /** The app of the object `~tenants`. `tenants` is the app that the tenants run. */
  readonly app: (tenants: TenantApp) => App<any>
  /** What the object of a tenant knows of itself. `registry` is the stub of `~tenants`. */
  readonly gate: (host: GateHost, app: TenantApp, registry: Pick<ObjectStub, "call">) => TenantGate
  /** Opens the registry in a Worker. */
  readonly open: (host: TenancyHost) => Tenancy
}

/** A registry in a Worker. */
export interface Tenancy {
  /** The app of the object `~tenants`, and what runs its actions. */
  readonly app: App<any>
  readonly actions: () => Promise<ActionRunner>
  /** The session of a caller who may reach the registry itself; `undefined` for anybody else. */
  readonly admit: (caller: Verified) => Promise<RequestSession | undefined>
  /**
   * The object that stores a tenant, or the response that refuses: there is no such tenant, or it could not be looked up.
   * Only for callers who may enter: it may create the tenant. `waitUntil` keeps alive what is done beside that.
   */
  readonly find: (name: string, waitUntil: (work: Promise<unknown>) => void) => Promise<string | Response>
  /** What whoever operates the deployment does with its tenants. */
  readonly operate: TenancyOperations
  /**
   * The object of a tenant that was found, for one request. When the object refuses because the name was given to another
   * object meanwhile, it is looked up again; each method rejects with `Missing` when there is no such tenant any more.
   */
  readonly stub: (session: RequestSession, waitUntil: (work: Promise<unknown>) => void) => EnteredStub
}

/** What whoever operates a deployment does with its tenants. */
export interface TenancyOperations {
  /** The object of a tenant that is active, looked up anew. Creates none. */
  readonly find: (
    name: string,
    waitUntil: (work: Promise<unknown>) => void
  ) => Effect.Effect<string | undefined, CallError>
  readonly list: (page: Pick<Page.Request, "size" | "after">) => Effect.Effect<Page.Of<Tenant>, CallError>
  /** Changes a tenant, and returns when its object has the change. */
  readonly change: (change: TenantChange) => Effect.Effect<Tenant, NoSuchTenant | TenantExists | CallError>
}

/** The object of a tenant that a caller has entered. */
export interface EnteredStub extends ObjectStub {
  /** Asks the object whether it is still that tenant's: for what runs without it. */
  readonly verify: () => Promise<void>
}

/** There is no such tenant: the lookup that said so was out of date. */
export class Missing extends Error {}

/** The status by which an object says that it is not the object of the tenant that a call names. */
export const missingStatus = 404

/** The registry in an author's option `tenants`, which may also be a function of names. */
export const registryOf = (
  tenants: TenantRegistry | ((name: string) => boolean) | undefined
): TenantRegistry | undefined => (typeof tenants === "object" ? tenants : undefined)
