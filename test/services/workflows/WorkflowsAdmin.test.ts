import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as DurableDeferred from "effect/workflow/DurableDeferred"
import * as Workflow from "effect/workflow/Workflow"
import { Api, App, Handlers, Mutation } from "effect-dormouse"
import { Auth } from "effect-dormouse/auth"
import { TestApp } from "effect-dormouse/testing"
import { Workflows, WorkflowsAdmin } from "effect-dormouse/workflows"
import { expect, it } from "vitest"

class OwnApi extends Api.make(Mutation.make("begin", { payload: { key: Schema.String }, success: Schema.String })) {}

const Waiting = Workflow.make("Waiting", { payload: { key: Schema.String }, idempotencyKey: ({ key }) => key })
const WaitingLive = Waiting.toLayer(() => DurableDeferred.await(DurableDeferred.make("never")))

const app = App.make({
  api: Api.merge(OwnApi, WorkflowsAdmin.WorkflowsAdminApi),
  tables: [],
  handlers: Handlers.merge(
    OwnApi.toLayer({ begin: (payload) => Workflows.start(Waiting, payload) }),
    WorkflowsAdmin.layer({ admin: ({ claims }) => claims["role"] === "operator" })
  ),
  jobs: Workflows.make({ workflows: [WaitingLive] })
})
const options = { auth: Auth.layerFirst(Auth.layerTest, Auth.layerAnonymous), enter: () => true }

it("W8 W11: an operator sees executions live, resumes, interrupts and discards them; others do not", () =>
  Effect.gen(function* () {
    const others = yield* TestApp.client(OwnApi)
    const operator = yield* TestApp.client(WorkflowsAdmin.WorkflowsAdminApi, {
      token: Auth.testToken({ subject: "olga", claims: { role: "operator" } })
    })
    const id = yield* others.mutate("begin", { key: "one" })
    const until = (state: string) =>
      operator.live("workflows.list", { state: state as Workflows.ExecutionState }).pipe(
        Stream.filter((executions) => executions.length === 1),
        Stream.runHead,
        Effect.map(Option.getOrThrow)
      )
    expect(yield* until("suspended")).toMatchObject([{ id, workflow: "Waiting", payload: { key: "one" }, runs: 1 }])
    expect(yield* operator.mutate("workflows.resume", { id })).toBe(true)
    yield* until("suspended")
    expect(yield* operator.mutate("workflows.interrupt", { id })).toBe(true)
    expect(yield* until("done")).toMatchObject([{ id, isInterrupted: true }])
    expect(yield* operator.mutate("workflows.resume", { id })).toBe(false)
    expect(yield* operator.mutate("workflows.discard", { id })).toBe(true)
    expect(yield* operator.query("workflows.get", { id })).toBe(null)
    const stranger = yield* TestApp.client(WorkflowsAdmin.WorkflowsAdminApi)
    for (const tag of ["workflows.interrupt", "workflows.resume", "workflows.discard"] as const) {
      const error = yield* Effect.flip(stranger.mutate(tag, { id }))
      expect(error).toMatchObject({ reason: { _tag: "Forbidden" } })
    }
    expect(yield* Effect.flip(stranger.query("workflows.list", {}))).toMatchObject({ reason: { _tag: "Forbidden" } })
  }).pipe(Effect.scoped, Effect.provide(TestApp.layer(app, options)), Effect.runPromise))
