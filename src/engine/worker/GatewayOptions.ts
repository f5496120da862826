/**
 * What the gateway is told by the author, by the platform and with each request.
 * Apart from `Gateway.ts`, so that the parts of the gateway need not know it.
 */
import type * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import type * as Layer from "effect/Layer"
import type { Identity } from "../../contract/Auth.ts"
import type { EventSocket } from "../../contract/Pubsub.ts"
import type { Request as RpcRequest } from "../../protocol/Messages.ts"
import type { Authenticator } from "../../services/Authenticator.ts"
import type { SystemCalls } from "../../services/SystemCalls.ts"
import type { ObjectStub } from "../rpc/ObjectStub.ts"
import type { RequestSession } from "../rpc/SessionHeader.ts"
import type { ActionRunner } from "./ActionRunner.ts"
import type { AdminAccess } from "./AdminAccess.ts"
import type { HttpQueries } from "./HttpQueries.ts"
import type { CorsOptions, Origins } from "./Origins.ts"
import type { CloseSocket } from "./Refusal.ts"
import type { AnswerRoute } from "./Routes.ts"
import type { Tenancy, TenantRegistry } from "./Tenancy.ts"

/** What the author decides: who is calling, who may enter which tenant, and who may read `explain`. */
export interface GatewayOptions {
  /**
   * Which tenants exist: a registry of `Tenants.registry`, or a function of their names. Every well-formed name unless
   * given. A name that is refused wakes no object.
   */
  readonly tenants?: ((name: string) => boolean) | TenantRegistry
  /**
   * Who is calling: one of the layers of `Auth`. Everybody is anonymous unless given. A caller who is refused gets 401; a
   * socket is then closed with 4401.
   */
  readonly auth?: Layer.Layer<Authenticator, unknown, AuthServices>
  /**
   * Who may enter which tenant. Unless given: everybody, without `auth`; with `auth` whose claim `tenants` lists the
   * tenant, and everybody whom `open` lets in. A caller who may not enter gets what a tenant that does not exist gets: 404,
   * or a socket that is closed with 4404.
   */
  readonly enter?: (caller: Entering) => boolean | Effect.Effect<boolean>
  /** Tenants that everybody may enter whom `auth` accepts, for example `["main"]`. None unless given; `enter` replaces it. */
  readonly open?: ReadonlyArray<string>
  /**
   * Lets clients read queries by `GET`, with an `ETag`, and live queries as Server-Sent Events: from `HttpQueries.make` of
   * `effect-dormouse/http`. Queries are called by `POST` and over sockets alone unless given.
   */
  readonly queries?: HttpQueries
  /** Which pages of other origins may read answers of `/rpc` and `/files`. None unless given. */
  readonly cors?: CorsOptions
  /**
   * Pages of which origins may open sockets and call `/rpc`, besides those of the deployment's own origin. Others get 403, a
   * socket is closed with 4403. All pages unless given. What is not a browser sends no origin, and is not concerned.
   */
  readonly origins?: Origins
  /**
   * Which requests may read `GET /rpc/explain`: what each live query of a tenant reads, which commit last invalidated it, how
   * often it ran and with how many unchanged results, and what it sent. None unless given.
   */
  readonly explain?: (request: Request) => boolean | Promise<boolean>
  /** Who may operate the deployment by the rpcs of `AdminApi`, from `Admin.make`. Nobody unless given. */
  readonly admin?: AdminAccess
}

/** A caller at the door of a tenant. */
export interface Entering {
  /** With all claims of the token, also those that the app's `identity` does not declare. */
  readonly identity: Identity
  readonly tenant: string
}

/** The services that a layer of `Auth` may require; the platform provides them. */
export type AuthServices = HttpClient.HttpClient | SystemCalls

/** What the platform does for the gateway. */
export interface GatewayHost {
  /** The author's `auth`, built. Everybody is anonymous without it. */
  readonly authenticator?: (() => Promise<Authenticator["Service"]>) | undefined
  /** The network address of a request, where the platform knows it. */
  readonly addressOf?: (request: Request) => string | undefined
  /** What time it is, in milliseconds. Without it the calls of a caller are counted by the object alone. */
  readonly now?: () => number
  /** The object of a tenant. */
  readonly object: (tenant: string) => ObjectStub
  /** The author's registry of tenants, opened here. */
  readonly tenancy?: Tenancy | undefined
  /** Calls of the deployment's own object. */
  readonly system: SystemCalls["Service"]
  readonly actions: () => Promise<ActionRunner>
  /** Runs the actions of a body apart from its other calls, and returns the texts of their messages. */
  readonly runApart: (
    requests: ReadonlyArray<RpcRequest>,
    session: RequestSession,
    signal: AbortSignal
  ) => Promise<ReadonlyArray<string>>
  /** Keeps what runs here alive for a while after the response. */
  readonly waitUntil: (work: Promise<unknown>) => void
  /** Runs an effect with the author's tracer and loggers. */
  readonly run: <A>(effect: Effect.Effect<A>) => Promise<A>
  /** Whether there is a tracer of the author's own. */
  readonly isTraced: boolean
  /** The socket that a response has opened, if it has. */
  readonly socketOf?: (response: Response) => EventSocket | undefined
  /** The author's routes, built. There are none without it. */
  readonly routes?: (() => Promise<AnswerRoute>) | undefined
  /** Opens a socket and closes it. Without this a socket is refused with the status alone. */
  readonly closeSocket?: CloseSocket
}

/** A request, and its session when that is known already. */
export interface GatewayRequest {
  readonly request: Request
  /** The session of an object, or of a Worker, that has actions run in this request. */
  readonly trustedSession?: RequestSession | undefined
  /** Whether the messages of these actions are collected for one body. */
  readonly isCollected?: boolean | undefined
  /** The session of a socket whose object has a new token verified, which is the token of this request. */
  readonly renews?: RequestSession | undefined
}
