/**
 * Jobs and queues without the engine, for other Effect apps: mutations, actions and consumers run in this process, over a
 * `Database` of the app's choice. What was promised before the process ended is delivered after its next start.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Headers from "effect/http/Headers"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import { RequestId } from "effect/rpc/RpcMessage"
import type { Scope } from "effect/Scope"
import type { WorkflowEngine } from "effect/workflow/WorkflowEngine"
import type * as Api from "../contract/Api.ts"
import { Auth, anonymous, CurrentIdentity, type Identity, system } from "../contract/Auth.ts"
import { Calls } from "../contract/Calls.ts"
import { type Files, filesPath, type Place, type ServedFiles } from "../contract/Files.ts"
import type { Around, Jobs, JobsHost, JobsRuntime, PromisedCall } from "../contract/Jobs.ts"
import {
  type FileServices,
  kindOf,
  type OutboxServices,
  type WithWorkflows,
  type WorkflowServices
} from "../contract/Kind.ts"
import { Outbox } from "../contract/Outbox.ts"
import type { Expiring } from "../contract/Transactional.ts"
import { done, type EncodedExit, payloadInvalid, unknownRpc } from "../protocol/Exit.ts"
import * as RpcCodec from "../protocol/RpcCodec.ts"
import type { Database } from "./Database.ts"
import { FileServer } from "./FileServer.ts"
import { makeRunner, type SchemaMismatch, type StorageOptions } from "./Storage.ts"
import type { TransactionRunner } from "./TransactionRunner.ts"
import * as Transactor from "./Transactor.ts"

/** What runs in this process. */
export interface JobsLayerOptions<Rpcs extends Rpc.Any, R, Q, W = unknown, F = never>
  extends Omit<StorageOptions, "transactional"> {
  readonly api: Api.Declared<Rpcs>
  /** The handlers of the contract, from `api.toLayer`. */
  readonly handlers: Layer.Layer<Rpc.ToHandler<Rpcs>, never, R>
  readonly jobs: Jobs<Q> & W
  /** Files, from `Files.make`. Their URLs are answered by `FileServer`. */
  readonly files?: Files<F>
}

/** What there is only with the jobs of `Workflows.make`. */
type IfWorkflows<W, Services> = W extends WithWorkflows ? Services : never

/** What there is only with files. */
type IfFiles<F> = [F] extends [never] ? never : FileServices | FileServer

/** The name in the URLs of files: there is one tenant. */
const placeName = "main"

/** The longest delay of a timer, in milliseconds. */
const maxDelay = 2 ** 31 - 1

/**
 * A layer of transactions, and of the outbox outside of them: `Transactor.write` of an effect that schedules or sends commits
 * both together, and elsewhere `Scheduler` and queues act at once. `Calls` runs the contract's queries and mutations.
 */
export const layer = <Rpcs extends Rpc.Any, R, Q, W = unknown, F = never>(
  given: JobsLayerOptions<Rpcs, R, Q, W, F>
): Layer.Layer<
  Transactor.Transactor | OutboxServices | Calls | Auth | IfWorkflows<W, WorkflowEngine> | IfFiles<F>,
  SchemaMismatch,
  Database | Exclude<R | Q | F, OutboxServices | Calls | Auth | IfWorkflows<W, WorkflowServices> | IfFiles<F>>
> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const services: Context.Context<any> = yield* Effect.context<any>()
      const files = given.files?.open(given.tables, () => ({ tenant: placeName }))
      const options: ProcessOptions = { ...given, jobs: given.files?.withJobs(given.jobs) ?? given.jobs }
      const runner = yield* makeRunner({
        ...options,
        transactional: [...options.jobs.transactional, ...(files?.transactional ?? [])],
        afterCommit: (effects) => {
          for (const effect of effects) Effect.runForkWith(services)(Effect.ignoreCause(effect, { log: "Error" }))
        }
      })
      const process = new JobsProcess(options, runner, services, yield* buildHandlers(options), files?.expiring ?? [])
      yield* Effect.acquireRelease(
        Effect.sync(() => process.start()),
        () => Effect.sync(() => process.stop())
      )
      return Context.make(Transactor.Transactor, process.transactor).pipe(
        Context.add(Outbox, process.reader),
        Context.merge(process.servicesOf(system)),
        Context.add(Calls, process.calls(system)),
        Context.add(Auth, { identity: CurrentIdentity }),
        Context.add(FileServer, { respond: process.respond })
      )
    })
  )

/** The options, whatever the types of the contract. */
interface ProcessOptions extends Omit<JobsLayerOptions<any, any, any>, "handlers" | "files"> {
  readonly files?: Files
  readonly handlers: Layer.Layer<any, never, any>
}

/** The handlers of the contract, of the outbox, of the queues and of files. */
const buildHandlers = (options: ProcessOptions): Effect.Effect<Context.Context<any>, never, Scope> => {
  const { files, handlers, jobs } = options
  let layers: Layer.Layer<any, never, any> = Layer.merge(handlers, jobs.handlers)
  if (files !== undefined) layers = Layer.merge(layers, files.handlers)
  for (const { layer } of jobs.queues) layers = Layer.merge(layers, layer)
  // What they require is in the context in which they are built.
  return Layer.build(layers) as Effect.Effect<Context.Context<any>, never, Scope>
}

class JobsProcess {
  readonly transactor: Transactor.Transactor["Service"]
  private readonly options: ProcessOptions
  private readonly runner: TransactionRunner
  private readonly services: Context.Context<any>
  private readonly handlers: Context.Context<any>
  private readonly group: RpcGroup.RpcGroup<any>
  private readonly runtime: JobsRuntime
  private readonly expiring: ReadonlyArray<Expiring>
  private readonly files: ServedFiles | undefined
  private alarm: Fiber.Fiber<void> | undefined
  private isStopped = false
  private readonly stopping = new AbortController()

  constructor(
    options: ProcessOptions,
    runner: TransactionRunner,
    services: Context.Context<any>,
    handlers: Context.Context<any>,
    expiring: ReadonlyArray<Expiring>
  ) {
    const { api, files, jobs } = options
    this.options = options
    this.runner = runner
    this.services = services
    this.handlers = handlers
    this.expiring = expiring
    this.files = files?.serve(services)
    const more = [jobs, ...jobs.queues, ...(files === undefined ? [] : [files])]
    this.group = api.declared.merge(...more.map(({ api }) => api.declared))
    this.transactor = Transactor.make(runner)
    this.runtime = jobs.open(this.host())
    runner.onCommit((writes) => {
      this.runtime.committed((table) => writes.wroteTable(table))
      this.defer(() => this.runtime.endTurn())
    })
  }

  start(): void {
    this.runtime.start()
    this.runtime.endTurn()
  }

  /** What runs is interrupted, and left to its lease: the next start takes it up. */
  stop(): void {
    this.isStopped = true
    this.stopping.abort()
    this.alarm?.interruptUnsafe()
  }

  /** The outbox outside of transactions. */
  get reader(): Outbox["Service"] {
    const read = <A>(body: (outbox: Outbox["Service"]) => Effect.Effect<A>): Effect.Effect<A> =>
      Effect.suspend(() => this.runner.read(Effect.flatMap(Outbox, body), this.services, false).exit)
    return {
      get: (id) => read((outbox) => outbox.get(id)),
      list: (filter) => read((outbox) => outbox.list(filter)),
      crons: read((outbox) => outbox.crons)
    }
  }

  /** The outbox in somebody's name, outside of transactions, and what else jobs give to an action. */
  servicesOf(identity: Identity): Context.Context<any> {
    const { files, jobs } = this.options
    const calls = this.calls(identity)
    const services = jobs.servicesOver(calls)
    return files === undefined ? services : Context.merge(services, files.servicesOver(calls))
  }

  /** Answers a request for a file. */
  readonly respond = async (request: Request): Promise<Response> => {
    const { files } = this
    const url = new URL(request.url)
    if (files === undefined || !url.pathname.startsWith(filesPath)) return new Response(null, { status: 404 })
    const callsOf = ({ object, tenant }: Place) =>
      tenant === placeName && object === undefined ? this.calls(anonymous) : undefined
    return files.respond({ request, url, callsOf })
  }

  /** The queries and mutations of the contract, each in a transaction of its own. */
  calls(identity: Identity): Calls["Service"] {
    return {
      call: (tag, payload) =>
        Effect.suspend(() => {
          const handler = this.handlerOf(tag)
          if (handler === undefined) return Effect.die(new Error(`the contract has no rpc ${tag}`))
          const { context, effect, rpc } = handler(RpcCodec.of(this.rpcOf(tag)!).makePayload(payload), identity)
          if (kindOf(rpc) === "query") return this.runner.read(effect, context, false).exit
          return this.runner.write(effect, context)
        })
    }
  }

  private host(): JobsHost {
    const { database } = this.runner.storage
    const time = () => this.runner.time(this.services)
    return {
      rows: (sql, params) => database.all(sql, params).rows,
      isUnwritten: () => false,
      whenWritten: (task) => task(),
      transaction: (body) => this.runner.writeNow(body, this.services),
      mutate: (call, around) => this.mutate(call, around),
      act: (call, signal) => this.act(call, signal),
      expiring: this.expiring,
      alarm: { set: (at) => this.setAlarm(at, time()), confirm: (at) => this.setAlarm(at, time()) },
      session: () => ({ tenant: "" }),
      defer: (task) => this.defer(task),
      after: (millis, task) => {
        const timer = this.fork(Effect.andThen(Effect.sleep(millis), Effect.sync(task)))
        return () => timer.interruptUnsafe()
      },
      waitUntil: () => {},
      time,
      turn: (body) => {
        // What ends after the scope finds the database closed. Its entry is left to its lease.
        if (this.isStopped) return
        body()
        this.runtime.endTurn()
      },
      isOpen: () => !this.isStopped,
      log: (message, detail) => void this.fork(Effect.logError(message, detail))
    }
  }

  private mutate({ caller, payload, target }: PromisedCall, { begin, end }: Around) {
    const decoded = this.decode(target, payload, caller)
    if ("_tag" in decoded) return decoded
    const { context, effect, rpc } = decoded
    if (kindOf(rpc) !== "mutation") return unknownRpc(target)
    const begun = Effect.andThen(Effect.sync(begin), effect)
    const ended = Effect.tap(begun, () =>
      Effect.contextWith((context: Context.Context<any>) => Effect.sync(() => end(context)))
    )
    return this.encode(rpc, this.runner.write(ended, context))
  }

  private async act({ caller, payload, target }: PromisedCall, signal: AbortSignal): Promise<EncodedExit | undefined> {
    const decoded = this.decode(target, payload, caller)
    if ("_tag" in decoded) return decoded
    const { context, effect, rpc } = decoded
    const services = context.pipe(Context.add(Calls, this.calls(caller)), Context.merge(this.servicesOf(caller)))
    const either = AbortSignal.any([signal, this.stopping.signal])
    return this.encode(rpc, await Effect.runPromiseExitWith(services)(Effect.scoped(effect), { signal: either }))
  }

  private decode(tag: string, payload: unknown, caller: Identity) {
    const handler = this.handlerOf(tag)
    if (handler === undefined) return unknownRpc(tag)
    const decoded = Effect.runSyncExitWith(this.services)(RpcCodec.of(this.rpcOf(tag)!).decodePayload(payload))
    if (Exit.isSuccess(decoded)) return handler(decoded.value, caller)
    return payloadInvalid(decoded.cause)
  }

  private rpcOf(tag: string): Rpc.AnyWithProps | undefined {
    const rpc: Rpc.Any | undefined = this.group.requests.get(tag)
    return rpc && RpcCodec.withSchemas(rpc)
  }

  /** Runs the handler of an rpc with a decoded payload, in somebody's name. */
  private handlerOf(tag: string) {
    const rpc = this.rpcOf(tag)
    if (rpc === undefined) return undefined
    const found: Rpc.Handler<string> = Context.getUnsafe(
      this.handlers,
      Context.Service<any, Rpc.Handler<string>>(rpc.key)
    )
    return (payload: unknown, identity: Identity) => {
      const options = {
        rpc,
        client: new Rpc.ServerClient(-1),
        requestId: RequestId("job"),
        headers: Headers.empty,
        payload
      }
      const effect: Effect.Effect<unknown, unknown, any> = Effect.suspend(() => {
        const result = found.handler(payload, options)
        const effect: any = Rpc.isWrapper(result) ? result.value : result
        return effect
      })
      const context: Context.Context<any> = Context.merge(this.services, found.context).pipe(
        Context.add(CurrentIdentity, identity),
        Context.add(Auth, { identity: Effect.succeed(identity) })
      )
      return { rpc, effect, context }
    }
  }

  /** An exit as jobs keep it: a declared error as JSON. The log has the causes of all others. */
  private encode(rpc: Rpc.AnyWithProps, exit: Exit.Exit<unknown, unknown>): EncodedExit {
    const codec = RpcCodec.of(rpc)
    const isConsumed = Exit.isSuccess(exit) && kindOf(rpc) === "mutation"
    if (isConsumed) return done
    const encoded = Effect.runSyncExitWith(this.services)(codec.encodeExit(exit))
    if (Exit.isSuccess(encoded)) return encoded.value
    if (Exit.isFailure(exit)) void this.fork(Effect.logError(`${rpc._tag} failed`, exit.cause))
    return { _tag: "Failure", cause: [{ _tag: "Die", defect: `${rpc._tag} failed; the cause is in the log` }] }
  }

  private setAlarm(at: number, now: number): void {
    this.alarm?.interruptUnsafe()
    const delay = Math.max(0, Math.min(at - now, maxDelay))
    this.alarm = this.fork(
      Effect.andThen(
        Effect.sleep(delay),
        Effect.sync(() => this.runtime.wake())
      )
    )
  }

  private defer(task: () => void): void {
    void this.fork(
      Effect.andThen(
        Effect.yieldNow,
        Effect.sync(() => this.isStopped || task())
      )
    )
  }

  private fork<A, E>(effect: Effect.Effect<A, E>): Fiber.Fiber<A, E> {
    return Effect.runForkWith(this.services)(effect)
  }
}
