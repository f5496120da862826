/**
 * Queues: messages that a mutation or an action sends, and a handler that consumes them outside of any transaction.
 * A message leaves with the commit of its mutation (Q1), and is handled at least once (Q2).
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import type { CallError } from "../protocol/CallError.ts"
import { jsonCodec } from "../protocol/JsonCodec.ts"
import * as Action from "./Action.ts"
import * as Api from "./Api.ts"
import { type Auth, identity, system } from "./Auth.ts"
import type { ActionServices } from "./Kind.ts"
import { type PayloadSchema, schemaOf } from "./Options.ts"
import { EntryId, FailureReason, OutboxWriter } from "./Outbox.ts"
import { encodeCall, requireStorable } from "./PromisedCalls.ts"
import { defaultRetry, delaysOf } from "./Retries.ts"

export { EntryId as MessageId } from "./Outbox.ts"

/** How a queue treats its messages. */
export interface QueueOptions {
  /** The delays before retries: from 1 second on, doubled each time up to 5 minutes, unless given. */
  readonly retry?: Schedule.Schedule<unknown, number>
  /** How often a message is tried, 10 unless given. After that it is kept with the reason of its last failure. */
  readonly maxAttempts?: number
  /** How many calls of the handler run at the same time, 4 unless given. */
  readonly concurrency?: number
  /** How long the handler may take: 1 minute unless given. Then it is interrupted, which counts as a failure. */
  readonly timeout?: Duration.Input
  /** Hands over several messages at once: as soon as there are `size`, or `wait` after the first was due. */
  readonly batch?: { readonly size: number; readonly wait: Duration.Input }
}

/** Of the messages that wait, those of a higher priority are handled first. */
export type Priority = "high" | "normal" | "low"

/** How a message ended: its handler succeeded, or it is kept as failed. */
export const Outcome = Schema.Literals(["done", "failed"])
/** How a message ended. */
export type Outcome = typeof Outcome.Type

/** What the payload of a mutation contains that runs when a message has ended. */
interface Ended {
  readonly message: EntryId
  readonly outcome: Outcome
}

/** A mutation that runs when a message has ended, from `onEnd`. */
export interface Completion {
  readonly api: Api.Declared<any>
  readonly tag: string
  readonly payload: object
}

/**
 * The mutation that is scheduled in the transaction that ends a message, and runs right after it. Its payload has the fields
 * `message: Queue.MessageId` and `outcome: Queue.Outcome`, and those that are given here.
 */
export const onEnd = <Rpcs extends Rpc.Any, Tag extends Api.TagOf<Rpcs, "mutation">>(
  api: Api.Declared<Rpcs>,
  tag: Tag,
  payload: Omit<Rpc.PayloadConstructor<Rpc.ExtractTag<Rpcs, Tag>>, keyof Ended>
): Completion => ({ api, tag, payload })

/** How one message is sent. */
export interface SendOptions {
  /** The message is not handled before. */
  readonly delay?: Duration.Input
  /** Messages with one key and priority are handled one after the other, in the order in which they were sent. */
  readonly key?: string
  /** A message with an id is sent once: a second one is left out, until a day after the first was handled or is removed. */
  readonly id?: string
  /** `normal` unless given. */
  readonly priority?: Priority
  /** In whose name the handler runs: the `caller` that sends, unless given, or the `system`. */
  readonly as?: "caller" | "system"
  readonly onEnd?: Completion
}

/** What a handler gets of a message besides its payload. */
export interface Message<out Payload> {
  readonly id: EntryId
  readonly payload: Payload
  /** The number of this attempt, from 1. */
  readonly attempt: number
  /** Says how far the work is: `Scheduler.get` and `Scheduler.list` show it, also live. */
  readonly progress: (progress: Schema.Json) => Effect.Effect<void, CallError>
}

/** A handler fails with it to be called again for this message, after a time of its own choice. */
export class Retry extends Schema.TaggedError<Retry>("effect-dormouse/Queue/Retry")("Retry", {
  after: Schema.optionalKey(Schema.DurationFromMillis),
  reason: Schema.optionalKey(Schema.String)
}) {}

/** A handler fails with it to have the message kept as failed, without another attempt. */
export class Reject extends Schema.TaggedError<Reject>("effect-dormouse/Queue/Reject")("Reject", {
  reason: Schema.String
}) {}

/** A queue, declared once and imported by whoever sends to it. */
export interface Queue<in out Name extends string, in out Payload extends Schema.Top> {
  readonly name: Name
  readonly payload: Payload
  /** Sends a message. Fails when it is too large. */
  readonly send: (
    payload: Payload["~type.make.in"],
    options?: SendOptions
  ) => Effect.Effect<EntryId, CallError, OutboxWriter | Auth>
  /** Sends messages, in their order. */
  readonly sendAll: (
    payloads: ReadonlyArray<Payload["~type.make.in"]>,
    options?: Omit<SendOptions, "id">
  ) => Effect.Effect<ReadonlyArray<EntryId>, CallError, OutboxWriter | Auth>
  /** Handles each message. Its success ends the message; any failure is retried, but for `Reject`. */
  readonly toLayer: <E, R>(
    handler: (payload: Payload["Type"], message: Message<Payload["Type"]>) => Effect.Effect<void, E, R>
  ) => Consumer<Exclude<R, ActionServices | OutboxWriter | Scope>>
  /**
   * Handles several messages at once. Its success ends them all, and its failure retries them all. It can return the failures
   * of single messages, by their ids.
   */
  readonly toBatchLayer: <E, R>(
    handler: (
      messages: ReadonlyArray<Message<Payload["Type"]>>
    ) => Effect.Effect<undefined | ReadonlyMap<EntryId, Retry | Reject>, E, R>
  ) => Consumer<Exclude<R, ActionServices | OutboxWriter | Scope>>
}

/** What the engine needs to know of a queue. */
export interface QueueSettings {
  readonly concurrency: number
  /** Milliseconds. */
  readonly timeout: number
  readonly batch: { readonly size: number; readonly wait: number }
}

/** A queue with its handler, for `App.make({ queues })`. */
export interface Consumer<out R> {
  readonly name: string
  readonly settings: QueueSettings
  /** The handler, as an action that no client can call. */
  readonly api: Api.Declared<any>
  readonly layer: Layer.Layer<never, never, R>
}

/** How the handling of one message ended; `null` when it succeeded. */
export const Handled = Schema.NullOr(
  Schema.Struct({ ...FailureReason.fields, after: Schema.optionalKey(Schema.Number) })
)
/** How the handling of one message ended. */
export type Handled = typeof Handled.Type

/** A message as the object hands it to the Worker. */
export const Handed = Schema.Struct({ id: EntryId, attempt: Schema.Int, payload: Schema.Json })

/** The action that handles the messages of a queue. */
export const consumerTag = (name: string): string => `~queue.${name}`

/** The lanes of the messages of a queue, those first that are handled first. */
export const lanesOf = (name: string): [string, string, string] => [
  laneOf(name, "high"),
  laneOf(name, "normal"),
  laneOf(name, "low")
]

const laneOf = (name: string, priority: Priority): string => `queue ${name} ${priority}`

/** Declares a queue. `payload` is the schema of its messages, or the fields of a struct. */
export const make = <const Name extends string, Payload extends Schema.Top | Schema.Struct.Fields>(
  name: Name,
  options: QueueOptions & { readonly payload: Payload }
): Queue<Name, PayloadSchema<Payload>> => {
  return new Declared(name, schemaOf(options.payload), options)
}

class Declared<Name extends string, Payload extends Schema.Top> implements Queue<Name, Payload> {
  readonly name: Name
  readonly payload: Payload
  private readonly options: QueueOptions
  private readonly codec: ReturnType<typeof jsonCodec>
  private readonly delays: ReadonlyArray<number>

  constructor(name: Name, payload: Payload, options: QueueOptions) {
    const { maxAttempts = 10, retry = defaultRetry } = options
    this.name = name
    this.payload = payload
    this.options = options
    this.codec = jsonCodec(payload)
    this.delays = Effect.runSync(delaysOf(retry, maxAttempts - 1))
  }

  readonly send: Queue<Name, Payload>["send"] = (payload, options = {}) =>
    Effect.gen({ self: this }, function* () {
      const { delay, id, key, onEnd, priority = "normal" } = options
      const made: unknown = this.payload.make(payload)
      // A JSON codec encodes to JSON.
      const json = (yield* Effect.orDie(Schema.encodeUnknownEffect(this.codec)(made))) as Schema.Json
      yield* requireStorable(json)
      const { add } = yield* OutboxWriter
      return yield* add({
        lane: laneOf(this.name, priority),
        target: consumerTag(this.name),
        payload: json,
        caller: options.as === "system" ? system : yield* identity,
        delays: this.delays,
        ...(delay !== undefined && { due: yield* timeAfter(delay) }),
        ...(key !== undefined && { key }),
        ...(id !== undefined && { name: id }),
        ...(onEnd !== undefined && { completion: yield* completionOf(onEnd) })
      })
    })

  readonly sendAll: Queue<Name, Payload>["sendAll"] = (payloads, options = {}) =>
    Effect.forEach(payloads, (payload) => this.send(payload, options))

  readonly toLayer: Queue<Name, Payload>["toLayer"] = (handler) =>
    this.consumer((messages) =>
      Effect.forEach(messages, (message) => Effect.map(attempt(handler(message.payload, message)), handledOf))
    )

  readonly toBatchLayer: Queue<Name, Payload>["toBatchLayer"] = (handler) =>
    this.consumer((messages) =>
      Effect.map(attempt(handler(messages)), (exit) =>
        messages.map(({ id }) => {
          const failure = Exit.isSuccess(exit) && exit.value !== undefined ? exit.value.get(id) : undefined
          return handledOf(failure === undefined ? exit : Exit.fail(failure))
        })
      )
    )

  private consumer<R>(
    handle: (messages: ReadonlyArray<Message<Payload["Type"]>>) => Effect.Effect<ReadonlyArray<Handled>, never, R>
  ): Consumer<Exclude<R, ActionServices | OutboxWriter | Scope>> {
    const { batch = { size: 1, wait: 0 }, concurrency = 4, timeout = "1 minute" } = this.options
    const decode = Schema.decodeUnknownEffect(this.codec)
    const action = Action.make(consumerTag(this.name), {
      payload: { messages: Schema.Array(Handed) },
      success: Schema.Array(Handled)
    })
    const run = Effect.fnUntraced(function* (payload: { readonly messages: ReadonlyArray<typeof Handed.Type> }) {
      const { progress } = yield* OutboxWriter
      const results = new Map<EntryId, Handled>()
      const read: Array<Message<Payload["Type"]>> = []
      for (const { attempt, id, payload: json } of payload.messages) {
        const exit = yield* Effect.exit(decode(json))
        if (Exit.isSuccess(exit)) {
          read.push({ id, attempt, payload: exit.value as Payload["Type"], progress: (value) => progress(id, value) })
        } else results.set(id, { kind: "payload", detail: Cause.pretty(exit.cause) })
      }
      const handled = read.length === 0 ? [] : yield* handle(read)
      for (const [index, { id }] of read.entries()) results.set(id, handled[index] ?? null)
      return payload.messages.map(({ id }) => results.get(id) ?? null)
    })
    const api = Api.make(action)
    // The tag is known only as a text: the types of the handlers cannot name it.
    const layer = api.toLayer({ [action._tag]: run } as never) as unknown as Layer.Layer<never, never, any>
    return {
      name: this.name,
      settings: {
        concurrency,
        timeout: Duration.toMillis(Duration.fromInputUnsafe(timeout)),
        batch: { size: batch.size, wait: Duration.toMillis(Duration.fromInputUnsafe(batch.wait)) }
      },
      api,
      layer
    }
  }
}

const timeAfter = (delay: Duration.Input): Effect.Effect<number> =>
  Effect.map(Clock.currentTimeMillis, (now) => Math.ceil(now + Duration.toMillis(Duration.fromInputUnsafe(delay))))

/** The mutation with a place for what is known only when the message has ended. */
const completionOf = ({ api, payload, tag }: Completion) =>
  Effect.map(
    encodeCall(api, tag, { ...payload, message: EntryId.make("0"), outcome: "done" }),
    ({ payload, target }) => ({
      target,
      payload
    })
  )

/** Runs a handler. Its defects are logged; an interruption is that of the whole call. */
const attempt = <A, E, R>(handler: Effect.Effect<A, E, R>): Effect.Effect<Exit.Exit<A, E>, never, R> =>
  Effect.matchCauseEffect(handler, {
    onSuccess: (value) => Effect.succeed(Exit.succeed(value)),
    onFailure: (cause) => {
      if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
      const log = Option.isNone(Cause.findErrorOption(cause))
        ? Effect.logError("a queue's handler died", cause)
        : Effect.void
      return Effect.as(log, Exit.failCause(cause))
    }
  })

/** What a handler's exit says of a message. Of a failure only the error's own text is kept. */
const handledOf = (exit: Exit.Exit<unknown, unknown>): Handled => {
  if (Exit.isSuccess(exit)) return null
  const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
  if (error instanceof Reject) return { kind: "rejected", detail: error.reason }
  if (error instanceof Retry) {
    const after = error.after === undefined ? {} : { after: Duration.toMillis(error.after) }
    return { kind: "failed", detail: error.reason ?? "", ...after }
  }
  if (error === undefined) return { kind: "failed", detail: "the handler died; the cause is in the log" }
  return { kind: "failed", detail: textOf(error) }
}

const textOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  const name = "_tag" in error ? String(error._tag) : error.name
  return error.message === "" ? name : `${name}: ${error.message}`
}
