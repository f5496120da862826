/**
 * A whole backend, independent of any platform: contract, tables, handlers and their services.
 * `Cloudflare.serve(app)` deploys it, `TestApp.layer(app)` runs it in memory.
 */
import type * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import type { Contravariant, Covariant } from "effect/Types"
import * as CallerLimits from "../protocol/CallerLimits.ts"
import * as Limits from "../protocol/Limits.ts"
import * as Api from "./Api.ts"
import type { AnyService } from "./Auth.ts"
import type { Declared as Cron } from "./Cron.ts"
import type { Files } from "./Files.ts"
import type * as Handlers from "./Handlers.ts"
import { internalPrefix } from "./Internal.ts"
import type { Jobs } from "./Jobs.ts"
import type {
  AnyKind,
  FileServices,
  JobServices,
  KindOf,
  PubsubServices,
  WithWorkflows,
  WorkflowServices
} from "./Kind.ts"
import type { AnyMigration } from "./Migration.ts"
import { checkSets, type Policy } from "./Policy.ts"
import type { Pubsub } from "./Pubsub.ts"
import type { Reactor } from "./Reactor.ts"
import * as SensitiveFields from "./SensitiveFields.ts"
import { fieldsOf } from "./Table.ts"
import type { AnyTable } from "./TablePlan.ts"
import type * as Transactional from "./Transactional.ts"

export { react } from "./Reactor.ts"

/** The author's own middleware of an app's rpcs. */
export type MiddlewareOf<Rpcs extends Rpc.Any> = Exclude<Rpc.Middleware<Rpcs>, AnyKind>

/** The rpcs of one kind that have middleware of the author's own. */
type GuardedKinds<Rpcs extends Rpc.Any> = Rpcs extends Rpc.Any
  ? [MiddlewareOf<Rpcs>] extends [never]
    ? never
    : KindOf<Rpcs>
  : never

/** An app, ready to deploy or to test. The last three type parameters are what its layers provide. */
export interface App<in out Rpcs extends Rpc.Any, Services = never, ActionServices = never, Middleware = never> {
  readonly api: Api.Api<Rpcs>
  readonly tables: ReadonlyArray<AnyTable>
  /** Migrations of rows, in their order. */
  readonly migrations: ReadonlyArray<AnyMigration>
  /** Tables that earlier versions had, and whose rows may be lost. */
  readonly droppedTables: ReadonlyArray<string>
  /** Who may read and write which rows. A table without policies is open to everybody. */
  readonly policies: ReadonlyArray<Policy>
  readonly limits: Limits.Limits & CallerLimits.CallerLimits
  readonly reactors: ReadonlyArray<Reactor>
  /** The jobs and queues of the app, if it has any. */
  readonly jobs: Jobs | undefined
  /** The topics of the app, if it has any. */
  readonly pubsub: Pubsub | undefined
  /** The files of the app, if it has any. */
  readonly files: Files | undefined
  /** What objects do for whoever has the admin key. Only a deployment that has one adds it. */
  readonly admin?: AdminPart
  /** Who may be calling, if the author declared it: the gateway refuses tokens whose claims do not fit. */
  readonly identity: AnyService | undefined
  /** The author's own services that take part in transactions. */
  readonly transactional: ReadonlyArray<Transactional.Any>
  /** The layers that the two runtimes build: the object those for transactions, the Worker those for actions. */
  readonly layers: AppLayers<Services, ActionServices, Middleware>
}

/** What an app has besides the rpcs of its author, each with rpcs, handlers and services of its own. */
export const partsOf = ({ admin, files, jobs, pubsub }: App<any>) =>
  [jobs, pubsub, files, admin].filter((part) => part !== undefined)

/** The rpcs of a deployment with an admin key, and their handlers in the object. */
export interface AdminPart {
  readonly api: Api.Declared<any>
  readonly handlers: Layer.Layer<never, never, any>
  readonly servicesOver: () => Context.Context<never>
}

/** The layers of an app. A test can replace them. */
export interface AppLayers<Services = never, ActionServices = never, Middleware = never> {
  /** The handlers of the contract. */
  readonly handlers: Layer.Layer<never, never, any>
  /** The author's own rpc middleware. */
  readonly middleware: Layer.Layer<Middleware, never, any>
  /** The services of queries, mutations and their middleware. */
  readonly services: Layer.Layer<Services>
  /** The services of actions, of their middleware, and of the handlers of queues. */
  readonly actionServices: Layer.Layer<ActionServices>
}

type Given<Name extends string, Services> = [Services] extends [never]
  ? { readonly [K in Name]?: Layer.Layer<never> }
  : { readonly [K in Name]: Layer.Layer<NoInfer<Services>> }

/** The given layer, or an empty one when nothing is required. */
const given = <Services, In>(layer: Layer.Layer<never, never, In> | undefined): Layer.Layer<Services, never, In> =>
  // `Given` and `RequiredMiddleware` make the layer mandatory unless `Services` is `never`.
  (layer ?? Layer.empty) as unknown as Layer.Layer<Services, never, In>

/** Requires the layer of the author's middleware if an rpc has such middleware. */
type RequiredMiddleware<Middleware> = [Middleware] extends [never]
  ? unknown
  : { readonly middleware: Layer.Layer<Middleware, never, any> }

/** Requires the jobs of the app if a handler schedules, sends, or reads what was, and workflows if it uses them. */
type RequiredJobs<Needed> = [Extract<Needed, WorkflowServices>] extends [never]
  ? [Extract<Needed, JobServices>] extends [never]
    ? unknown
    : { readonly jobs: Jobs<any> }
  : { readonly jobs: Jobs<any> & WithWorkflows }

/** Requires the topics of the app if its contract has one, or a handler publishes. */
type RequiredPubsub<Rpcs extends Rpc.Any, Needed> = [
  Extract<Needed, PubsubServices> | Api.TagOf<Rpcs, "topic">
] extends [never]
  ? unknown
  : { readonly pubsub: Pubsub }

/** Requires the files of the app if a handler reads or writes some. */
type RequiredFiles<Needed> = [Extract<Needed, FileServices>] extends [never] ? unknown : { readonly files: Files<any> }

/** The services that the app must provide to the handlers of queries and mutations and to their middleware. */
type Services<Rpcs extends Rpc.Any, Out, In, MiddlewareIn, T> = Exclude<
  | Handlers.TransactionServices<Out, In>
  | (Extract<GuardedKinds<Rpcs>, "query" | "mutation" | "topic"> extends never ? never : MiddlewareIn),
  Transactional.Identifier<T> | JobServices | PubsubServices | FileServices
>

/** The services that the app must provide to the handlers of actions and to their middleware. */
type ActionServices<Rpcs extends Rpc.Any, Out, In, MiddlewareIn, PartsIn> = Exclude<
  | Handlers.ActionServices<Out, In>
  | PartsIn
  | (Extract<GuardedKinds<Rpcs>, "action"> extends never ? never : MiddlewareIn),
  JobServices | PubsubServices | FileServices
>

/**
 * A layer that provides at least these services and cannot fail. It says nothing of what the layer requires: from a type that
 * did, a `Layer.provide` written in the argument would infer its requirements.
 */
interface Provides<in Out> {
  readonly "~effect/Layer": { readonly _ROut: Contravariant<Out>; readonly _E: Covariant<never> }
}

/** What a layer of handlers provides, and what it requires. */
type OutOf<H> = H extends Layer.Layer<infer Out, infer _E, infer _In> ? Out : never
type InOf<H> = H extends Layer.Layer<infer _Out, infer _E, infer In> ? In : never

/**
 * Makes an app.
 *
 * - `services` provides what the handlers of queries and mutations require besides Dormouse's own services;
 *   `actionServices` provides the same to the handlers of actions. Each is required if a handler requires something.
 * - `middleware` provides the author's own rpc middleware. It is required if an rpc has such middleware, which runs
 *   around unary calls, live queries, snapshots over HTTP, reactors and actions.
 * - `transactional` lists the author's own services that take part in transactions.
 *
 * Throws when the declarations contradict each other.
 */
export const make = <
  Rpcs extends Rpc.Any,
  H extends Provides<Rpc.ToHandler<Rpcs>>,
  MiddlewareOut = never,
  MiddlewareIn = never,
  const T extends ReadonlyArray<Transactional.Any> = readonly [],
  QueueIn = never,
  FilesIn = never
>(
  options: {
    readonly api: Api.Declared<Rpcs>
    readonly tables: ReadonlyArray<AnyTable>
    readonly handlers: H
    /** Migrations of rows, from `Migration.make`, in the order in which each tenant runs them. */
    readonly migrations?: ReadonlyArray<AnyMigration>
    /** Tables that the app does not declare any more, and whose rows may be lost. Others are kept. */
    readonly droppedTables?: ReadonlyArray<string>
    /** Who may read and write which rows, from `Policy.make`. A table without policies is open to everybody. */
    readonly policies?: ReadonlyArray<Policy>
    /** Limits that differ from `Limits.defaults` and `CallerLimits.defaults`. */
    readonly limits?: Partial<Limits.Limits & CallerLimits.CallerLimits>
    /** Mutations that run when the result of a query changes; see `react`. */
    readonly reactors?: ReadonlyArray<Reactor>
    readonly transactional?: T
    /** Jobs and queues, from `Jobs.make`. Required if a handler schedules or sends. */
    readonly jobs?: Jobs<QueueIn>
    /** Topics, from `Pubsub.make`. Required if the contract has a topic, or a handler publishes. */
    readonly pubsub?: Pubsub
    /**
     * Files, from `Files.make`. Required if a handler reads or writes files. `actionServices` must then provide `Blobs`, which
     * stores their bytes.
     */
    readonly files?: Files<FilesIn>
    /** Who may be calling: the class of `Auth.Service`. A token whose claims do not fit it is refused. */
    readonly identity?: AnyService
    readonly middleware?: Layer.Layer<MiddlewareOut, never, MiddlewareIn>
  } & Given<"services", Services<Rpcs, OutOf<H>, InOf<H>, MiddlewareIn, T[number]>> &
    Given<"actionServices", ActionServices<Rpcs, OutOf<H>, InOf<H>, MiddlewareIn, QueueIn | FilesIn>> &
    RequiredMiddleware<MiddlewareOf<Rpcs>> &
    RequiredJobs<InOf<H>> &
    RequiredPubsub<Rpcs, InOf<H>> &
    RequiredFiles<InOf<H>>
): App<
  Rpcs,
  Services<Rpcs, OutOf<H>, InOf<H>, MiddlewareIn, T[number]>,
  ActionServices<Rpcs, OutOf<H>, InOf<H>, MiddlewareIn, QueueIn | FilesIn>,
  MiddlewareOf<Rpcs>
> => {
  const names = new Set<string>()
  for (const table of options.tables) {
    if (names.has(table.name)) throw new Error(`two tables are named ${table.name}`)
    if (/^(sqlite|_)/i.test(table.name)) throw new Error(`the table name ${table.name} is reserved`)
    names.add(table.name)
  }
  for (const { tables } of options.transactional ?? []) {
    for (const { name } of tables) {
      if (!name.startsWith("_")) throw new Error(`the name of the internal table ${name} must begin with _`)
    }
  }
  checkCrons(options.jobs?.crons ?? [], options.api)
  for (const tag of options.api.declared.requests.keys()) {
    if (tag.startsWith(internalPrefix)) throw new Error(`the tag ${tag} is reserved: tags must not begin with ~`)
  }
  for (const table of options.tables) checkTable(table, options.tables)
  checkMigrations(options.migrations ?? [], options.tables)
  for (const name of options.droppedTables ?? []) {
    if (names.has(name)) throw new Error(`table ${name} is declared, and is in droppedTables`)
  }
  for (const policy of options.policies ?? []) checkPolicy(policy, options.tables)
  checkSets(options.policies ?? [])
  SensitiveFields.check(options.api.declared.requests.values(), options.tables)
  return {
    api: Api.toGroup(options.api),
    tables: options.tables,
    migrations: options.migrations ?? [],
    droppedTables: options.droppedTables ?? [],
    policies: options.policies ?? [],
    limits: { ...Limits.defaults, ...CallerLimits.defaults, ...options.limits },
    reactors: options.reactors ?? [],
    jobs: options.files?.withJobs(options.jobs) ?? options.jobs,
    pubsub: options.pubsub,
    files: options.files,
    identity: options.identity,
    transactional: options.transactional ?? [],
    layers: {
      // Only layers are a `Provides`.
      handlers: options.handlers as unknown as Layer.Layer<never, never, any>,
      middleware: given(options.middleware),
      services: given(options.services),
      actionServices: given(options.actionServices)
    }
  }
}

/** Throws for what every start would refuse. A start checks the rest: what it refuses is in `TableSchema.ts`. */
const checkTable = (table: AnyTable, tables: ReadonlyArray<AnyTable>): void => {
  for (const [column, { table: target }] of table.references) {
    if (tables.includes(target())) continue
    const problem = `refers to table ${target().name}, which is not one of the app's; add it to App.make({ tables })`
    throw new Error(`table ${table.name}, column ${column}: ${problem}`)
  }
  const fields = new Map(Object.entries(fieldsOf(table.model)))
  for (const index of table.indexes.values()) {
    for (const column of index.columns) {
      const field = fields.get(column)
      if (field === undefined || !isNested(field)) continue
      const problem = `index ${index.name} needs an order, and nested values have none; index a plain field`
      throw new Error(`table ${table.name}, column ${column}: ${problem}`)
    }
  }
}

/** Throws for two migrations of one name, and for a migration of a table that the app does not have. */
const checkMigrations = (migrations: ReadonlyArray<AnyMigration>, tables: ReadonlyArray<AnyTable>): void => {
  const ids = new Set<string>()
  for (const { id, table } of migrations) {
    if (ids.has(id)) throw new Error(`two migrations are named ${id}`)
    ids.add(id)
    if (tables.includes(table)) continue
    const problem = `uses table ${table.name}, which is not one of the app's; add it to App.make({ tables })`
    throw new Error(`migration ${id} ${problem}`)
  }
}

/** Throws for crons that call what the app does not have. */
const checkCrons = (crons: ReadonlyArray<Cron>, { declared }: Api.Declared<any>): void => {
  for (const { definition, name } of crons) {
    if (!declared.requests.has(definition.target))
      throw new Error(`cron ${name}: the app has no rpc ${definition.target}`)
  }
}

/** Throws for a policy of a table that the app does not have, or that looks at one. */
const checkPolicy = (policy: Policy, tables: ReadonlyArray<AnyTable>): void => {
  for (const table of policy.tables) {
    if (tables.includes(table)) continue
    const problem = `uses table ${table.name}, which is not one of the app's; add it to App.make({ tables })`
    throw new Error(`a policy of table ${policy.table.name} ${problem}`)
  }
}

const isNested = (field: Schema.Constraint): boolean => {
  const { _tag } = SchemaAST.toEncoded(Schema.toCodecJson(field).ast)
  return _tag === "Objects" || _tag === "Arrays"
}

/** The handlers of an app with their middleware, over the services of the runtime that builds them. */
export const handlersOf = <S, A, M>(
  { handlers, middleware }: AppLayers<S, A, M>,
  services: Layer.Layer<never>
): Layer.Layer<never, never, any> => {
  // An object that wakes builds this before it answers: what is empty is left out.
  const layers: Layer.Layer<never, never, any> = isEmpty(middleware) ? handlers : Layer.merge(handlers, middleware)
  return isEmpty(services) ? layers : Layer.provide(layers, services)
}

const isEmpty = (layer: Layer.Any): boolean => layer === Layer.empty
