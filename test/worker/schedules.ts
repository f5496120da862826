import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Action, Api, App, Calls, Handlers, Mutation, Query, Table } from "effect-dormouse"
import { Auth as AuthLayers, Policy } from "effect-dormouse/auth"
import { Cron, Jobs, Queue, Scheduler } from "effect-dormouse/jobs"
import { KeyValues } from "effect-dormouse/storage"
import { JobsApi, JobsHandlers, lines, ran, WorksLive } from "./jobs.ts"

/** The jobs app with what the suite of jobs needs more, in several versions that follow each other over one database. */

class Me extends AuthLayers.Service<Me>()("test/schedules/Me", { claims: Schema.Struct({ system: Schema.Boolean }) }) {}

class Note extends Model.Class<Note>("test/schedules/Note")({ id: Table.key(Schema.String), subject: Schema.String }) {}
const notes = Table.make("notes", Note, { key: "id" })
const policies = [
  Policy.for(Me).make(notes, {
    read: () => Policy.allow,
    insert: ({ me, row }) => Policy.or(Policy.eq(row.subject, me.subject), Policy.isSystem(me))
  })
]

const As = Schema.optionalKey(Schema.Literals(["caller", "system"]))
const Priority = Schema.optionalKey(Schema.Literals(["high", "normal", "low"]))

/** One at a time, with short delays. */
const oneByOne = { retry: Schedule.spaced("100 millis"), maxAttempts: 3, concurrency: 1 }
export const Tasks = Queue.make("tasks", {
  payload: { text: Schema.String },
  ...oneByOne,
  timeout: "30 seconds"
})
/** Up to three at once, by the milliseconds between the first and the call. */
export const Groups = Queue.make("groups", {
  payload: { text: Schema.String },
  retry: Schedule.spaced("100 millis"),
  concurrency: 1,
  batch: { size: 3, wait: "1 second" }
})
/** For what hangs: on a busy machine anything else may take as long. The second version does not have it. */
export const Olds = Queue.make("olds", { payload: { text: Schema.String }, ...oneByOne, timeout: "3 seconds" })
/** Another one in the second version. */
const Changing = Queue.make("changing", { payload: { text: Schema.String } })
const Changed = Queue.make("changing", { payload: { count: Schema.Int } })

const Repeats = { name: Schema.String, text: Schema.String, as: As }

class MoreApi extends Api.make(
  /** Schedules both of the next two, or calls them from an action. */
  Mutation.make("reveal", { payload: { text: Schema.String } }),
  Action.make("revealAct", { payload: { text: Schema.String }, success: Schema.Int }),
  Api.internal(Mutation.make("hidden", { payload: { text: Schema.String } })),
  Api.internal(Action.make("hiddenAct", { payload: { text: Schema.String } })),
  Api.internal(Query.make("hiddenCount", { payload: {}, success: Schema.Int })),
  Query.make("crons", { payload: {}, success: Schema.Array(Cron.CronState) }),
  Query.make("listed", {
    payload: {
      state: Schema.optionalKey(Schema.Literals(["waiting", "running", "failed"])),
      lane: Schema.optionalKey(Schema.String),
      after: Schema.optionalKey(Scheduler.JobId),
      take: Schema.optionalKey(Schema.Int)
    },
    success: Schema.Array(Schema.String)
  }),
  Query.make("notes", { payload: {}, success: Schema.Array(Schema.String) }),
  Query.make("kept", { payload: { key: Schema.String }, success: Schema.NullOr(Schema.String) }),
  /** Keeps a value under each key, for so many milliseconds. */
  Mutation.make("keep", { payload: { keys: Schema.Array(Schema.String), millis: Schema.Number } }),
  Mutation.make("cron.set", {
    payload: {
      ...Repeats,
      expression: Schema.String,
      zone: Schema.optionalKey(Schema.String),
      what: Schema.optionalKey(Schema.Literals(["add", "actHang"])),
      overlap: Schema.optionalKey(Schema.Literals(["skip", "queue"])),
      missed: Schema.optionalKey(Schema.Union([Schema.Number, Schema.Literals(["skip", "once"])]))
    }
  }),
  Mutation.make("cron.every", { payload: { ...Repeats, millis: Schema.Number } }),
  Mutation.make("cron.remove", { payload: { name: Schema.String }, success: Schema.Boolean }),
  /** Schedules twice, once in a part that is rolled back. */
  Mutation.make("partly", { payload: {} }),
  /** Schedules a payload of so many characters. */
  Mutation.make("large", { payload: { length: Schema.Int, to: Schema.Literals(["job", "queue"]) } }),
  /** Schedules `note` in the name of the caller or the system. */
  Mutation.make("note.later", {
    payload: { subject: Schema.String, as: As, by: Schema.Literals(["note", "noteAct"]) }
  }),
  Mutation.make("note", { payload: { subject: Schema.String } }),
  Action.make("noteAct", { payload: { subject: Schema.String } }),
  Mutation.make("task", {
    payload: {
      texts: Schema.Array(Schema.String),
      priority: Priority,
      id: Schema.optionalKey(Schema.String),
      to: Schema.optionalKey(Schema.Literals(["tasks", "olds"])),
      /** Whether a line says how each message ended. */
      reports: Schema.optionalKey(Schema.Boolean)
    },
    success: Schema.Array(Queue.MessageId)
  }),
  Mutation.make("priorities", { payload: { low: Schema.String, normal: Schema.String, high: Schema.String } }),
  Mutation.make("group", { payload: { texts: Schema.Array(Schema.String) } }),
  Action.make("tasks.act", { payload: { texts: Schema.Array(Schema.String) } }),
  /** What only the first version knows, or understands. */
  Mutation.make("old.schedule", { payload: {} }),
  Mutation.make("old.gone", { payload: { text: Schema.String } }),
  Action.make("old.goneAct", { payload: { text: Schema.String } }),
  Mutation.make("old.changed", { payload: { text: Schema.String } })
) {}

const repeated = (text: string, as: "caller" | "system" | undefined) => ({
  api: JobsApi,
  tag: "add" as const,
  payload: { text },
  ...(as !== undefined && { as })
})

const MoreHandlers = MoreApi.toLayer({
  reveal: Effect.fnUntraced(function* ({ text }) {
    yield* Scheduler.after(0, MoreApi, "hidden", { text })
    yield* Scheduler.after(0, MoreApi, "hiddenAct", { text })
  }),
  revealAct: Effect.fnUntraced(function* ({ text }) {
    const { mutate, query } = yield* Calls.of(MoreApi)
    yield* mutate("hidden", { text })
    return yield* query("hiddenCount", {})
  }),
  hidden: ({ text }) => Effect.asVoid(notes.insert({ subject: text })),
  hiddenAct: ({ text }) => Effect.flatMap(Calls.of(MoreApi), ({ mutate }) => mutate("hidden", { text })),
  hiddenCount: () => notes.query().count,
  crons: () => Cron.list,
  listed: (filter) => Effect.map(Scheduler.list(filter), (jobs) => jobs.map(({ payload }) => (payload as any).text)),
  kept: ({ key }) =>
    Effect.flatMap(KeyValues.KeyValueStore, (store) =>
      Effect.orDie(Effect.map(store.get(key), (value) => value ?? null))
    ),
  keep: ({ keys, millis }) =>
    Effect.orDie(Effect.forEach(keys, (key) => KeyValues.set(key, "kept", { timeToLive: millis }), { discard: true })),
  notes: () => Effect.map(notes.query(), (notes) => notes.map(({ subject }) => subject)),
  "cron.set": ({ as, expression, name, text, what = "add", ...options }) =>
    Cron.set(name, expression, { ...repeated(text, as), ...options, tag: what }),
  "cron.every": ({ as, millis, name, text }) => Cron.setEvery(name, millis, repeated(text, as)),
  "cron.remove": ({ name }) => Cron.remove(name),
  partly: Effect.fnUntraced(function* () {
    const part = Effect.andThen(Scheduler.after(0, JobsApi, "add", { text: "rolled back" }), Effect.fail("no"))
    yield* Effect.ignore(Table.atomically(part))
    yield* Scheduler.after(0, JobsApi, "add", { text: "kept" })
  }),
  large: ({ length, to }) => {
    const payload = { text: "x".repeat(length) }
    return Effect.asVoid(to === "job" ? Scheduler.after(0, JobsApi, "add", payload) : Tasks.send(payload))
  },
  "note.later": ({ as, by, subject }) =>
    Effect.asVoid(Scheduler.after(0, MoreApi, by, { subject }, as === undefined ? {} : { as })),
  note: Effect.fnUntraced(function* ({ subject }) {
    yield* notes.insert({ subject })
  }),
  noteAct: Effect.fnUntraced(function* ({ subject }) {
    const { mutate } = yield* Calls.of(MoreApi)
    yield* mutate("note", { subject })
  }),
  task: ({ reports, texts, to, ...options }) =>
    Effect.forEach(texts, (text) =>
      (to === "olds" ? Olds : Tasks).send(
        { text },
        { ...options, ...(reports === true && { onEnd: Queue.onEnd(JobsApi, "ended", { text }) }) }
      )
    ),
  priorities: Effect.fnUntraced(function* (texts) {
    for (const priority of ["low", "normal", "high"] as const)
      yield* Tasks.send({ text: texts[priority] }, { priority })
  }),
  group: ({ texts }) => Effect.asVoid(Groups.sendAll(texts.map((text) => ({ text })))),
  "tasks.act": ({ texts }) => Effect.asVoid(Tasks.sendAll(texts.map((text) => ({ text })))),
  "old.schedule": Effect.fnUntraced(function* () {
    const time = 3_600_000
    yield* Scheduler.after(time, MoreApi, "old.gone", { text: "gone" })
    yield* Scheduler.after(time, MoreApi, "old.goneAct", { text: "goneAct" }, { retry: Schedule.spaced(1) })
    yield* Scheduler.after(time, MoreApi, "old.changed", { text: "changed" }, { retry: Schedule.spaced(1) })
    yield* Scheduler.after(time, JobsApi, "add", { text: "still there" })
    yield* Changing.send({ text: "changed" }, { delay: time })
    for (const text of ["first", "second"]) yield* Olds.send({ text }, { delay: time, key: "one" })
  }),
  "old.gone": () => Effect.void,
  "old.goneAct": () => Effect.void,
  "old.changed": () => Effect.void
})

/** The messages of `tasks` that do not end yet. */
export const held = new Set<string>()

/** Adds a line for each message, in the name of its sender. Its text says what else happens. */
const worker = Effect.fnUntraced(function* (
  { text }: { readonly text: string },
  { attempt, progress }: Queue.Message<unknown>
) {
  ran.push(text)
  const { mutate } = yield* Calls.of(JobsApi)
  yield* progress({ attempt })
  if (text.startsWith("flaky") && attempt < 3) return yield* new Queue.Retry({ reason: "not yet" })
  if (text.startsWith("later") && attempt === 1) return yield* new Queue.Retry({ after: Duration.millis(900) })
  if (text.startsWith("poison")) return yield* Effect.fail(new Error("poison"))
  if (text.startsWith("die")) return yield* Effect.die(new Error(text))
  if (text.startsWith("reject")) return yield* new Queue.Reject({ reason: "no" })
  // Not `never`: a Worker that waits for nothing is ended by the platform.
  if (text.startsWith("hang")) yield* Effect.sleep("1 hour")
  while (held.has(text)) yield* Effect.sleep("100 millis")
  yield* mutate("add", { text })
})
const TasksLive = Tasks.toLayer(worker)
const GroupsLive = Groups.toBatchLayer(
  Effect.fnUntraced(function* (messages) {
    const texts = messages.map(({ payload }) => payload.text)
    const { mutate } = yield* Calls.of(JobsApi)
    yield* mutate("add", { text: texts.join("+") })
    return new Map(
      messages
        .filter(({ attempt, payload }) => payload.text.startsWith("flaky") && attempt === 1)
        .map(({ id }) => [id, new Queue.Retry({})])
    )
  })
)
const nothing = () => Effect.void

/** The app of the suite. */
export const first = App.make({
  api: Api.merge(JobsApi, MoreApi),
  tables: [lines, notes],
  policies,
  handlers: Handlers.merge(JobsHandlers, MoreHandlers),
  transactional: [KeyValues.transactional],
  jobs: Jobs.make({
    queues: [WorksLive, TasksLive, GroupsLive, Olds.toLayer(worker), Changing.toLayer(nothing)],
    crons: [
      Cron.job("kept", "0 7 1 1 *", repeated("kept", undefined)),
      Cron.job("changed", "0 7 1 1 *", repeated("before", undefined)),
      Cron.every("removed", "1 hour", repeated("removed", undefined))
    ]
  })
})

class LaterApi extends Api.make(
  Query.make("crons", { payload: {}, success: Schema.Array(Cron.CronState) }),
  Mutation.make("old.changed", { payload: { count: Schema.Int } })
) {}

/** The version after it: without `old.gone`, `old.goneAct` and the queue `olds`, and with other payloads. */
export const second = App.make({
  api: Api.merge(JobsApi, LaterApi),
  tables: [lines, notes],
  policies,
  handlers: Handlers.merge(
    JobsHandlers,
    LaterApi.toLayer({ crons: () => Cron.list, "old.changed": ({ count }) => Effect.sync(() => ran.push(`${count}`)) })
  ),
  jobs: Jobs.make({
    queues: [WorksLive, Changed.toLayer(({ count }) => Effect.sync(() => ran.push(`${count}`)))],
    crons: [
      Cron.job("kept", "0 7 1 1 *", repeated("kept", undefined)),
      Cron.job("changed", "0 8 1 1 *", repeated("after", undefined)),
      Cron.job("added", "0 9 1 1 *", repeated("added", undefined))
    ]
  })
})

/** Callers are named by test tokens. */
export const options = {
  auth: AuthLayers.layerFirst(AuthLayers.layerTest, AuthLayers.layerAnonymous),
  enter: () => true
}

/** The tenants whose objects run the second version. */
export const deployed = new Set<string>()

/** Whether a Cloudflare Queue carries the messages of a tenant. */
export const isCarried = (name: string | null | undefined): boolean => name?.startsWith("carried-") === true

/** Whether a tenant, or an object, belongs to this app. */
export const isScheduled = (name: string | null | undefined): boolean =>
  name?.startsWith("jobs-") === true || isCarried(name)
