/**
 * The one way a handler of the object is run: middleware, transaction, result check, error boundary, encoding, each once.
 * Unary calls, live queries, snapshots over HTTP and reactors all come here. Dispatch is that of `effect/rpc`: the group's
 * own handlers and middleware. The tests run the same rpcs with `RpcServer` and compare the exits.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { memoize } from "effect/Function"
import * as Headers from "effect/http/Headers"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import { RequestId } from "effect/rpc/RpcMessage"
import type * as RpcMiddleware from "effect/rpc/RpcMiddleware"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { Auth, CurrentIdentity, type Identity } from "../../contract/Auth.ts"
import { isInternal } from "../../contract/Internal.ts"
import { isKind, kindOf } from "../../contract/Kind.ts"
import { StorageError, StorageLimit } from "../../contract/Storage.ts"
import {
  CallError,
  type CallErrorReason,
  MutationMismatch,
  OutcomeUnreadable,
  PayloadInvalid,
  type TokenProblem,
  Unauthenticated
} from "../../protocol/CallError.ts"
import { type EncodedExit, limitExceeded, payloadInvalid, successText, unknownRpc } from "../../protocol/Exit.ts"
import * as Limits from "../../protocol/Limits.ts"
import {
  mutationHeader,
  mutationMargin,
  mutationRetention,
  parseMutationId,
  parseSentAfter,
  sentAfterHeader
} from "../../protocol/MutationId.ts"
import * as RpcCodec from "../../protocol/RpcCodec.ts"
import { type ReadSet, readsOfNothing } from "../../services/storage/ReadSet.ts"
import { runSyncOrDie, synchronous } from "../../services/storage/Synchronous.ts"
import { authOf, type TransactionRunner } from "../../services/TransactionRunner.ts"
import { sanitizeExit } from "../rpc/ErrorBoundary.ts"
import type { HandlerOptions, ObjectKinds } from "../rpc/KindMiddleware.ts"
import { isTraced } from "../rpc/RequestSpan.ts"
import { type Encode, type EncodedResult, encoderOf } from "../rpc/ResultCodec.ts"
import { bindingOf, type MutationLog, type Numbered } from "./MutationLog.ts"

/** A query or mutation of the contract, with everything that is the same for each call. */
export interface Procedure {
  readonly rpc: Rpc.AnyWithProps
  readonly kind: "query" | "mutation"
  /** Whether no client may call it. */
  readonly isInternal: boolean
  readonly codec: RpcCodec.RpcCodec
  readonly encode: Encode
  readonly handler: Rpc.Handler<string>["handler"]
  /** What the handler and its middleware may use, but for what belongs to a caller or to one call. */
  readonly context: Context.Context<any>
  /** The author's own middleware, innermost first. */
  readonly middlewares: ReadonlyArray<RpcMiddleware.Any>
  /** The context with a caller's part added. */
  readonly contexts: WeakMap<Caller, Context.Context<any>>
}

/** A caller: a socket, a request over HTTP, or the object itself. */
export interface Caller {
  readonly identity: Identity
  /** The client as `effect/rpc` shows it to middleware. */
  readonly client: Rpc.ServerClient
  /** What the log lines of its calls carry, beside the rpc. */
  readonly annotations: Readonly<Record<string, unknown>>
  /** Tells why its token has ended, if it has: its calls do not run then. */
  readonly endOf?: (() => TokenProblem | undefined) | undefined
}

/** A call whose payload was read. */
export interface Call {
  readonly procedure: Procedure
  readonly payload: unknown
  /** The payload as it was sent. Only the calls of clients have one. */
  readonly sent?: unknown
  readonly caller: Caller
  readonly headers: Headers.Headers
  readonly requestId: string | number
  /** The span that the call's own span is a child of: the client's, or that of the flush. */
  readonly parent?: Tracer.AnySpan | undefined
  /** Called when the handler starts, within the transaction. */
  readonly onStart?: (() => void) | undefined
  /** Runs in the transaction of a mutation, with its services, after the handler has succeeded. */
  readonly alongside?: ((context: Context.Context<any>) => void) | undefined
}

/** The outcome of a call. */
export interface Execution {
  /** The encoded result of a call that succeeded. */
  readonly result: EncodedResult | undefined
  /** The encoded exit of a call that failed. */
  readonly failure: EncodedExit | undefined
  /** What a query read. Empty unless reads were recorded. */
  readonly reads: ReadSet
  /** The version of the database after a mutation committed, or after the outcome of one was found. */
  readonly version: number | undefined
}

/** A mutation that waits in the author's middleware. */
export interface PendingExecution {
  readonly execution: Promise<Execution>
  readonly interrupt: () => void
}

/** What an executor works with. */
export interface ExecutorOptions {
  readonly group: RpcGroup.RpcGroup<any>
  /** The services of the object, the handlers and the author's middleware. */
  readonly context: Context.Context<any>
  readonly runner: TransactionRunner
  readonly log: MutationLog
  readonly limits: Limits.Limits
  /** The version of the last commit. */
  readonly version: () => number
  /** Called with the span of each transaction that committed, when there is a tracer. */
  readonly onCommitted: (span: Tracer.AnySpan) => void
}

/** The exit as text. */
export const exitText = ({ failure, result }: Execution): string =>
  result === undefined ? JSON.stringify(failure) : successText(result.text)

/** The outcome of the transaction of one call, for the middleware around it. */
interface Transacted {
  exit: Exit.Exit<unknown, unknown>
  /** The value that `result` encodes: middleware may return another one. */
  value: unknown
  result: EncodedResult | undefined
  reads: ReadSet
  version: number | undefined
}

/** Runs the queries and mutations of a contract. */
export class Executor {
  private readonly options: ExecutorOptions
  private readonly procedures = new Map<string, Procedure>()
  private readonly isTraced: boolean
  /** The context of handlers that were built together. */
  private readonly contextOfHandlers: (built: Context.Context<never>) => Context.Context<any>

  constructor(options: ExecutorOptions) {
    this.options = options
    // Without a tracer of the author's own, nothing would export the spans.
    this.isTraced = isTraced(options.context)
    // Each procedure copies its context, and so does each of its callers: the handlers of all others are left out.
    const rpcs: Iterable<Rpc.Any> = options.group.requests.values()
    const handlers = new Set(Array.from(rpcs, (rpc) => RpcCodec.withSchemas(rpc).key))
    const services: Context.Context<any> = Context.makeUnsafe(
      new Map([...options.context.mapUnsafe].filter(([key]) => !handlers.has(key)))
    )
    this.contextOfHandlers = memoize((built) =>
      // The same for the spans of handlers and of SQL.
      Context.add(Context.merge(built, services), References.TracerEnabled, this.isTraced)
    )
  }

  /** A query or mutation by tag. */
  procedure(tag: string): Procedure | undefined {
    let procedure = this.procedures.get(tag)
    if (procedure === undefined) {
      procedure = this.makeProcedure(tag)
      if (procedure !== undefined) this.procedures.set(tag, procedure)
    }
    return procedure
  }

  private makeProcedure(tag: string): Procedure | undefined {
    const { context, group } = this.options
    const found: Rpc.Any | undefined = group.requests.get(tag)
    if (found === undefined) return undefined
    const kind = kindOf(found)
    if (kind !== "query" && kind !== "mutation") return undefined
    const rpc = RpcCodec.withSchemas(found)
    // `App.make` saw that the handlers' layer provides a handler for each rpc, under its key.
    const entry: Rpc.Handler<string> = Context.getUnsafe(context, handlerKey(rpc))
    const middlewares = [...rpc.middlewares]
      .filter((middleware) => !isKind(middleware))
      .map((middleware): RpcMiddleware.Any => Context.getUnsafe(context, middleware))
    const own = this.contextOfHandlers(entry.context)
    return {
      rpc,
      kind,
      isInternal: isInternal(rpc),
      codec: RpcCodec.of(rpc),
      encode: encoderOf(rpc),
      handler: entry.handler,
      // Only the middleware of a mutation may wait, around a single call.
      context: middlewares.length === 0 || kind === "query" ? synchronous(own) : own,
      middlewares,
      contexts: new WeakMap()
    }
  }

  /**
   * Reads the payload of a request. Returns the exit that refuses it when it does not fit. Only who is trusted may call what is
   * internal: no client is.
   */
  decode(tag: string, payload: unknown, isTrusted = false): Pick<Call, "procedure" | "payload" | "sent"> | EncodedExit {
    const procedure = this.procedure(tag)
    if (procedure === undefined || (procedure.isInternal && !isTrusted)) return unknownRpc(tag)
    const decoded = runSyncOrDie(procedure.codec.decodePayload(payload), procedure.context)
    if (Exit.isSuccess(decoded)) return { procedure, payload: decoded.value, sent: payload }
    return payloadInvalid(decoded.cause)
  }

  /** Runs a call to its end. Middleware that waits for something is a defect. */
  execute(call: Call, record = false): Execution {
    if (call.procedure.middlewares.length === 0 && !this.isTraced) return this.executeDirectly(call, record)
    const transacted = emptyTransacted()
    let asksIdentity = false
    const context = this.contextOf(call, () => {
      asksIdentity = true
    })
    const exit = runSyncOrDie(this.around(call, transacted, record), context, "middleware")
    const execution = this.finish(call, transacted, exit, context)
    if (!record || call.procedure.middlewares.length === 0) return execution
    // Middleware may read the time and services of its own: it runs again for each new subscriber.
    const { reads } = execution
    return { ...execution, reads: { ...reads, identity: reads.identity || asksIdentity, clock: true } }
  }

  /**
   * Runs a call. Only a mutation whose middleware waits is not at its end afterwards. A query has the same rule on all its
   * ways: what would fail live fails here.
   */
  start(call: Call): Execution | PendingExecution {
    const { kind, middlewares } = call.procedure
    if (middlewares.length === 0 || kind === "query") return this.execute(call)
    const transacted = emptyTransacted()
    const context = this.contextOf(call)
    const fiber = Effect.runForkWith(context)(this.around(call, transacted, false))
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return this.finish(call, transacted, exit, context)
    const execution = new Promise<Execution>((resolve) => {
      fiber.addObserver((exit) => resolve(this.finish(call, transacted, exit, context)))
    })
    return { execution, interrupt: () => fiber.interruptUnsafe() }
  }

  /** The kinds as middleware: what `RpcServer` needs to run the same handlers. */
  get kinds(): ObjectKinds {
    return {
      query: (handler, { rpc }, context) => {
        const { exit } = this.options.runner.read(handler, context, false)
        return runSyncOrDie(sanitizeExit(rpc, exit), context)
      },
      mutation: (handler, options, context) => {
        const procedure = this.procedure(options.rpc._tag)
        if (procedure === undefined) return Exit.die(new Error(`there is no mutation ${options.rpc._tag}`))
        const sent = procedure.codec.normalizePayload(options.payload)
        const { exit } = this.mutate({ procedure, sent, headers: options.headers }, handler, context)
        return runSyncOrDie(sanitizeExit(options.rpc, exit), context)
      }
    }
  }

  // --- one call

  /** A call without middleware: nothing is around its transaction. */
  private executeDirectly(call: Call, record: boolean): Execution {
    const scope = Scope.makeUnsafe()
    const context = Context.add(this.callerContext(call), Scope.Scope, scope)
    const transacted = this.transact(call, handlerOf(call, this.optionsOf(call)), context, record)
    const closing = Scope.closeUnsafe(scope, transacted.exit)
    if (closing !== undefined) runSyncOrDie(closing, context)
    return this.finish(call, transacted, transacted.exit, context)
  }

  /** The transaction of a call with the author's middleware and the call's span around it. */
  private around(call: Call, transacted: Transacted, record: boolean): Effect.Effect<unknown, unknown, any> {
    const options = this.optionsOf(call)
    const transaction: Effect.Effect<any, any, any> = this.span("transaction", undefined, (context) => {
      Object.assign(transacted, this.transact(call, handlerOf(call, options), context, record))
      return sanitizeExit(call.procedure.rpc, transacted.exit)
    })
    let effect = transaction
    for (const middleware of call.procedure.middlewares) effect = middleware(effect, options)
    const scoped = Effect.scoped(effect)
    return this.isTraced
      ? Effect.withSpan(scoped, `dormouse.${call.procedure.rpc._tag}`, {
          kind: "server",
          captureStackTrace: false,
          attributes: { "rpc.system.name": "effect_rpc", "rpc.method": call.procedure.rpc._tag },
          ...(call.parent && { parent: call.parent })
        })
      : scoped
  }

  /** Runs a body with the context of the fiber, in a span of its own when spans are wanted. */
  private span<A, E>(
    name: string,
    attributes: Record<string, unknown> | undefined,
    body: (context: Context.Context<any>) => Effect.Effect<A, E>
  ): Effect.Effect<A, E, any> {
    const run = Effect.contextWith((context: Context.Context<any>) => body(context))
    return this.isTraced
      ? Effect.withSpan(run, `dormouse.${name}`, { captureStackTrace: false, ...(attributes && { attributes }) })
      : run
  }

  private transact(
    call: Call,
    handler: Effect.Effect<unknown, unknown, any>,
    context: Context.Context<any>,
    record: boolean
  ): Transacted {
    const { caller, procedure } = call
    // It may have waited, in the queue or in middleware.
    const problem = caller.endOf?.()
    if (problem !== undefined) return refused(new Unauthenticated({ problem }))
    if (procedure.kind === "mutation") return this.mutate(call, handler, context)
    const { exit, reads } = this.options.runner.read(handler, context, record)
    return { exit, reads, value: undefined, result: undefined, version: undefined }
  }

  /** Encodes how a call ended. */
  private finish(
    call: Call,
    transacted: Transacted,
    ended: Exit.Exit<unknown, unknown>,
    context: Context.Context<any>
  ): Execution {
    const { procedure } = call
    const { reads, version } = transacted
    let exit = Exit.isSuccess(ended) ? ended : runSyncOrDie(sanitizeExit(procedure.rpc, ended), context)
    if (Exit.isSuccess(exit)) {
      const known = transacted.value === exit.value ? transacted.result : undefined
      if (known !== undefined) return { result: known, failure: undefined, reads, version }
      const encoded = runSyncOrDie(procedure.encode(exit.value), context)
      if (Exit.isSuccess(encoded)) {
        const { resultBytes } = this.options.limits
        const actual = Limits.bytesBeyond(encoded.value.text, resultBytes)
        if (actual === undefined) return { result: encoded.value, failure: undefined, reads, version }
        return { result: undefined, failure: limitExceeded("resultBytes", resultBytes, actual), reads, version }
      }
      exit = runSyncOrDie(sanitizeExit(procedure.rpc, Exit.die(misfit(encoded.cause))), context)
    }
    return { result: undefined, failure: this.encodeFailure(procedure, exit, context), reads, version }
  }

  private encodeFailure(
    procedure: Procedure,
    exit: Exit.Exit<unknown, unknown>,
    context: Context.Context<any>
  ): EncodedExit {
    const encoded = runSyncOrDie(procedure.codec.encodeExit(exit), context)
    if (Exit.isFailure(encoded)) {
      const internal = runSyncOrDie(sanitizeExit(procedure.rpc, Exit.die(misfit(encoded.cause))), context)
      return Effect.runSync(procedure.codec.encodeExit(internal))
    }
    const { resultBytes } = this.options.limits
    const cause = encoded.value._tag === "Failure" ? JSON.stringify(encoded.value.cause) : ""
    const actual = Limits.bytesBeyond(cause, resultBytes)
    return actual === undefined ? encoded.value : limitExceeded("resultBytes", resultBytes, actual)
  }

  // --- mutations

  /** Runs the handler of a mutation in a transaction, once for each number. */
  private mutate(
    { alongside, headers, procedure, sent }: Pick<Call, "procedure" | "headers" | "sent" | "alongside">,
    handler: Effect.Effect<unknown, unknown, any>,
    context: Context.Context<any>
  ): Transacted {
    const header = headers[mutationHeader]
    if (header === undefined) return this.commit(procedure, handler, context, undefined, alongside)
    const id = parseMutationId(header)
    // A client that numbers a mutation relies on it running once: with a malformed number it does not run.
    if (id === undefined) return refused(new PayloadInvalid({ issue: "this mutation id is malformed" }))
    const { _tag: tag } = procedure.rpc
    const { subject } = Context.get(context, CurrentIdentity)
    const binding = bindingOf({ subject, tag, payload: sent })
    const found = this.options.log.find(id)
    if (found._tag === "New") {
      const sentAfter = headers[sentAfterHeader]
      if (sentAfter !== undefined) {
        const time = parseSentAfter(sentAfter)
        if (time === undefined) return refused(new PayloadInvalid({ issue: "this time of sending is malformed" }))
        // An earlier copy may have run, and its outcome may have been deleted since.
        if (millisOf(context) - time > mutationRetention - mutationMargin) return refused(new OutcomeUnreadable())
      }
      const numbered = { id, newest: found.newest, caller: JSON.stringify(subject), tag, binding }
      return this.commit(procedure, handler, context, numbered, alongside)
    }
    if (found._tag === "Settled") return refused(new OutcomeUnreadable())
    const known = found.recorded
    if (known.tag !== tag || (known.binding ?? binding) !== binding) return refused(new MutationMismatch())
    try {
      const exit = procedure.codec.decodeExit(JSON.parse(known.outcome))
      return { ...emptyTransacted(), exit, version: this.options.version() }
    } catch {
      // The contract has changed since. The mutation has ended, so it does not run again.
      return refused(new OutcomeUnreadable())
    }
  }

  /** Runs a handler in a transaction that also records the outcome of a numbered mutation (T3). */
  private commit(
    procedure: Procedure,
    handler: Effect.Effect<unknown, unknown, any>,
    context: Context.Context<any>,
    numbered: Numbered | undefined,
    alongside: Call["alongside"]
  ): Transacted {
    const transacted = emptyTransacted()
    // A result that does not fit its schema, or is too large, must fail before the commit: no answer could contain it.
    const checked = Effect.flatMap(handler, (value) =>
      Effect.contextWith((context: Context.Context<any>) => {
        const encoded = runSyncOrDie(procedure.encode(value), context)
        if (Exit.isFailure(encoded)) return Effect.die(misfit(encoded.cause))
        const { text } = encoded.value
        const exceeded = exceeds("resultBytes", this.options.limits.resultBytes, text)
        if (exceeded !== undefined) return Effect.fail(exceeded)
        if (numbered !== undefined) {
          const refusal = this.record(numbered, successText(text), context)
          if (refusal !== undefined) return Effect.fail(refusal)
        }
        alongside?.(context)
        transacted.value = value
        transacted.result = encoded.value
        return Exit.succeed(value)
      })
    )
    transacted.exit = this.options.runner.write(checked, context)
    if (Exit.isSuccess(transacted.exit)) {
      transacted.version = this.options.version()
      const span = this.isTraced ? Context.getOption(context, Tracer.ParentSpan) : Option.none()
      if (Option.isSome(span)) this.options.onCommitted(span.value)
    } else if (numbered !== undefined && !Cause.hasDies(transacted.exit.cause)) {
      transacted.exit = runSyncOrDie(sanitizeExit(procedure.rpc, transacted.exit), context)
      this.recordFailure(numbered, procedure, transacted.exit, context)
      transacted.version = this.options.version()
    }
    return transacted
  }

  /**
   * Records the failure of a numbered mutation. It has rolled everything back, so its record is a write of its own. A failure
   * that is too large for a record is not recorded: the same mutation fails with it again. A defect is no outcome, and
   * neither is a `CallError` that says that a retry can help: the mutation can be tried again.
   */
  private recordFailure(
    numbered: Numbered,
    procedure: Procedure,
    exit: Exit.Exit<unknown, unknown>,
    context: Context.Context<any>
  ): void {
    if (Exit.isFailure(exit) && (Cause.hasDies(exit.cause) || isRetryable(exit.cause))) return
    const encoded = runSyncOrDie(procedure.codec.encodeExit(exit), context)
    if (Exit.isSuccess(encoded)) this.record(numbered, JSON.stringify(encoded.value), context)
  }

  private record(numbered: Numbered, outcome: string, context: Context.Context<any>): StorageError | undefined {
    const exceeded = exceeds("rowBytes", Limits.storedBytes, outcome)
    if (exceeded !== undefined) return exceeded
    this.options.log.record(numbered, outcome, millisOf(context))
    return undefined
  }

  // --- what a handler is given

  private optionsOf({ caller, headers, payload, procedure, requestId }: Call): HandlerOptions {
    return { rpc: procedure.rpc, client: caller.client, requestId: RequestId(requestId), headers, payload }
  }

  /** The context of a call. Middleware may read the caller's identity; the handler reads it in its transaction. */
  private contextOf(call: Call, onIdentity?: () => void): Context.Context<any> {
    const context = this.callerContext(call)
    return Context.add(context, Auth, authOf(context, onIdentity && { identity: onIdentity }))
  }

  /** What a caller's calls of a procedure have in common. */
  private callerContext({ caller, procedure }: Call): Context.Context<any> {
    let context = procedure.contexts.get(caller)
    if (context === undefined) {
      const own = procedure.context.pipe(
        Context.add(CurrentIdentity, caller.identity),
        Context.add(References.CurrentLogAnnotations, {
          ...Context.get(procedure.context, References.CurrentLogAnnotations),
          ...caller.annotations,
          rpc: procedure.rpc._tag
        })
      )
      // Each call adds its own services: to a context that is one map, that copies nothing.
      context = Context.makeUnsafe(own.mapUnsafe, { maxDepth: 16 })
      procedure.contexts.set(caller, context)
    }
    return context
  }
}

const exceeds = (limit: Limits.LimitName, max: number, text: string): StorageError | undefined => {
  const actual = Limits.bytesBeyond(text, max)
  return actual === undefined ? undefined : new StorageError({ reason: new StorageLimit({ limit, max, actual }) })
}

const millisOf = (context: Context.Context<any>): number =>
  Math.floor(Context.get(context, Clock.Clock).currentTimeMillisUnsafe())

/** Whether a mutation failed with a `CallError` after which the same call may succeed. */
const isRetryable = (cause: Cause.Cause<unknown>): boolean => {
  const error = Option.getOrUndefined(Cause.findErrorOption(cause))
  return error instanceof CallError && error.isRetryable
}

const misfit = (cause: unknown): Error => new Error(`the result does not fit its schema: ${cause}`)

const emptyTransacted = (): Transacted => ({
  exit: Exit.void,
  value: undefined,
  result: undefined,
  reads: readsOfNothing,
  version: undefined
})

const refused = (reason: CallErrorReason): Transacted => ({
  ...emptyTransacted(),
  exit: Exit.fail(new CallError({ reason }))
})

/** The handler of a call, as an effect. One that throws dies. */
const handlerOf = (
  { onStart, payload, procedure }: Call,
  options: HandlerOptions
): Effect.Effect<unknown, unknown, any> =>
  Effect.suspend(() => {
    const result = procedure.handler(payload, options)
    const effect = Rpc.isWrapper(result) ? result.value : result
    onStart?.()
    // Only an action may be declared with a stream.
    return Stream.isStream(effect) ? Effect.die(new Error("a query or mutation gave a stream")) : effect
  })

/** The key under which the layer of handlers provides the handler of an rpc. */
const handlerKey = (rpc: Rpc.AnyWithProps): Context.Key<any, Rpc.Handler<string>> =>
  Context.Service<any, Rpc.Handler<string>>(rpc.key)

/** The headers of a call that did not come from a client. */
export const noHeaders: Headers.Headers = Headers.empty
