/**
 * The chat in memory, and people who use it.
 * It is without its accounts: callers have tokens of `Auth.layerTest`.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { Api, App, Handlers } from "effect-dormouse"
import { Auth } from "effect-dormouse/auth"
import { Blobs } from "effect-dormouse/files"
import { JobsAdmin } from "effect-dormouse/jobs"
import { Pubsub } from "effect-dormouse/pubsub"
import { TestApp, type TestAppOptions } from "effect-dormouse/testing"
import { expect } from "vitest"
import { ChatApi } from "../../examples/chat/api.ts"
import { ChatFiles } from "../../examples/chat/files.ts"
import { ChatHandlers } from "../../examples/chat/handlers.ts"
import { ChatJobs } from "../../examples/chat/jobs.ts"
import { Me } from "../../examples/chat/me.ts"
import { ChatPolicies } from "../../examples/chat/policies.ts"
import { tables } from "../../examples/chat/tables.ts"
import { home } from "../../examples/chat/tenants.ts"

const appWith = (policies: typeof ChatPolicies) =>
  App.make({
    api: Api.merge(ChatApi, JobsAdmin.JobsAdminApi),
    tables,
    jobs: ChatJobs,
    pubsub: Pubsub.make(),
    files: ChatFiles,
    actionServices: Blobs.layerMemory,
    identity: Me,
    handlers: Handlers.merge(ChatHandlers, JobsAdmin.layer({ admin: ({ subject }) => subject === "operator" })),
    policies
  })

const door = { auth: Auth.layerFirst(Auth.layerTest, Auth.layerAnonymous), open: [home] }

/** The chat, with options of `TestApp`. */
export const chatWith = (options: TestAppOptions = {}) => TestApp.layer(appWith(ChatPolicies), { ...door, ...options })
/** The chat. */
export const backend = chatWith()
/** The chat if it had no policies. */
export const withoutPolicies = TestApp.layer(appWith([]), door)
/** The chat, whose time a test passes. */
export const inTestTime = backend.pipe(Layer.provideMerge(TestClock.layer()))

/** Somebody who has an account. */
export const person = Effect.fnUntraced(function* (name: string, tenant = "main") {
  const claims = { name, isGuest: false, tenants: ["acme"] }
  const client = yield* TestApp.client(ChatApi, { as: { subject: name.toLowerCase(), claims }, tenant })
  yield* client.mutate("people.enter", {})
  return client
})

/** The jobs and messages that are kept because they failed for good, as an operator sees them. */
export const failedJobs = Effect.gen(function* () {
  const claims = { name: "Operator", isGuest: false, tenants: [] }
  const operator = yield* TestApp.client(JobsAdmin.JobsAdminApi, { as: { subject: "operator", claims } })
  return yield* operator.query("jobs.list", { state: "failed" })
})

/** Somebody's client. */
export type Person = Effect.Success<ReturnType<typeof person>>

/** The tag of what an effect fails with, or of the reason of that. */
export const tagOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => ("reason" in error ? Object(error.reason)._tag : error._tag))

/** A client as somebody uses it who does not keep to its types. */
export const untyped = (client: object) =>
  client as { readonly mutate: (tag: string, payload: unknown) => Effect.Effect<unknown, any> }

/** Asks again while jobs run, until the value is as expected. */
export const becomes = <A, E, R>(effect: Effect.Effect<A, E, R>, expected: A, tries = 100): Effect.Effect<void, E, R> =>
  Effect.flatMap(effect, (value) =>
    JSON.stringify(value) === JSON.stringify(expected) || tries === 0
      ? Effect.sync(() => expect(value).toEqual(expected))
      : Effect.andThen(TestClock.adjust("100 millis"), becomes(effect, expected, tries - 1))
  )
