import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import { Action, Api, App, Calls, Mutation, Query, Table } from "effect-dormouse"
import { Cron, Jobs, Queue, Scheduler } from "effect-dormouse/jobs"

/**
 * An app that says in its tables what was scheduled and what has run, for tests that crash and kill it: `planned` has a row
 * for each job whose mutation has committed, and `lines` one for each run.
 */

/** What a job is: the mutations, the actions and the message that the kinds stand for are in `plan`. */
export const What = Schema.Literals([
  "add",
  "fail",
  "late",
  "cancelJob",
  "postponeJob",
  "act",
  "actFail",
  "actAgain",
  "message",
  "flaky"
])
export type What = typeof What.Type

class Planned extends Model.Class<Planned>("test/Planned")({
  text: Schema.String,
  what: What,
  job: Queue.MessageId,
  due: Schema.Number,
  isCancelled: Schema.Boolean
}) {}
const planned = Table.make("planned", Planned, { key: "text" })

class Line extends Model.Class<Line>("test/WorkLine")({
  id: Schema.Int,
  text: Schema.String,
  /** `began`: the handler of an action or of a queue; `ran`: a mutation, or the rest of such a handler. */
  event: Schema.Literals(["began", "ran"]),
  at: Schema.Number
}) {}
const lines = Table.make("lines", Line, { key: "id" })

class Broken extends Schema.TaggedError<Broken>("test/WorkBroken")("Broken", { text: Schema.String }) {}

export const Plan = Schema.Struct({
  what: What,
  text: Schema.String,
  delay: Schema.Number,
  key: Schema.optionalKey(Schema.String)
})
export type Plan = typeof Plan.Type

/** What a test does in the process of the handlers, if it runs there. */
export const world = {
  /** At the begin of a handler of an action or of a queue. */
  begin: (_text: string): Effect.Effect<void> => Effect.void,
  /** At its end. */
  end: (_text: string): Effect.Effect<void> => Effect.void,
  /** How often the mutations that fail at first have been tried: a rollback does not forget it. */
  tries: new Map<string, number>()
}

export const Works = Queue.make("works", {
  payload: { text: Schema.String },
  retry: Schedule.spaced("1 second"),
  maxAttempts: 8,
  concurrency: 2,
  timeout: "2 seconds"
})

const Text = { text: Schema.String }

export class WorkApi extends Api.make(
  Query.make("planned", { payload: {}, success: Schema.Array(Planned) }),
  Query.make("lines", { payload: {}, success: Schema.Array(Line) }),
  Query.make("jobs", { payload: {}, success: Schema.Array(Scheduler.Job) }),
  Query.make("failed", { payload: {}, success: Schema.Array(Scheduler.Job) }),
  Mutation.make("plan", { payload: { jobs: Schema.Array(Plan) } }),
  /** Schedules the same, and fails. */
  Mutation.make("planNot", { payload: { jobs: Schema.Array(Plan) }, error: Broken }),
  Mutation.make("cancel", { payload: Text }),
  Mutation.make("postpone", { payload: { ...Text, due: Schema.Number } }),
  Mutation.make("again", { payload: Text }),
  Mutation.make("began", { payload: Text }),
  Mutation.make("add", { payload: Text }),
  Mutation.make("fail", { payload: Text, error: Broken }),
  Mutation.make("late", { payload: Text, error: Broken }),
  Mutation.make("cancelJob", { payload: Text }),
  Mutation.make("postponeJob", { payload: Text }),
  Action.make("act", { payload: Text }),
  Action.make("actFail", { payload: Text, error: Broken }),
  Action.make("actAgain", { payload: Text, error: Broken })
) {}

const write = Effect.fnUntraced(function* (text: string, event: "began" | "ran") {
  const id = (yield* lines.query().count) + 1
  const at = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
  yield* lines.insert({ id, text, event, at }).pipe(Effect.orDie)
})

/** What was planned under this text: one row, or none. */
const rowsOf = (text: string) =>
  Effect.map(Effect.orDie(planned.getMany([text])), (rows) => rows.flatMap(Option.toArray))

const cancel = Effect.fnUntraced(function* (text: string) {
  for (const { job } of yield* rowsOf(text)) {
    if (yield* Scheduler.cancel(job)) yield* Effect.orDie(planned.patch(text, { isCancelled: true }))
  }
})

const postpone = Effect.fnUntraced(function* (text: string, due: number) {
  for (const { job } of yield* rowsOf(text)) {
    if (yield* Scheduler.reschedule(job, due)) yield* Effect.orDie(planned.patch(text, { due }))
  }
})

const schedule = ({ delay, key, text, what }: Plan) => {
  const options = key === undefined ? {} : { key }
  const retry = { ...options, retry: Schedule.spaced("1 second"), maxAttempts: 8 }
  switch (what) {
    case "message":
    case "flaky":
      return Works.send({ text }, { ...options, delay })
    case "late":
    case "actAgain":
      return Scheduler.after(delay, WorkApi, what, { text }, retry)
    default:
      return Scheduler.after(delay, WorkApi, what, { text }, options)
  }
}

const plan = (jobs: ReadonlyArray<Plan>) =>
  Effect.forEach(
    jobs,
    Effect.fnUntraced(function* (job) {
      const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
      const id = yield* schedule(job)
      const row = { text: job.text, what: job.what, job: id, due: now + job.delay, isCancelled: false }
      yield* Effect.orDie(planned.insert(row))
    }),
    { discard: true }
  )

const tried = (text: string): number => {
  const tries = (world.tries.get(text) ?? 0) + 1
  world.tries.set(text, tries)
  return tries
}

/** The handler of an action, or of a queue. */
const act = Effect.fnUntraced(function* <E = never>(text: string, then: Effect.Effect<void, E> = Effect.void) {
  const { mutate } = yield* Calls.of(WorkApi)
  yield* world.begin(text)
  yield* mutate("began", { text })
  yield* Effect.tapError(then, () => world.end(text))
  yield* mutate("add", { text })
  yield* world.end(text)
})

const handlers = WorkApi.toLayer({
  planned: () => planned.query(),
  lines: () => lines.query(),
  jobs: () => Scheduler.list({ take: 1000 }),
  failed: () => Scheduler.list({ take: 1000, state: "failed" }),
  plan: ({ jobs }) => plan(jobs),
  planNot: ({ jobs }) => Effect.andThen(plan(jobs), Effect.fail(new Broken({ text: "" }))),
  cancel: ({ text }) => cancel(text),
  postpone: ({ due, text }) => postpone(text, due),
  again: Effect.fnUntraced(function* ({ text }) {
    for (const { job } of yield* rowsOf(text)) yield* Scheduler.reschedule(job, 0)
  }),
  began: ({ text }) => write(text, "began"),
  add: ({ text }) => write(text, "ran"),
  fail: ({ text }) => Effect.andThen(write(text, "ran"), Effect.fail(new Broken({ text }))),
  late: Effect.fnUntraced(function* ({ text }) {
    yield* write(text, "ran")
    if (tried(text) < 3) return yield* new Broken({ text })
  }),
  // Their texts end with that of the other job.
  cancelJob: ({ text }) => Effect.andThen(write(text, "ran"), cancel(text.slice("cancel ".length))),
  postponeJob: Effect.fnUntraced(function* ({ text }) {
    yield* write(text, "ran")
    const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
    yield* postpone(text.slice("postpone ".length), now + 5000)
  }),
  act: ({ text }) => act(text),
  actFail: ({ text }) => act(text, Effect.fail(new Broken({ text }))),
  actAgain: ({ text }) =>
    act(
      text,
      Effect.suspend(() => (tried(text) < 2 ? Effect.fail(new Broken({ text })) : Effect.void))
    )
})

const WorksLive = Works.toLayer(({ text }, { attempt }) =>
  act(text, text.startsWith("flaky") && attempt === 1 ? Effect.fail(new Broken({ text })) : Effect.void)
)

/** How often the cron runs, in milliseconds. */
export const period = 10_000

const parts = { api: WorkApi, tables: [planned, lines], handlers } as const
const timeout = "2 seconds"

export const app = App.make({
  ...parts,
  jobs: Jobs.make({
    timeout,
    queues: [WorksLive],
    crons: [
      Cron.every("beat", period, {
        api: WorkApi,
        tag: "add",
        payload: { text: "beat" },
        missed: 1000,
        overlap: "queue"
      })
    ]
  })
})

/** The same without the cron. */
export const quietApp = App.make({ ...parts, jobs: Jobs.make({ timeout, queues: [WorksLive] }) })

/** Another version of the app: it has lost its queue. */
export const withoutQueue = App.make({ ...parts, jobs: Jobs.make({ timeout }) })
