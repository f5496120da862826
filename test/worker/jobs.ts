import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Action, Api, App, Auth, Calls, Mutation, Query, Table } from "effect-dormouse"
import { Jobs, Queue, Scheduler } from "effect-dormouse/jobs"

/** An app whose mutations schedule: each run of a job adds a line. */

class Line extends Model.Class<Line>("test/Line")({
  id: Schema.Int,
  text: Schema.String,
  subject: Schema.NullOr(Schema.String),
  isSystem: Schema.Boolean,
  at: Schema.Number
}) {}
export const lines = Table.make("lines", Line, { key: "id" })

class Broken extends Schema.TaggedError<Broken>("test/Broken")("Broken", { text: Schema.String }) {}

export const Works = Queue.make("works", {
  payload: { text: Schema.String },
  retry: Schedule.spaced("1 second"),
  maxAttempts: 3,
  concurrency: 2,
  timeout: "30 seconds"
})
export const Batches = Queue.make("batches", {
  payload: { text: Schema.String },
  retry: Schedule.spaced("1 second"),
  maxAttempts: 3,
  concurrency: 1,
  batch: { size: 3, wait: "10 seconds" }
})

const Options = {
  as: Schema.optionalKey(Schema.Literals(["caller", "system"])),
  key: Schema.optionalKey(Schema.String),
  /** Milliseconds between retries. */
  retry: Schema.optionalKey(Schema.Number),
  maxAttempts: Schema.optionalKey(Schema.Int)
}
const What = Schema.Literals(["add", "fail", "die", "once", "act", "actFail", "actHang", "touch"])

/** A mutation or an action with its payload, and how it is scheduled. */
const Planned = Schema.Struct({ what: What, text: Schema.String, ...Options })

export class JobsApi extends Api.make(
  Query.make("lines", { payload: {}, success: Schema.Array(Line) }),
  Query.make("jobs", {
    payload: { state: Schema.optionalKey(Schema.Literals(["waiting", "running", "failed"])) },
    success: Schema.Array(Scheduler.Job)
  }),
  Query.make("job", { payload: { id: Scheduler.JobId }, success: Schema.NullOr(Scheduler.Job) }),
  Mutation.make("after", {
    payload: { delay: Schema.Number, jobs: Schema.Array(Planned) },
    success: Schema.Array(Scheduler.JobId)
  }),
  Mutation.make("at", { payload: { time: Schema.Unknown, text: Schema.String }, success: Scheduler.JobId }),
  Mutation.make("cancel", { payload: { id: Scheduler.JobId }, success: Schema.Boolean }),
  Mutation.make("reschedule", { payload: { id: Scheduler.JobId, time: Schema.Number }, success: Schema.Boolean }),
  /** Schedules, and fails. */
  Mutation.make("rolledBack", {
    payload: { text: Schema.String, how: Schema.Literals(["fail", "die"]) },
    error: Broken
  }),
  Mutation.make("add", { payload: { text: Schema.String } }),
  /** Adds a line and fails: nothing of it may stay. */
  Mutation.make("fail", { payload: { text: Schema.String }, error: Broken }),
  /** Adds a line, and schedules when a delay is given. */
  Mutation.make("write", { payload: { text: Schema.String, delay: Schema.optionalKey(Schema.Number) } }),
  Mutation.make("touch", { payload: { text: Schema.String } }),
  Mutation.make("die", { payload: { text: Schema.String } }),
  /** Fails unless it was tried before, as the lines say. */
  Mutation.make("once", { payload: { text: Schema.String }, error: Broken }),
  Action.make("act", { payload: { text: Schema.String } }),
  Action.make("actFail", { payload: { text: Schema.String }, error: Broken }),
  Action.make("actHang", { payload: { text: Schema.String } }),
  Mutation.make("send", {
    payload: {
      to: Schema.Literals(["works", "batches"]),
      texts: Schema.Array(Schema.String),
      delay: Schema.optionalKey(Schema.Number),
      key: Schema.optionalKey(Schema.String),
      id: Schema.optionalKey(Schema.String),
      priority: Schema.optionalKey(Schema.Literals(["high", "normal", "low"])),
      /** Whether a line says how each message ended. */
      reports: Schema.optionalKey(Schema.Boolean)
    },
    success: Schema.Array(Queue.MessageId)
  }),
  Mutation.make("ended", { payload: { message: Queue.MessageId, outcome: Queue.Outcome, text: Schema.String } }),
  Action.make("sendFromAction", { payload: { text: Schema.String }, success: Queue.MessageId }),
  /** Schedules from an action. */
  Action.make("plan", { payload: { delay: Schema.Number, text: Schema.String }, success: Scheduler.JobId }),
  Action.make("unplan", { payload: { id: Scheduler.JobId }, success: Schema.Boolean })
) {}

const add = Effect.fnUntraced(function* (text: string) {
  const identity = yield* Auth.identity
  const { subject } = identity
  const id = (yield* lines.query().count) + 1
  const at = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
  yield* lines.insert({ id, text, subject, isSystem: Auth.isSystem(identity), at }).pipe(Effect.orDie)
})

/** How often actions ran, in this isolate. */
export const ran: Array<string> = []
/** The attempts that `once` made: outside of the database, which forgets them. */
const tried = new Set<string>()

export const JobsHandlers = JobsApi.toLayer({
  lines: () => lines.query(),
  jobs: (filter) => Scheduler.list(filter),
  job: ({ id }) => Effect.map(Scheduler.get(id), (job) => (job._tag === "Some" ? job.value : null)),
  after: ({ delay, jobs }) =>
    Effect.forEach(jobs, ({ text, what, retry, ...options }) =>
      Scheduler.after(
        delay,
        JobsApi,
        what,
        { text },
        { ...options, ...(retry !== undefined && { retry: Schedule.spaced(retry) }) }
      )
    ),
  at: ({ text, time }) => Scheduler.at(time as number, JobsApi, "add", { text }),
  cancel: ({ id }) => Scheduler.cancel(id),
  reschedule: ({ id, time }) => Scheduler.reschedule(id, time),
  rolledBack: Effect.fnUntraced(function* ({ how, text }) {
    yield* Scheduler.after(0, JobsApi, "add", { text })
    return yield* how === "fail" ? Effect.fail(new Broken({ text })) : Effect.die(new Error(text))
  }),
  add: ({ text }) => add(text),
  write: Effect.fnUntraced(function* ({ delay, text }) {
    yield* lines.upsert({ id: 1, text, subject: null, isSystem: false, at: 0 })
    if (delay !== undefined) yield* Scheduler.after(delay, JobsApi, "add", { text })
  }),
  touch: ({ text }) => Effect.asVoid(Effect.orDie(lines.patch(1, { text }))),
  fail: ({ text }) => Effect.andThen(add(text), Effect.fail(new Broken({ text }))),
  die: ({ text }) => Effect.andThen(add(text), Effect.die(new Error(text))),
  once: Effect.fnUntraced(function* ({ text }) {
    yield* add(text)
    if (tried.has(text)) return
    tried.add(text)
    return yield* new Broken({ text })
  }),
  act: Effect.fnUntraced(function* ({ text }) {
    ran.push(text)
    const { mutate } = yield* Calls.of(JobsApi)
    yield* mutate("add", { text })
  }),
  actFail: ({ text }) =>
    Effect.suspend(() => {
      ran.push(text)
      return Effect.fail(new Broken({ text }))
    }),
  actHang: ({ text }) =>
    Effect.suspend(() => {
      ran.push(text)
      return Effect.never
    }),
  send: ({ reports, texts, to, ...options }) =>
    Effect.forEach(texts, (text) =>
      (to === "works" ? Works : Batches).send(
        { text },
        { ...options, ...(reports === true && { onEnd: Queue.onEnd(JobsApi, "ended", { text }) }) }
      )
    ),
  ended: ({ outcome, text }) => add(`${text} ${outcome}`),
  sendFromAction: ({ text }) => Works.send({ text }),
  plan: ({ delay, text }) => Scheduler.after(delay, JobsApi, "add", { text }),
  unplan: ({ id }) => Scheduler.cancel(id)
})

/** Adds a line for each message. Its text says what else happens. */
const worker = Effect.fnUntraced(function* (
  { text }: { readonly text: string },
  { attempt, progress }: Queue.Message<unknown>
) {
  ran.push(text)
  const { mutate } = yield* Calls.of(JobsApi)
  yield* progress({ attempt })
  if (text.startsWith("flaky") && attempt < 3) return yield* new Queue.Retry({ reason: "not yet" })
  if (text.startsWith("poison")) return yield* new Broken({ text })
  if (text.startsWith("reject")) return yield* new Queue.Reject({ reason: "no" })
  if (text.startsWith("die")) return yield* Effect.die(new Error(text))
  if (text.startsWith("hang")) return yield* Effect.never
  if (text.startsWith("slow")) yield* Effect.sleep("1 second")
  yield* mutate("add", { text })
})

export const WorksLive = Works.toLayer(worker)
export const BatchesLive = Batches.toBatchLayer(
  Effect.fnUntraced(function* (messages) {
    const texts = messages.map(({ payload }) => payload.text)
    ran.push(texts.join("+"))
    const { mutate } = yield* Calls.of(JobsApi)
    yield* mutate("add", { text: texts.join("+") })
    return new Map(
      messages
        .filter(({ attempt, payload }) => payload.text.startsWith("flaky") && attempt === 1)
        .map(({ id }) => [id, new Queue.Retry({})])
    )
  })
)

export const app = App.make({
  api: JobsApi,
  tables: [lines],
  handlers: JobsHandlers,
  jobs: Jobs.make({ queues: [WorksLive, BatchesLive] })
})
