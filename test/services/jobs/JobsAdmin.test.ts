import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Api, App, Handlers } from "effect-dormouse"
import { Cron, Jobs, JobsAdmin } from "effect-dormouse/jobs"
import { TestApp } from "effect-dormouse/testing"
import { turns } from "../../deployment/memory.ts"
import * as JobsApp from "../../worker/jobs.ts"

/** What an operator sees of jobs and does with them. */

const api = Api.merge(JobsApp.JobsApi, JobsAdmin.JobsAdminApi)
const app = App.make({
  api,
  tables: JobsApp.app.tables,
  handlers: Handlers.merge(
    JobsApp.JobsHandlers,
    JobsAdmin.layer({ admin: ({ claims }) => claims["role"] === "operator" })
  ),
  jobs: Jobs.make({
    queues: [JobsApp.WorksLive, JobsApp.BatchesLive],
    crons: [Cron.job("nightly", "0 3 * * *", { api: JobsApp.JobsApi, tag: "add", payload: { text: "night" } })]
  })
})
const settled = Effect.promise(turns)
const operator = TestApp.client(api, { as: { subject: "eve", claims: { role: "operator" } } })

describe("JobsAdmin", () => {
  it.effect("J6: an operator sees what failed, live, and edits, retries or discards it", () =>
    Effect.gen(function* () {
      const client = yield* operator
      const failed: Array<ReadonlyArray<string>> = []
      const watching = Stream.runForEach(client.live("jobs.list", { state: "failed" }), (entries) =>
        Effect.sync(() => failed.push(entries.map(({ target }) => target)))
      )
      yield* Effect.forkScoped(watching)
      yield* client.mutate("after", {
        delay: 0,
        jobs: [
          { what: "fail", text: "one" },
          { what: "die", text: "two" }
        ]
      })
      yield* settled
      yield* settled
      expect(failed.at(-1)).toEqual(["fail", "die"])
      const [one, two] = yield* client.query("jobs.list", { state: "failed" })
      expect(one).toMatchObject({ attempts: 1, reason: { kind: "failed", detail: '{"_tag":"Broken","text":"one"}' } })
      expect(two!.reason!.detail).not.toContain("two")
      expect(yield* client.mutate("jobs.edit", { id: one!.id, payload: { text: "edited" } })).toBe(true)
      expect(yield* client.mutate("jobs.retry", { id: one!.id })).toBe(true)
      yield* settled
      yield* settled
      expect((yield* client.query("jobs.list", { state: "failed" }))[0]).toMatchObject({
        id: one!.id,
        reason: { detail: '{"_tag":"Broken","text":"edited"}' }
      })
      expect(yield* client.mutate("jobs.discard", { id: one!.id })).toBe(true)
      expect(yield* client.mutate("jobs.discard", { id: one!.id })).toBe(false)
      yield* settled
      expect(failed.at(-1)).toEqual(["die"])
      const [nightly] = yield* client.query("jobs.crons", {})
      expect(nightly).toMatchObject({ name: "nightly", isDeclared: true, last: null, skipped: 0 })
    }).pipe(Effect.provide(TestApp.layer(app)))
  )

  it.effect("J6: others are refused", () =>
    Effect.gen(function* () {
      const client = yield* TestApp.client(api, { as: { subject: "ada" } })
      const [id] = yield* client.mutate("after", { delay: 1000, jobs: [{ what: "add", text: "one" }] })
      const refused = { _tag: "CallError", reason: { _tag: "Forbidden" } }
      expect(yield* Effect.flip(client.query("jobs.list", {}))).toMatchObject(refused)
      expect(yield* Effect.flip(client.query("jobs.crons", {}))).toMatchObject(refused)
      for (const tag of ["jobs.retry", "jobs.discard"] as const) {
        expect(yield* Effect.flip(client.mutate(tag, { id: id! }))).toMatchObject(refused)
      }
      expect(yield* Effect.flip(client.mutate("jobs.edit", { id: id!, payload: {} }))).toMatchObject(refused)
    }).pipe(Effect.provide(TestApp.layer(app)))
  )
})
