import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Model from "effect/schema/Model"
import * as Activity from "effect/workflow/Activity"
import * as DurableClock from "effect/workflow/DurableClock"
import * as DurableDeferred from "effect/workflow/DurableDeferred"
import * as Workflow from "effect/workflow/Workflow"
import { Action, Api, App, Auth, Calls, Mutation, Query, Table } from "effect-dormouse"
import { Auth as AuthLayers } from "effect-dormouse/auth"
import { Scheduler } from "effect-dormouse/jobs"
import { Workflows } from "effect-dormouse/workflows"
import { world } from "./work.ts"

/**
 * An app with workflows of Effect. Each run of an activity adds a line, with the caller, in a mutation. A text says what the
 * activities of an order do.
 */

class Line extends Model.Class<Line>("test/flows/Line")({
  id: Schema.Int,
  text: Schema.String,
  subject: Schema.NullOr(Schema.String),
  at: Schema.Number
}) {}
const lines = Table.make("lines", Line, { key: "id" })

class Declined extends Schema.TaggedError<Declined>("test/flows/Declined")("Declined", { text: Schema.String }) {}
class Broken extends Schema.TaggedError<Broken>("test/flows/Broken")("Broken", { text: Schema.String }) {}

const Result = Schema.Struct({ state: Schema.Literals(["none", "suspended", "done"]), exit: Schema.Unknown })

const Text = { text: Schema.String }

export class FlowsApi extends Api.make(
  Query.make("lines", { payload: {}, success: Schema.Array(Line) }),
  Mutation.make("add", { payload: Text }),
  /** Starts an order with the commit; `fails` rolls it back. */
  Mutation.make("order", {
    payload: { ...Text, sleep: Schema.Number, fails: Schema.optionalKey(Schema.Boolean) },
    success: Schema.String,
    error: Broken
  }),
  Mutation.make("pay", { payload: { ...Text, sleep: Schema.Number, amount: Schema.Int } }),
  Mutation.make("refuse", { payload: { ...Text, sleep: Schema.Number } }),
  Action.make("orderNow", { payload: { ...Text, sleep: Schema.Number }, success: Schema.String }),
  Action.make("orderAndWait", {
    payload: { ...Text, sleep: Schema.Number },
    success: Schema.String,
    error: Declined
  }),
  Action.make("family", { payload: Text, success: Schema.String }),
  Query.make("result", { payload: { id: Schema.String }, success: Result }),
  /** As a mutation reads it, by Effect's own function. */
  Mutation.make("polled", { payload: { id: Schema.String }, success: Schema.String }),
  Mutation.make("familyHere", { payload: Text, success: Schema.String }),
  Mutation.make("interruptOrder", { payload: Text, success: Schema.Boolean }),
  /** What cannot be done in a transaction, or in a query. */
  Mutation.make("executeHere", { payload: Text }),
  Query.make("startHere", { payload: Text, success: Schema.Unknown }),
  /** What waits in the outbox. */
  Query.make("outbox", { payload: {}, success: Schema.Array(Schema.String) }),
  Query.make("execution", { payload: { id: Schema.String }, success: Schema.NullOr(Workflows.Execution) }),
  Query.make("executions", { payload: Workflows.ExecutionFilter, success: Schema.Array(Workflows.Execution) }),
  Mutation.make("interrupt", { payload: { id: Schema.String }, success: Schema.Boolean }),
  Mutation.make("resume", { payload: { id: Schema.String }, success: Schema.Boolean }),
  Mutation.make("discard", { payload: { id: Schema.String }, success: Schema.Boolean })
) {}

/** An order: reserve, charge with retries, wait for a payment or for some time, ship. */
export const Order = Workflow.make("Order", {
  payload: { text: Schema.String, sleep: Schema.Number },
  success: Schema.String,
  error: Declined,
  idempotencyKey: ({ text }) => text
})

export const Paid = DurableDeferred.make("paid", { success: Schema.Int, error: Declined })

/** How often activities ran, in this isolate. */
export const ran: Array<string> = []

let tokens = 0

const add = (text: string) =>
  Effect.gen(function* () {
    ran.push(text)
    yield* world.begin(text)
    const { mutate } = yield* Calls.of(FlowsApi)
    yield* Effect.orDie(mutate("add", { text }))
    yield* world.end(text)
  })

const step = (name: string, text: string) => Activity.make({ name, execute: add(`${text} ${name}`) })

/** No two runs of it return the same. */
const token = (name: string, text: string) =>
  Activity.make({ name, success: Schema.Int, execute: Effect.map(add(`${text} ${name}`), () => ++tokens) })

export const OrderLive = Order.toLayer(
  Effect.fnUntraced(function* ({ sleep, text }) {
    const reserved = yield* token("reserve", text).pipe(Order.withCompensation(() => step("release", text)))
    const attempt = Activity.make({
      name: "charge",
      success: Schema.Int,
      error: Declined,
      execute: Effect.gen(function* () {
        const attempt = yield* Activity.CurrentAttempt
        yield* add(`${text} charge ${attempt}`)
        if (text.includes("self")) {
          const { mutate } = yield* Calls.of(FlowsApi)
          yield* Effect.orDie(mutate("pay", { text, sleep, amount: 5 }))
        }
        if (text.includes("flaky") && attempt < 3) return yield* new Declined({ text })
        if (text.includes("poor")) return yield* new Declined({ text })
        if (text.includes("die")) return yield* Effect.die(new Error(`${text} died`))
        return attempt
      })
    })
    const charged = yield* attempt.pipe(Activity.retry({ times: 2 }))
    const paid = yield* DurableDeferred.raceAll({
      name: "paid or late",
      success: Schema.Int,
      error: Declined,
      effects: [
        DurableDeferred.await(Paid),
        Effect.as(DurableClock.sleep({ name: "late", duration: sleep, inMemoryThreshold: 0 }), 0)
      ]
    })
    yield* step("ship", text)
    return `${text}: ${charged} ${paid} #${reserved}`
  })
)

/** Runs an order as a child, and then itself. */
export const Family = Workflow.make("Family", {
  payload: { text: Schema.String },
  success: Schema.String,
  idempotencyKey: ({ text }) => text
})

export const FamilyLive = Family.toLayer(
  Effect.fnUntraced(function* ({ text }) {
    yield* step("before", text)
    const child = yield* Order.execute({ text: `${text} child`, sleep: 500 }).pipe(
      Effect.catchTag("Declined", () => Effect.succeed("declined"))
    )
    if (text === "long") yield* DurableClock.sleep({ name: "long", duration: "2 days" })
    yield* step("after", text)
    return child
  })
)

const addLine = Effect.fnUntraced(function* (text: string) {
  const { subject } = yield* Auth.identity
  const id = (yield* lines.query().count) + 1
  const at = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
  yield* lines.insert({ id, text, subject, at }).pipe(Effect.orDie)
})

const handlers = FlowsApi.toLayer({
  lines: () => lines.query(),
  add: ({ text }) => addLine(text),
  order: Effect.fnUntraced(function* ({ fails, sleep, text }) {
    const id = yield* Workflows.start(Order, { text, sleep })
    if (fails === true) return yield* new Broken({ text })
    return id
  }),
  pay: ({ amount, ...order }) =>
    DurableDeferred.succeed(Paid, {
      token: DurableDeferred.tokenFromExecutionId(Paid, {
        workflow: Order,
        executionId: Workflows.executionId(Order, order)
      }),
      value: amount
    }),
  refuse: (order) =>
    DurableDeferred.fail(Paid, {
      token: DurableDeferred.tokenFromExecutionId(Paid, {
        workflow: Order,
        executionId: Workflows.executionId(Order, order)
      }),
      error: new Declined({ text: order.text })
    }),
  orderNow: (order) => Order.execute(order, { discard: true }),
  orderAndWait: (order) => Order.execute(order),
  family: (payload) => Family.execute(payload, { discard: true }),
  result: ({ id }) =>
    Effect.map(Workflows.poll(Order, id), (result) => {
      if (Option.isNone(result)) return { state: "none", exit: null } as const
      if (result.value._tag === "Suspended") return { state: "suspended", exit: null } as const
      const { exit } = result.value
      return { state: "done", exit: exit._tag === "Success" ? exit.value : String(exit.cause) } as const
    }),
  polled: ({ id }) => Effect.map(Order.poll(id), (result) => (Option.isNone(result) ? "None" : result.value._tag)),
  familyHere: (payload) => Workflows.start(Family, payload),
  interruptOrder: ({ text }) => Workflows.interrupt(Workflows.executionId(Order, { text, sleep: 0 })),
  executeHere: ({ text }) => Effect.asVoid(Order.execute({ text, sleep: 0 }, { discard: true })),
  // A query has no engine, whatever its type says.
  startHere: ({ text }) => Workflows.start(Order, { text, sleep: 0 }) as Effect.Effect<string>,
  outbox: () => Effect.map(Scheduler.list(), (jobs) => jobs.map(({ target }) => target)),
  execution: ({ id }) => Effect.map(Workflows.get(id), Option.getOrNull),
  executions: (filter) => Workflows.list(filter),
  interrupt: ({ id }) => Workflows.interrupt(id),
  resume: ({ id }) => Workflows.resume(id),
  discard: ({ id }) => Workflows.discard(id)
})

const make = (workflows: ReadonlyArray<typeof OrderLive>) =>
  App.make({
    api: FlowsApi,
    tables: [lines],
    handlers,
    jobs: Workflows.make({
      workflows,
      keep: "1 day",
      runs: { retry: Schedule.spaced(Duration.seconds(1)), maxAttempts: 5, timeout: "20 seconds" }
    })
  })

export const app = make([OrderLive, FamilyLive])

/** The next version, which does not have the workflow of orders any more. */
export const withoutOrders = make([FamilyLive])

/** Whoever has a token, and everybody else. */
export const options = {
  auth: AuthLayers.layerFirst(AuthLayers.layerTest, AuthLayers.layerAnonymous),
  enter: () => true
}

/** The tenants whose objects run the second version. */
export const deployed = new Set<string>()

/** Whether a tenant's object runs this app. */
export const isFlow = (name: string | null | undefined): boolean => name?.startsWith("flows-") === true
