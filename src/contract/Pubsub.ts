/**
 * What an app has that publishes, and what it needs of the engine that runs it.
 * `Pubsub.make` of `effect-dormouse/pubsub` makes it: an app without topics does not bundle it.
 */
import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import type { EncodedExit } from "../protocol/Exit.ts"
import type * as Api from "./Api.ts"
import type { Identity } from "./Auth.ts"
import type { Calls } from "./CallsTag.ts"
import type { JobsHost } from "./Jobs.ts"
import type { Publisher } from "./Publisher.ts"
import type { After } from "./TopicHistory.ts"
import type { Any, ChangeRecorder, InternalTable, SqlValue, Tx } from "./Transactional.ts"

/** The topics of an app. */
export interface Pubsub {
  /** The rpcs by which an action publishes, and their handlers in the object. */
  readonly api: Api.Declared<any>
  readonly handlers: Layer.Layer<never, never, any>
  /** The publisher of an action, over its calls of `api`. */
  readonly servicesOver: (calls: Calls["Service"]) => Context.Context<Publisher>
  /** Answers requests for Server-Sent Events, if the app has any. */
  readonly events?: Events | undefined
  /** The topics of one object, before its engine is made. */
  readonly open: (app: Opened) => PubsubRuntime
}

/** Topics as Server-Sent Events, from `EventStream.make`. */
export interface Events {
  /** The tag of the topic that an URL names. */
  readonly tagOf: (url: URL) => string | undefined
  /** Answers a request of a caller who may be here. */
  readonly respond: (request: Request, tag: string, host: EventHost) => Promise<Response>
}

/** What a stream of events needs of the Worker. */
export interface EventHost {
  /** Opens a socket to the tenant's object as the caller, or answers why not. */
  readonly connect: () => Promise<EventSocket | Response>
  readonly waitUntil: (work: Promise<unknown>) => void
  readonly run: <A>(effect: Effect.Effect<A>) => Promise<A>
}

/** A socket to the object, as far as a stream of events uses it. */
export interface EventSocket {
  readonly readyState: number
  readonly addEventListener: (type: "open" | "message" | "close" | "error", listener: (event: any) => void) => void
  readonly send: (text: string) => void
  readonly close: (code?: number) => void
}

/** What topics need to know of their app. */
export interface Opened {
  readonly api: Api.Declared<any>
  /** The names of the tables with policies. */
  readonly guarded: ReadonlySet<string>
}

/** The change feeds of an app, from `ChangeLog.make` of `effect-dormouse/changes`. */
export interface Changes {
  /** The feeds of one object. */
  readonly open: (
    feeds: ReadonlyArray<Rpc.AnyWithProps>,
    host: () => PubsubHost,
    guarded: ReadonlySet<string>
  ) => TopicSource
}

/** Topics whose readers are served from something stored. */
export interface TopicSource {
  readonly tables: ReadonlyArray<InternalTable>
  readonly recorder: ChangeRecorder
  readonly asked: (payload: unknown) => Asked | EncodedExit
  readonly newest: (tx: Tx) => After
  readonly open: (reader: ReaderHost, topic: string, from: From) => Reader
  /** Serves the readers that are due. Returns whether there was one. */
  readonly deliver: () => boolean
}

/** The topics of one object, as its engine drives them. */
export interface PubsubRuntime {
  readonly transactional: ReadonlyArray<Any>
  /** For each topic the query that decides who may read it. */
  readonly access: RpcGroup.RpcGroup<Rpc.Any>
  /** The handlers, with those of `access`. */
  readonly withAccess: (handlers: Context.Context<never>) => Context.Context<never>
  /** The engine can run turns now. */
  readonly start: (host: PubsubHost) => void
  /** What a request for a topic asks of its query of `access`, and where its reader begins; or the exit that refuses it. */
  readonly asked: (tag: string, payload: unknown) => Asked | EncodedExit
  /** Somebody reads. The tag is that of a query of `access`. */
  readonly open: (reader: ReaderHost, tag: string, payload: unknown, from: From) => Reader
  /** Sends what was published. Returns whether there was something. */
  readonly deliver: () => boolean
  /** The object's alarm, which presence needs as well, for its other user. */
  readonly share: (alarm: JobsHost["alarm"]) => JobsHost["alarm"]
  /** The alarm went off. */
  readonly wake: () => void
}

/** What topics need of the object that they are in. */
export interface PubsubHost {
  /** Runs a turn later; `deliver` is called at its end. */
  readonly deliverLater: () => void
  /** What queries have read under this name has changed. */
  readonly changed: (table: string, key: string) => void
  /** Milliseconds since the epoch. */
  readonly time: () => number
  /** Runs a statement that reads, outside of transactions. */
  readonly rows: (sql: string, params: ReadonlyArray<SqlValue>) => ReadonlyArray<ReadonlyArray<SqlValue>>
  /** Runs an effect as a reading transaction of a caller. */
  readonly read: <A, E>(identity: Identity, effect: Effect.Effect<A, E, any>) => Exit.Exit<A, E>
  /** Whether the app has policies. */
  readonly isGuarded: boolean
  readonly log: (message: string, cause: unknown) => void
}

/** A request for a topic. */
export interface Asked {
  /** The payload of the query that decides. */
  readonly payload: unknown
  /** Where its reader begins. */
  readonly after?: string | undefined
}

/** Where a reader begins: where its request says, or after hibernation where it was. */
export interface From {
  readonly after?: string | undefined
  /** What it last gave `progress`. */
  readonly progress?: number | undefined
}

/** What a reader needs of its socket. */
export interface ReaderHost {
  /** Sends items of the stream, given as texts. */
  readonly send: (items: ReadonlyArray<string>) => void
  /** Saves a number of the reader's: how many messages would be lost with the heap, or where it is in a history. */
  readonly progress: (value: number) => void
  /** Ends the stream. */
  readonly end: (exit: EncodedExit) => void
  /** Names the socket. */
  readonly id: string
  /** Who the caller is now. */
  readonly identity: () => Identity
  /** When the client was last heard of, in milliseconds since the epoch. */
  readonly seenAt: () => number | undefined
  /** Closes the socket, whose client is lost. */
  readonly drop: () => void
}

/** One subscription to a topic. */
export interface Reader {
  /** It may read: what is published from now on is for it. */
  readonly granted: () => void
  /** The client has acknowledged what was sent. */
  readonly acknowledged: () => void
  /** It is restored after hibernation, before which it could read and gave `progress` this number. */
  readonly restored: (progress: number) => void
  /** The socket goes on as another caller. */
  readonly callerChanged: () => void
  readonly close: () => void
}

/** How the tag of the query begins that decides who may read a topic. */
export const accessPrefix = "~topic."
